//! Writing a snapshot beside running checks and dropping what it replaces.
//!
//! The lock is held for a slice of keys at a time. A key may change after its slice was written, or be written after it
//! changed; each line says which record it is current to, so that replaying the log from the snapshot's start gives the
//! same state. Remembered answers never change: those of records up to the start are written, the log has the others.

mod room;
mod trim;
mod write;

use crate::error::{Error, Result};
use crate::files;
use crate::hooks::{self, Defect};
use crate::options::WaitPolicy;
use crate::store::core::Core;
use crate::store::shared::Shared;
use crate::sync::Ordering;

use trim::trim;
use write::{begin, create_tmp, open_core, write};

/// Compaction starts by itself when a replay would read this much, or twice the snapshot.
pub(crate) const MIN_LOG_BYTES: u64 = 4 << 20;

/// When the next compaction is due, in bytes that a replay would read.
pub(crate) fn threshold(snapshot_bytes: u64) -> u64 {
    MIN_LOG_BYTES.max(snapshot_bytes.saturating_mul(2))
}

/// Writes a snapshot, unless nothing happened since the newest one, then removes what is no longer needed.
pub(crate) fn compact(shared: &Shared) -> Result<()> {
    // First of all, because in a forked child no thread will ever release the lock if the parent was compacting.
    shared.usable()?;
    let _one_at_a_time = shared.compacting.lock();
    let dir = &*shared.dir;
    shared.usable()?;
    shared.renew_lock();
    match save_denials(shared) {
        // The snapshot has the totals as well.
        Err(error) if error.is_out_of_space() => {}
        other => other?,
    }
    let published = {
        let core = open_core(shared)?;
        (core.unchanged_since_snapshot() && !core.is_full()).then_some(core.snapshot_start)
    };
    if let Some(start) = published {
        return trim(shared, start, shared.options.history_bytes);
    }
    let room = room::make(shared)?;
    let history_bytes = if room.is_tight() { 0 } else { shared.options.history_bytes };
    let (header, end_at_start) = begin(shared)?;
    let start = header.start;
    let written = create_tmp(shared).and_then(|file| write(shared, &header, Some(&*file)));
    let written = written.inspect_err(|_| drop(dir.remove(files::SNAPSHOT_TMP)))?;
    let name = files::snapshot_name(start);
    if hooks::has(Defect::DeleteBeforePublish) {
        trim(shared, start, history_bytes)?;
    }
    dir.rename(files::SNAPSHOT_TMP, &name)
        .and_then(|()| dir.sync())
        .map_err(|error| Error::storage("cannot publish", dir.path().join(&name), error))
        .inspect_err(|error| withdraw(shared, start, error))?;
    let mark = |core: &mut Core| {
        let seq = core.save_snapshot_mark(start, written.end)?;
        core.snapshot_start = start;
        core.snapshot_mark = seq;
        core.replay_from = i64::try_from(end_at_start).unwrap_or(i64::MAX);
        core.compact_above = threshold(written.bytes);
        Ok(seq)
    };
    let marked = if room.is_tight() {
        // Its room is kept: it waits for no segment, which could not be made now.
        let full = || Error::NoRoom {
            path: dir.path().join(&name),
            needed_bytes: shared.options.segment_bytes,
            free_bytes: 0,
        };
        shared.try_perform(WaitPolicy::Lock, mark).and_then(|marked| marked.ok_or_else(full))
    } else {
        shared.perform(mark)
    };
    // Without its mark the log does not know it.
    let mark = marked.inspect_err(|error| withdraw(shared, start, error))?;
    // Only a durable mark makes the older snapshot expendable: without the newest one the log now refuses to open.
    shared.wait_durable(mark)?;
    shared.compactions.fetch_add(1, Ordering::Relaxed);
    trim(shared, start, history_bytes)
}

/// Removes the snapshot that found no room for all that belongs to it, unless the log rests on it.
fn withdraw(shared: &Shared, start: u64, error: &Error) {
    if error.is_out_of_resources() && shared.core.lock().snapshot_start < start {
        let _ = shared.dir.remove(files::SNAPSHOT_TMP);
        let _ = shared.dir.remove(&files::snapshot_name(start)).and_then(|()| shared.dir.sync());
    }
}

/// Writes the denial totals that the log does not hold yet.
pub(crate) fn save_denials(shared: &Shared) -> Result<()> {
    while shared.perform(|core| if core.dirty.is_empty() { Ok(false) } else { core.save_denials() })? {}
    Ok(())
}
