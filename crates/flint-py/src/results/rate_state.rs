//! `flint.RateState`: what one rate of a limit answered.

use flint_core::algorithm::Verdict;
use flint_core::limit::{Rate as CoreRate, RateVerdict};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::declare::result_class;
use super::rate::algorithm_of;
use super::record::{Record, names};
use crate::time::seconds_up;

result_class! {
    /// One of a limit's rates as a check found it.
    ///
    /// When the whole call was denied, a rate that would have allowed it is shown unchanged: nothing was taken from any.
    #[pyclass(module = "flint", name = "RateState", extends = Record, frozen)]
    pub(crate) struct RateState(RateVerdict)

    |this, py|

    #[expect(clippy::too_many_arguments, reason = "one per field")]
    new(
        rate: u64,
        per_millis: u64,
        burst: u64,
        algorithm: &Bound<'_, PyAny>,
        remaining: u64,
        retry_after_ns: u64,
        reset_after_ns: u64,
    ) {
        Self(RateVerdict {
            rate: CoreRate::unchecked(rate, per_millis, burst, algorithm_of(algorithm)?),
            verdict: Verdict { allowed: retry_after_ns == 0, remaining, retry_after_ns, reset_after_ns },
        })
    }

    fields {
        shown {
            /// Tokens per period.
            rate: u64 => this.0.rate.limit()
        }
        shown {
            /// The period, milliseconds.
            per_millis: u64 => this.0.rate.per_ms()
        }
        shown {
            /// Tokens that a full bucket holds.
            burst: u64 => this.0.rate.burst()
        }
        shown {
            /// The name of its algorithm, as `Limit` takes it.
            algorithm: &'static str => this.0.rate.algorithm().name()
        }
        shown {
            /// Tokens that this rate has left after the call.
            remaining: u64 => this.0.verdict.remaining
        }
        shown {
            /// Nanoseconds until this rate would allow the same call; 0 when it would allow it now.
            retry_after_ns: u64 => this.0.verdict.retry_after_ns
        }
        shown {
            /// `retry_after_ns` in seconds, rounded up.
            retry_after: f64 => seconds_up(this.0.verdict.retry_after_ns)
        }
        shown {
            /// Nanoseconds until this rate is whole again.
            reset_after_ns: u64 => this.0.verdict.reset_after_ns
        }
        shown {
            /// `reset_after_ns` in seconds, rounded up.
            reset_after: f64 => seconds_up(this.0.verdict.reset_after_ns)
        }
    }
}

impl RateState {
    /// A tuple of the Python objects for `verdicts`.
    pub(super) fn tuple<'py>(py: Python<'py>, verdicts: &[RateVerdict]) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, verdicts.iter().map(|verdict| Self(*verdict).into_object(py)).collect::<PyResult<Vec<_>>>()?)
    }

    pub(super) fn verdict(&self) -> RateVerdict {
        self.0
    }
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<RateState>()
}
