//! Answers to checks.

use flint_core::engine::{MultiOutcome, Outcome, RateVerdicts};
use flint_core::limit::RateVerdict;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::exact::Malformed;
use super::number::{moment, seconds_up};
use super::rate::{ExactRateState, RateStateAnswer};

/// The answer to one check. With several rates it describes the most restrictive one.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "CheckResult")]
pub struct CheckAnswer<'a> {
    /// The decision. A denied check is a successful request.
    allowed: bool,
    /// The key.
    key: &'a str,
    /// Tokens that were requested.
    cost: u64,
    /// Tokens per period of the most restrictive rate.
    limit: u64,
    /// Tokens left after this call.
    remaining: u64,
    /// Nanoseconds until the same call would be allowed; 0 when allowed.
    retry_after_ns: u64,
    /// The same in seconds, rounded up.
    retry_after: f64,
    /// Nanoseconds until the full limit is back.
    reset_after_ns: u64,
    /// The same in seconds, rounded up.
    reset_after: f64,
    /// When the full limit is back: RFC 3339, UTC.
    reset_at: String,
    /// Rate by rate, in the order of the limit.
    rates: Vec<RateStateAnswer>,
}

impl<'a> CheckAnswer<'a> {
    /// For the key of the request.
    pub fn new(key: &'a str, outcome: &Outcome) -> Self {
        Self {
            allowed: outcome.allowed,
            key,
            cost: outcome.cost,
            limit: outcome.limit,
            remaining: outcome.remaining,
            retry_after_ns: outcome.retry_after_ns,
            retry_after: seconds_up(outcome.retry_after_ns),
            reset_after_ns: outcome.reset_after_ns,
            reset_after: seconds_up(outcome.reset_after_ns),
            reset_at: moment(outcome.reset_at_wall_ns),
            rates: outcome.rates().iter().map(RateStateAnswer::from).collect(),
        }
    }
}

/// The answer to a check of several keys.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "MultiCheckResult")]
pub struct MultiCheckAnswer<'a> {
    /// Whether every item was allowed; only then was anything taken.
    allowed: bool,
    /// The first key that was denied.
    denied_key: Option<&'a str>,
    /// Nanoseconds after which all items would pass together; 0 when allowed.
    retry_after_ns: u64,
    /// The same in seconds, rounded up.
    retry_after: f64,
    /// One answer per item, in their order.
    results: Vec<CheckAnswer<'a>>,
}

impl<'a> MultiCheckAnswer<'a> {
    /// For the keys of the request, in the same order.
    pub fn new(keys: &[&'a str], outcome: &MultiOutcome) -> Self {
        Self {
            allowed: outcome.allowed,
            denied_key: outcome.denied.and_then(|index| keys.get(index)).copied(),
            retry_after_ns: outcome.retry_after_ns,
            retry_after: seconds_up(outcome.retry_after_ns),
            results: keys.iter().zip(&outcome.items).map(|(key, item)| CheckAnswer::new(key, item)).collect(),
        }
    }
}

/// One check. The key is left out: the client has it.
#[derive(Debug, Serialize, Deserialize)]
pub struct ExactCheck<'a> {
    allowed: bool,
    cost: u64,
    limit: u64,
    remaining: u64,
    retry_after_ns: u64,
    reset_after_ns: u64,
    reset_at_ns: u64,
    #[serde(borrow)]
    rates: Vec<ExactRateState<'a>>,
}

impl From<&Outcome> for ExactCheck<'_> {
    fn from(outcome: &Outcome) -> Self {
        Self {
            allowed: outcome.allowed,
            cost: outcome.cost,
            limit: outcome.limit,
            remaining: outcome.remaining,
            retry_after_ns: outcome.retry_after_ns,
            reset_after_ns: outcome.reset_after_ns,
            reset_at_ns: outcome.reset_at_wall_ns,
            rates: outcome.rates().iter().map(ExactRateState::from).collect(),
        }
    }
}

impl TryFrom<ExactCheck<'_>> for Outcome {
    type Error = Malformed;

    fn try_from(check: ExactCheck<'_>) -> Result<Self, Malformed> {
        let verdicts: Vec<RateVerdict> = check.rates.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?;
        Ok(Self {
            allowed: check.allowed,
            cost: check.cost,
            limit: check.limit,
            remaining: check.remaining,
            retry_after_ns: check.retry_after_ns,
            reset_after_ns: check.reset_after_ns,
            reset_at_wall_ns: check.reset_at_ns,
            verdicts: RateVerdicts::Each(verdicts.into()),
            seq: 0,
        })
    }
}

/// A check of several keys; `denied` is the index of the first denied item.
#[derive(Debug, Serialize, Deserialize)]
pub struct ExactMultiCheck<'a> {
    allowed: bool,
    denied: Option<usize>,
    retry_after_ns: u64,
    #[serde(borrow)]
    results: Vec<ExactCheck<'a>>,
}

impl From<&MultiOutcome> for ExactMultiCheck<'_> {
    fn from(outcome: &MultiOutcome) -> Self {
        Self {
            allowed: outcome.allowed,
            denied: outcome.denied,
            retry_after_ns: outcome.retry_after_ns,
            results: outcome.items.iter().map(ExactCheck::from).collect(),
        }
    }
}

impl TryFrom<ExactMultiCheck<'_>> for MultiOutcome {
    type Error = Malformed;

    fn try_from(check: ExactMultiCheck<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            allowed: check.allowed,
            denied: check.denied,
            retry_after_ns: check.retry_after_ns,
            items: check.results.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            seq: 0,
        })
    }
}
