//! Limits of keys.

use std::borrow::Cow;

use flint_core::engine::{Delete, Listing, MAX_SPECS, OnChange, Reset, SetLimit, Status};
use flint_core::limit::{Key, Limit};
use flint_core::{Engine, Error, Result};
use schemars::JsonSchema;
use serde::Serialize;

use super::answer::{Answer, Held, List};
use super::executor::Executor;
use super::reply::{HandlerResult, Reply, append_json, to_json};
use crate::parsed_request::ParsedRequest;
use crate::problem::Problem;
use crate::wire::many::each_limit;
use crate::wire::request::{ResetBody, SpecBody};
use crate::wire::status::{ExactStatus, MAX_PAGE, StatusAnswer};

/// Limits between two looks at whether the client still waits, and for which memory is allocated at once.
const STEP: usize = 4_096;

/// Statuses of a list without `limit`.
const PAGE: u64 = 1_000;

/// Statuses.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Limits")]
pub(crate) struct LimitsAnswer<'a> {
    limits: Vec<StatusAnswer<'a>>,
}

/// The key was reset.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ResetDone")]
pub(crate) struct ResetAnswer {
    reset: bool,
}

/// The key was deleted.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Deleted")]
pub(crate) struct DeletedAnswer {
    deleted: bool,
}

/// The limits were set.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Configured")]
pub(crate) struct ConfiguredAnswer {
    configured: usize,
}

fn not_found(key: &str) -> Error {
    Error::LimitNotFound { key: key.to_owned() }
}

fn status_json(request: &ParsedRequest, status: &Status) -> Result<Vec<u8>, Problem> {
    if request.exact { to_json(&ExactStatus::from(status)) } else { to_json(&StatusAnswer::from(status)) }
}

/// How a status is written.
pub(super) fn write_status(request: &ParsedRequest) -> fn(&Status, &mut Vec<u8>) -> Result<(), Problem> {
    if request.exact {
        |status, into| append_json(&ExactStatus::from(status), into)
    } else {
        |status, into| append_json(&StatusAnswer::from(status), into)
    }
}

/// The bytes that a list of statuses takes in memory, at most about: those of its keys, and of the scan that finds them.
pub(crate) fn list_bytes(engine: &Engine, request: &ParsedRequest) -> usize {
    match page(request, PAGE) {
        Ok(limit) if request.query.key.is_none() => listing(request, limit).bytes(engine.counters().keys),
        _ => 0,
    }
}

fn listing(request: &ParsedRequest, limit: usize) -> Listing {
    Listing::new(request.query.prefix.as_deref(), Some(limit), request.query.after.as_deref())
}

/// The number of entries that a list returns at most.
pub(super) fn page(request: &ParsedRequest, default: u64) -> Result<usize> {
    let wanted = request.query.limit.unwrap_or(default);
    if wanted > MAX_PAGE {
        let message = format!("limit is at most {MAX_PAGE} in one request, not {wanted}; go on with after=");
        return Err(Error::InvalidArgument(message));
    }
    Ok(usize::try_from(wanted).unwrap_or(usize::MAX))
}

/// `GET /v1/limits`.
pub(crate) fn list(engine: &Engine, request: &ParsedRequest) -> Result<Answer, Problem> {
    let query = &request.query;
    let limit = page(request, PAGE)?;
    if let Some(key) = &query.key {
        if query.prefix.is_some() || query.after.is_some() {
            let message = "key= names one key and goes with neither prefix= nor after=";
            return Err(Error::InvalidArgument(message.to_owned()).into());
        }
        let found: Vec<Status> = engine.status(key)?.into_iter().take(limit).collect();
        return Ok(List::answer("limits", Held::new(found, |_| 0), String::new(), write_status(request)));
    }
    Ok(List::answer("limits", listing(request, limit), String::new(), write_status(request)))
}

/// `GET /v1/limits/{key}`.
pub(crate) fn status(engine: &Engine, request: &ParsedRequest, _: Executor) -> HandlerResult {
    let key = request.key()?;
    let status = engine.status(key)?.ok_or_else(|| not_found(key))?;
    Ok(Some(Reply::of_json(status_json(request, &status)?, 0)))
}

/// `POST /v1/limits`.
pub(crate) fn configure(engine: &Engine, request: &ParsedRequest, executor: Executor) -> HandlerResult {
    let body: SpecBody<'_> = request.json()?;
    let limit = body.limit()?;
    let operation = SetLimit { key: &body.key, limit: &limit, on_change: body.on_change()? };
    let Some(seq) = executor.run(engine, &operation)? else { return Ok(None) };
    // It may have been deleted since.
    let status = engine.status(&body.key)?.ok_or_else(|| not_found(&body.key))?;
    Ok(Some(Reply::of_json(status_json(request, &status)?, seq)))
}

/// `POST /v1/limit-many`.
pub(crate) fn configure_many(engine: &Engine, request: &ParsedRequest) -> Result<Answer, Problem> {
    let (mut keys, mut specs) = (Vec::<Cow<'_, str>>::new(), Vec::<(&str, Limit, OnChange)>::new());
    let parsed = each_limit(request.text(), &mut |index, spec: SpecBody<'_>| {
        if index == MAX_SPECS {
            let message = format!("more than {MAX_SPECS} limits in one call; at most {MAX_SPECS} are accepted");
            return Err(Problem::from(Error::InvalidArgument(message)));
        }
        if index % STEP == 0 {
            request.cancellation.check()?;
            // By steps: doubling would take twice the memory.
            specs.reserve_exact(STEP);
            keys.reserve_exact(STEP);
        }
        let limit = spec.limit().map_err(|error| match error {
            Error::InvalidLimit(message) => Error::InvalidLimit(format!("limits[{index}]: {message}")),
            other => other,
        })?;
        let on_change = spec.on_change()?;
        Key::new(&spec.key)?;
        keys.push(spec.key);
        specs.push(("", limit, on_change));
        Ok(())
    });
    parsed.map_err(Problem::from)??;
    for (spec, key) in specs.iter_mut().zip(&keys) {
        spec.0 = key;
    }
    request.cancellation.check()?;
    engine.limit_many(&specs)?;
    to_json(&ConfiguredAnswer { configured: specs.len() }).map(Answer::Whole)
}

/// `POST /v1/reset`.
pub(crate) fn reset(engine: &Engine, request: &ParsedRequest, executor: Executor) -> HandlerResult {
    let body: ResetBody<'_> = request.json()?;
    let seq = executor.run(engine, &Reset { key: &body.key })?;
    seq.map(|seq| Reply::new(&ResetAnswer { reset: true }, seq)).transpose()
}

/// `DELETE /v1/limits/{key}`.
pub(crate) fn delete(engine: &Engine, request: &ParsedRequest, executor: Executor) -> HandlerResult {
    let seq = executor.run(engine, &Delete { key: request.key()? })?;
    seq.map(|seq| Reply::new(&DeletedAnswer { deleted: true }, seq)).transpose()
}
