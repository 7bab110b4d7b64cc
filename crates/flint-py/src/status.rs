//! `flint.LimitStatus`: one key as `status`, `list` and `top` show it.

use flint_core::engine::Status;
use flint_core::image::Origin;
use flint_core::limit::Rate as CoreRate;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::convert::{Key, choice};
use crate::errors::invalid_argument;
use crate::rate::Rate;
use crate::record::{Record, names};
use crate::time::{datetime, seconds_up};

const FIELDS: [&str; 18] = [
    "key",
    "rate",
    "per_millis",
    "burst",
    "algorithm",
    "rates",
    "remaining",
    "reset_at",
    "retry_after",
    "total_allowed",
    "total_denied",
    "total_allowed_cost",
    "total_denied_cost",
    "last_allowed_at",
    "last_denied_at",
    "last_reset_at",
    "origin",
    "out_of_bounds",
];

const STATE: [&str; 15] = [
    "key",
    "rates",
    "binding",
    "origin",
    "out_of_bounds",
    "remaining",
    "retry_after_ns",
    "reset_at_ns",
    "total_allowed",
    "total_denied",
    "total_allowed_cost",
    "total_denied_cost",
    "last_allowed_at_ns",
    "last_denied_at_ns",
    "last_reset_at_ns",
];

const ORIGINS: [(&str, Origin); 2] = [("explicit", Origin::Explicit), ("call", Origin::Call)];

/// One key: its limit, what is left of it, and its totals.
///
/// `rate`, `per_millis`, `burst` and `algorithm` describe the rate that binds: the one with the fewest remaining, the first of
/// several. `rates` holds all of them.
#[pyclass(module = "flint", name = "LimitStatus", extends = Record, frozen)]
pub(crate) struct LimitStatus(Status);

impl LimitStatus {
    /// The Python object for `status`.
    pub(crate) fn wrap(py: Python<'_>, status: Status) -> PyResult<Bound<'_, Self>> {
        Bound::new(py, PyClassInitializer::from(Record).add_subclass(Self(status)))
    }

    /// A list of the Python objects for `statuses`.
    pub(crate) fn all(py: Python<'_>, statuses: Vec<Status>) -> PyResult<Vec<Bound<'_, Self>>> {
        statuses.into_iter().map(|status| Self::wrap(py, status)).collect()
    }

    /// The constructors see to it that `binding` is the index of a rate.
    fn bound(&self) -> CoreRate {
        self.0.rates[self.0.binding]
    }
}

fn moment(py: Python<'_>, wall_ns: Option<u64>) -> PyResult<Option<Bound<'_, PyAny>>> {
    wall_ns.map(|ns| datetime(py, ns)).transpose()
}

#[pymethods]
impl LimitStatus {
    #[new]
    #[expect(clippy::too_many_arguments, reason = "one per field")]
    fn new(
        py: Python<'_>,
        key: Key<'_>,
        rates: Vec<Bound<'_, Rate>>,
        binding: usize,
        origin: &Bound<'_, PyAny>,
        out_of_bounds: bool,
        remaining: u64,
        retry_after_ns: u64,
        reset_at_ns: u64,
        total_allowed: u64,
        total_denied: u64,
        total_allowed_cost: u64,
        total_denied_cost: u64,
        last_allowed_at_ns: Option<u64>,
        last_denied_at_ns: Option<u64>,
        last_reset_at_ns: Option<u64>,
    ) -> PyResult<PyClassInitializer<Self>> {
        if binding >= rates.len() {
            return Err(invalid_argument(py, format!("binding must be an index into rates, not {binding}")));
        }
        let status = Status {
            key: key.text()?.to_owned(),
            rates: rates.iter().map(|rate| rate.get().core()).collect(),
            binding,
            origin: choice("origin", origin, &ORIGINS)?,
            out_of_bounds,
            remaining,
            retry_after_ns,
            reset_at_wall_ns: reset_at_ns,
            total_allowed,
            total_denied,
            total_allowed_cost,
            total_denied_cost,
            last_allowed_at_ns,
            last_denied_at_ns,
            last_reset_at_ns,
        };
        Ok(PyClassInitializer::from(Record).add_subclass(Self(status)))
    }

    #[classattr]
    fn _fields(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
        names(py, &FIELDS)
    }

    #[classattr]
    fn _state(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
        names(py, &STATE)
    }

    /// The key.
    #[getter]
    fn key(&self) -> &str {
        &self.0.key
    }

    /// Tokens per period of the binding rate.
    #[getter]
    fn rate(&self) -> u64 {
        self.bound().limit()
    }

    /// Period of the binding rate, milliseconds.
    #[getter]
    fn per_millis(&self) -> u64 {
        self.bound().per_ms()
    }

    /// Tokens that the binding rate holds when full.
    #[getter]
    fn burst(&self) -> u64 {
        self.bound().burst()
    }

    /// Algorithm of the binding rate.
    #[getter]
    fn algorithm(&self) -> &'static str {
        self.bound().algorithm().name()
    }

    /// All rates, in the order given.
    #[getter]
    fn rates<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        Rate::tuple(py, &self.0.rates)
    }

    /// Index in `rates` of the one that binds.
    #[getter]
    fn binding(&self) -> usize {
        self.0.binding
    }

    /// Where the limit came from: "explicit" for limit(), "call" for one that a check brought.
    #[getter]
    fn origin(&self) -> &'static str {
        match self.0.origin {
            Origin::Explicit => ORIGINS[0].0,
            Origin::Call => ORIGINS[1].0,
        }
    }

