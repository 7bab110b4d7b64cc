//! The faults, and counts of what they led to.

use std::sync::atomic::{AtomicU64, Ordering};

use flint_core::testing::sim::Fault;

use crate::evidence;

/// Every way to fail.
pub const FAULTS: [Fault; 7] =
    [Fault::Eio, Fault::Enospc, Fault::Edquot, Fault::ShortWrite, Fault::FsyncFails, Fault::MapFails, Fault::ReadFails];

/// Names of [`FAULTS`] as evidence.
const NAMES: [&str; FAULTS.len()] = ["eio", "enospc", "edquot", "short_write", "fsync", "map", "read"];

/// What was done.
#[derive(Debug, Default)]
pub struct Tally {
    /// Faults that struck: of each of [`FAULTS`] those at one operation, and those from one on.
    pub struck: [[AtomicU64; 2]; FAULTS.len()],
    /// Calls that failed, changed nothing, and succeeded when the fault was gone.
    pub resumed: AtomicU64,
    /// Engines that stopped.
    pub stopped: AtomicU64,
    /// Stores that did not open, and opened when the fault was gone.
    pub reopened: AtomicU64,
}

impl Tally {
    /// Notes the counts as evidence.
    pub fn record(&self) {
        for (name, struck) in NAMES.iter().zip(&self.struck) {
            for (often, count) in ["once", "on"].iter().zip(struck) {
                evidence::record(&format!("faults_{name}_{often}"), count.load(Ordering::Relaxed));
            }
        }
        for (name, count) in
            [("faults_resumed", &self.resumed), ("faults_stopped", &self.stopped), ("faults_at_open", &self.reopened)]
        {
            evidence::record(name, count.load(Ordering::Relaxed));
        }
    }
}
