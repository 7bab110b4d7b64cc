//! The sequential limiter that histories are compared with: the reference model of each key, plain integers, one caller. Figures are not computed but checked against what they mean: `retry_after_ns` is right if the call
//! would be denied a nanosecond before and allowed then.

use std::collections::BTreeMap;

use flint_core::engine::{MultiOutcome, OnChange, Outcome, Status};
use flint_core::image::Origin;
use flint_core::limit::Limit;
use flint_core::testing::model::{Choice, CounterModel, RateModel, choose, redefine};

use super::checker::Specification;

/// A key, by number: histories are short.
pub type Key = u8;

/// One key's part of a check.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The key.
    pub key: Key,
    /// Tokens.
    pub cost: u64,
    /// The limit that came with the call.
    pub limit: Option<Limit>,
}

/// A call.
#[derive(Debug, Clone)]
pub enum Op {
    /// Time passes, for every caller.
    Advance(u64),
    /// `check`.
    Check(Ask),
    /// `check_all`.
    CheckAll(Vec<Ask>),
    /// `peek`.
    Peek(Ask),
    /// `status`.
    Status(Key),
    /// `limit`.
    Limit(Key, Limit, OnChange),
    /// `reset`.
    Reset(Key),
    /// `delete`.
    Delete(Key),
    /// `close`.
    Close,
    /// The store is opened again, at this engine time.
    Open(u64),
    /// The process dies and the store is opened again, at this engine time. Denials that were not saved are forgotten.
    Crash(u64),
}

/// Why a call was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocked {
    /// `LimitNotFound`.
    NotFound,
    /// `InvalidCost`.
    InvalidCost,
    /// `InvalidLimit`.
    TooMany,
}

/// What a call said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Done.
    Done,
    /// `check` and `peek`.
    Outcome(Outcome),
    /// `check_all`.
    Multi(MultiOutcome),
    /// `status`.
    Status(Option<Status>),
    /// The call makes no sense for the key as it is.
    Refused(Blocked),
    /// `Closed`.
    Closed,
    /// The process ended before the answer: the call may have taken effect or not.
    Lost,
}

/// Whether `after_ns` is when nothing will be in use any more.
fn is_reset_after(rate: &RateModel, now: u64, after_ns: u64) -> bool {
    let then = now.saturating_add(after_ns);
    rate.used(then) == 0 && (after_ns == 0 || rate.used(then - 1) > 0)
}

/// One counter of a key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Entry {
    model: CounterModel,
    /// Number and cost.
    allowed: (u64, u64),
    /// Number and cost.
    denied: (u64, u64),
    /// Whether the store knows of all of them: a crash forgets some.
    denied_known: bool,
}

impl Entry {
    const fn of(model: CounterModel) -> Self {
        Self { model, allowed: (0, 0), denied: (0, 0), denied_known: true }
    }

    /// With the totals of another added.
    fn and_totals(mut self, other: &Self) -> Self {
        let sum = |a: (u64, u64), b: (u64, u64)| (a.0 + b.0, a.1 + b.1);
        self.allowed = sum(self.allowed, other.allowed);
        self.denied = sum(self.denied, other.denied);
        self.denied_known &= other.denied_known;
        self
    }

    fn accepts(&self, cost: u64) -> bool {
        (1..=self.model.capacity()).contains(&cost)
    }

    fn allows(&self, now: u64, cost: u64) -> bool {
        self.model.allows(now, cost)
    }

    /// Whether `cost` would be denied a nanosecond before `after_ns`, and allowed then.
    fn is_retry_after(&self, now: u64, cost: u64, after_ns: u64) -> bool {
        self.allows(now.saturating_add(after_ns), cost)
            && (after_ns == 0 || !self.allows(now.saturating_add(after_ns - 1), cost))
    }

    /// The key after `cost` was taken; a cost of 0 only looks.
    fn after(&self, now: u64, cost: u64) -> Self {
        let mut after = self.clone();
        if cost > 0 {
            after.model.take(now, cost);
            after.allowed = (after.allowed.0 + 1, after.allowed.1 + cost);
        }
        after
    }

    /// Whether the key would answer this for `cost` (0 for a peek); returns the key after it.
    fn decides(&self, now: u64, cost: u64, outcome: &Outcome) -> Option<Self> {
        let allowed = self.allows(now, cost);
        if outcome.allowed != allowed || !self.is_retry_after(now, cost, outcome.retry_after_ns) {
            return None;
        }
        let after = if allowed { self.after(now, cost) } else { self.clone() };
        let binding = if allowed {
            after.model.fewest(now)
        } else {
            // The rate with the longest wait: it would still deny a nanosecond earlier.
            let before = now.saturating_add(outcome.retry_after_ns - 1);
            self.model.rates.iter().position(|rate| !rate.allows(before, cost))?
        };
        let rate = &after.model.rates[binding];
        let figures = outcome.limit == rate.rate.limit()
            && outcome.remaining == rate.remaining(now)
            && is_reset_after(rate, now, outcome.reset_after_ns);
        figures.then_some(after)
    }

