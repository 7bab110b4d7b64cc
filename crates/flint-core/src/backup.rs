//! A consistent copy of a store, while its writer goes on.
//!
//! Records and snapshots never change once they are written, and a file that was opened stays readable when compaction removes
//! it. A copy therefore needs the lock for a moment only: it notes the end of the log, opens the newest snapshot and the
//! segments up to there, and copies them up to the noted end, with zeros behind it. The copy ends with a close record of its own,
//! so that damage to it is found as in a store that was closed.
//!
//! Without the lock, alongside the writer of another process, recovery says what verifies and where that ends.

use std::path::Path;

use crate::bulk::{self, storage_error, sync_dir};
use crate::compact::save_denials;
use crate::error::{Error, Result};
use crate::files::{self, FileKind};
use crate::lock_text;
use crate::log::frame::{self, Head, Kind};
use crate::log::segment::seal_offset;
use crate::migrate;
use crate::recovery::{self, Access, Loaded, list_segments, lost_store, open_with_path};
use crate::storage::disk::{DiskDir, NewDir};
use crate::storage::{Dir, File, Mode};
use crate::store::shared::Shared;
use crate::sync::Arc;
use crate::writer::LogEnd;

/// Bytes per read, and per write: see `writer` on the size of writes.
const READ_BYTES: usize = 256 << 10;
const PAGE_BYTES: usize = 4096;
/// Left free on the file system of the copy, for its directory and the close record.
const SPARE_BYTES: u64 = 64 << 10;

/// What a copy holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackupReport {
    /// Bytes of all its files.
    pub bytes: u64,
    /// The newest record of the original that is in it.
    pub seq: u64,
}

/// A file to copy: its first `end` bytes, and zeros up to `len`.
struct Part {
    name: String,
    file: Arc<dyn File>,
    end: u64,
    len: u64,
}

/// What a copy consists of. Its files are open, so that none can vanish.
struct Source {
    store_id: u64,
    /// The log segments last, oldest first.
    parts: Vec<Part>,
    end: LogEnd,
    /// Engine time of the newest record.
    newest_ns: u64,
    /// Whether the log ends with a close record.
    closed: bool,
}

impl Source {
    /// An open store at this moment.
    fn of_store(shared: &Shared) -> Result<Self> {
        // First of all, because in a forked child no thread will ever release a lock that the parent held.
        shared.usable()?;
        // Compaction removes files. It is held up until they are open, not until they are copied.
        let _no_removals = shared.compacting.lock();
        save_denials(shared)?;
        let (store_id, end, newest_ns) = shared.perform(|core| {
            // Those of calls since; few, because each record takes many keys.
            while !core.dirty.is_empty() && core.save_denials()? {}
            Ok((core.writer.store_id(), core.writer.log_end(), core.view.time.newest_ns()))
        })?;
        let dir = &*shared.dir;
        let names = list(dir)?;
        let mut parts = first_parts(dir, &names)?;
        for first_seq in list_segments(&names).into_iter().filter(|&first_seq| first_seq <= end.first_seq) {
            let part = Part::whole(dir, files::segment_name(first_seq))?;
            parts.push(if first_seq == end.first_seq { Part { end: end.offset, ..part } } else { part });
        }
        Ok(Self { store_id, parts, end, newest_ns, closed: false })
    }

