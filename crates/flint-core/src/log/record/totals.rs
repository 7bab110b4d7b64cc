//! Kind Totals: the totals of a counter after those of others, which are removed, were added to them. Only in a group.

use super::body::push_words;
use crate::image::Totals;
use crate::log::cursor::{Cursor, Malformed};
use crate::log::frame::WORD;

/// Bytes of the body.
pub const TOTALS_LEN: usize = 8 * WORD;

/// Totals that replace those of a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TotalsOp {
    /// The counter's id.
    pub id: u64,
    /// Its totals.
    pub totals: Totals,
}

pub(super) fn decode(body: &[u8]) -> Result<TotalsOp, Malformed> {
    let mut cursor = Cursor::new(body);
    let id = cursor.u64()?;
    let totals = Totals {
        allowed: cursor.u64()?,
        allowed_cost: cursor.u64()?,
        denied: cursor.u64()?,
        denied_cost: cursor.u64()?,
        last_allowed_ns: cursor.u64()?,
        last_denied_ns: cursor.u64()?,
        last_reset_ns: cursor.u64()?,
    };
    cursor.end()?;
    Ok(TotalsOp { id, totals })
}

/// Appends the totals of a counter.
pub fn push_totals(buf: &mut Vec<u8>, id: u64, totals: &Totals) {
    let t = totals;
    push_words::<{ TOTALS_LEN / WORD }>(
        buf,
        [id, t.allowed, t.allowed_cost, t.denied, t.denied_cost, t.last_allowed_ns, t.last_denied_ns, t.last_reset_ns],
    );
}
