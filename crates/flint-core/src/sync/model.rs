//! What `shuttle` lacks: waits that time out, spurious wake-ups, and threads that can be asked whether they have
//! finished. It has no clock, so that every time-out may strike at once, later or never: its random numbers decide, which are
//! part of the schedule that a failure prints.
//!
//! It runs one thread at a time and knows only sequentially consistent atomics: a wrong memory ordering does not show.

use std::io;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::atomic::Ordering;
use shuttle::thread;

use super::mutex::{MutexGuard, WaitResult};
use super::process::{AtomicBool, AtomicU64};

pub(crate) use shuttle::thread::{Thread, current as current_thread, park};

/// A condition variable. It may wake up without having been notified.
///
/// A wait that is going to end by itself does not stand in the queue of `inner` but looks at `notifications`. So a
/// `notify_one` may wake one that waits for ever and, besides, those that do not: to them it was for no reason.
#[derive(Debug, Default)]
pub(crate) struct Condvar {
    inner: shuttle::sync::Condvar,
    /// Read and changed without a scheduling point of its own.
    notifications: AtomicU64,
}

impl Condvar {
    pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        if thread_rng().gen_ratio(1, 8) {
            self.wait_turns(guard, 0);
        } else if let Some(held) = guard.held.take() {
            guard.held = Some(self.inner.wait(held).unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Sometimes the timeout never happens: no thread may depend on it to go on.
    pub(crate) fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, _timeout: Duration) -> WaitResult {
        if thread_rng().gen_ratio(1, 2) {
            self.wait(guard);
            return WaitResult(false);
        }
        let turns = thread_rng().gen_range(0..8);
        WaitResult(!self.wait_turns(guard, turns))
    }

    pub(crate) fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, _deadline: Instant) -> WaitResult {
        self.wait_for(guard, Duration::ZERO)
    }

    /// Unlike that of `wait_until`, this time-out always happens.
    pub(crate) fn rest_until<T>(&self, guard: &mut MutexGuard<'_, T>, _until: Instant) -> WaitResult {
        let turns = thread_rng().gen_range(0..8);
        WaitResult(!self.wait_turns(guard, turns))
    }

    /// Waits until a thread notifies or the others have had some turns. Whether one did.
    fn wait_turns<T>(&self, guard: &mut MutexGuard<'_, T>, turns: u32) -> bool {
        // The scheduling point lies before the release: no thread runs between it and the look at `notifications`.
        guard.held = None;
        let before = self.notifications.load(Ordering::SeqCst);
        for _ in 0..turns {
            thread::yield_now();
            if self.notifications.load(Ordering::SeqCst) != before {
                break;
            }
        }
        guard.held = guard.mutex.lock().held.take();
        self.notifications.load(Ordering::SeqCst) != before
    }

    pub(crate) fn notify_one(&self) {
        self.inner.notify_one();
        self.notifications.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn notify_all(&self) {
        self.inner.notify_all();
        self.notifications.fetch_add(1, Ordering::SeqCst);
    }
}

/// A thread that can be waited for.
pub(crate) struct JoinHandle<T> {
    inner: thread::JoinHandle<T>,
    finished: Arc<AtomicBool>,
}

impl<T> JoinHandle<T> {
    pub(crate) fn join(self) -> std::thread::Result<T> {
        self.inner.join()
    }

    pub(crate) fn is_finished(&self) -> bool {
        thread::sleep(Duration::ZERO);
        self.finished.load(Ordering::SeqCst)
    }
}

/// Starts a thread.
pub(crate) fn spawn_named(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    let finished = Arc::new(AtomicBool::new(false));
    let ended = finished.clone();
    let inner = thread::Builder::new().name(name.to_owned()).spawn(move || {
        run();
        ended.store(true, Ordering::SeqCst);
    })?;
    Ok(JoinHandle { inner, finished })
}

/// A look at the schedule: time does not pass.
pub(crate) fn sleep(_time: Duration) {
    thread::yield_now();
}
