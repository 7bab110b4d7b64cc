//! `flint.Recovery`: what opening a directory found and did.

use std::ffi::OsString;

use flint_core::engine::Recovery as CoreRecovery;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::record::{Record, names};

const FIELDS: [&str; 9] =
    ["created", "clean", "snapshot_seq", "records", "segments", "cut_bytes", "cut_file", "cut_offset", "migrated_from"];

/// What opening the directory found and did.
#[pyclass(module = "flint", name = "Recovery", extends = Record, frozen, get_all)]
pub(crate) struct Recovery {
    /// Whether the directory was new.
    created: bool,
    /// Whether the last session ended with close().
    clean: bool,
    /// Sequence number at which the snapshot starts, 0 without one.
    snapshot_seq: u64,
    /// Records replayed from the log.
    records: u64,
    /// Segments read.
    segments: u64,
    /// Bytes cut from a torn tail.
    cut_bytes: u64,
    /// The file that was cut, or None.
    cut_file: Option<OsString>,
    /// The offset at which it was cut, bytes, or None.
    cut_offset: Option<u64>,
    /// The release whose files were migrated ("0.1", "0.2"), or None.
    migrated_from: Option<String>,
}

impl Recovery {
    /// The Python object for `recovery`.
    pub(crate) fn wrap<'py>(py: Python<'py>, recovery: &CoreRecovery) -> PyResult<Bound<'py, Self>> {
        let this = Self {
            created: recovery.created,
            clean: recovery.clean,
            snapshot_seq: recovery.snapshot_seq,
            records: recovery.records,
            segments: recovery.segments,
            cut_bytes: recovery.cut_bytes,
            cut_file: recovery.cut_at.as_ref().map(|(path, _)| path.as_os_str().to_owned()),
            cut_offset: recovery.cut_at.as_ref().map(|(_, offset)| *offset),
            migrated_from: recovery.migrated_from.map(str::to_owned),
        };
        Bound::new(py, PyClassInitializer::from(Record).add_subclass(this))
    }
}

#[pymethods]
impl Recovery {
    #[new]
    #[expect(clippy::too_many_arguments, reason = "one per field")]
    fn new(
        created: bool,
        clean: bool,
        snapshot_seq: u64,
        records: u64,
        segments: u64,
        cut_bytes: u64,
        cut_file: Option<OsString>,
        cut_offset: Option<u64>,
        migrated_from: Option<String>,
    ) -> PyClassInitializer<Self> {
        PyClassInitializer::from(Record).add_subclass(Self {
            created,
            clean,
            snapshot_seq,
            records,
            segments,
            cut_bytes,
            cut_file,
            cut_offset,
            migrated_from,
        })
    }

    #[classattr]
    fn _fields(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
        names(py, &FIELDS)
    }

    #[classattr]
    fn _state(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
        names(py, &FIELDS)
    }
}

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Recovery>()
}
