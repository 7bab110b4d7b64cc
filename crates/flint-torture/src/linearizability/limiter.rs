//! The sequential limiter that histories are compared with: the reference model of each key, plain integers, one caller. Figures are not computed but checked against what they mean: `retry_after_ns` is right if the call
//! would be denied a nanosecond before and allowed then.

use std::collections::BTreeMap;

use flint_core::engine::{MultiOutcome, OnChange, Outcome, Status};
use flint_core::image::Origin;
use flint_core::limit::Limit;
use flint_core::testing::model::{KeyModel, RateModel};

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

/// One key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Entry {
    model: KeyModel,
    /// Number and cost.
    allowed: (u64, u64),
    /// Number and cost.
    denied: (u64, u64),
    /// Whether the store knows of all of them: a crash forgets some.
    denied_known: bool,
}

impl Entry {
    const fn new() -> Self {
        Self { model: KeyModel::new(Origin::Call), allowed: (0, 0), denied: (0, 0), denied_known: true }
    }

    fn is_explicit(&self) -> bool {
        self.model.origin == Origin::Explicit
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
    keys: BTreeMap<Key, Entry>,
}

impl Limiter {
    /// An open store without keys, at this engine time.
    pub const fn new(now: u64) -> Self {
        Self { now, open: true, seq: 0, keys: BTreeMap::new() }
    }

    /// The key as the call wants it, or why the call is refused.
    fn resolve(&self, ask: &Ask) -> Result<Entry, Blocked> {
        match (self.keys.get(&ask.key), &ask.limit) {
            (None, None) => Err(Blocked::NotFound),
            (Some(entry), limit) if entry.is_explicit() || limit.as_ref().is_none_or(|limit| entry.model.is(limit)) => {
                if entry.accepts(ask.cost) {
                    Ok(entry.clone())
                } else {
                    Err(Blocked::InvalidCost)
                }
            }
            (entry, Some(limit)) => {
                let mut entry = entry.cloned().unwrap_or(Entry::new());
                entry.model.redefine(limit, Origin::Call, false, self.now);
                if entry.accepts(ask.cost) { Ok(entry) } else { Err(Blocked::InvalidCost) }
            }
            (Some(_), None) => unreachable!("the arm before takes it"),
        }
    }

