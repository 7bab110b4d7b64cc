//! What can be said without writing: decisions that are not taken, and how keys look to people. Shared by the writing engine
//! and by read-only ones.

use crate::error::{Error, Result};
use crate::hooks::{self, Defect};
use crate::idempotency::IdempotencyWindow;
use crate::image::{Origin, RateChange};
use crate::item::Item;
use crate::limit::{Key, Limit};
use crate::outcome::{Outcome, RateVerdicts};
use crate::status::{Status, TopBy};
use crate::sync::Arc;
use crate::table::plan::{decide_plan, fresh, verdicts_of_plan};
use crate::table::{Decision, MAX_COUNTERS, Slot, Table};
use crate::time::{Timeline, to_wall};

use super::listings::Listings;

/// The keys, the time, and the answers of idempotent calls.
pub(crate) struct View {
    pub(crate) table: Table,
    pub(crate) time: Timeline,
    pub(crate) idempotency: IdempotencyWindow,
    pub(crate) listings: Listings,
    /// Shared with every scan that goes on.
    scanning: Arc<()>,
    #[cfg(feature = "testing")]
    pub(crate) scanned: Scanned,
}

/// While it exists, keys stay in their slots.
pub(crate) struct SlotsStay(#[expect(dead_code, reason = "it is counted")] Arc<()>);

impl View {
    pub(crate) fn new(table: Table, time: Timeline, idempotency: IdempotencyWindow) -> Self {
        Self {
            table,
            time,
            idempotency,
            listings: Listings::default(),
            scanning: Arc::new(()),
            #[cfg(feature = "testing")]
            scanned: Scanned::default(),
        }
    }

    pub(crate) fn empty(time: Timeline) -> Self {
        Self::new(Table::new(), time, IdempotencyWindow::default())
    }
}

/// What scans over all keys did.
#[cfg(feature = "testing")]
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Scanned {
    /// Slots visited.
    pub slots: u64,
    /// Slots of the largest slice, which is visited under the lock.
    pub largest_slice: u32,
    /// Slots, runs and blocks of runs that were visited in the slice with the most of them, of scans and compactions, or rates
    /// that were set.
    pub most_work: u64,
}

impl View {
    /// For a scan, which remembers a slot between two slices.
    pub(crate) fn begin_scan(&self) -> SlotsStay {
        SlotsStay(self.scanning.clone())
    }

    /// Whether memory of deleted keys should be given back, and no scan keeps it.
    #[inline]
    pub(crate) fn wants_settling(&self) -> bool {
        self.table.is_sparse() && Arc::strong_count(&self.scanning) == 1
    }

    /// Runs one slice of a scan, which returns how many slots it visited.
    #[cfg(feature = "testing")]
    pub(crate) fn counting_work(&mut self, slice: impl FnOnce(&mut Self) -> Slot) {
        let before = self.table.visited_runs();
        let slots = slice(self);
        let work = u64::from(slots) + self.table.visited_runs() - before;
        self.scanned.most_work = self.scanned.most_work.max(work);
    }

    /// Runs one slice of a scan, which returns how many slots it visited.
    #[cfg(not(feature = "testing"))]
    #[inline]
    pub(crate) fn counting_work(&mut self, slice: impl FnOnce(&mut Self) -> Slot) {
        slice(self);
    }
}

#[cfg(feature = "testing")]
impl Scanned {
    pub(crate) fn add(&mut self, slots: u32) {
        self.slots += u64::from(slots);
        self.largest_slice = self.largest_slice.max(slots);
    }

    pub(crate) fn add_work(&mut self, work: u64) {
        self.most_work = self.most_work.max(work);
    }
}

/// The time for which several keys are shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    now_ns: u64,
    /// Wall minus engine time.
    offset_ns: i64,
}

/// One item of a call, resolved.
pub(crate) struct Part {
    /// The counter; with a plan the refilled one that a new counter takes the place of, if there is one.
    pub(crate) slot: Option<Slot>,
    /// The limit of a new counter.
    pub(crate) plan: Option<Vec<RateChange>>,
    /// What is taken from the counter: the costs of all items that share it; `None` for those after the first of them.
    pub(crate) takes: Option<u64>,
    pub(crate) decision: Decision,
    pub(crate) verdicts: RateVerdicts,
}

impl View {
    /// Whether the limit that came with a call is not that of the key's most recently used counter. A limit that was set explicitly
    /// takes precedence over any that comes with a call.
    #[inline]
    pub(crate) fn wants_other(&self, head: Slot, limit: Option<&Limit>) -> bool {
        limit.is_some_and(|limit| {
            self.table.entry(head).origin == Origin::Call && !self.table.has_rates(head, limit.rates())
        })
    }

