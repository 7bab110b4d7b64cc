//! Small stores at rest, one for each state that a session can leave.

use flint_core::Engine;
use flint_core::engine::{Status, SyncMode};
use flint_core::files::{self, FileKind};
use flint_core::image::KeyImage;
use flint_core::log::frame;
use flint_core::log::reader::{Step, Walker};
use flint_core::log::segment::{SEAL_LEN, SegmentHeader};
use flint_core::testing::sim::SimDisk;

use super::workload::{Moment, Workload, options};
use crate::directory::{Files, files_of};

/// Enough for all the history of a sample.
const ALL_HISTORY: u64 = 64 << 20;

/// In which state a store is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One segment, closed.
    Single,
    /// One segment, killed in `SyncMode::Always`.
    SingleKilled,
    /// One segment, killed in `SyncMode::Batch` with records that no sync covered.
    SingleUnsynced,
    /// History below the snapshot, a sealed segment behind it, an active one; closed.
    Compacted,
    /// The same, killed with records that no sync covered.
    CompactedUnsynced,
    /// A snapshot and no history, closed.
    WithoutHistory,
    /// Closed right after a rotation.
    Rotated,
    /// Killed right after a rotation: the segment before is not sealed.
    RotatedKilled,
    /// Several rotations of which none was sealed, killed in the middle of the last segment.
    UnsealedKilled,
    /// Made from a directory of release 0.2, used and closed.
    Migrated,
    /// The same, compacted once, so that the migration's snapshot is gone.
    MigratedCompacted,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Single,
        Self::SingleKilled,
        Self::SingleUnsynced,
        Self::Compacted,
        Self::CompactedUnsynced,
        Self::WithoutHistory,
        Self::Rotated,
        Self::RotatedKilled,
        Self::UnsealedKilled,
        Self::Migrated,
        Self::MigratedCompacted,
    ];

    /// Whether close() was called.
    pub const fn is_closed(self) -> bool {
        !matches!(
            self,
            Self::SingleKilled
                | Self::SingleUnsynced
                | Self::CompactedUnsynced
                | Self::RotatedKilled
                | Self::UnsealedKilled
        )
    }

    const fn sync(self) -> SyncMode {
        match self {
            Self::SingleUnsynced | Self::CompactedUnsynced | Self::UnsealedKilled => SyncMode::Batch,
            _ => SyncMode::Always,
        }
    }

    fn generate(self, seed: u64, late_ns: u64) -> Workload {
        let history = if self == Self::WithoutHistory { 0 } else { ALL_HISTORY };
        let disk = SimDisk::new();
        if matches!(self, Self::Migrated | Self::MigratedCompacted) {
            disk.write_file(
                files::LEGACY_AOF,
                include_bytes!("../../../../tests/legacy-data/v0_2_log_only/data/flint.aof"),
            );
        }
        let mut workload = Workload::begin(disk, self.sync(), history, seed, late_ns);
        match self {
            Self::Single | Self::SingleKilled => workload.calls(45),
            Self::SingleUnsynced => {
                workload.calls(30);
                workload.flush();
                workload.calls(15);
            }
            Self::Compacted | Self::CompactedUnsynced | Self::WithoutHistory => {
                workload.calls(20);
                workload.compact();
                workload.until_rotation();
                workload.turn();
                workload.calls(5);
                workload.compact();
                workload.until_rotation();
                workload.turn();
                workload.calls(20);
                workload.flush();
                workload.calls(10);
            }
            Self::Rotated | Self::RotatedKilled => workload.until_rotation(),
            Self::UnsealedKilled => {
                workload.until_rotation();
                workload.until_rotation();
                workload.flush();
                workload.calls(10);
            }
            Self::Migrated => workload.calls(30),
            Self::MigratedCompacted => {
                workload.calls(20);
                workload.compact();
                workload.calls(20);
            }
        }
        workload.save();
        workload
    }
}

/// Where a record of the log is.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) file: String,
    pub(super) offset: usize,
    pub(super) len: usize,
    pub(super) seq: u64,
    /// What it says was on disk when it was written.
    pub(super) durable_seq: u64,
}

/// A store at rest, undamaged, and everything that is known about it.
pub struct SampleStore {
    pub(super) name: String,
    pub(super) disk: SimDisk,
    pub(super) files: Files,
    pub(super) closed: bool,
    pub(super) sync: SyncMode,
    /// The time at which it is opened.
    pub(super) wall_ns: u64,
    pub(super) moments: Vec<Moment>,
    /// What an undamaged open lists.
    pub(super) statuses: Vec<Status>,
    pub(super) records: Vec<Record>,
    /// The newest snapshot's end.
    pub(super) snapshot_end: u64,
    /// All files at earlier moments.
    pub(super) earlier: Vec<Files>,
    /// A store made by the same workload a little later, and its state.
    pub(super) sibling: Files,
    pub(super) sibling_images: Vec<KeyImage>,
}

