//! Answers as clients want them who make results of them: integers instead of rounded seconds and texts, nothing derived. The
//! names are those of the arguments that the result classes' constructors take. Who writes borrows, who reads owns.

use std::borrow::Cow;

use flint_core::algorithm::Verdict;
use flint_core::engine::{Event, EventKind, MultiOutcome, Outcome, RateVerdicts, Status};
use flint_core::image::Origin;
use flint_core::limit::{Algorithm, Rate, RateVerdict};
use serde::{Deserialize, Serialize};

use super::answer::origin_name;

/// What a request's `Accept` and an answer's `Content-Type` say for this form.
pub const MEDIA_TYPE: &str = "application/vnd.flint.exact+json";

/// Why an answer makes no sense although it is JSON.
pub type Malformed = &'static str;

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

/// A rate with what it says: remaining, nanoseconds to wait, nanoseconds until it is whole.
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

/// One check. The key is left out: whoever asked knows it.
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

/// One key's status.
#[derive(Debug, Serialize, Deserialize)]
pub struct ExactStatus<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
    #[serde(borrow)]
    rates: Vec<ExactRate<'a>>,
    binding: usize,
    #[serde(borrow)]
    origin: Cow<'a, str>,
    out_of_bounds: bool,
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

impl<'a> From<&'a Status> for ExactStatus<'a> {
    fn from(status: &'a Status) -> Self {
        Self {
            key: Cow::Borrowed(&status.key),
            rates: status.rates.iter().map(ExactRate::from).collect(),
            binding: status.binding,
            origin: Cow::Borrowed(origin_name(status.origin)),
            out_of_bounds: status.out_of_bounds,
            remaining: status.remaining,
            retry_after_ns: status.retry_after_ns,
            reset_at_ns: status.reset_at_wall_ns,
            total_allowed: status.total_allowed,
            total_denied: status.total_denied,
            total_allowed_cost: status.total_allowed_cost,
            total_denied_cost: status.total_denied_cost,
            last_allowed_at_ns: status.last_allowed_at_ns,
            last_denied_at_ns: status.last_denied_at_ns,
            last_reset_at_ns: status.last_reset_at_ns,
        }
    }
}

impl TryFrom<ExactStatus<'_>> for Status {
    type Error = Malformed;

    fn try_from(status: ExactStatus<'_>) -> Result<Self, Malformed> {
        if status.binding >= status.rates.len() {
            return Err("a binding rate that is none of the rates");
        }
        Ok(Self {
            key: status.key.into_owned(),
            rates: status.rates.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            binding: status.binding,
            origin: match &*status.origin {
                "explicit" => Origin::Explicit,
                "call" => Origin::Call,
                _ => return Err("an unknown origin"),
            },
            out_of_bounds: status.out_of_bounds,
            remaining: status.remaining,
            retry_after_ns: status.retry_after_ns,
            reset_at_wall_ns: status.reset_at_ns,
            total_allowed: status.total_allowed,
            total_denied: status.total_denied,
            total_allowed_cost: status.total_allowed_cost,
            total_denied_cost: status.total_denied_cost,
            last_allowed_at_ns: status.last_allowed_at_ns,
            last_denied_at_ns: status.last_denied_at_ns,
            last_reset_at_ns: status.last_reset_at_ns,
        })
    }
}

/// One event.
#[derive(Debug, Serialize, Deserialize)]
pub struct ExactEvent<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    at_ns: u64,
    cost: u64,
    count: u64,
    remaining: Option<u64>,
}

impl From<&Event> for ExactEvent<'_> {
    fn from(event: &Event) -> Self {
        Self {
            r#type: Cow::Borrowed(event.kind.name()),
            at_ns: event.at_wall_ns,
            cost: event.cost,
            count: event.count,
            remaining: event.remaining,
        }
    }
}

impl TryFrom<ExactEvent<'_>> for Event {
    type Error = Malformed;

    fn try_from(event: ExactEvent<'_>) -> Result<Self, Malformed> {
        let kind = EventKind::ALL.into_iter().find(|kind| kind.name() == event.r#type);
        Ok(Self {
            kind: kind.ok_or("an unknown type of event")?,
            at_wall_ns: event.at_ns,
            cost: event.cost,
            count: event.count,
            remaining: event.remaining,
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

/// A list of events.
#[derive(Debug, Serialize, Deserialize)]
pub struct ExactEvents<'a> {
    /// In the order of the answer.
    #[serde(borrow)]
    pub events: Vec<ExactEvent<'a>>,
}
