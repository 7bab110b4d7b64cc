//! All open connections: which is dropped because it takes too long, and which is evicted for another.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::clock::SweepClock;
use super::state::Connection;
use crate::settings::Bounds;

/// Time between two sweeps.
pub(crate) const SWEEP_EVERY: Duration = Duration::from_millis(100);

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
    /// Refused because all others were being answered.
    pub(crate) refused: AtomicU64,
    count: AtomicUsize,
}

impl Connections {
    /// An empty table.
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            open: Mutex::default(),
            clock: Arc::default(),
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

    /// Adds a new one, for which another may be evicted; `None` when all are being answered.
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
            open.swap_remove(index).abort();
        }
        let connection = Arc::new(Connection::new(self.clock.clone()));
        open.push(connection.clone());
        self.count.store(open.len(), Ordering::Relaxed);
        Some(connection)
    }

    /// Removes one that has ended.
    pub(crate) fn remove(&self, connection: &Arc<Connection>) {
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
                connection.abort();
            }
            !overdue
        });
        self.count.store(open.len(), Ordering::Relaxed);
    }

    /// Drops all of them.
    pub(crate) fn abort_all(&self) {
        for connection in self.open().drain(..) {
            connection.abort();
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
    fn a_new_connection_is_evicted_before_one_that_was_served() {
        let all = connections(3);
        let served = all.admit().unwrap();
        served.head_complete();
        served.answered(true);
        let silent = all.admit().unwrap();
        let asking = all.admit().unwrap();
        asking.head_complete();
        let fourth = all.admit().unwrap();
        assert!(is_open(&all, &served) && is_open(&all, &asking) && !is_open(&all, &silent));
        fourth.head_complete();
        let fifth = all.admit().unwrap();
        assert!(!is_open(&all, &served));
        fifth.head_complete();
        assert!(all.admit().is_none(), "all are being answered");
        assert_eq!(all.evicted.load(Ordering::Relaxed), 2);
        assert_eq!(all.refused.load(Ordering::Relaxed), 1);
        fifth.body_expected();
        assert!(all.admit().is_some(), "one that sends its body slowly is evicted");
    }

    #[test]
    fn a_pipelined_request_is_recognised() {
        let connection = connections(1).admit().unwrap();
        connection.bytes_received();
        assert!(!connection.head_complete(), "it came by itself");
        connection.answered(true);
        assert!(connection.head_complete(), "nothing was heard since");
        connection.answered(true);
        connection.bytes_received();
        assert!(!connection.head_complete());
    }

    #[test]
    fn each_phase_has_its_deadline() {
        let bounds = Bounds::default();
        let all = connections(9);
        let overdue_after = |connection: &Connection| {
            let since = connection.since_ms.load(Ordering::Relaxed);
            [5_000, 10_000, 30_000, 75_000].into_iter().find(|ms| connection.is_overdue(&bounds, since + ms + 1))
        };
        let connection = all.admit().unwrap();
        assert_eq!(overdue_after(&connection), Some(5_000));
        connection.bytes_received();
        assert_eq!(overdue_after(&connection), Some(5_000));
        connection.head_complete();
        assert_eq!(overdue_after(&connection), Some(30_000));
        connection.answered(false);
        assert_eq!(overdue_after(&connection), Some(5_000), "refused");
        connection.head_complete();
        connection.answered(true);
        assert_eq!(overdue_after(&connection), Some(75_000));
        connection.write_blocked();
        assert_eq!(overdue_after(&connection), Some(10_000));
        connection.write_unblocked();
        assert_eq!(overdue_after(&connection), Some(75_000));
        all.remove(&connection);
        assert_eq!(all.count(), 0);
    }
}
