//! A growable array in chunks of fixed size: growing never moves what is there, so no call ever pays for copying all of it. A chunk
//! that is empty again is released.

const CHUNK: usize = 512;

/// An array addressed by u32 whose elements never move.
#[derive(Debug)]
pub(crate) struct Chunked<T> {
    chunks: Vec<Vec<T>>,
    len: u32,
}

impl<T> Chunked<T> {
    pub(crate) const fn new() -> Self {
        Self { chunks: Vec::new(), len: 0 }
    }

    pub(crate) const fn len(&self) -> u32 {
        self.len
    }

    /// Appends a value and returns its index.
    pub(crate) fn push(&mut self, value: T) -> u32 {
        let index = self.len;
        assert!(index < u32::MAX, "a table holds at most 2^32 - 1 entries");
        let chunk = index as usize / CHUNK;
        if chunk == self.chunks.len() {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        self.chunks[chunk].push(value);
        self.len += 1;
        index
    }

    /// Removes the last value. One empty chunk is kept, so that adding and removing at a boundary allocates nothing.
    pub(crate) fn pop(&mut self) -> Option<T> {
        let last = self.len.checked_sub(1)?;
        let chunk = last as usize / CHUNK;
        let value = self.chunks[chunk].pop();
        self.len = last;
        if self.chunks[chunk].is_empty() {
            self.chunks.truncate(chunk + 1);
            if self.chunks.capacity() > 64 && self.chunks.len() < self.chunks.capacity() / 4 {
                self.chunks.shrink_to(self.chunks.len() * 2);
            }
        }
        value
    }

    #[inline]
    pub(crate) fn get(&self, index: u32) -> &T {
        &self.chunks[index as usize / CHUNK][index as usize % CHUNK]
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, index: u32) -> &mut T {
        &mut self.chunks[index as usize / CHUNK][index as usize % CHUNK]
    }

    /// Exchanges two values.
    pub(crate) fn swap(&mut self, a: u32, b: u32) {
        let (low, high) = (a.min(b) as usize, a.max(b) as usize);
        if low / CHUNK == high / CHUNK {
            return self.chunks[low / CHUNK].swap(low % CHUNK, high % CHUNK);
        }
        let (front, back) = self.chunks.split_at_mut(high / CHUNK);
        std::mem::swap(&mut front[low / CHUNK][low % CHUNK], &mut back[0][high % CHUNK]);
    }

    /// Bytes of all chunks.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn bytes(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.capacity() * size_of::<T>()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_stay_where_they_are_while_the_array_grows() {
        let mut array = Chunked::new();
        array.push(7_u64);
        let first = std::ptr::from_ref(array.get(0));
        for i in 1..5_000 {
            assert_eq!(array.push(i), u32::try_from(i).unwrap());
        }
        assert_eq!(first, std::ptr::from_ref(array.get(0)));
        assert_eq!((array.len(), *array.get(0), *array.get(4_999)), (5_000, 7, 4_999));
        *array.get_mut(512) = 1;
        assert_eq!(*array.get(512), 1);
        array.swap(4_999, 512);
        array.swap(511, 510);
        assert_eq!([510, 511, 512, 4_999].map(|index| *array.get(index)), [511, 510, 4_999, 1]);
    }

    #[test]
    fn empty_chunks_are_released_but_for_one() {
        let mut array = Chunked::new();
        for i in 0..5_000_u64 {
            array.push(i);
        }
        for i in (513..5_000).rev() {
            assert_eq!(array.pop(), Some(i));
        }
        assert_eq!((array.len(), array.chunks.len()), (513, 3));
        assert_eq!((array.pop(), array.chunks.len()), (Some(512), 2), "adding again allocates nothing");
        assert_eq!((array.pop(), array.chunks.len()), (Some(511), 2));
        while array.pop().is_some() {}
        assert_eq!((array.len(), array.chunks.len(), array.bytes()), (0, 1, CHUNK * 8));
    }
}
