//! Writing a snapshot beside running checks and dropping what it replaces.
//!
//! The lock is held for a slice of keys at a time. A key may change after its slice was written, or be written after it
//! changed; each line says which record it is current to, so that replaying the log from the snapshot's start gives the
//! same state. Remembered answers never change: those of records up to the start are written, the log has the others.

use crate::error::{Error, Result};
use crate::files;
use crate::hooks::{self, Defect};
use crate::image::KeyImage;
use crate::limit::MAX_KEY_BYTES;
use crate::recovery::list_segments;
use crate::snapshot::{Header, Writer};
use crate::storage::Mode;
use crate::store::core::Core;
use crate::store::shared::Shared;
use crate::store::view::View;
use crate::sync::{MutexGuard, Ordering};
use crate::table::{Captured, Slot};

/// Keys, or answers, per slice: some tens of microseconds under the lock.
const SLICE: u32 = 64;
/// A slice ends when it has copied this many keys, runs and blocks of runs.
const SLICE_WORK: usize = 2048;
/// Bytes per write.
const CHUNK: usize = 256 << 10;
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
    save_denials(shared)?;
    let (header, end_at_start, published) = {
        let mut core = open_core(shared)?;
        let anchor = core.view.time.anchor();
        let header = Header {
            store_id: core.writer.store_id(),
            start: core.writer.seq(),
            engine_ns: anchor.engine_ns,
            wall_ns: anchor.wall_ns,
            migrated: None,
        };
        let published = core.unchanged_since_snapshot().then_some(core.snapshot_start);
        (header, core.writer.end(), published)
    };
    if let Some(start) = published {
        return trim(shared, start);
    }
    let start = header.start;
    let written = write(shared, &header).inspect_err(|_| drop(dir.remove(files::SNAPSHOT_TMP)))?;
    let name = files::snapshot_name(start);
    if hooks::has(Defect::DeleteBeforePublish) {
        trim(shared, start)?;
    }
    dir.rename(files::SNAPSHOT_TMP, &name)
        .and_then(|()| dir.sync())
        .map_err(|error| Error::storage("cannot publish", dir.path().join(&name), error))?;
    let mark = shared.perform(|core| {
        let seq = core.save_snapshot_mark(start, written.end)?;
        core.snapshot_start = start;
        core.snapshot_mark = seq;
        core.replay_from = i64::try_from(end_at_start).unwrap_or(i64::MAX);
        core.compact_above = threshold(written.bytes);
        Ok(seq)
    })?;
    // Only a durable mark makes the older snapshot expendable: without the newest one the log now refuses to open.
    shared.wait_durable(mark)?;
    shared.compactions.fetch_add(1, Ordering::Relaxed);
    trim(shared, start)
}

struct Written {
    end: u64,
    bytes: u64,
}

/// The lock, unless the store was closed meanwhile.
fn open_core(shared: &Shared) -> Result<MutexGuard<'_, Core>> {
    let core = shared.core.lock();
    if core.closed { Err(Error::Closed) } else { Ok(core) }
}

/// Writes the denial totals that the log does not hold yet.
pub(crate) fn save_denials(shared: &Shared) -> Result<()> {
    while shared.perform(|core| if core.dirty.is_empty() { Ok(false) } else { core.save_denials() })? {}
    Ok(())
}

/// Copies the keys of the slots from `from` on, as much as one slice may take. Returns the slot to go on with.
fn capture_slice(view: &mut View, from: Slot, into: &mut Captured) -> Slot {
    let slots = view.table.slots();
    let until = slots.min(from + SLICE);
    let mut next = from;
    let mut work = 0;
    view.counting_work(|view| {
        while next < until && work < SLICE_WORK {
            if view.table.get(next).is_some() {
                work += view.table.capture(next, into);
            }
            next += 1;
        }
        next - from
    });
    next
}

