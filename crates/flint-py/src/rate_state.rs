//! `flint.RateState`: what one rate says in an answer.

use flint_core::algorithm::Verdict;
use flint_core::limit::Rate as CoreRate;
use flint_core::limit::RateVerdict;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::convert::choice;
use crate::rate::ALGORITHMS;
use crate::record::{Record, names};
use crate::time::seconds_up;

/// One of a limit's rates as an answer found it.
///
/// When the whole call was denied, a rate that had nothing against it is shown as it stands: nothing was taken from any.
#[pyclass(module = "flint", name = "RateState", extends = Record, frozen)]
pub(crate) struct RateState(RateVerdict);

impl RateState {
    /// A tuple of the Python objects for `verdicts`.
    pub(crate) fn tuple<'py>(py: Python<'py>, verdicts: &[RateVerdict]) -> PyResult<Bound<'py, PyTuple>> {
        let states = verdicts
            .iter()
            .map(|verdict| Bound::new(py, PyClassInitializer::from(Record).add_subclass(Self(*verdict))));
        PyTuple::new(py, states.collect::<PyResult<Vec<_>>>()?)
    }

    pub(crate) fn verdict(&self) -> RateVerdict {
        self.0
    }
}

#[pymethods]
impl RateState {
    #[new]
    fn new(
        rate: u64,
        per_millis: u64,
        burst: u64,
        algorithm: &Bound<'_, PyAny>,
        remaining: u64,
        retry_after_ns: u64,
        reset_after_ns: u64,
    ) -> PyResult<PyClassInitializer<Self>> {
        let algorithm = choice("algorithm", algorithm, &ALGORITHMS)?;
        let rate = CoreRate::unchecked(rate, per_millis, burst, algorithm);
        let verdict = Verdict { allowed: retry_after_ns == 0, remaining, retry_after_ns, reset_after_ns };
        Ok(PyClassInitializer::from(Record).add_subclass(Self(RateVerdict { rate, verdict })))
    }

    #[classattr]
    fn _fields(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
        names(
            py,
            &[
                "rate",
                "per_millis",
                "burst",
                "algorithm",
                "remaining",
                "retry_after_ns",
                "retry_after",
                "reset_after_ns",
                "reset_after",
            ],
        )
    }

    #[classattr]
    fn _state(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
        names(py, &["rate", "per_millis", "burst", "algorithm", "remaining", "retry_after_ns", "reset_after_ns"])
    }

    /// Tokens per period.
    #[getter]
    fn rate(&self) -> u64 {
        self.0.rate.limit()
    }

    /// The period, milliseconds.
    #[getter]
    fn per_millis(&self) -> u64 {
        self.0.rate.per_ms()
    }

    /// Tokens that a full bucket holds.
    #[getter]
    fn burst(&self) -> u64 {
        self.0.rate.burst()
    }

    /// "token_bucket", "sliding_window_log" or "fixed_window_counter".
    #[getter]
    fn algorithm(&self) -> &'static str {
        self.0.rate.algorithm().name()
    }

    /// Tokens that this rate has left after the call.
    #[getter]
    fn remaining(&self) -> u64 {
        self.0.verdict.remaining
    }

    /// Nanoseconds until this rate would allow the same call; 0 when it has nothing against it.
    #[getter]
    fn retry_after_ns(&self) -> u64 {
        self.0.verdict.retry_after_ns
    }

    /// `retry_after_ns` in seconds, rounded up.
    #[getter]
    fn retry_after(&self) -> f64 {
        seconds_up(self.0.verdict.retry_after_ns)
    }

    /// Nanoseconds until this rate is whole again.
    #[getter]
    fn reset_after_ns(&self) -> u64 {
        self.0.verdict.reset_after_ns
    }

    /// `reset_after_ns` in seconds, rounded up.
    #[getter]
    fn reset_after(&self) -> f64 {
        seconds_up(self.0.verdict.reset_after_ns)
    }
}

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<RateState>()
}
