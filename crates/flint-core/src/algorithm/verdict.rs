//! The decision of one rate on one cost.

/// The decision of one rate on a cost at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the cost may be consumed now.
    pub allowed: bool,
    /// Whole tokens left: after consumption when allowed, as they are when denied.
    pub remaining: u64,
    /// Nanoseconds until the same cost would be allowed if nothing else happened: denied a nanosecond before, allowed
    /// then. 0 when allowed.
    pub retry_after_ns: u64,
    /// Nanoseconds until the full limit is back, from the state that `remaining` describes.
    pub reset_after_ns: u64,
}

/// `retry_after_ns` of a cost above the capacity.
pub(super) const NEVER: u64 = u64::MAX;
