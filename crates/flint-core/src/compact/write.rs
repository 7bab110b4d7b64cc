//! Writing a snapshot, or measuring one, slice by slice.

use crate::error::{Error, Result};
use crate::files;
use crate::hooks::{self, Defect};
use crate::image::KeyImage;
use crate::limit::MAX_KEY_BYTES;
use crate::snapshot::{Header, Writer};
use crate::storage::{File, Mode};
use crate::store::core::Core;
use crate::store::shared::Shared;
use crate::store::view::View;
use crate::sync::{Arc, MutexGuard};
use crate::table::{Captured, Slot};

/// Keys, or answers, per slice: some tens of microseconds under the lock.
const SLICE: u32 = 64;
/// A slice ends when it has copied this many keys, runs and blocks of runs.
const SLICE_WORK: usize = 2048;
/// Bytes per write.
const CHUNK: usize = 256 << 10;

/// The lock, unless the store was closed meanwhile.
pub(super) fn open_core(shared: &Shared) -> Result<MutexGuard<'_, Core>> {
    let core = shared.core.lock();
    if core.closed { Err(Error::Closed) } else { Ok(core) }
}

/// The head of a snapshot that starts now, and where the log ends.
pub(super) fn begin(shared: &Shared) -> Result<(Header, u64)> {
    let mut core = open_core(shared)?;
    let anchor = core.view.time.logged_anchor();
    let header = Header {
        store_id: core.writer.store_id(),
        start: core.writer.seq(),
        engine_ns: anchor.engine_ns,
        wall_ns: anchor.wall_ns,
        migrated: None,
    };
    Ok((header, core.writer.end()))
}

pub(super) struct Written {
    pub(super) end: u64,
    pub(super) bytes: u64,
}

/// Makes the temporary file, empty.
pub(super) fn create_tmp(shared: &Shared) -> Result<Arc<dyn File>> {
    let dir = &*shared.dir;
    let failed = |op| move |error| Error::storage(op, dir.path().join(files::SNAPSHOT_TMP), error);
    if let Err(error) = dir.remove(files::SNAPSHOT_TMP)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(failed("cannot remove")(error));
    }
    dir.open(files::SNAPSHOT_TMP, Mode::CreateNew).map_err(failed("cannot create"))
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

/// Writes a snapshot, complete and synced once the log is durable through its end. Without a file it only measures.
pub(super) fn write(shared: &Shared, header: &Header, file: Option<&dyn File>) -> Result<Written> {
    let path = || shared.path().join(files::SNAPSHOT_TMP);
    let failed = |op| move |error| Error::storage(op, path(), error);
    let mut writer = Writer::new(header);
    let mut image = KeyImage::default();
    let mut bytes = 0_u64;
    let append = |bytes: &mut u64, chunk: &[u8]| -> Result<()> {
        if let Some(file) = file {
            file.write_all_at(chunk, *bytes).map_err(failed("cannot write"))?;
        }
        *bytes += chunk.len() as u64;
        Ok(())
    };
    // Keys, slice by slice. Calls go on in between, so a key is as it was at some time between start and end: replay applies to it
    // only the records behind its own sequence number.
    let mut next = 0;
    let mut captured = Captured::default();
    // While this guard lives, no key changes its slot: the scan misses none that exists throughout.
    let slots_stay = open_core(shared)?.view.begin_scan();
    let (end, next_id) = loop {
        captured.clear();
        captured.reserve(SLICE as usize, SLICE as usize * MAX_KEY_BYTES);
        let mut core = open_core(shared)?;
        let slots = core.view.table.slots();
        next = capture_slice(&mut core.view, next, &mut captured);
        // Under the same hold of the lock as the last slice: the snapshot holds nothing newer than its end.
        let ends = (next == slots).then(|| (core.writer.seq(), core.view.table.next_id()));
        drop(core);
        // Text is made without the lock.
        captured.for_each(&mut image, |image| writer.push(image));
        if let Some(ends) = ends {
            break ends;
        }
        shared.give_way();
        #[cfg(feature = "test-hooks")]
        hooks::between_slices();
        // An engine that stopped or was closed abandons the snapshot.
        shared.usable()?;
        if writer.pending_bytes() >= CHUNK {
            append(&mut bytes, &writer.take_chunk())?;
        }
    };
    drop(slots_stay);
    // Then the answers, oldest first, up to the start: replay restores the later ones from the log.
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
    let Some(file) = file else { return Ok(Written { end, bytes }) };
    // The log before the snapshot: a key may hold the effect of a record that is not on disk yet.
    if !hooks::has(Defect::SnapshotAheadOfLog) {
        shared.wait_durable(end)?;
    }
    // The content before the name, which the caller changes.
    if !hooks::has(Defect::RenameBeforeSync) {
        file.sync_data().map_err(failed("cannot sync"))?;
    }
    Ok(Written { end, bytes })
}
