//! Values at stable places. A free place is given out before a new one, the first of them first. A pool with few values left gets
//! shorter: what is near its end is moved to free places in front.

use crate::chunked::Chunked;

/// A pool with fewer free places than this is not worth making shorter.
const FEW: u32 = 1024;
/// A number of the set is a bit of a word; the words of each level are the bits of the next one.
const BITS: u32 = 6;

/// A set of numbers that finds the smallest one.
#[derive(Debug, Default)]
struct Set {
    /// The first level has a bit for each number, each other one a bit for each word of the level before that is not zero.
    levels: Vec<Vec<u64>>,
    len: u32,
}

impl Set {
    fn contains(&self, number: u32) -> bool {
        let word = self.levels.first().and_then(|level| level.get((number >> BITS) as usize));
        word.is_some_and(|word| word >> (number & 63) & 1 != 0)
    }

    fn insert(&mut self, number: u32) {
        debug_assert!(!self.contains(number));
        self.len += 1;
        let mut at = number;
        for level in 0.. {
            if level == self.levels.len() {
                // A level of more than one word needs another, which says what the level so far has.
                let below = self.levels.last();
                let first = below.is_some_and(|below| below[0] != 0);
                self.levels.push(vec![u64::from(first)]);
            }
            let words = &mut self.levels[level];
            let word = (at >> BITS) as usize;
            if word >= words.len() {
                words.resize(word + 1, 0);
            }
            let before = words[word];
            words[word] |= 1 << (at & 63);
            let is_top = level + 1 == self.levels.len() && self.levels[level].len() == 1;
            if before != 0 || is_top {
                return;
            }
            at >>= BITS;
        }
    }

    fn remove(&mut self, number: u32) {
        debug_assert!(self.contains(number));
        self.len -= 1;
        let mut at = number;
        for words in &mut self.levels {
            let word = &mut words[(at >> BITS) as usize];
            *word &= !(1 << (at & 63));
            if *word != 0 {
                return;
            }
            at >>= BITS;
        }
    }

    fn first(&self) -> Option<u32> {
        if self.len == 0 {
            return None;
        }
        Some(self.levels.iter().rev().fold(0, |at, words| at << BITS | words[at as usize].trailing_zeros()))
    }

    /// Gives up the room for numbers from `end` on, of which it has none.
    fn truncate(&mut self, end: u32) {
        let mut end = end as usize;
        for words in &mut self.levels {
            end = end.div_ceil(64);
            words.truncate(end.max(1));
            if words.capacity() > 64 && words.len() < words.capacity() / 4 {
                words.shrink_to(words.len() * 2);
            }
        }
    }

    #[cfg(any(test, feature = "testing"))]
    fn bytes(&self) -> usize {
        self.levels.iter().map(|words| words.capacity() * 8).sum()
    }
}

/// A value that was moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) from: u32,
    pub(crate) to: u32,
}

#[derive(Debug)]
pub(crate) struct Pool<T> {
    items: Chunked<T>,
    free: Set,
}

impl<T> Pool<T> {
    pub(crate) const fn new() -> Self {
        Self { items: Chunked::new(), free: Set { levels: Vec::new(), len: 0 } }
    }

    /// Places are below this number.
    pub(crate) const fn len(&self) -> u32 {
        self.items.len()
    }

    const fn live(&self) -> u32 {
        self.items.len() - self.free.len
    }

    /// The value at a place; that of a free place is the last one that it had.
    #[inline]
    pub(crate) fn get(&self, index: u32) -> &T {
        self.items.get(index)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, index: u32) -> &mut T {
        self.items.get_mut(index)
    }

    /// Adds a value and returns its place.
    pub(crate) fn insert(&mut self, value: T) -> u32 {
        let Some(index) = self.free.first() else { return self.items.push(value) };
        self.free.remove(index);
        *self.items.get_mut(index) = value;
        index
    }

    /// Frees a place.
    pub(crate) fn remove(&mut self, index: u32) {
        self.free.insert(index);
    }

    /// Whether a third of the places is free, or more, so that the pool should be made shorter.
    pub(crate) const fn is_sparse(&self) -> bool {
        self.free.len >= FEW && self.free.len > self.live() / 2
    }

    /// Takes a free place off the end. Returns whether the last one was free.
    pub(crate) fn drop_last(&mut self) -> bool {
        let Some(last) = self.items.len().checked_sub(1) else { return false };
        let is_free = self.free.contains(last);
        if is_free {
            self.free.remove(last);
            self.items.pop();
            if last.is_multiple_of(1 << 12) {
                self.free.truncate(last);
            }
        }
        is_free
    }

