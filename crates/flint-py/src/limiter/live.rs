//! Every open engine of the process, so that `atexit` can close them before the interpreter ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use flint_core::Engine;
use flint_core::engine::Severity;
use pyo3::prelude::*;
use pyo3::wrap_pyfunction;

use super::notices;

static LIVE: Mutex<Vec<Weak<Engine>>> = Mutex::new(Vec::new());
static EXITING: AtomicBool = AtomicBool::new(false);

/// Whether the interpreter is about to end: every limiter is closed, or is being closed.
pub(super) fn is_exiting() -> bool {
    EXITING.load(Ordering::SeqCst)
}

/// Remembers `engine` until it is dropped.
pub(super) fn add(engine: &Arc<Engine>) {
    let mut live = LIVE.lock().unwrap_or_else(PoisonError::into_inner);
    live.retain(|other| other.strong_count() > 0);
    live.push(Arc::downgrade(engine));
}

/// Closes `engine` with the GIL released and reports instead of raising: for places where no caller could catch it.
pub(super) fn close_quietly(py: Python<'_>, engine: &Engine) {
    if engine.is_closed() || engine.is_forked() {
        return;
    }
    let closed = py.detach(|| engine.close());
    // A destructor may run while an exception is on its way; it must still be there afterwards.
    let raised = PyErr::take(py);
    notices::emit(py, engine);
    if let Err(error) = closed {
        let message = format!("closing {} failed: {error}", engine.path().display());
        notices::log(py, Severity::Error, &message);
    }
    if let Some(raised) = raised {
        raised.restore(py);
    }
}

/// Flush, close and unlock every open limiter. Registered with atexit by `flint`.
#[pyfunction]
fn _close_all(py: Python<'_>) {
    EXITING.store(true, Ordering::SeqCst);
    let live = std::mem::take(&mut *LIVE.lock().unwrap_or_else(PoisonError::into_inner));
    for engine in live.iter().filter_map(Weak::upgrade) {
        close_quietly(py, &engine);
        if engine.is_forked() {
            // It belongs to the parent process.
            std::mem::forget(engine);
        }
    }
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(_close_all, m)?)
}
