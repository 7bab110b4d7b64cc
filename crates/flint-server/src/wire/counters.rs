//! Totals since opening.

use flint_core::engine::{Counters, Distribution};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How many values fell into which range.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Distribution")]
pub struct DistributionAnswer {
    /// The largest value that each bucket but the last takes.
    pub bounds: Vec<u64>,
    /// Values in each bucket, not cumulated.
    pub counts: Vec<u64>,
    /// Sum of the values.
    pub sum: u64,
}

impl From<&Distribution> for DistributionAnswer {
    fn from(distribution: &Distribution) -> Self {
        Self { bounds: distribution.bounds.clone(), counts: distribution.counts.clone(), sum: distribution.sum }
    }
}

/// Totals since the server opened the directory.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Counters")]
pub struct CountersAnswer {
    /// Keys with a limit now.
    pub keys: u64,
    /// Allowed checks.
    pub allowed: u64,
    /// Denied checks.
    pub denied: u64,
    /// Sequence number of the newest record.
    pub seq: u64,
    /// Sequence number of the newest record known to be durable.
    pub durable_seq: u64,
    /// Bytes appended to the log.
    pub log_bytes: u64,
    /// Syncs of the log.
    pub syncs: u64,
    /// Segment rotations.
    pub rotations: u64,
    /// Finished compactions.
    pub compactions: u64,
    /// How long opening took, nanoseconds.
    pub recovery_ns: u64,
    /// How long each sync of the log took, nanoseconds.
    pub sync_ns: DistributionAnswer,
    /// How many records each sync made durable.
    pub sync_records: DistributionAnswer,
}

impl From<&Counters> for CountersAnswer {
    fn from(counters: &Counters) -> Self {
        Self {
            keys: counters.keys,
            allowed: counters.allowed,
            denied: counters.denied,
            seq: counters.seq,
            durable_seq: counters.durable_seq,
            log_bytes: counters.log_bytes,
            syncs: counters.syncs,
            rotations: counters.rotations,
            compactions: counters.compactions,
            recovery_ns: counters.recovery_ns,
            sync_ns: (&counters.sync_ns).into(),
            sync_records: (&counters.sync_records).into(),
        }
    }
}
