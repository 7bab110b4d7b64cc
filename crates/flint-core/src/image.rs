//! The complete state of one counter as plain data: what a snapshot line holds and what migration produces.

use crate::algorithm::Numbers;
use crate::limit::Rate;

/// Totals of one counter. Times are engine nanoseconds, 0 for never.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Allowed checks.
    pub allowed: u64,
    /// Sum of their costs.
    pub allowed_cost: u64,
    /// Denied checks.
    pub denied: u64,
    /// Sum of their costs.
    pub denied_cost: u64,
    /// Engine time of the newest allowed check.
    pub last_allowed_ns: u64,
    /// Engine time of the newest denied check.
    pub last_denied_ns: u64,
    /// Engine time of the newest reset.
    pub last_reset_ns: u64,
}

impl Totals {
    /// The totals of both counters together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            allowed: self.allowed.saturating_add(other.allowed),
            allowed_cost: self.allowed_cost.saturating_add(other.allowed_cost),
            denied: self.denied.saturating_add(other.denied),
            denied_cost: self.denied_cost.saturating_add(other.denied_cost),
            last_allowed_ns: self.last_allowed_ns.max(other.last_allowed_ns),
            last_denied_ns: self.last_denied_ns.max(other.last_denied_ns),
            last_reset_ns: self.last_reset_ns.max(other.last_reset_ns),
        }
    }
}

/// The newest consumption of a counter: those of one key are ordered by it, in the order of the log.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LastUse {
    /// The record.
    pub seq: u64,
    /// How many other checks the record holds before it.
    pub nth: u16,
}

/// Where a key's limit came from.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// Set by `limit()`.
    #[default]
    Explicit,
    /// Brought by a call.
    Call,
}

/// The complete state of one counter: all that a key has, or one of its counters where calls brought several limits.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct KeyImage {
    /// Unique in the store, never reused.
    pub id: u64,
    /// Sequence number of the newest record that this image includes.
    pub seq: u64,
    /// The key's text.
    pub key: String,
    /// Where the limit came from.
    pub origin: Origin,
    /// Its newest consumption, of a limit that calls brought; else nothing.
    pub used: LastUse,
    /// A limit of an old release that is outside today's bounds: readable, not checkable.
    pub out_of_bounds: bool,
    /// One to eight rates.
    pub rates: Vec<Rate>,
    /// One state per rate, in the same order.
    pub states: Vec<Numbers>,
    /// Totals.
    pub totals: Totals,
}

/// Where the state of a newly configured rate comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A fresh state in which this many tokens are already used.
    New {
        /// Used tokens, at most the capacity.
        carried: u64,
    },
    /// The state of the key's old rate with this index, exactly as it is.
    Kept(u8),
}

/// One rate of a new or changed limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateChange {
    /// The rate.
    pub rate: Rate,
    /// Its state.
    pub source: Source,
}

/// Kinds of history events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// A limit was set or changed.
    LimitConfigured,
    /// A single check was allowed.
    Allow,
    /// The key's part of an allowed multi-key check.
    AllowAll,
    /// One or more denials, aggregated.
    Deny,
    /// The key was reset.
    Reset,
    /// The key was deleted.
    LimitDeleted,
}

impl EventKind {
    /// In the order of the codes that the log uses.
    pub const ALL: [Self; 6] =
        [Self::LimitConfigured, Self::Allow, Self::AllowAll, Self::Deny, Self::Reset, Self::LimitDeleted];

    /// The name shown to users, the same as in release 0.2.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LimitConfigured => "LIMIT_CONFIGURED",
            Self::Allow => "ALLOW",
            Self::AllowAll => "ALLOW_ALL",
            Self::Deny => "DENY",
            Self::Reset => "RESET",
            Self::LimitDeleted => "LIMIT_DELETED",
        }
    }
}

/// An event of a key's history that changes no state any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastEvent {
    /// What happened.
    pub kind: EventKind,
    /// The key concerned.
    pub key: String,
    /// When, engine nanoseconds.
    pub at_ns: u64,
    /// Its cost, 0 where there is none.
    pub cost: u64,
    /// Number of checks that it represents.
    pub count: u64,
}
