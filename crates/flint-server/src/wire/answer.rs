//! Answers, with the names, order and values that `to_dict()` of the embedded results has.

use flint_core::engine::{Counters, Distribution, Event, MultiOutcome, Outcome, Report, Status};
use flint_core::image::Origin;
use flint_core::limit::{Rate, RateVerdict};
use schemars::JsonSchema;
use serde::Serialize;

use super::number::{moment, seconds_up};

/// One rate of a limit.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RateAnswer {
    /// Tokens per period.
    rate: u64,
    /// The period, milliseconds.
    per_millis: u64,
    /// Tokens that a full bucket holds; equals `rate` for the window algorithms.
    burst: u64,
    /// `token_bucket`, `sliding_window_log` or `fixed_window_counter`.
    algorithm: &'static str,
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
    /// `token_bucket`, `sliding_window_log` or `fixed_window_counter`.
    algorithm: &'static str,
    /// Tokens that this rate has left after the call.
    remaining: u64,
    /// Nanoseconds until this rate would allow the same call; 0 when it has nothing against it.
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

/// The answer to one check. With several rates it describes the one that binds.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "CheckResult")]
pub struct CheckAnswer<'a> {
    /// The decision. A denied check is a successful request.
    allowed: bool,
    /// The key.
    key: &'a str,
    /// Tokens that were asked for.
    cost: u64,
    /// The binding rate's tokens per period.
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
    /// For the key that was asked for.
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
    /// One answer an item, in their order.
    results: Vec<CheckAnswer<'a>>,
}

impl<'a> MultiCheckAnswer<'a> {
    /// For the keys that were asked for, in the same order.
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

/// One key: its limit, what is left of it, and its totals.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "LimitStatus")]
pub struct StatusAnswer<'a> {
    /// The key.
    key: &'a str,
    /// Tokens per period of the binding rate.
    rate: u64,
    /// Period of the binding rate, milliseconds.
    per_millis: u64,
    /// Tokens that the binding rate holds when full.
    burst: u64,
    /// Algorithm of the binding rate.
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
    /// Where the limit came from: `explicit` or `call`.
    origin: &'static str,
    /// A limit of an old release outside today's bounds: checks fail until it is redefined.
    out_of_bounds: bool,
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
        let bound = RateAnswer::from(&status.rates[status.binding]);
        Self {
            key: &status.key,
            rate: bound.rate,
            per_millis: bound.per_millis,
            burst: bound.burst,
            algorithm: bound.algorithm,
            rates: status.rates.iter().map(RateAnswer::from).collect(),
            remaining: status.remaining,
            reset_at: moment(status.reset_at_wall_ns),
            retry_after: seconds_up(status.retry_after_ns),
            total_allowed: status.total_allowed,
            total_denied: status.total_denied,
            total_allowed_cost: status.total_allowed_cost,
            total_denied_cost: status.total_denied_cost,
            last_allowed_at: status.last_allowed_at_ns.map(moment),
            last_denied_at: status.last_denied_at_ns.map(moment),
            last_reset_at: status.last_reset_at_ns.map(moment),
            origin: origin_name(status.origin),
            out_of_bounds: status.out_of_bounds,
        }
    }
}

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
    /// Number of checks that the event stands for.
    count: u64,
    /// Tokens left afterwards, where the log tells.
    remaining: Option<u64>,
}

impl From<&Event> for EventAnswer {
    fn from(event: &Event) -> Self {
        Self {
            r#type: event.kind.name(),
            at: moment(event.at_wall_ns),
            cost: event.cost,
            count: event.count,
            remaining: event.remaining,
        }
    }
}

/// What examining the data directory found.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Report")]
pub struct ReportAnswer<'a> {
    /// No problem.
    ok: bool,
    /// Number of keys.
    limits: u64,
    /// Number of history events in the files.
    history_events: u64,
    /// Size of the log, bytes.
    aof_bytes: u64,
    /// Whether there is a snapshot.
    snapshot_exists: bool,
    /// `current`, `0.2`, `0.1` or `none`.
    format: &'static str,
    /// What is wrong, each with file and offset.
    problems: Vec<String>,
    /// What is worth knowing and harms nobody.
    notes: &'a [String],
}

impl<'a> From<&'a Report> for ReportAnswer<'a> {
    fn from(report: &'a Report) -> Self {
        Self {
            ok: report.ok,
            limits: report.limits,
            history_events: report.history_events,
            aof_bytes: report.aof_bytes,
            snapshot_exists: report.snapshot_exists,
            format: report.format,
            problems: report.problems.iter().map(ToString::to_string).collect(),
            notes: &report.notes,
        }
    }
}

/// How often values fell into which range.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Distribution")]
pub struct DistributionAnswer<'a> {
    /// The largest value that each bucket but the last takes.
    bounds: &'a [u64],
    /// Values in each bucket, not cumulated.
    counts: &'a [u64],
    /// Sum of the values.
    sum: u64,
}

impl<'a> From<&'a Distribution> for DistributionAnswer<'a> {
    fn from(distribution: &'a Distribution) -> Self {
        Self { bounds: &distribution.bounds, counts: &distribution.counts, sum: distribution.sum }
    }
}

/// Totals since the server opened the directory.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Counters")]
pub struct CountersAnswer<'a> {
    keys: u64,
    allowed: u64,
    denied: u64,
    seq: u64,
    durable_seq: u64,
    log_bytes: u64,
    syncs: u64,
    rotations: u64,
    compactions: u64,
    recovery_ns: u64,
    sync_ns: DistributionAnswer<'a>,
    sync_records: DistributionAnswer<'a>,
}

impl<'a> From<&'a Counters> for CountersAnswer<'a> {
    fn from(counters: &'a Counters) -> Self {
        Self {
            keys: counters.keys,
            allowed: counters.allowed,
            denied: counters.denied,
            seq: counters.seq,
            durable_seq: counters.durable_seq,
            log_bytes: counters.log_bytes,
            syncs: counters.syncs,
            rotations: counters.rotations,
            compactions: counters.compactions,
            recovery_ns: counters.recovery_ns,
            sync_ns: (&counters.sync_ns).into(),
            sync_records: (&counters.sync_records).into(),
        }
    }
}
