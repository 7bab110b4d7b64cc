//! What bodies of several kinds have in common.

use crate::log::cursor::{Cursor, Malformed};
use crate::log::frame::WORD;

pub(super) const PADDING: Malformed = "its padding is not zero";

/// The key at the end of a body, padded with zeros.
pub(super) fn padded_key(mut cursor: Cursor<'_>, len: u16) -> Result<&str, Malformed> {
    let len = usize::from(len);
    let key = std::str::from_utf8(cursor.bytes(len)?).map_err(|_| "its key is not UTF-8")?;
    if cursor.bytes(len.next_multiple_of(WORD) - len)?.iter().any(|&byte| byte != 0) {
        return Err(PADDING);
    }
    cursor.end()?;
    Ok(key)
}

pub(super) fn key_len(key: &str) -> u16 {
    u16::try_from(key.len()).expect("a key's length fits 16 bits")
}

#[inline]
pub(super) fn push_words<const N: usize>(buf: &mut Vec<u8>, words: [u64; N]) {
    buf.extend_from_slice(words.map(u64::to_le_bytes).as_flattened());
}

pub(super) fn push_padded(buf: &mut Vec<u8>, bytes: &[u8]) {
    buf.extend_from_slice(bytes);
    buf.resize(buf.len() + (bytes.len().next_multiple_of(WORD) - bytes.len()), 0);
}
