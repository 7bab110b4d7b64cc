//! All open connections: which is dropped because it takes too long, and which is evicted for another.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::clock::SweepClock;
use super::state::Connection;
use crate::auth::Principal;
use crate::settings::Bounds;

/// What reports that the other end sends no more.
#[cfg(target_os = "linux")]
const END: PollFlags = PollFlags::RDHUP;
/// Other systems report only that it is gone, which needs no flag.
#[cfg(not(target_os = "linux"))]
const END: PollFlags = PollFlags::empty();

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
    /// Whether there are several tokens, of which none may have all connections.
    are_shared: AtomicBool,
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
            are_shared: AtomicBool::new(false),
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

    /// Whether there are several tokens, of which none may have all connections.
    pub(crate) fn share(&self, several: bool) {
        self.are_shared.store(several, Ordering::Relaxed);
    }

    /// Notes whose connection it is. Where a client has more than its share, the one of its others that was silent for longest is
    /// closed. False where all of them are being answered.
    pub(crate) fn claim(&self, connection: &Arc<Connection>, principal: Principal) -> bool {
        if !connection.set_principal(principal) || !self.are_shared.load(Ordering::Relaxed) {
            return true;
        }
        let mut open = self.open();
        let own = open.iter().enumerate().filter(|(_, other)| other.is_of(&principal));
        if own.clone().count() <= self.bounds.connections_per_token() {
            return true;
        }
        let now_ms = self.clock.now_ms();
        let victim = own
            .filter(|(_, other)| !Arc::ptr_eq(other, connection))
            .filter_map(|(index, other)| Some((other.evictable(now_ms)?, index)))
            .max_by_key(|(readiness, _)| *readiness);
        let Some((_, index)) = victim else {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return false;
        };
        self.evicted.fetch_add(1, Ordering::Relaxed);
        open.swap_remove(index).abort();
        self.count.store(open.len(), Ordering::Relaxed);
        true
    }

    /// Drops one whose client is too slow.
    pub(crate) fn drop_slow(&self, connection: &Arc<Connection>) {
        self.timed_out.fetch_add(1, Ordering::Relaxed);
        connection.abort();
        self.remove(connection);
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
        let gone = look_for_ends(&open);
        open.retain(|connection| {
            let overdue =
                connection.is_overdue(&self.bounds, now_ms) || gone.iter().any(|one| Arc::ptr_eq(one, connection));
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

/// Looks for clients that send no more while their requests are answered. Returns those that read no more either.
fn look_for_ends(open: &[Arc<Connection>]) -> Vec<Arc<Connection>> {
    let busy: Vec<_> = open.iter().filter_map(|connection| Some((connection, connection.busy_socket()?))).collect();
    let mut sockets: Vec<_> = busy.iter().map(|(_, socket)| PollFd::from_borrowed_fd(*socket, END)).collect();
    if sockets.is_empty() || poll(&mut sockets, Some(&Timespec::default())).is_err() {
        return Vec::new();
    }
    let mut gone = Vec::new();
    for ((connection, _), socket) in busy.iter().zip(&sockets) {
        let found = socket.revents();
        connection.set_half_closed(found.intersects(END));
        if found.intersects(PollFlags::ERR | PollFlags::HUP) {
            gone.push(Arc::clone(connection));
        }
    }
    gone
}

#[cfg(test)]
mod tests {
    use std::net::Shutdown;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

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
    fn no_token_has_all_connections() {
        let all = Connections::new(Bounds { connections: 4, ..Bounds::default() });
        let (one, other) = ([1; 32], [2; 32]);
        let mut of_one: Vec<_> = (0..3).map(|_| all.admit().unwrap()).collect();
        assert!(of_one.iter().all(|connection| all.claim(connection, one)), "there is only one token");
        all.share(true);
        let last = all.admit().unwrap();
        of_one[0].head_complete();
        of_one[0].answered(true);
        for connection in &of_one[1..] {
            connection.head_complete();
        }
        last.head_complete();
        assert!(all.claim(&last, one), "the idle one makes room");
        assert!(!is_open(&all, &of_one.remove(0)) && is_open(&all, &last));
        let more = all.admit().unwrap();
        more.head_complete();
        assert!(!all.claim(&more, one), "all of them are being answered");
        assert!(all.claim(&more, other) && all.claim(&more, other), "another client has room");
    }

    #[test]
    fn heavy_work_for_a_client_that_sends_no_more_is_given_up() {
        let (bounds, all) = (Bounds::default(), connections(9));
        let connection = all.admit().unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        connection.set_socket(Some(ours.as_raw_fd()));
        theirs.shutdown(Shutdown::Write).unwrap();
        assert!(
            look_for_ends(std::slice::from_ref(&connection)).is_empty() && connection.busy_socket().is_none(),
            "it is idle"
        );
        connection.head_complete();
        assert!(look_for_ends(std::slice::from_ref(&connection)).is_empty());
        let later = connection.now_ms() + bounds.half_closed_timeout_ms + 1;
        assert!(!connection.is_overdue(&bounds, later), "a check is answered");
        connection.is_heavy();
        assert!(!connection.is_overdue(&bounds, later - 1) && connection.is_overdue(&bounds, later));
        drop(theirs);
        assert_eq!(look_for_ends(std::slice::from_ref(&connection)).len(), 1, "it reads no more either");
        connection.set_socket(None);
        assert!(look_for_ends(std::slice::from_ref(&connection)).is_empty());
        connection.answered(true);
        assert!(!connection.is_overdue(&bounds, later));
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