    /// The counter of a key on which a call with this limit decides; `None` if the limit has none yet.
    pub(crate) fn counter(&self, head: Slot, limit: Option<&Limit>) -> Option<Slot> {
        match limit.filter(|_| self.wants_other(head, limit)) {
            Some(limit) => self.table.counter_of(head, limit.rates()),
            None => Some(head),
        }
    }

    #[inline]
    pub(crate) fn valid_cost(&self, slot: Slot, cost: u64) -> Result<()> {
        if self.table.entry(slot).out_of_bounds || cost == 0 || cost > self.table.capacity(slot) {
            return Err(self.refuse(slot, cost));
        }
        Ok(())
    }

    #[cold]
    fn refuse(&self, slot: Slot, cost: u64) -> Error {
        let rates: Vec<_> = self.table.rates(slot).copied().collect();
        if self.table.entry(slot).out_of_bounds {
            let rates: Vec<_> = rates.iter().map(|rate| format!("{} per {} ms", rate.limit(), rate.per_ms())).collect();
            return Error::InvalidLimit(format!(
                "the limit of key {:?} ({}) was set by an older release and is beyond what can be decided exactly; set it \
                 again with limit()",
                self.table.key(slot),
                rates.join("; "),
            ));
        }
        match Limit::new(&rates).and_then(|limit| limit.check_cost(cost)) {
            Err(error) => error,
            Ok(()) => unreachable!("the cost is within the capacity"),
        }
    }

    /// Resolves an item to a counter and a decision.
    pub(crate) fn resolve(&self, item: &Item<'_>, now: u64) -> Result<Part> {
        let head = self.table.find(item.key);
        match head.and_then(|head| self.counter(head, item.limit)) {
            Some(slot) => self.known_part(slot, item.cost, now),
            None => self.new_part(head, item, &[], now),
        }
    }

    /// The part of an item that takes `cost` from a counter.
    pub(super) fn known_part(&self, slot: Slot, cost: u64, now: u64) -> Result<Part> {
        self.valid_cost(slot, cost)?;
        let (decision, verdicts) = self.decide(slot, now, cost);
        Ok(Part { slot: Some(slot), plan: None, takes: Some(cost), decision, verdicts })
    }

    /// The part of an item whose limit has no counter yet. `others`: the counters of the same key that the call uses, and `None` for
    /// each that it creates.
    pub(super) fn new_part(
        &self,
        head: Option<Slot>,
        item: &Item<'_>,
        others: &[Option<Slot>],
        now: u64,
    ) -> Result<Part> {
        let key = Key::new(item.key)?.as_str();
        let limit = item.limit.ok_or_else(|| Error::LimitNotFound { key: key.to_owned() })?;
        limit.check_cost(item.cost)?;
        let slot = head.map(|head| self.place(head, others, now)).transpose()?.flatten();
        let plan = fresh(limit.rates());
        let (decision, verdicts) = decide_new(&plan, now, item.cost);
        Ok(Part { slot, plan: Some(plan), takes: Some(item.cost), decision, verdicts })
    }

    /// The refilled counter, of those that the call does not use, that a new counter takes the place of: the least recently used
    /// one. `None` while there is room for one more.
    fn place(&self, head: Slot, others: &[Option<Slot>], now: u64) -> Result<Option<Slot>> {
        let created = others.iter().filter(|other| other.is_none()).count();
        if self.table.counters(head).count() + created < MAX_COUNTERS {
            return Ok(None);
        }
        let refilled = |&slot: &Slot| {
            !others.contains(&Some(slot)) && (self.table.is_refilled(slot, now) || hooks::has(Defect::DropUsedCounter))
        };
        self.table.counters(head).filter(refilled).last().map(Some).ok_or_else(|| {
            Error::InvalidLimit(format!(
                "key {:?} has {MAX_COUNTERS} limits that came with calls, the most that are kept, and part of each is in use: wait \
                 until one is full again, reset() the key, or use a key of its own for each limit, such as {:?}",
                self.table.key(head),
                format!("{}:search", self.table.key(head)),
            ))
        })
    }

    /// The same part, only looked at.
    pub(crate) fn look(&self, part: &Part, now: u64) -> (Decision, RateVerdicts) {
        match (&part.plan, part.slot) {
            (Some(plan), _) => decide_new(plan, now, 0),
            (None, Some(slot)) => self.decide(slot, now, 0),
            (None, None) => unreachable!("an unknown key without a limit was refused"),
        }
    }

