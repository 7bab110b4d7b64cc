//! `flint.Rate`: one rate of a limit, as limits and statuses show it.

use flint_core::limit::{Algorithm, Rate as CoreRate};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::declare::result_class;
use super::record::{Record, names};
use crate::convert::choice;

/// The algorithm of that name.
pub(super) fn algorithm_of(name: &Bound<'_, PyAny>) -> PyResult<Algorithm> {
    choice("algorithm", name, &Algorithm::ALL.map(|algorithm| (algorithm.name(), algorithm)))
}

result_class! {
    /// One rate: `rate` tokens every `per_millis` milliseconds.
    ///
    /// Only describes: a `Limit` is what the limiter takes. `burst` equals `rate` for the window algorithms.
    #[pyclass(module = "flint", name = "Rate", extends = Record, frozen)]
    pub(crate) struct Rate(CoreRate)

    |this, py|

    new(rate: u64, per_millis: u64, burst: u64, algorithm: &Bound<'_, PyAny>) {
        Self(CoreRate::unchecked(rate, per_millis, burst, algorithm_of(algorithm)?))
    }

    fields {
        shown {
            /// Tokens per period.
            rate: u64 => this.0.limit()
        }
        shown {
            /// The period, milliseconds.
            per_millis: u64 => this.0.per_ms()
        }
        shown {
            /// Tokens that a full bucket holds.
            burst: u64 => this.0.burst()
        }
        shown {
            /// The name of its algorithm, as `Limit` takes it.
            algorithm: &'static str => this.0.algorithm().name()
        }
    }
}

impl Rate {
    /// A tuple of the Python objects for `rates`.
    pub(crate) fn tuple<'py>(py: Python<'py>, rates: &[CoreRate]) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, rates.iter().map(|rate| Self(*rate).into_object(py)).collect::<PyResult<Vec<_>>>()?)
    }

    pub(crate) fn core(&self) -> CoreRate {
        self.0
    }
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Rate>()
}
