//! The definitions of design section 3, in their most naive form.

use flint_core::image::Origin;
use flint_core::limit::{Algorithm, Limit, Rate};

/// One rate and everything that was ever taken from it.
#[derive(Debug, Clone)]
pub(crate) struct RateModel {
    pub(crate) rate: Rate,
    /// Engine time and tokens.
    events: Vec<(u64, u64)>,
}

/// What a rate, or a key, says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) allowed: bool,
    pub(crate) limit: u64,
    pub(crate) remaining: u64,
    pub(crate) retry_after_ns: u64,
    pub(crate) reset_after_ns: u64,
    pub(crate) binding: usize,
}

/// The smallest `n` with `holds(n)`, which holds from there on.
fn first(holds: impl Fn(u64) -> bool) -> u64 {
    let (mut low, mut high) = (0_u64, 1_u64);
    if holds(0) {
        return 0;
    }
    while !holds(high) {
        low = high;
        high = high.checked_mul(2).expect("everything comes back within a century");
    }
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if holds(middle) { high = middle } else { low = middle }
    }
    high
}

impl RateModel {
    pub(crate) fn new(rate: Rate, carried: u64, now: u64) -> Self {
        let carried = carried.min(rate.capacity());
        Self { rate, events: if carried > 0 { vec![(now, carried)] } else { Vec::new() } }
    }

    fn per_ns(&self) -> u128 {
        u128::from(self.rate.per_ms()) * 1_000_000
    }

    /// What is in use at `now`, in tokens x nanoseconds of the period.
    fn used(&self, now: u64) -> u128 {
        let tokens = |count: u64| u128::from(count) * self.per_ns();
        match self.rate.algorithm() {
            Algorithm::TokenBucket => {
                let (mut used, mut at) = (0_u128, 0_u64);
                for &(time, cost) in self.events.iter().chain([&(now, 0)]) {
                    let back = u128::from(time - at).saturating_mul(u128::from(self.rate.limit()));
                    used = used.saturating_sub(back) + tokens(cost);
                    at = time;
                }
                used
            }
            Algorithm::FixedWindowCounter => {
                let (mut start, mut used) = (0_u64, 0_u64);
                let over = |start: u64, at: u64| u128::from(at - start) >= self.per_ns();
                for &(time, cost) in &self.events {
                    if used == 0 || over(start, time) {
                        (start, used) = (time, cost);
                    } else {
                        used += cost;
                    }
                }
                if used == 0 || over(start, now) { 0 } else { tokens(used) }
            }
            Algorithm::SlidingWindowLog => {
                let now_ms = now / 1_000_000;
                let counts = |time: u64| now_ms < time.div_ceil(1_000_000) + self.rate.per_ms();
                tokens(self.events.iter().filter(|(time, _)| counts(*time)).map(|(_, cost)| cost).sum())
            }
        }
    }

    fn used_tokens(&self, now: u64) -> u64 {
        u64::try_from(self.used(now).div_ceil(self.per_ns())).unwrap()
    }

    fn capacity(&self) -> u128 {
        u128::from(self.rate.capacity()) * self.per_ns()
    }

    pub(crate) fn allows(&self, now: u64, cost: u64) -> bool {
        self.used(now) + u128::from(cost) * self.per_ns() <= self.capacity()
    }

    pub(crate) fn take(&mut self, now: u64, cost: u64) {
        self.events.push((now, cost));
        if self.used(now) == u128::from(cost) * self.per_ns() {
            // Whatever was before no longer matters.
            self.events = vec![(now, cost)];
        }
    }

    fn answer(&self, now: u64, cost: u64) -> Answer {
        let allowed = self.allows(now, cost);
        let mut after = self.clone();
        if allowed && cost > 0 {
            after.take(now, cost);
        }
        Answer {
            allowed,
            limit: self.rate.limit(),
            remaining: u64::try_from((self.capacity() - after.used(now)) / self.per_ns()).unwrap(),
            retry_after_ns: first(|wait| self.allows(now + wait, cost)),
            reset_after_ns: first(|wait| after.used(now + wait) == 0),
            binding: 0,
        }
    }
}

/// One key.
#[derive(Debug, Clone)]
pub(crate) struct KeyModel {
    pub(crate) origin: Origin,
    pub(crate) rates: Vec<RateModel>,
    pub(crate) allowed: (u64, u64),
    pub(crate) denied: (u64, u64),
    pub(crate) last_allowed: Option<u64>,
    pub(crate) last_denied: Option<u64>,
    pub(crate) last_reset: Option<u64>,
}

impl KeyModel {
    pub(crate) fn new(origin: Origin) -> Self {
        Self {
            origin,
            rates: Vec::new(),
            allowed: (0, 0),
            denied: (0, 0),
            last_allowed: None,
            last_denied: None,
            last_reset: None,
        }
    }

    pub(crate) fn is(&self, limit: &Limit) -> bool {
        self.rates.iter().map(|rate| &rate.rate).eq(limit.rates())
    }

    pub(crate) fn capacity(&self) -> u64 {
        self.rates.iter().map(|rate| rate.rate.capacity()).min().unwrap()
    }

    /// Gives the key this limit.
    pub(crate) fn redefine(&mut self, limit: &Limit, origin: Origin, reset: bool, now: u64) {
        let used = self.rates.iter().map(|rate| rate.used_tokens(now)).max().unwrap_or(0);
        let mut old: Vec<_> = self.rates.drain(..).map(Some).collect();
        self.origin = origin;
        for &rate in limit.rates() {
            let same = old.iter_mut().find(|old| old.as_ref().is_some_and(|old| old.rate == rate));
            let kept = if reset { None } else { same.and_then(Option::take) };
            self.rates.push(kept.unwrap_or_else(|| RateModel::new(rate, if reset { 0 } else { used }, now)));
        }
    }

    /// What the rates say together.
    pub(crate) fn answer(&self, now: u64, cost: u64) -> Answer {
        let answers: Vec<Answer> =
            self.rates.iter().enumerate().map(|(binding, rate)| Answer { binding, ..rate.answer(now, cost) }).collect();
        let longest = answers.iter().map(|answer| answer.retry_after_ns).max().unwrap();
        let fewest = answers.iter().map(|answer| answer.remaining).min().unwrap();
        let denied = answers.iter().find(|answer| !answer.allowed && answer.retry_after_ns == longest);
        *denied.or_else(|| answers.iter().find(|answer| answer.remaining == fewest)).unwrap()
    }

    pub(crate) fn take(&mut self, now: u64, cost: u64) {
        for rate in &mut self.rates {
            rate.take(now, cost);
        }
        self.allowed = (self.allowed.0 + 1, self.allowed.1.saturating_add(cost));
        self.last_allowed = Some(now);
    }

    pub(crate) fn deny(&mut self, now: u64, cost: u64) {
        self.denied = (self.denied.0 + 1, self.denied.1.saturating_add(cost));
        self.last_denied = Some(now);
    }

    pub(crate) fn reset(&mut self, now: u64) {
        for rate in &mut self.rates {
            *rate = RateModel::new(rate.rate, 0, now);
        }
        self.last_reset = Some(now);
    }
}
