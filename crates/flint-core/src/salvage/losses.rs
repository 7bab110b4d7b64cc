//! Which records are missing, and where they were.

use std::ops::Range;

use crate::files;
use crate::log::frame::WORD;
use crate::log::segment;
use crate::storage::Dir;

use super::report::{Dropped, Loss, Records};
use super::sources::{Record, Segment, Sources};

/// A record that is used: index of its segment, index in the segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) seq: u64,
    pub(super) segment: usize,
    pub(super) record: usize,
}

/// Numbers without a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) first: u64,
    /// The largest number where nothing tells how many there were.
    pub(super) last: u64,
    /// How many keys the missing records can have introduced.
    pub(super) new_keys: u64,
}

/// The shortest room that introducing a key takes: its part of a group.
const NEW_KEY_BYTES: u64 = 72;

/// The account of everything that is not used.
pub(super) struct Losses {
    /// Every number once, in order.
    pub(super) chosen: Vec<Chosen>,
    pub(super) gaps: Vec<Gap>,
    pub(super) dropped: Vec<Dropped>,
    pub(super) notes: Vec<String>,
}

struct Account<'a> {
    dir: &'a dyn Dir,
    sources: &'a Sources,
    /// Records up to here are in an intact snapshot.
    covered: u64,
    losses: Losses,
}

/// `covered`: the start of the newest intact snapshot, or 0; `reached`: the number that the log is known to have reached.
pub(super) fn account(dir: &dyn Dir, sources: &Sources, covered: u64, reached: u64) -> Losses {
    let losses = Losses { chosen: Vec::new(), gaps: Vec::new(), dropped: Vec::new(), notes: Vec::new() };
    let mut account = Account { dir, sources, covered, losses };
    account.choose();
    account.find_gaps(reached);
    account.losses.gaps.sort_by_key(|gap| gap.first);
    account.losses
}

