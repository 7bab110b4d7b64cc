//! Sums over all keys, for metrics: a few values, however many keys there are.

use crate::error::Result;
use crate::limit::{Algorithm, Rate};
use crate::store::view::{Moment, View};
use crate::table::Slot;

use super::Engine;
use super::scan::Scan;

/// All keys whose limits use the same algorithms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aggregate {
    /// The algorithms of each limit, in the order of its rates, each once.
    pub algorithms: Vec<Algorithm>,
    /// The rates of every key's limit; `None` where they differ.
    pub rates: Option<Vec<Rate>>,
    /// The tokens per period that all limits have in common; `None` where they differ or a limit has several rates.
    pub limit: Option<u64>,
    /// The period that all limits have in common, milliseconds; `None` likewise.
    pub per_ms: Option<u64>,
    /// The number of keys.
    pub keys: u64,
    /// The fewest remaining tokens of a key.
    pub remaining: u64,
    /// The latest moment at which a key has its full limit back, nanoseconds since the Unix epoch.
    pub reset_at_wall_ns: u64,
    /// Allowed checks.
    pub total_allowed: u64,
    /// Denied checks.
    pub total_denied: u64,
    /// Cost of allowed checks.
    pub total_allowed_cost: u64,
    /// Cost of denied checks.
    pub total_denied_cost: u64,
}

/// The only rate of a limit. A limit may name the same rate twice.
fn only(rates: &[Rate]) -> Option<Rate> {
    rates.iter().all(|rate| *rate == rates[0]).then(|| rates[0])
}

/// The algorithms of a limit, in the order of its rates, each once.
fn algorithms(rates: &[Rate]) -> impl Iterator<Item = Algorithm> {
    let is_first = |(index, rate): &(usize, &Rate)| rates[..*index].iter().all(|r| r.algorithm() != rate.algorithm());
    rates.iter().enumerate().filter(is_first).map(|(_, rate)| rate.algorithm())
}

impl Aggregate {
    fn new(rates: &[Rate]) -> Self {
        let only = only(rates);
        Self {
            algorithms: algorithms(rates).collect(),
            rates: Some(rates.to_vec()),
            limit: only.map(|rate| rate.limit()),
            per_ms: only.map(|rate| rate.per_ms()),
            keys: 0,
            remaining: u64::MAX,
            reset_at_wall_ns: 0,
            total_allowed: 0,
            total_denied: 0,
            total_allowed_cost: 0,
            total_denied_cost: 0,
        }
    }

    fn add(&mut self, view: &View, slot: Slot, moment: Moment) {
        let (remaining, reset_at_wall_ns) = view.remaining_at(slot, moment);
        let totals = view.table.key_totals(slot);
        self.keys += 1;
        self.remaining = self.remaining.min(remaining);
        self.reset_at_wall_ns = self.reset_at_wall_ns.max(reset_at_wall_ns);
        self.total_allowed += totals.allowed;
        self.total_denied += totals.denied;
        self.total_allowed_cost = self.total_allowed_cost.saturating_add(totals.allowed_cost);
        self.total_denied_cost = self.total_denied_cost.saturating_add(totals.denied_cost);
    }

    /// Accounts for a limit with other rates.
    fn differ(&mut self, rates: &[Rate]) {
        let only = only(rates);
        self.rates = None;
        self.limit = self.limit.filter(|limit| only.is_some_and(|rate| rate.limit() == *limit));
        self.per_ms = self.per_ms.filter(|per_ms| only.is_some_and(|rate| rate.per_ms() == *per_ms));
    }
}

impl Engine {
    /// Sums over all keys, one for each combination of algorithms, in no particular order.
    ///
    /// # Errors
    /// `Stopped`, `Closed`, `Forked`.
    pub fn aggregate(&self) -> Result<Vec<Aggregate>> {
        let mut all: Vec<Aggregate> = Vec::new();
        // The aggregate of the limit before: neighbours often have the same.
        let mut last = 0;
        let mut last_rates: Vec<Rate> = Vec::new();
        Scan::new(self).run(|view, slots| {
            let moment = view.moment();
            for slot in slots {
                if view.table.get(slot).is_none() || !view.table.represents_key(slot) {
                    continue;
                }
                let slot = view.table.head(slot);
                if !view.table.has_rates(slot, &last_rates) {
                    last_rates.clear();
                    last_rates.extend(view.table.rates(slot).copied());
                    let found = all
                        .iter()
                        .position(|aggregate| algorithms(&last_rates).eq(aggregate.algorithms.iter().copied()));
                    last = found.unwrap_or_else(|| {
                        all.push(Aggregate::new(&last_rates));
                        all.len() - 1
                    });
                    if all[last].rates.as_deref() != Some(&last_rates) {
                        all[last].differ(&last_rates);
                    }
                }
                all[last].add(view, slot, moment);
            }
        })?;
        Ok(all)
    }
}
