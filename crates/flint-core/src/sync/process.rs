//! What belongs to the process. A model checker must not take it over: it begins anew with every execution, a static does
//! not. Its threads may use it all the same, because they are only suspended at what the rest of this module offers, and
//! nothing of that is used while such a lock is held: a thread that finds it held waits for one that runs.

use std::sync::{self, MutexGuard, PoisonError};

pub(crate) use std::sync::OnceLock;
pub(crate) use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU64};
pub(crate) use std::thread::yield_now;

/// A lock for a static.
pub(crate) struct Mutex<T>(sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
