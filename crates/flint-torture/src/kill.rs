//! Real processes that die at exact points, and what the next process finds.
//!
//! A worker process walks through a life (`life`) in a real directory and tells each call that returned. It dies at a store
//! into the mapping or at a system call (`process`). Then the store has to be sound, to hold what was told and at most the
//! call that was under way, and to go on as if nothing had happened (`verdict`). Some die a second time while they recover.
//! The page cache outlives a process, so that this holds in both sync modes.

pub mod chapter;
pub mod life;
pub mod points;
pub mod process;
pub mod verdict;

use std::collections::BTreeMap;

use points::Points;

use crate::random::Random;
use chapter::Chapter;

/// What was done.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Report {
    /// Deaths at a store into the mapping.
    pub stores: u64,
    /// Deaths at a system call.
    pub calls: u64,
    /// Second deaths, of the process that recovered.
    pub nested: u64,
    /// Points that the process did not come by; background threads are not the same every time.
    pub missed: u64,
    /// Deaths in a thread other than the caller's, of those at a system call.
    pub in_background: u64,
    /// Torn tails that the next opening cut.
    pub torn: u64,
    /// Deaths at each system call.
    pub by_call: BTreeMap<String, u64>,
}

impl Report {
    /// Adds what another one counted.
    pub fn add(&mut self, other: &Self) {
        self.stores += other.stores;
        self.calls += other.calls;
        self.nested += other.nested;
        self.missed += other.missed;
        self.in_background += other.in_background;
        self.torn += other.torn;
        for (name, count) in &other.by_call {
            *self.by_call.entry(name.clone()).or_default() += count;
        }
    }
}

/// About `points` deaths, half of them at system calls and one in four followed by another, at points chosen by `seed` in
/// lives made from it. Needs strace.
///
/// # Panics
/// When something acknowledged is missing, or a store does not open or go on; the message says how to see it again.
pub fn run(points: usize, seed: u64) -> Report {
    let mut random = Random::new(seed);
    let chapters = Chapter::all(random.next());
    let share = points.div_ceil(chapters.len()).max(4);
    let mut report = Report::default();
    for chapter in &chapters {
        let mut chosen = chapter.store_points().chosen(share * 2 / 5, &mut random);
        chosen.extend(chapter.call_points(usize::MAX).chosen(share * 2 / 5, &mut random));
        let again = share - (share * 4 / 5);
        report.add(&chapter.kill_all(&Points(chosen), &|index| (index % 4 == 0).then_some(again.div_ceil(4).max(2))));
    }
    report
}
