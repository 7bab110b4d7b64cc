//! Answers that are remembered, so that a call that is repeated gets the first one: their bytes, and the newest of them.

mod answer;
mod window;

pub use answer::{Answer, decode_answer, is_multi, push_multi, push_one};
pub use window::IdempotencyWindow;

/// Names a call that may be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId {
    /// Who calls, and which of their calls it is.
    pub id: [u8; 16],
    /// What was asked. The same id with another fingerprint is refused.
    pub fingerprint: [u8; 8],
}

/// One remembered answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdempotencyRecord<'a> {
    /// The call.
    pub call: CallId,
    /// The record that it made; 0 for an answer that made none.
    pub seq: u64,
    /// That record's engine time.
    pub at_ns: u64,
    /// What it was told, as [`push_one`] and [`push_multi`] write it.
    pub answer: &'a [u8],
}

impl IdempotencyRecord<'_> {
    /// Whether it is too old at `now_ns` to be given again.
    pub const fn is_expired(&self, now_ns: u64) -> bool {
        now_ns.saturating_sub(self.at_ns) > IDEMPOTENCY_AGE_NS
    }
}

/// How long an answer is remembered, nanoseconds of engine time: ten minutes.
pub const IDEMPOTENCY_AGE_NS: u64 = 600 * 1_000_000_000;
/// Most answers of allowed calls that are remembered.
pub const MAX_IDEMPOTENCY_RECORDS: usize = 1 << 18;
/// Most bytes of them.
pub const MAX_IDEMPOTENCY_BYTES: usize = 32 << 20;
/// Most answers of denied calls that are remembered until the store is closed.
pub const MAX_DENIED: usize = 1 << 16;
/// Most bytes of them.
pub const MAX_DENIED_BYTES: usize = 8 << 20;

/// The answer to a call that may be repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repeatable<T> {
    /// What the call is told, and was told the first time. Its `seq` is that of the first call, so that nobody is told of what
    /// is not on disk.
    pub answer: T,
    /// Whether it was asked before: nothing was taken or counted now.
    pub repeated: bool,
}
