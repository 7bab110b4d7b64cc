//! The runs of one long sliding log: blocks of sums, so that a decision searches them instead of adding up costs. Full blocks never
//! change, and a copy of a log shares them.

use std::collections::VecDeque;

use super::run::Run;
use crate::sync::Arc;

/// Runs of a block: at least, and at most.
const SMALLEST_BLOCK: usize = 64;
const LARGEST_BLOCK: usize = 1024;

/// A run, with the sum of its cost and those of all runs before it, modulo 2^64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    ms: u64,
    sum: u64,
}

/// Runs, oldest first.
#[derive(Debug, Clone)]
pub(super) struct LongLog {
    full: VecDeque<Arc<[Mark]>>,
    /// The newest runs; never empty.
    tail: Vec<Mark>,
    /// How many runs of the first block, which is the tail where no block is full, have been dropped.
    dropped: usize,
    /// The sum before the oldest run.
    base: u64,
    /// The sum with the newest run.
    sum: u64,
    count: usize,
}

/// Between two runs of a log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) block: usize,
    index: usize,
    /// The sum before it, of the runs that were not dropped.
    pub(super) cost: u64,
    /// The millisecond of the run behind it.
    pub(super) next_ms: Option<u64>,
}

impl LongLog {
    /// A log of runs in order, at least one.
    pub(super) fn new(runs: impl Iterator<Item = Run>) -> Self {
        let mut log = Self {
            full: VecDeque::new(),
            tail: Vec::with_capacity(SMALLEST_BLOCK),
            dropped: 0,
            base: 0,
            sum: 0,
            count: 0,
        };
        runs.for_each(|run| log.push(run));
        log
    }

    pub(super) const fn count(&self) -> usize {
        self.count
    }

    /// The number of its blocks.
    pub(super) fn blocks(&self) -> usize {
        self.full.len() + 1
    }

    /// How many runs and blocks a search looks at, at most.
    pub(super) const fn probes(&self) -> usize {
        2 * (usize::BITS - self.count.leading_zeros()) as usize
    }

    /// The number of its newest runs, which a copy does not share.
    pub(super) fn unshared(&self) -> usize {
        self.tail.len()
    }

    /// Adds a run behind the newest.
    pub(super) fn push(&mut self, run: Run) {
        let block = (self.count / 4).clamp(SMALLEST_BLOCK, LARGEST_BLOCK);
        if self.tail.len() >= block {
            self.full.push_back(self.tail.as_slice().into());
            self.tail.clear();
            self.tail.shrink_to(2 * block);
        }
        self.sum = self.sum.wrapping_add(run.cost);
        self.tail.push(Mark { ms: run.ms, sum: self.sum });
        self.count += 1;
    }

    /// Adds to the cost of the newest run.
    pub(super) fn add_to_newest(&mut self, cost: u64) {
        self.sum = self.sum.wrapping_add(cost);
        self.tail.last_mut().expect("a log has a newest run").sum = self.sum;
    }

    pub(super) fn newest_ms(&self) -> Option<u64> {
        self.tail.last().map(|mark| mark.ms)
    }

    /// A block without what was dropped of it.
    fn block(&self, index: usize) -> &[Mark] {
        let block = self.full.get(index).map_or(&*self.tail, |block| block);
        if index == 0 { &block[self.dropped..] } else { block }
    }

    /// The place behind the runs for which `is_before` holds, which are the oldest ones. `is_before` gets the millisecond of a run, and
    /// the costs up to it and with it.
    pub(super) fn search(&self, is_before: impl Fn(u64, u64) -> bool) -> Place {
        let is_before = |mark: &Mark| is_before(mark.ms, mark.sum.wrapping_sub(self.base));
        // A decision most often ends here.
        let first = self.block(0);
        if first.first().is_some_and(|mark| !is_before(mark)) {
            return Place { block: 0, index: 0, cost: 0, next_ms: Some(first[0].ms) };
        }
        let (mut low, mut high) = (0, self.full.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.block(middle).last().is_none_or(is_before) { low = middle + 1 } else { high = middle }
        }
        let block = self.block(low);
        let index = block.partition_point(is_before);
        let sum = match (index.checked_sub(1), low.checked_sub(1)) {
            (Some(before), _) => block[before].sum,
            (None, Some(before)) => self.block(before).last().map_or(self.base, |mark| mark.sum),
            (None, None) => self.base,
        };
        Place { block: low, index, cost: sum.wrapping_sub(self.base), next_ms: block.get(index).map(|mark| mark.ms) }
    }

    /// Drops the runs before a place. The log must not be used if none is left.
    pub(super) fn drop_before(&mut self, place: Place) {
        for _ in 0..place.block {
            self.count -= self.block(0).len();
            self.drop_first_block();
        }
        self.count -= place.index;
        self.dropped += place.index;
        self.base = self.base.wrapping_add(place.cost);
        if self.full.front().is_some_and(|block| block.len() == self.dropped) {
            self.drop_first_block();
        }
        // What is left of a long log must not keep blocks of its size.
        if self.count > 0 && self.count < LARGEST_BLOCK && self.capacity() > 4 * self.count.max(SMALLEST_BLOCK) {
            *self = Self::new(self.iter().collect::<Vec<_>>().into_iter());
        }
    }

