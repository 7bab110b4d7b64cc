//! Writing a whole store at once, from images and past events: what a migration and a repaired copy are made of.
//!
//! Past events become Event records in segments named `….aof.migrating`; state becomes a snapshot that covers them. The
//! caller decides when the segments get their names; the snapshot's rename is the commit point of both. A copy, repaired or not, is
//! written into a directory with a temporary name.

use std::path::Path;

use crate::error::{Error, Result};
use crate::files::{self, FileKind};
use crate::idempotency::{IdempotencyRecord, IdempotencyWindow};
use crate::image::{KeyImage, PastEvent};
use crate::lock_text;
use crate::log::frame::{self, Head, Kind};
use crate::log::record::{EventOp, push_anchor, push_event, push_snapshot_mark};
use crate::log::segment::{self, BLOCK_LEN, SegmentHeader};
use crate::snapshot::{Header, Migrated, Writer};
use crate::storage::disk::{NewDir, Staged, reject_unsupported_fs};
use crate::storage::{Dir, Mode};

/// The error for an operation on the file `name`.
pub(crate) fn storage_error<'a>(
    dir: &'a dyn Dir,
    op: &'static str,
    name: &'a str,
) -> impl FnOnce(std::io::Error) -> Error + 'a {
    move |error| Error::storage(op, dir.path().join(name), error)
}

pub(crate) fn sync_dir(dir: &dyn Dir) -> Result<()> {
    dir.sync().map_err(|error| Error::storage("cannot sync", dir.path(), error))
}

pub(crate) fn remove_if_there(dir: &dyn Dir, name: &str) -> Result<()> {
    match dir.remove(name) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(storage_error(dir, "cannot remove", name)(error))
        }
        _ => Ok(()),
    }
}

/// A store to be written.
pub(crate) struct NewStore {
    pub(crate) store_id: u64,
    /// Bytes of a segment; one that has to hold a larger record becomes as long as it needs.
    pub(crate) segment_bytes: usize,
    /// Oldest first.
    pub(crate) events: Vec<PastEvent>,
    /// Bound on the events that are kept, the newest.
    pub(crate) history_bytes: u64,
    pub(crate) images: Vec<KeyImage>,
    /// Remembered answers. In the store they are of its newest record, which is durable.
    pub(crate) idempotency: IdempotencyWindow,
    pub(crate) next_id: u64,
    /// The newest engine time, and the wall time then.
    pub(crate) engine_ns: u64,
    pub(crate) wall_ns: u64,
    pub(crate) migrated: Option<Migrated>,
    /// Whether the log itself says that the snapshot exists, so that segments without it are refused.
    pub(crate) marked: bool,
}

/// The segments, built in memory and written whole.
struct SegmentBuilder<'a> {
    dir: &'a dyn Dir,
    store_id: u64,
    segment_bytes: usize,
    first_seq: u64,
    seq: u64,
    crc: u32,
    header_crc: u32,
    records: Vec<u8>,
    buf: Vec<u8>,
}

impl SegmentBuilder<'_> {
    fn push(&mut self, kind: Kind, now_ns: u64, fill: impl Fn(&mut Vec<u8>)) -> Result<()> {
        let room = self.segment_bytes - segment::HEADER_LEN - segment::SEAL_LEN;
        frame::begin(&mut self.buf, now_ns);
        fill(&mut self.buf);
        // The frame is finished below; here only its length counts. A tenth stays free for the first session's records.
        if !self.records.is_empty() && self.records.len() + self.buf.len() + 8 > room - room / 10 {
            self.flush()?;
        }
        let seed = frame::seed(self.store_id, self.first_seq);
        let head = Head { seq: self.seq + 1, prev_crc: self.crc, durable_seq: 0, kind, flags: 0 };
        self.crc = frame::finish(&mut self.buf, seed, &head);
        self.seq += 1;
        self.records.extend_from_slice(&self.buf);
        Ok(())
    }

    /// Writes the segment and starts the next.
    fn flush(&mut self) -> Result<()> {
        let name = files::migrating_name(self.first_seq);
        let block = usize::try_from(BLOCK_LEN).unwrap_or(self.segment_bytes);
        let needed = (segment::HEADER_LEN + self.records.len() + segment::SEAL_LEN).next_multiple_of(block);
        let len = self.segment_bytes.max(needed);
        let header = SegmentHeader {
            version: files::SEGMENT_VERSION,
            prev_crc: self.header_crc,
            features: files::SEGMENT_FEATURES,
            store_id: self.store_id,
            first_seq: self.first_seq,
            segment_len: len as u64,
        };
        let mut bytes = header.encode().to_vec();
        bytes.append(&mut self.records);
        bytes.resize(len, 0);
        let file = self.dir.open(&name, Mode::CreateNew).map_err(storage_error(self.dir, "cannot create", &name))?;
        for (index, page) in bytes.chunks(4096).enumerate() {
            file.write_all_at(page, index as u64 * 4096).map_err(storage_error(self.dir, "cannot write", &name))?;
        }
        file.sync_data().map_err(storage_error(self.dir, "cannot sync", &name))?;
        self.first_seq = self.seq + 1;
        self.header_crc = self.crc;
        Ok(())
    }
}

