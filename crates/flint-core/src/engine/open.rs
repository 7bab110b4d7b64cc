//! Opening a directory: as its one writer, or to look.

use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::compact;
use crate::error::{Error, Result};
use crate::files::{self, FileKind};
use crate::lock_text;
use crate::log::segment::MAX_SEGMENT_LEN;
use crate::migrate;
use crate::recovery::repair::{self, Repaired};
use crate::recovery::scan::Tail;
use crate::recovery::{self, Access, Loaded, lost_store};
use crate::storage::disk::{DiskDir, holder, reject_unsupported_fs};
use crate::storage::{Dir, LockGuard, Locked, Mode};
use crate::store::core::Core;
use crate::store::notices::Severity;
use crate::store::shared::Shared;
use crate::store::view::View;
use crate::sync::{self, Arc, JoinHandle, Mutex};
use crate::time::Timeline;
use crate::writer::LogWriter;

use super::backend::{Backend, Reader, Resources, Writer};
use super::{Engine, Options, Recovery, SyncMode, background};

impl Engine {
    /// Opens (and unless `read_only` creates or migrates) a data directory.
    pub fn open(path: &Path, options: Options) -> Result<Self> {
        reject_unsupported_fs(path).map_err(|detail| Error::Unsupported { path: path.to_path_buf(), detail })?;
        let dir =
            DiskDir::open(path, !options.read_only).map_err(|error| Error::storage("cannot open", path, error))?;
        Self::open_in(dir, options)
    }

    /// The same in any directory, such as a simulated one.
    pub fn open_in(dir: Arc<dyn Dir>, options: Options) -> Result<Self> {
        let began = Instant::now();
        let mut engine = Self::open_untimed(dir, options)?;
        engine.recovery_ns = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Ok(engine)
    }

    fn open_untimed(dir: Arc<dyn Dir>, options: Options) -> Result<Self> {
        if options.read_only {
            let (view, recovery, seq) = reader(&*dir, &options)?;
            let backend = Backend::Reader(Reader::new(view, seq));
            return Ok(Self { dir, backend, recovery, recovery_ns: 0 });
        }
        let (batch, threads) = (options.sync == SyncMode::Batch, options.threads);
        let Opened { shared, recovery, notices } = writer(dir.clone(), options)?;
        for notice in notices {
            shared.notices.push(Severity::Warning, notice);
        }
        let resources = Mutex::new(Some(Resources { threads: Vec::new(), serves_wakers: false, serves_queues: false }));
        let backend = Backend::Writer(Writer { shared: shared.clone(), resources });
        let engine = Self { dir, backend, recovery, recovery_ns: 0 };
        if !threads {
            return Ok(engine);
        }
        // From here on a failure drops the engine, which closes it.
        engine.adopt(background::spawn_worker(shared.clone()))?;
        if batch {
            engine.adopt(background::spawn_flusher(shared))?;
        }
        Ok(engine)
    }

    fn adopt(&self, thread: std::io::Result<JoinHandle<()>>) -> Result<()> {
        let thread = thread.map_err(|error| Error::storage("cannot start a thread for", self.path(), error))?;
        if let Backend::Writer(writer) = &self.backend
            && let Some(resources) = &mut *writer.resources.lock()
        {
            resources.threads.push(thread);
        }
        Ok(())
    }
}

/// A directory opened for writing.
pub(super) struct Opened {
    pub(super) shared: Arc<Shared>,
    pub(super) recovery: Recovery,
    pub(super) notices: Vec<String>,
}

