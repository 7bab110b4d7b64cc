//! The engine's calls. Wiring only: what is decided is in `store::core`, what is said in `store::view`, what is written where
//! in `writer`, `commit`, `recover` and `compact`.

mod background;
mod close;
mod listing;
mod once;
mod open;
mod operation;

use std::path::Path;
use std::task::Waker;
use std::time::Instant;

use crate::compact;
use crate::doctor;
use crate::dump;
use crate::error::{Error, Result};
use crate::history;
use crate::hooks::{self, Defect};
#[cfg(feature = "testing")]
use crate::image::KeyImage;
use crate::legacy;
use crate::limit::{Key, Limit};
use crate::migrate;
use crate::salvage;
use crate::stats;
use crate::storage::disk::{DiskDir, NewDir, reject_unsupported_fs};
use crate::storage::{Dir, LockGuard, fork};
use crate::store::shared::Shared;
use crate::store::view::View;
use crate::sync::{Arc, AtomicBool, JoinHandle, Mutex, Ordering};

pub use crate::dump::DumpedRecord;
pub use crate::salvage::{Dropped, KeyDoubt, Loss, Records, Salvage, UnknownId};
pub use crate::store::types::*;
pub use operation::{
    Check, CheckAll, CountDenial, Delete, Idempotent, MAX_ITEMS, MAX_SPECS, Operation, Reset, SetLimit, SetLimits,
};

/// A limiter over one data directory. `Send + Sync`: share it behind an `Arc`.
pub struct Engine {
    dir: Arc<dyn Dir>,
    backend: Backend,
    recovery: Recovery,
    recovery_ns: u64,
}

enum Backend {
    Writer { shared: Arc<Shared>, resources: Mutex<Option<Resources>> },
    Reader { view: Box<Mutex<View>>, seq: u64, closed: AtomicBool, fork_generation: u64 },
}

