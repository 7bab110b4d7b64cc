//! Bytes in memory that the server holds for others: large bodies that arrive, large answers until their clients have read them. They
//! are bounded in all and per client. A request that finds no room waits for it, and while one waits, those whose clients send or read
//! too slowly are dropped.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::auth::Principal;
use crate::connection::Connection;
use crate::memory::Memory;

/// The span over which the pace of a transfer is measured, milliseconds.
const SPAN_MS: u64 = 500;
/// The pace, bytes per millisecond, below which a transfer is slow.
const PACE: u64 = 256;

/// A bound on bytes in all and per client, and the requests that have them.
#[derive(Debug, Clone)]
pub(crate) struct Budget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    most: usize,
    most_each: usize,
    memory: Memory,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    used: usize,
    clients: HashMap<Principal, usize>,
    waiting: VecDeque<Waiting>,
    transfers: Vec<Arc<Transfer>>,
}

#[derive(Debug)]
struct Waiting {
    client: Principal,
    bytes: usize,
    connection: Arc<Connection>,
    granted: oneshot::Sender<Reservation>,
}

/// What the owner of a reservation sends or receives.
#[derive(Debug)]
struct Transfer {
    connection: Arc<Connection>,
    /// Whether the client is to send or read now.
    is_open: AtomicBool,
    /// Bytes that it sent or read so far.
    moved: AtomicU64,
    /// The beginning of the span over which its pace is measured, and the bytes until then.
    since_ms: AtomicU64,
    moved_before: AtomicU64,
    /// Whether it was slow in the last whole span.
    is_slow: AtomicBool,
}

impl Transfer {
    /// Measures the pace, once per span.
    fn measure(&self, now_ms: u64) {
        let took_ms = now_ms.saturating_sub(self.since_ms.load(Ordering::Relaxed));
        if took_ms <= SPAN_MS {
            return;
        }
        let moved = self.moved.load(Ordering::Relaxed);
        let pace = (moved - self.moved_before.load(Ordering::Relaxed)) / took_ms;
        self.is_slow.store(pace < PACE, Ordering::Relaxed);
        self.since_ms.store(now_ms, Ordering::Relaxed);
        self.moved_before.store(moved, Ordering::Relaxed);
    }
}

/// Bytes of the budget, which get free when it is dropped: after what they were reserved for.
#[derive(Debug)]
pub(crate) struct Reservation {
    shared: Arc<Shared>,
    client: Principal,
    bytes: usize,
    transfer: Arc<Transfer>,
}

impl State {
    fn used_by(&self, client: &Principal) -> usize {
        self.clients.get(client).copied().unwrap_or(0)
    }

    fn take(&mut self, client: Principal, bytes: usize) {
        self.used += bytes;
        *self.clients.entry(client).or_default() += bytes;
    }

