//! Functions that look at a directory without opening it: for the command line.

use std::path::PathBuf;

use flint_core::dump::{Dumped, Follower};
use flint_core::engine::{Dropped, KeyDoubt, RepairReport};
use flint_core::limit;
use flint_server::wire::report::ReportAnswer;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::convert::{self, Key, absolute_path};
use crate::errors::OrRaise;
use crate::results::reports;

/// Verify the files of the directory `path`, which may be offline, in use, broken or of an old release. Changes nothing.
///
/// Returns what Limiter.doctor() returns. Raises StorageError when the directory does not exist or cannot be read.
#[pyfunction]
fn doctor<'py>(py: Python<'py>, path: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyDict>> {
    let path = absolute_path("data_dir", path)?;
    let report = py.detach(|| flint_core::doctor::examine(&path)).or_raise(py)?;
    reports::report(py, &ReportAnswer::from(&report))
}

/// Write a repaired copy of the directory `path` to `output`, and report what it lacks. Only reads `path`.
///
/// The dict has "written" (False: the directory opens as it is, and nothing was written), "complete" (the copy lacks nothing),
/// "problem", "limits", "history_events", "records", "dropped", "doubts", "unknown_ids", "lost_keys" and "notes". Raises
/// InvalidArgument for an `output` that is not empty or inside `path`, StorageError when nothing can be copied.
#[pyfunction]
fn repair<'py>(py: Python<'py>, path: &Bound<'py, PyAny>, output: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyDict>> {
    let (path, output) = (absolute_path("data_dir", path)?, absolute_path("output", output)?);
    let report = py.detach(|| flint_core::repair::repair(&path, &output)).or_raise(py)?;
    repair_dict(py, &report)
}

fn repair_dict<'py>(py: Python<'py>, report: &RepairReport) -> PyResult<Bound<'py, PyDict>> {
    let dropped = report.dropped.iter().map(|dropped| dropped_dict(py, dropped)).collect::<PyResult<Vec<_>>>()?;
    let doubts = report.doubts.iter().map(|doubt| doubt_dict(py, doubt)).collect::<PyResult<Vec<_>>>()?;
    let mut unknown_ids = Vec::with_capacity(report.unknown_ids.len());
    for unknown in &report.unknown_ids {
        let dict = PyDict::new(py);
        dict.set_item("id", unknown.id)?;
        dict.set_item("operations", unknown.operations)?;
        unknown_ids.push(dict);
    }
    let dict = PyDict::new(py);
    dict.set_item("written", report.written)?;
    dict.set_item("complete", report.is_complete())?;
    dict.set_item("problem", &report.problem)?;
    dict.set_item("limits", report.limits)?;
    dict.set_item("history_events", report.history_events)?;
    dict.set_item("records", report.records)?;
    dict.set_item("dropped", dropped)?;
    dict.set_item("doubts", doubts)?;
    dict.set_item("unknown_ids", unknown_ids)?;
    dict.set_item("lost_keys", &report.lost_keys)?;
    dict.set_item("notes", &report.notes)?;
    Ok(dict)
}

fn dropped_dict<'py>(py: Python<'py>, dropped: &Dropped) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("file", dropped.path.as_os_str())?;
    dict.set_item("from_byte", dropped.from)?;
    dict.set_item("to_byte", dropped.to)?;
    dict.set_item("first_record", dropped.records.map(|records| records.first))?;
    dict.set_item("last_record", dropped.records.and_then(|records| records.last))?;
    dict.set_item("loss", dropped.loss.name())?;
    dict.set_item("reason", &dropped.reason)?;
    Ok(dict)
}

fn doubt_dict<'py>(py: Python<'py>, doubt: &KeyDoubt) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("key", &doubt.key)?;
    dict.set_item("limit", doubt.limit)?;
    dict.set_item("state", doubt.state)?;
    dict.set_item("totals", doubt.totals)?;
    dict.set_item("used_up", doubt.used_up)?;
    dict.set_item("unverified", doubt.unverified)?;
    Ok(dict)
}

