//! What is left of a segment file: header, seal and every record that verifies, whatever is damaged around them.

use std::ops::Range;

use super::proof::last_nonzero;
use super::search::{Found, Search};
use super::walker::Frame;
use crate::log::frame::{self, WORD};
use crate::log::segment::{self, BLOCK_LEN, HeaderProblem, Seal, SegmentHeader};

/// Sequence numbers this far ahead belong to no record of a segment.
const MAX_AHEAD: u64 = 1 << 40;

/// What is left of a segment file.
#[derive(Debug)]
pub struct Remains<'a> {
    bytes: &'a [u8],
    unreadable: &'a [Range<usize>],
    /// The number of its first record as its header says, or without a header its name.
    pub first_seq: u64,
    /// Why the header cannot be used.
    pub header: Result<SegmentHeader, &'static str>,
    /// The seal, if there is one; why it cannot be used.
    pub seal: Result<Option<Seal>, &'static str>,
    /// Whether its header is intact and names another store.
    pub foreign: bool,
    /// The records that verify, in order.
    pub records: Vec<Frame<'a>>,
}

impl<'a> Remains<'a> {
    /// Reads the header of a file named for record `named_seq`. Its bytes have zeros where they are `unreadable`.
    ///
    /// # Errors
    /// What only a newer version can read.
    pub fn open(named_seq: u64, bytes: &'a [u8], unreadable: &'a [Range<usize>]) -> Result<Self, String> {
        let header = match bytes.first_chunk().map(SegmentHeader::decode) {
            None => Err("the file is too short"),
            Some(Ok(header)) => Ok(header),
            Some(Err(HeaderProblem::Zero)) => Err("the segment's header is missing"),
            Some(Err(HeaderProblem::Corrupt(reason))) => Err(reason),
            Some(Err(HeaderProblem::NewerVersion(_) | HeaderProblem::UnknownFeatures(_))) => {
                return Err("the segment is of a newer format".to_owned());
            }
        };
        let first_seq = header.as_ref().map_or(named_seq, |header| header.first_seq);
        let (seal, foreign, records) = (Ok(None), false, Vec::new());
        Ok(Self { bytes, unreadable, first_seq, header, seal, foreign, records })
    }

    /// Finds the records and the seal, if they are those of `store_id`.
    ///
    /// # Errors
    /// What only a newer version can read.
    pub fn search(&mut self, store_id: u64) -> Result<(), String> {
        self.foreign = self.header.as_ref().is_ok_and(|header| header.store_id != store_id);
        if self.foreign {
            return Ok(());
        }
        let seed = frame::seed(store_id, self.first_seq);
        let mut search = Search::new(self.bytes, seed, self.first_seq, self.first_seq.saturating_add(MAX_AHEAD));
        while let Some(found) = search.next() {
            match found {
                Found::Record(frame) => self.records.push(frame),
                Found::Unsupported { offset, kind } => {
                    return Err(format!("the record at byte {offset} is of kind {kind}"));
                }
            }
        }
        self.seal = match self.bytes.get(self.area_end()..).and_then(|rest| rest.first_chunk()) {
            Some(bytes) => Seal::decode(bytes, seed),
            None => Err("the file is too short to hold its seal"),
        };
        Ok(())
    }

    /// Bytes of the file.
    pub fn file_len(&self) -> usize {
        self.bytes.len()
    }

    /// Where the room for records ends; of a file that was cut short all is room.
    pub fn area_end(&self) -> usize {
        match &self.header {
            Ok(header) => usize::try_from(segment::seal_offset(header.segment_len))
                .map_or(self.file_len(), |end| end.min(self.file_len())),
            Err(_) => self.file_len().saturating_sub(segment::SEAL_LEN),
        }
    }

    /// Behind the last byte in the room for records, from `at` on, that is not zero or cannot be read.
    pub fn used_end(&self, at: usize) -> usize {
        let area_end = self.area_end().max(at);
        let rest = &self.bytes[at.min(self.file_len())..area_end.min(self.file_len())];
        let last = last_nonzero(rest);
        let last = last.map_or(at, |last| (at + last + 1).next_multiple_of(WORD).min(area_end));
        self.unreadable.iter().map(|bad| bad.end.min(area_end)).fold(last, usize::max)
    }

    /// Whether a part of it is missing at its end, as far as that can be known.
    pub fn is_cut_short(&self) -> bool {
        let len = self.file_len() as u64;
        self.header.as_ref().map_or(len == 0 || !len.is_multiple_of(BLOCK_LEN), |header| len < header.segment_len)
    }

    /// Whether the disk did not return some of these bytes.
    pub fn is_unreadable(&self, bytes: &Range<usize>) -> bool {
        self.unreadable.iter().any(|bad| bad.start < bytes.end && bytes.start < bad.end)
    }
}
