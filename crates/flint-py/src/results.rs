//! `flint.CheckResult` and `flint.MultiCheckResult`.

use flint_core::engine::{MultiOutcome, Outcome, RateVerdicts};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyString, PyTuple};

use crate::convert::Key;
use crate::rate_state::RateState;
use crate::record::{Record, names};
use crate::time::{datetime, seconds_up};

/// The answer to one check. True when the check was allowed.
///
/// With several rates it describes the one that binds: when allowed the one with the fewest remaining, when denied the one
/// with the longest wait.
#[pyclass(module = "flint", name = "CheckResult", extends = Record, frozen, freelist = 64)]
pub(crate) struct CheckResult {
    key: Py<PyString>,
    outcome: Outcome,
    degraded: bool,
}

impl CheckResult {
    /// The Python object for `outcome`.
    #[inline]
    pub(crate) fn wrap<'py>(
        py: Python<'py>,
        key: Bound<'py, PyString>,
        outcome: Outcome,
    ) -> PyResult<Bound<'py, Self>> {
        Bound::new(
            py,
            PyClassInitializer::from(Record).add_subclass(Self { key: key.unbind(), outcome, degraded: false }),
        )
    }
}

#[pymethods]
impl CheckResult {
    #[new]
    #[pyo3(
        signature = (allowed, key, cost, limit, remaining, retry_after_ns = 0, reset_after_ns = 0, reset_at_ns = 0, rates = None, degraded = false),
        text_signature = "(allowed, key, cost, limit, remaining, retry_after_ns=0, reset_after_ns=0, reset_at_ns=0, rates=(), degraded=False)"
    )]
    #[expect(clippy::too_many_arguments, reason = "one per field")]
    fn new(
        allowed: bool,
        key: Key<'_>,
        cost: u64,
        limit: u64,
        remaining: u64,
        retry_after_ns: u64,
        reset_after_ns: u64,
        reset_at_ns: u64,
        rates: Option<Vec<Bound<'_, RateState>>>,
        degraded: bool,
    ) -> PyClassInitializer<Self> {
        let verdicts = rates.unwrap_or_default().iter().map(|state| state.get().verdict()).collect();
        let outcome = Outcome {
            allowed,
            cost,
            limit,
            remaining,
            retry_after_ns,
            reset_after_ns,
            reset_at_wall_ns: reset_at_ns,
            verdicts: RateVerdicts::Each(verdicts),
            seq: 0,
        };
        PyClassInitializer::from(Record).add_subclass(Self { key: key.0.unbind(), outcome, degraded })
    }

    #[classattr]
    fn _fields(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
        names(
            py,
            &[
                "allowed",
                "key",
                "cost",
                "limit",
                "remaining",
                "retry_after_ns",
                "retry_after",
                "reset_after_ns",
                "reset_after",
                "reset_at",
                "rates",
            ],
        )
    }

    #[classattr]
    fn _state(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
        names(
            py,
            &[
                "allowed",
                "key",
                "cost",
                "limit",
                "remaining",
                "retry_after_ns",
                "reset_after_ns",
                "reset_at_ns",
                "rates",
                "degraded",
            ],
        )
    }

    fn __bool__(&self) -> bool {
        self.outcome.allowed
    }

    /// The decision.
    #[getter]
    fn allowed(&self) -> bool {
        self.outcome.allowed
    }

    /// The key.
    #[getter]
    fn key<'py>(&self, py: Python<'py>) -> &Bound<'py, PyString> {
        self.key.bind(py)
    }

    /// Tokens that were asked for.
    #[getter]
    fn cost(&self) -> u64 {
        self.outcome.cost
    }

    /// The binding rate's tokens per period.
    #[getter]
    fn limit(&self) -> u64 {
        self.outcome.limit
    }

    /// Tokens left after this call.
    #[getter]
    fn remaining(&self) -> u64 {
        self.outcome.remaining
    }

    /// Nanoseconds until the same call would be allowed, exact: denied just before, allowed then. 0 when allowed.
    #[getter]
    fn retry_after_ns(&self) -> u64 {
        self.outcome.retry_after_ns
    }

    /// `retry_after_ns` in seconds, rounded up.
    #[getter]
    fn retry_after(&self) -> f64 {
        seconds_up(self.outcome.retry_after_ns)
    }

    /// Nanoseconds until the full limit is back.
    #[getter]
    fn reset_after_ns(&self) -> u64 {
        self.outcome.reset_after_ns
    }

    /// `reset_after_ns` in seconds, rounded up.
    #[getter]
    fn reset_after(&self) -> f64 {
        seconds_up(self.outcome.reset_after_ns)
    }

    /// When the full limit is back, nanoseconds since the Unix epoch.
    #[getter]
    fn reset_at_ns(&self) -> u64 {
        self.outcome.reset_at_wall_ns
    }

    /// When the full limit is back, an aware UTC datetime.
    #[getter]
    fn reset_at<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        datetime(py, self.outcome.reset_at_wall_ns)
    }

    /// Whether no server was there to decide, and `on_error` did instead. Not part of the mapping.
    #[getter]
    fn degraded(&self) -> bool {
        self.degraded
    }

    /// Rate by rate, in the order of the limit: a RateState each.
    #[getter]
    fn rates<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        RateState::tuple(py, &self.outcome.rates())
    }
}

