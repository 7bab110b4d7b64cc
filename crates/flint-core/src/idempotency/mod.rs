//! The answers of idempotent calls, which a repeated call gets again: `record` is one of them,
//! `answer` has its bytes, `lane` those of one caller, `window` the
//! newest of all.

mod answer;
mod lane;
mod record;
mod window;

pub use answer::{Answer, decode_answer, is_multi, push_multi, push_one};
pub use record::{
    CallId, IDEMPOTENCY_AGE_NS, IdempotencyRecord, MAX_DENIED, MAX_DENIED_BYTES, MAX_IDEMPOTENCY_BYTES,
    MAX_IDEMPOTENCY_RECORDS, Repeatable,
};
pub use window::IdempotencyWindow;
