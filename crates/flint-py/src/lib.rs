//! The native half of the Python package: converts types and errors, nothing else.
//!
//! Architecture invariants: no decision is taken here; the GIL is released around everything that can block; no Python is
//! touched by a native thread or while the engine's lock is held.
//!
//! Layers, bottom up; a module uses only those above it in this list:
//!
//! - `errors`, `convert`, `time`, `clock`: errors, arguments and times
//! - `results`: the classes of results
//! - `client::body`, `client::request`, `client::head`, `client::decode`: parts of requests and answers
//! - `call`: the arguments of each call, parsed once
//! - `client::encode`, `client::line`: any call as bytes, and over a socket
//! - `asyncio`: event loops that wait for the disk
//! - `limiter`: what executes any call
//! - `aggregates`, `directory`, `server`: sums for metrics, files without a limiter, and the server

mod aggregates;
mod asyncio;
mod call;
mod client;
mod clock;
mod convert;
mod directory;
mod errors;
mod limiter;
mod results;
mod server;
mod time;

use std::sync::atomic::{AtomicI64, Ordering};

use pyo3::exceptions::PyImportError;
use pyo3::ffi;
use pyo3::prelude::*;

/// The id of the interpreter that imported this module; -1 before.
static INTERPRETER: AtomicI64 = AtomicI64::new(-1);

/// Classes and the list of open limiters belong to the process: a second interpreter would share them with the first, and its end
/// would close what the first has open.
fn claim_process(_py: Python<'_>) -> PyResult<()> {
    #[expect(unsafe_code, reason = "PyO3 has no safe function for it")]
    // SAFETY: the thread is attached to an interpreter, which both functions need.
    let this = unsafe { ffi::PyInterpreterState_GetID(ffi::PyInterpreterState_Get()) };
    match INTERPRETER.compare_exchange(-1, this, Ordering::AcqRel, Ordering::Acquire) {
        Err(first) if first != this => Err(PyImportError::new_err(format!(
            "flint was imported by {} of process {} before, and this is {}: it works in one interpreter of a process. With \
             mod_wsgi, set WSGIApplicationGroup %{{GLOBAL}} for every application that uses flint; with jep, use SharedInterpreter \
             in place of SubInterpreter; elsewhere, use processes or threads in place of subinterpreters",
            name(first),
            std::process::id(),
            name(this),
        ))),
        _ => Ok(()),
    }
}

fn name(interpreter: i64) -> String {
    if interpreter == 0 { "the main interpreter".to_owned() } else { format!("subinterpreter {interpreter}") }
}

/// The native half of `flint`; import `flint` instead.
#[pymodule(gil_used = false)]
fn _native(m: &Bound<'_, PyModule>) -> PyResult<()> {
    claim_process(m.py())?;
    m.add("__version__", env!("CARGO_PKG_VERSION"))?;
    results::register(m)?;
    call::register(m)?;
    client::register(m)?;
    clock::register(m)?;
    asyncio::register(m)?;
    limiter::register(m)?;
    aggregates::register(m)?;
    directory::register(m)?;
    server::register(m)
}
