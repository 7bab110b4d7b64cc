//! The only place that reads a clock.

use crate::sync::{AtomicU64, Ordering};

/// A source of time. Both readings are in nanoseconds.
pub trait Clock: Send + Sync {
    /// A clock that never goes back while the process runs; its origin is arbitrary. Suspended time counts where the
    /// platform can tell.
    fn monotonic_ns(&self) -> u64;
    /// Nanoseconds since the Unix epoch, as people set it; it may step either way.
    fn wall_ns(&self) -> u64;
}

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

/// A clock that only moves when told to; the two readings can be moved together or apart.
#[derive(Debug)]
pub struct ManualClock {
    monotonic_ns: AtomicU64,
    wall_ns: AtomicU64,
}

impl ManualClock {
    /// A clock whose wall reading is `wall_ns`.
    pub fn new(wall_ns: u64) -> Self {
        Self { monotonic_ns: AtomicU64::new(1), wall_ns: AtomicU64::new(wall_ns) }
    }

    /// Lets `ns` nanoseconds pass, on both clocks.
    pub fn advance_ns(&self, ns: u64) {
        self.monotonic_ns.fetch_add(ns, Ordering::SeqCst);
        self.wall_ns.fetch_add(ns, Ordering::SeqCst);
    }

    /// Steps the wall clock alone, as an administrator or NTP would.
    pub fn set_wall_ns(&self, ns: u64) {
        self.wall_ns.store(ns, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn monotonic_ns(&self) -> u64 {
        self.monotonic_ns.load(Ordering::SeqCst)
    }

    fn wall_ns(&self) -> u64 {
        self.wall_ns.load(Ordering::SeqCst)
    }
}
