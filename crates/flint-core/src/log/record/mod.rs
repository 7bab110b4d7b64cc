//! What a record's body holds: operations, written by the `push_*` functions and read by [`decode`].

mod decode;
mod op;
mod push;

pub use decode::decode;
pub use op::{
    Changes, ConfigureOp, ConfigureRef, Denial, Denials, EVENT_KINDS, EventOp, GroupOps, GroupRef, IdempotencyOp,
    Malformed, Op, Purpose,
};
pub use push::{
    GroupWriter, push_allow, push_allow_one, push_anchor, push_configure, push_delete, push_denials, push_event,
    push_idempotency, push_reset, push_snapshot_mark,
};
