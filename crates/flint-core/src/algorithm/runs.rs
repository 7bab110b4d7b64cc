//! The runs of sliding logs. Those of a short log are a chain of small blocks in one arena, linked by index; a log with more than
//! [`SHORT`] runs is a [`LongLog`], which is searched and shared instead of read from one end.

use super::long_log::LongLog;
use super::run::Run;
use crate::pool::Pool;

/// Runs of a block.
const RUNS: usize = 6;
/// Most runs of a chain of blocks. A long log becomes a chain again with half as many.
const SHORT: u32 = 48;
/// In place of a position in a chain: the queue is long.
const LONG: u8 = u8::MAX;
/// No block.
const NONE: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
struct Block {
    runs: [Run; RUNS],
    next: u32,
}

impl Block {
    const EMPTY: Self = Self { runs: [Run { ms: 0, cost: 0 }; RUNS], next: NONE };
}

/// The runs of one rate: a queue in the arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    /// The first block, or the place of a long log.
    head: u32,
    tail: u32,
    count: u32,
    /// Position of the oldest run in the head block, or [`LONG`].
    first: u8,
    /// Number of runs used in the tail block, counted from its start.
    filled: u8,
    /// The sum of the costs of all runs.
    pub total: u64,
}

impl Queue {
    /// No run.
    pub const EMPTY: Self = Self { head: NONE, tail: NONE, count: 0, first: 0, filled: 0, total: 0 };

    const fn is_long(&self) -> bool {
        self.first == LONG
    }
}

/// All blocks and long logs.
#[derive(Debug)]
pub struct RunArena {
    blocks: Pool<Block>,
    long: Pool<Option<LongLog>>,
    /// Runs, and blocks of them, that were read, added or dropped.
    #[cfg(feature = "testing")]
    visited: std::cell::Cell<u64>,
}

impl Default for RunArena {
    fn default() -> Self {
        Self::new()
    }
}

impl RunArena {
    /// An arena without a run.
    pub const fn new() -> Self {
        Self {
            blocks: Pool::new(),
            long: Pool::new(),
            #[cfg(feature = "testing")]
            visited: std::cell::Cell::new(0),
        }
    }

    #[cfg(feature = "testing")]
    fn visit(&self, runs: usize) {
        self.visited.set(self.visited.get() + runs as u64);
    }

    #[cfg(not(feature = "testing"))]
    #[inline]
    #[expect(clippy::unused_self, reason = "it counts in builds for tests")]
    const fn visit(&self, _runs: usize) {}

    fn long(&self, queue: &Queue) -> &LongLog {
        self.long.get(queue.head).as_ref().expect("a queue has its log until it is cleared")
    }

    fn long_mut(&mut self, queue: &Queue) -> &mut LongLog {
        self.long.get_mut(queue.head).as_mut().expect("a queue has its log until it is cleared")
    }

    fn remove_long(&mut self, queue: &Queue) {
        *self.long.get_mut(queue.head) = None;
        self.long.remove(queue.head);
    }

    /// Adds `cost` at `ms`; if that is before the newest run, to that run, so that runs stay in order. The total saturates.
    pub fn push(&mut self, queue: &mut Queue, ms: u64, cost: u64) {
        let cost = cost.min(u64::MAX - queue.total);
        if cost == 0 {
            return;
        }
        self.visit(1);
        queue.total += cost;
        let add = self.newest_ms(queue).is_some_and(|newest| newest >= ms);
        if queue.is_long() {
            let log = self.long_mut(queue);
            if add {
                return log.add_to_newest(cost);
            }
            log.push(Run { ms, cost });
        } else if add {
            self.blocks.get_mut(queue.tail).runs[usize::from(queue.filled) - 1].cost += cost;
            return;
        } else if queue.count == SHORT {
            self.lengthen(queue);
            self.long_mut(queue).push(Run { ms, cost });
        } else {
            self.push_short(queue, Run { ms, cost });
        }
        queue.count += 1;
    }

