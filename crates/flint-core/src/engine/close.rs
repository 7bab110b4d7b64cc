//! Ending a session: flush, close record, threads, lock. In a forked child, nothing of that.

use crate::error::Result;
use crate::hooks::{self, Defect};
use crate::store::core::Core;
use crate::store::shared::Shared;
use crate::writer::Blocked;

use super::backend::{Backend, Resources, Writer};
use super::{Engine, acquire, background};

impl Engine {
    /// Makes everything durable, writes the close record, ends the threads and releases the lock. Doing it twice is fine;
    /// in a forked child it does nothing.
    ///
    /// # Errors
    /// `Stopped` or `Storage` when something could not be made durable. The lock is released all the same.
    pub fn close(&self) -> Result<()> {
        if self.is_forked() {
            return Ok(());
        }
        match &self.backend {
            Backend::Reader(reader) => {
                reader.close();
                self.dir.close();
                Ok(())
            }
            Backend::Writer(Writer { shared, resources }) => {
                let mut held = resources.lock();
                let Some(Resources { threads, .. }) = held.take() else { return Ok(()) };
                shared.core.lock().closed = true;
                acquire::end(shared);
                shared.flusher.shutdown();
                shared.worker.shutdown();
                shared.wakers.shutdown();
                shared.queue.shutdown();
                for thread in threads {
                    // A panic in a background thread was printed by the thread; closing goes on.
                    drop(thread.join());
                }
                // A compaction that a caller began ends when it next takes the lock; a later one fails.
                let compacting = shared.compacting.lock();
                // The text of a removed lock file names the store, and no later round makes the file again.
                shared.renew_lock();
                let result = finish(shared);
                let result = result.and(shared.end_spares());
                drop(compacting);
                shared.wakers.end();
                shared.core.lock().writer.release();
                shared.lock.release();
                self.dir.close();
                result
            }
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if self.is_forked() {
            // Locks may be held by threads that do not exist here, and descriptors were closed by the fork handler: leave
            // everything to the end of the process.
            if let Backend::Writer(Writer { shared, resources }) = &mut self.backend {
                std::mem::forget(shared.clone());
                std::mem::forget(resources.get_mut().take());
            }
            return;
        }
        // A caller that needs the error calls close().
        drop(self.close());
    }
}

/// Runs `call` under the lock although the store is closed to all callers.
fn perform(shared: &Shared, mut call: impl FnMut(&mut Core) -> Result<bool, Blocked>) -> Result<bool> {
    loop {
        let mut core = shared.core.lock();
        let seq = core.writer.seq();
        match call(&mut core) {
            Ok(again) => return Ok(again),
            Err(refusal) => {
                drop(core);
                shared.resolve(refusal, seq)?;
            }
        }
    }
}

/// Everything that has to reach the disk. A full disk costs the denial totals that do not fit in the room kept for them.
fn finish(shared: &Shared) -> Result<()> {
    shared.usable()?;
    let totals = loop {
        match perform(shared, |core| if core.dirty.is_empty() { Ok(false) } else { core.save_denials() }) {
            Ok(true) => {}
            Ok(false) => break Ok(()),
            Err(error) if error.is_out_of_resources() => break Err(error),
            Err(error) => return Err(error),
        }
    };
    if shared.core.lock().writer.end() == 0 {
        // Opened on a full disk and nothing written since: the log ends as the last session left it.
        return totals;
    }
    perform(shared, |core| core.save_anchor(true).map(|()| false))?;
    let seq = shared.core.lock().writer.seq();
    shared.wait_durable(seq)?;
    perform(shared, |core| core.save_close().map(|()| false))?;
    if hooks::has(Defect::SkipCloseSync) {
        return totals;
    }
    let seq = shared.core.lock().writer.seq();
    shared.wait_durable(seq)?;
    // Only a seal tells that the segment behind it is missing. A file size limit that does not let it be written is no reason to
    // call everything else into question: the next open makes up for it.
    let full = shared.core.lock().writer.take_to_seal();
    for full in &full {
        match background::seal(shared, full) {
            Err(error) if error.is_out_of_resources() => {}
            sealed => sealed?,
        }
    }
    totals
}
