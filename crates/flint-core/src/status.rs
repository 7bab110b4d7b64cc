//! One key as `status`, `list` and `top` show it. Plain data; its times are wall-clock times.

use std::ops::Deref;
use std::slice;

use crate::image::{Origin, Totals};
use crate::limit::Rate;
use crate::table::{Slot, Table};
use crate::time::to_wall;

/// One key as `status`, `list` and `top` show it. It reads as `whole`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The key.
    pub key: String,
    /// Where the limit came from.
    pub origin: Origin,
    /// A limit of an old release that is outside today's bounds: checks raise InvalidLimit until it is redefined.
    pub out_of_bounds: bool,
    /// What is left of the most recently used of its counters, and the totals of all.
    pub whole: CounterStatus,
    /// Its counters, the most recently used first. Empty if it has only one, of which `whole` says everything.
    pub counters: Vec<CounterStatus>,
}

impl Deref for Status {
    type Target = CounterStatus;

    fn deref(&self) -> &CounterStatus {
        &self.whole
    }
}

/// A counter: one of those of a key to which calls brought several limits, or all of a key together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CounterStatus {
    /// The rates.
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
        Self {
            key: table.key(head).to_owned(),
            origin: entry.origin,
            out_of_bounds: entry.out_of_bounds,
            whole: CounterStatus::of(table, head, clock, &table.key_totals(head)),
            counters,
        }
    }

    /// Each counter, the most recently used first; at least one.
    pub fn counters(&self) -> &[CounterStatus] {
        if self.counters.is_empty() { slice::from_ref(&self.whole) } else { &self.counters }
    }

    /// The total that `top` sorts by.
    pub(crate) const fn total(&self, by: TopBy) -> u64 {
        match by {
            TopBy::Allowed => self.whole.total_allowed,
            TopBy::Denied => self.whole.total_denied,
            TopBy::AllowedCost => self.whole.total_allowed_cost,
            TopBy::DeniedCost => self.whole.total_denied_cost,
        }
    }
}
