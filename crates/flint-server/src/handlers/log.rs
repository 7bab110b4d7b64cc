//! The log, and what is computed from it.

use flint_core::dump::{Dumped, Follower};
use flint_core::engine::TopBy;
use flint_core::{Engine, Error, Result};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::executor::Executor;
use super::limits::{page, statuses_json};
use super::reply::{HandlerResult, Reply, to_json};
use crate::parsed_request::ParsedRequest;
use crate::problem::Problem;
use crate::wire::counters::CountersAnswer;
use crate::wire::event::{EventAnswer, ExactEvent, ExactEvents};
use crate::wire::report::ReportAnswer;

const TOP: u64 = 10;
const EVENTS: u64 = 100;
const RECORDS: u64 = 1_000;

/// Everything so far is on disk.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Flushed")]
pub(crate) struct FlushedAnswer {
    flushed: bool,
}

/// A snapshot was written.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Compacted")]
pub(crate) struct CompactedAnswer {
    compacted: bool,
}

/// Events of a key, oldest first.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Events")]
pub(crate) struct EventsAnswer {
    events: Vec<EventAnswer>,
}

/// Records of the log, oldest first.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Records")]
pub(crate) struct RecordsAnswer {
    /// Each with `file`, `offset`, `seq`, `type`, `at` and what the type has; a `GAP` takes the place of records that are gone.
    records: Vec<Map<String, Value>>,
    /// The newest record seen: what to pass as `after` next.
    newest: u64,
}

/// `POST /v1/log/flush`.
pub(crate) fn flush(engine: &Engine, request: &ParsedRequest, _: Executor) -> HandlerResult {
    let crate::wire::request::NoBody {} = request.json()?;
    let decided = Reply::new(&FlushedAnswer { flushed: true }, engine.newest_seq()?)?;
    Ok(Some(Reply { flush: true, ..decided }))
}

/// `POST /v1/log/compact`.
pub(crate) fn compact(engine: &Engine, request: &ParsedRequest) -> Result<Vec<u8>, Problem> {
    let crate::wire::request::NoBody {} = request.json()?;
    engine.compact()?;
    to_json(&CompactedAnswer { compacted: true })
}

/// `GET /v1/doctor`.
pub(crate) fn doctor(engine: &Engine, _: &ParsedRequest) -> Result<Vec<u8>, Problem> {
    to_json(&ReportAnswer::from(&engine.doctor()?))
}

/// `GET /v1/counters`.
pub(crate) fn counters(engine: &Engine, _: &ParsedRequest, _: Executor) -> HandlerResult {
    engine.health()?;
    Reply::new(&CountersAnswer::from(&engine.counters()), 0).map(Some)
}

/// `GET /v1/top`.
pub(crate) fn top(engine: &Engine, request: &ParsedRequest) -> Result<Vec<u8>, Problem> {
    let by = match request.query.by.as_deref() {
        None | Some("denied") => TopBy::Denied,
        Some("allowed") => TopBy::Allowed,
        Some("allowed_cost") => TopBy::AllowedCost,
        Some("denied_cost") => TopBy::DeniedCost,
        Some(other) => {
            let message =
                format!("by must be \"allowed\" or \"denied\" or \"allowed_cost\" or \"denied_cost\", not {other:?}");
            return Err(Error::InvalidArgument(message).into());
        }
    };
    statuses_json(request, &engine.top(by, page(request, TOP)?)?)
}

/// `GET /v1/history`.
pub(crate) fn history(engine: &Engine, request: &ParsedRequest) -> Result<Vec<u8>, Problem> {
    let events = engine.history(request.key()?, page(request, EVENTS)?)?;
    if request.exact {
        to_json(&ExactEvents { events: events.iter().map(ExactEvent::from).collect() })
    } else {
        to_json(&EventsAnswer { events: events.iter().map(EventAnswer::from).collect() })
    }
}

/// `GET /v1/log/records`.
pub(crate) fn records(engine: &Engine, request: &ParsedRequest) -> Result<Vec<u8>, Problem> {
    engine.health()?;
    let most = page(request, RECORDS)?;
    let after = match request.query.after.as_deref() {
        None => 0,
        Some(text) => text.parse().map_err(|_| {
            Error::InvalidArgument(format!("after must be a record's number from 0 to 2^64 - 1, not {text:?}"))
        })?,
    };
    let (mut records, mut newest) = (Vec::new(), after);
    if most > 0 {
        let mut follower = Follower::open(engine.path(), after)?;
        follower.look(&mut |dumped| {
            let record = match dumped {
                Dumped::Record(record) => {
                    newest = record.seq;
                    let mut fields = Map::new();
                    fields.insert("file".to_owned(), json!(record.path.to_string_lossy()));
                    fields.insert("offset".to_owned(), json!(record.offset));
                    fields.insert("seq".to_owned(), json!(record.seq));
                    if let Ok(Value::Object(rest)) = serde_json::from_str(&record.json) {
                        fields.extend(rest);
                    }
                    fields
                }
                Dumped::Gap { from, to } => {
                    newest = to;
                    let gap = [("type", json!("GAP")), ("from", json!(from)), ("to", json!(to))];
                    gap.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()
                }
            };
            records.push(record);
            records.len() < most
        })?;
    }
    to_json(&RecordsAnswer { records, newest })
}
