//! Counts of the deaths of worker processes.

use std::collections::BTreeMap;

/// What was done.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Report {
    /// Deaths at a store into the mapping.
    pub stores: u64,
    /// Deaths at a system call.
    pub calls: u64,
    /// Second deaths, of the process that recovered.
    pub nested: u64,
    /// Points that the process did not come by; background threads are not the same every time.
    pub missed: u64,
    /// Deaths in a thread other than the caller's, of those at a system call.
    pub in_background: u64,
    /// Torn tails that the next opening cut.
    pub torn: u64,
    /// Deaths at each system call.
    pub by_call: BTreeMap<String, u64>,
}

impl Report {
    /// Adds what another one counted.
    pub fn add(&mut self, other: &Self) {
        self.stores += other.stores;
        self.calls += other.calls;
        self.nested += other.nested;
        self.missed += other.missed;
        self.in_background += other.in_background;
        self.torn += other.torn;
        for (name, count) in &other.by_call {
            *self.by_call.entry(name.clone()).or_default() += count;
        }
    }
}