    /// A limit of an old release that is outside today's bounds: checks raise InvalidLimit until it is redefined.
    #[getter]
    fn out_of_bounds(&self) -> bool {
        self.0.out_of_bounds
    }

    /// Tokens left.
    #[getter]
    fn remaining(&self) -> u64 {
        self.0.remaining
    }

    /// Nanoseconds until a check of cost 1 would be allowed; 0 when it would be now.
    #[getter]
    fn retry_after_ns(&self) -> u64 {
        self.0.retry_after_ns
    }

    /// `retry_after_ns` in seconds, rounded up.
    #[getter]
    fn retry_after(&self) -> f64 {
        seconds_up(self.0.retry_after_ns)
    }

    /// When the full limit is back, nanoseconds since the Unix epoch.
    #[getter]
    fn reset_at_ns(&self) -> u64 {
        self.0.reset_at_wall_ns
    }

    /// When the full limit is back, an aware UTC datetime.
    #[getter]
    fn reset_at<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        datetime(py, self.0.reset_at_wall_ns)
    }

    /// Number of allowed checks.
    #[getter]
    fn total_allowed(&self) -> u64 {
        self.0.total_allowed
    }

    /// Number of denied checks.
    #[getter]
    fn total_denied(&self) -> u64 {
        self.0.total_denied
    }

    /// Sum of the costs of allowed checks.
    #[getter]
    fn total_allowed_cost(&self) -> u64 {
        self.0.total_allowed_cost
    }

    /// Sum of the costs of denied checks.
    #[getter]
    fn total_denied_cost(&self) -> u64 {
        self.0.total_denied_cost
    }

    /// Nanoseconds since the Unix epoch of the newest allowed check, or None.
    #[getter]
    fn last_allowed_at_ns(&self) -> Option<u64> {
        self.0.last_allowed_at_ns
    }

    /// Nanoseconds since the Unix epoch of the newest denied check, or None.
    #[getter]
    fn last_denied_at_ns(&self) -> Option<u64> {
        self.0.last_denied_at_ns
    }

    /// Nanoseconds since the Unix epoch of the newest reset, or None.
    #[getter]
    fn last_reset_at_ns(&self) -> Option<u64> {
        self.0.last_reset_at_ns
    }

    /// Time of the newest allowed check, an aware UTC datetime, or None.
    #[getter]
    fn last_allowed_at<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        moment(py, self.0.last_allowed_at_ns)
    }

    /// Time of the newest denied check, an aware UTC datetime, or None.
    #[getter]
    fn last_denied_at<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        moment(py, self.0.last_denied_at_ns)
    }

    /// Time of the newest reset, an aware UTC datetime, or None.
    #[getter]
    fn last_reset_at<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        moment(py, self.0.last_reset_at_ns)
    }
}

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<LimitStatus>()
}
