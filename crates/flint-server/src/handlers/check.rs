//! Decisions.

use flint_core::engine::{
    Check, CheckAll, CountDenial, Item as CoreItem, MAX_ITEMS, MultiOutcome, Outcome, Repeatable,
};
use flint_core::limit::{Key, Limit};
use flint_core::{Engine, Error, Result};
use schemars::JsonSchema;
use serde::Serialize;

use super::executor::Executor;
use super::reply::{HandlerResult, Reply};
use crate::parsed_request::ParsedRequest;
use crate::problem::Problem;
use crate::wire::check::{CheckAnswer, ExactCheck, ExactMultiCheck, MultiCheckAnswer};
use crate::wire::cost::Cost;
use crate::wire::request::{CheckAllBody, CheckBody, DenyBody, PeekBody};

/// The bytes of the answer to one item, about: with eight rates.
const ITEM_BYTES: usize = 2_400;

/// Most costs of a forecast.
const MAX_COSTS: usize = 10_000;

/// The denial was counted.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Counted")]
pub(crate) struct CountedAnswer {
    counted: bool,
}

fn reply(request: &ParsedRequest, key: &str, outcome: &Outcome) -> Result<Reply, Problem> {
    if request.exact {
        Reply::new(&ExactCheck::from(outcome), outcome.seq)
    } else {
        Reply::new(&CheckAnswer::new(key, outcome), outcome.seq)
    }
}

/// `POST /v1/check`.
pub(crate) fn check(engine: &Engine, request: &ParsedRequest, executor: Executor) -> HandlerResult {
    let body: CheckBody<'_> = request.json()?;
    let limit = body.limit()?;
    let item = CoreItem { key: &body.key, cost: body.cost.get()?, limit: limit.as_ref() };
    let operation = if body.count_denied { Check::new(item) } else { Check::attempt(item) };
    let output = executor.run_once(engine, operation, request.call)?;
    let Some(Repeatable { answer, repeated }) = output else { return Ok(None) };
    Ok(Some(Reply { repeated, ..reply(request, &body.key, &answer)? }))
}

/// `POST /v1/peek`.
pub(crate) fn peek(engine: &Engine, request: &ParsedRequest, _: Executor) -> HandlerResult {
    let body: PeekBody<'_> = request.json()?;
    let limit = body.limit()?;
    let mut outcome = engine.peek(&body.key, body.cost.get()?, limit.as_ref())?;
    if let Some(costs) = &body.costs {
        outcome.allowed = false;
        outcome.retry_after_ns = forecast(engine, &body.key, limit.as_ref(), costs)?;
    }
    reply(request, &body.key, &outcome).map(Some)
}

fn forecast(engine: &Engine, key: &str, limit: Option<&Limit>, costs: &[Cost]) -> Result<u64> {
    if costs.len() > MAX_COSTS {
        let message = format!("{} costs in one forecast; at most {MAX_COSTS} are accepted", costs.len());
        return Err(Error::InvalidArgument(message));
    }
    let costs = costs.iter().map(Cost::get).collect::<Result<Vec<_>>>()?;
    match engine.forecast(key, limit, &costs)? {
        u64::MAX => Err(Error::InvalidCost("one of the costs is more than the limit ever holds".to_owned())),
        wait_ns => Ok(wait_ns),
    }
}

/// `POST /v1/deny`.
pub(crate) fn deny(engine: &Engine, request: &ParsedRequest, executor: Executor) -> HandlerResult {
    let body: DenyBody<'_> = request.json()?;
    let key = Key::new(&body.key)?;
    let cost = match body.cost.get()? {
        0 => Cost::Refused("0".to_owned()).get()?,
        cost => cost,
    };
    let limit = body.limit()?;
    let counted = executor.run(engine, &CountDenial { key: key.as_str(), cost, limit: limit.as_ref() })?;
    counted.map(|()| Reply::new(&CountedAnswer { counted: true }, 0)).transpose()
}

/// `POST /v1/check-all`.
pub(crate) fn check_all(engine: &Engine, request: &ParsedRequest, executor: Executor) -> HandlerResult {
    let body: CheckAllBody<'_> = request.json()?;
    let limits = body.items.iter().map(|item| item.0.limit()).collect::<Result<Vec<_>>>()?;
    let items = body
        .items
        .iter()
        .zip(&limits)
        .map(|(item, limit)| Ok(CoreItem { key: &item.0.key, cost: item.0.cost.get()?, limit: limit.as_ref() }))
        .collect::<Result<Vec<_>>>()?;
    let operation = CheckAll { items: &items };
    let output = executor.run_once(engine, operation, request.call)?;
    let Some(Repeatable { answer, repeated }) = output else { return Ok(None) };
    let keys: Vec<&str> = items.iter().map(|item| item.key).collect();
    Ok(Some(Reply { repeated, ..reply_all(request, &keys, &answer)? }))
}

/// The bytes of the answer of [`check_all`], at most about: a short request may have a long one.
pub(crate) fn check_all_bytes(_: &Engine, request: &ParsedRequest) -> usize {
    let commas = request.body.iter().filter(|byte| **byte == b',').count();
    (commas + 1).min(MAX_ITEMS).saturating_mul(ITEM_BYTES)
}

fn reply_all(request: &ParsedRequest, keys: &[&str], outcome: &MultiOutcome) -> Result<Reply, Problem> {
    if request.exact {
        Reply::new(&ExactMultiCheck::from(outcome), outcome.seq)
    } else {
        Reply::new(&MultiCheckAnswer::new(keys, outcome), outcome.seq)
    }
}