    /// What verifies of a directory, which another process may be writing to. Call it through [`recovery::look`].
    fn of_directory(dir: &dyn Dir) -> Result<Self> {
        let view = migrate::view(dir)?;
        if view.old.is_some() {
            let detail = "it is in the format of an older Flint, of which `cp -a` makes a copy while no application has it \
                          open; opening it with flint.Limiter migrates it";
            return Err(Error::Unsupported { path: dir.path().to_path_buf(), detail: detail.to_owned() });
        }
        let Some(loaded) = recovery::load(dir, Access::Shared, true)? else {
            if lock_text::store_id(dir).is_some() {
                return Err(lost_store(dir));
            }
            let detail = "there is no store in this directory that could be copied".to_owned();
            return Err(Error::Unsupported { path: dir.path().to_path_buf(), detail });
        };
        let Loaded { store_id, seq, crc, newest_ns, clean: closed, snapshot, scan, .. } = loaded;
        let mut parts = first_parts(dir, &list(dir)?)?;
        // The snapshot and the segments that were verified, whatever is listed by now.
        parts.retain(|part| !matches!(files::classify(&part.name), FileKind::Snapshot(_)));
        if let Some(snapshot) = snapshot {
            parts.push(Part { name: snapshot.name, file: snapshot.file, end: snapshot.bytes, len: snapshot.bytes });
        }
        let mut end = LogEnd { first_seq: 0, seed: 0, offset: 0, seq, crc };
        let count = scan.segments.len();
        for (index, segment) in scan.segments.into_iter().enumerate() {
            let last = index + 1 == count;
            if last {
                end = LogEnd { first_seq: segment.first_seq, seed: segment.seed, offset: segment.end_offset, ..end };
            }
            let copied = if last { segment.end_offset } else { segment.len };
            parts.push(Part { name: segment.name, file: segment.file, end: copied, len: segment.len });
        }
        Ok(Self { store_id, parts, end, newest_ns, closed })
    }

    fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.len).sum()
    }

    /// Writes the copy into `output`; every file and the directory are synced.
    fn write(&self, output: &dyn Dir) -> Result<BackupReport> {
        let last = self.parts.len().saturating_sub(1);
        for (index, part) in self.parts.iter().enumerate() {
            let closing = if index == last { self.close_record(part.len) } else { Vec::new() };
            part.copy(output, &closing)?;
        }
        sync_dir(output)?;
        Ok(BackupReport { bytes: self.bytes(), seq: self.end.seq })
    }

    /// A close record for the end of the log, which has `len` bytes in its segment; nothing where there is one, or no room.
    fn close_record(&self, len: u64) -> Vec<u8> {
        let mut record = Vec::new();
        if self.closed {
            return record;
        }
        frame::begin(&mut record, self.newest_ns);
        let LogEnd { seq, crc, seed, offset, .. } = self.end;
        let head = Head { seq: seq + 1, prev_crc: crc, durable_seq: seq, kind: Kind::Close, flags: 0 };
        frame::finish(&mut record, seed, &head);
        if offset + record.len() as u64 > seal_offset(len) {
            record.clear();
        }
        record
    }
}

impl Part {
    fn whole(dir: &dyn Dir, name: String) -> Result<Self> {
        let file = open_with_path(dir, &name, Mode::Read)?;
        let len = file.len().map_err(storage_error(dir, "cannot read", &name))?;
        Ok(Self { name, file, end: len, len })
    }

    /// Writes and syncs the file, with `behind` right behind what is copied.
    fn copy(&self, output: &dyn Dir, behind: &[u8]) -> Result<()> {
        let failed = |op| storage_error(output, op, &self.name);
        let file = output.open(&self.name, Mode::CreateNew).map_err(failed("cannot create"))?;
        let mut piece = vec![0; READ_BYTES];
        let mut offset = 0;
        while offset < self.len {
            let more = usize::try_from(self.len - offset).map_or(READ_BYTES, |left| left.min(READ_BYTES));
            let copied = usize::try_from(self.end.saturating_sub(offset)).map_or(more, |left| left.min(more));
            self.file
                .read_exact_at(&mut piece[..copied], offset)
                .map_err(|error| Error::storage("cannot copy", output.path().join(&self.name), error))?;
            piece[copied..more].fill(0);
            for (index, page) in piece[..more].chunks(PAGE_BYTES).enumerate() {
                let at = offset + (index * PAGE_BYTES) as u64;
                file.write_all_at(page, at).map_err(failed("cannot write"))?;
            }
            offset += more as u64;
        }
        if !behind.is_empty() {
            file.write_all_at(behind, self.end).map_err(failed("cannot write"))?;
        }
        file.sync_data().map_err(failed("cannot sync"))
    }
}

