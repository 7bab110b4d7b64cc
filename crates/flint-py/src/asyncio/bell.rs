//! What wakes an event loop from a thread of the engine.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Wake;

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The engine's end of the socket.
pub(super) struct Bell(UnixStream);

impl Bell {
    pub(super) const fn new(writer: UnixStream) -> Self {
        Self(writer)
    }

    pub(super) fn ring(&self) {
        // A full socket wakes its reader as well, and one whose loop has ended has no reader to wake.
        let _ = (&self.0).write(&[1]);
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}
