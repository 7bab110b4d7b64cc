//! Results that are plain dicts.

use std::path::Path;

use flint_core::engine::BackupReport;
use flint_server::wire::counters::{CountersAnswer, DistributionAnswer};
use flint_server::wire::report::ReportAnswer;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

/// What doctor found.
pub(crate) fn report<'py>(py: Python<'py>, report: &ReportAnswer) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("ok", report.ok)?;
    dict.set_item("limits", report.limits)?;
    dict.set_item("history_events", report.history_events)?;
    dict.set_item("aof_bytes", report.aof_bytes)?;
    dict.set_item("snapshot_exists", report.snapshot_exists)?;
    dict.set_item("format", &*report.format)?;
    dict.set_item("problems", &report.problems)?;
    dict.set_item("notes", &report.notes)?;
    Ok(dict)
}

/// The copy at `path`.
pub(crate) fn backup<'py>(py: Python<'py>, path: &Path, report: &BackupReport) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("path", path.as_os_str())?;
    dict.set_item("bytes", report.bytes)?;
    dict.set_item("seq", report.seq)?;
    Ok(dict)
}

/// Totals since opening.
pub(crate) fn counters<'py>(py: Python<'py>, counters: &CountersAnswer) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("keys", counters.keys)?;
    dict.set_item("allowed", counters.allowed)?;
    dict.set_item("denied", counters.denied)?;
    dict.set_item("seq", counters.seq)?;
    dict.set_item("durable_seq", counters.durable_seq)?;
    dict.set_item("log_bytes", counters.log_bytes)?;
    dict.set_item("syncs", counters.syncs)?;
    dict.set_item("rotations", counters.rotations)?;
    dict.set_item("compactions", counters.compactions)?;
    dict.set_item("recovery_ns", counters.recovery_ns)?;
    dict.set_item("sync_ns", distribution(py, &counters.sync_ns)?)?;
    dict.set_item("sync_records", distribution(py, &counters.sync_records)?)?;
    Ok(dict)
}

fn distribution<'py>(py: Python<'py>, distribution: &DistributionAnswer) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("bounds", PyTuple::new(py, &distribution.bounds)?)?;
    dict.set_item("counts", PyTuple::new(py, &distribution.counts)?)?;
    dict.set_item("sum", distribution.sum)?;
    Ok(dict)
}
