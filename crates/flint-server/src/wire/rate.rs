//! One rate: as part of a limit, and as it answered a check.

use std::borrow::Cow;

use flint_core::algorithm::Verdict;
use flint_core::limit::{Algorithm, Rate, RateVerdict};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::exact::Malformed;
use super::number::seconds_up;

/// One rate of a limit.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RateAnswer {
    /// Tokens per period.
    pub(super) rate: u64,
    /// The period, milliseconds.
    pub(super) per_millis: u64,
    /// Tokens that a full bucket holds; equals `rate` for the window algorithms.
    pub(super) burst: u64,
    /// The name of its algorithm.
    pub(super) algorithm: &'static str,
}

impl From<&Rate> for RateAnswer {
    fn from(rate: &Rate) -> Self {
        Self { rate: rate.limit(), per_millis: rate.per_ms(), burst: rate.burst(), algorithm: rate.algorithm().name() }
    }
}

/// One of a limit's rates as an answer found it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RateStateAnswer {
    /// Tokens per period.
    rate: u64,
    /// The period, milliseconds.
    per_millis: u64,
    /// Tokens that a full bucket holds.
    burst: u64,
    /// The name of its algorithm.
    algorithm: &'static str,
    /// Tokens that this rate has left after the call.
    remaining: u64,
    /// Nanoseconds until this rate would allow the same call; 0 when it would allow it now.
    retry_after_ns: u64,
    /// The same in seconds, rounded up.
    retry_after: f64,
    /// Nanoseconds until this rate is whole again.
    reset_after_ns: u64,
    /// The same in seconds, rounded up.
    reset_after: f64,
}

impl From<&RateVerdict> for RateStateAnswer {
    fn from(RateVerdict { rate, verdict }: &RateVerdict) -> Self {
        Self {
            rate: rate.limit(),
            per_millis: rate.per_ms(),
            burst: rate.burst(),
            algorithm: rate.algorithm().name(),
            remaining: verdict.remaining,
            retry_after_ns: verdict.retry_after_ns,
            retry_after: seconds_up(verdict.retry_after_ns),
            reset_after_ns: verdict.reset_after_ns,
            reset_after: seconds_up(verdict.reset_after_ns),
        }
    }
}

/// One rate: tokens, milliseconds, burst, algorithm.
#[derive(Debug, Serialize, Deserialize)]
pub struct ExactRate<'a>(u64, u64, u64, #[serde(borrow)] Cow<'a, str>);

impl From<&Rate> for ExactRate<'_> {
    fn from(rate: &Rate) -> Self {
        Self(rate.limit(), rate.per_ms(), rate.burst(), Cow::Borrowed(rate.algorithm().name()))
    }
}

impl TryFrom<ExactRate<'_>> for Rate {
    type Error = Malformed;

    fn try_from(ExactRate(limit, per_ms, burst, algorithm): ExactRate<'_>) -> Result<Self, Malformed> {
        let algorithm = Algorithm::parse(&algorithm).map_err(|_| "an unknown algorithm")?;
        Ok(Self::unchecked(limit, per_ms, burst, algorithm))
    }
}

/// A rate with its verdict: remaining, nanoseconds to wait, nanoseconds until it is whole.
#[derive(Debug, Serialize, Deserialize)]
pub struct ExactRateState<'a>(#[serde(borrow)] ExactRate<'a>, u64, u64, u64);

impl From<&RateVerdict> for ExactRateState<'_> {
    fn from(RateVerdict { rate, verdict }: &RateVerdict) -> Self {
        Self(rate.into(), verdict.remaining, verdict.retry_after_ns, verdict.reset_after_ns)
    }
}

impl TryFrom<ExactRateState<'_>> for RateVerdict {
    type Error = Malformed;

    fn try_from(state: ExactRateState<'_>) -> Result<Self, Malformed> {
        let ExactRateState(rate, remaining, retry_after_ns, reset_after_ns) = state;
        let verdict = Verdict { allowed: retry_after_ns == 0, remaining, retry_after_ns, reset_after_ns };
        Ok(Self { rate: rate.try_into()?, verdict })
    }
}
