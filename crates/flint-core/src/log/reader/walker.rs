//! Going through a segment's records.

use super::area::record_area;
use super::proof::last_nonzero;
use crate::hooks::{self, Defect};
use crate::log::frame::{HEADER_LEN, Kind, MIN_RECORD_LEN, RawHeader};

/// A record whose checksum is right and which follows its predecessor. The body is still to be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Where it starts in the file.
    pub offset: usize,
    /// Its number in the log.
    pub seq: u64,
    /// What the body holds.
    pub kind: Kind,
    /// Flags.
    pub flags: u8,
    /// Everything up to here was on disk when it was written; 0 also for "unknown".
    pub durable_seq: u64,
    /// Engine time in nanoseconds.
    pub now_ns: u64,
    /// The body, for [`decode`](crate::log::record::decode).
    pub body: &'a [u8],
    /// Its CRC.
    pub crc: u32,
    /// The CRC of the record before.
    pub prev_crc: u32,
}

impl Frame<'_> {
    /// Bytes of the whole record.
    #[inline]
    pub const fn len(&self) -> usize {
        MIN_RECORD_LEN + self.body.len()
    }

    /// Never: the header is part of the record.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// Where the next record starts.
    #[inline]
    pub const fn end(&self) -> usize {
        self.offset + self.len()
    }
}

/// What [`Walker::next`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// A record.
    Record(Frame<'a>),
    /// No record starts here: zeros, or the end of the room for records.
    End {
        /// Where the last record ends.
        offset: usize,
    },
    /// What starts here is not the next record.
    Invalid {
        /// Where.
        offset: usize,
        /// Why, as a sentence without its full stop.
        reason: &'static str,
    },
    /// The next record, intact, of a kind that this version does not know.
    Unsupported {
        /// Where.
        offset: usize,
        /// The kind's code.
        kind: u8,
    },
}

/// Goes through the records of one segment. After anything but a record it stays where it is.
#[derive(Debug, Clone)]
pub struct Walker<'a> {
    /// The file up to the end of the room for records.
    bytes: &'a [u8],
    offset: usize,
    seed: u32,
    next_seq: u64,
    prev_crc: u32,
}

impl<'a> Walker<'a> {
    /// Starts behind the header of the segment whose bytes (the whole file) these are. Its first record must have the number
    /// `expected_seq` and name `prev_crc` as its predecessor's CRC. Header and seal are not looked at.
    pub fn new(bytes: &'a [u8], seed: u32, expected_seq: u64, prev_crc: u32) -> Self {
        let area = record_area(bytes);
        Self { bytes: &bytes[..area.end], offset: area.start, seed, next_seq: expected_seq, prev_crc }
    }

    /// The same from a later offset, where the walk over an earlier reading of the same bytes ended.
    pub fn resume(bytes: &'a [u8], seed: u32, offset: usize, expected_seq: u64, prev_crc: u32) -> Self {
        Self { offset, ..Self::new(bytes, seed, expected_seq, prev_crc) }
    }

    /// Where the next record is looked for.
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// The number that the next record must have.
    pub const fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// The CRC that the next record must name.
    pub const fn prev_crc(&self) -> u32 {
        self.prev_crc
    }

    /// Verifies what starts here; moves on if it is a record.
    #[inline]
    #[expect(
        clippy::should_implement_trait,
        reason = "it never ends: after the last record it says why there is no more"
    )]
    pub fn next(&mut self) -> Step<'a> {
        let offset = self.offset;
        let rest = &self.bytes[offset..];
        let Some(header) = rest.first_chunk::<HEADER_LEN>() else {
            return self.without_header(rest);
        };
        let raw = RawHeader::read(header);
        if let Err(reason) = raw.verify(rest, self.seed) {
            return if *header == [0; HEADER_LEN] { Step::End { offset } } else { Step::Invalid { offset, reason } };
        }
        if raw.seq != self.next_seq {
            return Step::Invalid { offset, reason: "the record does not have the next sequence number" };
        }
        if raw.prev_crc != self.prev_crc && !hooks::has(Defect::IgnorePreviousRecord) {
            return Step::Invalid { offset, reason: "the record does not follow the one before it" };
        }
        let Some(kind) = Kind::from_code(raw.kind_code) else {
            return Step::Unsupported { offset, kind: raw.kind_code };
        };
        // `verify` made sure that the whole record is there, with the time.
        let Some((now, body)) = rest[HEADER_LEN..raw.len].split_first_chunk() else {
            return Step::Invalid { offset, reason: "the record's length is impossible" };
        };
        self.offset = offset + raw.len;
        self.next_seq = raw.seq.saturating_add(1);
        self.prev_crc = raw.crc;
        Step::Record(Frame {
            offset,
            seq: raw.seq,
            kind,
            flags: raw.flags,
            durable_seq: raw.durable_seq,
            now_ns: u64::from_le_bytes(*now),
            body,
            crc: raw.crc,
            prev_crc: raw.prev_crc,
        })
    }

    #[cold]
    fn without_header(&self, rest: &[u8]) -> Step<'a> {
        let offset = self.offset;
        if last_nonzero(rest).is_none() {
            Step::End { offset }
        } else {
            Step::Invalid { offset, reason: "there is something behind the last record" }
        }
    }
}
