//! The classes of results, each declared once.
//!
//! - `record`: their base: frozen attributes that are a `Mapping` too
//! - `declare`: the macro that declares one; `gc`: what is reported to the garbage collector about objects
//! - `slices`: many of them, without holding the interpreter lock for long
//! - `rate`, `rate_state`, `check`, `status`, `event`, `recovery`: the classes
//! - `reports`: results that are plain dicts

mod declare;
mod gc;
mod record;

pub(crate) mod check;
pub(crate) mod event;
pub(crate) mod rate;
mod rate_state;
pub(crate) mod recovery;
pub(crate) mod reports;
mod slices;
pub(crate) mod status;

use pyo3::prelude::*;

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    record::register(m)?;
    rate::register(m)?;
    rate_state::register(m)?;
    check::register(m)?;
    status::register(m)?;
    event::register(m)?;
    recovery::register(m)
}
