//! Open connections: how far each is with its request, which is dropped when it takes too long, and which makes room for another.
//!
//! No connection has a timer of its own. A sweep every tenth of a second looks at all of them, and gives the time that they note.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::AbortHandle;

use crate::start::Bounds;

/// Time between two sweeps.
pub(crate) const SWEEP_EVERY: Duration = Duration::from_millis(100);

/// How far a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    /// Between requests.
    Idle = 0,
    /// The head of a request has begun to come, or the handshake of TLS.
    Head = 1,
    /// The body of a request is awaited.
    Body = 2,
    /// The request is being answered.
    Busy = 3,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    phase: AtomicU8,
    /// When the request began, or the silence; milliseconds since the server's start.
    since_ms: AtomicU64,
    /// Since when the client does not take what it gets; 0 when it does.
    blocked_since_ms: AtomicU64,
    /// Whether it had an answer that was not refused.
    served: AtomicBool,
    task: OnceLock<AbortHandle>,
    clock: Arc<SweepClock>,
}

/// Milliseconds since the server's start, as of the last sweep; never 0.
#[derive(Debug)]
pub(crate) struct SweepClock {
    start: Instant,
    now_ms: AtomicU64,
}

impl SweepClock {
    fn now_ms(&self) -> u64 {
        self.now_ms.load(Ordering::Relaxed)
    }

    fn advance(&self) -> u64 {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        self.now_ms.store(now, Ordering::Relaxed);
        now
    }
}

impl Connection {
    fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Idle,
            1 => Phase::Head,
            2 => Phase::Body,
            _ => Phase::Busy,
        }
    }

    fn set(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// Bytes came in.
    pub(crate) fn heard(&self) {
        if self.phase() == Phase::Idle {
            self.since_ms.store(self.clock.now_ms(), Ordering::Relaxed);
            self.set(Phase::Head);
        }
    }

    /// The head is complete; whoever answers knows who asks. True when the request came in together with the one before.
    pub(crate) fn asked(&self) -> bool {
        let came_along = self.phase() == Phase::Idle;
        // Then it begins when the one before is answered.
        self.heard();
        self.set(Phase::Busy);
        came_along
    }

    /// The body has not come yet.
    pub(crate) fn awaits_body(&self) {
        self.set(Phase::Body);
    }

    /// The body is there.
    pub(crate) fn has_body(&self) {
        self.set(Phase::Busy);
    }

    /// The request has its answer. `served` is false for one that was turned away.
    pub(crate) fn answered(&self, served: bool) {
        if served {
            self.served.store(true, Ordering::Relaxed);
        }
        self.since_ms.store(self.clock.now_ms(), Ordering::Relaxed);
        self.set(Phase::Idle);
    }

    /// The client takes nothing at the moment.
    pub(crate) fn blocked(&self) {
        if self.blocked_since_ms.load(Ordering::Relaxed) == 0 {
            self.blocked_since_ms.store(self.clock.now_ms(), Ordering::Relaxed);
        }
    }

    /// The client took something.
    pub(crate) fn unblocked(&self) {
        if self.blocked_since_ms.load(Ordering::Relaxed) != 0 {
            self.blocked_since_ms.store(0, Ordering::Relaxed);
        }
    }

    /// Since when the request is under way.
    pub(crate) fn began_ms(&self) -> u64 {
        self.since_ms.load(Ordering::Relaxed)
    }

    /// What may end this connection.
    pub(crate) fn set_task(&self, task: AbortHandle) {
        let _ = self.task.set(task);
    }

    fn end(&self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }

    fn is_overdue(&self, bounds: &Bounds, now_ms: u64) -> bool {
        let waited = now_ms.saturating_sub(self.since_ms.load(Ordering::Relaxed));
        let blocked = self.blocked_since_ms.load(Ordering::Relaxed);
        let stuck = blocked != 0 && now_ms.saturating_sub(blocked) > bounds.request_timeout_ms;
        stuck
            || match self.phase() {
                Phase::Idle if self.served.load(Ordering::Relaxed) => waited > bounds.idle_timeout_ms,
                // Whoever connects is to say something, and whoever was turned away to try again.
                Phase::Idle | Phase::Head => waited > bounds.header_timeout_ms,
                // These end by themselves, with an answer; the sweep is there for what hangs all the same.
                Phase::Body | Phase::Busy => waited > bounds.request_timeout_ms.saturating_mul(3),
            }
    }

    /// How readily it makes room for another: higher is sooner. `None` for one whose request is being answered.
    fn evictable(&self, now_ms: u64) -> Option<(bool, u64)> {
        let waited = now_ms.saturating_sub(self.since_ms.load(Ordering::Relaxed));
        let is_new = !self.served.load(Ordering::Relaxed);
        (self.phase() != Phase::Busy).then_some((is_new, waited))
    }
}

/// All open connections.
#[derive(Debug)]
pub(crate) struct Connections {
    open: Mutex<Vec<Arc<Connection>>>,
    clock: Arc<SweepClock>,
    bounds: Bounds,
    /// Accepted since the start.
    pub(crate) accepted: AtomicU64,
    /// Dropped because something took too long.
    pub(crate) timed_out: AtomicU64,
    /// Dropped to make room for another.
    pub(crate) evicted: AtomicU64,
    /// Turned away because all others were being answered.
    pub(crate) refused: AtomicU64,
    count: AtomicUsize,
}