    fn push_short(&mut self, queue: &mut Queue, run: Run) {
        if queue.head == NONE {
            queue.head = self.blocks.insert(Block::EMPTY);
            queue.tail = queue.head;
            (queue.first, queue.filled) = (0, 0);
        } else if usize::from(queue.filled) == RUNS {
            let next = self.blocks.insert(Block::EMPTY);
            self.blocks.get_mut(queue.tail).next = next;
            queue.tail = next;
            queue.filled = 0;
        }
        self.blocks.get_mut(queue.tail).runs[usize::from(queue.filled)] = run;
        queue.filled += 1;
    }

    #[cold]
    fn lengthen(&mut self, queue: &mut Queue) {
        let log = LongLog::new(self.iter(queue));
        self.free_chain(queue);
        queue.head = self.long.insert(Some(log));
        (queue.tail, queue.first, queue.filled) = (NONE, LONG, 0);
    }

    #[cold]
    fn shorten(&mut self, queue: &mut Queue) {
        let runs: Vec<Run> = self.iter(queue).collect();
        self.remove_long(queue);
        *queue = Queue { count: queue.count, total: queue.total, ..Queue::EMPTY };
        for run in runs {
            self.push_short(queue, run);
        }
    }

    /// The sum of the costs of the runs at the front whose millisecond is `until` or before.
    #[inline]
    pub fn cost_until(&self, queue: &Queue, until: u64) -> u64 {
        if queue.is_long() {
            let log = self.long(queue);
            self.visit(log.probes());
            return log.search(|ms, _| ms <= until).cost;
        }
        self.iter(queue).take_while(|run| run.ms <= until).map(|run| run.cost).sum()
    }

    /// The millisecond of the run with which the costs, added up from the oldest on, reach `cost`.
    pub fn reaches(&self, queue: &Queue, cost: u64) -> Option<u64> {
        if queue.is_long() {
            let log = self.long(queue);
            self.visit(log.probes());
            return log.search(|_, total| total < cost).next_ms;
        }
        let mut total = 0;
        self.iter(queue).find_map(|run| {
            total += run.cost;
            (total >= cost).then_some(run.ms)
        })
    }

    /// Drops the oldest runs as long as `is_dropped` says so of a run's millisecond and the sum of the costs up to it.
    #[inline]
    pub fn drop_while(&mut self, queue: &mut Queue, is_dropped: impl Fn(u64, u64) -> bool) {
        if queue.is_long() {
            return self.drop_of_long(queue, is_dropped);
        }
        let mut total = 0;
        while queue.count > 0 {
            let block = self.blocks.get(queue.head);
            let run = block.runs[usize::from(queue.first)];
            total += run.cost;
            self.visit(1);
            if !is_dropped(run.ms, total) {
                return;
            }
            queue.total -= run.cost;
            queue.count -= 1;
            queue.first += 1;
            if queue.count == 0 {
                self.clear(queue);
            } else if usize::from(queue.first) == RUNS {
                let next = block.next;
                self.blocks.remove(queue.head);
                queue.head = next;
                queue.first = 0;
            }
        }
    }

    fn drop_of_long(&mut self, queue: &mut Queue, is_dropped: impl Fn(u64, u64) -> bool) {
        let log = self.long(queue);
        self.visit(log.probes());
        let place = log.search(is_dropped);
        if place.next_ms.is_none() {
            return self.clear(queue);
        }
        self.visit(place.block);
        let log = self.long_mut(queue);
        log.drop_before(place);
        queue.count = u32::try_from(log.count()).expect("a log never has more runs than it had");
        queue.total -= place.cost;
        if queue.count <= SHORT / 2 {
            self.shorten(queue);
        }
    }

    fn free_chain(&mut self, queue: &Queue) {
        let mut index = queue.head;
        while index != NONE {
            let next = self.blocks.get(index).next;
            self.blocks.remove(index);
            index = next;
        }
    }

    /// Empties the queue and releases what it holds.
    pub fn clear(&mut self, queue: &mut Queue) {
        if queue.is_long() {
            self.visit(self.long(queue).blocks());
            self.remove_long(queue);
        } else {
            self.free_chain(queue);
        }
        *queue = Queue::EMPTY;
    }

    /// The millisecond of the newest run.
    #[inline]
    pub fn newest_ms(&self, queue: &Queue) -> Option<u64> {
        if queue.is_long() {
            return self.long(queue).newest_ms();
        }
        (queue.count > 0).then(|| self.blocks.get(queue.tail).runs[usize::from(queue.filled) - 1].ms)
    }

