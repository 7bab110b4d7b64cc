//! One rate: its numbers and how it counts.

use std::fmt;

use super::period::write_period;
use crate::algorithm::{Algorithm, Quota, Verdict};
use crate::error::{Error, Result};

/// `limit` tokens per period, with an algorithm and, where that has one, a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    quota: Quota,
    algorithm: Algorithm,
}

/// The verdict of one of a limit's rates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateVerdict {
    /// The rate.
    pub rate: Rate,
    /// Its decision.
    pub verdict: Verdict,
}

impl Rate {
    /// A rate within the bounds that make every later calculation safe. Without `burst` it is `limit`.
    ///
    /// # Errors
    /// `InvalidLimit` when limit, period or burst is zero, when the period is over ten years, and when its algorithm has
    /// another objection ([`Rules::problem`](crate::algorithm::Rules::problem)).
    pub fn new(limit: u64, per_ms: u64, burst: Option<u64>, algorithm: Algorithm) -> Result<Self> {
        let rate = Self::unchecked(limit, per_ms, burst.unwrap_or(limit), algorithm);
        match rate.problem() {
            None => Ok(rate),
            Some(problem) => Err(Error::InvalidLimit(problem)),
        }
    }

    /// A rate as an old release or a log record has it, without any check: a store whose limits are beyond today's bounds
    /// still has to open and be readable. Nothing panics on such a rate, but its figures may be saturated; ask
    /// [`Rate::is_valid`] before deciding a check by it.
    #[inline]
    pub const fn unchecked(limit: u64, per_ms: u64, burst: u64, algorithm: Algorithm) -> Self {
        Self { quota: Quota { limit, per_ms, burst }, algorithm }
    }

    /// Whether [`Rate::new`] would accept it.
    pub fn is_valid(&self) -> bool {
        self.problem().is_none()
    }

    /// The numbers that its algorithm reads.
    #[inline]
    pub const fn quota(&self) -> &Quota {
        &self.quota
    }

    /// Tokens per period.
    #[inline]
    pub const fn limit(&self) -> u64 {
        self.quota.limit
    }

    /// The period, milliseconds.
    #[inline]
    pub const fn per_ms(&self) -> u64 {
        self.quota.per_ms
    }

    /// The period, nanoseconds; saturated for a rate that is not valid.
    #[inline]
    pub const fn per_ns(&self) -> u64 {
        self.quota.per_ns()
    }

    /// Tokens that a full bucket holds; the limit for an algorithm without a burst.
    #[inline]
    pub const fn burst(&self) -> u64 {
        self.quota.burst
    }

    /// How the rate counts.
    #[inline]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The most that can be consumed at once, and so the highest cost that can ever succeed.
    #[inline]
    pub const fn capacity(&self) -> u64 {
        if self.algorithm.takes_burst() { self.quota.burst } else { self.quota.limit }
    }

    /// What keeps it from being valid.
    pub(super) fn problem(&self) -> Option<String> {
        self.algorithm.problem(&self.quota)
    }
}

/// The canonical grammar, which parses back to an equal rate; it leaves the algorithm out.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Quota { limit, per_ms, burst } = self.quota;
        write!(f, "{limit}/")?;
        write_period(f, per_ms)?;
        if burst != limit {
            write!(f, " burst {burst}")?;
        }
        Ok(())
    }
}
