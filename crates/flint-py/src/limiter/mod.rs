//! `flint.Limiter`.
//!
//! - `settings`: the arguments of its constructor
//! - `notices`: what native threads report, passed to `logging`
//! - `live`: every open engine, so that `atexit` can close them
//! - `lifecycle`: opening and closing
//! - `run`: executing parsed calls, blocking and for event loops
//! - `acquire`: waiting for a limit
//! - `class`: the methods

mod acquire;
mod class;
mod lifecycle;
mod live;
mod notices;
mod run;
mod settings;

use pyo3::prelude::*;

pub(crate) use lifecycle::Limiter;

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    class::register(m)?;
    live::register(m)
}
