//! Finding and opening the files of a store.

use std::hash::{BuildHasher, Hash as _, Hasher};
use std::io;

use crate::error::{Error, Result};
use crate::files::{self, FileKind};
use crate::log::segment::MAX_SEGMENT_LEN;
use crate::snapshot;
use crate::storage::{Dir, File, Mode};
use crate::sync::Arc;

/// Whether files may change while they are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// The caller holds the lock: what is read stays.
    Exclusive,
    /// A writer may be at work: see [`look`].
    Shared,
}

/// Bytes per read.
const PIECE_BYTES: usize = 256 << 10;

/// The newest snapshot.
pub(crate) struct SnapshotFile {
    pub(crate) name: String,
    pub(crate) start: u64,
    /// Known once it was read.
    pub(crate) end: u64,
    pub(crate) header: Option<snapshot::Header>,
    pub(crate) bytes: u64,
    pub(crate) file: Arc<dyn File>,
}

/// A segment that was opened but not read.
pub(crate) struct SegmentFile {
    pub(crate) name: String,
    pub(crate) first_seq: u64,
    pub(crate) file: Arc<dyn File>,
}

/// What a directory holds.
pub(crate) struct Found {
    pub(crate) snapshot: Option<SnapshotFile>,
    /// Oldest first.
    pub(crate) segments: Vec<SegmentFile>,
}

/// First sequence numbers of all segments, oldest first.
pub(crate) fn list_segments(names: &[String]) -> Vec<u64> {
    let mut segments: Vec<u64> = names.iter().filter_map(|name| files::parse_segment_name(name)).collect();
    segments.sort_unstable();
    segments
}

/// Lists a directory, naming it in the error.
pub(crate) fn list(dir: &dyn Dir) -> Result<Vec<String>> {
    dir.list().map_err(|error| Error::storage("cannot list", dir.path(), error))
}

/// Opens a file, naming it in the error.
pub(crate) fn open_with_path(dir: &dyn Dir, name: &str, mode: Mode) -> Result<Arc<dyn File>> {
    dir.open(name, mode).map_err(|error| Error::storage("cannot open", dir.path().join(name), error))
}

impl Found {
    /// Opens everything that makes up the store; `None` if there is nothing. In shared access the directory is listed again
    /// afterwards: everything opened stays readable even if it is unlinked, so that one unchanged listing makes a consistent
    /// view.
    pub(crate) fn open(dir: &dyn Dir, access: Access) -> Result<Option<Self>> {
        let names = list(dir)?;
        let newest = names.iter().filter_map(|name| files::parse_snapshot_name(name)).max();
        let first_seqs = list_segments(&names);
        if newest.is_none() && first_seqs.is_empty() {
            return Ok(None);
        }
        let snapshot = match newest {
            None => None,
            Some(start) => {
                let name = files::snapshot_name(start);
                let file = open_with_path(dir, &name, Mode::Read)?;
                let bytes = file.len().map_err(|error| Error::storage("cannot read", dir.path().join(&name), error))?;
                Some(SnapshotFile { name, start, end: start, header: None, bytes, file })
            }
        };
        let mut segments = Vec::with_capacity(first_seqs.len());
        for &first_seq in &first_seqs {
            let name = files::segment_name(first_seq);
            let file = open_with_path(dir, &name, Mode::Read)?;
            segments.push(SegmentFile { name, first_seq, file });
        }
        if access == Access::Shared {
            let again = list(dir)?;
            let newest_again = again.iter().filter_map(|name| files::parse_snapshot_name(name)).max();
            if list_segments(&again).last() != first_seqs.last() || newest_again != newest {
                let changed = io::Error::new(io::ErrorKind::Interrupted, "a writer kept changing the directory");
                return Err(Error::storage("cannot read", dir.path(), changed));
            }
        }
        Ok(Some(Self { snapshot, segments }))
    }
}

/// A number that changes when any file of the store does: names and lengths, and the contents of segments, because storing into a
/// mapping leaves no other trace. What cannot be read counts with its error.
pub(super) fn imprint(dir: &dyn Dir, hash: &impl BuildHasher) -> u64 {
    let mut hasher = hash.build_hasher();
    let mut names = dir.list().unwrap_or_default();
    names.retain(|name| !matches!(files::classify(name), FileKind::Lock | FileKind::Foreign));
    names.sort_unstable();
    for name in &names {
        name.hash(&mut hasher);
        let is_segment = matches!(files::classify(name), FileKind::Segment(_) | FileKind::MigratingSegment(_));
        let hashed = dir.open(name, Mode::Read).and_then(|file| match file.len()? {
            // Everything else only grows or is replaced; and what is no segment for its length is not read at all.
            len if !is_segment || len > MAX_SEGMENT_LEN => Ok(len),
            len => hash_content(&*file, len, &mut hasher),
        });
        match hashed {
            Ok(len) => hasher.write_u64(len),
            Err(error) => (error.kind(), error.raw_os_error()).hash(&mut hasher),
        }
    }
    hasher.finish()
}

fn hash_content(file: &dyn File, len: u64, hasher: &mut impl Hasher) -> io::Result<u64> {
    let mut piece = vec![0; usize::try_from(len).map_or(PIECE_BYTES, |len| len.min(PIECE_BYTES))];
    let mut offset = 0;
    while offset < len {
        let more = usize::try_from(len - offset).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES));
        file.read_exact_at(&mut piece[..more], offset)?;
        hasher.write(&piece[..more]);
        offset += more as u64;
    }
    Ok(len)
}

/// The error for a directory in which a store was made and of which nothing is left: never an empty start.
pub(crate) fn lost_store(dir: &dyn Dir) -> Error {
    Error::corrupt(
        dir.path(),
        0,
        format!(
            "{} says that a store was made here, and all its files are missing; to start empty, remove {0} too",
            files::LOCK
        ),
    )
}
