//! `flint.Event`: one event of a key's history.

use flint_core::engine::{Event as CoreEvent, EventKind};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::declare::result_class;
use super::rate::Rate;
use super::record::{Record, names};
use super::slices::in_slices;
use crate::convert::choice;
use crate::time::datetime;

result_class! {
    /// One event of a key's history.
    ///
    /// `type` is LIMIT_CONFIGURED, ALLOW, ALLOW_ALL, DENY, RESET or LIMIT_DELETED. Denials are kept as sums, so that one DENY event
    /// represents `count` checks of together `cost` tokens, the newest of them at `at`.
    #[pyclass(module = "flint", name = "Event", extends = Record, frozen)]
    pub(crate) struct Event(CoreEvent)

    |this, py|

    #[pyo3(signature = (r#type, at_ns, cost, count, remaining, rates = None))]
    new(
        r#type: &Bound<'_, PyAny>,
        at_ns: u64,
        cost: u64,
        count: u64,
        remaining: Option<u64>,
        rates: Option<Vec<Bound<'_, Rate>>>,
    ) {
        let kind = choice("type", r#type, &EventKind::ALL.map(|kind| (kind.name(), kind)))?;
        let rates = rates.iter().flatten().map(|rate| rate.get().core()).collect();
        Self(CoreEvent { kind, at_wall_ns: at_ns, cost, count, remaining, rates })
    }

    fields {
        shown {
            /// What happened.
            r#type: &'static str => this.0.kind.name()
        }
        hidden {
            /// When, nanoseconds since the Unix epoch.
            at_ns: u64 => this.0.at_wall_ns
        }
        shown {
            /// When, an aware UTC datetime.
            at: Bound<'py, PyAny> => datetime(py, this.0.at_wall_ns)?
        }
        shown {
            /// Tokens requested; the sum for denials, 0 where there are none.
            cost: u64 => this.0.cost
        }
        shown {
            /// Number of checks that the event represents.
            count: u64 => this.0.count
        }
        shown {
            /// Tokens left afterwards, or None where the log does not have it.
            remaining: Option<u64> => this.0.remaining
        }
        shown {
            /// The limit that a LIMIT_CONFIGURED set, a tuple of Rate; None for other events, and where the log does not have it.
            rates: Option<Bound<'py, PyTuple>> => {
                let rates = &this.0.rates;
                if rates.is_empty() { None } else { Some(Rate::tuple(py, rates)?) }
            }
        }
    }
}

impl Event {
    /// A list of the Python objects for `events`.
    pub(crate) fn all(py: Python<'_>, events: Vec<CoreEvent>) -> PyResult<Vec<Bound<'_, Self>>> {
        in_slices(py, events, |event| Self(event).into_object(py))
    }
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Event>()
}
