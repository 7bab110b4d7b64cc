//! Engine nanoseconds as Python's seconds and datetimes.

pub(crate) use flint_server::wire::number::seconds_up;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;

use crate::convert::shown;
use crate::errors::invalid_argument;

const US_PER_S: u64 = 1_000_000;

/// 1970-01-01T00:00:00Z as an aware `datetime`.
fn epoch(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static EPOCH: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let epoch = EPOCH.get_or_try_init(py, || -> PyResult<Py<PyAny>> {
        let module = py.import("datetime")?;
        let utc = module.getattr("timezone")?.getattr("utc")?;
        let kwargs = PyDict::new(py);
        kwargs.set_item("tzinfo", utc)?;
        Ok(module.getattr("datetime")?.call((1970, 1, 1), Some(&kwargs))?.unbind())
    })?;
    Ok(epoch.bind(py))
}

/// An aware UTC `datetime`, rounded up to the microsecond, so that it is never before the moment it names.
pub(crate) fn datetime(py: Python<'_>, wall_ns: u64) -> PyResult<Bound<'_, PyAny>> {
    let us = wall_ns.div_ceil(1000);
    let delta = py.import("datetime")?.getattr("timedelta")?.call1((0, us / US_PER_S, us % US_PER_S))?;
    epoch(py)?.add(delta)
}

/// The same of a moment that may not be there.
pub(crate) fn moment(py: Python<'_>, wall_ns: Option<u64>) -> PyResult<Option<Bound<'_, PyAny>>> {
    wall_ns.map(|ns| datetime(py, ns)).transpose()
}

/// Nanoseconds since the Unix epoch of an aware `datetime` not before it.
pub(crate) fn wall_ns(value: &Bound<'_, PyAny>) -> PyResult<u64> {
    let py = value.py();
    let refused = || {
        let message = format!(
            "a wall time must be an aware datetime from 1970 on, such as datetime.now(timezone.utc), not {}",
            shown(value.as_borrowed())
        );
        invalid_argument(py, message)
    };
    let module = py.import("datetime")?;
    if !value.is_instance(&module.getattr("datetime")?)? {
        return Err(refused());
    }
    let since = value.sub(epoch(py)?).map_err(|_| refused())?;
    let us = u64::try_from(timedelta_us(&since)?).map_err(|_| refused())?;
    us.checked_mul(1000).ok_or_else(refused)
}

/// The exact length of a `timedelta`, microseconds.
pub(crate) fn timedelta_us(delta: &Bound<'_, PyAny>) -> PyResult<i128> {
    let part = |name: &str| delta.getattr(name)?.extract::<i64>().map(i128::from);
    Ok((part("days")? * 86_400 + part("seconds")?) * i128::from(US_PER_S) + part("microseconds")?)
}

/// Whether `value` is a `datetime.timedelta`.
pub(crate) fn is_timedelta(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    value.is_instance(&value.py().import("datetime")?.getattr("timedelta")?)
}
