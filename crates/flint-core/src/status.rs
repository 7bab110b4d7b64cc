//! One key as `status`, `list` and `top` show it. Plain data; its times are wall-clock times.

use crate::image::{Origin, Totals};
use crate::limit::Rate;
use crate::table::{Slot, Table};
use crate::time::to_wall;

/// One key as `status`, `list` and `top` show it: what is left of the most recently used of its counters, and the totals of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The key.
    pub key: String,
    /// The rates.
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
    /// Its counters, the most recently used first. Empty if it has only one, of which the fields above say everything.
    pub counters: Vec<CounterStatus>,
}

/// One of the counters of a key to which calls brought several limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CounterStatus {
    /// Its rates.
    pub rates: Vec<Rate>,
    /// Index of the most restrictive rate: fewest remaining, ties to the first.
    pub binding: usize,
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

/// A moment, as engine time and as what to add for the wall-clock time.
#[derive(Clone, Copy)]
struct Clock {
    now_ns: u64,
    offset_ns: i64,
}

impl Clock {
    fn wall(self, engine_ns: u64) -> u64 {
        to_wall(engine_ns, self.offset_ns)
    }

    /// A time of which 0 means never.
    fn past(self, engine_ns: u64) -> Option<u64> {
        (engine_ns > 0).then(|| self.wall(engine_ns))
    }
}

impl CounterStatus {
    /// What is left of a counter, with these totals.
    fn of(table: &Table, slot: Slot, clock: Clock, totals: &Totals) -> Self {
        let full = table.decide(slot, clock.now_ns, 0);
        Self {
            rates: table.rates(slot).copied().collect(),
            binding: full.binding,
            remaining: full.verdict.remaining,
            retry_after_ns: table.decide(slot, clock.now_ns, 1).verdict.retry_after_ns,
            reset_at_wall_ns: clock.wall(clock.now_ns.saturating_add(full.verdict.reset_after_ns)),
            total_allowed: totals.allowed,
            total_denied: totals.denied,
            total_allowed_cost: totals.allowed_cost,
            total_denied_cost: totals.denied_cost,
            last_allowed_at_ns: clock.past(totals.last_allowed_ns),
            last_denied_at_ns: clock.past(totals.last_denied_ns),
            last_reset_at_ns: clock.past(totals.last_reset_ns),
        }
    }
}

impl Status {
    /// The status of the key whose most recently used counter is `head`, at engine time `now_ns`; `offset_ns` is wall minus engine time.
    pub(crate) fn of(table: &Table, head: Slot, now_ns: u64, offset_ns: i64) -> Self {
        let clock = Clock { now_ns, offset_ns };
        let entry = table.entry(head);
        let counters = if table.has_several(head) {
            let status = |slot: Slot| CounterStatus::of(table, slot, clock, &table.entry(slot).totals);
            table.counters(head).map(status).collect()
        } else {
            Vec::new()
        };
        let whole = CounterStatus::of(table, head, clock, &table.key_totals(head));
        Self {
            key: table.key(head).to_owned(),
            rates: whole.rates,
            binding: whole.binding,
            origin: entry.origin,
            out_of_bounds: entry.out_of_bounds,
            remaining: whole.remaining,
            retry_after_ns: whole.retry_after_ns,
            reset_at_wall_ns: whole.reset_at_wall_ns,
            total_allowed: whole.total_allowed,
            total_denied: whole.total_denied,
            total_allowed_cost: whole.total_allowed_cost,
            total_denied_cost: whole.total_denied_cost,
            last_allowed_at_ns: whole.last_allowed_at_ns,
            last_denied_at_ns: whole.last_denied_at_ns,
            last_reset_at_ns: whole.last_reset_at_ns,
            counters,
        }
    }

    /// Each counter, the most recently used first; at least one.
    pub fn counters(&self) -> Vec<CounterStatus> {
        if !self.counters.is_empty() {
            return self.counters.clone();
        }
        vec![CounterStatus {
            rates: self.rates.clone(),
            binding: self.binding,
            remaining: self.remaining,
            retry_after_ns: self.retry_after_ns,
            reset_at_wall_ns: self.reset_at_wall_ns,
            total_allowed: self.total_allowed,
            total_denied: self.total_denied,
            total_allowed_cost: self.total_allowed_cost,
            total_denied_cost: self.total_denied_cost,
            last_allowed_at_ns: self.last_allowed_at_ns,
            last_denied_at_ns: self.last_denied_at_ns,
            last_reset_at_ns: self.last_reset_at_ns,
        }]
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
