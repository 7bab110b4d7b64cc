//! Event loops.
//!
//! - `awaitables`: futures that resolve when the disk has a record
//! - `loops`: the loops that use a limiter
//! - `running`: the loop that runs in this thread

mod awaitables;
pub(crate) mod loops;
pub(crate) mod running;

use pyo3::prelude::*;

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    awaitables::register(m)
}
