//! Functions that look at a directory without opening it: for the command line.

use flint_core::engine::{self, DumpedRecord, Report};
use flint_core::limit;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::convert::{Key, absolute_path};
use crate::errors::OrRaise;

/// What doctor found, as a dict.
pub(crate) fn report_dict<'py>(py: Python<'py>, report: &Report) -> PyResult<Bound<'py, PyDict>> {
    let problems: Vec<String> = report
        .problems
        .iter()
        .map(|problem| format!("{} at byte {}: {}", problem.path.display(), problem.offset, problem.message))
        .collect();
    let dict = PyDict::new(py);
    dict.set_item("ok", report.ok)?;
    dict.set_item("limits", report.limits)?;
    dict.set_item("history_events", report.history_events)?;
    dict.set_item("aof_bytes", report.aof_bytes)?;
    dict.set_item("snapshot_exists", report.snapshot_exists)?;
    dict.set_item("format", report.format)?;
    dict.set_item("problems", problems)?;
    dict.set_item("notes", &report.notes)?;
    Ok(dict)
}

/// Verify the files of the directory `path`, which may be offline, in use, broken or of an old release. Changes nothing.
///
/// Gives what Limiter.doctor() gives. Raises StorageError when the directory does not exist or cannot be read.
#[pyfunction]
fn doctor<'py>(py: Python<'py>, path: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyDict>> {
    let path = absolute_path(path)?;
    let report = py.detach(|| engine::doctor(&path)).or_raise(py)?;
    report_dict(py, &report)
}

/// Call `callback` with each log record of the directory `path` whose sequence number is above `after`, in order.
///
/// A record is a dict with "file", "offset" (bytes), "seq", "type", "at" (RFC 3339) and what the type has. The callback stops the dump
/// by returning False. Gives the newest sequence number seen. Raises CorruptData after the good records of a damaged log.
#[pyfunction]
fn dump(py: Python<'_>, path: &Bound<'_, PyAny>, after: u64, callback: Py<PyAny>) -> PyResult<u64> {
    let path = absolute_path(path)?;
    let mut raised = None;
    let newest = py.detach(|| {
        engine::dump(&path, after, &mut |record| {
            Python::attach(|py| match pass_on(py, &record, &callback) {
                Ok(go_on) => go_on,
                Err(error) => {
                    raised = Some(error);
                    false
                }
            })
        })
    });
    match raised {
        Some(error) => Err(error),
        None => newest.or_raise(py),
    }
}

fn pass_on(py: Python<'_>, record: &DumpedRecord, callback: &Py<PyAny>) -> PyResult<bool> {
    let dict = PyDict::new(py);
    dict.set_item("file", record.path.as_os_str())?;
    dict.set_item("offset", record.offset)?;
    dict.set_item("seq", record.seq)?;
    let rest = py.import("json")?.call_method1("loads", (&record.json,))?;
    dict.call_method1("update", (rest,))?;
    Ok(!callback.bind(py).call1((dict,))?.is(pyo3::types::PyBool::new(py, false)))
}

/// Refuse a key that no call would accept, before a directory is opened or made for it. Raises InvalidKey.
#[pyfunction]
fn validate_key(py: Python<'_>, key: Key<'_>) -> PyResult<()> {
    limit::Key::new(key.text()?).map(drop).or_raise(py)
}

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(doctor, m)?)?;
    m.add_function(wrap_pyfunction!(dump, m)?)?;
    m.add_function(wrap_pyfunction!(validate_key, m)?)
}