/// What an open writer holds besides memory.
struct Resources {
    threads: Vec<JoinHandle<()>>,
    /// Whether one of them serves `Shared::wakers`; it starts with the first who asks.
    serves_wakers: bool,
    lock: Box<dyn LockGuard>,
}

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
            let (view, recovery, seq) = open::reader(&*dir, &options)?;
            let fork_generation = fork::generation();
            let closed = AtomicBool::new(false);
            let backend = Backend::Reader { view: Box::new(Mutex::new(view)), seq, closed, fork_generation };
            return Ok(Self { dir, backend, recovery, recovery_ns: 0 });
        }
        let (batch, threads) = (options.sync == SyncMode::Batch, options.threads);
        let open::Opened { shared, lock, recovery, notices } = open::writer(dir.clone(), options)?;
        for notice in notices {
            shared.notify(Severity::Warning, notice);
        }
        let resources = Mutex::new(Some(Resources { threads: Vec::new(), serves_wakers: false, lock }));
        let backend = Backend::Writer { shared: shared.clone(), resources };
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
        if let Backend::Writer { resources, .. } = &self.backend
            && let Some(resources) = &mut *resources.lock()
        {
            resources.threads.push(thread);
        }
        Ok(())
    }

    /// The data directory.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    #[inline]
    fn writer(&self, op: &'static str) -> Result<&Shared> {
        match &self.backend {
            Backend::Writer { shared, .. } => Ok(shared),
            Backend::Reader { .. } => Err(self.read_only(op)),
        }
    }

    #[cold]
    fn read_only(&self, op: &'static str) -> Error {
        match self.usable() {
            Ok(()) => Error::ReadOnly { op, path: self.path().to_path_buf() },
            Err(error) => error,
        }
    }

    fn usable(&self) -> Result<()> {
        match &self.backend {
            Backend::Writer { shared, .. } => shared.usable(),
            Backend::Reader { closed, fork_generation, .. } => {
                if fork::generation() != *fork_generation {
                    return Err(Error::Forked);
                }
                if closed.load(Ordering::Acquire) { Err(Error::Closed) } else { Ok(()) }
            }
        }
    }

    /// Runs `look` on the keys and the time, under the lock.
    fn with_view<T>(&self, look: impl FnOnce(&mut View) -> T) -> Result<T> {
        self.usable()?;
        match &self.backend {
            Backend::Writer { shared, .. } => {
                let mut core = shared.core.lock();
                if core.closed { Err(Error::Closed) } else { Ok(look(&mut core.view)) }
            }
            Backend::Reader { view, .. } => Ok(look(&mut view.lock())),
        }
    }

    /// Nanoseconds until the last of `costs` would have been allowed if they were taken in this order, each as soon as it
    /// fits, and nothing else happened; `u64::MAX` if one never fits. Changes and counts nothing.
    ///
    /// # Errors
    /// `LimitNotFound`, `Stopped`, `Closed`, `Forked`.
    pub fn forecast(&self, key: &str, limit: Option<&Limit>, costs: &[u64]) -> Result<u64> {
        self.with_view(|view| view.forecast(key, limit, costs))?
    }

    /// Whether a call with this record has to be waited for: in `SyncMode::Always`, until it is on disk.
    #[inline]
    pub fn must_wait(&self, seq: u64) -> bool {
        match &self.backend {
            Backend::Writer { shared, .. } => shared.must_wait(seq),
            Backend::Reader { .. } => false,
        }
    }

    /// Returns when record `seq` is on disk; may do the fdatasync itself, for all who wait.
    ///
    /// # Errors
    /// `Storage` or `Stopped`: the record may or may not count after reopening.
    pub fn wait_durable(&self, seq: u64) -> Result<()> {
        self.writer("a durable call")?.wait_durable(seq)
    }

    /// Has record `seq` made durable in the background: `waker` is woken, once, from a thread of the engine when
    /// [`Self::poll_durable`] has an answer. Any number of records share one wake-up a sync.
    ///
    /// # Errors
    /// `Forked`, `ReadOnly`.
    pub fn wake_when_durable(&self, waker: &Waker) -> Result<()> {
        let shared = self.writer("a durable call")?;
        if shared.is_forked() {
            return Err(Error::Forked);
        }
        shared.wakers.add(waker);
        if !self.serves_wakers() {
            // No thread could be had. Whoever came meanwhile and found somebody at it counts on this, too.
            background::serve_wakers_now(shared);
        }
        Ok(())
    }

    /// Whether record `seq` is on disk.
    ///
    /// # Errors
    /// `Stopped` or `Closed`: it did not get there and will not; it may or may not count after reopening.
    pub fn poll_durable(&self, seq: u64) -> Result<bool> {
        match &self.backend {
            Backend::Writer { shared, .. } => shared.poll_durable(seq),
            Backend::Reader { .. } => Ok(true),
        }
    }

    /// Whether somebody serves the wakers: a thread, which starts with the first of them, or whoever closes the store.
    fn serves_wakers(&self) -> bool {
        let Backend::Writer { shared, resources } = &self.backend else { return true };
        // Somebody who closes holds this for as long as that takes, and will wake everybody.
        let Some(mut held) = resources.try_lock() else { return true };
        let Some(resources) = &mut *held else { return true };
        if !resources.serves_wakers
            && let Ok(thread) = background::spawn_waker(shared.clone())
        {
            resources.threads.push(thread);
            resources.serves_wakers = true;
        }
        resources.serves_wakers
    }

    /// What `check` would say now. Consumes and counts nothing.
    ///
    /// # Errors
    /// `InvalidKey`, `InvalidCost`, `InvalidLimit`, `LimitNotFound`, `Stopped`, `Closed`, `Forked`.
    pub fn peek(&self, key: &str, cost: u64, limit: Option<&Limit>) -> Result<Outcome> {
        self.with_view(|view| view.peek(&Item { key, cost, limit }))?
    }

    /// One key, or `None` if it has no limit.
    ///
    /// # Errors
    /// `InvalidKey`, `Stopped`, `Closed`, `Forked`.
    pub fn status(&self, key: &str) -> Result<Option<Status>> {
        Key::new(key)?;
        self.with_view(|view| view.status(key))
    }

    /// Keys in byte order that start with `prefix` and come after `after`, at most `limit`.
    ///
    /// # Errors
    /// `Stopped`, `Closed`, `Forked`.
    pub fn list(&self, prefix: Option<&str>, limit: Option<usize>, after: Option<&str>) -> Result<Vec<Status>> {
        listing::list(self, prefix.unwrap_or_default(), limit, after)
    }

    /// The keys with the largest totals, largest first, ties in byte order; keys whose total is zero are left out.
    ///
    /// # Errors
    /// `Stopped`, `Closed`, `Forked`.
    pub fn top(&self, by: TopBy, limit: usize) -> Result<Vec<Status>> {
        listing::top(self, by, limit)
    }

    /// The newest `limit` events of a key, oldest first, as far back as segments are kept.
    ///
    /// # Errors
    /// `InvalidKey`, `Storage`, `Corrupt`, `Stopped`, `Closed`, `Forked`.
    pub fn history(&self, key: &str, limit: usize) -> Result<Vec<Event>> {
        Key::new(key)?;
        self.usable()?;
        let now = match &self.backend {
            Backend::Writer { shared, .. } => {
                let mut core = shared.core.lock();
                let now = history_now(&mut core.view, key);
                let slot = core.view.table.find(key);
                let unsaved = slot.and_then(|slot| core.unsaved_denials(slot));
                // What is appended while the files are read is left out, as it is left out of the denials.
                history::Now { seq: core.writer.seq(), unsaved, ..now }
            }
            Backend::Reader { view, seq, .. } => {
                let names = self.dir.list().map_err(|error| Error::storage("cannot list", self.path(), error))?;
                if let Some(store) = migrate::unmigrated(&*self.dir, &names)? {
                    return Ok(old_events(&store, key, limit));
                }
                let now = history::Now { seq: *seq, ..history_now(&mut view.lock(), key) };
                if let Some(finished) = migrate::finished(&*self.dir, &names)? {
                    return history::read(&finished, key, now, limit);
                }
                now
            }
        };
        history::read(&*self.dir, key, now, limit)
    }

    /// Makes everything acknowledged so far durable.
    ///
    /// # Errors
    /// `Storage`, `Stopped`, `Closed`, `Forked`, `ReadOnly`.
    pub fn flush(&self) -> Result<()> {
        let seq = self.newest_seq()?;
        if hooks::has(Defect::SkipFlushSync) {
            return Ok(());
        }
        self.wait_durable(seq)
    }

    /// The newest record, which [`Self::flush`] would wait for.
    ///
    /// # Errors
    /// `Stopped`, `Closed`, `Forked`, `ReadOnly`.
    pub fn newest_seq(&self) -> Result<u64> {
        self.writer("flush")?.perform(|core| Ok(core.writer.seq()))
    }

    /// Writes a snapshot and removes the log that it replaces, beyond what is kept as history. Checks go on meanwhile.
    ///
    /// # Errors
    /// `Storage` (the store goes on without the snapshot), `Stopped`, `Closed`, `Forked`, `ReadOnly`.
    pub fn compact(&self) -> Result<()> {
        compact::compact(self.writer("compact")?)
    }

    /// Verifies the files, beside running checks.
    ///
    /// # Errors
    /// `Storage`, `Closed`, `Forked`. Damage is reported, not raised.
    pub fn doctor(&self) -> Result<Report> {
        self.usable()?;
        doctor::examine(&*self.dir)
    }

    /// One round of what the background threads do, for stores opened without them.
    ///
    /// # Errors
    /// `Storage`, `Stopped`, `Closed`, `Forked`, `ReadOnly`.
    #[cfg(feature = "testing")]
    pub fn turn(&self) -> Result<()> {
        let shared = self.writer("turn")?;
        shared.usable()?;
        background::turn(shared)
    }

    /// Every key with its whole state, in the order of keys, as lines of a snapshot would tell it: the same at any moment, unlike
    /// a status. Denial totals are left out, because a crash may lose them.
    ///
    /// # Errors
    /// `Closed`, `Forked`.
    #[cfg(feature = "testing")]
    pub fn images(&self) -> Result<Vec<KeyImage>> {
        listing::images(self)
    }

    /// What open found and did.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// Totals since open. In a forked child, zeros.
    pub fn counters(&self) -> Counters {
        if self.is_forked() {
            return Counters::default();
        }
        match &self.backend {
            Backend::Reader { view, .. } => {
                let (sync_ns, sync_records) = (stats::no_syncs(), stats::no_records());
                let keys = view.lock().table.len();
                Counters { keys, recovery_ns: self.recovery_ns, sync_ns, sync_records, ..Counters::default() }
            }
            Backend::Writer { shared, .. } => {
                let core = shared.core.lock();
                Counters {
                    keys: core.view.table.len(),
                    allowed: core.allowed,
                    denied: core.denied,
                    seq: core.writer.seq(),
                    durable_seq: core.writer.durable_seq(),
                    log_bytes: core.writer.end(),
                    syncs: shared.syncs.load(Ordering::Relaxed),
                    rotations: core.writer.rotations(),
                    compactions: shared.compactions.load(Ordering::Relaxed),
                    recovery_ns: self.recovery_ns,
                    sync_ns: shared.sync_ns.read(),
                    sync_records: shared.sync_records.read(),
                }
            }
        }
    }

    /// Whether a background thread has something to say. One atomic load.
    #[inline]
    pub fn has_notices(&self) -> bool {
        match &self.backend {
            Backend::Writer { shared, .. } => shared.has_notices(),
            Backend::Reader { .. } => false,
        }
    }

    /// Takes what there is to say.
    pub fn take_notices(&self) -> Vec<Notice> {
        match &self.backend {
            Backend::Writer { shared, .. } => shared.take_notices(),
            Backend::Reader { .. } => Vec::new(),
        }
    }

    /// Whether calls may be made: the storage works and the handle is open.
    ///
    /// # Errors
    /// `Stopped`, `Closed`, `Forked`.
    pub fn health(&self) -> Result<()> {
        self.usable()
    }

    /// Whether `close` was called.
    pub fn is_closed(&self) -> bool {
        match &self.backend {
            Backend::Writer { shared, .. } => shared.is_closed(),
            Backend::Reader { closed, .. } => closed.load(Ordering::Acquire),
        }
    }

    /// Whether this process was forked from the one that opened the store. One atomic load.
    #[inline]
    pub fn is_forked(&self) -> bool {
        match &self.backend {
            Backend::Writer { shared, .. } => shared.is_forked(),
            Backend::Reader { fork_generation, .. } => fork::generation() != *fork_generation,
        }
    }
}

