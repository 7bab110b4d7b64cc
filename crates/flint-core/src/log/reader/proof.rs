//! Telling damage from a torn tail.

use super::area::record_area;
use super::span_crc::SpanCrc;
use crate::log::frame::{HEADER_LEN, RawHeader, WORD};

/// A record that was written when the missing one was already on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proof {
    /// Where it starts.
    pub offset: usize,
    /// Its number.
    pub seq: u64,
    /// What it says was on disk.
    pub durable_seq: u64,
}

/// Sequence numbers this far ahead belong to no record: 2^40 records fill 32 TiB at least.
const MAX_AHEAD: u64 = 1 << 40;

/// Looks for a record at or behind `from`, a multiple of eight, which says that record `min_seq` was on disk. If there is
/// one, the place where `min_seq` should be is damaged; else it may be a torn tail. Since records are verifiable alone, all
/// aligned offsets are tried. `bytes` is the whole file.
pub fn find_proof(bytes: &[u8], from: usize, seed: u32, min_seq: u64) -> Option<Proof> {
    let area = record_area(bytes);
    let bytes = &bytes[..area.end];
    let mut sums = SpanCrc::new(bytes);
    let mut offset = from.max(area.start).next_multiple_of(WORD);
    while let Some(header) = bytes.get(offset..).and_then(|rest| rest.first_chunk::<HEADER_LEN>()) {
        let raw = RawHeader::read(header);
        // This leaves out zeros, nearly all bodies, and with them the cost of a checksum.
        if raw.seq.wrapping_sub(min_seq) < MAX_AHEAD
            && raw.durable_seq >= min_seq
            && raw.verify_with(bytes.len() - offset, |len| sums.crc(seed, offset + 4..offset + len)).is_ok()
        {
            return Some(Proof { offset, seq: raw.seq, durable_seq: raw.durable_seq });
        }
        offset += WORD;
    }
    None
}

/// Whether any byte of `bytes[from..to]` is not zero. Ends beyond the bytes are cut.
pub fn has_nonzero(bytes: &[u8], from: usize, to: usize) -> bool {
    let to = to.min(bytes.len());
    let range = &bytes[from.min(to)..to];
    let chunks = range.chunks_exact(64);
    let rest = chunks.remainder();
    let mut chunks = chunks;
    chunks.any(|chunk| chunk.iter().fold(0, |all, byte| all | byte) != 0) || rest.iter().any(|&byte| byte != 0)
}
