//! Which records are missing, and where they were.

use std::ops::Range;

use crate::files;
use crate::log::frame::MIN_RECORD_LEN;
use crate::log::reader::Frame;
use crate::log::segment;
use crate::storage::Dir;

use super::report::{Dropped, Loss, Records};
use super::sources::{Segment, Sources};

/// Numbers without a record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gap {
    pub(super) first: u64,
    /// The largest number where nothing says how many there were.
    pub(super) last: u64,
    /// How many keys the missing records can have introduced.
    pub(super) new_keys: u64,
}

/// The shortest room that introducing a key takes: its part of a group.
const NEW_KEY_BYTES: usize = 72;

/// The account of everything that is not used.
pub(super) struct Losses<'a> {
    dir: &'a dyn Dir,
    /// Records up to here are in an intact snapshot, and up to there the log is known to have reached.
    covered: u64,
    reached: u64,
    /// The records that are used, every number once, in order, each with the name of its file.
    pub(super) chosen: Vec<(&'a str, Frame<'a>)>,
    /// The numbers between them: first and last.
    holes: Vec<(u64, u64)>,
    pub(super) gaps: Vec<Gap>,
    pub(super) dropped: Vec<Dropped>,
    pub(super) notes: Vec<String>,
}

impl<'a> Losses<'a> {
    pub(super) fn find(dir: &'a dyn Dir, sources: &Sources<'a>, covered: u64, reached: u64) -> Self {
        let chosen = choose(sources);
        let (mut holes, mut next) = (Vec::new(), 0);
        for (_, frame) in &chosen {
            holes.extend((frame.seq > next).then(|| (next, frame.seq - 1)));
            next = frame.seq + 1;
        }
        holes.push((next, u64::MAX));
        let (gaps, dropped, notes) = (Vec::new(), Vec::new(), Vec::new());
        let mut losses = Self { dir, covered, reached, chosen, holes, gaps, dropped, notes };
        let all = sources.segments.iter().enumerate();
        let own: Vec<_> = all.filter(|(n, _)| !losses.is_left_out(sources, *n)).map(|(_, segment)| segment).collect();
        match own.first().map(|segment| segment.left.first_seq.saturating_sub(1)) {
            Some(before) if before <= covered => {}
            before => losses.file_missing(covered + 1, before),
        }
        for (position, segment) in own.iter().enumerate() {
            losses.walk(segment, own.get(position + 1).map(|next| next.left.first_seq));
        }
        losses
    }

    /// Reports a part of a file, and the records in it that exist nowhere else.
    pub(super) fn drop(
        &mut self,
        name: &str,
        bytes: Range<usize>,
        records: Option<Records>,
        loss: Loss,
        reason: impl Into<String>,
    ) {
        let (path, from, to) = (self.dir.path().join(name), bytes.start as u64, bytes.end as u64);
        self.dropped.push(Dropped { path, from, to, records, loss, reason: reason.into() });
    }

    /// Reports a part of a file that holds nothing which is not in another place too.
    pub(super) fn unneeded(&mut self, name: &str, bytes: Range<usize>, reason: impl Into<String>) {
        self.drop(name, bytes, None, Loss::Nothing, reason);
    }

    /// Segments of which nothing is reported but that: those of another store, and second copies.
    fn is_left_out(&mut self, sources: &Sources<'_>, index: usize) -> bool {
        let Segment { name, left } = &sources.segments[index];
        let is_same = |other: &&Segment<'_>| !other.left.foreign && other.left.first_seq == left.first_seq;
        let other = sources.segments[..index].iter().find(is_same);
        if left.foreign {
            self.unneeded(name, 0..left.file_len(), "the file belongs to another store");
        } else if let Some(other) = other {
            let reason = format!("it holds the same part of the log as {}", other.name);
            self.unneeded(name, 0..left.file_len(), reason);
        }
        left.foreign || other.is_some()
    }

    fn file_missing(&mut self, first: u64, last: Option<u64>) {
        let (name, reason) = (files::segment_name(first), "the file is missing, or of another store");
        self.missing(&name, 0..0, first, last, u64::MAX, reason);
    }

    /// Reports those of the numbers from `first` to `last` of which there is no record in any file.
    fn missing(&mut self, name: &str, bytes: Range<usize>, first: u64, last: Option<u64>, new_keys: u64, reason: &str) {
        let limit = last.unwrap_or(u64::MAX);
        let from = self.holes.partition_point(|hole| hole.1 < first);
        let holes = self.holes[from..].iter().take_while(|hole| hole.0 <= limit);
        let ranges: Vec<(u64, u64)> = holes.map(|hole| (hole.0.max(first), hole.1.min(limit))).collect();
        if ranges.is_empty() && !bytes.is_empty() {
            self.unneeded(name, bytes.clone(), reason);
        }
        for (first, end) in ranges {
            let loss = if end > self.covered { Loss::State } else { Loss::History };
            if loss == Loss::State {
                self.gaps.push(Gap { first: first.max(self.covered + 1), last: end, new_keys });
            }
            let last = (end < limit || last.is_some()).then_some(end);
            self.drop(name, bytes.clone(), Some(Records { first, last }), loss, reason);
        }
    }

