//! What a new limit means for a key: which states stay, which start anew with what is already used.

use super::entry::{Decision, Slot};
use super::{Table, of_rate};
use crate::algorithm::Verdict;
use crate::image::{RateChange, Source};
use crate::limit::{Rate, RateVerdict};
use crate::sync::Arc;

impl Table {
    /// The change that sets the key's rates to these. An unchanged rate keeps its state exactly; every other one starts with the
    /// largest amount that any old rate has in use, so that no redefinition hands out fresh quota. With `fresh`, or for a
    /// new key, everything starts unused.
    pub(crate) fn plan(&self, slot: Option<Slot>, rates: &[Rate], fresh: bool, now: u64) -> Vec<RateChange> {
        let Some(slot) = slot.filter(|_| !fresh) else {
            return rates.iter().map(|&rate| RateChange { rate, source: Source::New { carried: 0 } }).collect();
        };
        let old = usize::from(self.entry(slot).rates);
        let used = (0..old).map(|rate| self.cell(slot, rate).used_tokens(&self.runs, now)).max().unwrap_or(0);
        let mut taken = 0_u8;
        rates
            .iter()
            .map(|&rate| {
                let same = (0..old).find(|&i| taken & (1 << i) == 0 && *self.cell(slot, i).rate() == rate);
                let source = match same.and_then(|i| u8::try_from(i).ok()) {
                    Some(i) => {
                        taken |= 1 << i;
                        Source::Kept(i)
                    }
                    None => Source::New { carried: used.min(rate.capacity()) },
                };
                RateChange { rate, source }
            })
            .collect()
    }

    /// The decision that the key would make after that change, without making it.
    pub(crate) fn decide_plan(&self, slot: Option<Slot>, plan: &[RateChange], now: u64, cost: u64) -> Decision {
        let verdict = |change: &RateChange| self.verdict_of_change(slot, change, now, cost);
        let first = Decision::new(&plan[0].rate, verdict(&plan[0]));
        plan.iter()
            .enumerate()
            .skip(1)
            .fold(first, |binding, (i, change)| binding.and(i, &change.rate, verdict(change)))
    }

    /// What each rate would say after that change, as [`Table::verdicts`].
    pub(crate) fn verdicts_of_plan(
        &self,
        slot: Option<Slot>,
        plan: &[RateChange],
        now: u64,
        cost: u64,
        allowed: bool,
    ) -> Arc<[RateVerdict]> {
        plan.iter()
            .map(|change| RateVerdict {
                rate: change.rate,
                verdict: of_rate(allowed, cost, |cost| self.verdict_of_change(slot, change, now, cost)),
            })
            .collect()
    }

    fn verdict_of_change(&self, slot: Option<Slot>, change: &RateChange, now: u64, cost: u64) -> Verdict {
        match (change.source, slot) {
            (Source::Kept(rate), Some(slot)) => self.cell(slot, usize::from(rate)).decide(&self.runs, now, cost),
            (Source::New { carried }, _) => {
                change.rate.algorithm().decide_carried(change.rate.quota(), carried, now, cost)
            }
            (Source::Kept(_), None) => unreachable!("only an existing key keeps states"),
        }
    }
}
