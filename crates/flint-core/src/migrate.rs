//! Bringing a directory of release 0.1 or 0.2 into today's format. The rename of the snapshot is the commit point: before it
//! the old files are the store and everything new is discarded; after it the rest is finished at the next open.
//!
//! 1. Old events become Event records in segments named `….aof.migrating`; state becomes a snapshot that covers them.
//! 2. The snapshot is renamed into place: committed.
//! 3. The segments get their names, the old files move to `legacy/`, and a `flint.aof` that 0.2 refuses takes their place.

use std::io;
use std::path::Path;

use crate::bulk::{self, NewStore, remove_if_there, storage_error, sync_dir};
use crate::error::{Error, Result};
use crate::files::{self, FileKind};
use crate::idempotency::IdempotencyWindow;
use crate::legacy::{self, LegacyStore};
use crate::log::segment::sha256_of;
use crate::options::Options;
use crate::recovery::{self, Access};
use crate::snapshot::{self, Migrated};
use crate::storage::memory::MemoryDir;
use crate::storage::{Dir, File, Locked, Mode};
use crate::sync::Arc;

/// Opens the old log; `None` if it does not exist. With it, whether it is what a migration left in its place.
fn open_log(dir: &dyn Dir) -> Result<Option<(Arc<dyn File>, bool)>> {
    let name = files::LEGACY_AOF;
    let file = match dir.open(name, Mode::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(storage_error(dir, "cannot open", name))?,
    };
    let is_tombstone = legacy::begins_with_tombstone(&*file).map_err(storage_error(dir, "cannot read", name))?;
    Ok(Some((file, is_tombstone)))
}

/// What the newest snapshot says about a migration, if there is one.
fn migrated(dir: &dyn Dir, names: &[String]) -> Result<Option<Migrated>> {
    let Some(start) = names.iter().filter_map(|name| files::parse_snapshot_name(name)).max() else { return Ok(None) };
    let name = files::snapshot_name(start);
    let file = dir.open(&name, Mode::Read).map_err(storage_error(dir, "cannot open", &name))?;
    let header = snapshot::read_header(&*file, &dir.path().join(&name))?;
    Ok(header.migrated)
}

/// Whether the old log is still where the old release left it, and its SHA-256.
fn old_log(dir: &dyn Dir) -> Result<Option<[u8; 32]>> {
    let Some((file, false)) = open_log(dir)? else { return Ok(None) };
    let sha256 = file.len().and_then(|len| sha256_of(&*file, len));
    sha256.map(Some).map_err(storage_error(dir, "cannot read", files::LEGACY_AOF))
}

fn both_formats(dir: &dyn Dir) -> Error {
    Error::Unsupported {
        path: dir.path().to_path_buf(),
        detail: format!(
            "it holds {} of Flint 0.2 and a store of the current format, and they do not belong together: move one of them \
             away; nothing was touched",
            files::LEGACY_AOF
        ),
    }
}

/// The old store in a directory whose migration is not committed.
fn unmigrated(dir: &dyn Dir, names: &[String]) -> Result<Option<LegacyStore>> {
    let has = |kind: fn(&FileKind) -> bool| names.iter().any(|name| kind(&files::classify(name)));
    if !has(|kind| matches!(kind, FileKind::LegacyAof | FileKind::LegacySnapshot)) {
        return Ok(None);
    }
    let current = has(|kind| matches!(kind, FileKind::Segment(_) | FileKind::Snapshot(_)));
    let old = old_log(dir)?;
    if !current {
        return legacy::read(dir);
    }
    match (old, migrated(dir, names)?) {
        (None, _) => Ok(None),
        (Some(sha256), Some(migrated)) if migrated.sha256 == sha256 => Ok(None),
        (Some(_), _) => Err(both_formats(dir)),
    }
}

/// A directory in the current format, as a reader sees it: what a writer's open would make of it, without a change on disk.
pub(crate) struct CurrentView<'a> {
    files: Files<'a>,
    /// The store of the old release that was migrated for this view.
    pub(crate) old: Option<LegacyStore>,
}

enum Files<'a> {
    AsTheyAre(&'a dyn Dir),
    /// A migration is committed, and some segments do not have their names yet.
    Committed(Finished<'a>),
    InMemory(Box<MemoryDir>),
}

impl CurrentView<'_> {
    pub(crate) fn dir(&self) -> &dyn Dir {
        match &self.files {
            Files::AsTheyAre(dir) => *dir,
            Files::Committed(finished) => finished,
            Files::InMemory(dir) => &**dir,
        }
    }
}

