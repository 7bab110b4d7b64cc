//! One kept answer, its call's id, and how many are kept.

/// Identifies an idempotent call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId {
    /// The caller and its call. The last four bytes are the caller's alone, so that a store knows of each answer whose it is.
    pub id: [u8; 16],
    /// What the call does. The same id with another fingerprint is refused.
    pub fingerprint: [u8; 8],
}

/// Where the caller is in an id.
const CALLER: usize = 12;

impl CallId {
    /// The id of a call: `caller`, and of `call`, which is a digest, the first twelve bytes.
    #[must_use]
    pub fn of(caller: u32, call: &[u8]) -> [u8; 16] {
        let mut id = [0; 16];
        let len = call.len().min(CALLER);
        id[..len].copy_from_slice(&call[..len]);
        id[CALLER..].copy_from_slice(&caller.to_le_bytes());
        id
    }

    /// The caller of the call with this id.
    pub(crate) const fn caller(id: &[u8; 16]) -> u32 {
        u32::from_le_bytes([id[CALLER], id[CALLER + 1], id[CALLER + 2], id[CALLER + 3]])
    }
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
