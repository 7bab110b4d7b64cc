//! Removing what a snapshot replaces.

use crate::error::{Error, Result};
use crate::files;
use crate::recovery::list_segments;
use crate::storage::{Dir, Mode};
use crate::store::shared::Shared;

/// Removes older snapshots, and segments that the snapshot covers beyond what is kept as history, oldest first.
pub(super) fn trim(shared: &Shared, start: u64, history_bytes: u64) -> Result<()> {
    let dir = &*shared.dir;
    let names = dir.list().map_err(|error| Error::storage("cannot list", dir.path(), error))?;
    for old in names.iter().filter_map(|name| files::parse_snapshot_name(name)).filter(|&old| old < start) {
        remove(dir, &files::snapshot_name(old))?;
    }
    for (name, _) in beyond_history(dir, &names, start, history_bytes)? {
        remove(dir, &name)?;
    }
    Ok(())
}

/// Removes a file. Each removal is durable before the next: of two, a power cut may keep the second alone, and that is a gap.
pub(super) fn remove(dir: &dyn Dir, name: &str) -> Result<()> {
    dir.remove(name).map_err(|error| Error::storage("cannot remove", dir.path().join(name), error))?;
    dir.sync().map_err(|error| Error::storage("cannot sync", dir.path(), error))
}

/// The segments, with their lengths, that a snapshot from `start` on covers and that are not among the newest `history_bytes` of
/// those; oldest first.
pub(super) fn beyond_history(
    dir: &dyn Dir,
    names: &[String],
    start: u64,
    history_bytes: u64,
) -> Result<Vec<(String, u64)>> {
    let segments = list_segments(names);
    // A segment is wholly covered if the next one starts at or below the first record that the snapshot lacks.
    let covered = segments.windows(2).filter(|pair| pair[1] <= start + 1).count();
    let mut newest_bytes = 0_u64;
    let mut beyond = Vec::new();
    for &first_seq in segments[..covered].iter().rev() {
        let name = files::segment_name(first_seq);
        let file = dir.open(&name, Mode::Read);
        let len = file
            .and_then(|file| file.len())
            .map_err(|error| Error::storage("cannot open", dir.path().join(&name), error))?;
        newest_bytes = newest_bytes.saturating_add(len);
        if newest_bytes > history_bytes {
            beyond.push((name, len));
        }
    }
    beyond.reverse();
    Ok(beyond)
}
