//! Bodies of answers.

use flint_core::engine::{Event, MultiOutcome, Outcome, Status};
use flint_server::wire::check::{ExactCheck, ExactMultiCheck};
use flint_server::wire::event::ExactEvents;
use flint_server::wire::exact::Malformed;
use flint_server::wire::status::ExactLimits;
use serde::Deserialize;

/// A body in the JSON of `T`.
///
/// # Errors
/// What is wrong with it, as in all functions here.
pub(crate) fn json<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| format!("its body is not understood: {error}"))
}

fn has(what: Malformed) -> String {
    format!("its body has {what}")
}

/// A body as text.
pub(crate) fn text(body: &[u8]) -> Result<String, String> {
    String::from_utf8(body.to_vec()).map_err(|_| "its body is not UTF-8".to_owned())
}

/// The answer to a check.
pub(crate) fn outcome(body: &[u8]) -> Result<Outcome, String> {
    json::<ExactCheck<'_>>(body)?.try_into().map_err(has)
}

/// The answer to a check of `keys` keys.
pub(crate) fn multi_outcome(body: &[u8], keys: usize) -> Result<MultiOutcome, String> {
    let outcome: MultiOutcome = json::<ExactMultiCheck<'_>>(body)?.try_into().map_err(has)?;
    if outcome.items.len() != keys || outcome.denied.is_some_and(|index| index >= keys) {
        return Err(has("other items than the request"));
    }
    Ok(outcome)
}

/// A list of statuses.
pub(crate) fn statuses(body: &[u8]) -> Result<Vec<Status>, String> {
    json::<ExactLimits<'_>>(body)?.limits.into_iter().map(|status| status.try_into().map_err(has)).collect()
}

/// A list of events.
pub(crate) fn events(body: &[u8]) -> Result<Vec<Event>, String> {
    json::<ExactEvents<'_>>(body)?.events.into_iter().map(|event| event.try_into().map_err(has)).collect()
}
