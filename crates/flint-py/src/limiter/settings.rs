//! The arguments of `Limiter()`.

use std::time::Duration;

use flint_core::engine::{LogIo, Options, SyncMode};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyBool;

use crate::clock::ManualClock;
use crate::convert::{choice, flag, shown, unsigned};
use crate::errors::invalid_argument;

const SYNC_MODES: [(&str, SyncMode); 2] = [("always", SyncMode::Always), ("batch", SyncMode::Batch)];

const LOG_IO: [(&str, LogIo); 2] = [("auto", LogIo::Auto), ("pwrite", LogIo::Pwrite)];

/// The name of a sync mode.
pub(super) fn sync_name(sync: SyncMode) -> &'static str {
    match sync {
        SyncMode::Always => SYNC_MODES[0].0,
        SyncMode::Batch => SYNC_MODES[1].0,
    }
}

/// The optional arguments as Python passes them.
pub(super) struct Settings<'a, 'py> {
    pub(super) sync: Option<&'a Bound<'py, PyAny>>,
    pub(super) flush_every_ms: Option<&'a Bound<'py, PyAny>>,
    pub(super) flush_every_events: Option<&'a Bound<'py, PyAny>>,
    pub(super) read_only: Option<&'a Bound<'py, PyAny>>,
    pub(super) history_bytes: Option<&'a Bound<'py, PyAny>>,
    pub(super) lock_timeout: Option<&'a Bound<'py, PyAny>>,
    pub(super) log_io: Option<&'a Bound<'py, PyAny>>,
    pub(super) clock: Option<&'a Bound<'py, PyAny>>,
}

impl Settings<'_, '_> {
    /// The engine's options; what was left out keeps the engine's default.
    pub(super) fn options(&self) -> PyResult<Options> {
        let mut options = Options::default();
        if let Some(sync) = self.sync {
            options.sync = choice("sync", sync, &SYNC_MODES)?;
        }
        if let Some(ms) = self.flush_every_ms {
            options.flush_every_ms = at_least("flush_every_ms", ms, 1)?;
        }
        if let Some(events) = self.flush_every_events {
            options.flush_every_events = at_least("flush_every_events", events, 1)?;
        }
        if let Some(read_only) = self.read_only {
            options.read_only = flag("read_only", read_only)?;
        }
        if let Some(bytes) = self.history_bytes {
            options.history_bytes = at_least("history_bytes", bytes, 0)?;
        }
        if let Some(timeout) = self.lock_timeout {
            options.lock_timeout = seconds("lock_timeout", timeout)?;
        }
        if let Some(log_io) = self.log_io {
            options.log_io = choice("log_io", log_io, &LOG_IO)?;
        }
        if let Some(clock) = self.clock {
            let Ok(clock) = clock.cast::<ManualClock>() else {
                let type_name = clock.get_type().name()?;
                return Err(PyTypeError::new_err(format!(
                    "clock must be a flint.testing.ManualClock or None, not {type_name}"
                )));
            };
            options.clock = clock.get().core();
        }
        Ok(options)
    }
}

/// A number of seconds; one that no clock reaches, such as `math.inf`, is as long as there is.
fn seconds(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Duration> {
    let number = if value.is_instance_of::<PyBool>() { None } else { value.extract::<f64>().ok() };
    match number {
        Some(number) if number >= 0.0 => Ok(Duration::try_from_secs_f64(number).unwrap_or(Duration::MAX)),
        _ => {
            let shown = shown(value.as_borrowed());
            let message = format!("{name} must be a number of seconds, 0 or more, such as 30, not {shown}");
            Err(invalid_argument(value.py(), message))
        }
    }
}

fn at_least(name: &str, value: &Bound<'_, PyAny>, least: u64) -> PyResult<u64> {
    unsigned(value.as_borrowed()).filter(|n| *n >= least).ok_or_else(|| {
        let message =
            format!("{name} must be an integer from {least} to 2**64 - 1, not {}", shown(value.as_borrowed()));
        invalid_argument(value.py(), message)
    })
}
