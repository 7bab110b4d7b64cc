//! Every lock, condition variable, atomic and thread of the crate comes from here, so that a model checker can take its place:
//! with the feature `shuttle`, which only tests enable, each operation is a scheduling point of `shuttle`.
//!
//! The locks are the standard library's, because a forked child has to be able to make and use its own: they are a futex and
//! nothing else. A lock whose waiters queue in a table of the process (as those of `parking_lot` do) leaves in the child a
//! table that points to threads which do not exist there.

#[cfg(feature = "shuttle")]
mod model;

/// For the tests beside the code that need what is private.
#[cfg(test)]
#[cfg(feature = "shuttle")]
#[path = "../tests/shuttle/explore.rs"]
pub(crate) mod explore;

pub(crate) use std::sync::Arc;

#[cfg(feature = "shuttle")]
pub(crate) use model::{Condvar, JoinHandle, Thread, current_thread, park, sleep, spawn_named};
pub(crate) use primitives::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
#[cfg(not(feature = "shuttle"))]
pub(crate) use std::thread::{JoinHandle, Thread, current as current_thread, park, sleep};

#[cfg(feature = "shuttle")]
use shuttle::sync as primitives;
#[cfg(not(feature = "shuttle"))]
use std::sync as primitives;

use std::ops::{Deref, DerefMut};
use std::sync::{PoisonError, TryLockError};
#[cfg(not(feature = "shuttle"))]
use std::time::{Duration, Instant};

/// What belongs to the process. A model checker must not take it over: it begins anew with every execution, a static does
/// not. Its threads may use it all the same, because they are only suspended at what the rest of this module offers, and
/// nothing of that is used while such a lock is held: whoever finds it held waits for a thread that runs.
pub(crate) mod process {
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
}

/// Starts a thread.
#[cfg(not(feature = "shuttle"))]
pub(crate) fn spawn_named(name: &str, run: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run)
}

/// A lock that does not care whether a thread panicked while holding it: what that means is for its users to say.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(primitives::Mutex<T>);

/// Holds a [`Mutex`] until it is dropped.
#[derive(Debug)]
pub(crate) struct MutexGuard<'a, T> {
    /// `None` only inside [`Condvar`].
    held: Option<primitives::MutexGuard<'a, T>>,
    #[cfg(feature = "shuttle")]
    mutex: &'a Mutex<T>,
}

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(primitives::Mutex::new(value))
    }

    #[inline]
    fn held<'a>(&'a self, held: primitives::MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        MutexGuard {
            held: Some(held),
            #[cfg(feature = "shuttle")]
            mutex: self,
        }
    }

    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.held(self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    #[inline]
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Some(self.held(guard)),
            Err(TryLockError::Poisoned(poisoned)) => Some(self.held(poisoned.into_inner())),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.held.as_ref().expect("held outside of Condvar")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.held.as_mut().expect("held outside of Condvar")
    }
}

/// A condition variable. It may wake up without having been notified.
#[cfg(not(feature = "shuttle"))]
#[derive(Debug, Default)]
pub(crate) struct Condvar(primitives::Condvar);

/// Whether a wait ended because its time was over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WaitResult(bool);

impl WaitResult {
    pub(crate) const fn timed_out(self) -> bool {
        self.0
    }
}

#[cfg(not(feature = "shuttle"))]
impl Condvar {
    pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        if let Some(held) = guard.held.take() {
            guard.held = Some(self.0.wait(held).unwrap_or_else(PoisonError::into_inner));
        }
    }

    pub(crate) fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, patience: Duration) -> WaitResult {
        let Some(held) = guard.held.take() else { return WaitResult(false) };
        let (held, waited) = self.0.wait_timeout(held, patience).unwrap_or_else(PoisonError::into_inner);
        guard.held = Some(held);
        WaitResult(waited.timed_out())
    }

    pub(crate) fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, deadline: Instant) -> WaitResult {
        self.wait_for(guard, deadline.saturating_duration_since(Instant::now()))
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}
