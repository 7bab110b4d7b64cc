//! What native threads report, passed to `logging` by a Python thread.

use flint_core::Engine;
use flint_core::engine::Severity;
use pyo3::prelude::*;

/// Passes the engine's notices to the logger `flint`. One atomic load when there are none.
#[inline]
pub(super) fn emit(py: Python<'_>, engine: &Engine) {
    if engine.has_notices() {
        emit_all(py, engine);
    }
}

#[cold]
fn emit_all(py: Python<'_>, engine: &Engine) {
    for notice in engine.take_notices() {
        log(py, notice.severity, &notice.message);
    }
}

/// One line to the logger `flint`. A logging handler that raises must not turn a decided check into an error.
#[cold]
pub(super) fn log(py: Python<'_>, severity: Severity, message: &str) {
    let method = match severity {
        Severity::Warning => "warning",
        Severity::Error => "error",
    };
    let logged = py
        .import("logging")
        .and_then(|logging| logging.call_method1("getLogger", ("flint",)))
        .and_then(|logger| logger.call_method1(method, ("%s", message)));
    if let Err(error) = logged {
        error.write_unraisable(py, None);
    }
}
