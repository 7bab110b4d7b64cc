//! What the threads of one open store share: the lock around [`Core`], group commit, and the stop on failure.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::commit::GroupCommit;
use crate::error::{Error, Result};
use crate::hooks::{self, Defect};
use crate::options::{Options, SyncMode, WaitPolicy};
use crate::stats::{self, Histogram};
use crate::storage::{Dir, fork};
use crate::sync::{self, Arc, AtomicU32, AtomicU64, Mutex, MutexGuard, Ordering};
use crate::writer::{self, Blocked};

use super::bell::Bell;
use super::core::Core;
use super::dir_lock::DirLock;
use super::notices::{Notices, Severity};
use super::wakers::Wakers;

const OPEN: u32 = 0;
const STOPPED: u32 = 1;
pub(super) const CLOSED: u32 = 2;

/// How long a scan leaves the lock to calls that wait for it: long enough for a thread to wake up.
const GIVE_WAY: Duration = Duration::from_micros(50);

/// Denial totals reach the log at least this often while they change.
const DENIALS_EVERY_NS: u64 = 60_000_000_000;

/// A panic under the lock may leave table and log in disagreement: nothing more is acknowledged on top of that.
struct StopOnPanic<'a>(&'a Shared);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        let cause = io::Error::other("a panic; please report it");
        drop(self.0.stop("a call on", self.0.path().to_path_buf(), cause));
    }
}

struct Failure {
    op: &'static str,
    path: PathBuf,
    message: String,
    errno: Option<i32>,
}

/// One open store.
pub struct Shared {
    pub(crate) dir: Arc<dyn Dir>,
    pub(crate) options: Options,
    pub(crate) core: Mutex<Core>,
    pub(crate) commit: GroupCommit,
    pub(crate) flusher: Bell,
    pub(crate) worker: Bell,
    /// Of the thread that serves the callers that wait for a limit.
    pub(crate) queue: Bell,
    /// The wakers to call when records are durable.
    pub(crate) wakers: Wakers,
    pub(crate) lock: DirLock,
    /// Held while a compaction runs.
    pub(crate) compacting: Mutex<()>,
    /// Held while a spare segment is made.
    pub(super) spare: Mutex<()>,
    /// Calls that wait for the lock.
    waiting: AtomicU32,
    pub(super) state: AtomicU32,
    failure: Mutex<Option<Failure>>,
    pub(crate) notices: Notices,
    fork_generation: u64,
    pub(crate) syncs: AtomicU64,
    pub(crate) compactions: AtomicU64,
    pub(crate) sync_ns: Histogram,
    pub(crate) sync_records: Histogram,
}