    /// Decides about taking `cost`, and returns the verdict of each rate. Changes nothing.
    #[inline]
    pub(crate) fn decide(&self, slot: Slot, now: u64, cost: u64) -> (Decision, RateVerdicts) {
        let decision = self.table.decide(slot, now, cost);
        let verdicts = match self.table.entry(slot).rates {
            1 => RateVerdicts::One(*self.table.first_rate(slot)),
            _ => RateVerdicts::Each(self.table.verdicts(slot, now, cost, decision.verdict.allowed)),
        };
        (decision, verdicts)
    }

    /// Nanoseconds until the last of `costs` would have been allowed if they were taken in this order, each as soon as it
    /// fits, and nothing else happened; `u64::MAX` for never.
    pub(crate) fn forecast(&mut self, key: &str, limit: Option<&Limit>, costs: &[u64]) -> Result<u64> {
        let now = self.time.now();
        let head = self.table.find(key);
        let slot = head.and_then(|head| self.counter(head, limit));
        let plan = match slot {
            Some(_) => None,
            None => Some(fresh(limit.ok_or_else(|| Error::LimitNotFound { key: key.to_owned() })?.rates())),
        };
        Ok(self.table.forecast(slot, plan.as_deref(), costs, now))
    }

    /// What a check would say.
    pub(crate) fn peek(&mut self, item: &Item<'_>) -> Result<Outcome> {
        let now = self.time.now();
        let part = self.resolve(item, now)?;
        Ok(self.outcome(part.decision, part.verdicts, now, item.cost, 0))
    }

    #[inline]
    pub(crate) fn outcome(
        &mut self,
        decision: Decision,
        verdicts: RateVerdicts,
        now: u64,
        cost: u64,
        seq: u64,
    ) -> Outcome {
        let verdict = decision.verdict;
        Outcome {
            allowed: verdict.allowed,
            cost,
            limit: decision.limit,
            remaining: verdict.remaining,
            retry_after_ns: verdict.retry_after_ns.saturating_sub(u64::from(hooks::has(Defect::RetryTooEarly))),
            reset_after_ns: verdict.reset_after_ns,
            reset_at_wall_ns: to_wall(now.saturating_add(verdict.reset_after_ns), self.time.offset_ns(now)),
            verdicts,
            seq,
        }
    }

    /// The most recently used counter of a key that must exist.
    pub(crate) fn known(&self, key: &str) -> Result<Slot> {
        let key = Key::new(key)?.as_str();
        self.table.find(key).ok_or_else(|| Error::LimitNotFound { key: key.to_owned() })
    }

    /// The current time.
    pub(crate) fn moment(&mut self) -> Moment {
        let now_ns = self.time.now();
        self.time.anchor();
        Moment { now_ns, offset_ns: self.time.offset_ns(now_ns) }
    }

    pub(crate) fn status(&mut self, key: &str) -> Option<Status> {
        let slot = self.table.find(key)?;
        let moment = self.moment();
        Some(self.status_at(slot, moment))
    }

    /// What is left of a key's limit, and when all of it is back, as wall-clock time.
    pub(crate) fn remaining_at(&self, slot: Slot, moment: Moment) -> (u64, u64) {
        let verdict = self.table.decide(slot, moment.now_ns, 0).verdict;
        (verdict.remaining, to_wall(moment.now_ns.saturating_add(verdict.reset_after_ns), moment.offset_ns))
    }

    /// The status of the key of a counter.
    pub(crate) fn status_at(&self, slot: Slot, moment: Moment) -> Status {
        Status::of(&self.table, self.table.head(slot), moment.now_ns, moment.offset_ns)
    }

    /// What `top` sorts by, of the key of a counter.
    pub(crate) fn total(&self, slot: Slot, by: TopBy) -> u64 {
        let totals = self.table.key_totals(self.table.head(slot));
        match by {
            TopBy::Allowed => totals.allowed,
            TopBy::Denied => totals.denied,
            TopBy::AllowedCost => totals.allowed_cost,
            TopBy::DeniedCost => totals.denied_cost,
        }
    }
}

/// The decision of a new counter, and what each of its rates says.
fn decide_new(plan: &[RateChange], now: u64, cost: u64) -> (Decision, RateVerdicts) {
    let decision = decide_plan(plan, now, cost);
    let verdicts = match plan {
        [only] => RateVerdicts::One(only.rate),
        _ => RateVerdicts::Each(verdicts_of_plan(plan, now, cost, decision.verdict.allowed)),
    };
    (decision, verdicts)
}