    /// Oldest first.
    pub fn iter(&self, queue: &Queue) -> Iter<'_> {
        Iter { arena: self, queue: *queue, long: queue.is_long().then(|| self.long(queue).iter()) }
    }

    /// A copy of a queue in another arena, and how much work it was. Of a long log it takes the newest runs; the others are shared.
    pub fn copy(&self, queue: &Queue, into: &mut Self) -> (Queue, usize) {
        if queue.is_long() {
            let log = self.long(queue);
            let work = log.blocks() + log.unshared();
            self.visit(work);
            return (Queue { head: into.long.insert(Some(log.clone())), ..*queue }, work);
        }
        let mut copy = Queue { count: queue.count, total: queue.total, ..Queue::EMPTY };
        for run in self.iter(queue) {
            into.push_short(&mut copy, run);
        }
        (copy, queue.count as usize)
    }

    /// Whether much of the arena is free.
    pub fn is_sparse(&self) -> bool {
        self.blocks.is_sparse() || self.long.is_sparse()
    }

    /// Moves what the queue has at the arena's end to a free place in front of it.
    pub fn move_down(&mut self, queue: &mut Queue) {
        if queue.is_long() {
            queue.head = self.long.move_down(queue.head);
            return;
        }
        let (mut before, mut index) = (NONE, queue.head);
        while index != NONE {
            let moved = self.blocks.move_down(index);
            if before == NONE {
                queue.head = moved;
            } else {
                self.blocks.get_mut(before).next = moved;
            }
            (before, index) = (moved, self.blocks.get(moved).next);
        }
        queue.tail = before;
    }

    /// Takes up to `most` free places off the arena's end. Returns whether there may be more; otherwise the arena is as short as it gets.
    pub fn drop_end(&mut self, most: u32) -> bool {
        for _ in 0..most {
            if !self.blocks.drop_last() && !self.long.drop_last() {
                return false;
            }
        }
        true
    }

    /// Runs, and blocks of them, that were read, added or dropped so far.
    #[cfg(feature = "testing")]
    pub fn visited(&self) -> u64 {
        self.visited.get()
    }

    /// Bytes of all runs.
    #[cfg(feature = "testing")]
    pub fn bytes(&self) -> usize {
        let logs = (0..self.long.len()).filter_map(|index| self.long.get(index).as_ref().map(LongLog::bytes));
        self.blocks.bytes() + self.long.bytes() + logs.sum::<usize>()
    }
}

/// The runs of one queue, oldest first.
#[derive(Debug)]
pub struct Iter<'a> {
    arena: &'a RunArena,
    /// Of a chain, what is left.
    queue: Queue,
    long: Option<super::long_log::Iter<'a>>,
}

