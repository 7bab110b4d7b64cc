//! What the reference says of a key: answers, found by searching for the first moment at which the definition holds, and totals.

use flint_core::image::Origin;
use flint_core::limit::Limit;
use flint_core::testing::model::{CounterModel, RateModel};

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

fn answer_of(rate: &RateModel, binding: usize, now: u64, cost: u64) -> Answer {
    let allowed = rate.allows(now, cost);
    let mut after = rate.clone();
    if allowed && cost > 0 {
        after.take(now, cost);
    }
    Answer {
        allowed,
        limit: rate.rate.limit(),
        remaining: after.remaining(now),
        retry_after_ns: first(|wait| rate.allows(now + wait, cost)),
        reset_after_ns: first(|wait| after.used(now + wait) == 0),
        binding,
    }
}

/// One counter of a key.
#[derive(Debug, Clone)]
pub(crate) struct Counter {
    pub(crate) model: CounterModel,
    /// Number and cost.
    pub(crate) allowed: (u64, u64),
    /// Number and cost.
    pub(crate) denied: (u64, u64),
    pub(crate) last_allowed: Option<u64>,
    pub(crate) last_denied: Option<u64>,
    pub(crate) last_reset: Option<u64>,
}

impl Counter {
    pub(crate) fn new(limit: &Limit, origin: Origin, now: u64) -> Self {
        Self::of(CounterModel::new(limit, origin, now))
    }

    pub(crate) const fn of(model: CounterModel) -> Self {
        Self { model, allowed: (0, 0), denied: (0, 0), last_allowed: None, last_denied: None, last_reset: None }
    }

    /// With the totals of another added.
    pub(crate) fn and_totals(mut self, other: &Self) -> Self {
        let sum = |a: (u64, u64), b: (u64, u64)| (a.0 + b.0, a.1.saturating_add(b.1));
        self.allowed = sum(self.allowed, other.allowed);
        self.denied = sum(self.denied, other.denied);
        self.last_allowed = self.last_allowed.max(other.last_allowed);
        self.last_denied = self.last_denied.max(other.last_denied);
        self.last_reset = self.last_reset.max(other.last_reset);
        self
    }

    /// What the rates say together.
    pub(crate) fn answer(&self, now: u64, cost: u64) -> Answer {
        let rates = self.model.rates.iter().enumerate();
        let answers: Vec<Answer> = rates.map(|(binding, rate)| answer_of(rate, binding, now, cost)).collect();
        let longest = answers.iter().map(|answer| answer.retry_after_ns).max().unwrap();
        let fewest = answers.iter().map(|answer| answer.remaining).min().unwrap();
        let denied = answers.iter().find(|answer| !answer.allowed && answer.retry_after_ns == longest);
        *denied.or_else(|| answers.iter().find(|answer| answer.remaining == fewest)).unwrap()
    }

    pub(crate) fn take(&mut self, now: u64, cost: u64) {
        self.model.take(now, cost);
        self.allowed = (self.allowed.0 + 1, self.allowed.1.saturating_add(cost));
        self.last_allowed = Some(now);
    }

    pub(crate) fn deny(&mut self, now: u64, cost: u64) {
        self.denied = (self.denied.0 + 1, self.denied.1.saturating_add(cost));
        self.last_denied = Some(now);
    }

    pub(crate) fn reset(&mut self, now: u64) {
        self.model.reset();
        self.last_reset = Some(now);
    }
}