/// Bytes of a segment of a view in memory. Nothing is appended to it, so that it needs no room for more.
const VIEW_SEGMENT_BYTES: u64 = 64 << 10;

/// Where readers enter.
///
/// # Errors
/// `Corrupt` or `Unsupported` for the files of an old release that cannot be migrated; `Storage`.
pub(crate) fn view(dir: &dyn Dir) -> Result<CurrentView<'_>> {
    let names = dir.list().map_err(|error| Error::storage("cannot list", dir.path(), error))?;
    if let Some(old) = unmigrated(dir, &names)? {
        let memory = MemoryDir::new(dir.path());
        let options = Options { history_bytes: u64::MAX, segment_bytes: VIEW_SEGMENT_BYTES, ..Options::default() };
        write(&memory, &options, &old)?;
        bulk::name_segments(
            &memory,
            &memory.list().map_err(|error| Error::storage("cannot list", dir.path(), error))?,
        )?;
        return Ok(CurrentView { files: Files::InMemory(Box::new(memory)), old: Some(old) });
    }
    let unfinished = names.iter().any(|name| is_waiting(&names, name));
    let files = if unfinished && migrated(dir, &names)?.is_some() {
        Files::Committed(Finished(dir))
    } else {
        Files::AsTheyAre(dir)
    };
    Ok(CurrentView { files, old: None })
}

/// A directory whose migration is committed, as it will be when the migration is finished: segments under their own names.
struct Finished<'a>(&'a dyn Dir);

fn read_only<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl Dir for Finished<'_> {
    fn path(&self) -> &Path {
        self.0.path()
    }

    fn open(&self, name: &str, mode: Mode) -> io::Result<Arc<dyn File>> {
        if mode != Mode::Read {
            return read_only();
        }
        match self.0.open(name, mode) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
        let waiting = files::parse_segment_name(name).map(files::migrating_name);
        let names = self.0.list()?;
        let waiting = waiting.filter(|waiting| is_waiting(&names, waiting));
        self.0.open(waiting.as_deref().unwrap_or(name), mode)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let names = self.0.list()?;
        let named = |name: &String| match files::parse_migrating_name(name) {
            Some(first_seq) if is_waiting(&names, name) => files::segment_name(first_seq),
            _ => name.clone(),
        };
        Ok(names.iter().map(named).collect())
    }

    fn rename(&self, _from: &str, _to: &str) -> io::Result<()> {
        read_only()
    }

    fn remove(&self, _name: &str) -> io::Result<()> {
        read_only()
    }

    fn sync(&self) -> io::Result<()> {
        read_only()
    }

    fn subdir(&self, _name: &str, _create: bool) -> io::Result<Arc<dyn Dir>> {
        read_only()
    }

    fn move_into(&self, _name: &str, _subdir: &str) -> io::Result<()> {
        read_only()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.0.free_bytes()
    }

    fn lock(&self, _name: &str, _content: &str) -> io::Result<Locked> {
        read_only()
    }
}

/// Where writers enter: migrates an old directory, or finishes a migration that was interrupted. Returns the old release if there was
/// something to do. The caller holds the lock.
///
/// # Errors
/// As [`view`].
pub(crate) fn migrate(dir: &dyn Dir, options: &Options) -> Result<Option<&'static str>> {
    let names = dir.list().map_err(|error| Error::storage("cannot list", dir.path(), error))?;
    let has = |kind: fn(&FileKind) -> bool| names.iter().any(|name| kind(&files::classify(name)));
    if let Some(migrated) = migrated(dir, &names)? {
        let old = old_log(dir)?;
        if old.is_some_and(|sha256| sha256 != migrated.sha256) {
            return Err(both_formats(dir));
        }
        let started = old.is_some() || names.iter().any(|name| is_waiting(&names, name));
        if started || !is_finished(dir, &names)? {
            // Nothing is touched before what makes the old files expendable is verified: a store that is refused is left as it
            // is.
            recovery::load(&Finished(dir), Access::Exclusive, false)?;
            // A killed process may have left the snapshot's name without a sync, and then nothing is committed yet.
            sync_dir(dir)?;
        }
        finish(dir, &names)?;
        return Ok(started.then_some(migrated.release));
    }
    if has(|kind| matches!(kind, FileKind::Segment(_) | FileKind::Snapshot(_))) {
        return if old_log(dir)?.is_some() { Err(both_formats(dir)) } else { Ok(None) };
    }
    let Some(store) = legacy::read(dir)? else { return Ok(None) };
    for name in names.iter().filter(|name| matches!(files::classify(name), FileKind::MigratingSegment(_))) {
        dir.remove(name).map_err(storage_error(dir, "cannot remove", name))?;
    }
    write(dir, options, &store)?;
    let names = dir.list().map_err(|error| Error::storage("cannot list", dir.path(), error))?;
    finish(dir, &names)?;
    Ok(Some(store.release))
}