impl Account<'_> {
    fn record(&self, chosen: &Chosen) -> &Record {
        &self.sources.segments[chosen.segment].records[chosen.record]
    }

    /// One record for each number. Where two differ, the one that follows its predecessor.
    fn choose(&mut self) {
        let mut all: Vec<Chosen> = Vec::new();
        for (segment, source) in self.sources.segments.iter().enumerate() {
            all.extend(source.records.iter().enumerate().map(|(record, found)| Chosen {
                seq: found.seq,
                segment,
                record,
            }));
        }
        all.sort_by_key(|chosen| (chosen.seq, chosen.segment, chosen.record));
        let mut chosen: Vec<Chosen> = Vec::with_capacity(all.len());
        for candidates in all.chunk_by(|a, b| a.seq == b.seq) {
            let previous =
                chosen.last().filter(|last| last.seq + 1 == candidates[0].seq).map(|last| self.record(last).crc);
            let follows = |candidate: &&Chosen| Some(self.record(candidate).prev_crc) == previous;
            let taken = candidates.iter().find(follows).unwrap_or(&candidates[0]);
            let differs = |other: &&Chosen| {
                self.body(other) != self.body(taken) || self.record(other).kind != self.record(taken).kind
            };
            if let Some(other) = candidates.iter().find(differs) {
                self.losses.notes.push(format!(
                    "record {} is in {} and, different, in {}; the one in {0} was used",
                    taken.seq, self.sources.segments[taken.segment].name, self.sources.segments[other.segment].name
                ));
            }
            chosen.push(*taken);
        }
        self.losses.chosen = chosen;
    }

    fn body(&self, chosen: &Chosen) -> &[u8] {
        self.record(chosen).body(&self.sources.segments[chosen.segment])
    }

    fn find_gaps(&mut self, reached: u64) {
        let segments = &self.sources.segments;
        let own: Vec<usize> = (0..segments.len()).filter(|&index| !self.is_left_out(index)).collect();
        let oldest = own.first().map_or(u64::MAX, |&index| segments[index].first_seq);
        let before = if own.is_empty() { None } else { Some(oldest - 1) };
        match before {
            None => self.gap_without_file(self.covered + 1, None),
            Some(last) if last > self.covered => self.gap_without_file(self.covered + 1, Some(last)),
            Some(_) => {}
        }
        for (position, &index) in own.iter().enumerate() {
            let next = own.get(position + 1).map(|&next| segments[next].first_seq);
            self.walk(index, next, reached);
        }
    }

    /// Segments that tell nothing of this store, or nothing that another does not tell.
    fn is_left_out(&mut self, index: usize) -> bool {
        let segments = &self.sources.segments;
        let segment = &segments[index];
        let twin = segments[..index].iter().find(|other| !other.foreign && other.first_seq == segment.first_seq);
        let reason = if segment.foreign {
            "the file belongs to another store".to_owned()
        } else if let Some(twin) = twin {
            format!("it holds the same part of the log as {}", twin.name)
        } else {
            if files::parse_segment_name(&segment.name) != Some(segment.first_seq) {
                self.losses.notes.push(format!(
                    "{} is under a wrong name: its header says that it starts with record {}",
                    segment.name, segment.first_seq
                ));
            }
            return false;
        };
        self.unneeded(index, 0..segment.bytes.len(), reason);
        true
    }

    fn unneeded(&mut self, segment: usize, bytes: Range<usize>, reason: impl Into<String>) {
        self.losses.dropped.push(Dropped {
            path: self.dir.path().join(&self.sources.segments[segment].name),
            from: bytes.start as u64,
            to: bytes.end as u64,
            records: None,
            loss: Loss::Nothing,
            reason: reason.into(),
        });
    }

    fn gap_without_file(&mut self, first: u64, last: Option<u64>) {
        let name = files::segment_name(first);
        let foreign = self.sources.segments.iter().any(|segment| segment.foreign && segment.name == name);
        let reason = if foreign {
            "the file belongs to another store"
        } else if first == 1 && !self.sources.snapshots.iter().any(|snapshot| !snapshot.foreign) {
            "the snapshot that held these records, or this file, is missing"
        } else {
            "the file is missing"
        };
        self.missing(&name, 0..0, first, last, u64::MAX, reason);
    }

    /// Reports the numbers of a place that exist nowhere else.
    fn missing(&mut self, name: &str, bytes: Range<usize>, first: u64, last: Option<u64>, new_keys: u64, reason: &str) {
        let limit = last.unwrap_or(u64::MAX);
        let chosen = &self.losses.chosen;
        let from = chosen.partition_point(|chosen| chosen.seq < first);
        let mut ranges = Vec::new();
        let mut next = first;
        for found in chosen[from..].iter().take_while(|found| found.seq <= limit) {
            if found.seq > next {
                ranges.push((next, Some(found.seq - 1)));
            }
            next = found.seq + 1;
        }
        if next <= limit {
            ranges.push((next, last));
        }
        let base = Dropped {
            path: self.dir.path().join(name),
            from: bytes.start as u64,
            to: bytes.end as u64,
            records: None,
            loss: Loss::Nothing,
            reason: reason.to_owned(),
        };
        if ranges.is_empty() {
            self.losses.dropped.push(base);
            return;
        }
        for (first, last) in ranges {
            let end = last.unwrap_or(u64::MAX);
            let loss = if end > self.covered { Loss::State } else { Loss::History };
            self.losses.dropped.push(Dropped { records: Some(Records { first, last }), loss, ..base.clone() });
            if end > self.covered {
                self.losses.gaps.push(Gap { first: first.max(self.covered + 1), last: end, new_keys });
            }
        }
    }

    /// One segment from front to back. `next`: the first number of the one behind it.
    fn walk(&mut self, index: usize, next: Option<u64>, reached: u64) {
        let segment = &self.sources.segments[index];
        let (name, area_end) = (segment.name.clone(), segment.area_end());
        if let Err(reason) = segment.header {
            self.unneeded(index, 0..segment.bytes.len().min(segment::HEADER_LEN), reason);
        }
        if let Ok(header) = &segment.header
            && header.segment_len != segment.bytes.len() as u64
        {
            let reason = format!("the file has {} bytes instead of {}", segment.bytes.len(), header.segment_len);
            self.unneeded(index, segment.bytes.len()..segment.bytes.len(), reason);
        }
        let (mut at, mut seq) = (segment::HEADER_LEN.min(area_end), segment.first_seq);
        for record in &segment.records {
            if record.offset > at || record.seq > seq {
                let reason = self.reason(segment, at..record.offset);
                let last = record.seq - 1;
                if last >= seq {
                    self.missing(&name, at..record.offset, seq, Some(last), new_keys(at..record.offset), reason);
                } else {
                    self.unneeded(index, at..record.offset, "it is no record");
                }
            }
            (at, seq) = (record.end(), record.seq + 1);
        }
        self.end(index, next, reached, at, seq);
        if let Err(reason) = segment.seal {
            self.unneeded(index, area_end..segment.bytes.len(), format!("the seal: {reason}"));
        }
    }

    /// What should be behind the last record that was found, which ends at byte `at`; `seq` would be the next.
    fn end(&mut self, index: usize, next: Option<u64>, reached: u64, at: usize, seq: u64) {
        let segment = &self.sources.segments[index];
        let name = segment.name.clone();
        let used = used_end(segment, at);
        let reason = self.reason(segment, at..used);
        let seal = segment.seal.ok().flatten();
        if let Some(seal) = seal {
            let end = usize::try_from(seal.end_offset).map_or(at, |end| end.clamp(at, segment.area_end().max(at)));
            if seal.last_seq >= seq {
                self.missing(&name, at..end, seq, Some(seal.last_seq), new_keys(at..end), reason);
            }
            if used > end.max(at) {
                self.unneeded(index, end.max(at)..used, "it is behind the last record");
            }
            match next {
                // A seal says that another segment follows.
                None => self.gap_without_file(seal.last_seq + 1, None),
                Some(next) if next > seal.last_seq + 1 => self.gap_without_file(seal.last_seq + 1, Some(next - 1)),
                Some(_) => {}
            }
            return;
        }
        match next {
            Some(next) if next > seq && used > at => {
                self.missing(&name, at..used, seq, Some(next - 1), u64::MAX, reason);
            }
            Some(next) if next > seq => {
                let reason = "the records are missing here, or a file behind this one is";
                self.missing(&name, at..at, seq, Some(next - 1), u64::MAX, reason);
            }
            None if used > at => {
                let last = (reached >= seq && !segment.is_cut_short()).then_some(reached);
                let reason =
                    "it cannot be verified: damaged, or what a crash left of records that were not yet on disk";
                self.missing(&name, at..used, seq, last, new_keys(at..used), reason);
            }
            None if segment.is_cut_short() => {
                self.missing(&name, at..at, seq, None, u64::MAX, "the file is cut short");
            }
            None if reached >= seq => {
                let reason = "a snapshot was published when the log was longer";
                self.missing(&name, at..at, seq, Some(reached), u64::MAX, reason);
            }
            // A new segment that a power cut undid looks the same; nobody can tell.
            None if segment.header.is_err() && segment.records.is_empty() => {
                let reason = "without its header nothing tells whether there were records in it";
                self.missing(&name, at..at, seq, None, u64::MAX, reason);
            }
            _ if used > at => self.unneeded(index, at..used, "it is behind the last record"),
            _ => {}
        }
    }

    fn reason(&self, segment: &Segment, bytes: Range<usize>) -> &'static str {
        if segment.unreadable.iter().any(|bad| bad.start < bytes.end && bytes.start < bad.end) {
            "the disk does not give it"
        } else {
            "it cannot be verified"
        }
    }
}

fn new_keys(bytes: Range<usize>) -> u64 {
    bytes.len() as u64 / NEW_KEY_BYTES
}

/// Behind the last byte that is not zero in the room for records, from `at` on.
fn used_end(segment: &Segment, at: usize) -> usize {
    let area_end = segment.area_end().max(at);
    let last = segment.bytes[at..area_end.min(segment.bytes.len()).max(at)].iter().rposition(|&byte| byte != 0);
    let last = last.map_or(at, |last| (at + last + 1).next_multiple_of(WORD).min(area_end));
    segment.unreadable.iter().map(|bad| bad.end.min(area_end)).fold(last, usize::max)
}