impl Shared {
    pub(crate) fn new(dir: Arc<dyn Dir>, options: Options, core: Core) -> Self {
        let durable_seq = core.writer.durable_seq();
        Self {
            dir,
            options,
            core: Mutex::new(core),
            commit: GroupCommit::new(durable_seq),
            flusher: Bell::default(),
            worker: Bell::default(),
            queue: Bell::default(),
            wakers: Wakers::default(),
            lock: DirLock::default(),
            compacting: Mutex::new(()),
            spare: Mutex::new(()),
            waiting: AtomicU32::new(0),
            state: AtomicU32::new(OPEN),
            failure: Mutex::new(None),
            notices: Notices::default(),
            fork_generation: fork::generation(),
            syncs: AtomicU64::new(0),
            compactions: AtomicU64::new(0),
            sync_ns: Histogram::new(&stats::SYNC_NS),
            sync_records: Histogram::new(&stats::SYNC_RECORDS),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Whether this process is a child of the one that opened the store. Asked before any lock is taken: a lock may have
    /// been held by another thread when the process was forked, and then no thread will ever release it here.
    #[inline]
    pub(crate) fn is_forked(&self) -> bool {
        fork::generation() != self.fork_generation
    }

    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.state.load(Ordering::Acquire) == CLOSED
    }

    #[inline]
    pub(crate) fn is_stopped(&self) -> bool {
        self.state.load(Ordering::Acquire) == STOPPED
    }

    /// Fails unless calls may be made.
    #[inline]
    pub(crate) fn usable(&self) -> Result<()> {
        if self.is_forked() {
            return Err(Error::Forked);
        }
        if self.state.load(Ordering::Acquire) == OPEN { Ok(()) } else { Err(self.unusable()) }
    }

    #[cold]
    fn unusable(&self) -> Error {
        if self.is_closed() { Error::Closed } else { self.failed().unwrap_or(Error::Closed) }
    }

    /// Why the engine stopped, if it did.
    fn failed(&self) -> Option<Error> {
        self.failure.lock().as_ref().map(|failure| Error::Stopped {
            op: failure.op,
            path: failure.path.clone(),
            message: failure.message.clone(),
            errno: failure.errno,
        })
    }

    /// Whether record `seq` is on disk.
    ///
    /// # Errors
    /// `Stopped`, or `Closed` when the store was closed without having made it durable.
    pub(crate) fn poll_durable(&self, seq: u64) -> Result<bool> {
        if self.commit.durable_seq() >= seq || hooks::has(Defect::BelieveUnsynced) {
            return Ok(true);
        }
        match self.state.load(Ordering::Acquire) {
            OPEN => Ok(false),
            // Closing may have made it durable since.
            _ if self.commit.durable_seq() >= seq => Ok(true),
            _ => Err(self.failed().unwrap_or(Error::Closed)),
        }
    }

    /// Runs `call` under the lock, until it succeeds or fails. Between two attempts it waits, without the lock, for the sync or the
    /// spare segment that the call needs.
    #[inline]
    pub(crate) fn perform<T>(&self, mut call: impl FnMut(&mut Core) -> Result<T, Blocked>) -> Result<T> {
        self.usable()?;
        let guard = StopOnPanic(self);
        let result = loop {
            match self.attempt(self.lock(), &mut call) {
                Ok(value) => break Ok(value),
                Err((refusal, seq)) => {
                    if let Err(error) = self.resolve(refusal, seq) {
                        break Err(error);
                    }
                }
            }
        };
        std::mem::forget(guard);
        result
    }

    /// Runs `call` once, under the lock. `None` if it would have to wait longer than `wait` allows; then nothing changed.
    #[inline]
    pub(crate) fn try_perform<T>(
        &self,
        wait: WaitPolicy,
        mut call: impl FnMut(&mut Core) -> Result<T, Blocked>,
    ) -> Result<Option<T>> {
        self.usable()?;
        let core = match wait {
            WaitPolicy::Lock => self.lock(),
            WaitPolicy::Never => match self.core.try_lock() {
                Some(core) => core,
                None => return Ok(None),
            },
        };
        let guard = StopOnPanic(self);
        let result = match self.attempt(core, &mut call) {
            Ok(value) => Ok(Some(value)),
            Err((Blocked::Failed(error), _)) => Err(self.stop_if_fatal(error)),
            Err((Blocked::UntilSync | Blocked::UntilSpare(_), _)) => Ok(None),
        };
        std::mem::forget(guard);
        result
    }

    /// Takes the lock for a call, and before a scan that takes it again and again.
    #[inline]
    fn lock(&self) -> MutexGuard<'_, Core> {
        if let Some(core) = self.core.try_lock() {
            return core;
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let core = self.core.lock();
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        core
    }

    /// Called by a scan between two slices, without the lock: lets waiting calls have it. The lock itself is not fair, because a thread
    /// that was woken is slower than one that runs.
    pub(crate) fn give_way(&self) {
        if self.waiting.load(Ordering::Relaxed) > 0 {
            sync::sleep(GIVE_WAY);
        }
    }

    /// Runs `call` under the lock `core` and wakes the threads that now have something to do. A failure comes with the newest record
    /// at that moment.
    #[inline]
    fn attempt<T>(
        &self,
        mut core: MutexGuard<'_, Core>,
        call: &mut impl FnMut(&mut Core) -> Result<T, Blocked>,
    ) -> Result<T, (Blocked, u64)> {
        if core.closed {
            return Err((Blocked::Failed(Error::Closed), 0));
        }
        let before = core.unsynced_events;
        let value = call(&mut core).map_err(|refusal| (refusal, core.writer.seq()))?;
        let after = core.unsynced_events;
        // Denial totals never cause a sync.
        let presses = after != before && core.writer.presses();
        let wake = self.wants_worker(&mut core);
        let rings = core.queues.take_ring();
        drop(core);
        if rings {
            self.queue.ring(false);
        }
        if after != before {
            self.wrote(after);
        }
        if presses && self.options.sync == SyncMode::Batch {
            self.flusher.press();
        }
        if wake {
            self.worker.ring(false);
        }
        Ok(value)
    }

    /// Does what a blocked call needs, or returns its error. `seq` is the newest record when it was blocked.
    pub(crate) fn resolve(&self, refusal: Blocked, seq: u64) -> Result<()> {
        match refusal {
            Blocked::Failed(error) => Err(self.stop_if_fatal(error)),
            Blocked::UntilSync => self.wait_durable(seq),
            Blocked::UntilSpare(len) => self.make_spare(len),
        }
    }

    /// Batch mode: wakes the flusher for the first unsynced call and for the one that fills the batch.
    #[inline]
    fn wrote(&self, unsynced: u64) {
        if self.options.sync == SyncMode::Batch {
            if unsynced == self.options.flush_every_events {
                self.flusher.ring(!hooks::has(Defect::IgnoreFullBatch));
            } else if unsynced == 1 {
                self.flusher.ring(false);
            }
        }
    }

    /// Whether the worker has something to do and does not know.
    #[inline]
    fn wants_worker(&self, core: &mut Core) -> bool {
        if core.worker_knows {
            return false;
        }
        let wanted = core.writer.needs_spare()
            || self.denials_due(core)
            || self.compaction_due(core)
            || core.view.wants_settling();
        core.worker_knows = wanted;
        wanted
    }

    #[inline]
    pub(crate) fn denials_due(&self, core: &Core) -> bool {
        !core.dirty.is_empty() && core.view.time.newest_ns().saturating_sub(core.dirty_since_ns) >= DENIALS_EVERY_NS
    }

    #[inline]
    pub(crate) fn compaction_due(&self, core: &Core) -> bool {
        core.is_short || core.replay_bytes() > core.compact_above
    }

    /// Whether a call with this record has to be waited for.
    #[inline]
    pub(crate) fn must_wait(&self, seq: u64) -> bool {
        self.options.sync == SyncMode::Always
            && seq > self.commit.durable_seq()
            && !hooks::has(Defect::AcknowledgeBeforeSync)
    }

    /// Returns when record `seq` is on disk.
    pub(crate) fn wait_durable(&self, seq: u64) -> Result<()> {
        self.commit.wait(seq, || if self.is_stopped() { Err(self.unusable()) } else { Ok(()) }, || self.sync_once())
    }

    /// Makes everything appended so far durable; returns the newest record of it.
    fn sync_once(&self) -> Result<u64> {
        let job = {
            let mut core = self.core.lock();
            // The anchor is a record like any other; without room for it, the next sync tries again.
            if let Err(Blocked::Failed(error)) = core.save_anchor(false)
                && writer::is_fatal(&error)
            {
                drop(core);
                return Err(self.stop_if_fatal(error));
            }
            core.unsynced_events = 0;
            match core.writer.begin_sync() {
                Some(job) => job,
                None => return Ok(core.writer.durable_seq()),
            }
        };
        let began = Instant::now();
        for (name, file) in &job.files {
            self.syncs.fetch_add(1, Ordering::Relaxed);
            let synced = match file.sync_data() {
                Err(_) if hooks::has(Defect::RetryFailedSync) => file.sync_data(),
                other => other,
            };
            synced.map_err(|error| self.stop("cannot sync", self.path().join(name), error))?;
        }
        if job.directory && !hooks::has(Defect::SkipDirectorySync) {
            self.dir.sync().map_err(|error| self.stop("cannot sync", self.path().to_path_buf(), error))?;
        }
        self.sync_ns.add(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX));
        self.sync_records.add(job.seq.saturating_sub(self.commit.durable_seq()));
        let mut core = self.core.lock();
        core.writer.finish_sync(&job);
        let wake = core.writer.has_chores() && !std::mem::replace(&mut core.worker_knows, true);
        drop(core);
        if wake {
            self.worker.ring(false);
        }
        Ok(job.seq)
    }

