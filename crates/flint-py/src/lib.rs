//! The native half of the Python package: converts types and errors, nothing else.
//!
//! Architecture invariants: no decision is taken here; the GIL is released around everything that can block; no Python is
//! touched by a native thread or while the engine's lock is held.

mod aggregates;
mod clock;
mod convert;
mod errors;
mod event;
mod items;
mod limit;
mod limiter;
mod live;
mod loops;
mod notices;
mod open;
mod rate;
mod rate_state;
mod record;
mod recovery;
mod results;
mod server;
mod specs;
mod status;
mod time;
mod tools;
mod wire;

use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::exceptions::PyImportError;
use pyo3::prelude::*;

/// Where the `sys` module of the interpreter lies that imported this one, which tells interpreters apart; 0 before.
static INTERPRETER: AtomicUsize = AtomicUsize::new(0);

/// Classes and the list of open limiters are the process's: a second interpreter would share them with the first, and its end
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
    record::register(m)?;
    rate::register(m)?;
    limit::register(m)?;
    rate_state::register(m)?;
    results::register(m)?;
    status::register(m)?;
    event::register(m)?;
    recovery::register(m)?;
    clock::register(m)?;
    loops::register(m)?;
    limiter::register(m)?;
    aggregates::register(m)?;
    server::register(m)?;
    live::register(m)?;
    tools::register(m)?;
    wire::register(m)
}
