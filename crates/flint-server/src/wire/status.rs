//! Statuses of keys, and of their counters.

use std::borrow::Cow;

use flint_core::engine::{CounterStatus, Status};
use flint_core::image::Origin;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::exact::Malformed;
use super::number::{moment, seconds_up};
use super::rate::{ExactRate, RateAnswer};

/// Most statuses, or events, in one answer.
pub const MAX_PAGE: u64 = 10_000;

/// What is left of a counter, and its totals.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "CounterStatus")]
pub struct CounterAnswer {
    /// Tokens per period of the most restrictive rate.
    rate: u64,
    /// Period of the most restrictive rate, milliseconds.
    per_millis: u64,
    /// Tokens that the most restrictive rate holds when full.
    burst: u64,
    /// Algorithm of the most restrictive rate.
    algorithm: &'static str,
    /// All rates, in the order given.
    rates: Vec<RateAnswer>,
    /// Tokens left.
    remaining: u64,
    /// When the full limit is back: RFC 3339, UTC.
    reset_at: String,
    /// Seconds until a check of cost 1 would be allowed, rounded up; 0 when it would be now.
    retry_after: f64,
    /// Number of allowed checks.
    total_allowed: u64,
    /// Number of denied checks.
    total_denied: u64,
    /// Sum of the costs of allowed checks.
    total_allowed_cost: u64,
    /// Sum of the costs of denied checks.
    total_denied_cost: u64,
    /// Time of the newest allowed check.
    last_allowed_at: Option<String>,
    /// Time of the newest denied check.
    last_denied_at: Option<String>,
    /// Time of the newest reset.
    last_reset_at: Option<String>,
}

impl From<&CounterStatus> for CounterAnswer {
    fn from(counter: &CounterStatus) -> Self {
        let bound = RateAnswer::from(&counter.rates[counter.binding]);
        Self {
            rate: bound.rate,
            per_millis: bound.per_millis,
            burst: bound.burst,
            algorithm: bound.algorithm,
            rates: counter.rates.iter().map(RateAnswer::from).collect(),
            remaining: counter.remaining,
            reset_at: moment(counter.reset_at_wall_ns),
            retry_after: seconds_up(counter.retry_after_ns),
            total_allowed: counter.total_allowed,
            total_denied: counter.total_denied,
            total_allowed_cost: counter.total_allowed_cost,
            total_denied_cost: counter.total_denied_cost,
            last_allowed_at: counter.last_allowed_at_ns.map(moment),
            last_denied_at: counter.last_denied_at_ns.map(moment),
            last_reset_at: counter.last_reset_at_ns.map(moment),
        }
    }
}

/// The same, exactly.
#[derive(Debug, Serialize, Deserialize)]
pub struct ExactCounter<'a> {
    #[serde(borrow)]
    rates: Vec<ExactRate<'a>>,
    binding: usize,
    remaining: u64,
    retry_after_ns: u64,
    reset_at_ns: u64,
    total_allowed: u64,
    total_denied: u64,
    total_allowed_cost: u64,
    total_denied_cost: u64,
    last_allowed_at_ns: Option<u64>,
    last_denied_at_ns: Option<u64>,
    last_reset_at_ns: Option<u64>,
}

impl From<&CounterStatus> for ExactCounter<'_> {
    fn from(counter: &CounterStatus) -> Self {
        Self {
            rates: counter.rates.iter().map(ExactRate::from).collect(),
            binding: counter.binding,
            remaining: counter.remaining,
            retry_after_ns: counter.retry_after_ns,
            reset_at_ns: counter.reset_at_wall_ns,
            total_allowed: counter.total_allowed,
            total_denied: counter.total_denied,
            total_allowed_cost: counter.total_allowed_cost,
            total_denied_cost: counter.total_denied_cost,
            last_allowed_at_ns: counter.last_allowed_at_ns,
            last_denied_at_ns: counter.last_denied_at_ns,
            last_reset_at_ns: counter.last_reset_at_ns,
        }
    }
}

impl TryFrom<ExactCounter<'_>> for CounterStatus {
    type Error = Malformed;

    fn try_from(counter: ExactCounter<'_>) -> Result<Self, Malformed> {
        if counter.binding >= counter.rates.len() {
            return Err("a binding rate that is none of the rates");
        }
        Ok(Self {
            rates: counter.rates.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            binding: counter.binding,
            remaining: counter.remaining,
            retry_after_ns: counter.retry_after_ns,
            reset_at_wall_ns: counter.reset_at_ns,
            total_allowed: counter.total_allowed,
            total_denied: counter.total_denied,
            total_allowed_cost: counter.total_allowed_cost,
            total_denied_cost: counter.total_denied_cost,
            last_allowed_at_ns: counter.last_allowed_at_ns,
            last_denied_at_ns: counter.last_denied_at_ns,
            last_reset_at_ns: counter.last_reset_at_ns,
        })
    }
}

/// One key: its limit, what is left of it, and its totals.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "LimitStatus")]
pub struct StatusAnswer<'a> {
    /// The key.
    key: &'a str,
    #[serde(flatten)]
    whole: CounterAnswer,
    /// Where the limit came from: `explicit` or `call`.
    origin: &'static str,
    /// A limit of an old release outside today's bounds: checks fail until it is redefined.
    out_of_bounds: bool,
    /// Its counters, the most recently used first: one, or where calls brought several limits, one for each of them. The other fields
    /// describe the first, and the totals of all together.
    counters: Vec<CounterAnswer>,
}

/// The name of an origin.
pub const fn origin_name(origin: Origin) -> &'static str {
    match origin {
        Origin::Explicit => "explicit",
        Origin::Call => "call",
    }
}

impl<'a> From<&'a Status> for StatusAnswer<'a> {
    fn from(status: &'a Status) -> Self {
        Self {
            key: &status.key,
            whole: CounterAnswer::from(&status.whole),
            origin: origin_name(status.origin),
            out_of_bounds: status.out_of_bounds,
            counters: status.counters().iter().map(CounterAnswer::from).collect(),
        }
    }
}

/// One key's status.
#[derive(Debug, Serialize, Deserialize)]
pub struct ExactStatus<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
    #[serde(borrow)]
    origin: Cow<'a, str>,
    out_of_bounds: bool,
    #[serde(borrow)]
    whole: ExactCounter<'a>,
    /// Left out if there is one.
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    counters: Vec<ExactCounter<'a>>,
}

impl<'a> From<&'a Status> for ExactStatus<'a> {
    fn from(status: &'a Status) -> Self {
        Self {
            key: Cow::Borrowed(&status.key),
            origin: Cow::Borrowed(origin_name(status.origin)),
            out_of_bounds: status.out_of_bounds,
            whole: ExactCounter::from(&status.whole),
            counters: status.counters.iter().map(ExactCounter::from).collect(),
        }
    }
}

impl TryFrom<ExactStatus<'_>> for Status {
    type Error = Malformed;

    fn try_from(status: ExactStatus<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            key: status.key.into_owned(),
            origin: match &*status.origin {
                "explicit" => Origin::Explicit,
                "call" => Origin::Call,
                _ => return Err("an unknown origin"),
            },
            out_of_bounds: status.out_of_bounds,
            whole: status.whole.try_into()?,
            counters: status.counters.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
        })
    }
}

/// A list of statuses.
#[derive(Debug, Serialize, Deserialize)]
pub struct ExactLimits<'a> {
    /// In the order of the answer.
    #[serde(borrow)]
    pub limits: Vec<ExactStatus<'a>>,
}
