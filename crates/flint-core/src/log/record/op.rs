//! The operations. The borrowed forms point into the record's bytes and were checked by `decode`.

use std::slice::ChunksExact;

use super::decode::{DENIAL_LEN, RATE_LEN, decode_denial, decode_group_op, decode_rate};
use crate::idempotency::CallId;
use crate::image::{Origin, RateChange};
use crate::log::cursor::Cursor;

/// Why a body makes no sense although its checksum is right. A sentence fragment to follow "the record is malformed: ".
pub type Malformed = &'static str;

/// Number of event kinds, in the order of `EventKind::ALL`.
pub const EVENT_KINDS: u8 = 6;

/// One operation of the log.
#[derive(Debug, Clone, Copy)]
pub enum Op<'a> {
    /// A check was allowed.
    Allow {
        /// The key's id.
        id: u64,
        /// What was taken.
        cost: u64,
        /// One [`AfterImage`](crate::algorithm::AfterImage) for each of the key's rates.
        images: &'a [u8],
    },
    /// A limit was set or changed.
    Configure(ConfigureRef<'a>),
    /// A key was refilled.
    Reset {
        /// The key's id.
        id: u64,
    },
    /// A key was forgotten.
    Delete {
        /// The key's id.
        id: u64,
    },
    /// Denial totals of some keys.
    Denials(Denials<'a>),
    /// Operations that belong together.
    Group(GroupRef<'a>),
    /// The wall time at the record's engine time.
    Anchor {
        /// Nanoseconds since the Unix epoch.
        wall_ns: u64,
    },
    /// A snapshot was published.
    SnapshotMark {
        /// Sequence number from which the log must be replayed over it.
        start: u64,
        /// Sequence number that the log must reach for it to be complete.
        end: u64,
    },
    /// The writer closed.
    Close,
    /// History carried over from an old release; changes no state.
    Event(EventOp<'a>),
    /// What a call that may be repeated was told. It stands in a group alone.
    Idempotency(IdempotencyOp<'a>),
}

/// A configuration to be written.
#[derive(Debug, Clone, Copy)]
pub struct ConfigureOp<'a> {
    /// The key's id.
    pub id: u64,
    /// The key.
    pub key: &'a str,
    /// Where the limit came from.
    pub origin: Origin,
    /// One to eight rates.
    pub rates: &'a [RateChange],
}

/// A configuration that was read.
#[derive(Debug, Clone, Copy)]
pub struct ConfigureRef<'a> {
    /// The key's id.
    pub id: u64,
    /// The key.
    pub key: &'a str,
    /// Where the limit came from.
    pub origin: Origin,
    pub(super) rates: &'a [u8],
}

impl<'a> ConfigureRef<'a> {
    /// The rates, one to eight.
    pub fn rates(&self) -> Changes<'a> {
        Changes(self.rates.chunks_exact(RATE_LEN))
    }
}

/// The rates of a [`ConfigureRef`].
#[derive(Debug, Clone)]
pub struct Changes<'a>(ChunksExact<'a, u8>);

impl Iterator for Changes<'_> {
    type Item = RateChange;

    fn next(&mut self) -> Option<RateChange> {
        // `decode` has read every rate once: the error cannot happen.
        decode_rate(self.0.next()?).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for Changes<'_> {}

/// Denial totals of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Denial {
    /// The key's id.
    pub id: u64,
    /// Denied checks in all.
    pub denied: u64,
    /// Sum of their costs.
    pub denied_cost: u64,
    /// Engine time of the newest.
    pub last_denied_ns: u64,
    /// Denied checks since the previous Denials record that names this key.
    pub delta: u64,
    /// Sum of their costs.
    pub delta_cost: u64,
}

/// The totals in a Denials record.
#[derive(Debug, Clone, Copy)]
pub struct Denials<'a>(pub(super) &'a [u8]);

impl Iterator for Denials<'_> {
    type Item = Denial;

    fn next(&mut self) -> Option<Denial> {
        let (denial, rest) = self.0.split_at_checked(DENIAL_LEN)?;
        self.0 = rest;
        decode_denial(denial).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.0.len() / DENIAL_LEN;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Denials<'_> {}

/// What a group stands for.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Several limits set at once.
    LimitMany = 1,
    /// A check of several keys.
    CheckAll = 2,
    /// A check that brought its limit.
    CheckWithLimit = 3,
    /// A check of one key, which is a group because it may be repeated.
    Check = 4,
}

/// Operations that are applied together or not at all: Configure and Allow, and at the end a Receipt.
#[derive(Debug, Clone, Copy)]
pub struct GroupRef<'a> {
    /// What the group stands for.
    pub purpose: Purpose,
    /// Number of operations.
    pub count: u32,
    /// Whether the last one is a receipt.
    pub has_receipt: bool,
    pub(super) ops: &'a [u8],
}

impl<'a> GroupRef<'a> {
    /// The operations in order.
    pub fn ops(&self) -> GroupOps<'a> {
        GroupOps(Cursor::new(self.ops))
    }
}

/// The operations of a [`GroupRef`].
#[derive(Debug, Clone)]
pub struct GroupOps<'a>(Cursor<'a>);

impl<'a> Iterator for GroupOps<'a> {
    type Item = Op<'a>;

    fn next(&mut self) -> Option<Op<'a>> {
        if self.0.is_empty() {
            return None;
        }
        // `decode` has read every operation once: the error cannot happen.
        decode_group_op(&mut self.0).ok()
    }
}

/// What a call that may be repeated was told; number and time of its record are the answer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdempotencyOp<'a> {
    /// The call.
    pub call: CallId,
    /// The answer, as [`receipts`](crate::idempotency) writes it.
    pub answer: &'a [u8],
}

/// A history event of an old release. Its time is the record's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventOp<'a> {
    /// Index of the kind in `EventKind::ALL`, below [`EVENT_KINDS`].
    pub kind: u8,
    /// The key.
    pub key: &'a str,
    /// Cost, 0 where there is none.
    pub cost: u64,
    /// Number of checks that it stands for.
    pub count: u64,
}
