//! Engine errors as the Python classes of `flint._errors`.

use std::path::Path;

use flint_core::Error;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;

/// The Python exception for `error`.
#[cold]
pub(crate) fn to_py(py: Python<'_>, error: &Error) -> PyErr {
    build(py, error).unwrap_or_else(|failure| failure)
}

/// An `InvalidArgument`: a setting or argument other than key, limit and cost.
#[cold]
pub(crate) fn invalid_argument(py: Python<'_>, message: String) -> PyErr {
    to_py(py, &Error::InvalidArgument(message))
}

/// An `InvalidLimit`.
#[cold]
pub(crate) fn invalid_limit(py: Python<'_>, message: String) -> PyErr {
    to_py(py, &Error::InvalidLimit(message))
}

/// Turns the engine's result into Python's.
pub(crate) trait OrRaise<T> {
    /// The value, or the exception for the error.
    fn or_raise(self, py: Python<'_>) -> PyResult<T>;
}

impl<T> OrRaise<T> for flint_core::Result<T> {
    #[inline]
    fn or_raise(self, py: Python<'_>) -> PyResult<T> {
        self.map_err(|error| to_py(py, &error))
    }
}

/// The classes of `flint._errors` by their names. A copy of the module's dict, which the end of the interpreter clears.
fn classes(py: Python<'_>) -> PyResult<&Bound<'_, PyDict>> {
    static CLASSES: PyOnceLock<Py<PyDict>> = PyOnceLock::new();
    let classes =
        CLASSES.get_or_try_init(py, || -> PyResult<_> { Ok(py.import("flint._errors")?.dict().copy()?.unbind()) })?;
    Ok(classes.bind(py))
}

/// Finds the classes of errors. Called while modules can be imported, so that the methods of what is made then can raise as long as
/// it exists: while the interpreter ends, too.
pub(crate) fn prepare(py: Python<'_>) -> PyResult<()> {
    classes(py).map(drop)
}

/// ENOSPC, which has this number on Linux and macOS.
const NO_ROOM: i32 = 28;

fn build(py: Python<'_>, error: &Error) -> PyResult<PyErr> {
    let extra = PyDict::new(py);
    let name = match error {
        Error::InvalidKey(_) => "InvalidKey",
        Error::InvalidLimit(_) => "InvalidLimit",
        Error::InvalidCost(_) => "InvalidCost",
        Error::InvalidArgument(_) => "InvalidArgument",
        Error::LimitNotFound { key } => {
            extra.set_item("key", key)?;
            "LimitNotFound"
        }
        Error::Storage { path, .. } => {
            extra.set_item("errno", error.errno())?;
            extra.set_item("filename", file_name(path))?;
            "StorageError"
        }
        Error::NoRoom { path, .. } => {
            extra.set_item("errno", NO_ROOM)?;
            extra.set_item("filename", file_name(path))?;
            "StorageError"
        }
        Error::Stopped { path, errno, .. } => {
            extra.set_item("errno", *errno)?;
            extra.set_item("filename", file_name(path))?;
            "StorageError"
        }
        Error::Unsupported { path, .. } | Error::ReadOnly { path, .. } => {
            extra.set_item("filename", file_name(path))?;
            "StorageError"
        }
        Error::Corrupt { path, offset, .. } => {
            extra.set_item("path", file_name(path))?;
            extra.set_item("offset", *offset)?;
            "CorruptData"
        }
        Error::Locked { path, holder, .. } => {
            extra.set_item("path", file_name(path))?;
            extra.set_item("pid", holder.pid())?;
            "DataDirLocked"
        }
        Error::Closed => "ClosedError",
        Error::Forked => "ForkedError",
        _ => "FlintError",
    };
    let class = classes(py)?.as_any().get_item(name)?;
    Ok(PyErr::from_value(class.call((error.to_string(),), Some(&extra))?))
}

/// The path as Python's `str`, undecodable bytes as surrogate escapes.
fn file_name(path: &Path) -> &std::ffi::OsStr {
    path.as_os_str()
}
