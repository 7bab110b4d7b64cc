//! `flint.testing.ManualClock`.

use std::sync::Arc;

use flint_core::clock::{Clock, ManualClock as CoreClock};
use pyo3::prelude::*;

use crate::convert::{shown, unsigned};
use crate::errors::invalid_argument;
use crate::time::{datetime, is_timedelta, timedelta_us, wall_ns};

/// 2026-01-01T00:00:00Z.
const DEFAULT_START_NS: u64 = 1_767_225_600 * NS_PER_S;
const NS_PER_S: u64 = 1_000_000_000;
const NS_PER_MS: u64 = 1_000_000;

/// A clock that moves only when it is advanced. Pass it as `Limiter(clock=...)`.
///
/// `start` is its wall clock's first reading, an aware datetime; 2026-01-01T00:00:00Z by default.
#[pyclass(module = "flint._native", name = "ManualClock", subclass, frozen)]
pub(crate) struct ManualClock(Arc<CoreClock>);

impl ManualClock {
    /// The clock, as the engine takes it.
    pub(crate) fn core(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.0) as Arc<dyn Clock>
    }
}

#[pymethods]
impl ManualClock {
    #[new]
    #[pyo3(signature = (start = None))]
    fn new(start: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let start = start.map(wall_ns).transpose()?.unwrap_or(DEFAULT_START_NS);
        Ok(Self(Arc::new(CoreClock::new(start))))
    }

    /// Lets time pass: `seconds` (an integer or a timedelta) plus `ms` milliseconds plus `ns` nanoseconds.
    #[pyo3(signature = (seconds = None, *, ms = None, ns = None), text_signature = "($self, seconds=0, *, ms=0, ns=0)")]
    fn advance(
        &self,
        py: Python<'_>,
        seconds: Option<&Bound<'_, PyAny>>,
        ms: Option<&Bound<'_, PyAny>>,
        ns: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let mut total = Some(0_u64);
        for (name, value, unit_ns) in [("seconds", seconds, NS_PER_S), ("ms", ms, NS_PER_MS), ("ns", ns, 1)] {
            if let Some(value) = value {
                let part = duration_ns(name, value, unit_ns)?;
                total = total.and_then(|total| total.checked_add(part));
            }
        }
        if total.is_some_and(|total| py.detach(|| self.0.try_advance_ns(total))) {
            return Ok(());
        }
        let message = format!(
            "advance() would move {} beyond 64 bits of nanoseconds, which end in the year 2554; advance by less, or make \
             another ManualClock",
            self.__repr__(py)?
        );
        Err(invalid_argument(py, message))
    }

    /// Steps the wall clock alone, as an administrator or NTP would; no time passes for running limiters.
    fn set_wall(&self, when: &Bound<'_, PyAny>) -> PyResult<()> {
        self.0.set_wall_ns(wall_ns(when)?);
        Ok(())
    }

    /// The wall clock's reading, an aware UTC datetime.
    fn now<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        datetime(py, self.0.wall_ns())
    }

    /// Nanoseconds that have passed since some moment; stepping the wall clock changes nothing.
    fn _monotonic_ns(&self) -> u64 {
        self.0.monotonic_ns()
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("ManualClock({})", self.now(py)?.repr()?.to_str()?))
    }
}

/// `value` units of `unit_ns` nanoseconds, or a timedelta.
fn duration_ns(name: &str, value: &Bound<'_, PyAny>, unit_ns: u64) -> PyResult<u64> {
    let ns = if is_timedelta(value)? {
        u64::try_from(timedelta_us(value)?).ok().and_then(|us| us.checked_mul(1000))
    } else {
        unsigned(value.as_borrowed()).and_then(|units| units.checked_mul(unit_ns))
    };
    ns.ok_or_else(|| {
        let message =
            format!("{name} must be an integer of 0 or more, or a timedelta, not {}", shown(value.as_borrowed()));
        invalid_argument(value.py(), message)
    })
}

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<ManualClock>()
}
