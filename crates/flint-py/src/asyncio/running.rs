//! The event loop that runs in this thread, and what it can be given to await.

use std::io;

use flint_core::{Engine, Error};
use pyo3::exceptions::PyOSError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::errors::to_py;

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

/// What is raised where the event loop lacks something of the operating system: `op`, which ends before the directory's path, and
/// the error. Any other error stays as it is.
pub(crate) fn refused(py: Python<'_>, engine: &Engine, op: &'static str, error: PyErr) -> PyErr {
    if !error.is_instance_of::<PyOSError>(py) {
        return error;
    }
    let number = error.value(py).getattr(intern!(py, "errno")).and_then(|number| number.extract()).unwrap_or(0);
    let raised = to_py(py, &Error::storage(op, engine.path(), io::Error::from_raw_os_error(number)));
    raised.set_cause(py, Some(error));
    raised
}
