//! `flint.Event`: one event of a key's history.

use flint_core::engine::{Event as CoreEvent, EventKind};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::convert::choice;
use crate::record::{Record, names};
use crate::time::datetime;

const KINDS: [(&str, EventKind); 6] = [
    (EventKind::LimitConfigured.name(), EventKind::LimitConfigured),
    (EventKind::Allow.name(), EventKind::Allow),
    (EventKind::AllowAll.name(), EventKind::AllowAll),
    (EventKind::Deny.name(), EventKind::Deny),
    (EventKind::Reset.name(), EventKind::Reset),
    (EventKind::LimitDeleted.name(), EventKind::LimitDeleted),
];

/// One event of a key's history.
///
/// `type` is LIMIT_CONFIGURED, ALLOW, ALLOW_ALL, DENY, RESET or LIMIT_DELETED. Denials are kept as sums, so that one DENY event stands
/// for `count` checks of together `cost` tokens, the newest of them at `at`.
#[pyclass(module = "flint", name = "Event", extends = Record, frozen)]
pub(crate) struct Event(CoreEvent);

impl Event {
    /// A list of the Python objects for `events`.
    pub(crate) fn all(py: Python<'_>, events: Vec<CoreEvent>) -> PyResult<Vec<Bound<'_, Self>>> {
        let wrap = |event| Bound::new(py, PyClassInitializer::from(Record).add_subclass(Self(event)));
        events.into_iter().map(wrap).collect()
    }
}

#[pymethods]
impl Event {
    #[new]
    #[pyo3(signature = (r#type, at_ns, cost, count, remaining))]
    fn new(
        r#type: &Bound<'_, PyAny>,
        at_ns: u64,
        cost: u64,
        count: u64,
        remaining: Option<u64>,
    ) -> PyResult<PyClassInitializer<Self>> {
        let kind = choice("type", r#type, &KINDS)?;
        let event = CoreEvent { kind, at_wall_ns: at_ns, cost, count, remaining };
        Ok(PyClassInitializer::from(Record).add_subclass(Self(event)))
    }

    #[classattr]
    fn _fields(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
        names(py, &["type", "at", "cost", "count", "remaining"])
    }

    #[classattr]
    fn _state(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
        names(py, &["type", "at_ns", "cost", "count", "remaining"])
    }

    /// What happened.
    #[getter]
    fn r#type(&self) -> &'static str {
        self.0.kind.name()
    }

    /// When, nanoseconds since the Unix epoch.
    #[getter]
    fn at_ns(&self) -> u64 {
        self.0.at_wall_ns
    }

    /// When, an aware UTC datetime.
    #[getter]
    fn at<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        datetime(py, self.0.at_wall_ns)
    }

    /// Tokens asked for; the sum for denials, 0 where there are none.
    #[getter]
    fn cost(&self) -> u64 {
        self.0.cost
    }

    /// Number of checks that the event stands for.
    #[getter]
    fn count(&self) -> u64 {
        self.0.count
    }

    /// Tokens left afterwards, or None where the log does not tell.
    #[getter]
    fn remaining(&self) -> Option<u64> {
        self.0.remaining
    }
}

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Event>()
}