/// Takes the lock, brings the files into order and gives the store.
pub(super) fn writer(dir: Arc<dyn Dir>, options: Options) -> Result<Opened> {
    validate(&options)?;
    if let Some(detail) = dir.risk().map_err(|error| Error::storage("cannot open", dir.path(), error))? {
        return Err(Error::Unsupported { path: dir.path().to_path_buf(), detail });
    }
    let (lock, known_store) = take_lock(&*dir, &options)?;
    // It may hold what the opener's thread alone may drop.
    let options = Options { interrupted: None, ..options };
    let mut notices = Vec::new();
    let migrated_from = migrate::migrate(&*dir, &options)?;
    if let Some(release) = migrated_from {
        notices.push(format!("migrated {} from the format of Flint {release}", dir.path().display()));
    }
    let segment_bytes = usize::try_from(options.segment_bytes)
        .map_err(|_| Error::InvalidArgument("segment_bytes does not fit in memory".to_owned()))?;
    let (shared, recovery) = match recovery::load(&*dir, Access::Exclusive, false)? {
        None => {
            if known_store.is_some() {
                return Err(lost_store(&*dir));
            }
            let store_id = RandomState::new().hash_one(std::process::id());
            let active = repair::create(&*dir, store_id, segment_bytes, options.log_io)?;
            lock_text::write(&*dir, store_id);
            let view = View::empty(Timeline::resume(options.clock.clone(), 0, None));
            let log = LogWriter::new(dir.clone(), store_id, segment_bytes, active, 0, 0, Vec::new());
            let mut core = Core::new(view, log);
            core.compact_above = compact::MIN_LOG_BYTES;
            (Arc::new(Shared::new(dir, options, core)), Recovery { created: true, ..Recovery::default() })
        }
        Some(loaded) => {
            let mut recovery = describe(&*dir, &loaded);
            recovery.migrated_from = migrated_from;
            if let Some((path, offset)) = &recovery.cut_at {
                notices.push(format!(
                    "cut a torn tail of {} bytes off {} at byte {offset}: what a crash left of calls that were not \
                     acknowledged as durable",
                    recovery.cut_bytes,
                    path.display()
                ));
            }
            (Arc::new(resume(dir, options, segment_bytes, loaded)?), recovery)
        }
    };
    shared.lock.hold(lock);
    match shared.perform(|core| core.save_anchor(true)) {
        // Full disk: the next sync writes it, or the next after that.
        Err(error) if error.is_out_of_space() => {}
        other => other?,
    }
    Ok(Opened { shared, recovery, notices })
}

fn resume(dir: Arc<dyn Dir>, options: Options, segment_bytes: usize, loaded: Loaded) -> Result<Shared> {
    let snapshot_start = loaded.snapshot.as_ref().map_or(0, |snapshot| snapshot.start);
    let snapshot_bytes = loaded.snapshot.as_ref().map_or(0, |snapshot| snapshot.bytes);
    let reserved = remove_strays(&*dir, segment_bytes)?;
    let Repaired { active, to_seal } = repair::repair(&*dir, &loaded.scan, snapshot_start, options.log_io)?;
    if lock_text::store_id(&*dir) != Some(loaded.store_id) {
        lock_text::write(&*dir, loaded.store_id);
    }
    let time = Timeline::resume(options.clock.clone(), loaded.newest_ns, loaded.anchor);
    let log = LogWriter::new(dir.clone(), loaded.store_id, segment_bytes, active, loaded.seq, loaded.crc, to_seal);
    let mut core = Core::new(View::new(loaded.table, time, loaded.idempotency), log);
    core.writer.set_reserved(reserved);
    core.snapshot_start = snapshot_start;
    core.replay_from = -i64::try_from(loaded.scan.replay_bytes).unwrap_or(i64::MAX);
    core.compact_above = compact::threshold(snapshot_bytes);
    Ok(Shared::new(dir, options, core))
}

fn describe(dir: &dyn Dir, loaded: &Loaded) -> Recovery {
    let mut recovery = Recovery {
        clean: loaded.clean,
        snapshot_seq: loaded.snapshot.as_ref().map_or(0, |snapshot| snapshot.start),
        records: loaded.records,
        segments: loaded.scan.segments.len() as u64,
        ..Recovery::default()
    };
    if let (Tail::Torn { bytes, doomed }, Some(last)) = (&loaded.scan.tail, loaded.scan.segments.last()) {
        recovery.cut_bytes = *bytes;
        if *bytes > 0 || !doomed.is_empty() {
            recovery.cut_at = Some((dir.path().join(&last.name), last.end_offset));
        }
    }
    recovery
}

/// A directory opened for reading: the state in the files now, and the newest record of it.
pub(super) fn reader(dir: &dyn Dir, options: &Options) -> Result<(View, Recovery, u64)> {
    recovery::look(dir, || look(dir, options))
}