/// A key as its history has to know it, with everything that is in the files.
fn history_now(view: &mut View, key: &str) -> history::Now {
    let now = view.time.now();
    let offset_ns = view.time.offset_ns(now);
    let slot = view.table.find(key);
    let id = slot.map(|slot| view.table.entry(slot).id);
    let rates = slot.map(|slot| view.table.rates(slot).copied().collect()).unwrap_or_default();
    history::Now { id, rates, offset_ns, seq: u64::MAX, unsaved: None }
}

fn old_events(store: &legacy::LegacyStore, key: &str, limit: usize) -> Vec<Event> {
    let of_key: Vec<_> = store.events.iter().filter(|event| event.key == key).collect();
    of_key[of_key.len().saturating_sub(limit)..]
        .iter()
        .map(|event| Event {
            kind: event.kind,
            at_wall_ns: event.at_ns,
            cost: event.cost,
            count: event.count,
            remaining: None,
        })
        .collect()
}

/// Verifies a directory without opening it: offline, beside a live writer, broken or of an old release. Changes nothing.
///
/// # Errors
/// `Storage` when the directory does not exist or cannot be listed. Damage is reported, not raised.
pub fn doctor(path: &Path) -> Result<Report> {
    let dir = DiskDir::open(path, false).map_err(|error| Error::storage("cannot open", path, error))?;
    doctor_in(&*dir)
}

