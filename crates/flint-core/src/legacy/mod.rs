//! Reading the data directories of releases 0.1 and 0.2: one log of JSON lines (`flint.aof`) and at most one snapshot in JSON
//! (`flint.snapshot`). Nothing here writes; the engine turns the result into the current format.
//!
//! Old wall-clock times become engine times as they are, except that they never go back: an event that an old clock stamped
//! before its predecessor happens at its predecessor's time.

mod entry;
mod event;
mod line;
mod replay;
mod snapshot;
mod stamp;

use std::io;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::files;
use crate::image::{KeyImage, PastEvent};
use crate::storage::partial::{PIECE, append};
use crate::storage::{Dir, File, Mode};

/// Everything that an old data directory holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegacyStore {
    /// Every key as it is after the newest event, with ids from 1 and sequence number 1.
    pub images: Vec<KeyImage>,
    /// The history, oldest first, each of one check. No time is before that of the event before. Old snapshots do not say when
    /// a limit was configured: those events have the time of the one before.
    pub events: Vec<PastEvent>,
    /// The newest time in the files, nanoseconds since the Unix epoch, which is engine time too; 0 when there is none.
    pub newest_ns: u64,
    /// Where the last line of the log starts, if it was cut off and left out.
    pub torn_tail: Option<u64>,
    /// "0.1" or "0.2".
    pub release: &'static str,
    /// Length of the old log.
    pub aof_bytes: u64,
    /// Whether there is an old snapshot.
    pub snapshot_exists: bool,
    /// SHA-256 of the old log.
    pub aof_sha256: [u8; 32],
}

/// Reads the old files of a directory. `None` when there are none, or only the one that a migration leaves behind.
///
/// # Errors
/// `Corrupt` with the file, the byte and, for the log, the line, when anything but the last line of the log cannot be read or
/// does not match its checksum, or when one of the two files is missing; `Unsupported` for a format that no release before 0.3
/// wrote; `Storage` when a file cannot be read.
pub fn read(dir: &dyn Dir) -> Result<Option<LegacyStore>> {
    let log = open(dir, files::LEGACY_AOF)?;
    let snapshot = contents(dir, files::LEGACY_SNAPSHOT)?;
    let log_path = dir.path().join(files::LEGACY_AOF);
    let Some(log) = log else {
        return match snapshot {
            None => Ok(None),
            // Old releases create the log before anything else, so it was lost, and with it what followed the snapshot.
            Some(_) => Err(Error::corrupt(
                log_path,
                0,
                format!("the file is missing, although {} is there", files::LEGACY_SNAPSHOT),
            )),
        };
    };
    let failed = |error| Error::storage("cannot read", &log_path, error);
    if begins_with_tombstone(&*log).map_err(failed)? {
        return Ok(None);
    }
    let aof_bytes = log.len().map_err(failed)?;
    let mut replay = replay::Replay::default();
    let mut is_v0_2 = aof_bytes == 0 && snapshot.is_none();
    let mut replay_from = 0;
    if let Some(bytes) = &snapshot {
        let path = dir.path().join(files::LEGACY_SNAPSHOT);
        let loaded = snapshot::load(bytes, &mut replay).map_err(|problem| problem.at(&path, 0))?;
        replay_from = loaded.aof_offset;
        is_v0_2 |= loaded.is_v0_2;
    }
    let end =
        line::replay(&*log, aof_bytes, replay_from, snapshot.is_some(), &mut replay).map_err(|stop| match stop {
            line::Stop::Unreadable(error) => failed(error),
            line::Stop::Refused(offset, problem) => problem.at(&log_path, offset),
        })?;
    is_v0_2 |= end.is_v0_2;
    let (images, events, newest_ns) = replay.finish();
    Ok(Some(LegacyStore {
        images,
        events,
        newest_ns,
        torn_tail: end.torn_tail,
        release: if is_v0_2 { "0.2" } else { "0.1" },
        aof_bytes,
        snapshot_exists: snapshot.is_some(),
        aof_sha256: end.sha256,
    }))
}

/// Why something was refused; the file and offset are added further out.
#[derive(Debug)]
enum Problem {
    /// The files contradict themselves.
    Corrupt(String),
    /// A format that is not known.
    Unsupported(String),
}

impl Problem {
    fn at(self, path: &std::path::Path, offset: u64) -> Error {
        match self {
            Self::Corrupt(detail) => Error::corrupt(path, offset, detail),
            Self::Unsupported(detail) => Error::Unsupported { path: path.to_path_buf(), detail },
        }
    }

    /// The same, with the place in the file.
    fn within(self, place: impl std::fmt::Display) -> Self {
        match self {
            Self::Corrupt(detail) => Self::Corrupt(format!("{place}: {detail}")),
            Self::Unsupported(detail) => Self::Unsupported(format!("{place}: {detail}")),
        }
    }
}

/// Shorthand for the commonest refusal.
fn corrupt<T>(detail: impl Into<String>) -> Result<T, Problem> {
    Err(Problem::Corrupt(detail.into()))
}

/// A whole text file, or `None` when it does not exist. Zeros, which no text holds, are refused before more is read.
fn contents(dir: &dyn Dir, name: &str) -> Result<Option<Vec<u8>>> {
    let Some(file) = open(dir, name)? else { return Ok(None) };
    let path = || dir.path().join(name);
    let mut found = Vec::new();
    let mut zero = None;
    let read = file.len().and_then(|len| {
        read_pieces(&*file, len, &mut |piece| {
            zero = piece.iter().position(|&byte| byte == 0).map(|at| (found.len() + at) as u64);
            append(&mut found, piece).map(|()| zero.is_none())
        })
    });
    read.map_err(|error| Error::storage("cannot read", path(), error))?;
    match zero {
        None => Ok(Some(found)),
        Some(at) => Err(Error::corrupt(path(), at, "not JSON: it holds zeros")),
    }
}

/// Opens a file; `None` when it does not exist.
fn open(dir: &dyn Dir, name: &str) -> Result<Option<Arc<dyn File>>> {
    match dir.open(name, Mode::Read) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::storage("cannot open", dir.path().join(name), error)),
    }
}

/// Calls `each` with the content in pieces until it returns false.
fn read_pieces(file: &dyn File, len: u64, each: &mut dyn FnMut(&[u8]) -> io::Result<bool>) -> io::Result<()> {
    let mut piece = vec![0; usize::try_from(len).map_or(PIECE, |len| len.min(PIECE))];
    let mut offset = 0;
    while offset < len {
        let piece = &mut piece[..usize::try_from(len - offset).map_or(PIECE, |left| left.min(PIECE))];
        file.read_exact_at(piece, offset)?;
        offset += piece.len() as u64;
        if !each(piece)? {
            break;
        }
    }
    Ok(())
}

/// Whether a log is what a migration left in its place.
pub(crate) fn begins_with_tombstone(file: &dyn File) -> io::Result<bool> {
    let mut start = [0; files::TOMBSTONE.len()];
    let len = usize::try_from(file.len()?).map_or(start.len(), |len| len.min(start.len()));
    file.read_exact_at(&mut start[..len], 0)?;
    Ok(files::is_tombstone(&start[..len]))
}

/// Lower-case hexadecimal digits, as old releases wrote checksums.
fn hex_sha256(parts: &[&[u8]]) -> String {
    use std::fmt::Write;
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
