//! One connection: how far its request is, and since when.

use std::os::fd::{BorrowedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::task::AbortHandle;

use super::clock::SweepClock;
use crate::auth::Principal;
use crate::settings::Bounds;

/// How far a connection is with its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    /// Between requests.
    Idle = 0,
    /// The head of a request is being received, or the handshake of TLS.
    Head = 1,
    /// The body of a request is awaited.
    Body = 2,
    /// The request is being answered.
    Busy = 3,
}

/// No descriptor.
const NONE: RawFd = -1;

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    phase: AtomicU8,
    /// When the request began, or the idle time; milliseconds since the server's start.
    pub(super) since_ms: AtomicU64,
    /// Since when the client does not read; 0 while it does.
    blocked_since_ms: AtomicU64,
    /// Whether it had an answer other than a refusal by authentication.
    served: AtomicBool,
    socket: AtomicI32,
    /// Since when the client sends no more while its request is being answered; 0 while it may.
    half_closed_since_ms: AtomicU64,
    /// Whether its request takes a scan of all keys, or sets many limits.
    is_heavy: AtomicBool,
    /// The client, as its last request named it.
    principal: Mutex<Option<Principal>>,
    task: OnceLock<AbortHandle>,
    clock: Arc<SweepClock>,
}

impl Connection {
    /// A connection that was just accepted.
    pub(super) fn new(clock: Arc<SweepClock>) -> Self {
        Self {
            phase: AtomicU8::new(Phase::Idle as u8),
            since_ms: AtomicU64::new(clock.now_ms()),
            blocked_since_ms: AtomicU64::new(0),
            served: AtomicBool::new(false),
            socket: AtomicI32::new(NONE),
            half_closed_since_ms: AtomicU64::new(0),
            is_heavy: AtomicBool::new(false),
            principal: Mutex::new(None),
            task: OnceLock::new(),
            clock,
        }
    }

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
    pub(crate) fn bytes_received(&self) {
        if self.phase() == Phase::Idle {
            self.since_ms.store(self.clock.now_ms(), Ordering::Relaxed);
            self.set(Phase::Head);
        }
    }

    /// The head is complete and can be answered. True for a pipelined request, which came in together with the one before.
    pub(crate) fn head_complete(&self) -> bool {
        let pipelined = self.phase() == Phase::Idle;
        // A pipelined request begins when the one before is answered.
        self.bytes_received();
        self.set(Phase::Busy);
        pipelined
    }

    /// The body has not been read yet.
    pub(crate) fn body_expected(&self) {
        self.set(Phase::Body);
    }

    /// The body was read.
    pub(crate) fn body_complete(&self) {
        self.set(Phase::Busy);
    }

    /// The request was answered. `served` is false for a refusal by authentication.
    pub(crate) fn answered(&self, served: bool) {
        if served {
            self.served.store(true, Ordering::Relaxed);
        }
        self.since_ms.store(self.clock.now_ms(), Ordering::Relaxed);
        self.half_closed_since_ms.store(0, Ordering::Relaxed);
        self.is_heavy.store(false, Ordering::Relaxed);
        self.set(Phase::Idle);
    }

    /// The request takes a scan of all keys, or sets many limits.
    pub(crate) fn is_heavy(&self) {
        self.is_heavy.store(true, Ordering::Relaxed);
    }

    /// Its socket, while it has one.
    pub(super) fn set_socket(&self, socket: Option<RawFd>) {
        self.socket.store(socket.unwrap_or(NONE), Ordering::Relaxed);
    }

    /// Its socket, while its request is being answered.
    #[expect(unsafe_code, reason = "the stream belongs to the HTTP library; see the SAFETY line")]
    pub(super) fn busy_socket(&self) -> Option<BorrowedFd<'_>> {
        let socket = Some(self.socket.load(Ordering::Relaxed)).filter(|socket| *socket != NONE)?;
        // SAFETY: the stream takes its descriptor back before it closes it. Both happen in the thread of the event loop.
        (self.phase() == Phase::Busy).then(|| unsafe { BorrowedFd::borrow_raw(socket) })
    }

    /// Notes whether the client sends no more, while its request is being answered.
    pub(super) fn set_half_closed(&self, is_half_closed: bool) {
        if !is_half_closed {
            self.half_closed_since_ms.store(0, Ordering::Relaxed);
        } else if self.half_closed_since_ms.load(Ordering::Relaxed) == 0 {
            self.half_closed_since_ms.store(self.clock.now_ms(), Ordering::Relaxed);
        }
    }

    /// Milliseconds since the server's start, as of the last sweep.
    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// The request is of this client. Returns whether the one before was of another, or there was none.
    pub(super) fn set_principal(&self, principal: Principal) -> bool {
        let mut known = self.principal.lock().unwrap_or_else(PoisonError::into_inner);
        known.replace(principal) != Some(principal)
    }

    pub(super) fn is_of(&self, principal: &Principal) -> bool {
        self.principal.lock().unwrap_or_else(PoisonError::into_inner).as_ref() == Some(principal)
    }

    /// The client does not read at the moment.
    pub(crate) fn write_blocked(&self) {
        if self.blocked_since_ms.load(Ordering::Relaxed) == 0 {
            self.blocked_since_ms.store(self.clock.now_ms(), Ordering::Relaxed);
        }
    }

    /// The client read something.
    pub(crate) fn write_unblocked(&self) {
        if self.blocked_since_ms.load(Ordering::Relaxed) != 0 {
            self.blocked_since_ms.store(0, Ordering::Relaxed);
        }
    }

    /// When the request began.
    pub(crate) fn began_ms(&self) -> u64 {
        self.since_ms.load(Ordering::Relaxed)
    }

    /// The task that serves this connection.
    pub(crate) fn set_task(&self, task: AbortHandle) {
        let _ = self.task.set(task);
    }

    pub(super) fn abort(&self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }

    pub(super) fn is_overdue(&self, bounds: &Bounds, now_ms: u64) -> bool {
        let waited = now_ms.saturating_sub(self.since_ms.load(Ordering::Relaxed));
        let blocked = self.blocked_since_ms.load(Ordering::Relaxed);
        let stalled = blocked != 0 && now_ms.saturating_sub(blocked) > bounds.request_timeout_ms;
        // A client that is gone looks the same over TCP as one that only sends no more.
        let half_closed = self.half_closed_since_ms.load(Ordering::Relaxed);
        let abandoned = half_closed != 0
            && self.is_heavy.load(Ordering::Relaxed)
            && now_ms.saturating_sub(half_closed) > bounds.half_closed_timeout_ms;
        stalled
            || abandoned
            || match self.phase() {
                Phase::Idle if self.served.load(Ordering::Relaxed) => waited > bounds.idle_timeout_ms,
                // A new connection, and one that was refused, has to send a request soon.
                Phase::Idle | Phase::Head => waited > bounds.header_timeout_ms,
                // These end by themselves, with an answer; the sweep ends those that hang.
                Phase::Body | Phase::Busy => waited > bounds.request_timeout_ms.saturating_mul(3),
            }
    }

    /// How readily it is evicted for another: higher is sooner. `None` for one whose request is being answered.
    pub(super) fn evictable(&self, now_ms: u64) -> Option<(bool, u64)> {
        let waited = now_ms.saturating_sub(self.since_ms.load(Ordering::Relaxed));
        let is_new = !self.served.load(Ordering::Relaxed);
        (self.phase() != Phase::Busy).then_some((is_new, waited))
    }
}
