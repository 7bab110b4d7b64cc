//! How a call wakes a background thread.

use std::time::Instant;

use crate::sync::{Condvar, Mutex};

/// A background thread's doorbell.
#[derive(Default)]
pub(crate) struct Bell {
    pub(crate) state: Mutex<Ring>,
    pub(crate) rung: Condvar,
}

/// What a doorbell asks for.
#[derive(Default)]
pub(crate) struct Ring {
    /// There is something to do.
    pub(crate) work: bool,
    /// Now, not after the usual delay.
    pub(crate) urgent: bool,
    /// Now, whatever else holds.
    pub(crate) pressing: bool,
    /// Until when the flusher waits for the batch to become full; `None` while there is none, or forever.
    pub(crate) deadline: Option<Instant>,
    /// End the thread.
    pub(crate) shutdown: bool,
}

impl Bell {
    pub(crate) fn ring(&self, urgent: bool) {
        let mut state = self.state.lock();
        state.work = true;
        state.urgent |= urgent;
        self.rung.notify_one();
    }

    /// The flusher must not wait any longer.
    pub(crate) fn press(&self) {
        let mut state = self.state.lock();
        state.work = true;
        state.pressing = true;
        self.rung.notify_one();
    }

    pub(crate) fn shutdown(&self) {
        self.state.lock().shutdown = true;
        self.rung.notify_all();
    }
}