    fn drop_first_block(&mut self) {
        self.full.pop_front();
        self.dropped = 0;
        if self.full.capacity() > 64 && self.full.len() < self.full.capacity() / 4 {
            self.full.shrink_to(self.full.len() * 2);
        }
    }

    /// Runs for which memory is held.
    fn capacity(&self) -> usize {
        self.full.iter().map(|block| block.len()).sum::<usize>() + self.tail.capacity()
    }

    /// Bytes that it holds outside of itself.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn bytes(&self) -> usize {
        self.capacity() * size_of::<Mark>() + self.full.capacity() * size_of::<Arc<[Mark]>>()
    }

    /// Oldest first.
    pub(super) fn iter(&self) -> Iter<'_> {
        Iter { log: self, block: 0, index: 0, sum: self.base }
    }
}

/// The runs of a log, oldest first.
#[derive(Debug)]
pub(super) struct Iter<'a> {
    log: &'a LongLog,
    block: usize,
    index: usize,
    sum: u64,
}

impl Iterator for Iter<'_> {
    type Item = Run;

    fn next(&mut self) -> Option<Run> {
        let mut block = self.log.block(self.block);
        if self.index == block.len() {
            if self.block == self.log.full.len() {
                return None;
            }
            self.block += 1;
            self.index = 0;
            block = self.log.block(self.block);
        }
        let mark = block.get(self.index)?;
        let run = Run { ms: mark.ms, cost: mark.sum.wrapping_sub(self.sum) };
        self.sum = mark.sum;
        self.index += 1;
        Some(run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(log: &LongLog) -> Vec<Run> {
        log.iter().collect()
    }

    #[test]
    fn a_log_finds_what_a_list_of_all_runs_says() {
        let run = |ms: u64| Run { ms, cost: ms % 7 + 1 };
        let mut log = LongLog::new((1..=2).map(run));
        let mut model: VecDeque<Run> = (1..=2).map(run).collect();
        let mut random = 1_u64;
        for ms in 3..40_000 {
            log.push(run(ms));
            model.push_back(run(ms));
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            if (random >> 33).is_multiple_of(50) {
                let until = model[(random >> 40) as usize % model.len() / 3].ms;
                let place = log.search(|ms, _| ms <= until);
                let expired: Vec<Run> = model.iter().take_while(|run| run.ms <= until).copied().collect();
                assert_eq!(place.cost, expired.iter().map(|run| run.cost).sum::<u64>());
                assert_eq!(place.next_ms, model.get(expired.len()).map(|run| run.ms));
                let cost = (random >> 35) % 100_000;
                let mut total = 0;
                let reached = model.iter().find(|run| {
                    total += run.cost;
                    total >= cost
                });
                assert_eq!(log.search(|_, total| total < cost).next_ms, reached.map(|run| run.ms));
                if (random >> 45).is_multiple_of(4) {
                    log.drop_before(place);
                    model.drain(..expired.len());
                }
            }
            assert_eq!((log.count(), log.newest_ms()), (model.len(), Some(ms)));
        }
        assert!(log.iter().eq(model));
    }

    #[test]
    fn sums_may_wrap_around() {
        let mut log = LongLog::new((1..200).map(|ms| Run { ms, cost: u64::MAX / 4 }));
        log.drop_before(log.search(|ms, _| ms < 198));
        log.add_to_newest(5);
        assert_eq!(runs(&log), [(198, 0), (199, 5)].map(|(ms, more)| Run { ms, cost: u64::MAX / 4 + more }));
        assert_eq!(log.search(|_, total| total <= u64::MAX / 4).next_ms, Some(199));
    }

    #[test]
    fn a_log_holds_at_most_twice_what_it_needs() {
        let mut log = LongLog::new((0..50_000).map(|ms| Run { ms, cost: 1 }));
        for ms in 50_000..200_000 {
            log.push(Run { ms, cost: 1 });
            log.drop_before(log.search(|at, _| at + 1_000 < ms));
            assert!(ms < 52_000 || log.capacity() <= 2_000, "{}", log.capacity());
        }
        log.drop_before(log.search(|at, _| at < 199_990));
        assert_eq!((log.count(), log.capacity()), (10, SMALLEST_BLOCK));
    }

    #[test]
    fn a_copy_shares_the_full_blocks() {
        let log = LongLog::new((0..100_000).map(|ms| Run { ms, cost: 1 }));
        let mut copy = log.clone();
        assert!(Arc::ptr_eq(&log.full[50], &copy.full[50]));
        copy.push(Run { ms: 100_000, cost: 1 });
        copy.drop_before(copy.search(|ms, _| ms < 99_999));
        assert_eq!((log.count(), copy.count()), (100_000, 2));
    }
}
