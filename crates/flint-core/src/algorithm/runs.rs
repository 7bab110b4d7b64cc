//! The runs of sliding logs: chains of small blocks in one arena, linked by index.

use crate::chunked::Chunked;

/// One or more consumptions within the same millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The millisecond of engine time, rounded up.
    pub ms: u64,
    /// The sum of the costs.
    pub cost: u64,
}

const RUNS: usize = 6;
const NONE: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
struct Block {
    runs: [Run; RUNS],
    next: u32,
}

/// The runs of one rate: a queue in the arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    head: u32,
    tail: u32,
    count: u32,
    /// Position of the oldest run in the head block.
    first: u8,
    /// Number of runs used in the tail block, counted from its start.
    filled: u8,
    /// The sum of the costs of all runs.
    pub total: u64,
}

impl Queue {
    /// No run.
    pub const EMPTY: Self = Self { head: NONE, tail: NONE, count: 0, first: 0, filled: 0, total: 0 };
}

/// All blocks.
#[derive(Debug)]
pub struct RunArena {
    blocks: Chunked<Block>,
    free: u32,
}

impl Default for RunArena {
    fn default() -> Self {
        Self::new()
    }
}

impl RunArena {
    /// An arena without a block.
    pub const fn new() -> Self {
        Self { blocks: Chunked::new(), free: NONE }
    }

    fn take_block(&mut self) -> u32 {
        let empty = Block { runs: [Run { ms: 0, cost: 0 }; RUNS], next: NONE };
        if self.free == NONE {
            return self.blocks.push(empty);
        }
        let index = self.free;
        self.free = self.blocks.get(index).next;
        *self.blocks.get_mut(index) = empty;
        index
    }

    fn free_block(&mut self, index: u32) {
        self.blocks.get_mut(index).next = self.free;
        self.free = index;
    }

    /// Adds `cost` at `ms`; if that is before the newest run, to that run, so that runs stay in order. The total saturates.
    pub fn push(&mut self, queue: &mut Queue, ms: u64, cost: u64) {
        let cost = cost.min(u64::MAX - queue.total);
        if cost == 0 {
            return;
        }
        queue.total += cost;
        if queue.count > 0 {
            let newest = &mut self.blocks.get_mut(queue.tail).runs[usize::from(queue.filled) - 1];
            if newest.ms >= ms {
                newest.cost += cost;
                return;
            }
        }
        if queue.head == NONE {
            queue.head = self.take_block();
            queue.tail = queue.head;
            (queue.first, queue.filled) = (0, 0);
        } else if usize::from(queue.filled) == RUNS {
            let next = self.take_block();
            self.blocks.get_mut(queue.tail).next = next;
            queue.tail = next;
            queue.filled = 0;
        }
        self.blocks.get_mut(queue.tail).runs[usize::from(queue.filled)] = Run { ms, cost };
        queue.filled += 1;
        queue.count += 1;
    }

    /// Drops the `count` oldest runs.
    pub fn drop_oldest(&mut self, queue: &mut Queue, count: usize) {
        for _ in 0..count {
            let block = self.blocks.get(queue.head);
            queue.total -= block.runs[usize::from(queue.first)].cost;
            queue.count -= 1;
            queue.first += 1;
            if queue.count == 0 {
                self.clear(queue);
                return;
            }
            if usize::from(queue.first) == RUNS {
                let next = block.next;
                self.free_block(queue.head);
                queue.head = next;
                queue.first = 0;
            }
        }
    }

    /// Empties the queue and releases its blocks.
    pub fn clear(&mut self, queue: &mut Queue) {
        let mut index = queue.head;
        while index != NONE {
            let next = self.blocks.get(index).next;
            self.free_block(index);
            index = next;
        }
        *queue = Queue::EMPTY;
    }

    /// The millisecond of the newest run.
    pub fn newest_ms(&self, queue: &Queue) -> Option<u64> {
        (queue.count > 0).then(|| self.blocks.get(queue.tail).runs[usize::from(queue.filled) - 1].ms)
    }

    /// Oldest first.
    pub fn iter(&self, queue: &Queue) -> Iter<'_> {
        Iter { arena: self, block: queue.head, at: queue.first, left: queue.count }
    }
}

/// The runs of one queue, oldest first.
#[derive(Debug, Clone)]
pub struct Iter<'a> {
    arena: &'a RunArena,
    block: u32,
    at: u8,
    left: u32,
}

impl Iterator for Iter<'_> {
    type Item = Run;

    fn next(&mut self) -> Option<Run> {
        if self.left == 0 {
            return None;
        }
        let block = self.arena.blocks.get(self.block);
        let run = block.runs[usize::from(self.at)];
        self.left -= 1;
        self.at += 1;
        if usize::from(self.at) == RUNS {
            self.block = block.next;
            self.at = 0;
        }
        Some(run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    #[test]
    fn behaves_like_a_deque_and_reuses_its_blocks() {
        let mut arena = RunArena::new();
        let mut queues = [Queue::EMPTY, Queue::EMPTY];
        let mut models = [VecDeque::new(), VecDeque::new()];
        let mut random = 1_u64;
        for ms in 0..4_000_u64 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let which = (random >> 33) as usize % 2;
            if (random >> 40).is_multiple_of(3) {
                let count = models[which].len().min((random >> 50) as usize % 9);
                models[which].drain(..count);
                arena.drop_oldest(&mut queues[which], count);
            } else {
                arena.push(&mut queues[which], ms, ms % 7 + 1);
                models[which].push_back(Run { ms, cost: ms % 7 + 1 });
            }
            for (queue, model) in queues.iter().zip(&models) {
                assert!(arena.iter(queue).eq(model.iter().copied()));
                assert_eq!(queue.total, model.iter().map(|run| run.cost).sum::<u64>());
                assert_eq!(arena.newest_ms(queue), model.back().map(|run| run.ms));
            }
        }
        let blocks = arena.blocks.len();
        for queue in &mut queues {
            arena.clear(queue);
        }
        for ms in 0..u64::from(blocks) * RUNS as u64 {
            arena.push(&mut queues[0], ms, 1);
        }
        assert_eq!(arena.blocks.len(), blocks, "freed blocks are used before new ones");
    }

    #[test]
    fn equal_milliseconds_are_one_run() {
        let mut arena = RunArena::new();
        let mut queue = Queue::EMPTY;
        arena.push(&mut queue, 5, 50_000_000);
        arena.push(&mut queue, 5, 1);
        assert_eq!(arena.iter(&queue).collect::<Vec<_>>(), [Run { ms: 5, cost: 50_000_001 }]);
    }
}
