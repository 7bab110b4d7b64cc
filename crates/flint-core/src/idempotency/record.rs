//! One kept answer, its call's id, and how many are kept.

/// Identifies an idempotent call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId {
    /// The caller and its call.
    pub id: [u8; 16],
    /// What the call does. The same id with another fingerprint is refused.
    pub fingerprint: [u8; 8],
}

/// One answer that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdempotencyRecord<'a> {
    /// The call.
    pub call: CallId,
    /// The record that it made; 0 for an answer that made none.
    pub seq: u64,
    /// That record's engine time.
    pub at_ns: u64,
    /// Its answer, as [`push_one`] and [`push_multi`] write it.
    pub answer: &'a [u8],
}

impl IdempotencyRecord<'_> {
    /// Whether it is too old at `now_ns` to be returned again.
    pub const fn is_expired(&self, now_ns: u64) -> bool {
        now_ns.saturating_sub(self.at_ns) > IDEMPOTENCY_AGE_NS
    }
}

/// How long an answer is kept, nanoseconds of engine time: ten minutes.
pub const IDEMPOTENCY_AGE_NS: u64 = 600 * 1_000_000_000;
/// Most answers of allowed calls that are kept.
pub const MAX_IDEMPOTENCY_RECORDS: usize = 1 << 18;
/// Most bytes of them.
pub const MAX_IDEMPOTENCY_BYTES: usize = 32 << 20;
/// Most answers of denied calls that are kept until the store is closed.
pub const MAX_DENIED: usize = 1 << 16;
/// Most bytes of them.
pub const MAX_DENIED_BYTES: usize = 8 << 20;

/// The answer to an idempotent call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repeatable<T> {
    /// The answer to the first call with this id. Its `seq` is that of the first call, so that a repeated call waits for the same
    /// record.
    pub answer: T,
    /// Whether an earlier call had the id: then nothing was consumed or counted now.
    pub repeated: bool,
}
