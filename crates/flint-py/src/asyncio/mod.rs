//! Event loops.
//!
//! - `awaitables`: futures that resolve when the disk has a record
//! - `bell`: what wakes a loop
//! - `places`: futures that resolve when a limit allows a call
//! - `loops`: the loops that use a limiter
//! - `running`: the loop that runs in this thread

mod awaitables;
mod bell;
pub(crate) mod loops;
pub(crate) mod places;
pub(crate) mod running;

use pyo3::prelude::*;

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    awaitables::register(m)?;
    places::register(m)
}