/// The answer to a check of several keys. True when all of them were allowed, and only then was anything consumed.
#[pyclass(module = "flint", name = "MultiCheckResult", extends = Record, frozen, freelist = 16)]
pub(crate) struct MultiCheckResult {
    allowed: bool,
    denied_key: Option<Py<PyString>>,
    retry_after_ns: u64,
    /// What `results` is made of when it is first read; many callers only look at `allowed`.
    keys: Vec<Py<PyString>>,
    outcomes: Vec<Outcome>,
    degraded: bool,
    results: PyOnceLock<Py<PyTuple>>,
}

impl MultiCheckResult {
    /// The Python object for `outcome`, whose items belong to `keys` in the same order.
    pub(crate) fn wrap(py: Python<'_>, keys: Vec<Py<PyString>>, outcome: MultiOutcome) -> PyResult<Bound<'_, Self>> {
        let denied_key = outcome.denied.and_then(|index| keys.get(index)).map(|key| key.clone_ref(py));
        let this = Self {
            allowed: outcome.allowed,
            denied_key,
            retry_after_ns: outcome.retry_after_ns,
            keys,
            outcomes: outcome.items,
            degraded: false,
            results: PyOnceLock::new(),
        };
        Bound::new(py, PyClassInitializer::from(Record).add_subclass(this))
    }
}

#[pymethods]
impl MultiCheckResult {
    #[new]
    #[pyo3(signature = (allowed, denied_key, retry_after_ns, results, degraded = false))]
    fn new(
        allowed: bool,
        denied_key: Option<Key<'_>>,
        retry_after_ns: u64,
        results: Vec<Bound<'_, CheckResult>>,
        degraded: bool,
        py: Python<'_>,
    ) -> PyClassInitializer<Self> {
        PyClassInitializer::from(Record).add_subclass(Self {
            allowed,
            denied_key: denied_key.map(|key| key.0.unbind()),
            retry_after_ns,
            keys: results.iter().map(|result| result.get().key.clone_ref(py)).collect(),
            outcomes: results.iter().map(|result| result.get().outcome.clone()).collect(),
            degraded,
            results: PyOnceLock::new(),
        })
    }

    #[classattr]
    fn _fields(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
        names(py, &["allowed", "denied_key", "retry_after_ns", "retry_after", "results"])
    }

    #[classattr]
    fn _state(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
        names(py, &["allowed", "denied_key", "retry_after_ns", "results", "degraded"])
    }

    fn __bool__(&self) -> bool {
        self.allowed
    }

    /// Whether every item was allowed.
    #[getter]
    fn allowed(&self) -> bool {
        self.allowed
    }

    /// The first key that was denied, or None.
    #[getter]
    fn denied_key<'py>(&self, py: Python<'py>) -> Option<&Bound<'py, PyString>> {
        self.denied_key.as_ref().map(|key| key.bind(py))
    }

    /// Nanoseconds after which all items would pass together. 0 when allowed.
    #[getter]
    fn retry_after_ns(&self) -> u64 {
        self.retry_after_ns
    }

    /// `retry_after_ns` in seconds, rounded up.
    #[getter]
    fn retry_after(&self) -> f64 {
        seconds_up(self.retry_after_ns)
    }

    /// Whether no server was there to decide, and `on_error` did instead. Not part of the mapping.
    #[getter]
    fn degraded(&self) -> bool {
        self.degraded
    }

    /// One CheckResult an item, in the order of the items; `remaining` is the truth after the call.
    #[getter]
    fn results<'py>(&self, py: Python<'py>) -> PyResult<&Bound<'py, PyTuple>> {
        let results = self.results.get_or_try_init(py, || -> PyResult<_> {
            let pairs = self.keys.iter().zip(&self.outcomes);
            let results: Vec<_> = pairs
                .map(|(key, outcome)| {
                    let (key, outcome) = (key.clone_ref(py), outcome.clone());
                    let this = CheckResult { key, outcome, degraded: self.degraded };
                    Bound::new(py, PyClassInitializer::from(Record).add_subclass(this))
                })
                .collect::<PyResult<_>>()?;
            Ok(PyTuple::new(py, results)?.unbind())
        })?;
        Ok(results.bind(py))
    }
}

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<CheckResult>()?;
    m.add_class::<MultiCheckResult>()
}
