//! One key as `status`, `list` and `top` show it. Plain data; its times are wall-clock times.

use crate::image::Origin;
use crate::limit::Rate;
use crate::table::{Slot, Table};
use crate::time::to_wall;

/// One key as `status`, `list` and `top` show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The key.
    pub key: String,
    /// Its rates.
    pub rates: Vec<Rate>,
    /// Index of the most restrictive rate: fewest remaining, ties to the first.
    pub binding: usize,
    /// Where the limit came from.
    pub origin: Origin,
    /// A limit of an old release that is outside today's bounds: checks raise InvalidLimit until it is redefined.
    pub out_of_bounds: bool,
    /// What is left.
    pub remaining: u64,
    /// Nanoseconds until a check of cost 1 would be allowed; 0 when it would be now.
    pub retry_after_ns: u64,
    /// When the full limit is back, nanoseconds since the Unix epoch.
    pub reset_at_wall_ns: u64,
    /// Allowed checks.
    pub total_allowed: u64,
    /// Denied checks.
    pub total_denied: u64,
    /// Cost of allowed checks.
    pub total_allowed_cost: u64,
    /// Cost of denied checks.
    pub total_denied_cost: u64,
    /// Wall-clock nanoseconds.
    pub last_allowed_at_ns: Option<u64>,
    /// Wall-clock nanoseconds.
    pub last_denied_at_ns: Option<u64>,
    /// Wall-clock nanoseconds.
    pub last_reset_at_ns: Option<u64>,
}

/// What `top` sorts by, largest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopBy {
    /// Number of allowed checks.
    Allowed,
    /// Number of denied checks.
    Denied,
    /// Cost of allowed checks.
    AllowedCost,
    /// Cost of denied checks.
    DeniedCost,
}

impl Status {
    /// The status of the key in `slot` at engine time `now`; `offset_ns` is wall minus engine time.
    pub(crate) fn of(table: &Table, slot: Slot, now: u64, offset_ns: i64) -> Self {
        let wall = |engine_ns: u64| (engine_ns > 0).then(|| to_wall(engine_ns, offset_ns));
        let full = table.decide(slot, now, 0);
        let retry_after_ns = table.decide(slot, now, 1).verdict.retry_after_ns;
        let entry = table.entry(slot);
        Self {
            key: table.key(slot).to_owned(),
            rates: table.rates(slot).copied().collect(),
            binding: full.binding,
            origin: entry.origin,
            out_of_bounds: entry.out_of_bounds,
            remaining: full.verdict.remaining,
            retry_after_ns,
            reset_at_wall_ns: to_wall(now.saturating_add(full.verdict.reset_after_ns), offset_ns),
            total_allowed: entry.totals.allowed,
            total_denied: entry.totals.denied,
            total_allowed_cost: entry.totals.allowed_cost,
            total_denied_cost: entry.totals.denied_cost,
            last_allowed_at_ns: wall(entry.totals.last_allowed_ns),
            last_denied_at_ns: wall(entry.totals.last_denied_ns),
            last_reset_at_ns: wall(entry.totals.last_reset_ns),
        }
    }

    /// The total that `top` sorts by.
    pub(crate) const fn total(&self, by: TopBy) -> u64 {
        match by {
            TopBy::Allowed => self.total_allowed,
            TopBy::Denied => self.total_denied,
            TopBy::AllowedCost => self.total_allowed_cost,
            TopBy::DeniedCost => self.total_denied_cost,
        }
    }
}
