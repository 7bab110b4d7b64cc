//! The event loops that use a limiter.

use std::sync::{Arc, Mutex};

use flint_core::Engine;
use pyo3::PyTraverseError;
use pyo3::gc::PyVisit;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use super::awaitables::{LoopWaits, locked};

/// The event loops that have waited for the disk so far.
#[derive(Default)]
pub(crate) struct Loops(Mutex<Vec<Py<LoopWaits>>>);

impl Loops {
    /// A future of the loop that resolves to `result` when record `seq` is on disk.
    pub(crate) fn future<'py>(
        &self,
        event_loop: &Bound<'py, PyAny>,
        engine: &Arc<Engine>,
        seq: u64,
        result: Py<PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let waits = self.of(event_loop, engine)?;
        waits.bind(event_loop.py()).get().future(event_loop, engine, seq, result)
    }

    fn of(&self, event_loop: &Bound<'_, PyAny>, engine: &Arc<Engine>) -> PyResult<Py<LoopWaits>> {
        let py = event_loop.py();
        let known = locked(&self.0)
            .iter()
            .find(|waits| waits.bind(py).get().is_of(event_loop))
            .map(|waits| waits.clone_ref(py));
        if let Some(known) = known {
            return Ok(known);
        }
        // No other thread adds this loop: it runs in this one.
        let waits = LoopWaits::watch(event_loop, engine)?.unbind();
        let mut known = std::mem::take(&mut *locked(&self.0));
        known.retain(|waits| !waits.bind(py).get().is_over(py));
        known.push(waits.clone_ref(py));
        locked(&self.0).append(&mut known);
        Ok(waits)
    }

    /// Has every loop look: after closing, for the last time.
    pub(crate) fn ring(&self, py: Python<'_>) {
        for waits in &*locked(&self.0) {
            waits.bind(py).get().ring();
        }
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Ok(known) = self.0.try_lock() {
            for waits in &*known {
                visit.call(waits)?;
            }
        }
        Ok(())
    }
}

/// The event loop that runs in this thread.
///
/// Raises RuntimeError when there is none.
pub(crate) fn running_loop(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    static GET: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let get =
        GET.get_or_try_init(py, || -> PyResult<_> { Ok(py.import("asyncio")?.getattr("get_running_loop")?.unbind()) })?;
    get.bind(py).call0()
}

/// A future of what `function(argument)` returns, called in a thread of the loop's default executor.
pub(crate) fn in_executor<'py>(
    event_loop: &Bound<'py, PyAny>,
    function: &Bound<'py, PyAny>,
    argument: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = event_loop.py();
    event_loop.call_method1(intern!(py, "run_in_executor"), (py.None(), function, argument))
}

/// A future that is done.
pub(crate) fn finished<'py>(event_loop: &Bound<'py, PyAny>, result: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = event_loop.py();
    let future = event_loop.call_method0(intern!(py, "create_future"))?;
    future.call_method1(intern!(py, "set_result"), (result,))?;
    Ok(future)
}
