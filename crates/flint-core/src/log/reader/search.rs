//! Finding records behind damage. A record is verifiable alone, so that what comes after a bad place can still be read.

use super::span_crc::SpanCrc;
use super::walker::Frame;
use crate::log::frame::{HEADER_LEN, Kind, RawHeader, WORD};
use crate::log::segment;

/// What [`Search::next`] found: a record whose checksum is right, whatever is before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<'a> {
    /// A record of a known kind. The body is still to be decoded.
    Record(Frame<'a>),
    /// A record of a kind that only a newer version knows.
    Unsupported {
        /// Where.
        offset: usize,
        /// The kind's code.
        kind: u8,
    },
}

/// Goes through the bytes of a segment, which may be damaged or cut short, from one verifiable record to the next. Sequence
/// numbers only grow: what goes back is a leftover.
pub struct Search<'a> {
    bytes: &'a [u8],
    sums: SpanCrc<'a>,
    seed: u32,
    offset: usize,
    /// The least number that the next record may have, and the first that it may not.
    next_seq: u64,
    end_seq: u64,
}

impl<'a> Search<'a> {
    /// `bytes` is the whole file. Only records with numbers from `first_seq` on and below `end_seq` are found.
    pub fn new(bytes: &'a [u8], seed: u32, first_seq: u64, end_seq: u64) -> Self {
        let bytes = &bytes[..bytes.len() / WORD * WORD];
        Self { bytes, sums: SpanCrc::new(bytes), seed, offset: segment::HEADER_LEN, next_seq: first_seq, end_seq }
    }

    /// The next record, at whatever multiple of eight it starts.
    #[expect(clippy::should_implement_trait, reason = "as `Walker::next`")]
    pub fn next(&mut self) -> Option<Found<'a>> {
        let bytes = self.bytes;
        while let Some(header) = bytes.get(self.offset..).and_then(|rest| rest.first_chunk::<HEADER_LEN>()) {
            let (offset, raw) = (self.offset, RawHeader::read(header));
            // This leaves out zeros and nearly all bodies, and with them the cost of a checksum.
            let plausible = (self.next_seq..self.end_seq).contains(&raw.seq);
            let sums = &mut self.sums;
            if !plausible
                || raw.verify_with(bytes.len() - offset, |len| sums.crc(self.seed, offset + 4..offset + len)).is_err()
            {
                self.offset += WORD;
                continue;
            }
            self.offset = offset + raw.len;
            self.next_seq = raw.seq.saturating_add(1);
            let Some(kind) = Kind::from_code(raw.kind_code) else {
                return Some(Found::Unsupported { offset, kind: raw.kind_code });
            };
            // `verify_with` made sure that the whole record is there, with the time.
            let (now, body) = bytes[offset + HEADER_LEN..offset + raw.len].split_first_chunk()?;
            return Some(Found::Record(Frame {
                offset,
                seq: raw.seq,
                kind,
                flags: raw.flags,
                durable_seq: raw.durable_seq,
                now_ns: u64::from_le_bytes(*now),
                body,
                crc: raw.crc,
                prev_crc: raw.prev_crc,
            }));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::frame::{Head, begin, finish};

    const SEED: u32 = 7;

    fn segment_of(seqs: &[u64]) -> (Vec<u8>, Vec<usize>) {
        let mut bytes = vec![0; segment::HEADER_LEN];
        let (mut buf, mut places) = (Vec::new(), Vec::new());
        for &seq in seqs {
            begin(&mut buf, seq);
            buf.extend_from_slice(&[0xab; 24]);
            finish(&mut buf, SEED, &Head { seq, prev_crc: 0, durable_seq: 0, kind: Kind::Reset, flags: 0 });
            places.push(bytes.len());
            bytes.extend_from_slice(&buf);
        }
        bytes.resize(bytes.len() + 512, 0);
        (bytes, places)
    }

    fn found(bytes: &[u8], first_seq: u64, end_seq: u64) -> Vec<u64> {
        let mut search = Search::new(bytes, SEED, first_seq, end_seq);
        std::iter::from_fn(|| search.next())
            .map(|found| match found {
                Found::Record(frame) => frame.seq,
                Found::Unsupported { .. } => panic!("{found:?}"),
            })
            .collect()
    }

    #[test]
    fn whole_records_are_found_behind_damage() {
        let (bytes, places) = segment_of(&[5, 6, 7, 8, 9]);
        assert_eq!(found(&bytes, 1, 100), [5, 6, 7, 8, 9]);
        for (index, &place) in places.iter().enumerate() {
            for bit in 0..56 * 8 {
                let mut damaged = bytes.clone();
                damaged[place + bit / 8] ^= 1 << (bit % 8);
                let mut expected = vec![5, 6, 7, 8, 9];
                expected.remove(index);
                assert_eq!(found(&damaged, 1, 100), expected, "record {index}, bit {bit}");
            }
        }
    }

    #[test]
    fn numbers_out_of_range_and_going_back_are_left_out() {
        let (bytes, _) = segment_of(&[5, 6, 4, 7, 200]);
        assert_eq!(found(&bytes, 1, 100), [5, 6, 7]);
        assert_eq!(found(&bytes, 6, 7), [6]);
    }

    #[test]
    fn a_file_that_was_cut_short_gives_what_is_whole() {
        let (bytes, places) = segment_of(&[5, 6, 7]);
        for len in 0..places[2] + 60 {
            let whole = places.iter().filter(|&&place| place + 56 <= len / 8 * 8).count();
            assert_eq!(found(&bytes[..len], 1, 100).len(), whole, "{len} bytes");
        }
    }
}
