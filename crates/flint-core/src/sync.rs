//! Every lock, condition variable, atomic and thread of the crate comes from here, so that a model checker can take its place:
//! with the feature `shuttle`, which only tests enable, each operation is a scheduling point of `shuttle`.
//!
//! The locks are the standard library's, because a forked child has to be able to make and use its own: they are a futex and
//! nothing else. A lock whose waiters queue in a table of the process (as those of `parking_lot` do) leaves in the child a
//! table that points to threads which do not exist there.

#[cfg(not(feature = "shuttle"))]
mod condvar;
#[cfg(feature = "shuttle")]
mod model;
mod mutex;
pub(crate) mod process;

/// For the tests of this crate that need what is private.
#[cfg(test)]
#[cfg(feature = "shuttle")]
#[path = "../tests/shuttle/explore.rs"]
pub(crate) mod explore;

pub(crate) use std::sync::Arc;

#[cfg(not(feature = "shuttle"))]
pub(crate) use condvar::Condvar;
#[cfg(feature = "shuttle")]
pub(crate) use model::{Condvar, JoinHandle, Thread, current_thread, park, sleep, spawn_named};
pub(crate) use mutex::{Mutex, MutexGuard};
pub(crate) use primitives::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
#[cfg(not(feature = "shuttle"))]
pub(crate) use std::thread::{JoinHandle, Thread, current as current_thread, park, sleep};

#[cfg(feature = "shuttle")]
use shuttle::sync as primitives;
#[cfg(not(feature = "shuttle"))]
use std::sync as primitives;

/// Starts a thread.
#[cfg(not(feature = "shuttle"))]
pub(crate) fn spawn_named(name: &str, run: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run)
}