impl Connections {
    /// None yet.
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            open: Mutex::default(),
            clock: Arc::new(SweepClock { start: Instant::now(), now_ms: AtomicU64::new(1) }),
            bounds,
            accepted: AtomicU64::new(0),
            timed_out: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            count: AtomicUsize::new(0),
        }
    }

    fn open(&self) -> MutexGuard<'_, Vec<Arc<Connection>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many are open.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Milliseconds since the server's start, as of the last sweep.
    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// A place for a new one, for which another may have to go; `None` when all are being answered.
    pub(crate) fn admit(&self) -> Option<Arc<Connection>> {
        let now_ms = self.clock.advance();
        let mut open = self.open();
        self.accepted.fetch_add(1, Ordering::Relaxed);
        if open.len() >= self.bounds.connections {
            let victim = open
                .iter()
                .enumerate()
                .filter_map(|(index, connection)| Some((connection.evictable(now_ms)?, index)))
                .max_by_key(|(readiness, _)| *readiness);
            let Some((_, index)) = victim else {
                self.refused.fetch_add(1, Ordering::Relaxed);
                return None;
            };
            self.evicted.fetch_add(1, Ordering::Relaxed);
            open.swap_remove(index).end();
        }
        let connection = Arc::new(Connection {
            phase: AtomicU8::new(Phase::Idle as u8),
            since_ms: AtomicU64::new(now_ms),
            blocked_since_ms: AtomicU64::new(0),
            served: AtomicBool::new(false),
            task: OnceLock::new(),
            clock: self.clock.clone(),
        });
        open.push(connection.clone());
        self.count.store(open.len(), Ordering::Relaxed);
        Some(connection)
    }

    /// It has ended.
    pub(crate) fn leave(&self, connection: &Arc<Connection>) {
        let mut open = self.open();
        if let Some(index) = open.iter().position(|other| Arc::ptr_eq(other, connection)) {
            open.swap_remove(index);
        }
        self.count.store(open.len(), Ordering::Relaxed);
    }

    /// Drops those that take too long.
    pub(crate) fn sweep(&self) {
        let now_ms = self.clock.advance();
        let mut open = self.open();
        open.retain(|connection| {
            let overdue = connection.is_overdue(&self.bounds, now_ms);
            if overdue {
                self.timed_out.fetch_add(1, Ordering::Relaxed);
                connection.end();
            }
            !overdue
        });
        self.count.store(open.len(), Ordering::Relaxed);
    }

    /// Drops all of them.
    pub(crate) fn end(&self) {
        for connection in self.open().drain(..) {
            connection.end();
        }
        self.count.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections(most: usize) -> Connections {
        Connections::new(Bounds { connections: most, ..Bounds::default() })
    }

    fn is_open(all: &Connections, one: &Arc<Connection>) -> bool {
        all.open().iter().any(|other| Arc::ptr_eq(other, one))
    }

    #[test]
    fn a_new_connection_makes_room_before_one_that_was_served() {
        let all = connections(3);
        let served = all.admit().unwrap();
        served.asked();
        served.answered(true);
        let silent = all.admit().unwrap();
        let asking = all.admit().unwrap();
        asking.asked();
        let fourth = all.admit().unwrap();
        assert!(is_open(&all, &served) && is_open(&all, &asking) && !is_open(&all, &silent));
        fourth.asked();
        let fifth = all.admit().unwrap();
        assert!(!is_open(&all, &served));
        fifth.asked();
        assert!(all.admit().is_none(), "all are being answered");
        assert_eq!(all.evicted.load(Ordering::Relaxed), 2);
        assert_eq!(all.refused.load(Ordering::Relaxed), 1);
        fifth.awaits_body();
        assert!(all.admit().is_some(), "one that sends its body slowly makes room");
    }

    #[test]
    fn a_request_that_came_along_with_another_is_told() {
        let connection = connections(1).admit().unwrap();
        connection.heard();
        assert!(!connection.asked(), "it came by itself");
        connection.answered(true);
        assert!(connection.asked(), "nothing was heard since");
        connection.answered(true);
        connection.heard();
        assert!(!connection.asked());
    }

    #[test]
    fn each_phase_has_its_time() {
        let bounds = Bounds::default();
        let all = connections(9);
        let overdue_after = |connection: &Connection| {
            let since = connection.since_ms.load(Ordering::Relaxed);
            [5_000, 10_000, 30_000, 75_000].into_iter().find(|ms| connection.is_overdue(&bounds, since + ms + 1))
        };
        let connection = all.admit().unwrap();
        assert_eq!(overdue_after(&connection), Some(5_000));
        connection.heard();
        assert_eq!(overdue_after(&connection), Some(5_000));
        connection.asked();
        assert_eq!(overdue_after(&connection), Some(30_000));
        connection.answered(false);
        assert_eq!(overdue_after(&connection), Some(5_000), "turned away");
        connection.asked();
        connection.answered(true);
        assert_eq!(overdue_after(&connection), Some(75_000));
        connection.blocked();
        assert_eq!(overdue_after(&connection), Some(10_000));
        connection.unblocked();
        assert_eq!(overdue_after(&connection), Some(75_000));
        all.leave(&connection);
        assert_eq!(all.count(), 0);
    }
}
