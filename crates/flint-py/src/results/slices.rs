//! Many results at once.

use std::thread::sleep;
use std::time::Duration;

use pyo3::prelude::*;

/// Objects that are made before another thread may have the interpreter lock: a fraction of a millisecond.
const SLICE: usize = 500;
/// Long enough for that thread to wake up and take it. A thread that releases the lock and takes it at once usually has it again.
const PAUSE: Duration = Duration::from_micros(100);

/// What `make` returns for each item, in order. An event loop in another thread goes on between two slices.
pub(super) fn in_slices<'py, T: Send, U>(
    py: Python<'py>,
    items: Vec<T>,
    mut make: impl FnMut(T) -> PyResult<Bound<'py, U>>,
) -> PyResult<Vec<Bound<'py, U>>> {
    let mut made = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 && index % SLICE == 0 {
            py.detach(|| sleep(PAUSE));
        }
        made.push(make(item)?);
    }
    Ok(made)
}
