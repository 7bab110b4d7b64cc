//! Reading a segment's bytes: record by record, and, behind the last good record, what the rest proves.

mod proof;
mod remains;
mod search;
mod span_crc;
mod walker;

use std::ops::Range;

use super::frame::WORD;
use super::segment;

pub use proof::{Proof, find_proof, has_nonzero};
pub use remains::Remains;
pub use search::{Found, Search};
pub use walker::{Frame, Step, Walker};

/// The room for records in a file with these bytes, which may have been cut short.
fn record_area(bytes: &[u8]) -> Range<usize> {
    let end = bytes.len().saturating_sub(segment::SEAL_LEN) / WORD * WORD;
    segment::HEADER_LEN.min(end)..end
}
