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

use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::exceptions::PyImportError;
use pyo3::prelude::*;

/// The address of the `sys` module of the interpreter that imported this module, which identifies the interpreter; 0 before.
static INTERPRETER: AtomicUsize = AtomicUsize::new(0);

/// Classes and the list of open limiters belong to the process: a second interpreter would share them with the first, and its end
/// would close what the first has open.
fn claim_process(py: Python<'_>) -> PyResult<()> {
    let this = py.import("sys")?.as_ptr().addr();
    match INTERPRETER.compare_exchange(0, this, Ordering::AcqRel, Ordering::Acquire) {
        Err(other) if other != this => Err(PyImportError::new_err(
            "flint works in one interpreter of a process, and another one has imported it: use processes, not subinterpreters",
        )),
        _ => Ok(()),
    }
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
