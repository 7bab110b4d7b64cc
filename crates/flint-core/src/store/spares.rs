//! The segments that are made ahead: the spare, which the next one begins in, and the reserve, which gives a compaction room on a
//! full disk.

use crate::error::{Error, Result};
use crate::files;
use crate::sync::{MutexGuard, Ordering};
use crate::writer::{self, Blocked};

use super::shared::{CLOSED, Shared};

impl Shared {
    /// Makes a spare segment for at least `len` bytes, and before it what is reserved for compaction, unless they are there.
    pub(crate) fn make_spare(&self, len: usize) -> Result<()> {
        let _making = self.spare.lock();
        if self.is_closed() {
            return Err(Error::Closed);
        }
        self.prepare(len).map_err(|error| {
            if error.is_out_of_space() {
                self.note_shortage();
            }
            self.stop_if_fatal(error)
        })
    }

    fn prepare(&self, len: usize) -> Result<()> {
        let (reserved, segment_bytes, holds) = {
            let core = self.core.lock();
            (core.writer.is_reserved(), core.writer.segment_bytes(), core.held_room > 0)
        };
        if !reserved {
            writer::create_reserve(&*self.dir, segment_bytes)?;
            self.core.lock().writer.set_reserved(true);
        }
        let too_small = {
            let mut core = self.core.lock();
            if core.writer.has_spare_of(len) {
                return Ok(());
            }
            core.writer.take_spare()
        };
        drop(too_small);
        // Of a segment that room is set aside in, the other calls need a part as well.
        let all =
            if len > segment_bytes || (holds && len > segment_bytes / 2) { len + segment_bytes } else { segment_bytes };
        let spare = writer::create_some_spare(&*self.dir, all, len, self.options.log_io)?;
        self.core.lock().writer.set_spare(spare);
        Ok(())
    }

    /// The log is full and cannot grow: a compaction is due, once.
    fn note_shortage(&self) {
        let mut core = self.core.lock();
        if core.is_full() && core.short_at != Some(core.writer.end()) {
            core.short_at = Some(core.writer.end());
            core.is_short = true;
            core.worker_knows = true;
            drop(core);
            self.worker.ring(false);
        }
    }

    /// While this is held no call makes a segment: they wait.
    pub(crate) fn no_spares(&self) -> MutexGuard<'_, ()> {
        self.spare.lock()
    }

    /// Removes the spare, for a compaction. The caller holds [`Self::no_spares`], as in all below.
    pub(crate) fn give_up_spare(&self) -> Result<()> {
        let spare = self.core.lock().writer.take_spare();
        if spare.is_some() { self.give_up(files::SPARE) } else { Ok(()) }
    }

    /// Removes what is reserved for a compaction.
    pub(crate) fn give_up_reserve(&self) -> Result<()> {
        {
            let mut core = self.core.lock();
            if !core.writer.is_reserved() {
                return Ok(());
            }
            core.writer.set_reserved(false);
        }
        self.give_up(files::RESERVE)
    }

    fn give_up(&self, name: &str) -> Result<()> {
        let removed = self.dir.remove(name).and_then(|()| self.dir.sync());
        removed.map_err(|error| Error::storage("cannot remove", self.path().join(name), error))
    }

    /// Leaves the active segment, for the spare or a new one of `len` bytes.
    pub(crate) fn continue_in_new_segment(&self, len: u64) -> Result<()> {
        let has_spare = self.core.lock().writer.has_spare_of(0);
        if !has_spare {
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            let spare = writer::create_spare(&*self.dir, len, self.options.log_io)?;
            self.core.lock().writer.set_spare(spare);
        }
        let left = self.core.lock().writer.leave();
        match left {
            Err(Blocked::Failed(error)) => Err(self.stop_if_fatal(error)),
            _ => Ok(()),
        }
    }

    /// The last step of a session: waits for a spare that a thread is making, lets no thread make another, and removes the one that
    /// is not needed any more.
    pub(crate) fn end_spares(&self) -> Result<()> {
        let _making = self.spare.lock();
        let stopped = self.is_stopped();
        self.state.store(CLOSED, Ordering::Release);
        let spare = self.core.lock().writer.take_spare();
        if spare.is_none() || stopped {
            return Ok(());
        }
        let removed = self.dir.remove(files::SPARE).and_then(|()| self.dir.sync());
        removed.map_err(|error| Error::storage("cannot remove", self.path().join(files::SPARE), error))
    }
}
