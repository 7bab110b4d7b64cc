//! Condition variables of the operating system.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::mutex::{MutexGuard, WaitResult};

/// A condition variable. It may wake up without having been notified.
#[derive(Debug, Default)]
pub(crate) struct Condvar(std::sync::Condvar);

impl Condvar {
    pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        if let Some(held) = guard.held.take() {
            guard.held = Some(self.0.wait(held).unwrap_or_else(PoisonError::into_inner));
        }
    }

    pub(crate) fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, timeout: Duration) -> WaitResult {
        let Some(held) = guard.held.take() else { return WaitResult(false) };
        let (held, waited) = self.0.wait_timeout(held, timeout).unwrap_or_else(PoisonError::into_inner);
        guard.held = Some(held);
        WaitResult(waited.timed_out())
    }

    pub(crate) fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, deadline: Instant) -> WaitResult {
        self.wait_for(guard, deadline.saturating_duration_since(Instant::now()))
    }

    /// The same for a pause that ends soon and does not depend on being notified.
    pub(crate) fn rest_until<T>(&self, guard: &mut MutexGuard<'_, T>, until: Instant) -> WaitResult {
        self.wait_until(guard, until)
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}
