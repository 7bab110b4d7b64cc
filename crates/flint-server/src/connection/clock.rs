//! The clock of all connections: deadlines are kept by a sweep, and the time that connections note is the sweep's.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Milliseconds since the server's start, as of the last sweep; never 0.
#[derive(Debug)]
pub(super) struct SweepClock {
    start: Instant,
    now_ms: AtomicU64,
}

impl Default for SweepClock {
    fn default() -> Self {
        Self { start: Instant::now(), now_ms: AtomicU64::new(1) }
    }
}

impl SweepClock {
    pub(super) fn now_ms(&self) -> u64 {
        self.now_ms.load(Ordering::Relaxed)
    }

    pub(super) fn advance(&self) -> u64 {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        self.now_ms.store(now, Ordering::Relaxed);
        now
    }
}
