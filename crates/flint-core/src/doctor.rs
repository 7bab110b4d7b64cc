//! Looking at a directory without opening it: offline, beside a live writer, broken or of an old release. Changes nothing.

use std::path::Path;

use crate::error::{Error, Result};
use crate::files::{self, FileKind};
use crate::migrate;
use crate::recover::scan::Tail;
use crate::recover::{self, Access};
use crate::storage::Dir;
use crate::store::types::{Problem, Report};

/// Verifies everything in `dir`.
pub(crate) fn examine(dir: &dyn Dir) -> Result<Report> {
    let mut report = Report::default();
    let outcome = recover::look(dir, || {
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
    for name in &names {
        if matches!(files::classify(name), FileKind::Spare | FileKind::SnapshotTmp | FileKind::MigratingSegment(_)) {
            report.notes.push(format!(
                "{name} is a temporary file: in use by a writer, or left by a crash and removed at the next open"
            ));
        }
    }
    report.ok = report.problems.is_empty();
    Ok(report)
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
    if let Some(old) = migrate::unmigrated(dir, names)? {
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
    let finished = migrate::finished(dir, names)?;
    let dir = finished.as_ref().map_or(dir, |finished| finished as &dyn Dir);
    let Some(loaded) = recover::load(dir, Access::Shared, true)? else {
        return if recover::stored_id(dir).is_some() { Err(recover::lost_store(dir)) } else { Ok(()) };
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
        match dir.open(name, crate::storage::Mode::Read).and_then(|file| file.len()) {
            Ok(len) => bytes += len,
            // Beside a writer a segment may vanish.
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
