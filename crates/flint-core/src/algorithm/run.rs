//! What a sliding log remembers of a consumption.

/// One or more consumptions within the same millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The millisecond of engine time, rounded up.
    pub ms: u64,
    /// The sum of the costs.
    pub cost: u64,
}
