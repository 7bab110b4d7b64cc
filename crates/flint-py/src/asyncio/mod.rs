//! Event loops.
//!
//! - `awaitables`: futures that resolve when the disk has a record
//! - `loops`: the loops that use a limiter

mod awaitables;
pub(crate) mod loops;

use pyo3::prelude::*;

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    awaitables::register(m)
}
