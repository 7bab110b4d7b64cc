//! Kind Idempotency: the answer of a call that may be repeated. It occurs in a group alone, never in a record of its own.

use super::body::{PADDING, push_padded};
use crate::idempotency::{CallId, decode_answer};
use crate::log::cursor::{Cursor, Malformed};
use crate::log::frame::WORD;

/// The answer of a call that may be repeated; its number and time are the record's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdempotencyOp<'a> {
    /// The call.
    pub call: CallId,
    /// The answer, as [`idempotency`](crate::idempotency) writes it.
    pub answer: &'a [u8],
}

pub(super) fn decode(body: &[u8]) -> Result<IdempotencyOp<'_>, Malformed> {
    let mut cursor = Cursor::new(body);
    let call = CallId { id: cursor.array()?, fingerprint: cursor.array()? };
    let padded = cursor.rest();
    let (answer, padding) = decode_answer(padded, 0)?;
    if padding.len() >= WORD || padding.iter().any(|&byte| byte != 0) {
        return Err(PADDING);
    }
    if !answer.allowed() {
        return Err("its idempotency record is of a denied call");
    }
    Ok(IdempotencyOp { call, answer: &padded[..padded.len() - padding.len()] })
}

/// Appends the answer of a call that may be repeated.
pub fn push_idempotency(buf: &mut Vec<u8>, record: &IdempotencyOp<'_>) {
    buf.extend_from_slice(&record.call.id);
    buf.extend_from_slice(&record.call.fingerprint);
    push_padded(buf, record.answer);
}
