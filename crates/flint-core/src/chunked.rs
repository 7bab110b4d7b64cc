//! A growable array of plain values in chunks of fixed size: growing never moves what is there, so no call ever pays for
//! copying all of it.

const CHUNK: usize = 512;

/// An array addressed by u32 whose elements never move.
#[derive(Debug)]
pub(crate) struct Chunked<T> {
    chunks: Vec<Box<[T]>>,
    len: u32,
}

impl<T: Copy> Chunked<T> {
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
        let (chunk, slot) = (index as usize / CHUNK, index as usize % CHUNK);
        if chunk == self.chunks.len() {
            self.chunks.push(vec![value; CHUNK].into_boxed_slice());
        }
        self.chunks[chunk][slot] = value;
        self.len += 1;
        index
    }

    #[inline]
    pub(crate) fn get(&self, index: u32) -> &T {
        debug_assert!(index < self.len);
        &self.chunks[index as usize / CHUNK][index as usize % CHUNK]
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, index: u32) -> &mut T {
        debug_assert!(index < self.len);
        &mut self.chunks[index as usize / CHUNK][index as usize % CHUNK]
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
    }
}
