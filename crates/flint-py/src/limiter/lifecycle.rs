//! Opening and closing a limiter.

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use flint_core::Engine;
use flint_core::engine::{Options, SyncMode};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use super::{live, notices};
use crate::asyncio::loops::{Loops, locked};
use crate::errors::{OrRaise, prepare};

/// Rate limits that survive restarts, kept in the directory `data_dir`.
///
/// data_dir: str or Path, made absolute; created (mode 0700) when it does not exist.
/// sync: "always" (a call returns when its record is on disk) or "batch" (it returns at once; an fsync follows). A killed process loses
///     nothing in either mode; a power cut loses at most the last batch in "batch".
/// flush_every_ms: batch mode, longest time from a call to its fsync, milliseconds, at least 1.
/// flush_every_events: batch mode, number of calls after which an fsync starts, at least 1.
/// read_only: look only, also while an application has it open: no lock, no thread, no change; status, list, top, history, peek, doctor.
/// history_bytes: bytes of old log segments kept for history() after compaction.
/// lock_timeout: seconds to wait for a directory that another writer holds, such as a worker that is about to end: a number from 0
///     on; 0 waits for nothing. It has no effect with read_only.
/// log_io: "auto" (the log is written through a memory mapping where a full disk cannot make that fatal, otherwise with pwrite) or
///     "pwrite" (always).
/// clock: a flint.testing.ManualClock, for tests.
///
/// Use it as a context manager, call close(), or let go of it: each flushes and unlocks at once. One process holds a directory at a time.
/// Any method may be called from any thread.
///
/// Raises DataDirLocked, CorruptData, StorageError, InvalidArgument. Later calls raise ClosedError after close(), ForkedError in a
/// process forked after opening, and StorageError once a write or fsync has failed.
#[pyclass(module = "flint", name = "Limiter", subclass, weakref, frozen)]
pub(crate) struct Limiter(OnceLock<Open>);

/// What an initialised limiter holds.
pub(super) struct Open {
    pub(super) engine: Arc<Engine>,
    pub(super) sync: SyncMode,
    pub(super) read_only: bool,
    pub(super) clock: Option<Py<PyAny>>,
    pub(super) loops: Loops,
}

impl Limiter {
    /// One whose `__init__` has not run yet.
    pub(super) const fn uninitialised() -> Self {
        Self(OnceLock::new())
    }

    /// What it holds, if `__init__` has run.
    pub(super) fn get(&self) -> Option<&Open> {
        self.0.get()
    }

    #[inline]
    pub(super) fn open(&self) -> PyResult<&Open> {
        match self.0.get() {
            Some(open) => Ok(open),
            None => Err(PyRuntimeError::new_err("Limiter.__init__() was not called")),
        }
    }

    #[inline]
    pub(super) fn engine(&self) -> PyResult<&Engine> {
        Ok(&self.open()?.engine)
    }

    /// The engine, for a server that answers from it.
    pub(crate) fn shared_engine(&self) -> PyResult<Arc<Engine>> {
        Ok(self.open()?.engine.clone())
    }

    /// Raises RuntimeError for one that is open.
    pub(super) fn reject_second_init(&self) -> PyResult<()> {
        if self.0.get().is_some() { Err(already_open()) } else { Ok(()) }
    }

    /// Opens the directory `path`.
    pub(super) fn init(
        &self,
        py: Python<'_>,
        path: &Path,
        mut options: Options,
        clock: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        prepare(py)?;
        let (sync, read_only) = (options.sync, options.read_only);
        let signalled = Arc::new(Mutex::new(None));
        if !options.lock_timeout.is_zero() {
            let signalled = signalled.clone();
            // So that Ctrl-C ends the wait for the lock.
            options.interrupted = Some(Arc::new(move || {
                let raised = Python::attach(|py| py.check_signals().err());
                let is_raised = raised.is_some();
                *locked(&signalled) = raised;
                is_raised
            }));
        }
        let opened = py.detach(|| Engine::open(path, options));
        if let Some(raised) = locked(&signalled).take() {
            return Err(raised);
        }
        let engine = Arc::new(opened.or_raise(py)?);
        notices::emit(py, &engine);
        live::add(&engine);
        // Fails only when two threads initialise the same object; the loser's engine is closed as it is dropped.
        self.0.set(Open { engine, sync, read_only, clock, loops: Loops::default() }).map_err(|_| already_open())
    }

    /// Flushes, unlocks the directory and ends the background threads.
    pub(super) fn shut(&self, py: Python<'_>) -> PyResult<()> {
        let open = self.open()?;
        let closed = py.detach(|| open.engine.close());
        notices::emit(py, &open.engine);
        let closed = closed.or_raise(py);
        open.loops.end(py);
        closed
    }
}

fn already_open() -> PyErr {
    PyRuntimeError::new_err("this Limiter is already open")
}

impl Drop for Limiter {
    fn drop(&mut self) {
        let Some(open) = self.0.take() else { return };
        if open.engine.is_forked() {
            // Threads, locks and files belong to the parent process.
            std::mem::forget(open);
        } else {
            Python::attach(|py| {
                live::close_quietly(py, &open.engine);
                open.loops.end(py);
            });
        }
    }
}
