//! `flint.CounterStatus`: one of the counters of a key.

use flint_core::engine::CounterStatus as Core;
use flint_core::limit::Rate as CoreRate;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::declare::result_class;
use super::rate::Rate;
use super::record::{Record, names};
use crate::errors::invalid_argument;
use crate::time::{datetime, moment, seconds_up};

result_class! {
    /// One of the counters of a key: each limit that calls bring has one of its own.
    ///
    /// `rate`, `per_millis`, `burst` and `algorithm` describe the most restrictive rate: the one with the fewest remaining, the first of
    /// several. `rates` holds all of them.
    #[pyclass(module = "flint", name = "CounterStatus", extends = Record, frozen)]
    pub(crate) struct CounterStatus(Core)

    |this, py|

    #[expect(clippy::too_many_arguments, reason = "one per field")]
    new(
        rates: Vec<Bound<'_, Rate>>,
        binding: usize,
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
    ) {
        if binding >= rates.len() {
            return Err(invalid_argument(py, format!("binding must be an index into rates, not {binding}")));
        }
        Self(Core {
            rates: rates.iter().map(|rate| rate.get().core()).collect(),
            binding,
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
        })
    }

    fields {
        shown {
            /// Tokens per period of the most restrictive rate.
            rate: u64 => this.bound().limit()
        }
        shown {
            /// Period of the most restrictive rate, milliseconds.
            per_millis: u64 => this.bound().per_ms()
        }
        shown {
            /// Tokens that the most restrictive rate holds when full.
            burst: u64 => this.bound().burst()
        }
        shown {
            /// Algorithm of the most restrictive rate.
            algorithm: &'static str => this.bound().algorithm().name()
        }
        shown {
            /// All rates, in the order given.
            rates: Bound<'py, PyTuple> => Rate::tuple(py, &this.0.rates)?
        }
        hidden {
            /// Index in `rates` of the most restrictive one.
            binding: usize => this.0.binding
        }
        shown {
            /// Tokens left.
            remaining: u64 => this.0.remaining
        }
        hidden {
            /// When the full limit is back, nanoseconds since the Unix epoch.
            reset_at_ns: u64 => this.0.reset_at_wall_ns
        }
        shown {
            /// When the full limit is back, an aware UTC datetime.
            reset_at: Bound<'py, PyAny> => datetime(py, this.0.reset_at_wall_ns)?
        }
        hidden {
            /// Nanoseconds until a check of cost 1 would be allowed; 0 when it would be now.
            retry_after_ns: u64 => this.0.retry_after_ns
        }
        shown {
            /// `retry_after_ns` in seconds, rounded up.
            retry_after: f64 => seconds_up(this.0.retry_after_ns)
        }
        shown {
            /// Number of allowed checks.
            total_allowed: u64 => this.0.total_allowed
        }
        shown {
            /// Number of denied checks.
            total_denied: u64 => this.0.total_denied
        }
        shown {
            /// Sum of the costs of allowed checks.
            total_allowed_cost: u64 => this.0.total_allowed_cost
        }
        shown {
            /// Sum of the costs of denied checks.
            total_denied_cost: u64 => this.0.total_denied_cost
        }
        hidden {
            /// Nanoseconds since the Unix epoch of the newest allowed check, or None.
            last_allowed_at_ns: Option<u64> => this.0.last_allowed_at_ns
        }
        shown {
            /// Time of the newest allowed check, an aware UTC datetime, or None.
            last_allowed_at: Option<Bound<'py, PyAny>> => moment(py, this.0.last_allowed_at_ns)?
        }
        hidden {
            /// Nanoseconds since the Unix epoch of the newest denied check, or None.
            last_denied_at_ns: Option<u64> => this.0.last_denied_at_ns
        }
        shown {
            /// Time of the newest denied check, an aware UTC datetime, or None.
            last_denied_at: Option<Bound<'py, PyAny>> => moment(py, this.0.last_denied_at_ns)?
        }
        hidden {
            /// Nanoseconds since the Unix epoch of the newest reset, or None.
            last_reset_at_ns: Option<u64> => this.0.last_reset_at_ns
        }
        shown {
            /// Time of the newest reset, an aware UTC datetime, or None.
            last_reset_at: Option<Bound<'py, PyAny>> => moment(py, this.0.last_reset_at_ns)?
        }
    }
}

impl CounterStatus {
    /// A tuple of the Python objects for `counters`.
    pub(super) fn tuple(py: Python<'_>, counters: Vec<Core>) -> PyResult<Bound<'_, PyTuple>> {
        let counters = counters.into_iter().map(|counter| Self(counter).into_object(py));
        PyTuple::new(py, counters.collect::<PyResult<Vec<_>>>()?)
    }

    pub(super) fn core(&self) -> &Core {
        &self.0
    }

    /// The constructors ensure that `binding` is the index of a rate.
    fn bound(&self) -> CoreRate {
        self.0.rates[self.0.binding]
    }
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<CounterStatus>()
}