    /// Whether a status says this of the most recently used counter, with the totals of all.
    fn shows(&self, now: u64, status: &Status) -> bool {
        let binding = self.model.fewest(now);
        status.rates.iter().eq(self.model.rates.iter().map(|rate| &rate.rate))
            && status.binding == binding
            && status.origin == self.model.origin
            && status.remaining == self.model.rates[binding].remaining(now)
            && self.is_retry_after(now, 1, status.retry_after_ns)
            && (status.total_allowed, status.total_allowed_cost) == self.allowed
            && (!self.denied_known || (status.total_denied, status.total_denied_cost) == self.denied)
    }
}

/// The limiter.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Limiter {
    now: u64,
    open: bool,
    /// The newest record that an answer named. The log's order is the order of decisions.
    seq: u64,
    /// The counters of each key, the most recently used first.
    keys: BTreeMap<Key, Vec<Entry>>,
}

/// What a call finds.
struct Found {
    choice: Choice,
    entry: Entry,
}

impl Limiter {
    /// An open store without keys, at this engine time.
    pub const fn new(now: u64) -> Self {
        Self { now, open: true, seq: 0, keys: BTreeMap::new() }
    }

    /// The counter that decides on a call, or why the call is refused. Histories name a key once in a call.
    fn resolve(&self, ask: &Ask) -> Result<Found, Blocked> {
        let counters = self.keys.get(&ask.key).map_or(&[][..], |counters| counters);
        let models: Vec<_> = counters.iter().map(|entry| &entry.model).collect();
        let choice = choose(&models, ask.limit.as_ref(), self.now, &[], 0);
        let entry = match (choice, &ask.limit) {
            (Choice::Counter(index), _) => counters[index].clone(),
            (Choice::New(_), Some(limit)) => Entry::of(CounterModel::new(limit, Origin::Call, self.now)),
            (Choice::TooMany, Some(limit)) if (1..=limit.capacity()).contains(&ask.cost) => {
                return Err(Blocked::TooMany);
            }
            (Choice::TooMany, _) => return Err(Blocked::InvalidCost),
            _ => return Err(Blocked::NotFound),
        };
        if entry.accepts(ask.cost) { Ok(Found { choice, entry }) } else { Err(Blocked::InvalidCost) }
    }

    /// Puts the counter of a call that was allowed before the others of its key.
    fn put(&mut self, key: Key, choice: Choice, entry: Entry) {
        let counters = self.keys.entry(key).or_default();
        let entry = match choice {
            Choice::Counter(index) => {
                counters.remove(index);
                entry
            }
            Choice::New(Some(index)) => entry.and_totals(&counters.remove(index)),
            _ => entry,
        };
        counters.insert(0, entry);
    }

    fn count_denied(&mut self, ask: &Ask, choice: Choice) {
        // A counter that only the call would have made is not there to count anything.
        if let (Choice::Counter(index), Some(counters)) = (choice, self.keys.get_mut(&ask.key)) {
            let entry = &mut counters[index];
            entry.denied = (entry.denied.0 + 1, entry.denied.1 + ask.cost);
        }
    }

    /// Whether a record of this number may come now.
    fn wrote(&mut self, seq: u64) -> bool {
        let newer = seq > self.seq;
        self.seq = self.seq.max(seq);
        newer
    }

    fn check(&self, ask: &Ask, answer: &Answer) -> Option<Self> {
        let Found { choice, entry } = match self.resolve(ask) {
            Ok(found) => found,
            Err(refusal) => return (*answer == Answer::Refused(refusal)).then(|| self.clone()),
        };
        let Answer::Outcome(outcome) = answer else { return None };
        let after = entry.decides(self.now, ask.cost, outcome)?;
        let mut next = self.clone();
        let numbered = if outcome.allowed {
            next.put(ask.key, choice, after);
            next.wrote(outcome.seq)
        } else {
            next.count_denied(ask, choice);
            outcome.seq == 0
        };
        (numbered && outcome.cost == ask.cost).then_some(next)
    }

    fn check_all(&self, asks: &[Ask], answer: &Answer) -> Option<Self> {
        let all: Vec<Found> = match asks.iter().map(|ask| self.resolve(ask)).collect() {
            Ok(all) => all,
            Err(refusal) => return (*answer == Answer::Refused(refusal)).then(|| self.clone()),
        };
        let Answer::Multi(multi) = answer else { return None };
        let allowed = asks.iter().zip(&all).map(|(ask, found)| found.entry.allows(self.now, ask.cost));
        let denied = allowed.collect::<Vec<_>>().iter().position(|allowed| !allowed);
        if multi.items.len() != asks.len() || multi.denied != denied || multi.allowed != denied.is_none() {
            return None;
        }
        let mut next = self.clone();
        let mut longest = 0;
        for ((ask, Found { choice, entry }), outcome) in asks.iter().zip(&all).zip(&multi.items) {
            // What would have been allowed is only looked at when another is denied.
            let cost = if multi.allowed || !outcome.allowed { ask.cost } else { 0 };
            let after = entry.decides(self.now, cost, outcome)?;
            if outcome.cost != ask.cost || outcome.seq != multi.seq {
                return None;
            }
            if multi.allowed {
                next.put(ask.key, *choice, after);
            } else if !outcome.allowed {
                next.count_denied(ask, *choice);
            }
            longest = longest.max(outcome.retry_after_ns);
        }
        let numbered = if multi.allowed { next.wrote(multi.seq) } else { multi.seq == 0 };
        (numbered && multi.retry_after_ns == longest).then_some(next)
    }

