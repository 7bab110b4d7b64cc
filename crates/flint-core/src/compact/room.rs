//! Room for a compaction on a disk that is nearly full.
//!
//! What may be given up comes first: history, the spare segment, and at last the segment that is reserved for this. What they do
//! not make up for is missed before anything is written.

use crate::error::{Error, Result};
use crate::files;
use crate::store::shared::Shared;
use crate::sync::MutexGuard;
use crate::writer::SMALLEST_SPARE;

use super::trim::{beyond_history, remove};
use super::write::{begin, open_core, write};

/// Below this much more than a compaction could need at all, nothing is measured.
const AMPLE: u64 = 16 << 20;
/// A record makes the snapshot longer by at most this many times its own length.
const GROWTH: u64 = 8;
/// For names, the file system's own blocks, and what calls add while the snapshot is written.
const MARGIN: u64 = 128 << 10;

/// What a compaction found.
pub(super) enum Room<'a> {
    /// More than it could need.
    Ample,
    /// Just enough. No call makes a segment of it before this is dropped.
    Tight { _no_spares: MutexGuard<'a, ()> },
}

impl Room<'_> {
    pub(super) const fn is_tight(&self) -> bool {
        matches!(self, Self::Tight { .. })
    }
}

/// Makes room for a snapshot, and where the log is full for a segment behind it.
pub(super) fn make(shared: &Shared) -> Result<Room<'_>> {
    let free_bytes = || {
        let free = shared.dir.free_bytes();
        free.map_err(|error| Error::storage("cannot ask for the free space of", shared.path(), error))
    };
    let (bound, full, snapshot_start) = {
        let core = open_core(shared)?;
        let bound = core.compact_above.saturating_add(core.replay_bytes().saturating_mul(GROWTH));
        (bound, core.is_full(), core.snapshot_start)
    };
    if free_bytes()? >= bound.saturating_add(AMPLE) {
        return Ok(Room::Ample);
    }
    let no_spares = shared.no_spares();
    let small = SMALLEST_SPARE.min(shared.options.segment_bytes);
    let needed = write(shared, &begin(shared)?.0, None)?.bytes + MARGIN + if full { small } else { 0 };
    let dir = &*shared.dir;
    let names = dir.list().map_err(|error| Error::storage("cannot list", dir.path(), error))?;
    let history = beyond_history(dir, &names, snapshot_start, 0)?;
    let (spare, reserve) = open_core(shared)?.writer.prepared_bytes();
    let free = free_bytes()?;
    let all = history.iter().map(|(_, len)| len).sum::<u64>() + spare + reserve + free;
    if all < needed {
        let path = shared.path().join(files::SNAPSHOT_TMP);
        return Err(Error::NoRoom { path, needed_bytes: needed, free_bytes: all });
    }
    for (name, _) in &history {
        if free_bytes()? >= needed {
            break;
        }
        remove(dir, name)?;
    }
    if free_bytes()? < needed {
        shared.give_up_spare()?;
    }
    if free_bytes()? < needed {
        shared.give_up_reserve()?;
    }
    if full {
        shared.continue_in_new_segment(small)?;
    }
    Ok(Room::Tight { _no_spares: no_spares })
}
