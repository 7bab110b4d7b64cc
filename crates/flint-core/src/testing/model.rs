//! The reference model of a limiter for the Rust tests: the definitions of the algorithms in their most naive form. Every rate keeps
//! all that was ever taken from it, and what is in use is worked out anew each time. It shares no code with `crate::algorithm`.
//! `tests/python/model.py` is another one, written independently of this.

use crate::image::Origin;
use crate::limit::{Algorithm, Limit, Rate};

/// One rate and what was taken from it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RateModel {
    /// The rate.
    pub rate: Rate,
    /// Engine time in nanoseconds, and tokens.
    taken: Vec<(u64, u64)>,
}

impl RateModel {
    /// A rate from which `used` tokens were taken at `now`, at most all that it has.
    pub fn new(rate: Rate, used: u64, now: u64) -> Self {
        let used = used.min(rate.capacity());
        Self { rate, taken: if used > 0 { vec![(now, used)] } else { Vec::new() } }
    }

    fn per_ns(&self) -> u128 {
        u128::from(self.rate.per_ms()) * 1_000_000
    }

    /// What is in use at `now`, in tokens x nanoseconds of the period.
    pub fn used(&self, now: u64) -> u128 {
        let per_ns = self.per_ns();
        let tokens = |count: u64| u128::from(count) * per_ns;
        match self.rate.algorithm() {
            Algorithm::TokenBucket => {
                let (mut used, mut at) = (0_u128, 0_u64);
                for &(time, cost) in self.taken.iter().chain([&(now, 0)]) {
                    let back = u128::from(time - at).saturating_mul(u128::from(self.rate.limit()));
                    used = used.saturating_sub(back) + tokens(cost);
                    at = time;
                }
                used
            }
            Algorithm::FixedWindowCounter => {
                let over = |start: u64, at: u64| u128::from(at - start) >= per_ns;
                let (mut start, mut used) = (0, 0);
                for &(time, cost) in &self.taken {
                    (start, used) = if used == 0 || over(start, time) { (time, cost) } else { (start, used + cost) };
                }
                if over(start, now) { 0 } else { tokens(used) }
            }
            Algorithm::SlidingWindowLog => {
                let counts = |time: u64| now / 1_000_000 < time.div_ceil(1_000_000) + self.rate.per_ms();
                tokens(self.taken.iter().filter(|(time, _)| counts(*time)).map(|(_, cost)| cost).sum())
            }
        }
    }

    /// The same in tokens, up to whole ones.
    pub fn used_tokens(&self, now: u64) -> u64 {
        u64::try_from(self.used(now).div_ceil(self.per_ns())).unwrap_or(u64::MAX)
    }

    fn capacity(&self) -> u128 {
        u128::from(self.rate.capacity()) * self.per_ns()
    }

    /// Whether `cost` tokens are free.
    pub fn allows(&self, now: u64, cost: u64) -> bool {
        self.used(now) + u128::from(cost) * self.per_ns() <= self.capacity()
    }

    /// Whole tokens that are free.
    pub fn remaining(&self, now: u64) -> u64 {
        u64::try_from((self.capacity() - self.used(now)) / self.per_ns()).unwrap_or(u64::MAX)
    }

    /// Takes tokens. Equal states are equal values: what no longer matters is dropped, what was taken at one moment is one entry.
    pub fn take(&mut self, now: u64, cost: u64) {
        if self.used(now) == 0 {
            self.taken.clear();
        }
        match self.taken.last_mut() {
            Some((time, taken)) if *time == now => *taken += cost,
            _ => self.taken.push((now, cost)),
        }
    }
}

/// The rates of one counter, without its totals.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CounterModel {
    /// Whether its limit was set explicitly or came with a call.
    pub origin: Origin,
    /// In the limit's order.
    pub rates: Vec<RateModel>,
}

impl CounterModel {
    /// A counter of which nothing is in use.
    pub fn new(limit: &Limit, origin: Origin, now: u64) -> Self {
        Self { origin, rates: limit.rates().iter().map(|&rate| RateModel::new(rate, 0, now)).collect() }
    }

    /// Whether it has this limit, with its rates in this order.
    pub fn is(&self, limit: &Limit) -> bool {
        self.rates.iter().map(|rate| &rate.rate).eq(limit.rates())
    }

