//! The part of a segment that holds records.

use std::ops::Range;

use crate::log::frame::WORD;
use crate::log::segment;

/// The room for records in a file with these bytes, which may have been cut short.
pub(super) fn record_area(bytes: &[u8]) -> Range<usize> {
    let end = bytes.len().saturating_sub(segment::SEAL_LEN) / WORD * WORD;
    segment::HEADER_LEN.min(end)..end
}
