//! Answers in the exact form as results. `start` is where the body begins in `data`.

use flint_core::engine::{Event as CoreEvent, MultiOutcome, Outcome, Status};
use flint_server::wire::exact::{ExactCheck, ExactEvents, ExactLimits, ExactMultiCheck, Malformed};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};
use serde::Deserialize;

use crate::convert::Key;
use crate::event::Event;
use crate::results::{CheckResult, MultiCheckResult};
use crate::status::LimitStatus;

fn body<'a>(data: &'a Bound<'_, PyBytes>, start: usize) -> &'a [u8] {
    data.as_bytes().get(start..).unwrap_or_default()
}

fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> PyResult<T> {
    serde_json::from_slice(bytes).map_err(|error| PyValueError::new_err(not_understood(&error)))
}

fn meant<T>(result: Result<T, Malformed>) -> PyResult<T> {
    result.map_err(|what| PyValueError::new_err(has(what)))
}

/// A check's answer.
#[pyfunction]
#[pyo3(signature = (data, start, key, /))]
fn _decode_check<'py>(
    py: Python<'py>,
    data: &Bound<'py, PyBytes>,
    start: usize,
    key: Key<'py>,
) -> PyResult<Bound<'py, CheckResult>> {
    CheckResult::wrap(py, key.0, outcome(body(data, start)).map_err(PyValueError::new_err)?)
}

/// The outcome that the body of a check's answer tells.
///
/// # Errors
/// What is wrong with it.
pub(super) fn outcome(body: &[u8]) -> Result<Outcome, String> {
    let told: ExactCheck<'_> = serde_json::from_slice(body).map_err(|error| not_understood(&error))?;
    told.try_into().map_err(has)
}

fn not_understood(error: &serde_json::Error) -> String {
    format!("its body is not understood: {error}")
}

fn has(what: Malformed) -> String {
    format!("its body has {what}")
}

/// The answer to a check of `keys`.
#[pyfunction]
#[pyo3(signature = (data, start, keys, /))]
fn _decode_check_all<'py>(
    py: Python<'py>,
    data: &Bound<'py, PyBytes>,
    start: usize,
    keys: Vec<Py<PyString>>,
) -> PyResult<Bound<'py, MultiCheckResult>> {
    let outcome: MultiOutcome = meant(parse::<ExactMultiCheck<'_>>(body(data, start))?.try_into())?;
    if outcome.items.len() != keys.len() || outcome.denied.is_some_and(|index| index >= keys.len()) {
        return meant(Err("other items than the request"));
    }
    MultiCheckResult::wrap(py, keys, outcome)
}

/// A list of statuses.
#[pyfunction]
#[pyo3(signature = (data, start, /))]
fn _decode_statuses<'py>(
    py: Python<'py>,
    data: &Bound<'py, PyBytes>,
    start: usize,
) -> PyResult<Vec<Bound<'py, LimitStatus>>> {
    let limits = parse::<ExactLimits<'_>>(body(data, start))?.limits;
    let statuses: Result<Vec<Status>, _> = limits.into_iter().map(Status::try_from).collect();
    LimitStatus::all(py, meant(statuses)?)
}

/// A list of events.
#[pyfunction]
#[pyo3(signature = (data, start, /))]
fn _decode_events<'py>(py: Python<'py>, data: &Bound<'py, PyBytes>, start: usize) -> PyResult<Vec<Bound<'py, Event>>> {
    let events = parse::<ExactEvents<'_>>(body(data, start))?.events;
    let events: Result<Vec<CoreEvent>, _> = events.into_iter().map(CoreEvent::try_from).collect();
    Event::all(py, meant(events)?)
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(_decode_check, m)?)?;
    m.add_function(wrap_pyfunction!(_decode_check_all, m)?)?;
    m.add_function(wrap_pyfunction!(_decode_statuses, m)?)?;
    m.add_function(wrap_pyfunction!(_decode_events, m)?)
}
