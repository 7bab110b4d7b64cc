//! The event loops that use a limiter.

use std::sync::{Arc, Mutex};

use flint_core::Engine;
use pyo3::PyTraverseError;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;

use super::awaitables::LoopWaits;
pub(crate) use super::bell::locked;

/// The event loops that have waited for the disk so far.
#[derive(Default)]
pub(crate) struct Loops(Mutex<Known>);

#[derive(Default)]
struct Known {
    waits: Vec<Py<LoopWaits>>,
    /// The limiter is closed: nothing more is added.
    ended: bool,
}

impl Loops {
    /// The futures of a loop, which has what it needs to be woken. `None` once the limiter is closed.
    ///
    /// Raises StorageError when that cannot be made, for lack of descriptors.
    pub(crate) fn of(&self, event_loop: &Bound<'_, PyAny>, engine: &Arc<Engine>) -> PyResult<Option<Py<LoopWaits>>> {
        let py = event_loop.py();
        if engine.is_forked() {
            return Ok(None);
        }
        let known = {
            let known = locked(&self.0);
            if known.ended {
                return Ok(None);
            }
            known.waits.iter().find(|waits| waits.bind(py).get().is_of(event_loop)).map(|waits| waits.clone_ref(py))
        };
        if known.is_some() {
            return Ok(known);
        }
        // No other thread adds this loop: it runs in this one.
        let waits = LoopWaits::watch(event_loop, engine)?.unbind();
        // Asking a loop may run Python code, which must not find the list locked.
        let mut others = std::mem::take(&mut locked(&self.0).waits);
        others.retain(|waits| !waits.bind(py).get().is_over(py));
        let mut known = locked(&self.0);
        known.waits.append(&mut others);
        if known.ended {
            drop(known);
            self.end(py);
            waits.bind(py).get().end(py, &waits);
            return Ok(None);
        }
        known.waits.push(waits.clone_ref(py));
        Ok(Some(waits))
    }

    /// Has every loop look for the last time, and lets go of it: after closing.
    pub(crate) fn end(&self, py: Python<'_>) {
        let known = {
            let mut known = locked(&self.0);
            known.ended = true;
            std::mem::take(&mut known.waits)
        };
        for waits in known {
            waits.bind(py).get().end(py, &waits);
        }
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Ok(known) = self.0.try_lock() {
            for waits in &known.waits {
                visit.call(waits)?;
            }
        }
        Ok(())
    }
}
