//! Decisions. Each algorithm is a few pure functions of a rate, a state, a time and a cost: no clock, no lock, no file, and
//! integers only. Times are engine nanoseconds; a time before the state's own counts as no time passed.
//!
//! A cost is 0 (to look: always allowed) or at most the rate's capacity. A higher one is denied with `retry_after_ns` of
//! `u64::MAX`, for never. No input panics, not even a rate that is not valid; for a valid one every figure is exact.

pub mod fixed_window_counter;
pub mod sliding_window_log;
pub mod token_bucket;

use crate::limit::Rate;

/// What one rate says to a cost at a moment.
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

/// What one of a limit's rates says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateVerdict {
    /// The rate.
    pub rate: Rate,
    /// What it says.
    pub verdict: Verdict,
}

/// `retry_after_ns` of a cost above the capacity.
const NEVER: u64 = u64::MAX;

const NS_PER_MS: u64 = 1_000_000;

/// A duration or count that is known to fit for a valid rate.
#[inline]
fn saturated(n: u128) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// Rounded down, saturated. Nearly every dividend fits in 64 bits, where division costs a tenth.
#[inline]
fn div_floor(n: u128, d: u64) -> u64 {
    match u64::try_from(n) {
        Ok(n) => n.checked_div(d).unwrap_or(u64::MAX),
        Err(_) => n.checked_div(u128::from(d)).map_or(u64::MAX, saturated),
    }
}

/// Rounded up, saturated; 0 stays 0 whatever the divisor.
#[inline]
fn div_ceil(n: u128, d: u64) -> u64 {
    match n.checked_sub(1) {
        None => 0,
        Some(n) => div_floor(n, d).saturating_add(1),
    }
}
