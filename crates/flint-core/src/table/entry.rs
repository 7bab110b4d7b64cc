//! The fixed-size entry of one counter in the table, and the decision over its rates.

use super::cell::Cell;
use super::keys::KeyRef;
use crate::algorithm::Verdict;
use crate::image::{LastUse, Origin, Totals};
use crate::limit::Rate;

/// A place in the table.
pub(crate) type Slot = u32;

pub(super) const NO_EXTRA: u32 = u32::MAX;
pub(super) const NO_SLOT: Slot = Slot::MAX;

/// One counter. Most keys have one; `counters` links those of the others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    /// 0 marks a free slot.
    pub(crate) id: u64,
    /// The newest record that this entry includes.
    pub(crate) seq: u64,
    pub(super) key: KeyRef,
    pub(super) extra: u32,
    pub(crate) rates: u8,
    pub(crate) origin: Origin,
    pub(crate) out_of_bounds: bool,
    /// Whether `totals.denied` has grown since it was last written to the log.
    pub(super) denials_unsaved: bool,
    /// The record of the newest consumption, and the position in it.
    pub(super) used_seq: u64,
    pub(super) used_nth: u16,
    /// Whether another counter of the key was used more recently, which the index has in its place.
    pub(super) behind: bool,
    /// The counter of the same key that was used before this one.
    pub(super) next: Slot,
    pub(super) first: Cell,
    pub(crate) totals: Totals,
}

impl Entry {
    pub(super) fn new(id: u64, seq: u64, key: KeyRef, origin: Origin, first: Cell) -> Self {
        Self {
            id,
            seq,
            key,
            extra: NO_EXTRA,
            rates: 1,
            origin,
            out_of_bounds: false,
            denials_unsaved: false,
            used_seq: seq,
            used_nth: 0,
            behind: false,
            next: NO_SLOT,
            first,
            totals: Totals::default(),
        }
    }

    #[inline]
    pub(super) fn count_allowed(&mut self, now: u64, cost: u64, used: LastUse) {
        self.seq = used.seq;
        (self.used_seq, self.used_nth) = (used.seq, used.nth);
        self.totals.allowed = self.totals.allowed.saturating_add(1);
        self.totals.allowed_cost = self.totals.allowed_cost.saturating_add(cost);
        self.totals.last_allowed_ns = now;
    }

    /// The newest consumption. An explicit limit has no other counter beside it, so that none is kept of it.
    pub(super) fn last_use(&self) -> LastUse {
        match self.origin {
            Origin::Explicit => LastUse::default(),
            Origin::Call => LastUse { seq: self.used_seq, nth: self.used_nth },
        }
    }

    pub(super) fn count_denied(&mut self, now: u64, cost: u64) -> Option<(u64, u64)> {
        let before = (self.totals.denied, self.totals.denied_cost);
        self.totals.denied = self.totals.denied.saturating_add(1);
        self.totals.denied_cost = self.totals.denied_cost.saturating_add(cost);
        self.totals.last_denied_ns = now;
        let first = !std::mem::replace(&mut self.denials_unsaved, true);
        first.then_some(before)
    }
}

/// How much of a key's states is exact after a record behind a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BehindGap {
    /// Everything: the record has the states whole.
    Exact,
    /// Not everything: the record only adds to a state.
    Inexact,
    /// Nothing: every rate counts as used up.
    UsedUp,
}

/// The decision of all rates of a key together, described by the most restrictive one: when allowed the one with the fewest
/// remaining, when denied the one with the longest wait; ties go to the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) verdict: Verdict,
    /// The limit of the most restrictive rate.
    pub(crate) limit: u64,
    /// Its index.
    pub(crate) binding: usize,
}

impl Decision {
    #[inline]
    pub(crate) fn new(rate: &Rate, verdict: Verdict) -> Self {
        Self { verdict, limit: rate.limit(), binding: 0 }
    }

    /// Adds the verdict of the rate with index `rate`.
    pub(crate) fn and(self, index: usize, rate: &Rate, verdict: Verdict) -> Self {
        let binds = match (self.verdict.allowed, verdict.allowed) {
            (true, true) => verdict.remaining < self.verdict.remaining,
            (true, false) => true,
            (false, true) => false,
            (false, false) => verdict.retry_after_ns > self.verdict.retry_after_ns,
        };
        if binds { Self { verdict, limit: rate.limit(), binding: index } } else { self }
    }
}
