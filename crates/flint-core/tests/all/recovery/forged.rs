//! Stores whose checksums are right and which no writer made: they are refused, and nothing is changed.

use crate::support::recovery::{START, files_of, open_at, store_files};
use flint_core::doctor::examine_in;
use flint_core::engine::SyncMode;
use flint_core::files;
use flint_core::image::{Origin, RateChange, Source};
use flint_core::limit::{Algorithm, Rate};
use flint_core::log::frame::{self, Head, Kind};
use flint_core::log::record::{ConfigureOp, push_anchor, push_configure};
use flint_core::log::segment::{Seal, SegmentHeader};
use flint_core::repair::repair_in;
use flint_core::snapshot::{Header, Writer};
use flint_core::testing::sim::SimDisk;
use flint_core::{Engine, Error, Result};

const STORE_ID: u64 = 7;
const SEGMENT_LEN: usize = 16 << 10;

/// A segment with one record. Gives its bytes and the record's checksum.
fn segment(first_seq: u64, prev_crc: u32, kind: Kind, fill: impl Fn(&mut Vec<u8>)) -> (Vec<u8>, u32) {
    let header = SegmentHeader {
        version: files::SEGMENT_VERSION,
        prev_crc,
        features: 0,
        store_id: STORE_ID,
        first_seq,
        segment_len: SEGMENT_LEN as u64,
    };
    let mut record = Vec::new();
    frame::begin(&mut record, START);
    fill(&mut record);
    let head = Head { seq: first_seq, prev_crc, durable_seq: 0, kind, flags: 0 };
    let crc = frame::finish(&mut record, frame::seed(STORE_ID, first_seq), &head);
    let mut bytes = header.encode().to_vec();
    bytes.extend_from_slice(&record);
    bytes.resize(SEGMENT_LEN, 0);
    (bytes, crc)
}

fn anchor(buf: &mut Vec<u8>) {
    push_anchor(buf, START);
}

/// A store whose only record sets this limit.
fn configured(id: u64, rate: Rate) -> SimDisk {
    configured_key("k", id, rate)
}

fn configured_key(key: &str, id: u64, rate: Rate) -> SimDisk {
    let rates = [RateChange { rate, source: Source::New { carried: 0 } }];
    let op = ConfigureOp { id, key, origin: Origin::Explicit, rates: &rates };
    let (bytes, _) = segment(1, 0, Kind::Configure, |buf| push_configure(buf, &op));
    let disk = SimDisk::new();
    disk.write_file(&files::segment_name(1), &bytes);
    disk
}

fn open(disk: &SimDisk) -> Result<Engine> {
    open_at(disk, SyncMode::Always, START)
}

#[track_caller]
fn assert_refused(disk: &SimDisk, name: &str, why: &str) {
    let before = files_of(disk);
    let report = examine_in(&*disk.dir()).unwrap();
    assert!(!report.ok && report.problems[0].message.contains(why), "{report:?}");
    match open(disk) {
        Err(Error::Corrupt { path, detail, .. }) => assert!(path.ends_with(name) && detail.contains(why), "{detail}"),
        Err(error) => panic!("{error:?}"),
        Ok(_) => panic!("it opened"),
    }
    assert_eq!(store_files(disk), before);
}

#[test]
fn limits_that_no_call_writes() {
    let first = files::segment_name(1);
    let window = |burst| Rate::unchecked(5, 1000, burst, Algorithm::FixedWindowCounter);
    open(&configured(1, window(5))).unwrap().close().unwrap();
    // A snapshot has no place for the burst of a window: the limit would be another one after the next compaction.
    assert_refused(&configured(1, window(6)), &first, "out of bounds");
    // A snapshot with such a rate is refused: the store would not open after the next compaction.
    let too_long = Rate::unchecked(1, u64::MAX, 1, Algorithm::TokenBucket);
    assert_refused(&configured(1, too_long), &first, "out of bounds");
}

#[test]
fn keys_that_no_call_writes() {
    let rate = Rate::unchecked(5, 1000, 5, Algorithm::TokenBucket);
    let first = files::segment_name(1);
    open(&configured_key(&"k".repeat(512), 1, rate)).unwrap().close().unwrap();
    for len in [0, 513, 15_000] {
        let disk = configured_key(&"k".repeat(len), 1, rate);
        assert_refused(&disk, &first, "its key is empty or too long");
        let copy = SimDisk::new();
        let repaired = repair_in(&*disk.dir(), &*copy.dir());
        assert!(repaired.as_ref().is_ok_and(|report| report.limits == 0) || repaired.is_err(), "{repaired:?}");
    }
}

#[test]
fn numbers_that_cannot_be_counted_on_from() {
    let rate = Rate::unchecked(5, 1000, 5, Algorithm::TokenBucket);
    open(&configured(1 << 62, rate)).unwrap().close().unwrap();
    for id in [(1 << 62) + 1, u64::MAX] {
        assert_refused(&configured(id, rate), &files::segment_name(1), "larger than any store");
    }
    for (start, end, next_id) in [(1, u64::MAX, 1), (1, 1, u64::MAX), (u64::MAX, u64::MAX, 1)] {
        let disk = SimDisk::new();
        disk.write_file(&files::segment_name(1), &segment(1, 0, Kind::Anchor, anchor).0);
        disk.write_file(&files::snapshot_name(start), &snapshot(start, end, next_id));
        assert_refused(&disk, &files::snapshot_name(start), "larger than any store");
    }
    let disk = SimDisk::new();
    disk.write_file(&files::segment_name(u64::MAX), &segment(u64::MAX, 0, Kind::Anchor, anchor).0);
    disk.write_file(&files::snapshot_name(1), &snapshot(1, 1, 1));
    assert!(matches!(open(&disk), Err(Error::Corrupt { .. })));
}

fn snapshot(start: u64, end: u64, next_id: u64) -> Vec<u8> {
    let header = Header { store_id: STORE_ID, start, engine_ns: START, wall_ns: START, migrated: None };
    Writer::new(&header).finish(end, next_id)
}

#[test]
fn a_seal_of_history_that_ends_behind_the_file() {
    let (mut first, crc) = segment(1, 0, Kind::Anchor, anchor);
    let seal = Seal { end_offset: 1 << 40, last_seq: 1, sha256: [0; 32], last_crc: crc };
    let at = first.len() - 64;
    first[at..].copy_from_slice(&seal.encode(frame::seed(STORE_ID, 1)));
    let disk = SimDisk::new();
    disk.write_file(&files::segment_name(1), &first);
    disk.write_file(&files::segment_name(2), &segment(2, crc, Kind::Anchor, anchor).0);
    disk.write_file(&files::snapshot_name(1), &snapshot(1, 1, 1));
    let Err(error) = open(&disk) else { panic!("it opened") };
    assert!(matches!(&error, Error::Corrupt { path, .. } if path.ends_with(files::segment_name(1))), "{error:?}");
}
