//! The text of all keys. Those of one length are an array without gaps: when a key is removed, the last one takes its place. So the
//! arena needs no more than its keys do, whatever lengths they had before.

/// Bytes of a chunk, or of one key where that is longer.
const CHUNK: usize = 1 << 14;
/// Bytes in front of a key: the slot of its entry.
const OWNER: usize = size_of::<u32>();

/// Where a key's text lies, behind its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct KeyRef {
    chunk: u32,
    offset: u16,
    len: u16,
}

/// The keys of one length.
#[derive(Debug, Default)]
struct Class {
    /// All are full but the last one that is not empty. One behind it may be empty.
    chunks: Vec<Vec<u8>>,
    /// The chunk that is added to.
    last: usize,
}

/// An arena of short strings.
#[derive(Debug, Default)]
pub(crate) struct KeyArena {
    classes: Vec<Class>,
}

impl Class {
    fn push(&mut self, key: &[u8]) -> (usize, usize) {
        let size = OWNER + key.len();
        if self.chunks.get(self.last).is_some_and(|chunk| chunk.len() + size > CHUNK.max(size)) {
            self.last += 1;
        }
        if self.last == self.chunks.len() {
            // The first chunk grows as needed, so that few keys need little.
            let room = if self.chunks.is_empty() { 0 } else { CHUNK.max(size) / size * size };
            self.chunks.push(Vec::with_capacity(room));
        }
        let chunk = &mut self.chunks[self.last];
        let offset = chunk.len();
        chunk.extend_from_slice(&u32::MAX.to_ne_bytes());
        chunk.extend_from_slice(key);
        (self.last, offset)
    }

    /// Removes a key. Returns the owner of the key that now is in its place, if there is one.
    fn swap_remove(&mut self, place: KeyRef) -> Option<u32> {
        let size = OWNER + usize::from(place.len);
        let (to, at) = (place.chunk as usize, usize::from(place.offset));
        let (from, start) = (self.last, self.chunks[self.last].len() - size);
        let mut owner = None;
        if (from, start) != (to, at) {
            let (before, behind) = self.chunks.split_at_mut(from);
            let moved = if from == to {
                behind[0].copy_within(start..start + size, at);
                &behind[0][at..at + OWNER]
            } else {
                before[to][at..at + size].copy_from_slice(&behind[0][start..start + size]);
                &before[to][at..at + OWNER]
            };
            owner = moved.try_into().ok().map(u32::from_ne_bytes);
        }
        self.chunks[from].truncate(start);
        if start == 0 {
            // One empty chunk is kept, so that adding and removing at a boundary allocates nothing.
            self.chunks.truncate(from + 1);
            match from.checked_sub(1) {
                Some(last) => self.last = last,
                None => self.chunks = Vec::new(),
            }
            if self.chunks.capacity() > 64 && self.chunks.len() < self.chunks.capacity() / 4 {
                self.chunks.shrink_to(self.chunks.len() * 2);
            }
        } else if from == 0 && start < self.chunks[0].capacity() / 4 {
            self.chunks[0].shrink_to(start * 2);
        }
        owner
    }
}

impl KeyArena {
    /// Adds a key, whose owner has to be [set](Self::set_owner) before another one is removed.
    pub(crate) fn insert(&mut self, key: &str) -> KeyRef {
        let len = u16::try_from(key.len()).expect("keys are validated before they are stored");
        if self.classes.len() <= key.len() {
            self.classes.resize_with(key.len() + 1, Class::default);
        }
        let (chunk, offset) = self.classes[key.len()].push(key.as_bytes());
        #[expect(clippy::cast_possible_truncation, reason = "chunk count and offset are bounded above")]
        let place = KeyRef { chunk: chunk as u32, offset: offset as u16, len };
        place
    }

    /// Says which slot has the key.
    pub(crate) fn set_owner(&mut self, place: KeyRef, slot: u32) {
        let at = usize::from(place.offset);
        let chunk = &mut self.classes[usize::from(place.len)].chunks[place.chunk as usize];
        chunk[at..at + OWNER].copy_from_slice(&slot.to_ne_bytes());
    }

    /// Removes a key. Returns the slot whose key is in this place now.
    #[must_use]
    pub(crate) fn remove(&mut self, place: KeyRef) -> Option<u32> {
        self.classes[usize::from(place.len)].swap_remove(place)
    }

    #[inline]
    pub(crate) fn bytes(&self, place: KeyRef) -> &[u8] {
        let start = usize::from(place.offset) + OWNER;
        &self.classes[usize::from(place.len)].chunks[place.chunk as usize][start..start + usize::from(place.len)]
    }

    /// The key's text.
    pub(crate) fn text(&self, place: KeyRef) -> &str {
        std::str::from_utf8(self.bytes(place)).expect("only whole strings are inserted")
    }

    /// Bytes of all keys.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn held_bytes(&self) -> usize {
        let chunks = self.classes.iter().flat_map(|class| &class.chunks);
        chunks.map(Vec::capacity).sum::<usize>() + self.classes.capacity() * size_of::<Class>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An arena with its owners, which follow their keys.
    #[derive(Default)]
    struct Owners {
        arena: KeyArena,
        places: Vec<Option<KeyRef>>,
    }

    impl Owners {
        fn insert(&mut self, key: &str) {
            let place = self.arena.insert(key);
            self.arena.set_owner(place, u32::try_from(self.places.len()).unwrap());
            self.places.push(Some(place));
        }

        fn remove(&mut self, owner: usize) {
            let place = self.places[owner].take().unwrap();
            if let Some(moved) = self.arena.remove(place) {
                self.places[moved as usize] = Some(place);
            }
        }
    }

    #[test]
    fn every_owner_keeps_its_key() {
        let mut owners = Owners::default();
        let key = |i: usize| format!("{i:0>0$}", i % 7 + 5);
        let mut random = 1_u64;
        for i in 0..20_000 {
            owners.insert(&key(i));
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let removed = (random >> 33) as usize % (i + 1);
            // More are removed than added in the second half.
            for owner in [removed, i / 2].into_iter().take(1 + i / 10_000) {
                if owners.places[owner].is_some() {
                    owners.remove(owner);
                }
            }
        }
        let left = owners.places.iter().enumerate().filter_map(|(i, place)| place.map(|place| (i, place)));
        assert!(left.clone().count() > 1_000);
        for (i, place) in left {
            assert_eq!(owners.arena.text(place), key(i));
        }
    }

    #[test]
    fn the_room_of_freed_keys_serves_keys_of_other_lengths() {
        let mut owners = Owners::default();
        let mut most = 0;
        for generation in 0..200 {
            let from = owners.places.len();
            for i in 0..1_000 {
                owners.insert(&format!("{generation}:{i:0>0$}", generation % 90 + 4));
            }
            most = most.max(owners.arena.held_bytes());
            for owner in from..from + 1_000 {
                owners.remove(owner);
            }
        }
        assert!(most < 2 * 1_000 * 110, "{most}");
        assert!(owners.arena.held_bytes() < 4_096, "{}", owners.arena.held_bytes());
    }

    #[test]
    fn keys_of_any_length_are_kept() {
        let mut arena = KeyArena::default();
        let keys: Vec<String> = [1, 500, CHUNK - 1, CHUNK, 60_000].iter().map(|&len| "x".repeat(len)).collect();
        for _ in 0..3 {
            for key in &keys {
                let place = arena.insert(key);
                assert_eq!(arena.text(place), key);
            }
        }
    }
}