/// Writes the segments under the names of a migration, synced, their names not. Returns the last record's number, at which the
/// snapshot starts.
pub(crate) fn write_segments(dir: &dyn Dir, store: &NewStore) -> Result<u64> {
    let mut builder = SegmentBuilder {
        dir,
        store_id: store.store_id,
        segment_bytes: store.segment_bytes,
        first_seq: 1,
        seq: 0,
        crc: 0,
        header_crc: 0,
        records: Vec::new(),
        buf: Vec::new(),
    };
    let mut budget = store.history_bytes;
    let newest = store.events.iter().rev().take_while(|event| {
        let len = 64 + event.key.len().next_multiple_of(8) as u64;
        budget = budget.saturating_sub(len);
        budget > 0
    });
    let skipped = store.events.len() - newest.count();
    for event in &store.events[skipped..] {
        let op = EventOp { kind: event.kind as u8, key: &event.key, cost: event.cost, count: event.count };
        builder.push(Kind::Event, event.at_ns, |buf| push_event(buf, &op))?;
    }
    builder.push(Kind::Anchor, store.engine_ns, |buf| push_anchor(buf, store.wall_ns))?;
    if store.marked {
        let mark = builder.seq + 1;
        builder.push(Kind::SnapshotMark, store.engine_ns, |buf| push_snapshot_mark(buf, mark, mark))?;
    }
    builder.flush()?;
    Ok(builder.seq)
}

/// Where a copy of the directory `path` may go, which `output` names.
pub(crate) fn check_place(path: &Path, output: &Path) -> Result<NewDir> {
    let place = NewDir::check(path, output)
        .map_err(|error| Error::storage("cannot write", output, error))?
        .map_err(Error::InvalidArgument)?;
    reject_unsupported_fs(output).map_err(|detail| Error::Unsupported { path: output.to_path_buf(), detail })?;
    Ok(place)
}

/// Makes the directory for a copy, under a temporary name, with the lock file of the store `store_id`.
pub(crate) fn stage(place: &NewDir, output: &Path, store_id: u64) -> Result<Staged> {
    let staged = place.stage(&lock_text::of_copy(store_id));
    staged.map_err(|error| Error::storage("cannot create", output, error))?.map_err(Error::InvalidArgument)
}

/// Gives a copy its name.
pub(crate) fn publish(staged: &Staged, output: &Path) -> Result<()> {
    staged.publish().map_err(|error| Error::storage("cannot publish", output, error))
}

/// Makes the lock file, which names the store that is about to be written: its maker owns the directory. Until the store is
/// whole every open refuses the directory.
///
/// # Errors
/// `Storage`; nothing is left then.
pub(crate) fn claim(dir: &dyn Dir, store_id: u64) -> Result<()> {
    let file = dir.open(files::LOCK, Mode::CreateNew).map_err(storage_error(dir, "cannot create", files::LOCK))?;
    let line = lock_text::of_copy(store_id);
    let written = file.write_all_at(line.as_bytes(), 0).and_then(|()| file.sync_data());
    written.and_then(|()| dir.sync()).map_err(|error| {
        drop(dir.remove(files::LOCK));
        storage_error(dir, "cannot write", files::LOCK)(error)
    })
}

/// Writes a whole store into a directory that was claimed. The snapshot's rename is the commit point.
pub(crate) fn write_store(dir: &dyn Dir, store: &NewStore) -> Result<()> {
    let start = write_segments(dir, store)?;
    sync_dir(dir)?;
    let names = dir.list().map_err(|error| Error::storage("cannot list", dir.path(), error))?;
    name_segments(dir, &names)?;
    sync_dir(dir)?;
    write_snapshot(dir, store, start)
}

/// Renames the segments of `names` that are still under the names of a migration, and returns whether there were any.
/// The directory is not synced.
pub(crate) fn name_segments(dir: &dyn Dir, names: &[String]) -> Result<bool> {
    let mut renamed = false;
    for name in names {
        if let FileKind::MigratingSegment(first_seq) = files::classify(name) {
            dir.rename(name, &files::segment_name(first_seq)).map_err(storage_error(dir, "cannot rename", name))?;
            renamed = true;
        }
    }
    Ok(renamed)
}

/// Writes the snapshot that starts at record `start`, and publishes it: durable when this returns.
pub(crate) fn write_snapshot(dir: &dyn Dir, store: &NewStore, start: u64) -> Result<()> {
    let header = Header {
        store_id: store.store_id,
        start,
        engine_ns: store.engine_ns,
        wall_ns: store.wall_ns,
        migrated: store.migrated,
    };
    let mut writer = Writer::new(&header);
    for image in &store.images {
        writer.push(image);
    }
    store
        .idempotency
        .for_each(store.engine_ns, &mut |record| writer.push_idempotency(&IdempotencyRecord { seq: start, ..*record }));
    let bytes = writer.finish(start, store.next_id);
    let name = files::SNAPSHOT_TMP;
    remove_if_there(dir, name)?;
    let file = dir.open(name, Mode::CreateNew).map_err(storage_error(dir, "cannot create", name))?;
    file.write_all_at(&bytes, 0).map_err(storage_error(dir, "cannot write", name))?;
    file.sync_data().map_err(storage_error(dir, "cannot sync", name))?;
    sync_dir(dir)?;
    dir.rename(name, &files::snapshot_name(start)).map_err(storage_error(dir, "cannot rename", name))?;
    sync_dir(dir)
}