    /// Takes the cost of every ask, or counts those that are denied; `None` when one is refused.
    fn take_all(&mut self, asks: &[Ask]) -> Option<()> {
        let now = self.now;
        let all: Vec<Found> = asks.iter().map(|ask| self.resolve(ask).ok()).collect::<Option<_>>()?;
        let denied = |(ask, found): (&Ask, &Found)| !found.entry.allows(now, ask.cost);
        let any_denied = asks.iter().zip(&all).any(denied);
        for (ask, found) in asks.iter().zip(&all) {
            if !any_denied {
                self.put(ask.key, found.choice, found.entry.after(now, ask.cost));
            } else if denied((ask, found)) {
                self.count_denied(ask, found.choice);
            }
        }
        Some(())
    }

    /// Sets a limit explicitly, in the place of all counters.
    fn set(&mut self, key: Key, limit: &Limit, on_change: OnChange) {
        let now = self.now;
        let counters = self.keys.entry(key).or_default();
        let models: Vec<_> = counters.iter().map(|entry| &entry.model).collect();
        if models.first().is_some_and(|model| model.origin == Origin::Explicit && model.is(limit)) {
            return;
        }
        let (_, model) = redefine(&models, limit, on_change == OnChange::Reset, now);
        let new = counters.iter().fold(Entry::of(model), |new, old| new.and_totals(old));
        *counters = vec![new];
    }

    /// The state after the call took effect, if it does at all, whatever it would have said.
    fn effect(&self, op: &Op) -> Option<Self> {
        let mut next = self.clone();
        match op {
            Op::Advance(ns) => next.now += ns,
            Op::Check(ask) => next.take_all(std::slice::from_ref(ask))?,
            Op::CheckAll(asks) => next.take_all(asks)?,
            Op::Peek(_) | Op::Status(_) => {}
            Op::Limit(key, limit, on_change) => next.set(*key, limit, *on_change),
            Op::Reset(key) => next.keys.get_mut(key)?.iter_mut().for_each(|entry| entry.model.reset()),
            Op::Delete(key) => drop(next.keys.remove(key)?),
            Op::Close => next.open = false,
            Op::Open(now) => (next.now, next.open) = (*now, true),
            Op::Crash(now) => {
                (next.now, next.open) = (*now, true);
                next.keys.values_mut().flatten().for_each(|entry| entry.denied_known = false);
            }
        }
        Some(next)
    }
}

impl Specification for Limiter {
    type Op = Op;
    type Answer = Answer;

    fn may_be_lost(answer: &Answer) -> bool {
        *answer == Answer::Lost
    }

    fn step(&self, op: &Op, answer: &Answer) -> Option<Self> {
        if *answer == Answer::Lost {
            return self.effect(op);
        }
        let anytime = matches!(op, Op::Advance(_) | Op::Close | Op::Open(_) | Op::Crash(_));
        if !self.open && !anytime {
            return (*answer == Answer::Closed).then(|| self.clone());
        }
        match op {
            Op::Check(ask) => self.check(ask, answer),
            Op::CheckAll(asks) => self.check_all(asks, answer),
            Op::Peek(ask) => match (self.resolve(ask), answer) {
                (Ok(found), Answer::Outcome(outcome)) => found
                    .entry
                    .decides(self.now, ask.cost, outcome)
                    .filter(|_| outcome.seq == 0 && outcome.cost == ask.cost)
                    .map(|_| self.clone()),
                (Err(refusal), answer) => (*answer == Answer::Refused(refusal)).then(|| self.clone()),
                _ => None,
            },
            Op::Status(key) => match (self.keys.get(key), answer) {
                (Some(counters), Answer::Status(Some(status))) => {
                    let shown = counters[1..].iter().fold(counters[0].clone(), |sum, other| sum.and_totals(other));
                    (shown.shows(self.now, status) && status.counters().len() == counters.len()).then(|| self.clone())
                }
                (None, Answer::Status(None)) => Some(self.clone()),
                _ => None,
            },
            _ => match (self.effect(op), answer) {
                (Some(next), Answer::Done) => Some(next),
                (None, Answer::Refused(Blocked::NotFound)) => Some(self.clone()),
                _ => None,
            },
        }
    }
}
