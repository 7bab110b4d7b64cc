//! What a handler returns.

use serde::Serialize;

use crate::problem::{Code, Problem};

/// The body of a response, and what has to be durable before it is sent.
#[derive(Debug)]
pub(crate) struct Reply {
    /// JSON.
    pub(crate) body: Vec<u8>,
    /// The record that has to be durable as the sync mode says; 0 for none.
    pub(crate) seq: u64,
    /// Whether the record has to be durable in `SyncMode::Batch`, too.
    pub(crate) flush: bool,
    /// Whether this is the answer of an earlier call with the same id.
    pub(crate) repeated: bool,
}

impl Reply {
    pub(super) fn new(answer: &impl Serialize, seq: u64) -> Result<Self, Problem> {
        Ok(Self::of_json(to_json(answer)?, seq))
    }

    pub(super) const fn of_json(body: Vec<u8>, seq: u64) -> Self {
        Self { body, seq, flush: false, repeated: false }
    }
}

/// What a handler of the event loop returns; `None` where the operation has to be executed in a thread.
pub(crate) type HandlerResult = Result<Option<Reply>, Problem>;

/// `value` as the bytes of a body.
///
/// # Errors
/// None in practice: the types of answers have no map with other keys than text.
pub(crate) fn to_json(value: &impl Serialize) -> Result<Vec<u8>, Problem> {
    let mut body = Vec::with_capacity(512);
    append_json(value, &mut body)?;
    Ok(body)
}

/// Appends `value` to a body.
///
/// # Errors
/// As [`to_json`].
pub(super) fn append_json(value: &impl Serialize, body: &mut Vec<u8>) -> Result<(), Problem> {
    serde_json::to_writer(body, value)
        .map_err(|error| Problem::new(Code::Internal, format!("the answer cannot be written: {error}")))
}
