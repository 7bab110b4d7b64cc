//! Decisions.

use flint_core::engine::{Check, CheckAll, Idempotent, Item as CoreItem, MultiOutcome, Outcome, Repeatable};
use flint_core::limit::{Key, Limit};
use flint_core::{Engine, Error, Result};
use schemars::JsonSchema;
use serde::Serialize;

use super::{Decided, Decision, Executor};
use crate::asked::Asked;
use crate::problem::Problem;
use crate::wire::answer::{CheckAnswer, MultiCheckAnswer};
use crate::wire::exact::{ExactCheck, ExactMultiCheck};
use crate::wire::request::{CheckAllBody, CheckBody, Cost, DenyBody, PeekBody};

/// Most costs of a forecast.
const MAX_COSTS: usize = 10_000;

/// The denial was counted.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Counted")]
pub(crate) struct CountedAnswer {
    counted: bool,
}

fn told(asked: &Asked, key: &str, outcome: &Outcome) -> Result<Decided, Problem> {
    if asked.exact {
        Decided::new(&ExactCheck::from(outcome), outcome.seq)
    } else {
        Decided::new(&CheckAnswer::new(key, outcome), outcome.seq)
    }
}

/// `POST /v1/check`.
pub(crate) fn check(engine: &Engine, asked: &Asked, executor: Executor) -> Decision {
    let body: CheckBody<'_> = asked.json()?;
    let limit = body.limit()?;
    let item = CoreItem { key: &body.key, cost: body.cost.get()?, limit: limit.as_ref() };
    let operation = if body.count_denied { Check::new(item) } else { Check::attempt(item) };
    let decided = match asked.call {
        None => executor.run(engine, &operation)?.map(unnamed),
        Some(call) => executor.run(engine, &Idempotent { operation, call })?,
    };
    let Some(Repeatable { answer, repeated }) = decided else { return Ok(None) };
    Ok(Some(Decided { repeated, ..told(asked, &body.key, &answer)? }))
}

/// The answer of a call that has no name and so is no repetition.
const fn unnamed<T>(answer: T) -> Repeatable<T> {
    Repeatable { answer, repeated: false }
}

/// `POST /v1/peek`.
pub(crate) fn peek(engine: &Engine, asked: &Asked, _: Executor) -> Decision {
    let body: PeekBody<'_> = asked.json()?;
    let limit = body.limit()?;
    let mut outcome = engine.peek(&body.key, body.cost.get()?, limit.as_ref())?;
    if let Some(costs) = &body.costs {
        outcome.allowed = false;
        outcome.retry_after_ns = forecast(engine, &body.key, limit.as_ref(), costs)?;
    }
    told(asked, &body.key, &outcome).map(Some)
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
pub(crate) fn deny(engine: &Engine, asked: &Asked, _: Executor) -> Decision {
    let body: DenyBody<'_> = asked.json()?;
    let key = Key::new(&body.key)?;
    let cost = match body.cost.get()? {
        0 => Cost::Refused("0".to_owned()).get()?,
        cost => cost,
    };
    engine.count_denial(key.as_str(), cost)?;
    Decided::new(&CountedAnswer { counted: true }, 0).map(Some)
}

/// `POST /v1/check-all`.
pub(crate) fn check_all(engine: &Engine, asked: &Asked, executor: Executor) -> Decision {
    let body: CheckAllBody<'_> = asked.json()?;
    let limits = body.items.iter().map(|item| item.0.limit()).collect::<Result<Vec<_>>>()?;
    let items = body
        .items
        .iter()
        .zip(&limits)
        .map(|(item, limit)| Ok(CoreItem { key: &item.0.key, cost: item.0.cost.get()?, limit: limit.as_ref() }))
        .collect::<Result<Vec<_>>>()?;
    let operation = CheckAll { items: &items };
    let decided = match asked.call {
        None => executor.run(engine, &operation)?.map(unnamed),
        Some(call) => executor.run(engine, &Idempotent { operation, call })?,
    };
    let Some(Repeatable { answer, repeated }) = decided else { return Ok(None) };
    let keys: Vec<&str> = items.iter().map(|item| item.key).collect();
    Ok(Some(Decided { repeated, ..told_all(asked, &keys, &answer)? }))
}

fn told_all(asked: &Asked, keys: &[&str], outcome: &MultiOutcome) -> Result<Decided, Problem> {
    if asked.exact {
        Decided::new(&ExactMultiCheck::from(outcome), outcome.seq)
    } else {
        Decided::new(&MultiCheckAnswer::new(keys, outcome), outcome.seq)
    }
}