/// Writes the temporary file, complete and synced, once the log is durable through its end.
fn write(shared: &Shared, header: &Header) -> Result<Written> {
    let dir = &*shared.dir;
    let path = || dir.path().join(files::SNAPSHOT_TMP);
    let failed = |op| move |error| Error::storage(op, path(), error);
    if let Err(error) = dir.remove(files::SNAPSHOT_TMP)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(failed("cannot remove")(error));
    }
    let file = dir.open(files::SNAPSHOT_TMP, Mode::CreateNew).map_err(failed("cannot create"))?;
    let mut writer = Writer::new(header);
    let mut image = KeyImage::default();
    let mut bytes = 0_u64;
    let append = |bytes: &mut u64, chunk: &[u8]| -> Result<()> {
        file.write_all_at(chunk, *bytes).map_err(failed("cannot write"))?;
        *bytes += chunk.len() as u64;
        Ok(())
    };
    let mut next = 0;
    let mut captured = Captured::default();
    let slots_stay = open_core(shared)?.view.begin_scan();
    let (end, next_id) = loop {
        captured.clear();
        captured.reserve(SLICE as usize, SLICE as usize * MAX_KEY_BYTES);
        let mut core = open_core(shared)?;
        let slots = core.view.table.slots();
        next = capture_slice(&mut core.view, next, &mut captured);
        let ends = (next == slots).then(|| (core.writer.seq(), core.view.table.next_id()));
        drop(core);
        captured.for_each(&mut image, |image| writer.push(image));
        if let Some(ends) = ends {
            break ends;
        }
        shared.give_way();
        #[cfg(feature = "test-hooks")]
        hooks::between_slices();
        shared.usable()?;
        if writer.pending_bytes() >= CHUNK {
            append(&mut bytes, &writer.take_chunk())?;
        }
    };
    drop(slots_stay);
    let mut place = Some(0);
    while let Some(from) = place.filter(|_| !hooks::has(Defect::ForgetAnswers)) {
        let core = open_core(shared)?;
        let mut covered = true;
        place = core.view.idempotency.slice(from, SLICE as usize, header.engine_ns, &mut |record| {
            covered = record.seq <= header.start;
            if covered {
                writer.push_idempotency(record);
            }
        });
        drop(core);
        shared.usable()?;
        if writer.pending_bytes() >= CHUNK {
            append(&mut bytes, &writer.take_chunk())?;
        }
        if !covered {
            break;
        }
    }
    let chunk = writer.finish(end, next_id);
    append(&mut bytes, &chunk)?;
    if !hooks::has(Defect::SnapshotAheadOfLog) {
        shared.wait_durable(end)?;
    }
    if !hooks::has(Defect::RenameBeforeSync) {
        file.sync_data().map_err(failed("cannot sync"))?;
    }
    Ok(Written { end, bytes })
}

/// Removes older snapshots, and segments that the snapshot covers beyond what is kept as history, oldest first.
fn trim(shared: &Shared, start: u64) -> Result<()> {
    let dir = &*shared.dir;
    let names = dir.list().map_err(|error| Error::storage("cannot list", dir.path(), error))?;
    // Each removal is durable before the next: of two, a power cut may keep the second alone, and that is a gap.
    let remove = |name: &str| -> Result<()> {
        dir.remove(name).map_err(|error| Error::storage("cannot remove", dir.path().join(name), error))?;
        dir.sync().map_err(|error| Error::storage("cannot sync", dir.path(), error))
    };
    for old in names.iter().filter_map(|name| files::parse_snapshot_name(name)).filter(|&old| old < start) {
        remove(&files::snapshot_name(old))?;
    }
    let segments = list_segments(&names);
    // A segment is wholly covered if the next one starts at or below the first record that the snapshot lacks.
    let covered = segments.windows(2).filter(|pair| pair[1] <= start + 1).count();
    let mut kept_bytes = 0_u64;
    let mut keep_from = covered;
    while keep_from > 0 {
        let name = files::segment_name(segments[keep_from - 1]);
        let file = dir.open(&name, Mode::Read);
        let len = file
            .and_then(|file| file.len())
            .map_err(|error| Error::storage("cannot open", dir.path().join(&name), error))?;
        kept_bytes = kept_bytes.saturating_add(len);
        if kept_bytes > shared.options.history_bytes {
            break;
        }
        keep_from -= 1;
    }
    for &first_seq in &segments[..keep_from] {
        remove(&files::segment_name(first_seq))?;
    }
    Ok(())
}
