//! What can still be read: records by their own checksums, snapshots whole or line by line.

use std::ops::Range;

use hashbrown::HashMap;

use crate::error::{Error, Result};
use crate::files;
use crate::idempotency::IdempotencyWindow;
use crate::image::KeyImage;
use crate::log::frame::{self, Kind, MIN_RECORD_LEN};
use crate::log::reader::{Found, Search};
use crate::log::segment::{self, BLOCK_LEN, HeaderProblem, Seal, SegmentHeader};
use crate::recovery::stored_id;
use crate::snapshot::{self, Body, Line};
use crate::storage::{Dir, File, Mode};
use crate::table::Table;

/// Reading stops at nothing: what the disk does not give is taken for damage of this granularity.
const BLOCK: usize = 4096;
/// Sequence numbers this far ahead belong to no record of a segment.
const MAX_AHEAD: u64 = 1 << 40;

/// A verified record's place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record {
    pub(super) seq: u64,
    pub(super) offset: usize,
    pub(super) len: usize,
    pub(super) kind: Kind,
    pub(super) now_ns: u64,
    pub(super) crc: u32,
    pub(super) prev_crc: u32,
}

impl Record {
    pub(super) fn body<'a>(&self, segment: &'a Segment) -> &'a [u8] {
        &segment.bytes[self.offset + MIN_RECORD_LEN..self.offset + self.len]
    }

    pub(super) const fn end(&self) -> usize {
        self.offset + self.len
    }
}

/// A segment file.
pub(super) struct Segment {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
    /// The number of its first record: the header's word, or without a header the name's.
    pub(super) first_seq: u64,
    /// Why the header cannot be used.
    pub(super) header: Result<SegmentHeader, &'static str>,
    /// The seal, if there is one; why it cannot be used.
    pub(super) seal: Result<Option<Seal>, &'static str>,
    /// Whether its header is intact and names another store.
    pub(super) foreign: bool,
    pub(super) unreadable: Vec<Range<usize>>,
    /// In order.
    pub(super) records: Vec<Record>,
}

impl Segment {
    /// Where the room for records ends.
    pub(super) fn area_end(&self) -> usize {
        let len = self.bytes.len();
        match &self.header {
            // Of a file that was cut short all is room.
            Ok(header) => usize::try_from(segment::seal_offset(header.segment_len)).map_or(len, |end| end.min(len)),
            Err(_) => len.saturating_sub(segment::SEAL_LEN),
        }
    }
}

impl Segment {
    /// Whether a part of it is missing at its end, as far as that can be told.
    pub(super) fn is_cut_short(&self) -> bool {
        let len = self.bytes.len() as u64;
        self.header.as_ref().map_or(len == 0 || !len.is_multiple_of(BLOCK_LEN), |header| len < header.segment_len)
    }
}

