//! The text of all keys, in chunks; a freed place is reused by the next key of the same length.

const CHUNK: usize = 1 << 16;
const MAX_LEN: usize = u16::MAX as usize;

/// Where a key's text lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct KeyRef {
    chunk: u32,
    offset: u16,
    len: u16,
}

/// An arena of short strings.
#[derive(Debug, Default)]
pub(crate) struct KeyArena {
    chunks: Vec<Vec<u8>>,
    /// Free places by length; bounded by the number of keys that ever lived at once.
    free: Vec<Vec<KeyRef>>,
}

impl KeyArena {
    pub(crate) fn insert(&mut self, key: &str) -> KeyRef {
        let len = key.len();
        assert!(len <= MAX_LEN, "keys are validated before they are stored");
        if let Some(place) = self.free.get_mut(len).and_then(Vec::pop) {
            let start = usize::from(place.offset);
            self.chunks[place.chunk as usize][start..start + len].copy_from_slice(key.as_bytes());
            return place;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() + len > CHUNK) {
            // The first chunk grows as needed, so that a small table stays small.
            self.chunks.push(Vec::with_capacity(if self.chunks.is_empty() { 0 } else { CHUNK }));
        }
        let index = self.chunks.len() - 1;
        let chunk = &mut self.chunks[index];
        let offset = chunk.len();
        chunk.extend_from_slice(key.as_bytes());
        #[expect(clippy::cast_possible_truncation, reason = "chunk count, offset and length are bounded above")]
        let place = KeyRef { chunk: index as u32, offset: offset as u16, len: len as u16 };
        place
    }

    pub(crate) fn remove(&mut self, place: KeyRef) {
        let len = usize::from(place.len);
        if self.free.len() <= len {
            self.free.resize_with(len + 1, Vec::new);
        }
        self.free[len].push(place);
    }

    #[inline]
    pub(crate) fn bytes(&self, place: KeyRef) -> &[u8] {
        let start = usize::from(place.offset);
        &self.chunks[place.chunk as usize][start..start + usize::from(place.len)]
    }

    /// The key's text.
    pub(crate) fn text(&self, place: KeyRef) -> &str {
        std::str::from_utf8(self.bytes(place)).expect("only whole strings are inserted")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freed_place_is_reused_by_the_same_length_only() {
        let mut arena = KeyArena::default();
        let a = arena.insert("user:1");
        let b = arena.insert("user:22");
        arena.remove(a);
        assert_eq!(arena.insert("user:2"), a);
        assert_ne!(arena.insert("user:3"), a);
        assert_eq!((arena.text(a), arena.text(b)), ("user:2", "user:22"));
    }

    #[test]
    fn keys_never_straddle_chunks() {
        let mut arena = KeyArena::default();
        let keys: Vec<String> = (0..1_000).map(|i| format!("{i:0500}")).collect();
        let places: Vec<KeyRef> = keys.iter().map(|key| arena.insert(key)).collect();
        for (key, place) in keys.iter().zip(places) {
            assert_eq!(arena.text(place), key);
        }
    }
}
