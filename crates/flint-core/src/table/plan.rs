//! What a new limit means for a key: which states stay, which start anew with what is already used.

use super::entry::{Decision, Slot};
use super::{Table, of_rate};
use crate::algorithm::{AfterImage, Verdict};
use crate::image::{RateChange, Source};
use crate::limit::{Rate, RateVerdict};
use crate::sync::Arc;

/// What setting a limit changes.
#[derive(Debug)]
pub(crate) struct Change<'a> {
    pub(crate) key: &'a str,
    /// The counter that gets the limit; a new key has none yet.
    pub(crate) slot: Option<Slot>,
    pub(crate) plan: Vec<RateChange>,
    /// The key's other counters, which are removed.
    pub(crate) replaced: Vec<Slot>,
}

/// A limit of which nothing is used.
pub(crate) fn fresh(rates: &[Rate]) -> Vec<RateChange> {
    rates.iter().map(|&rate| RateChange { rate, source: Source::New { carried: 0 } }).collect()
}

impl Table {
    /// The change that sets a key's limit. Of its counters, the one that has most of the rates gets it, the more recently used one of
    /// several; a rate that it has keeps its state exactly, unless another counter has more of the same rate in use. Every other rate
    /// starts with the largest amount that any rate of any counter has in use, so that no redefinition hands out fresh quota. With
    /// `reset`, everything starts unused.
    pub(crate) fn change<'a>(
        &self,
        head: Option<Slot>,
        key: &'a str,
        rates: &[Rate],
        reset: bool,
        now: u64,
    ) -> Change<'a> {
        let Some(head) = head else { return Change { key, slot: None, plan: fresh(rates), replaced: Vec::new() } };
        let counters = || self.counters(head);
        let slot = match self.has_several(head) {
            false => head,
            true => counters().fold(head, |best, slot| {
                if self.shared_rates(slot, rates) > self.shared_rates(best, rates) { slot } else { best }
            }),
        };
        let plan = if reset { fresh(rates) } else { self.plan(slot, counters(), rates, now) };
        Change { key, slot: Some(slot), plan, replaced: counters().filter(|&other| other != slot).collect() }
    }

    fn shared_rates(&self, slot: Slot, rates: &[Rate]) -> usize {
        let mut left: Vec<&Rate> = rates.iter().collect();
        let found = |rate: &Rate| left.iter().position(|other| *other == rate).map(|at| left.swap_remove(at));
        self.rates(slot).filter_map(found).count()
    }

    fn plan(
        &self,
        slot: Slot,
        counters: impl Iterator<Item = Slot> + Clone,
        rates: &[Rate],
        now: u64,
    ) -> Vec<RateChange> {
        // Every rate of every counter, with what is in use.
        let cells = counters.flat_map(|slot| (0..usize::from(self.entry(slot).rates)).map(move |rate| (slot, rate)));
        let used = |(slot, rate): (Slot, usize)| self.cell(slot, rate).used_tokens(&self.runs, now);
        let most = cells.clone().map(used).max().unwrap_or(0);
        let mut taken = 0_u8;
        rates
            .iter()
            .map(|&rate| {
                let is_same = |&(slot, index): &(Slot, usize)| *self.cell(slot, index).rate() == rate;
                let own = (0..usize::from(self.entry(slot).rates))
                    .find(|&index| taken & (1 << index) == 0 && is_same(&(slot, index)));
                let most_of_it = || cells.clone().filter(|cell| cell.0 != slot).filter(is_same).map(used).max();
                let kept = own.filter(|&index| most_of_it().is_none_or(|most| most <= used((slot, index))));
                let source = match kept.and_then(|index| u8::try_from(index).ok()) {
                    Some(index) => {
                        taken |= 1 << index;
                        Source::Kept(index)
                    }
                    None => Source::New { carried: most.min(rate.capacity()) },
                };
                RateChange { rate, source }
            })
            .collect()
    }
}

/// The decision of a new counter.
pub(crate) fn decide_plan(plan: &[RateChange], now: u64, cost: u64) -> Decision {
    let first = Decision::new(&plan[0].rate, verdict_of_change(&plan[0], now, cost));
    plan.iter()
        .enumerate()
        .skip(1)
        .fold(first, |binding, (i, change)| binding.and(i, &change.rate, verdict_of_change(change, now, cost)))
}

/// What each rate of a new counter says, as [`Table::verdicts`].
pub(crate) fn verdicts_of_plan(plan: &[RateChange], now: u64, cost: u64, allowed: bool) -> Arc<[RateVerdict]> {
    plan.iter()
        .map(|change| RateVerdict {
            rate: change.rate,
            verdict: of_rate(allowed, cost, |cost| verdict_of_change(change, now, cost)),
        })
        .collect()
}

/// What the after-image of a rate of a new counter will be after the consumption of `cost`.
pub(crate) fn image_after_change(change: &RateChange, now: u64, cost: u64) -> AfterImage {
    match change.source {
        Source::New { carried } => change.rate.algorithm().image_after_carried(change.rate.quota(), carried, now, cost),
        Source::Kept(_) => unreachable!("a new counter keeps no state"),
    }
}

fn verdict_of_change(change: &RateChange, now: u64, cost: u64) -> Verdict {
    match change.source {
        Source::New { carried } => change.rate.algorithm().decide_carried(change.rate.quota(), carried, now, cost),
        Source::Kept(_) => unreachable!("a new counter keeps no state"),
    }
}