/// A snapshot file.
pub(super) struct Snapshot {
    pub(super) name: String,
    pub(super) len: u64,
    pub(super) start: u64,
    /// Known of an intact one; of a damaged one if the lines can be read.
    pub(super) header: Option<snapshot::Header>,
    pub(super) trailer: Option<snapshot::Trailer>,
    pub(super) images: Vec<KeyImage>,
    /// Remembered answers of an intact one.
    pub(super) receipts: IdempotencyWindow,
    /// Lines of a damaged one that hold answers, which nothing verifies.
    pub(super) unverified_receipts: u64,
    /// Why it is not intact.
    pub(super) damage: Option<String>,
    /// Lines that cannot be read.
    pub(super) bad_lines: Vec<(Range<usize>, &'static str)>,
    pub(super) foreign: bool,
}

/// Everything that is left of a store.
pub(super) struct Sources {
    /// In order of their first record.
    pub(super) segments: Vec<Segment>,
    /// In order of their start.
    pub(super) snapshots: Vec<Snapshot>,
}

impl Sources {
    pub(super) fn read(dir: &dyn Dir, names: &[String]) -> Result<Self> {
        let mut snapshots = Vec::new();
        let mut raw = Vec::new();
        for name in names {
            if let Some(start) = files::parse_snapshot_name(name) {
                snapshots.push(read_snapshot(dir, name, start)?);
            } else if let Some(first_seq) = files::parse_segment_name(name) {
                let (bytes, unreadable) = read_file(dir, name)?;
                raw.push((name.clone(), first_seq, bytes, unreadable));
            }
        }
        snapshots.sort_by_key(|snapshot| snapshot.start);
        raw.sort_by_key(|(_, first_seq, _, _)| *first_seq);
        let mut segments = Vec::with_capacity(raw.len());
        for (name, first_seq, bytes, unreadable) in raw {
            segments.push(open_segment(dir, name, first_seq, bytes, unreadable)?);
        }
        let store_id = choose_store(dir, &mut segments, &snapshots)?;
        for segment in &mut segments {
            search(dir, segment, store_id)?;
        }
        for snapshot in &mut snapshots {
            snapshot.foreign = snapshot.header.as_ref().is_some_and(|header| header.store_id != store_id);
        }
        segments.sort_by(|a, b| (a.first_seq, &a.name).cmp(&(b.first_seq, &b.name)));
        Ok(Self { segments, snapshots })
    }
}

/// A whole file; zeros stand for what cannot be read.
fn read_file(dir: &dyn Dir, name: &str) -> Result<(Vec<u8>, Vec<Range<usize>>)> {
    let path = || dir.path().join(name);
    let file = dir.open(name, Mode::Read).map_err(|error| Error::storage("cannot open", path(), error))?;
    let len = file.len().map_err(|error| Error::storage("cannot read", path(), error))?;
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    if file.read_exact_at(&mut bytes, 0).is_ok() {
        return Ok((bytes, Vec::new()));
    }
    Ok(read_in_blocks(&*file, bytes))
}

fn read_in_blocks(file: &dyn File, mut bytes: Vec<u8>) -> (Vec<u8>, Vec<Range<usize>>) {
    let mut unreadable: Vec<Range<usize>> = Vec::new();
    for (index, block) in bytes.chunks_mut(BLOCK).enumerate() {
        let at = index * BLOCK;
        if file.read_exact_at(block, at as u64).is_ok() {
            continue;
        }
        block.fill(0);
        match unreadable.last_mut() {
            Some(last) if last.end == at => last.end += block.len(),
            _ => unreadable.push(at..at + block.len()),
        }
    }
    (bytes, unreadable)
}

fn unsupported(dir: &dyn Dir, name: &str, detail: &str) -> Error {
    Error::Unsupported {
        path: dir.path().join(name),
        detail: format!("{detail}, which only a newer Flint can repair: use that version; nothing was touched"),
    }
}

fn open_segment(
    dir: &dyn Dir,
    name: String,
    named_seq: u64,
    bytes: Vec<u8>,
    unreadable: Vec<Range<usize>>,
) -> Result<Segment> {
    let header = match bytes.first_chunk().map(SegmentHeader::decode) {
        None => Err("the file is too short"),
        Some(Ok(header)) => Ok(header),
        Some(Err(HeaderProblem::Zero)) => Err("the segment's header is missing"),
        Some(Err(HeaderProblem::Corrupt(reason))) => Err(reason),
        Some(Err(HeaderProblem::NewerVersion(_) | HeaderProblem::UnknownFeatures(_))) => {
            return Err(unsupported(dir, &name, "the segment is of a newer format"));
        }
    };
    let first_seq = header.as_ref().map_or(named_seq, |header| header.first_seq);
    let (seal, foreign, records) = (Ok(None), false, Vec::new());
    Ok(Segment { name, bytes, first_seq, header, seal, foreign, unreadable, records })
}

/// Finds the segment's records, as far as they are `store_id`'s.
fn search(dir: &dyn Dir, segment: &mut Segment, store_id: u64) -> Result<()> {
    segment.records.clear();
    segment.seal = Ok(None);
    segment.foreign = segment.header.as_ref().is_ok_and(|header| header.store_id != store_id);
    if segment.foreign {
        return Ok(());
    }
    let seed = frame::seed(store_id, segment.first_seq);
    let end_seq = segment.first_seq.saturating_add(MAX_AHEAD);
    let mut search = Search::new(&segment.bytes, seed, segment.first_seq, end_seq);
    while let Some(found) = search.next() {
        match found {
            Found::Record(frame) => segment.records.push(Record {
                seq: frame.seq,
                offset: frame.offset,
                len: frame.len(),
                kind: frame.kind,
                now_ns: frame.now_ns,
                crc: frame.crc,
                prev_crc: frame.prev_crc,
            }),
            Found::Unsupported { offset, kind } => {
                let what = format!("the record at byte {offset} is of kind {kind}");
                return Err(unsupported(dir, &segment.name, &what));
            }
        }
    }
    let area_end = segment.area_end();
    segment.seal = match segment.bytes.get(area_end..).and_then(|rest| rest.first_chunk()) {
        Some(bytes) => Seal::decode(bytes, seed),
        None => Err("the file is too short to hold its seal"),
    };
    Ok(())
}

/// The store of which the most is left, if files of several are mixed.
fn choose_store(dir: &dyn Dir, segments: &mut [Segment], snapshots: &[Snapshot]) -> Result<u64> {
    let mut candidates: Vec<u64> = Vec::new();
    let mut add = |id: u64| {
        if !candidates.contains(&id) {
            candidates.push(id);
        }
    };
    let intact = snapshots.iter().rev().filter(|snapshot| snapshot.damage.is_none());
    intact.chain(snapshots).filter_map(|snapshot| snapshot.header.as_ref()).for_each(|header| add(header.store_id));
    segments.iter().filter_map(|segment| segment.header.as_ref().ok()).for_each(|header| add(header.store_id));
    stored_id(dir).into_iter().for_each(&mut add);
    let mut best = None;
    for &id in &candidates {
        let mut bytes = 0;
        for segment in &mut *segments {
            search(dir, segment, id)?;
            bytes += segment.records.iter().map(|record| record.len as u64).sum::<u64>();
        }
        let is_of = |snapshot: &&Snapshot| snapshot.header.as_ref().is_some_and(|header| header.store_id == id);
        bytes += snapshots.iter().filter(is_of).map(|snapshot| snapshot.len).sum::<u64>();
        if best.is_none_or(|(most, _)| bytes > most) {
            best = Some((bytes, id));
        }
        if candidates.len() == 1 {
            break;
        }
    }
    best.map(|(_, id)| id).ok_or_else(|| Error::Unsupported {
        path: dir.path().to_path_buf(),
        detail:
            "it cannot be repaired: no header, snapshot or lock file says which store this was, and without that no \
                 record can be verified"
                .to_owned(),
    })
}

fn read_snapshot(dir: &dyn Dir, name: &str, named_start: u64) -> Result<Snapshot> {
    let path = dir.path().join(name);
    let file = dir.open(name, Mode::Read).map_err(|error| Error::storage("cannot open", &path, error))?;
    let len = file.len().map_err(|error| Error::storage("cannot read", &path, error))?;
    let mut images = Vec::new();
    let mut receipts = IdempotencyWindow::default();
    let mut ids = HashMap::new();
    let whole = snapshot::read(&*file, &path, &mut |body| {
        let image = match body {
            Body::Key(image) => image,
            Body::Idempotency(receipt) => {
                receipts.remember(&receipt);
                return Ok(());
            }
        };
        if ids.insert(image.id, ()).is_some() {
            return Err(Error::corrupt(&path, 0, format!("key {:?}: its id stands twice", image.key)));
        }
        Table::new().import(image).map_err(|reason| Error::corrupt(&path, 0, reason))?;
        images.push(image.clone());
        Ok(())
    });
    let name = name.to_owned();
    let bad_lines = Vec::new();
    match whole {
        Ok((header, trailer)) => {
            let (start, header, trailer) = (header.start, Some(header), Some(trailer));
            Ok(Snapshot {
                name,
                len,
                start,
                header,
                trailer,
                images,
                receipts,
                unverified_receipts: 0,
                damage: None,
                bad_lines,
                foreign: false,
            })
        }
        Err(error @ Error::Unsupported { .. }) => Err(error),
        Err(error) => {
            let damage = match error {
                Error::Corrupt { detail, .. } => detail,
                other => other.to_string(),
            };
            let (header, trailer, images) = (None, None, Vec::new());
            let mut snapshot = Snapshot {
                name,
                len,
                start: named_start,
                header,
                trailer,
                images,
                receipts: IdempotencyWindow::default(),
                unverified_receipts: 0,
                damage: Some(damage),
                bad_lines,
                foreign: false,
            };
            read_lines(dir, &mut snapshot)?;
            Ok(snapshot)
        }
    }
}

fn read_lines(dir: &dyn Dir, snapshot: &mut Snapshot) -> Result<()> {
    let (bytes, _) = read_file(dir, &snapshot.name)?;
    let mut ids = HashMap::new();
    snapshot::read_lines(&bytes, &mut |range, line| match line {
        Line::Header(header) => snapshot.header = Some(header),
        Line::Trailer(trailer) => snapshot.trailer = Some(trailer),
        Line::Receipt => snapshot.unverified_receipts += 1,
        Line::Unreadable(reason) => snapshot.bad_lines.push((range, reason)),
        Line::Key(image) => {
            // What the table would refuse was never written.
            if let Err(reason) = Table::new().import(&image) {
                snapshot.bad_lines.push((range, reason));
            } else if ids.insert(image.id, ()).is_some() {
                snapshot.bad_lines.push((range, "its id stands twice"));
            } else {
                snapshot.images.push(image);
            }
        }
    });
    Ok(())
}