/// Writes the new files up to and including the commit.
fn write(dir: &dyn Dir, options: &Options, store: &LegacyStore) -> Result<()> {
    let segment_bytes = usize::try_from(options.segment_bytes)
        .map_err(|_| Error::InvalidArgument("segment_bytes does not fit in memory".to_owned()))?;
    let new = NewStore {
        idempotency: IdempotencyWindow::default(),
        store_id: u64::from_le_bytes(store.aof_sha256[..8].try_into().expect("eight bytes")),
        segment_bytes,
        events: store.events.clone(),
        // History is bounded: the oldest events of a very long log stay in legacy/ only.
        history_bytes: options.history_bytes,
        images: store.images.clone(),
        next_id: store.images.len() as u64 + 1,
        engine_ns: store.newest_ns,
        wall_ns: store.newest_ns,
        migrated: Some(Migrated { release: store.release, sha256: store.aof_sha256 }),
        marked: false,
    };
    let start = bulk::write_segments(dir, &new)?;
    bulk::write_snapshot(dir, &new, start)
}

/// Whether 0.2 would refuse the directory and none of its files is left there.
fn is_finished(dir: &dyn Dir, names: &[String]) -> Result<bool> {
    let has_tombstone = open_log(dir)?.is_some_and(|(_, is_tombstone)| is_tombstone);
    Ok(has_tombstone && !names.iter().any(|name| name == files::LEGACY_SNAPSHOT))
}

/// Whether this is a segment of a migration that still waits for its name: the snapshot covers it, and no segment has that
/// name.
fn is_waiting(names: &[String], name: &str) -> bool {
    let Some(first_seq) = files::parse_migrating_name(name) else { return false };
    let start = names.iter().filter_map(|name| files::parse_snapshot_name(name)).max();
    start.is_some_and(|start| first_seq <= start) && !names.contains(&files::segment_name(first_seq))
}

/// Everything behind the commit; each step may have been done before.
fn finish(dir: &dyn Dir, names: &[String]) -> Result<()> {
    let waiting: Vec<String> = names.iter().filter(|name| is_waiting(names, name)).cloned().collect();
    if bulk::name_segments(dir, &waiting)? {
        sync_dir(dir)?;
    }
    if is_finished(dir, names)? {
        return Ok(());
    }
    let current = open_log(dir)?;
    let has_tombstone = current.as_ref().is_some_and(|(_, is_tombstone)| *is_tombstone);
    let has_old_snapshot = names.iter().any(|name| name == files::LEGACY_SNAPSHOT);
    let legacy = dir
        .subdir(files::LEGACY_DIR, true)
        .map_err(|error| Error::storage("cannot create", dir.path().join(files::LEGACY_DIR), error))?;
    let mut moved = Vec::new();
    if current.is_some() && !has_tombstone {
        moved.push(files::LEGACY_AOF);
    }
    if has_old_snapshot {
        moved.push(files::LEGACY_SNAPSHOT);
    }
    for name in moved {
        dir.move_into(name, files::LEGACY_DIR).map_err(storage_error(dir, "cannot move", name))?;
    }
    legacy.sync().map_err(|error| Error::storage("cannot sync", legacy.path(), error))?;
    sync_dir(dir)?;
    if !has_tombstone {
        write_tombstone(dir)?;
    }
    Ok(())
}

/// Under a temporary name first: half a tombstone would look like an old log.
fn write_tombstone(dir: &dyn Dir) -> Result<()> {
    let name = files::SPARE;
    remove_if_there(dir, name)?;
    let file = dir.open(name, Mode::CreateNew).map_err(storage_error(dir, "cannot create", name))?;
    file.write_all_at(files::TOMBSTONE.as_bytes(), 0).map_err(storage_error(dir, "cannot write", name))?;
    file.sync_data().map_err(storage_error(dir, "cannot sync", name))?;
    dir.rename(name, files::LEGACY_AOF).map_err(storage_error(dir, "cannot rename", name))?;
    sync_dir(dir)
}
