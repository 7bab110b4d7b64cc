//! `flint.Recovery`: what opening a directory found and did.

use std::ffi::OsString;

use flint_core::engine::Recovery as CoreRecovery;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::declare::result_class;
use super::record::{Record, names};

result_class! {
    /// What opening the directory found and did.
    #[pyclass(module = "flint", name = "Recovery", extends = Record, frozen)]
    pub(crate) struct Recovery {
        created: bool,
        clean: bool,
        snapshot_seq: u64,
        records: u64,
        segments: u64,
        cut_bytes: u64,
        cut_file: Option<OsString>,
        cut_offset: Option<u64>,
        migrated_from: Option<String>,
    }

    |this, py|

    #[expect(clippy::too_many_arguments, reason = "one per field")]
    #[pyo3(signature = (created, clean, snapshot_seq, records, segments, cut_bytes, cut_file, cut_offset, migrated_from))]
    new(
        created: bool,
        clean: bool,
        snapshot_seq: u64,
        records: u64,
        segments: u64,
        cut_bytes: u64,
        cut_file: Option<OsString>,
        cut_offset: Option<u64>,
        migrated_from: Option<String>,
    ) {
        Self { created, clean, snapshot_seq, records, segments, cut_bytes, cut_file, cut_offset, migrated_from }
    }

    fields {
        shown {
            /// Whether the directory was new.
            created: bool => this.created
        }
        shown {
            /// Whether the last session ended with close().
            clean: bool => this.clean
        }
        shown {
            /// Sequence number at which the snapshot starts, 0 without one.
            snapshot_seq: u64 => this.snapshot_seq
        }
        shown {
            /// Records replayed from the log.
            records: u64 => this.records
        }
        shown {
            /// Segments read.
            segments: u64 => this.segments
        }
        shown {
            /// Bytes cut from a torn tail.
            cut_bytes: u64 => this.cut_bytes
        }
        shown {
            /// The file that was cut, or None.
            cut_file: Option<OsString> => this.cut_file.clone()
        }
        shown {
            /// The offset at which it was cut, bytes, or None.
            cut_offset: Option<u64> => this.cut_offset
        }
        shown {
            /// The release whose files were migrated ("0.1", "0.2"), or None.
            migrated_from: Option<String> => this.migrated_from.clone()
        }
    }
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
        this.into_object(py)
    }
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Recovery>()
}
