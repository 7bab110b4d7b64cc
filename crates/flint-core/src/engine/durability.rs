//! Waiting for the disk: in the caller's thread, or through a waker.

use std::task::Waker;

use crate::error::{Error, Result};
use crate::hooks::{self, Defect};

use super::backend::Backend;
use super::{Engine, background};

impl Engine {
    /// Whether an output with this sequence number may be acknowledged only after a wait: in `SyncMode::Always`, until the record is
    /// durable.
    #[inline]
    pub fn must_wait(&self, seq: u64) -> bool {
        self.backend.store().is_some_and(|store| store.must_wait(seq))
    }

    /// Returns when record `seq` is durable. The calling thread may do the fdatasync, for all waiters.
    ///
    /// # Errors
    /// `Storage` or `Stopped`: the record may or may not count after reopening.
    pub fn wait_durable(&self, seq: u64) -> Result<()> {
        self.writer("a durable call")?.wait_durable(seq)
    }

    /// Whether record `seq` is durable.
    ///
    /// # Errors
    /// `Stopped` or `Closed`: it is not durable and never will be; it may or may not count after reopening.
    pub fn poll_durable(&self, seq: u64) -> Result<bool> {
        self.backend.store().map_or(Ok(true), |store| store.poll_durable(seq))
    }

    /// Starts a sync in the background: a thread of the engine wakes `waker`, once, when [`Self::poll_durable`] has an answer for every
    /// record appended so far. All waiters share one wake-up per sync.
    ///
    /// # Errors
    /// `Forked`, `ReadOnly`.
    pub fn wake_when_durable(&self, waker: &Waker) -> Result<()> {
        let store = self.writer("a durable call")?;
        if store.is_forked() {
            return Err(Error::Forked);
        }
        store.wakers.add(waker);
        if !self.serves_wakers() {
            // No thread could be started. Wakers that were added since, in the belief that one is running, are served too.
            background::serve_wakers_now(store);
        }
        Ok(())
    }

    /// Whether the wakers will be served: by a thread, which starts with the first of them, or by the thread that closes the store.
    fn serves_wakers(&self) -> bool {
        let Backend::Writer(writer) = &self.backend else { return true };
        // The thread that closes the store holds this lock until it has woken all waiters.
        let Some(mut held) = writer.resources.try_lock() else { return true };
        let Some(resources) = &mut *held else { return true };
        if !resources.serves_wakers
            && let Ok(thread) = background::spawn_waker(writer.shared.clone())
        {
            resources.threads.push(thread);
            resources.serves_wakers = true;
        }
        resources.serves_wakers
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
}
