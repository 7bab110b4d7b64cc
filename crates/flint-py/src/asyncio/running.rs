//! The event loop that runs in this thread, and what it can be given to await.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

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