    fn count_denied(&mut self, ask: &Ask) {
        // A key that only the call would have made is not there to count anything.
        if let Some(entry) = self.keys.get_mut(&ask.key) {
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
        let entry = match self.resolve(ask) {
            Ok(entry) => entry,
            Err(refusal) => return (*answer == Answer::Refused(refusal)).then(|| self.clone()),
        };
        let Answer::Outcome(outcome) = answer else { return None };
        let after = entry.decides(self.now, ask.cost, outcome)?;
        let mut next = self.clone();
        let numbered = if outcome.allowed {
            next.keys.insert(ask.key, after);
            next.wrote(outcome.seq)
        } else {
            next.count_denied(ask);
            outcome.seq == 0
        };
        (numbered && outcome.cost == ask.cost).then_some(next)
    }

    fn check_all(&self, asks: &[Ask], answer: &Answer) -> Option<Self> {
        let entries: Vec<Entry> = match asks.iter().map(|ask| self.resolve(ask)).collect() {
            Ok(entries) => entries,
            Err(refusal) => return (*answer == Answer::Refused(refusal)).then(|| self.clone()),
        };
        let Answer::Multi(multi) = answer else { return None };
        let allowed = asks.iter().zip(&entries).map(|(ask, entry)| entry.allows(self.now, ask.cost));
        let denied = allowed.collect::<Vec<_>>().iter().position(|allowed| !allowed);
        if multi.items.len() != asks.len() || multi.denied != denied || multi.allowed != denied.is_none() {
            return None;
        }
        let mut next = self.clone();
        let mut longest = 0;
        for ((ask, entry), outcome) in asks.iter().zip(&entries).zip(&multi.items) {
            // What would have been allowed is only looked at when another is denied.
            let cost = if multi.allowed || !outcome.allowed { ask.cost } else { 0 };
            let after = entry.decides(self.now, cost, outcome)?;
            if outcome.cost != ask.cost || outcome.seq != multi.seq {
                return None;
            }
            if multi.allowed {
                next.keys.insert(ask.key, after);
            } else if !outcome.allowed {
                next.count_denied(ask);
            }
            longest = longest.max(outcome.retry_after_ns);
        }
        let numbered = if multi.allowed { next.wrote(multi.seq) } else { multi.seq == 0 };
        (numbered && multi.retry_after_ns == longest).then_some(next)
    }

    /// Takes what every ask wants, or counts those that are denied; `None` when one is refused.
    fn take_all(&mut self, asks: &[Ask]) -> Option<()> {
        let now = self.now;
        let entries: Vec<Entry> = asks.iter().map(|ask| self.resolve(ask).ok()).collect::<Option<_>>()?;
        let denied = |(ask, entry): (&Ask, &Entry)| !entry.allows(now, ask.cost);
        let any_denied = asks.iter().zip(&entries).any(denied);
        for (ask, entry) in asks.iter().zip(&entries) {
            if !any_denied {
                self.keys.insert(ask.key, entry.after(now, ask.cost));
            } else if denied((ask, entry)) {
                self.count_denied(ask);
            }
        }
        Some(())
    }

    /// The state after the call took effect, if it does at all, whatever it would have said.
    fn effect(&self, op: &Op) -> Option<Self> {
        let mut next = self.clone();
        let now = self.now;
        match op {
            Op::Advance(ns) => next.now += ns,
            Op::Check(ask) => next.take_all(std::slice::from_ref(ask))?,
            Op::CheckAll(asks) => next.take_all(asks)?,
            Op::Peek(_) | Op::Status(_) => {}
            Op::Limit(key, limit, on_change) => {
                let entry = next.keys.entry(*key).or_insert_with(Entry::new);
                if !(entry.is_explicit() && entry.model.is(limit)) {
                    entry.model.redefine(limit, Origin::Explicit, *on_change == OnChange::Reset, now);
                }
            }
            Op::Reset(key) => next.keys.get_mut(key)?.model.reset(),
            Op::Delete(key) => drop(next.keys.remove(key)?),
            Op::Close => next.open = false,
            Op::Open(now) => (next.now, next.open) = (*now, true),
            Op::Crash(now) => {
                (next.now, next.open) = (*now, true);
                next.keys.values_mut().for_each(|entry| entry.denied_known = false);
            }
        }
        Some(next)
    }
}

impl Specification for Limiter {
    type Op = Op;
    type Answer = Answer;

    fn step(&self, op: &Op, answer: &Answer) -> Vec<Self> {
        if *answer == Answer::Lost {
            return std::iter::once(self.clone()).chain(self.effect(op)).collect();
        }
        let anytime = matches!(op, Op::Advance(_) | Op::Close | Op::Open(_) | Op::Crash(_));
        let next = if !self.open && !anytime {
            (*answer == Answer::Closed).then(|| self.clone())
        } else {
            match op {
                Op::Check(ask) => self.check(ask, answer),
                Op::CheckAll(asks) => self.check_all(asks, answer),
                Op::Peek(ask) => match (self.resolve(ask), answer) {
                    (Ok(entry), Answer::Outcome(outcome)) => entry
                        .decides(self.now, ask.cost, outcome)
                        .filter(|_| outcome.seq == 0 && outcome.cost == ask.cost)
                        .map(|_| self.clone()),
                    (Err(refusal), answer) => (*answer == Answer::Refused(refusal)).then(|| self.clone()),
                    _ => None,
                },
                Op::Status(key) => match (self.keys.get(key), answer) {
                    (Some(entry), Answer::Status(Some(status))) => entry.shows(self.now, status).then(|| self.clone()),
                    (None, Answer::Status(None)) => Some(self.clone()),
                    _ => None,
                },
                _ => match (self.effect(op), answer) {
                    (Some(next), Answer::Done) => Some(next),
                    (None, Answer::Refused(Blocked::NotFound)) => Some(self.clone()),
                    _ => None,
                },
            }
        };
        next.into_iter().collect()
    }
}