impl Iterator for Iter<'_> {
    type Item = Run;

    fn next(&mut self) -> Option<Run> {
        if let Some(long) = &mut self.long {
            self.arena.visit(1);
            return long.next();
        }
        let queue = &mut self.queue;
        if queue.count == 0 {
            return None;
        }
        self.arena.visit(1);
        let block = self.arena.blocks.get(queue.head);
        let run = block.runs[usize::from(queue.first)];
        queue.count -= 1;
        queue.first += 1;
        if usize::from(queue.first) == RUNS {
            queue.head = block.next;
            queue.first = 0;
        }
        Some(run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    struct Pair {
        queue: Queue,
        model: VecDeque<Run>,
    }

    fn random(state: &mut u64) -> u32 {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        u32::try_from(*state >> 33).unwrap()
    }

    fn check(arena: &RunArena, pair: &Pair) {
        assert!(arena.iter(&pair.queue).eq(pair.model.iter().copied()));
        assert_eq!(pair.queue.total, pair.model.iter().map(|run| run.cost).sum::<u64>());
        assert_eq!(arena.newest_ms(&pair.queue), pair.model.back().map(|run| run.ms));
    }

    #[test]
    fn behaves_like_a_deque_short_or_long() {
        let mut arena = RunArena::new();
        let mut pairs: Vec<Pair> = (0..3).map(|_| Pair { queue: Queue::EMPTY, model: VecDeque::new() }).collect();
        let mut state = 1;
        let mut lengthened = 0;
        for ms in 0..9_000_u64 {
            let which = random(&mut state) as usize % 3;
            let Pair { queue, model } = &mut pairs[which];
            if random(&mut state).is_multiple_of(20) {
                let count = random(&mut state) as usize % (model.len() + 1);
                let until = count.checked_sub(1).map(|last| model[last].ms);
                let cost: u64 = model.drain(..count).map(|run| run.cost).sum();
                assert_eq!(until.map_or(0, |until| arena.cost_until(queue, until)), cost);
                arena.drop_while(queue, |ms, total| until.is_some_and(|until| ms <= until) && total <= cost);
            } else {
                lengthened += u32::from(queue.count == SHORT);
                arena.push(queue, ms, ms % 7 + 1);
                model.push_back(Run { ms, cost: ms % 7 + 1 });
            }
            let pair = &pairs[which];
            check(&arena, pair);
            let cost = u64::from(random(&mut state) % 300);
            let mut total = 0;
            let reached = pair.model.iter().find(|run| {
                total += run.cost;
                total >= cost
            });
            assert_eq!(arena.reaches(&pair.queue, cost), reached.map(|run| run.ms));
        }
        assert!(lengthened > 20);
        for Pair { queue, .. } in &mut pairs {
            arena.clear(queue);
        }
        while arena.drop_end(100) {}
        assert_eq!((arena.blocks.len(), arena.long.len()), (0, 0));
    }

    #[test]
    fn equal_milliseconds_are_one_run() {
        for before in [0_u32, 100] {
            let mut arena = RunArena::new();
            let mut queue = Queue::EMPTY;
            (0..u64::from(before)).for_each(|ms| arena.push(&mut queue, ms, 1));
            arena.push(&mut queue, 500, 50_000_000);
            arena.push(&mut queue, 500, 1);
            arena.push(&mut queue, 499, 1);
            assert_eq!(arena.iter(&queue).last(), Some(Run { ms: 500, cost: 50_000_002 }));
            assert_eq!(arena.iter(&queue).count(), before as usize + 1);
        }
    }

    #[test]
    fn a_copy_is_independent() {
        for count in [3, 48, 49, 5_000] {
            let (mut arena, mut other) = (RunArena::new(), RunArena::new());
            let mut queue = Queue::EMPTY;
            (0..count).for_each(|ms| arena.push(&mut queue, ms, 2));
            let (mut copy, work) = arena.copy(&queue, &mut other);
            assert!(other.iter(&copy).eq(arena.iter(&queue)));
            assert!(work <= 1_200, "{work} for {count} runs");
            other.drop_while(&mut copy, |ms, _| ms < count - 1);
            other.push(&mut copy, count, 1);
            assert_eq!(other.iter(&copy).map(|run| run.ms).collect::<Vec<_>>(), [count - 1, count]);
            assert_eq!((copy.total, arena.iter(&queue).count() as u64), (3, count));
        }
    }

    #[test]
    fn an_arena_gets_as_short_as_what_it_holds() {
        let mut arena = RunArena::new();
        let mut queues: Vec<Queue> = vec![Queue::EMPTY; 20_000];
        for (i, queue) in queues.iter_mut().enumerate() {
            (0..if i % 10 == 0 { 60 } else { 10 }).for_each(|ms| arena.push(queue, ms, 1));
        }
        for (i, queue) in queues.iter_mut().enumerate() {
            if i % 20 > 1 {
                arena.clear(queue);
            }
        }
        assert!(arena.is_sparse());
        for queue in &mut queues {
            arena.move_down(queue);
        }
        while arena.drop_end(100) {}
        assert!(!arena.is_sparse());
        assert_eq!((arena.blocks.len(), arena.long.len()), (2_000, 1_000));
        for (i, queue) in queues.iter().enumerate() {
            let count = [60, 10].get(i % 20).copied().unwrap_or(0);
            assert!(arena.iter(queue).eq((0..count).map(|ms| Run { ms, cost: 1 })));
            assert_eq!(arena.newest_ms(queue), count.checked_sub(1));
        }
    }
}
