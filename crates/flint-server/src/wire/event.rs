//! Events of a key's history.

use std::borrow::Cow;

use flint_core::engine::{Event, EventKind};
use flint_core::limit::Rate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::exact::Malformed;
use super::number::moment;
use super::rate::{ExactRate, RateAnswer};

/// One event of a key's history.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Event")]
pub struct EventAnswer {
    /// `LIMIT_CONFIGURED`, `ALLOW`, `ALLOW_ALL`, `DENY`, `RESET` or `LIMIT_DELETED`.
    r#type: &'static str,
    /// When: RFC 3339, UTC.
    at: String,
    /// Tokens; for denials the sum, 0 where there are none.
    cost: u64,
    /// Number of checks that the event represents.
    count: u64,
    /// Tokens left afterwards, where the log holds that.
    remaining: Option<u64>,
    /// The limit that a `LIMIT_CONFIGURED` set; `null` for other events, and where the log does not have it.
    rates: Option<Vec<RateAnswer>>,
}

impl From<&Event> for EventAnswer {
    fn from(event: &Event) -> Self {
        Self {
            r#type: event.kind.name(),
            at: moment(event.at_wall_ns),
            cost: event.cost,
            count: event.count,
            remaining: event.remaining,
            rates: (!event.rates.is_empty()).then(|| event.rates.iter().map(RateAnswer::from).collect()),
        }
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
    #[serde(borrow)]
    rates: Vec<ExactRate<'a>>,
}

impl From<&Event> for ExactEvent<'_> {
    fn from(event: &Event) -> Self {
        Self {
            r#type: Cow::Borrowed(event.kind.name()),
            at_ns: event.at_wall_ns,
            cost: event.cost,
            count: event.count,
            remaining: event.remaining,
            rates: event.rates.iter().map(ExactRate::from).collect(),
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
            rates: event.rates.into_iter().map(Rate::try_from).collect::<Result<_, _>>()?,
        })
    }
}

/// A list of events.
#[derive(Debug, Serialize, Deserialize)]
pub struct ExactEvents<'a> {
    /// In the order of the answer.
    #[serde(borrow)]
    pub events: Vec<ExactEvent<'a>>,
}