/// The same in any directory, such as a simulated one.
///
/// # Errors
/// As [`doctor`].
pub fn doctor_in(dir: &dyn Dir) -> Result<Report> {
    doctor::examine(dir)
}

/// Calls `each` for every record of a directory's log with a sequence number above `after`, in order, until it returns
/// false; beside a live writer too. Gives the newest sequence number seen.
///
/// # Errors
/// `Storage`; `Corrupt` after the records before damage in the middle of the log (behind the last good record only
/// [`doctor`] tells damage from a torn tail); `Unsupported` for an old release's directory.
pub fn dump(path: &Path, after: u64, each: &mut dyn FnMut(DumpedRecord) -> bool) -> Result<u64> {
    let dir = DiskDir::open(path, false).map_err(|error| Error::storage("cannot open", path, error))?;
    dump::dump(&*dir, after, each)
}

/// Writes a repaired copy of the directory `path` to `output`, and says exactly what it lacks. `output` must not exist, or be
/// empty, and must not lie in `path`; the directory above it must exist. `path` is only read, and without its lock: beside a
/// live writer the copy holds some moment of the work. If `path` opens as it is, nothing is written.
///
/// # Errors
/// `InvalidArgument` for such an `output`; `Unsupported` when nothing is left that could be copied or only a newer version can
/// tell; `Storage`. After an error there is no copy, not even a part of one.
pub fn salvage(path: &Path, output: &Path) -> Result<Salvage> {
    let dir = DiskDir::open(path, false).map_err(|error| Error::storage("cannot open", path, error))?;
    let place = NewDir::check(path, output)
        .map_err(|error| Error::storage("cannot write", output, error))?
        .map_err(Error::InvalidArgument)?;
    let Some(prepared) = salvage::prepare(&*dir)? else { return Ok(Salvage::default()) };
    reject_unsupported_fs(output).map_err(|detail| Error::Unsupported { path: output.to_path_buf(), detail })?;
    let cannot_create = |error| Error::storage("cannot create", output, error);
    let copy = place.create().map_err(cannot_create)?;
    prepared.claim(&*copy).inspect_err(|_| place.give_back())?;
    prepared.write(&*copy).inspect_err(|_| place.discard())
}

/// The same in any directories, such as simulated ones. `output` must be empty; after an error it holds a part of a copy,
/// which no open accepts.
///
/// # Errors
/// As [`salvage`].
pub fn salvage_in(dir: &dyn Dir, output: &dyn Dir) -> Result<Salvage> {
    let Some(prepared) = salvage::prepare(dir)? else { return Ok(Salvage::default()) };
    prepared.claim(output)?;
    prepared.write(output)
}

#[cfg(test)]
#[cfg(feature = "shuttle")]
mod shuttle_tests;
