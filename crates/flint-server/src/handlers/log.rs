//! The log, and what is computed from it.

use flint_core::dump::{Dumped, Follower};
use flint_core::engine::{Event, Top, TopBy};
use flint_core::{Engine, Error, Result};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::answer::{Answer, Held, List};
use super::executor::Executor;
use super::limits::{page, write_status};
use super::reply::{HandlerResult, Reply, append_json, to_json};
use crate::parsed_request::ParsedRequest;
use crate::problem::Problem;
use crate::wire::counters::CountersAnswer;
use crate::wire::event::{EventAnswer, ExactEvent};
use crate::wire::report::ReportAnswer;
use crate::wire::status::MAX_PAGE;

const TOP: u64 = 10;
const EVENTS: u64 = 100;
const RECORDS: u64 = 1_000;
/// A page of records ends with the one that reaches so many bytes of JSON.
const MAX_RECORDS_BYTES: usize = 1024 * 1024;

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
pub(crate) fn compact(engine: &Engine, request: &ParsedRequest) -> Result<Answer, Problem> {
    let crate::wire::request::NoBody {} = request.json()?;
    engine.compact()?;
    to_json(&CompactedAnswer { compacted: true }).map(Answer::Whole)
}

/// `GET /v1/doctor`.
pub(crate) fn doctor(engine: &Engine, _: &ParsedRequest) -> Result<Answer, Problem> {
    to_json(&ReportAnswer::from(&engine.doctor()?)).map(Answer::Whole)
}

/// `GET /v1/counters`.
pub(crate) fn counters(engine: &Engine, _: &ParsedRequest, _: Executor) -> HandlerResult {
    engine.health()?;
    Reply::new(&CountersAnswer::from(&engine.counters()), 0).map(Some)
}

/// `GET /v1/top`.
pub(crate) fn top(engine: &Engine, request: &ParsedRequest) -> Result<Answer, Problem> {
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
    let top = engine.find_top(by, page(request, TOP)?)?;
    Ok(List::answer("limits", top, String::new(), write_status(request)))
}

/// The bytes that the answer of [`top`] takes in memory, about.
pub(crate) fn top_bytes(engine: &Engine, request: &ParsedRequest) -> usize {
    let keys = request.query.limit.unwrap_or(TOP).min(MAX_PAGE).min(engine.counters().keys);
    Top::bytes_of(usize::try_from(keys).unwrap_or(usize::MAX))
}

/// `GET /v1/history`.
pub(crate) fn history(engine: &Engine, request: &ParsedRequest) -> Result<Answer, Problem> {
    let events = engine.history(request.key()?, page(request, EVENTS)?)?;
    let write: fn(&Event, &mut Vec<u8>) -> Result<(), Problem> = if request.exact {
        |event, into| append_json(&ExactEvent::from(event), into)
    } else {
        |event, into| append_json(&EventAnswer::from(event), into)
    };
    Ok(List::answer("events", Held::new(events, |_| 0), String::new(), write))
}

/// The bytes that the answer of [`history`] takes in memory, about.
pub(crate) fn history_bytes(_: &Engine, request: &ParsedRequest) -> usize {
    let count = request.query.limit.unwrap_or(EVENTS).min(MAX_PAGE);
    usize::try_from(count).unwrap_or(usize::MAX).saturating_mul(size_of::<Event>())
}

/// `GET /v1/log/records`. A page ends with the record that reaches [`MAX_RECORDS_BYTES`].
pub(crate) fn records(engine: &Engine, request: &ParsedRequest) -> Result<Answer, Problem> {
    engine.health()?;
    let most = page(request, RECORDS)?;
    let after = match request.query.after.as_deref() {
        None => 0,
        Some(text) => text.parse().map_err(|_| {
            Error::InvalidArgument(format!(
                "after must be a record's number, 0 to 18446744073709551615, such as 42, not {text:?}"
            ))
        })?,
    };
    let (mut records, mut bytes, mut newest) = (Vec::new(), 0, after);
    if most > 0 {
        let mut follower = Follower::open(engine.path(), after)?;
        follower.look(&mut |dumped| {
            let record = match dumped {
                Dumped::Record(record) => {
                    newest = record.seq;
                    let file = json!(record.path.to_string_lossy());
                    (format!("{{\"file\":{file},\"offset\":{},", record.offset), record.json)
                }
                Dumped::Gap { from, to } => {
                    newest = to;
                    ("{".to_owned(), json!({"type": "GAP", "from": from, "to": to}).to_string())
                }
            };
            bytes += record.0.len() + record.1.len();
            records.push(record);
            records.len() < most && bytes < MAX_RECORDS_BYTES && !request.cancellation.is_set()
        })?;
    }
    let write = |(place, record): &(String, String), into: &mut Vec<u8>| {
        into.extend_from_slice(place.as_bytes());
        // The record is an object that is not empty.
        into.extend_from_slice(&record.as_bytes()[1..]);
        Ok(())
    };
    let heap = |(place, record): &(String, String)| place.capacity() + record.capacity();
    Ok(List::answer("records", Held::new(records, heap), format!(",\"newest\":{newest}"), write))
}

/// The bytes that the answer of [`records`] takes in memory, about.
pub(crate) const fn records_bytes(_: &Engine, _: &ParsedRequest) -> usize {
    MAX_RECORDS_BYTES
}