fn look(dir: &dyn Dir, options: &Options) -> Result<(View, Recovery, u64)> {
    let current = migrate::view(dir)?;
    match recovery::load(current.dir(), Access::Shared, false)? {
        Some(loaded) => {
            let recovery = match &current.old {
                // Its events were not replayed, and its files are not those of the view.
                Some(old) => Recovery { records: old.events.len() as u64, ..Recovery::default() },
                None => describe(dir, &loaded),
            };
            let time = Timeline::resume(options.clock.clone(), loaded.newest_ns, loaded.anchor);
            Ok((View::new(loaded.table, time, loaded.idempotency), recovery, loaded.seq))
        }
        None if lock_text::store_id(dir).is_some() => Err(lost_store(dir)),
        None => {
            let view = View::empty(Timeline::resume(options.clock.clone(), 0, None));
            Ok((view, Recovery { created: true, ..Recovery::default() }, 0))
        }
    }
}

fn validate(options: &Options) -> Result<()> {
    let refuse = |what: &str| Err(Error::InvalidArgument(what.to_owned()));
    if options.flush_every_ms == 0 {
        return refuse("flush_every_ms must be at least 1 millisecond, such as 100, not 0");
    }
    if options.flush_every_events == 0 {
        return refuse("flush_every_events must be at least 1, such as 100, not 0");
    }
    if !(16 << 10..=MAX_SEGMENT_LEN).contains(&options.segment_bytes) || !options.segment_bytes.is_multiple_of(4096) {
        return refuse("segment_bytes must be 16 KiB to 1 GiB, a multiple of 4 KiB");
    }
    Ok(())
}

/// Waits between attempts to take the lock: short at first, for a holder that is about to close.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// Takes the directory's lock; gives it with the id of the store that was made there, according to the lock file.
fn take_lock(dir: &dyn Dir, options: &Options) -> Result<(Box<dyn LockGuard>, Option<u64>)> {
    let path = dir.path().to_path_buf();
    let began = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        let known_store = lock_text::store_id(dir);
        let locked = dir
            .lock(files::LOCK, &lock_text::of_writer(known_store))
            .map_err(|error| Error::storage("cannot lock", path.join(files::LOCK), error))?;
        let (opened_as, content) = match locked {
            Locked::Guard(guard) => return Ok((guard, known_store)),
            Locked::HeldHere { opened_as } => (Some(opened_as), String::new()),
            Locked::HeldElsewhere { content } => (None, content),
        };
        let left = options.lock_timeout.saturating_sub(began.elapsed());
        if left.is_zero() || options.interrupted.as_ref().is_some_and(|interrupted| interrupted()) {
            let waited = if options.lock_timeout.is_zero() { Duration::ZERO } else { began.elapsed() };
            let holder = match opened_as {
                Some(opened_as) => holder::here(Some(opened_as)),
                None => holder::identify(&path, &content),
            };
            return Err(Error::Locked { path, holder, waited });
        }
        sync::sleep(pause.min(left));
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Removes what a crash left under temporary names, and snapshots that a newer one replaced. Only after everything was
/// verified: a store that is refused is left as it is. Returns whether room for a compaction is reserved.
fn remove_strays(dir: &dyn Dir, segment_bytes: usize) -> Result<bool> {
    let names = dir.list().map_err(|error| Error::storage("cannot list", dir.path(), error))?;
    let newest = names.iter().filter_map(|name| files::parse_snapshot_name(name)).max();
    if names.iter().filter_map(|name| files::parse_snapshot_name(name)).count() > 1 {
        // A killed process may have left the newest snapshot's name without a sync: the older one is expendable only after it.
        dir.sync().map_err(|error| Error::storage("cannot sync", dir.path(), error))?;
    }
    let mut reserved = false;
    for name in &names {
        let stray = match files::classify(name) {
            // A migration that was committed has given the names that it had to give.
            FileKind::LockTmp | FileKind::Spare | FileKind::SnapshotTmp | FileKind::MigratingSegment(_) => true,
            FileKind::Snapshot(start) => Some(start) < newest,
            FileKind::Reserve => {
                // One that is not complete was being made.
                let len = dir.open(name, Mode::Read).and_then(|file| file.len());
                reserved = len.is_ok_and(|len| len == segment_bytes as u64);
                !reserved
            }
            _ => false,
        };
        if stray {
            dir.remove(name).map_err(|error| Error::storage("cannot remove", dir.path().join(name), error))?;
        }
    }
    Ok(reserved)
}