/// Copy the store in the directory `path` to `output`, and read the copy back. Only reads `path`, which may be in use.
///
/// Returns what Limiter.backup() returns. Raises InvalidArgument for an `output` that is not empty or inside `path`, CorruptData for a
/// store that does not open, StorageError where there is none, or not enough room.
#[pyfunction]
fn backup<'py>(py: Python<'py>, path: &Bound<'py, PyAny>, output: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyDict>> {
    let (path, output) = (absolute_path("data_dir", path)?, absolute_path("path", output)?);
    let report = py.detach(|| flint_core::backup::backup(&path, &output)).or_raise(py)?;
    reports::backup(py, &output, &report)
}

/// Call `callback` with each log record of the directory `path` whose sequence number is above `after`, in order.
///
/// A record is a dict with "file", "offset" (bytes), "seq", "type", "at" (RFC 3339) and what the type has. In place of records that
/// compaction has removed comes {"type": "GAP", "from": ..., "to": ...}; it appears only after a record, or after an `after` that is
/// not 0. The callback stops the dump by returning False. `idle` is called without arguments after the newest record; where it
/// returns something true, the dump goes on with the records written since. Returns the newest sequence number seen. Raises
/// CorruptData after the good records of a damaged log.
#[pyfunction]
#[pyo3(signature = (path, after, callback, idle = None))]
fn dump(
    py: Python<'_>,
    path: &Bound<'_, PyAny>,
    after: u64,
    callback: Py<PyAny>,
    idle: Option<&Bound<'_, PyAny>>,
) -> PyResult<u64> {
    let path = absolute_path("data_dir", path)?;
    let mut follower = Follower::open(&path, after).or_raise(py)?;
    loop {
        let mut raised = None;
        let looked = py.detach(|| {
            follower.look(&mut |found| {
                Python::attach(|py| match pass_on(py, &found, &callback) {
                    Ok(go_on) => go_on,
                    Err(error) => {
                        raised = Some(error);
                        false
                    }
                })
            })
        });
        if let Some(error) = raised {
            return Err(error);
        }
        let goes_on = looked.or_raise(py)?;
        match idle {
            Some(idle) if goes_on && idle.call0()?.is_truthy()? => {}
            _ => return Ok(follower.newest()),
        }
    }
}

fn pass_on(py: Python<'_>, found: &Dumped, callback: &Py<PyAny>) -> PyResult<bool> {
    let dict = PyDict::new(py);
    match found {
        Dumped::Record(record) => {
            dict.set_item("file", record.path.as_os_str())?;
            dict.set_item("offset", record.offset)?;
            dict.set_item("seq", record.seq)?;
            let rest = py.import("json")?.call_method1("loads", (&record.json,))?;
            dict.call_method1("update", (rest,))?;
        }
        Dumped::Gap { from, to } => {
            dict.set_item("type", "GAP")?;
            dict.set_item("from", from)?;
            dict.set_item("to", to)?;
        }
    }
    Ok(!callback.bind(py).call1((dict,))?.is(pyo3::types::PyBool::new(py, false)))
}

/// Reject a key that no call would accept, before a directory is opened or made for it. Raises InvalidKey.
#[pyfunction]
fn validate_key(py: Python<'_>, key: Key) -> PyResult<()> {
    limit::Key::new(key.text(py)?).map(drop).or_raise(py)
}

/// The scheme of a URL in lower case, such as "http"; None for a path.
#[pyfunction]
fn url_scheme(text: &str) -> Option<String> {
    convert::url_scheme(text)
}

/// The absolute form of a data directory, as `Limiter.data_dir` has it. Raises InvalidArgument and StorageError.
#[pyfunction(name = "absolute_path")]
fn absolute(path: &Bound<'_, PyAny>) -> PyResult<std::ffi::OsString> {
    absolute_path("data_dir", path).map(PathBuf::into_os_string)
}

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(doctor, m)?)?;
    m.add_function(wrap_pyfunction!(repair, m)?)?;
    m.add_function(wrap_pyfunction!(backup, m)?)?;
    m.add_function(wrap_pyfunction!(dump, m)?)?;
    m.add_function(wrap_pyfunction!(url_scheme, m)?)?;
    m.add_function(wrap_pyfunction!(absolute, m)?)?;
    m.add_function(wrap_pyfunction!(validate_key, m)?)
}
