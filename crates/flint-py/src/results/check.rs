//! `flint.CheckResult` and `flint.MultiCheckResult`.

use flint_core::engine::{MultiOutcome, Outcome, RateVerdicts};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyString, PyTuple};

use super::declare::result_class;
use super::rate_state::RateState;
use super::record::{Record, names};
use crate::convert::Key;
use crate::time::{datetime, seconds_up};

result_class! {
    /// The answer to one check. True when the check was allowed.
    ///
    /// With several rates it describes the most restrictive one: when allowed the one with the fewest remaining, when denied the one
    /// with the longest wait.
    #[pyclass(module = "flint", name = "CheckResult", extends = Record, frozen, freelist = 64)]
    pub(crate) struct CheckResult {
        key: Py<PyString>,
        outcome: Outcome,
        degraded: bool,
    }

    |this, py|

    #[pyo3(
        signature = (allowed, key, cost, limit, remaining, retry_after_ns = 0, reset_after_ns = 0, reset_at_ns = 0, rates = None, degraded = false),
        text_signature = "(allowed, key, cost, limit, remaining, retry_after_ns=0, reset_after_ns=0, reset_at_ns=0, rates=(), degraded=False)"
    )]
    #[expect(clippy::too_many_arguments, reason = "one per field")]
    new(
        allowed: bool,
        key: Key,
        cost: u64,
        limit: u64,
        remaining: u64,
        retry_after_ns: u64,
        reset_after_ns: u64,
        reset_at_ns: u64,
        rates: Option<Vec<Bound<'_, RateState>>>,
        degraded: bool,
    ) {
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
        Self { key: key.into_object(), outcome, degraded }
    }

    fields {
        shown {
            /// The decision.
            allowed: bool => this.outcome.allowed
        }
        shown {
            /// The key.
            key: Bound<'py, PyString> => this.key.bind(py).clone()
        }
        shown {
            /// Tokens that were requested.
            cost: u64 => this.outcome.cost
        }
        shown {
            /// Tokens per period of the most restrictive rate.
            limit: u64 => this.outcome.limit
        }
        shown {
            /// Tokens left after this call.
            remaining: u64 => this.outcome.remaining
        }
        shown {
            /// Nanoseconds until the same call would be allowed, exact: denied just before, allowed then. 0 when allowed.
            retry_after_ns: u64 => this.outcome.retry_after_ns
        }
        shown {
            /// `retry_after_ns` in seconds, rounded up.
            retry_after: f64 => seconds_up(this.outcome.retry_after_ns)
        }
        shown {
            /// Nanoseconds until the full limit is back.
            reset_after_ns: u64 => this.outcome.reset_after_ns
        }
        shown {
            /// `reset_after_ns` in seconds, rounded up.
            reset_after: f64 => seconds_up(this.outcome.reset_after_ns)
        }
        hidden {
            /// When the full limit is back, nanoseconds since the Unix epoch.
            reset_at_ns: u64 => this.outcome.reset_at_wall_ns
        }
        shown {
            /// When the full limit is back, an aware UTC datetime.
            reset_at: Bound<'py, PyAny> => datetime(py, this.outcome.reset_at_wall_ns)?
        }
        shown {
            /// Rate by rate, in the order of the limit: a RateState each.
            rates: Bound<'py, PyTuple> => RateState::tuple(py, &this.outcome.rates())?
        }
        hidden {
            /// Whether no server was reached to decide, and `on_error` did instead. Not part of the mapping.
            degraded: bool => this.degraded
        }
    }

    methods {
        fn __bool__(&self) -> bool {
            self.outcome.allowed
        }
    }
}

impl CheckResult {
    /// The Python object for `outcome`.
    #[inline]
    pub(crate) fn wrap(py: Python<'_>, key: Py<PyString>, outcome: Outcome) -> PyResult<Bound<'_, Self>> {
        Self { key, outcome, degraded: false }.into_object(py)
    }
}

result_class! {
    /// The answer to a check of several keys. True when all of them were allowed, and only then was anything consumed.
    #[pyclass(module = "flint", name = "MultiCheckResult", extends = Record, frozen, freelist = 16)]
    pub(crate) struct MultiCheckResult {
        allowed: bool,
        denied_key: Option<Py<PyString>>,
        retry_after_ns: u64,
        /// `results` is made of these when it is first read; many callers only look at `allowed`.
        keys: Vec<Py<PyString>>,
        outcomes: Vec<Outcome>,
        degraded: bool,
        results: PyOnceLock<Py<PyTuple>>,
    }

    |this, py|

    #[pyo3(signature = (allowed, denied_key, retry_after_ns, results, degraded = false))]
    new(
        allowed: bool,
        denied_key: Option<Key>,
        retry_after_ns: u64,
        results: Vec<Bound<'_, CheckResult>>,
        degraded: bool,
    ) {
        Self {
            allowed,
            denied_key: denied_key.map(Key::into_object),
            retry_after_ns,
            keys: results.iter().map(|result| result.get().key.clone_ref(py)).collect(),
            outcomes: results.iter().map(|result| result.get().outcome.clone()).collect(),
            degraded,
            results: PyOnceLock::new(),
        }
    }

    fields {
        shown {
            /// Whether every item was allowed.
            allowed: bool => this.allowed
        }
        shown {
            /// The first key that was denied, or None.
            denied_key: Option<Bound<'py, PyString>> => this.denied_key.as_ref().map(|key| key.bind(py).clone())
        }
        shown {
            /// Nanoseconds after which all items would pass together. 0 when allowed.
            retry_after_ns: u64 => this.retry_after_ns
        }
        shown {
            /// `retry_after_ns` in seconds, rounded up.
            retry_after: f64 => seconds_up(this.retry_after_ns)
        }
        shown {
            /// One CheckResult per item, in the order of the items; `remaining` is what was left after the call.
            results: Bound<'py, PyTuple> => this.made(py)?.clone()
        }
        hidden {
            /// Whether no server was reached to decide, and `on_error` did instead. Not part of the mapping.
            degraded: bool => this.degraded
        }
    }

    methods {
        fn __bool__(&self) -> bool {
            self.allowed
        }
    }
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
        this.into_object(py)
    }

    fn made<'py>(&self, py: Python<'py>) -> PyResult<&Bound<'py, PyTuple>> {
        let results = self.results.get_or_try_init(py, || -> PyResult<_> {
            let pairs = self.keys.iter().zip(&self.outcomes);
            let results: Vec<_> = pairs
                .map(|(key, outcome)| {
                    CheckResult { key: key.clone_ref(py), outcome: outcome.clone(), degraded: self.degraded }
                        .into_object(py)
                })
                .collect::<PyResult<_>>()?;
            Ok(PyTuple::new(py, results)?.unbind())
        })?;
        Ok(results.bind(py))
    }
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<CheckResult>()?;
    m.add_class::<MultiCheckResult>()
}
