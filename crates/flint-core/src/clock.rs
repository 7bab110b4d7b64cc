//! The only place that reads a clock.

use std::fmt;

use crate::sync::{Arc, Mutex};

/// A source of time. Both readings are in nanoseconds.
pub trait Clock: Send + Sync {
    /// A clock that never goes back while the process runs; its origin is arbitrary. Suspended time counts where the
    /// platform can tell.
    fn monotonic_ns(&self) -> u64;
    /// Nanoseconds since the Unix epoch, as people set it; it may step either way.
    fn wall_ns(&self) -> u64;
    /// Both at one moment, monotonic first.
    fn both_ns(&self) -> (u64, u64) {
        (self.monotonic_ns(), self.wall_ns())
    }
    /// Of a clock that is moved by hand: has `hook` called after each move, in the thread that moved it. Returns whether it is one.
    fn on_advance(&self, hook: Hook) -> bool {
        drop(hook);
        false
    }
}

/// Called when a clock was moved by hand. Returns whether it is to be called again.
pub type Hook = Box<dyn Fn() -> bool + Send + Sync>;

/// The operating system's clocks.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

#[cfg(target_os = "linux")]
const MONOTONIC: rustix::time::ClockId = rustix::time::ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const MONOTONIC: rustix::time::ClockId = rustix::time::ClockId::Monotonic;

fn read(id: rustix::time::ClockId) -> u64 {
    let t = rustix::time::clock_gettime(id);
    u64::try_from(t.tv_sec).unwrap_or(0).saturating_mul(1_000_000_000).saturating_add(t.tv_nsec.unsigned_abs())
}

impl Clock for SystemClock {
    #[inline]
    fn monotonic_ns(&self) -> u64 {
        read(MONOTONIC)
    }

    fn wall_ns(&self) -> u64 {
        read(rustix::time::ClockId::Realtime)
    }
}

/// A clock that only moves when a caller moves it; the two readings can be moved together or apart.
pub struct ManualClock {
    /// Monotonic and wall: a thread that reads both never sees only one of them moved.
    readings: Mutex<(u64, u64)>,
    hooks: Mutex<Vec<Arc<Hook>>>,
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManualClock").field("readings", &self.both_ns()).finish_non_exhaustive()
    }
}

impl ManualClock {
    /// A clock whose wall reading is `wall_ns`.
    pub fn new(wall_ns: u64) -> Self {
        Self { readings: Mutex::new((1, wall_ns)), hooks: Mutex::default() }
    }

    /// Calls the hooks: time has passed.
    fn call_hooks(&self) {
        let hooks = self.hooks.lock().clone();
        let over: Vec<_> = hooks.into_iter().filter(|hook| !hook()).collect();
        self.hooks.lock().retain(|hook| !over.iter().any(|other| Arc::ptr_eq(hook, other)));
    }

    /// Lets `ns` nanoseconds pass, on both clocks.
    pub fn advance_ns(&self, ns: u64) {
        let mut readings = self.readings.lock();
        *readings = (readings.0.wrapping_add(ns), readings.1.wrapping_add(ns));
        drop(readings);
        self.call_hooks();
    }

    /// The same, unless a reading would exceed 64 bits: then neither moves, and this returns false.
    #[must_use]
    pub fn try_advance_ns(&self, ns: u64) -> bool {
        let mut readings = self.readings.lock();
        match (readings.0.checked_add(ns), readings.1.checked_add(ns)) {
            (Some(monotonic_ns), Some(wall_ns)) => {
                *readings = (monotonic_ns, wall_ns);
                drop(readings);
                self.call_hooks();
                true
            }
            _ => false,
        }
    }

    /// Steps the wall clock alone, as an administrator or NTP would.
    pub fn set_wall_ns(&self, ns: u64) {
        self.readings.lock().1 = ns;
    }
}

impl Clock for ManualClock {
    fn monotonic_ns(&self) -> u64 {
        self.readings.lock().0
    }

    fn wall_ns(&self) -> u64 {
        self.readings.lock().1
    }

    fn both_ns(&self) -> (u64, u64) {
        *self.readings.lock()
    }

    fn on_advance(&self, hook: Hook) -> bool {
        self.hooks.lock().push(Arc::new(hook));
        true
    }
}

#[cfg(all(test, not(feature = "shuttle")))]
mod tests {
    use super::*;

    #[test]
    fn a_reading_that_would_not_fit_leaves_both_as_they_are() {
        let clock = ManualClock::new(5);
        assert!(clock.try_advance_ns(u64::MAX - 5));
        assert_eq!(clock.both_ns(), (u64::MAX - 4, u64::MAX));
        assert!(!clock.try_advance_ns(1));
        clock.set_wall_ns(0);
        assert!(!clock.try_advance_ns(5));
        assert_eq!(clock.both_ns(), (u64::MAX - 4, 0));
        assert!(clock.try_advance_ns(4));
    }

    #[test]
    fn both_readings_move_at_once() {
        let clock = ManualClock::new(1_000_000);
        std::thread::scope(|scope| {
            scope.spawn(|| (0..200_000).for_each(|_| clock.advance_ns(7)));
            for _ in 0..200_000 {
                let (monotonic_ns, wall_ns) = clock.both_ns();
                assert_eq!(wall_ns - monotonic_ns, 999_999);
            }
        });
    }
}