impl SampleStore {
    /// Makes a store by the workload of this kind. The same seed makes the same calls; the store's id differs each time.
    ///
    /// # Panics
    /// When a store on a good disk does not work.
    pub fn new(kind: Kind, seed: u64) -> Self {
        let end = |workload: Workload| if kind.is_closed() { workload.close() } else { workload.crash() };
        let mut workload = kind.generate(seed, 0);
        let (moments, earlier) = (std::mem::take(&mut workload.moments), std::mem::take(&mut workload.earlier));
        let wall_ns = workload.wall_ns() + 1_000_000_000;
        let disk = end(workload);
        let sibling = kind.generate(seed, 777);
        let sibling_images = sibling.moments.last().expect("a workload has moments").images.clone();
        let sibling = files_of(&end(sibling));
        let files = files_of(&disk);
        let mut sample = Self {
            name: format!("{kind:?} of seed {seed}"),
            snapshot_end: snapshot_end(&files),
            records: records_of(&files),
            disk,
            files,
            closed: kind.is_closed(),
            sync: kind.sync(),
            wall_ns,
            moments,
            statuses: Vec::new(),
            earlier,
            sibling,
            sibling_images,
        };
        let engine = sample.open(&sample.disk.kill()).expect("a good store opens");
        sample.statuses = engine.list(None, None, None).expect("an open store");
        assert_eq!(engine.images().expect("an open store"), sample.last().images, "{}", sample.name);
        assert_eq!(engine.recovery().clean, sample.closed, "{}", sample.name);
        sample
    }

    /// The state at the end.
    pub(super) fn last(&self) -> &Moment {
        self.moments.last().expect("a workload has moments")
    }

    /// The number of the last record in the log.
    pub(super) fn last_seq(&self) -> u64 {
        self.records.last().map_or(0, |record| record.seq)
    }

    pub(super) fn open(&self, disk: &SimDisk) -> flint_core::Result<Engine> {
        Engine::open_in(disk.dir(), options(self.sync, ALL_HISTORY, self.wall_ns).0)
    }

    /// Whether there is another store that differs. A store made from an old directory has its id from there, so that two made
    /// from the same one are one store that was used in two ways.
    pub(super) fn has_sibling(&self) -> bool {
        !self.files.contains_key(files::LEGACY_AOF)
    }

    /// Names of the segments, oldest first.
    pub(super) fn segments(&self) -> Vec<&str> {
        self.files.keys().map(String::as_str).filter(|name| files::parse_segment_name(name).is_some()).collect()
    }

    /// Whether there is a seal at the end of this segment.
    pub(super) fn is_sealed(&self, name: &str) -> bool {
        let seal = |bytes: &Vec<u8>| bytes.iter().rev().take(SEAL_LEN).any(|byte| *byte != 0);
        files::parse_segment_name(name).is_some() && self.files.get(name).is_some_and(seal)
    }

    /// The segment at the log's end.
    pub(super) fn active(&self) -> &str {
        self.segments().last().copied().expect("a store has a segment")
    }
}

/// All records of a store's segments in order.
pub(super) fn records_of(files: &Files) -> Vec<Record> {
    let mut records = Vec::new();
    for (name, bytes) in files {
        let FileKind::Segment(_) = files::classify(name) else { continue };
        let header = SegmentHeader::decode(bytes.first_chunk().expect("a whole segment")).expect("a good segment");
        let seed = frame::seed(header.store_id, header.first_seq);
        let mut walker = Walker::new(bytes, seed, header.first_seq, header.prev_crc);
        while let Step::Record(frame) = walker.next() {
            let (offset, len) = (frame.offset, frame.len());
            records.push(Record { file: name.clone(), offset, len, seq: frame.seq, durable_seq: frame.durable_seq });
        }
    }
    records
}

/// What the newest snapshot says in its trailer.
pub(super) fn snapshot_end(files: &Files) -> u64 {
    let newest = files.iter().rfind(|(name, _)| files::parse_snapshot_name(name).is_some());
    newest.map_or(0, |(_, bytes)| {
        let text = String::from_utf8_lossy(bytes);
        let trailer = text.lines().last().and_then(|line| line.strip_prefix("{\"end\":"));
        trailer.and_then(|rest| rest.split(',').next()?.parse().ok()).expect("a whole snapshot")
    })
}
