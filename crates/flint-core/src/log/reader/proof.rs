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
    // No record starts in the zeros at the end.
    let end = bytes.get(offset..).and_then(last_nonzero).map_or(offset, |last| offset + last + 1);
    while let Some(header) = bytes.get(offset..).and_then(|rest| rest.first_chunk::<HEADER_LEN>()) {
        if offset >= end {
            break;
        }
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
    last_nonzero(&bytes[from.min(to)..to]).is_some()
}

/// The index of the last byte that is not zero. Compares block by block: most of a segment is zeros.
pub fn last_nonzero(bytes: &[u8]) -> Option<usize> {
    const ZEROS: [u8; 256] = [0; 256];
    let (start, blocks) = bytes.as_rchunks::<{ ZEROS.len() }>();
    let (at, block) = match blocks.iter().rposition(|block| *block != ZEROS) {
        Some(index) => (start.len() + index * ZEROS.len(), &blocks[index][..]),
        None => (0, start),
    };
    block.iter().rposition(|&byte| byte != 0).map(|last| at + last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_byte_that_is_not_zero_is_found_wherever_it_is() {
        for len in [0, 1, 255, 256, 257, 600] {
            assert_eq!(last_nonzero(&vec![0; len]), None);
            for at in 0..len {
                let mut bytes = vec![0; len];
                (bytes[at / 2], bytes[at]) = (1, 2);
                assert_eq!(last_nonzero(&bytes), Some(at), "of {len}");
                assert!(has_nonzero(&bytes, at, len + 9) && !has_nonzero(&bytes, at + 1, len));
            }
        }
    }
}
