//! The numbers of one rate, which every algorithm reads in its own way.

use super::arithmetic::NS_PER_MS;

/// Longest period: ten years of 365 days, milliseconds.
const MAX_PER_MS: u64 = 10 * YEAR_MS;
pub(super) const YEAR_MS: u64 = 365 * 24 * 60 * 60 * 1000;

/// `limit` tokens per period, and a burst where the algorithm has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Quota {
    /// Tokens per period.
    pub limit: u64,
    /// The period, milliseconds.
    pub per_ms: u64,
    /// Tokens that a full bucket holds; equal to `limit` for an algorithm without a burst.
    pub burst: u64,
}

impl Quota {
    /// The period, nanoseconds; saturated for a period that is out of bounds.
    #[inline]
    pub const fn per_ns(&self) -> u64 {
        self.per_ms.saturating_mul(NS_PER_MS)
    }

    /// What makes the numbers unusable for any algorithm.
    pub(super) fn problem(&self) -> Option<String> {
        let Self { limit, per_ms, burst } = *self;
        if limit == 0 {
            return Some("the rate is 0; it must be at least 1, such as 100 a minute".to_owned());
        }
        if per_ms == 0 {
            return Some("the period is 0; it must be at least 1 ms, such as 60000".to_owned());
        }
        if per_ms > MAX_PER_MS {
            return Some(format!(
                "the period is {per_ms} ms; it must be at most {MAX_PER_MS} ms (ten years of 365 days)"
            ));
        }
        (burst == 0).then(|| "the burst is 0; it must be at least 1; without a burst it is the rate".to_owned())
    }

    /// What makes them unusable for the algorithm `name`, which has no burst.
    pub(super) fn burst_problem(&self, name: &str) -> Option<String> {
        let Self { limit, burst, .. } = *self;
        (burst != limit).then(|| {
            format!(
                "{name} takes no burst other than its rate of {limit}, and {burst} was given; leave burst out or use token_bucket"
            )
        })
    }
}
