//! What can still be read: records by their own checksums, snapshots whole or line by line.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::files;
use crate::lock_text;
use crate::log::reader;
use crate::log::segment::MAX_SEGMENT_LEN;
use crate::recovery::open_with_path;
use crate::snapshot::{self, read_remains};
use crate::storage::partial::{Partial, read_around_errors};
use crate::storage::{Dir, Mode};

/// What is left of a segment file.
pub(super) struct Segment<'a> {
    pub(super) name: &'a str,
    pub(super) left: reader::Remains<'a>,
}

/// What is left of a snapshot file.
pub(super) struct Snapshot {
    pub(super) name: String,
    pub(super) start: u64,
    pub(super) foreign: bool,
    pub(super) left: snapshot::Remains,
}

/// Everything that is left of a store.
pub(super) struct Sources<'a> {
    /// In order of their first record.
    pub(super) segments: Vec<Segment<'a>>,
    /// In order of their start.
    pub(super) snapshots: Vec<Snapshot>,
}

pub(super) fn irreparable(dir: &dyn Dir, why: &str) -> Error {
    Error::Unsupported { path: dir.path().to_path_buf(), detail: format!("it cannot be repaired{why}") }
}

/// Reads a segment as far as the disk returns it.
pub(super) fn read_segment(dir: &dyn Dir, name: &str) -> Result<Partial> {
    read_around_errors(&*open_with_path(dir, name, Mode::Read)?, &dir.path().join(name), MAX_SEGMENT_LEN)
}

fn read_snapshot(dir: &dyn Dir, name: &str, start: u64) -> Result<Snapshot> {
    let left = read_remains(&*open_with_path(dir, name, Mode::Read)?, &dir.path().join(name))?;
    let start = left.header.as_ref().filter(|_| left.damage.is_none()).map_or(start, |header| header.start);
    Ok(Snapshot { name: name.to_owned(), start, foreign: false, left })
}

impl<'a> Sources<'a> {
    /// Takes apart the segments `contents` and reads the snapshots among `names`.
    pub(super) fn read(dir: &dyn Dir, names: &[String], contents: &'a [(String, Partial)]) -> Result<Self> {
        let numbered = names.iter().filter_map(|name| Some((name, files::parse_snapshot_name(name)?)));
        let snapshots = numbered.map(|(name, start)| read_snapshot(dir, name, start));
        let mut snapshots = snapshots.collect::<Result<Vec<_>>>()?;
        snapshots.sort_by_key(|snapshot| snapshot.start);
        let newer = |name: &str, what: String| Error::Unsupported {
            path: dir.path().join(name),
            detail: format!("{what}, which only a newer Flint can repair: use that version; nothing was touched"),
        };
        let mut segments = Vec::with_capacity(contents.len());
        for (name, Partial { bytes, unreadable }) in contents {
            let named = files::parse_segment_name(name).unwrap_or(0);
            let left = reader::Remains::open(named, bytes, unreadable).map_err(|what| newer(name, what))?;
            segments.push(Segment { name, left });
        }
        segments.sort_by(|a, b| (a.left.first_seq, a.name).cmp(&(b.left.first_seq, b.name)));
        let store_id = choose_store(dir, &segments, &snapshots)?;
        for segment in &mut segments {
            segment.left.search(store_id).map_err(|what| newer(segment.name, what))?;
        }
        for snapshot in &mut snapshots {
            snapshot.foreign = snapshot.left.header.as_ref().is_some_and(|header| header.store_id != store_id);
        }
        Ok(Self { segments, snapshots })
    }
}

/// The store of which most bytes are left, if files of several are mixed; the lock file decides where no header is intact.
fn choose_store(dir: &dyn Dir, segments: &[Segment<'_>], snapshots: &[Snapshot]) -> Result<u64> {
    let of_segment =
        |segment: &Segment<'_>| Some((segment.left.header.as_ref().ok()?.store_id, segment.left.file_len()));
    let of_snapshot = |snapshot: &Snapshot| Some((snapshot.left.header.as_ref()?.store_id, snapshot.left.len));
    let headers = segments.iter().filter_map(of_segment).chain(snapshots.iter().filter_map(of_snapshot));
    let mut bytes: BTreeMap<u64, usize> = BTreeMap::new();
    for (id, len) in headers.chain(lock_text::store_id(dir).map(|id| (id, 1))) {
        *bytes.entry(id).or_default() += len;
    }
    let most = bytes.into_iter().max_by_key(|&(_, bytes)| bytes).map(|(id, _)| id);
    most.ok_or_else(|| irreparable(dir, ": no header, snapshot or lock file says which store its records are of"))
}
