//! Kind Denials: denial totals of some keys.

use super::body::push_words;
use crate::log::cursor::{Cursor, Malformed};
use crate::log::frame::WORD;

/// Bytes of one key's totals.
const DENIAL_LEN: usize = 6 * WORD;

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
pub struct Denials<'a>(&'a [u8]);

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

pub(super) fn decode(body: &[u8]) -> Result<Denials<'_>, Malformed> {
    let mut cursor = Cursor::new(body);
    let count = cursor.u64()?;
    let denials = cursor.rest();
    if !denials.len().is_multiple_of(DENIAL_LEN) || (denials.len() / DENIAL_LEN) as u64 != count {
        return Err("its count does not fit its length");
    }
    Ok(Denials(denials))
}

fn decode_denial(bytes: &[u8]) -> Result<Denial, Malformed> {
    let mut cursor = Cursor::new(bytes);
    Ok(Denial {
        id: cursor.u64()?,
        denied: cursor.u64()?,
        denied_cost: cursor.u64()?,
        last_denied_ns: cursor.u64()?,
        delta: cursor.u64()?,
        delta_cost: cursor.u64()?,
    })
}

/// Appends denial totals.
pub fn push_denials(buf: &mut Vec<u8>, denials: &[Denial]) {
    push_words(buf, [denials.len() as u64]);
    for d in denials {
        push_words(buf, [d.id, d.denied, d.denied_cost, d.last_denied_ns, d.delta, d.delta_cost]);
    }
}
