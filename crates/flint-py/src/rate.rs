//! `flint.Rate`: one rate of a limit, as limits and statuses show it.

use flint_core::limit::Rate as CoreRate;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::convert::choice;
use crate::record::{Record, names};

/// One rate: `rate` tokens every `per_millis` milliseconds.
///
/// Only describes: a `Limit` is what the limiter takes. `burst` equals `rate` for the window algorithms.
#[pyclass(module = "flint", name = "Rate", extends = Record, frozen)]
pub(crate) struct Rate(CoreRate);

impl Rate {
    /// The Python object for `rate`.
    pub(crate) fn wrap(py: Python<'_>, rate: CoreRate) -> PyResult<Bound<'_, Self>> {
        Bound::new(py, PyClassInitializer::from(Record).add_subclass(Self(rate)))
    }

    /// A tuple of the Python objects for `rates`.
    pub(crate) fn tuple<'py>(py: Python<'py>, rates: &[CoreRate]) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, rates.iter().map(|rate| Self::wrap(py, *rate)).collect::<PyResult<Vec<_>>>()?)
    }

    pub(crate) fn core(&self) -> CoreRate {
        self.0
    }
}

/// The algorithm of that name, as `choice` wants it.
pub(crate) const ALGORITHMS: [(&str, flint_core::limit::Algorithm); 3] = {
    use flint_core::limit::Algorithm::{FixedWindowCounter, SlidingWindowLog, TokenBucket};
    [
        (TokenBucket.name(), TokenBucket),
        (SlidingWindowLog.name(), SlidingWindowLog),
        (FixedWindowCounter.name(), FixedWindowCounter),
    ]
};

#[pymethods]
impl Rate {
    #[new]
    fn new(rate: u64, per_millis: u64, burst: u64, algorithm: &Bound<'_, PyAny>) -> PyResult<PyClassInitializer<Self>> {
        let algorithm = choice("algorithm", algorithm, &ALGORITHMS)?;
        Ok(PyClassInitializer::from(Record).add_subclass(Self(CoreRate::unchecked(rate, per_millis, burst, algorithm))))
    }

    #[classattr]
    fn _fields(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
        names(py, &["rate", "per_millis", "burst", "algorithm"])
    }

    #[classattr]
    fn _state(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
        Self::_fields(py)
    }

    /// Tokens per period.
    #[getter]
    fn rate(&self) -> u64 {
        self.0.limit()
    }

    /// The period, milliseconds.
    #[getter]
    fn per_millis(&self) -> u64 {
        self.0.per_ms()
    }

    /// Tokens that a full bucket holds.
    #[getter]
    fn burst(&self) -> u64 {
        self.0.burst()
    }

    /// "token_bucket", "sliding_window_log" or "fixed_window_counter".
    #[getter]
    fn algorithm(&self) -> &'static str {
        self.0.algorithm().name()
    }
}

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Rate>()
}