fn list(dir: &dyn Dir) -> Result<Vec<String>> {
    dir.list().map_err(|error| Error::storage("cannot list", dir.path(), error))
}

/// What comes before the segments: the newest snapshot, and what keeps release 0.2 from opening a migrated directory.
fn first_parts(dir: &dyn Dir, names: &[String]) -> Result<Vec<Part>> {
    let newest = names.iter().filter_map(|name| files::parse_snapshot_name(name)).max().map(files::snapshot_name);
    let tombstone = names.iter().find(|name| files::classify(name) == FileKind::LegacyAof).cloned();
    tombstone.into_iter().chain(newest).map(|name| Part::whole(dir, name)).collect()
}

/// Says so when there is no room for a copy of `source`.
fn check_room(place: &NewDir, source: &Source, output: &Path) -> Result<()> {
    let (needed, free) = (source.bytes() + SPARE_BYTES, place.free_bytes());
    let free = free.map_err(|error| Error::storage("cannot examine", output, error))?;
    if free < needed {
        let detail = format!("the copy needs {needed} bytes, and its file system has {free} free");
        let full = std::io::Error::new(std::io::ErrorKind::StorageFull, detail);
        return Err(Error::storage("cannot write", output, full));
    }
    Ok(())
}

/// Copies `source` to `output`. After an error there is nothing.
fn copy(source: &Source, place: &NewDir, output: &Path, verify: bool) -> Result<BackupReport> {
    check_room(place, source, output)?;
    let staged = bulk::stage(place, output, source.store_id)?;
    let dir = &*staged.dir;
    let written = source.write(dir).and_then(|report| {
        if verify {
            verify_copy(dir, source)?;
        }
        bulk::publish(&staged, output)?;
        Ok(report)
    });
    written.inspect_err(|_| staged.discard())
}

/// Reads the whole copy. A disk that returns other bytes than were verified or written is found here.
fn verify_copy(copy: &dyn Dir, source: &Source) -> Result<()> {
    let found = recovery::load(copy, Access::Exclusive, true)?;
    match found.filter(|found| found.seq >= source.end.seq && found.store_id == source.store_id) {
        Some(_) => Ok(()),
        None => Err(Error::corrupt(copy.path(), 0, "the copy does not read back as it was written")),
    }
}

/// Copies an open store. Nothing is read twice: the engine has decided what the files hold.
pub(crate) fn of_store(shared: &Shared, output: &Path) -> Result<BackupReport> {
    let place = bulk::check_place(shared.path(), output)?;
    copy(&Source::of_store(shared)?, &place, output, false)
}

/// Copies the store in the directory `path` to `output`, at some moment between the start and the end of this call, and reads the
/// copy back. `output` must not exist, or be empty, and must not lie in `path`; the directory above it must exist. `path` is only
/// read, without its lock, while a writer has it open or not.
///
/// # Errors
/// `InvalidArgument` for such an `output`; `Corrupt` for a store that does not open; `Unsupported` where there is none;
/// `Storage`, also when there is not enough room. After an error there is no copy, not even a part of one.
pub fn backup(path: &Path, output: &Path) -> Result<BackupReport> {
    let dir = DiskDir::open(path, false).map_err(|error| Error::storage("cannot open", path, error))?;
    let place = bulk::check_place(path, output)?;
    copy(&recovery::look(&*dir, || Source::of_directory(&*dir))?, &place, output, true)
}

/// The same in any directories, such as simulated ones. `output` must be empty; after an error it holds a part of a copy.
///
/// # Errors
/// As [`backup`].
pub fn backup_in(dir: &dyn Dir, output: &dyn Dir) -> Result<BackupReport> {
    let source = recovery::look(dir, || Source::of_directory(dir))?;
    let report = source.write(output)?;
    verify_copy(output, &source)?;
    Ok(report)
}
