//! `flint.LimitStatus`: one key as `status`, `list` and `top` show it; `flint.CounterStatus`: one of its counters.

use flint_core::engine::{CounterStatus as CoreCounter, Status};
use flint_core::image::Origin;
use flint_core::limit::Rate as CoreRate;
use flint_server::wire::status::origin_name;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use super::declare::result_class;
use super::gc;
use super::rate::Rate;
use super::record::{Record, names};
use super::slices::in_slices;
use crate::convert::{Key, choice};
use crate::errors::invalid_argument;
use crate::time::{datetime, moment, seconds_up};

const ORIGINS: [(&str, Origin); 2] = [("explicit", Origin::Explicit), ("call", Origin::Call)];

/// Declares one of the two classes: what a key has in common with each of its counters stands here once, between what only keys
/// have.
macro_rules! status_class {
    (
        $(#[$class_meta:meta])*
        struct $name:ident($core:ty);

        |$this:ident, $py:ident|

        new($($first:ident: $first_type:ty)?; $($middle:ident: $middle_type:ty),*; $($last:ident: $last_type:ty = $default:expr)?) {
            |$whole:ident| $new:expr
        }

        first { $($first_fields:tt)* }
        last { $($last_fields:tt)* }
    ) => {
        result_class! {
            $(#[$class_meta])*
            #[pyclass(module = "flint", extends = Record, frozen)]
            pub(crate) struct $name($core)

            |$this, $py|

            #[expect(clippy::too_many_arguments, reason = "one per field")]
            #[pyo3(signature = (
                $($first,)? rates, binding, $($middle,)* remaining, retry_after_ns, reset_at_ns, total_allowed, total_denied,
                total_allowed_cost, total_denied_cost, last_allowed_at_ns, last_denied_at_ns, last_reset_at_ns
                $(, $last = $default)?
            ))]
            new(
                $($first: $first_type,)?
                rates: Vec<Bound<'_, Rate>>,
                binding: usize,
                $($middle: $middle_type,)*
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
                $($last: $last_type,)?
            ) {
                if binding >= rates.len() {
                    return Err(invalid_argument($py, format!("binding must be an index into rates, not {binding}")));
                }
                let $whole = CoreCounter {
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
                };
                Self($new)
            }

            fields {
                $($first_fields)*
                shown {
                    /// Tokens per period of the most restrictive rate.
                    rate: u64 => $this.bound().limit()
                }
                shown {
                    /// Period of the most restrictive rate, milliseconds.
                    per_millis: u64 => $this.bound().per_ms()
                }
                shown {
                    /// Tokens that the most restrictive rate holds when full.
                    burst: u64 => $this.bound().burst()
                }
                shown {
                    /// Algorithm of the most restrictive rate.
                    algorithm: &'static str => $this.bound().algorithm().name()
                }
                shown {
                    /// All rates, in the order given.
                    rates: Bound<'py, PyTuple> => Rate::tuple($py, &$this.whole().rates)?
                }
                hidden {
                    /// Index in `rates` of the most restrictive one.
                    binding: usize => $this.whole().binding
                }
                shown {
                    /// Tokens left.
                    remaining: u64 => $this.whole().remaining
                }
                hidden {
                    /// When the full limit is back, nanoseconds since the Unix epoch.
                    reset_at_ns: u64 => $this.whole().reset_at_wall_ns
                }
                shown {
                    /// When the full limit is back, an aware UTC datetime.
                    reset_at: Bound<'py, PyAny> => datetime($py, $this.whole().reset_at_wall_ns)?
                }
                hidden {
                    /// Nanoseconds until a check of cost 1 would be allowed; 0 when it would be now.
                    retry_after_ns: u64 => $this.whole().retry_after_ns
                }
                shown {
                    /// `retry_after_ns` in seconds, rounded up.
                    retry_after: f64 => seconds_up($this.whole().retry_after_ns)
                }
                shown {
                    /// Number of allowed checks.
                    total_allowed: u64 => $this.whole().total_allowed
                }
                shown {
                    /// Number of denied checks.
                    total_denied: u64 => $this.whole().total_denied
                }
                shown {
                    /// Sum of the costs of allowed checks.
                    total_allowed_cost: u64 => $this.whole().total_allowed_cost
                }
                shown {
                    /// Sum of the costs of denied checks.
                    total_denied_cost: u64 => $this.whole().total_denied_cost
                }
                hidden {
                    /// Nanoseconds since the Unix epoch of the newest allowed check, or None.
                    last_allowed_at_ns: Option<u64> => $this.whole().last_allowed_at_ns
                }
                shown {
                    /// Time of the newest allowed check, an aware UTC datetime, or None.
                    last_allowed_at: Option<Bound<'py, PyAny>> => moment($py, $this.whole().last_allowed_at_ns)?
                }
                hidden {
                    /// Nanoseconds since the Unix epoch of the newest denied check, or None.
                    last_denied_at_ns: Option<u64> => $this.whole().last_denied_at_ns
                }
                shown {
                    /// Time of the newest denied check, an aware UTC datetime, or None.
                    last_denied_at: Option<Bound<'py, PyAny>> => moment($py, $this.whole().last_denied_at_ns)?
                }
                hidden {
                    /// Nanoseconds since the Unix epoch of the newest reset, or None.
                    last_reset_at_ns: Option<u64> => $this.whole().last_reset_at_ns
                }
                shown {
                    /// Time of the newest reset, an aware UTC datetime, or None.
                    last_reset_at: Option<Bound<'py, PyAny>> => moment($py, $this.whole().last_reset_at_ns)?
                }
                $($last_fields)*
            }
        }

        impl $name {
            /// The constructors ensure that `binding` is the index of a rate.
            fn bound(&self) -> CoreRate {
                self.whole().rates[self.whole().binding]
            }
        }
    };
}

