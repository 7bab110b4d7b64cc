//! Kind Event: history carried over from an old release, which changes no state.

use super::body::{PADDING, key_len, padded_key, push_padded, push_words};
use crate::log::cursor::{Cursor, Malformed};

/// Number of event kinds, in the order of `EventKind::ALL`.
pub const EVENT_KINDS: u8 = 6;

/// A history event of an old release. Its time is the record's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventOp<'a> {
    /// Index of the kind in `EventKind::ALL`, below [`EVENT_KINDS`].
    pub kind: u8,
    /// The key.
    pub key: &'a str,
    /// Cost, 0 where there is none.
    pub cost: u64,
    /// Number of checks that it represents.
    pub count: u64,
}

pub(super) fn decode(body: &[u8]) -> Result<EventOp<'_>, Malformed> {
    let mut cursor = Cursor::new(body);
    let kind = cursor.u8()?;
    let zero = cursor.u8()?;
    let key_len = cursor.u16()?;
    if zero != 0 || cursor.u32()? != 0 {
        return Err(PADDING);
    }
    if kind >= EVENT_KINDS {
        return Err("its event is unknown");
    }
    let (cost, count) = (cursor.u64()?, cursor.u64()?);
    let key = padded_key(cursor, key_len)?;
    Ok(EventOp { kind, key, cost, count })
}

/// Appends a history event of an old release.
///
/// # Panics
/// With a key over 65,535 bytes.
pub fn push_event(buf: &mut Vec<u8>, event: &EventOp<'_>) {
    let [len_low, len_high] = key_len(event.key).to_le_bytes();
    let head = u64::from_le_bytes([event.kind, 0, len_low, len_high, 0, 0, 0, 0]);
    push_words(buf, [head, event.cost, event.count]);
    push_padded(buf, event.key.as_bytes());
}