    /// How many rates it has in common with a limit.
    fn shared(&self, limit: &Limit) -> usize {
        let mut left = limit.rates().to_vec();
        let mut shared = 0;
        for rate in &self.rates {
            if let Some(index) = left.iter().position(|other| *other == rate.rate) {
                left.remove(index);
                shared += 1;
            }
        }
        shared
    }

    /// Whether it has this limit, in any order.
    pub fn counts(&self, limit: &Limit) -> bool {
        self.shared(limit) == limit.rates().len() && self.rates.len() == limit.rates().len()
    }

    /// Whether nothing is in use.
    pub fn is_refilled(&self, now: u64) -> bool {
        self.rates.iter().all(|rate| rate.used(now) == 0)
    }

    /// The highest cost that can ever be allowed.
    pub fn capacity(&self) -> u64 {
        self.rates.iter().map(|rate| rate.rate.capacity()).min().unwrap_or(0)
    }

    /// Whether all rates have `cost` tokens free.
    pub fn allows(&self, now: u64, cost: u64) -> bool {
        self.rates.iter().all(|rate| rate.allows(now, cost))
    }

    /// The first rate with the fewest tokens left.
    pub fn fewest(&self, now: u64) -> usize {
        let left = |index: usize| self.rates[index].remaining(now);
        (1..self.rates.len()).fold(0, |least, index| if left(index) < left(least) { index } else { least })
    }

    /// Takes `cost` tokens of every rate.
    pub fn take(&mut self, now: u64, cost: u64) {
        self.rates.iter_mut().for_each(|rate| rate.take(now, cost));
    }

    /// Nothing is in use any more.
    pub fn reset(&mut self) {
        self.rates.iter_mut().for_each(|rate| rate.taken.clear());
    }
}

/// On which counter of a key a call decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// On this one.
    Counter(usize),
    /// On a new one, in the place of a counter of which nothing is in use, if there are too many.
    New(Option<usize>),
    /// On none: there are too many.
    TooMany,
    /// On none: the key has no limit, and none came with the call.
    Unknown,
}

/// The choice among the counters of a key, the most recently used first. `busy`: those that the same call uses; `created`: how many
/// it creates.
pub fn choose(counters: &[&CounterModel], limit: Option<&Limit>, now: u64, busy: &[usize], created: usize) -> Choice {
    match (counters, limit) {
        ([], None) => Choice::Unknown,
        ([], Some(_)) => Choice::New(None),
        ([first, ..], limit) if first.origin == Origin::Explicit || limit.is_none() => Choice::Counter(0),
        (_, None) => Choice::Unknown,
        (counters, Some(limit)) => {
            if let Some(index) = counters.iter().position(|counter| counter.counts(limit)) {
                return Choice::Counter(index);
            }
            if counters.len() + created < 8 {
                return Choice::New(None);
            }
            let free = |index: &usize| counters[*index].is_refilled(now) && !busy.contains(index);
            (0..counters.len()).rev().find(free).map_or(Choice::TooMany, |index| Choice::New(Some(index)))
        }
    }
}

/// The counter that an explicit limit leaves of those of a key, the most recently used first, and which of them it continues. A rate
/// that the continued one has keeps its state, unless another has more of the same in use; every other rate starts with the most that
/// any rate has in use; with `reset`, all start with nothing in use.
pub fn redefine(counters: &[&CounterModel], limit: &Limit, reset: bool, now: u64) -> (Option<usize>, CounterModel) {
    let most_shared = counters.iter().map(|counter| counter.shared(limit)).max();
    let kept = counters.iter().position(|counter| Some(counter.shared(limit)) == most_shared);
    let mut new = CounterModel::new(limit, Origin::Explicit, now);
    let Some(index) = kept.filter(|_| !reset) else { return (kept, new) };
    let rates = || counters.iter().flat_map(|counter| &counter.rates);
    let most = rates().map(|rate| rate.used_tokens(now)).max().unwrap_or(0);
    let mut own = counters[index].rates.clone();
    for rate in &mut new.rates {
        let others = counters.iter().enumerate().filter(|(other, _)| *other != index);
        let same = others.flat_map(|(_, counter)| &counter.rates).filter(|other| other.rate == rate.rate);
        let most_of_it = same.map(|other| other.used_tokens(now)).max().unwrap_or(0);
        *rate = match own.iter().position(|own| own.rate == rate.rate) {
            Some(index) if own[index].used_tokens(now) >= most_of_it => own.remove(index),
            _ => RateModel::new(rate.rate, most, now),
        };
    }
    (kept, new)
}