    fn release(&mut self, client: &Principal, bytes: usize) {
        self.used -= bytes;
        if let Some(used) = self.clients.get_mut(client) {
            *used -= bytes;
            if *used == 0 {
                self.clients.remove(client);
            }
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reservation(
        self: &Arc<Self>,
        state: &mut State,
        client: Principal,
        bytes: usize,
        connection: Arc<Connection>,
    ) -> Reservation {
        state.take(client, bytes);
        let transfer = Arc::new(Transfer {
            connection,
            is_open: AtomicBool::new(false),
            moved: AtomicU64::new(0),
            since_ms: AtomicU64::new(0),
            moved_before: AtomicU64::new(0),
            is_slow: AtomicBool::new(false),
        });
        state.transfers.push(transfer.clone());
        Reservation { shared: self.clone(), client, bytes, transfer }
    }

    fn fits(&self, state: &State, client: &Principal, bytes: usize) -> bool {
        state.used + bytes <= self.most && state.used_by(client) + bytes <= self.most_each
    }

    /// Grants what fits to those that wait, the oldest first. One that waits for other requests of its own client delays no other client.
    fn grant(self: &Arc<Self>) {
        // Dropped without the lock: their requests have ended.
        let mut unwanted = Vec::new();
        let mut state = self.state();
        let mut index = 0;
        while let Some(first) = state.waiting.get(index) {
            if first.granted.is_closed() {
                state.waiting.remove(index);
            } else if state.used_by(&first.client) + first.bytes > self.most_each {
                index += 1;
            } else if state.used + first.bytes > self.most {
                break;
            } else if let Some(Waiting { client, bytes, connection, granted }) = state.waiting.remove(index) {
                let reservation = self.reservation(&mut state, client, bytes, connection);
                unwanted.extend(granted.send(reservation).err());
            }
        }
        drop(state);
    }
}

impl Budget {
    /// At most `most` bytes in all, `most_each` for each client.
    pub(crate) fn new(most: usize, most_each: usize, memory: Memory) -> Self {
        Self(Arc::new(Shared { most, most_each: most_each.min(most), memory, state: Mutex::default() }))
    }

    /// Bytes for a request of `client`, when there are so many; the most that one may have where it asks for more.
    pub(crate) async fn reserve(&self, client: Principal, bytes: usize, connection: &Arc<Connection>) -> Reservation {
        let shared = &self.0;
        let bytes = bytes.min(shared.most_each);
        let granted = {
            let mut state = shared.state();
            if state.waiting.is_empty() && shared.fits(&state, &client, bytes) {
                return shared.reservation(&mut state, client, bytes, connection.clone());
            }
            let (granted, grant) = oneshot::channel();
            state.waiting.push_back(Waiting { client, bytes, connection: connection.clone(), granted });
            grant
        };
        shared.grant();
        granted.await.expect("the budget lives as long as its requests, and drops none that waits")
    }

    /// Bytes that are reserved, and requests that wait for some.
    #[cfg(test)]
    fn in_use(&self) -> (usize, usize) {
        let state = self.0.state();
        (state.used, state.waiting.len())
    }

    /// The connections that are to be dropped because their clients are slow: as many as requests wait.
    pub(crate) fn slow(&self, now_ms: u64) -> Vec<Arc<Connection>> {
        let state = self.0.state();
        let open = state.transfers.iter().filter(|transfer| transfer.is_open.load(Ordering::Relaxed));
        open.clone().for_each(|transfer| transfer.measure(now_ms));
        let waiting = state.waiting.iter().filter(|waiting| !waiting.granted.is_closed()).count();
        let slow = open.filter(|transfer| transfer.is_slow.load(Ordering::Relaxed));
        slow.take(waiting).map(|transfer| transfer.connection.clone()).collect()
    }
}

impl Reservation {
    /// From here on the client is to send, or to read.
    pub(crate) fn open(&self) {
        let transfer = &self.transfer;
        transfer.since_ms.store(transfer.connection.now_ms(), Ordering::Relaxed);
        transfer.is_open.store(true, Ordering::Relaxed);
    }

    /// The client sent, or read, that many bytes.
    pub(crate) fn moved(&self, bytes: usize) {
        self.transfer.moved.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// From here on the server is at work, and the client has no part in how long it takes.
    pub(crate) fn close(&self) {
        self.transfer.is_open.store(false, Ordering::Relaxed);
    }

    /// What is really needed, now that it is known. More is taken also where it does not fit: it is in memory already.
    pub(crate) fn resize(&mut self, bytes: usize) {
        let mut state = self.shared.state();
        state.release(&self.client, self.bytes);
        state.take(self.client, bytes);
        drop(state);
        let freed = self.bytes.saturating_sub(bytes);
        self.bytes = bytes;
        if freed > 0 {
            self.shared.memory.freed(freed);
            self.shared.grant();
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.release(&self.client, self.bytes);
        if let Some(index) = state.transfers.iter().position(|other| Arc::ptr_eq(other, &self.transfer)) {
            state.transfers.swap_remove(index);
        }
        drop(state);
        self.shared.memory.freed(self.bytes);
        self.shared.grant();
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::connection::Connections;
    use crate::settings::Bounds;

    const ONE: Principal = [1; 32];
    const OTHER: Principal = [2; 32];

    fn connection() -> Arc<Connection> {
        Connections::new(Bounds::default()).admit().unwrap()
    }

    fn poll<F: Future>(future: Pin<&mut F>) -> Option<F::Output> {
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }

    fn now(budget: &Budget, client: Principal, bytes: usize) -> Option<Reservation> {
        let connection = connection();
        poll(pin!(budget.reserve(client, bytes, &connection)))
    }

    #[test]
    fn bytes_are_bounded_in_all_and_per_client() {
        let budget = Budget::new(100, 60, Memory::default());
        let first = now(&budget, ONE, 50).unwrap();
        assert!(now(&budget, ONE, 20).is_none(), "the client has too many");
        let second = now(&budget, OTHER, 50).unwrap();
        assert!(now(&budget, OTHER, 1).is_none(), "there are none");
        drop((first, second));
        let third = now(&budget, ONE, 1_000).expect("as many as a client may have");
        assert_eq!(budget.in_use(), (60, 0));
        drop(third);
        assert_eq!(budget.0.state().clients.len(), 0);
        assert_eq!((budget.in_use(), budget.0.state().transfers.len()), ((0, 0), 0));
    }

    #[test]
    fn those_that_wait_are_served_in_order_unless_their_own_client_holds_them_up() {
        let budget = Budget::new(100, 60, Memory::default());
        let connection = connection();
        let mut first = now(&budget, ONE, 60).unwrap();
        let mut same = pin!(budget.reserve(ONE, 40, &connection));
        assert!(poll(same.as_mut()).is_none());
        let other = now(&budget, OTHER, 40).expect("it waits for no other client");
        let mut large = pin!(budget.reserve(OTHER, 20, &connection));
        let mut small = pin!(budget.reserve([3; 32], 1, &connection));
        assert!(poll(large.as_mut()).is_none() && poll(small.as_mut()).is_none(), "the larger one comes first");
        first.resize(30);
        assert!(poll(same.as_mut()).is_none());
        let (large, small) = (poll(large.as_mut()).unwrap(), poll(small.as_mut()).unwrap());
        drop((other, large, small, first));
        assert!(poll(same.as_mut()).is_some());
    }

    #[test]
    fn one_that_ended_is_skipped() {
        let budget = Budget::new(100, 100, Memory::default());
        let first = now(&budget, ONE, 100).unwrap();
        assert!(now(&budget, ONE, 100).is_none());
        drop(first);
        assert_eq!(budget.in_use(), (0, 0));
        assert!(now(&budget, ONE, 100).is_some());
    }

    #[test]
    fn the_slow_ones_are_dropped_while_others_wait() {
        let budget = Budget::new(100, 100, Memory::default());
        let (slow, fast) = (now(&budget, ONE, 50).unwrap(), now(&budget, ONE, 50).unwrap());
        let mut now_ms = slow.transfer.connection.now_ms();
        slow.open();
        fast.open();
        let connection = connection();
        let mut waits = pin!(budget.reserve(OTHER, 10, &connection));
        assert!(poll(waits.as_mut()).is_none());
        // Much at first, then next to nothing.
        for (moved, is_slow) in [(1_000_000, false), (1_000, true), (1_000_000, false), (0, true)] {
            slow.moved(moved);
            fast.moved(1_000_000);
            now_ms += SPAN_MS + 1;
            let dropped = budget.slow(now_ms);
            assert_eq!(dropped.len(), usize::from(is_slow), "{moved} bytes");
            assert!(dropped.iter().all(|one| Arc::ptr_eq(one, &slow.transfer.connection)));
        }
        slow.close();
        assert!(budget.slow(now_ms).is_empty(), "the server is at work");
        drop(slow);
        assert!(poll(waits.as_mut()).is_some());
        assert!(budget.slow(now_ms + 10 * SPAN_MS).is_empty(), "no request waits");
    }
}
