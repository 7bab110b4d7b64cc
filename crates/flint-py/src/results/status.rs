//! `flint.LimitStatus`: one key as `status`, `list` and `top` show it.

use flint_core::engine::Status;
use flint_core::image::Origin;
use flint_core::limit::Rate as CoreRate;
use flint_server::wire::status::origin_name;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use super::counter::CounterStatus;
use super::declare::result_class;
use super::gc;
use super::rate::Rate;
use super::record::{Record, names};
use super::slices::in_slices;
use crate::convert::{Key, choice};
use crate::errors::invalid_argument;
use crate::time::{datetime, moment, seconds_up};

const ORIGINS: [(&str, Origin); 2] = [("explicit", Origin::Explicit), ("call", Origin::Call)];

result_class! {
    /// One key: its limit, what is left of it, and its totals.
    ///
    /// `rate`, `per_millis`, `burst` and `algorithm` describe the most restrictive rate: the one with the fewest remaining, the first of
    /// several. `rates` holds all of them. Where calls brought several limits, they and what is left describe the most recently used one;
    /// `counters` has all of them.
    #[pyclass(module = "flint", name = "LimitStatus", extends = Record, frozen)]
    pub(crate) struct LimitStatus(Status)

    |this, py|

    #[expect(clippy::too_many_arguments, reason = "one per field")]
    #[pyo3(signature = (
        key, rates, binding, origin, out_of_bounds, remaining, retry_after_ns, reset_at_ns, total_allowed, total_denied,
        total_allowed_cost, total_denied_cost, last_allowed_at_ns, last_denied_at_ns, last_reset_at_ns, counters = Vec::new()
    ))]
    new(
        key: Key,
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
        counters: Vec<Bound<'_, CounterStatus>>,
    ) {
        if binding >= rates.len() {
            return Err(invalid_argument(py, format!("binding must be an index into rates, not {binding}")));
        }
        Self(Status {
            key: key.text(py)?.to_owned(),
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
            // Of one counter the fields of the key say everything.
            counters: match &counters[..] {
                [_] => Vec::new(),
                several => several.iter().map(|counter| counter.get().core().clone()).collect(),
            },
        })
    }

    fields {
        shown {
            /// The key.
            key: &str => &this.0.key
        }
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
        shown {
            /// Where the limit came from: "explicit" for limit(), "call" for one that came with a check.
            origin: &'static str => origin_name(this.0.origin)
        }
        shown {
            /// A limit of an old release that is outside today's bounds: checks raise InvalidLimit until it is redefined.
            out_of_bounds: bool => this.0.out_of_bounds
        }
        shown {
            /// Its counters, the most recently used first: one, or where calls brought several limits, one for each of them. The other fields
            /// describe the first, and the totals of all together.
            counters: Bound<'py, PyTuple> => CounterStatus::tuple(py, this.0.counters())?
        }
    }
}

impl LimitStatus {
    /// The Python object for `status`.
    pub(crate) fn wrap(py: Python<'_>, status: Status) -> PyResult<Bound<'_, Self>> {
        let object = Self(status).into_object(py)?;
        // A status refers to no other object, and a list of a million of them would be visited again and again while it grows.
        gc::untrack(&object);
        Ok(object)
    }

    /// A list of the Python objects for `statuses`.
    pub(crate) fn all(py: Python<'_>, statuses: Vec<Status>) -> PyResult<Vec<Bound<'_, Self>>> {
        in_slices(py, statuses, |status| Self::wrap(py, status))
    }

    /// The key, as a Python object.
    pub(crate) fn key_object(&self, py: Python<'_>) -> Py<PyString> {
        PyString::new(py, &self.0.key).unbind()
    }

    /// The constructors ensure that `binding` is the index of a rate.
    fn bound(&self) -> CoreRate {
        self.0.rates[self.0.binding]
    }
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<LimitStatus>()
}
