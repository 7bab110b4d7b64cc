//! Verifying the files of a directory.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::files::{self, FileKind};
use crate::lock_text;
use crate::migrate;
use crate::recovery::scan::Tail;
use crate::recovery::{self, Access};
use crate::storage::disk::DiskDir;
use crate::storage::{Dir, Mode};

/// What doctor found.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Report {
    /// No problem.
    pub ok: bool,
    /// Number of configured keys.
    pub limits: u64,
    /// Number of history events in the files.
    pub history_events: u64,
    /// Size of all log segments (or of the old log), bytes.
    pub aof_bytes: u64,
    /// Whether a snapshot is present.
    pub snapshot_exists: bool,
    /// "current", "0.2", "0.1" or "none".
    pub format: &'static str,
    /// What is wrong, each with the file and offset.
    pub problems: Vec<Problem>,
    /// What is worth knowing but is no problem, such as a torn tail that the next open cuts.
    pub notes: Vec<String>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file or directory.
    pub path: PathBuf,
    /// First byte that cannot be trusted.
    pub offset: u64,
    /// What and what to do.
    pub message: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at byte {}: {}", self.path.display(), self.offset, self.message)
    }
}

/// Verifies a directory without opening it: offline, alongside a live writer, damaged or of an old release. Changes nothing.
///
/// # Errors
/// `Storage` when the directory does not exist or cannot be listed. Damage is reported, not raised.
pub fn examine(path: &Path) -> Result<Report> {
    let dir = DiskDir::open(path, false).map_err(|error| Error::storage("cannot open", path, error))?;
    examine_in(&*dir)
}

/// The same for any directory, such as a simulated one.
///
/// # Errors
/// As [`examine`].
pub fn examine_in(dir: &dyn Dir) -> Result<Report> {
    let mut report = Report::default();
    let outcome = recovery::look(dir, || {
        report = Report { format: "none", ..Report::default() };
        let names = list(dir)?;
        report.snapshot_exists =
            names.iter().any(|name| matches!(files::classify(name), FileKind::Snapshot(_) | FileKind::LegacySnapshot));
        examine_store(dir, &names, &mut report)
    });
    let names = list(dir)?;
    if let Err(error) = outcome {
        report.problems.push(problem(dir.path(), error));
    }
    if let Err(error) = dir.open(files::LOCK, Mode::Read)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        let message = format!("no writer can open the directory, because of its lock file: {error}");
        report.problems.push(Problem { path: dir.path().join(files::LOCK), offset: 0, message });
    }
    if let Some(message) = dir.risk().map_err(|error| Error::storage("cannot examine", dir.path(), error))? {
        report.problems.push(Problem { path: dir.path().to_path_buf(), offset: 0, message });
    }
    for name in &names {
        if is_temporary(files::classify(name)) {
            report.notes.push(format!(
                "{name} is a temporary file: in use by a writer, or left by a crash and removed at the next open"
            ));
        }
    }
    report.ok = report.problems.is_empty();
    Ok(report)
}

const fn is_temporary(kind: FileKind) -> bool {
    matches!(kind, FileKind::LockTmp | FileKind::Spare | FileKind::SnapshotTmp | FileKind::MigratingSegment(_))
}

fn list(dir: &dyn Dir) -> Result<Vec<String>> {
    dir.list().map_err(|error| Error::storage("cannot list", dir.path(), error))
}

fn examine_store(dir: &dyn Dir, names: &[String], report: &mut Report) -> Result<()> {
    let current =
        names.iter().any(|name| matches!(files::classify(name), FileKind::Segment(_) | FileKind::Snapshot(_)));
    report.format = match (current, names.iter().any(|name| files::classify(name) == FileKind::LegacyAof)) {
        (true, _) => "current",
        (false, true) => "0.2",
        (false, false) => "none",
    };
    if current {
        report.aof_bytes = segment_bytes(dir, names)?;
    }
    let current = migrate::view(dir)?;
    if let Some(old) = &current.old {
        report.format = old.release;
        report.limits = old.images.len() as u64;
        report.history_events = old.events.len() as u64;
        report.aof_bytes = old.aof_bytes;
        report.snapshot_exists = old.snapshot_exists;
        if let Some(offset) = old.torn_tail {
            report
                .notes
                .push(format!("{}: the last line, at byte {offset}, is cut off; it is left out", files::LEGACY_AOF));
        }
        return Ok(());
    }
    let dir = current.dir();
    let Some(loaded) = recovery::load(dir, Access::Shared, true)? else {
        return if lock_text::store_id(dir).is_some() { Err(recovery::lost_store(dir)) } else { Ok(()) };
    };
    report.limits = loaded.table.len();
    report.history_events = loaded.history_events;
    report.aof_bytes = loaded.scan.log_bytes;
    if let (Tail::Torn { bytes, doomed }, Some(last)) = (&loaded.scan.tail, loaded.scan.segments.last()) {
        let later = if doomed.is_empty() { String::new() } else { format!(" and {} later segment(s)", doomed.len()) };
        report.notes.push(format!(
            "{}: a torn tail of {bytes} bytes at byte {}{later}: a record that a writer is about to complete, or what a crash \
             left, which the next open cuts",
            last.name, last.end_offset
        ));
    }
    Ok(())
}

fn segment_bytes(dir: &dyn Dir, names: &[String]) -> Result<u64> {
    let mut bytes = 0;
    for name in names.iter().filter(|name| matches!(files::classify(name), FileKind::Segment(_))) {
        match dir.open(name, Mode::Read).and_then(|file| file.len()) {
            Ok(len) => bytes += len,
            // A running writer may remove a segment.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::storage("cannot read", dir.path().join(name), error)),
        }
    }
    Ok(bytes)
}

fn problem(dir: &Path, error: Error) -> Problem {
    match error {
        Error::Corrupt { path, offset, detail } => Problem { path, offset, message: detail },
        Error::Unsupported { path, detail } => Problem { path, offset: 0, message: detail },
        Error::Storage { path, op, source } => Problem { path, offset: 0, message: format!("{op}: {source}") },
        other => Problem { path: dir.to_path_buf(), offset: 0, message: other.to_string() },
    }
}