    /// Reports bytes of a segment in which records from `first` to `last` were; none if `last` is before `first`.
    fn lost(&mut self, segment: &Segment<'_>, bytes: Range<usize>, first: u64, last: Option<u64>) {
        let reason = match () {
            () if segment.left.is_unreadable(&bytes) => "the disk returns an error for it",
            () if segment.left.is_cut_short() && last.is_none() => "the file is cut short",
            () if bytes.is_empty() => "the records are missing",
            () => "it cannot be verified",
        };
        if last.is_none_or(|last| last >= first) {
            // More records than these bytes can hold were somewhere else.
            let fits = last.is_some_and(|last| last - first < (bytes.len() / MIN_RECORD_LEN) as u64);
            let new_keys = if fits { (bytes.len() / NEW_KEY_BYTES) as u64 } else { u64::MAX };
            self.missing(segment.name, bytes, first, last, new_keys, reason);
        } else if !bytes.is_empty() {
            self.unneeded(segment.name, bytes, "it is no record");
        }
    }

    /// One segment from front to back. `next`: the first number of the one behind it.
    fn walk(&mut self, segment: &Segment<'_>, next: Option<u64>) {
        let (name, len, area_end) = (segment.name, segment.left.file_len(), segment.left.area_end());
        match &segment.left.header {
            Err(reason) => self.unneeded(name, 0..len.min(segment::HEADER_LEN), *reason),
            Ok(header) if header.segment_len != len as u64 => {
                let reason = format!("the file has {len} bytes instead of {}", header.segment_len);
                self.unneeded(name, len..len, reason);
            }
            Ok(_) => {}
        }
        let (mut at, mut seq) = (segment::HEADER_LEN.min(area_end), segment.left.first_seq);
        for frame in &segment.left.records {
            self.lost(segment, at..frame.offset, seq, Some(frame.seq - 1));
            (at, seq) = (frame.end(), frame.seq + 1);
        }
        // Behind the last record: up to where the seal says, or else as far as there is anything.
        let used = segment.left.used_end(at);
        let (end, last) = match (&segment.left.seal, next) {
            (Ok(Some(seal)), _) => {
                let end = usize::try_from(seal.end_offset).map_or(at, |end| end.clamp(at, area_end.max(at)));
                (end, Some(seal.last_seq))
            }
            (_, Some(next)) => (used, Some(next.saturating_sub(1))),
            (_, None) if segment.left.is_cut_short() => (used, None),
            (_, None) if self.reached >= seq => (used, Some(self.reached)),
            // A new segment that a power cut undid looks the same.
            (_, None) if used > at || segment.left.header.is_err() && segment.left.records.is_empty() => (used, None),
            (_, None) => (used, Some(seq - 1)),
        };
        self.lost(segment, at..end, seq, last);
        if used > end {
            self.unneeded(name, end..used, "it is behind the last record");
        }
        match (&segment.left.seal, last) {
            // A seal says that another segment follows.
            (Ok(Some(_)), Some(last)) if next.is_none_or(|next| next > last + 1) => {
                self.file_missing(last + 1, next.map(|next| next - 1));
            }
            (Err(reason), _) => self.unneeded(name, area_end..len, format!("the seal: {reason}")),
            _ => {}
        }
    }
}

/// One record for each number. Where several differ, one that follows its predecessor.
fn choose<'a>(sources: &Sources<'a>) -> Vec<(&'a str, Frame<'a>)> {
    let mut all: Vec<(&'a str, Frame<'a>)> = Vec::new();
    for Segment { name, left } in &sources.segments {
        all.extend(left.records.iter().map(|&frame| (*name, frame)));
    }
    all.sort_by_key(|(_, frame)| frame.seq);
    let mut chosen: Vec<(&'a str, Frame<'a>)> = Vec::new();
    for candidates in all.chunk_by(|(_, a), (_, b)| a.seq == b.seq) {
        let previous = chosen.last().map(|(_, last)| (last.seq + 1, last.crc));
        let follows = candidates.iter().find(|(_, frame)| previous == Some((frame.seq, frame.prev_crc)));
        chosen.push(*follows.unwrap_or(&candidates[0]));
    }
    chosen
}
