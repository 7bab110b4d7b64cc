//! Distributions of what the engine measures about itself: counted in fixed buckets, without a lock.

use crate::sync::{AtomicU64, Ordering};

/// Bounds for the time of a sync, nanoseconds: from a cached write to a disk in trouble.
pub(crate) const SYNC_NS: [u64; BUCKETS] = [
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    1_000_000_000,
    5_000_000_000,
];

/// Bounds for the number of records that one sync makes durable.
pub(crate) const SYNC_RECORDS: [u64; BUCKETS] = [0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 5_000, 20_000, 100_000];

const BUCKETS: usize = 14;

/// Totals of the whole engine since open.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Counters {
    /// Configured keys now.
    pub keys: u64,
    /// Allowed checks.
    pub allowed: u64,
    /// Denied checks.
    pub denied: u64,
    /// Newest sequence number.
    pub seq: u64,
    /// Newest sequence number known to be durable.
    pub durable_seq: u64,
    /// Bytes of log appended.
    pub log_bytes: u64,
    /// fdatasync calls on segments.
    pub syncs: u64,
    /// Segment rotations.
    pub rotations: u64,
    /// Finished compactions.
    pub compactions: u64,
    /// How long opening took, nanoseconds.
    pub recovery_ns: u64,
    /// How long each sync of the log took, nanoseconds.
    pub sync_ns: Distribution,
    /// How many records each sync made durable.
    pub sync_records: Distribution,
}

/// Counts values by the first bound that is not below them.
#[derive(Debug)]
pub(crate) struct Histogram {
    bounds: &'static [u64; BUCKETS],
    counts: [AtomicU64; BUCKETS + 1],
    sum: AtomicU64,
}

/// A histogram at one moment.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Distribution {
    /// The largest value that each bucket but the last takes, ascending.
    pub bounds: Vec<u64>,
    /// How many values each bucket holds, not cumulated; one more than there are bounds.
    pub counts: Vec<u64>,
    /// The sum of all values.
    pub sum: u64,
}

/// The times of the syncs of a reader, which has none.
pub(crate) fn no_syncs() -> Distribution {
    Histogram::new(&SYNC_NS).read()
}

/// The records of the syncs of a reader, which has none.
pub(crate) fn no_records() -> Distribution {
    Histogram::new(&SYNC_RECORDS).read()
}

impl Histogram {
    pub(crate) fn new(bounds: &'static [u64; BUCKETS]) -> Self {
        Self { bounds, counts: Default::default(), sum: AtomicU64::new(0) }
    }

    pub(crate) fn add(&self, value: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Distribution {
        Distribution {
            bounds: self.bounds.to_vec(),
            counts: self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect(),
            sum: self.sum.load(Ordering::Relaxed),
        }
    }
}

#[cfg(all(test, not(feature = "shuttle")))]
mod tests {
    use super::*;

    #[test]
    fn a_value_falls_into_the_first_bucket_that_takes_it() {
        let histogram = Histogram::new(&SYNC_RECORDS);
        for value in [0, 1, 2, 3, 5, 100_000, 100_001, 7_000_000] {
            histogram.add(value);
        }
        let read = histogram.read();
        assert_eq!(read.bounds, SYNC_RECORDS);
        assert_eq!(read.counts, [1, 1, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(read.sum, 7_200_012);
    }

    #[test]
    fn bounds_ascend() {
        assert!(SYNC_NS.is_sorted() && SYNC_RECORDS.is_sorted());
    }
}