    /// Moves the last value to a free place, unless there is none.
    pub(crate) fn move_last(&mut self) -> Option<Moved> {
        let to = self.free.first()?;
        let from = self.items.len().checked_sub(1)?;
        if self.free.contains(from) {
            return None;
        }
        self.free.remove(to);
        *self.items.get_mut(to) = self.items.pop().expect("it has a last value");
        Some(Moved { from, to })
    }

    /// Moves the value at `index` to a free place if that makes the pool shorter. Returns its place.
    pub(crate) fn move_down(&mut self, index: u32) -> u32 {
        match self.free.first() {
            Some(to) if to < index && index >= self.live() => {
                self.free.remove(to);
                self.items.swap(index, to);
                self.free.insert(index);
                to
            }
            _ => index,
        }
    }

    /// Bytes of all places.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn bytes(&self) -> usize {
        self.items.bytes() + self.free.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_set_finds_its_smallest_number() {
        let (mut set, mut model) = (Set::default(), BTreeSet::new());
        let mut random = 1_u64;
        for round in 0..20_000_u32 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let range = [10, 300, 5_000, 400_000][round as usize / 5_000];
            let number = u32::try_from((random >> 33) % range).unwrap();
            if model.insert(number) {
                set.insert(number);
            } else {
                model.remove(&number);
                set.remove(number);
            }
            assert_eq!((set.first(), set.contains(number)), (model.first().copied(), model.contains(&number)));
            if random.is_multiple_of(3)
                && let Some(first) = model.pop_first()
            {
                set.remove(first);
            }
            assert_eq!((set.first(), set.len as usize), (model.first().copied(), model.len()));
        }
        model.iter().for_each(|number| set.remove(*number));
        assert_eq!(set.first(), None);
        set.truncate(0);
        assert!(set.bytes() <= 64 * 8 * 4, "{}", set.bytes());
        set.insert(400_000);
        assert_eq!(set.first(), Some(400_000));
    }

    /// A pool of the numbers below `count` at their own places, without those that `is_removed`.
    fn pool(count: u32, is_removed: impl Fn(u32) -> bool) -> Pool<u32> {
        let mut pool = Pool::new();
        for index in 0..count {
            assert_eq!(pool.insert(index), index);
        }
        (0..count).filter(|index| is_removed(*index)).for_each(|index| pool.remove(index));
        pool
    }

    fn values(pool: &Pool<u32>) -> Vec<u32> {
        let taken = (0..pool.len()).filter(|index| !pool.free.contains(*index));
        let mut values: Vec<u32> = taken.map(|index| *pool.get(index)).collect();
        values.sort_unstable();
        values
    }

    #[test]
    fn a_free_place_is_given_out_before_a_new_one() {
        let mut pool = pool(10, |index| index % 3 == 0);
        assert_eq!([100, 101, 102, 103, 104].map(|value| pool.insert(value)), [0, 3, 6, 9, 10]);
        assert!(!pool.is_sparse());
    }

    #[test]
    fn moving_the_last_value_makes_a_pool_as_short_as_what_it_holds() {
        let mut pool = pool(100_000, |index| index % 10 != 3);
        assert!(pool.is_sparse());
        let mut steps = 0;
        while pool.drop_last() || pool.move_last().is_some() {
            steps += 1;
        }
        assert_eq!((pool.len(), steps), (10_000, 90_000));
        assert_eq!(values(&pool), (0..10_000).map(|i| i * 10 + 3).collect::<Vec<_>>());
        assert!(!pool.is_sparse() && pool.bytes() < 60_000, "{}", pool.bytes());
        assert_eq!(pool.insert(7), 10_000);
    }

    #[test]
    fn values_that_move_down_one_by_one_make_a_pool_shorter() {
        let mut pool = pool(10_000, |index| index % 10 != 3);
        let mut places: Vec<u32> = (0..1_000).map(|i| i * 10 + 3).collect();
        for place in &mut places {
            *place = pool.move_down(*place);
        }
        pool.remove(places.pop().unwrap());
        assert!(pool.insert(9_993) < 1_000);
        while pool.drop_last() {}
        assert_eq!(pool.len(), 1_000);
        assert_eq!(values(&pool), (0..1_000).map(|i| i * 10 + 3).collect::<Vec<_>>());
    }

    #[test]
    fn an_empty_pool_has_no_places() {
        let mut pool = pool(2_000, |_| true);
        assert!(pool.is_sparse());
        while pool.drop_last() {}
        assert_eq!((pool.len(), pool.drop_last(), pool.move_last()), (0, false, None));
    }
}
