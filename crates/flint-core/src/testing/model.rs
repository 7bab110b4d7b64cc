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

/// The rates of one key, without its totals.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyModel {
    /// Whether its limit was set explicitly or came with a call.
    pub origin: Origin,
    /// In the limit's order.
    pub rates: Vec<RateModel>,
}

impl KeyModel {
    /// A key without a limit.
    pub const fn new(origin: Origin) -> Self {
        Self { origin, rates: Vec::new() }
    }

    /// Whether it has this limit.
    pub fn is(&self, limit: &Limit) -> bool {
        self.rates.iter().map(|rate| &rate.rate).eq(limit.rates())
    }

    /// The highest cost that can ever be allowed.
    pub fn capacity(&self) -> u64 {
        self.rates.iter().map(|rate| rate.rate.capacity()).min().unwrap_or(0)
    }

    /// Gives the key this limit: a rate that it has already keeps its state, another starts with the most that any had in use; with
    /// `reset`, all start with nothing in use.
    pub fn redefine(&mut self, limit: &Limit, origin: Origin, reset: bool, now: u64) {
        let most = self.rates.iter().map(|rate| rate.used_tokens(now)).max().unwrap_or(0);
        let mut old = std::mem::take(&mut self.rates);
        self.origin = origin;
        for &rate in limit.rates() {
            let kept = old.iter().position(|old| old.rate == rate && !reset);
            self.rates.push(match kept {
                Some(index) => old.remove(index),
                None => RateModel::new(rate, if reset { 0 } else { most }, now),
            });
        }
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
