//! How long a queue would take: the pure algorithms on a copy of one counter's state.

use super::Table;
use super::cell::Cell;
use super::entry::Slot;
use crate::algorithm::RunArena;
use crate::image::{RateChange, Source};

impl Table {
    /// Nanoseconds from `now` until the last of `costs` would have been allowed if each was taken as soon as it fits, one after
    /// the other, and nothing else happened. `plan` is that of a new counter. `u64::MAX` when a cost never fits.
    pub(crate) fn forecast(&self, slot: Option<Slot>, plan: Option<&[RateChange]>, costs: &[u64], now: u64) -> u64 {
        let mut runs = RunArena::new();
        let mut cells = self.copy_of(slot, plan, now, &mut runs);
        let mut at = now;
        for &cost in costs {
            let verdicts = cells.iter().map(|cell| cell.decide(&runs, at, cost));
            let wait = verdicts.filter(|verdict| !verdict.allowed).map(|verdict| verdict.retry_after_ns).max();
            if wait == Some(u64::MAX) {
                return u64::MAX;
            }
            at = at.saturating_add(wait.unwrap_or(0));
            for cell in &mut cells {
                cell.consume(&mut runs, at, cost);
            }
        }
        at - now
    }

    /// Nanoseconds from `now` until calls that ask for `total` in all can have been allowed one after the other, at the earliest: it
    /// may take longer, but never less. Nothing is copied, and nothing depends on how many calls they are.
    pub(crate) fn earliest(&self, slot: Slot, total: u128, now: u64) -> u64 {
        let rates = 0..usize::from(self.entry(slot).rates);
        rates.map(|rate| self.cell(slot, rate).earliest(&self.runs, total, now)).max().unwrap_or(0)
    }

    /// The counter's rates with their states, in an arena of their own.
    fn copy_of(&self, slot: Option<Slot>, plan: Option<&[RateChange]>, now: u64, runs: &mut RunArena) -> Vec<Cell> {
        let copy = |slot: Slot, rate: usize, runs: &mut RunArena| self.cell(slot, rate).copy(&self.runs, runs).0;
        match (plan, slot) {
            (None, Some(slot)) => (0..usize::from(self.entry(slot).rates)).map(|rate| copy(slot, rate, runs)).collect(),
            (None, None) => Vec::new(),
            (Some(plan), _) => plan
                .iter()
                .map(|change| match change.source {
                    Source::New { carried } => Cell::carried(change.rate, carried, now, runs),
                    Source::Kept(_) => unreachable!("a new counter keeps no state"),
                })
                .collect(),
        }
    }
}
