//! Limits of keys.

use flint_core::engine::{Delete, OnChange, Reset, SetLimit, Status};
use flint_core::limit::Limit;
use flint_core::{Engine, Error, Result};
use schemars::JsonSchema;
use serde::Serialize;

use super::{Decided, Decision, Executor};
use crate::asked::{Asked, to_json};
use crate::problem::Problem;
use crate::wire::answer::StatusAnswer;
use crate::wire::exact::{ExactLimits, ExactStatus};
use crate::wire::request::{LimitManyBody, Object, ResetBody, SpecBody};

/// Statuses of a list that says no `limit`, and of the longest.
const PAGE: u64 = 1_000;
const MAX_PAGE: u64 = 10_000;

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

fn status_json(asked: &Asked, status: &Status) -> Result<Vec<u8>, Problem> {
    if asked.exact { to_json(&ExactStatus::from(status)) } else { to_json(&StatusAnswer::from(status)) }
}

/// A list of statuses as JSON.
pub(super) fn statuses_json(asked: &Asked, statuses: &[Status]) -> Result<Vec<u8>, Problem> {
    if asked.exact {
        to_json(&ExactLimits { limits: statuses.iter().map(ExactStatus::from).collect() })
    } else {
        to_json(&LimitsAnswer { limits: statuses.iter().map(StatusAnswer::from).collect() })
    }
}

/// The number of things that a list gives.
pub(super) fn page(asked: &Asked, default: u64) -> Result<usize> {
    let wanted = asked.query.limit.unwrap_or(default);
    if wanted > MAX_PAGE {
        let message = format!("limit is at most {MAX_PAGE} in one request, not {wanted}; go on with after=");
        return Err(Error::InvalidArgument(message));
    }
    Ok(usize::try_from(wanted).unwrap_or(usize::MAX))
}

/// `GET /v1/limits`.
pub(crate) fn list(engine: &Engine, asked: &Asked) -> Result<Vec<u8>, Problem> {
    let query = &asked.query;
    let limit = page(asked, PAGE)?;
    if let Some(key) = &query.key {
        if query.prefix.is_some() || query.after.is_some() {
            let message = "key= names one key and goes with neither prefix= nor after=";
            return Err(Error::InvalidArgument(message.to_owned()).into());
        }
        let found: Vec<Status> = engine.status(key)?.into_iter().take(limit).collect();
        return statuses_json(asked, &found);
    }
    statuses_json(asked, &engine.list(query.prefix.as_deref(), Some(limit), query.after.as_deref())?)
}

/// `GET /v1/limits/{key}`.
pub(crate) fn status(engine: &Engine, asked: &Asked, _: Executor) -> Decision {
    let key = asked.key()?;
    let status = engine.status(key)?.ok_or_else(|| not_found(key))?;
    Ok(Some(Decided { body: status_json(asked, &status)?, seq: 0, always: false, repeated: false }))
}

/// `POST /v1/limits`.
pub(crate) fn configure(engine: &Engine, asked: &Asked, executor: Executor) -> Decision {
    let body: SpecBody<'_> = asked.json()?;
    let limit = body.limit()?;
    let operation = SetLimit { key: &body.key, limit: &limit, on_change: body.on_change()? };
    let Some(seq) = executor.run(engine, &operation)? else { return Ok(None) };
    // It may have been deleted since.
    let status = engine.status(&body.key)?.ok_or_else(|| not_found(&body.key))?;
    Ok(Some(Decided { body: status_json(asked, &status)?, seq, always: false, repeated: false }))
}

/// `POST /v1/limit-many`.
pub(crate) fn configure_many(engine: &Engine, asked: &Asked) -> Result<Vec<u8>, Problem> {
    let body: LimitManyBody<'_> = asked.json()?;
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
pub(crate) fn reset(engine: &Engine, asked: &Asked, executor: Executor) -> Decision {
    let body: ResetBody<'_> = asked.json()?;
    let seq = executor.run(engine, &Reset { key: &body.key })?;
    seq.map(|seq| Decided::new(&ResetAnswer { reset: true }, seq)).transpose()
}

/// `DELETE /v1/limits/{key}`.
pub(crate) fn delete(engine: &Engine, asked: &Asked, executor: Executor) -> Decision {
    let seq = executor.run(engine, &Delete { key: asked.key()? })?;
    seq.map(|seq| Decided::new(&DeletedAnswer { deleted: true }, seq)).transpose()
}