    /// Makes the lock file again if it is gone, and reports it.
    pub(crate) fn renew_lock(&self) {
        let store_id = self.core.lock().writer.store_id();
        if let Some(report) = self.lock.renew(self.path(), store_id) {
            self.notices.push(Severity::Warning, report);
        }
    }

    /// Every later call fails until the store is opened again: what is on disk is unknown now.
    pub(crate) fn stop(&self, op: &'static str, path: PathBuf, error: io::Error) -> Error {
        let failure = Failure { op, path: path.clone(), message: error.to_string(), errno: error.raw_os_error() };
        let first = {
            let mut held = self.failure.lock();
            let first = held.is_none();
            held.get_or_insert(failure);
            first
        };
        if first {
            // Before the state changes, so that a call that is refused because of it finds the notice.
            self.notices.push(
                Severity::Error,
                format!("the limiter stopped because {op} {} failed: {error}; reopen it", path.display()),
            );
        }
        // CLOSED stays.
        let _ = self.state.compare_exchange(OPEN, STOPPED, Ordering::AcqRel, Ordering::Acquire);
        // Waiters for a limit get the error.
        self.queue.ring(false);
        Error::Storage { op, path, source: error }
    }

    pub(crate) fn stop_if_fatal(&self, error: Error) -> Error {
        if !writer::is_fatal(&error) {
            return error;
        }
        match error {
            Error::Storage { op, path, source } => self.stop(op, path, source),
            other => other,
        }
    }
}
