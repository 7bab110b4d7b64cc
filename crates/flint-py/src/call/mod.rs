//! The calls of the API, each parsed once into one value, which is executed in this process or encoded for a server.
//!
//! - `base`: what a parsed call is, and what the engine does for it
//! - `choice`, `limit`, `items`, `specs`: arguments
//! - `check`, `check_all`, `peek`, `configure`, `key`, `list`, `store`: the calls
//! - `dispatch`: the list of the calls

pub(crate) mod base;
pub(crate) mod check;
pub(crate) mod check_all;
mod choice;
pub(crate) mod configure;
pub(crate) mod dispatch;
pub(crate) mod items;
pub(crate) mod key;
pub(crate) mod limit;
pub(crate) mod list;
pub(crate) mod peek;
mod specs;
pub(crate) mod store;

use pyo3::prelude::*;

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    limit::register(m)?;
    base::register(m)?;
    check::register(m)?;
    check_all::register(m)?;
    peek::register(m)?;
    configure::register(m)?;
    key::register(m)?;
    list::register(m)?;
    store::register(m)
}
