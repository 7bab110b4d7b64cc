//! The native half of the Python package: converts types and errors, nothing else.
//!
//! Architecture invariants: no decision is taken here; the GIL is released around everything that can block; no Python is
//! touched by a native thread or while the engine's lock is held.

mod clock;
mod convert;
mod errors;
mod event;
mod items;
mod limit;
mod limiter;
mod live;
mod notices;
mod open;
mod rate;
mod record;
mod recovery;
mod results;
mod specs;
mod status;
mod time;
mod tools;

use pyo3::prelude::*;

/// The native half of `flint`; import `flint` instead.
#[pymodule(gil_used = false)]
fn _native(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add("__version__", env!("CARGO_PKG_VERSION"))?;
    record::register(m)?;
    rate::register(m)?;
    limit::register(m)?;
    results::register(m)?;
    status::register(m)?;
    event::register(m)?;
    recovery::register(m)?;
    clock::register(m)?;
    limiter::register(m)?;
    live::register(m)?;
    tools::register(m)
}
