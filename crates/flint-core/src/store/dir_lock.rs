//! The directory's lock while a store is open.

use std::path::Path;

use crate::files;
use crate::lock_text;
use crate::storage::LockGuard;
use crate::sync::{AtomicBool, Mutex, Ordering};

/// The lock, until it is released.
#[derive(Default)]
pub(crate) struct DirLock {
    guard: Mutex<Option<Box<dyn LockGuard>>>,
    /// Whether a lock file that cannot be made again was reported.
    reported: AtomicBool,
}

impl DirLock {
    /// Keeps the lock that was taken.
    pub(crate) fn hold(&self, guard: Box<dyn LockGuard>) {
        *self.guard.lock() = Some(guard);
    }

    /// From here on another process may own the directory.
    pub(crate) fn release(&self) {
        drop(self.guard.lock().take());
    }

    /// Makes the lock file in `dir` again if it was removed or replaced, and returns what to report of that: another process was meant
    /// to get in, and did not, because the directory is locked, too.
    pub(crate) fn renew(&self, dir: &Path, store_id: u64) -> Option<String> {
        let held = self.guard.lock();
        let renewed = held.as_ref()?.renew(&lock_text::of_writer(Some(store_id)));
        let path = dir.join(files::LOCK);
        match renewed {
            Ok(false) => None,
            Ok(true) => {
                self.reported.store(false, Ordering::Relaxed);
                Some(format!(
                    "{} was removed or replaced while this process has the directory locked, and was made again; no other writer \
                     could open the directory in between. Do not remove it: what an ended process left does not block",
                    path.display()
                ))
            }
            // Once, until it succeeds.
            Err(_) if self.reported.swap(true, Ordering::Relaxed) => None,
            Err(error) => Some(format!(
                "{} was removed or replaced while this process has the directory locked, and cannot be made again: {error}; the \
                 directory stays locked, but if it was moved or removed, what is written now may be lost",
                path.display()
            )),
        }
    }
}