status_class! {
    /// One of the counters of a key: each limit that calls bring has one of its own.
    ///
    /// `rate`, `per_millis`, `burst` and `algorithm` describe the most restrictive rate: the one with the fewest remaining, the first of
    /// several. `rates` holds all of them.
    struct CounterStatus(CoreCounter);

    |this, py|

    new(;;) { |whole| whole }

    first {}
    last {}
}

impl CounterStatus {
    const fn whole(&self) -> &CoreCounter {
        &self.0
    }

    /// A tuple of the Python objects for `counters`.
    fn tuple<'py>(py: Python<'py>, counters: &[CoreCounter]) -> PyResult<Bound<'py, PyTuple>> {
        let counters = counters.iter().map(|counter| Self(counter.clone()).into_object(py));
        PyTuple::new(py, counters.collect::<PyResult<Vec<_>>>()?)
    }
}

status_class! {
    /// One key: its limit, what is left of it, and its totals.
    ///
    /// `rate`, `per_millis`, `burst` and `algorithm` describe the most restrictive rate: the one with the fewest remaining, the first of
    /// several. `rates` holds all of them. Where calls brought several limits, they and what is left describe the most recently used one;
    /// `counters` has all of them.
    struct LimitStatus(Status);

    |this, py|

    new(
        key: Key;
        origin: &Bound<'_, PyAny>, out_of_bounds: bool;
        counters: Vec<Bound<'_, CounterStatus>> = Vec::new()
    ) {
        |whole| Status {
            key: key.text(py)?.to_owned(),
            origin: choice("origin", origin, &ORIGINS)?,
            out_of_bounds,
            whole,
            // Of one counter the fields of the key say everything.
            counters: match &counters[..] {
                [_] => Vec::new(),
                several => several.iter().map(|counter| counter.get().0.clone()).collect(),
            },
        }
    }

    first {
        shown {
            /// The key.
            key: &str => &this.0.key
        }
    }
    last {
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

    const fn whole(&self) -> &CoreCounter {
        &self.0.whole
    }
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<CounterStatus>()?;
    m.add_class::<LimitStatus>()
}
