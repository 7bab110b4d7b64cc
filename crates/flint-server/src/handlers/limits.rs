//! Limits of keys.

use flint_core::engine::{Delete, OnChange, Reset, SetLimit, Status};
use flint_core::limit::Limit;
use flint_core::{Engine, Error, Result};
use schemars::JsonSchema;
use serde::Serialize;

use super::executor::Executor;
use super::reply::{HandlerResult, Reply, to_json};
use crate::parsed_request::ParsedRequest;
use crate::problem::Problem;
use crate::wire::request::{LimitManyBody, Object, ResetBody, SpecBody};
use crate::wire::status::{ExactLimits, ExactStatus, MAX_PAGE, StatusAnswer};

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

/// A list of statuses as JSON.
pub(super) fn statuses_json(request: &ParsedRequest, statuses: &[Status]) -> Result<Vec<u8>, Problem> {
    if request.exact {
        to_json(&ExactLimits { limits: statuses.iter().map(ExactStatus::from).collect() })
    } else {
        to_json(&LimitsAnswer { limits: statuses.iter().map(StatusAnswer::from).collect() })
    }
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
pub(crate) fn list(engine: &Engine, request: &ParsedRequest) -> Result<Vec<u8>, Problem> {
    let query = &request.query;
    let limit = page(request, PAGE)?;
    if let Some(key) = &query.key {
        if query.prefix.is_some() || query.after.is_some() {
            let message = "key= names one key and goes with neither prefix= nor after=";
            return Err(Error::InvalidArgument(message.to_owned()).into());
        }
        let found: Vec<Status> = engine.status(key)?.into_iter().take(limit).collect();
        return statuses_json(request, &found);
    }
    statuses_json(request, &engine.list(query.prefix.as_deref(), Some(limit), query.after.as_deref())?)
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
pub(crate) fn configure_many(engine: &Engine, request: &ParsedRequest) -> Result<Vec<u8>, Problem> {
    let body: LimitManyBody<'_> = request.json()?;
    let mut specs: Vec<(&str, Limit, OnChange)> = Vec::with_capacity(body.limits.len());
    for (index, Object(spec)) in body.limits.iter().enumerate() {
        let limit = spec.limit().map_err(|error| match error {
            Error::InvalidLimit(message) => Error::InvalidLimit(format!("limits[{index}]: {message}")),
            other => other,
        })?;
        specs.push((&spec.key, limit, spec.on_change()?));
    }
    engine.limit_many(&specs)?;
    to_json(&ConfiguredAnswer { configured: specs.len() })
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
