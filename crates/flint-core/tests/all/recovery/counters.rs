//! Logs whose counters of one key came to be in other ways than today's calls: in format version 1, where a call changed the key's
//! limit, and in stores that no writer made.

use crate::support::recovery::{START, files_of, open_at, read_at};
use flint_core::doctor::examine_in;
use flint_core::engine::SyncMode;
use flint_core::files;
use flint_core::image::{Origin, RateChange, Source};
use flint_core::limit::{Algorithm, Limit, Rate, parse_limit};
use flint_core::log::frame::{self, Head, Kind};
use flint_core::log::record::{ConfigureOp, push_allow_one, push_anchor, push_configure};
use flint_core::log::segment::SegmentHeader;
use flint_core::testing::sim::SimDisk;
use flint_core::{Engine, Error};

const STORE_ID: u64 = 7;
const SEGMENT_LEN: usize = 16 << 10;
const MINUTE_NS: u64 = 60_000_000_000;

type Body = Box<dyn Fn(&mut Vec<u8>)>;

/// A store of one segment with these records.
fn store(version: u32, records: &[(Kind, Body)]) -> SimDisk {
    let segment_len = SEGMENT_LEN as u64;
    let header = SegmentHeader { version, prev_crc: 0, features: 0, store_id: STORE_ID, first_seq: 1, segment_len };
    let mut bytes = header.encode().to_vec();
    let (mut record, mut prev_crc) = (Vec::new(), 0);
    for ((kind, fill), seq) in records.iter().zip(1..) {
        frame::begin(&mut record, START);
        fill(&mut record);
        let head = Head { seq, prev_crc, durable_seq: 0, kind: *kind, flags: 0 };
        prev_crc = frame::finish(&mut record, frame::seed(STORE_ID, 1), &head);
        bytes.extend_from_slice(&record);
    }
    bytes.resize(SEGMENT_LEN, 0);
    let disk = SimDisk::new();
    disk.write_file(&files::segment_name(1), &bytes);
    disk
}

fn limit(text: &str) -> Limit {
    parse_limit(text, Algorithm::TokenBucket).unwrap()
}

fn anchor() -> (Kind, Body) {
    (Kind::Anchor, Box::new(|buf| push_anchor(buf, START)))
}

fn configure(id: u64, origin: Origin, text: &str, source: Source) -> (Kind, Body) {
    let rates: Vec<RateChange> = limit(text).rates().iter().map(|&rate: &Rate| RateChange { rate, source }).collect();
    let body = move |buf: &mut Vec<u8>| push_configure(buf, &ConfigureOp { id, key: "k", origin, rates: &rates });
    (Kind::Configure, Box::new(body))
}

fn allow(id: u64, cost: u64) -> (Kind, Body) {
    let used = u128::from(cost) * u128::from(MINUTE_NS);
    (Kind::Allow, Box::new(move |buf| push_allow_one(buf, id, cost, used.to_le_bytes())))
}

fn version_of(disk: &SimDisk, name: &str) -> u32 {
    u32::from_le_bytes(disk.read_file(name).unwrap()[8..12].try_into().unwrap())
}

const NEW: Source = Source::New { carried: 0 };

#[test]
fn a_limit_that_a_call_changed_in_version_1_is_as_it_was() {
    let records = [
        anchor(),
        configure(1, Origin::Call, "10/minute", NEW),
        allow(1, 4),
        configure(1, Origin::Call, "20/minute", Source::New { carried: 4 }),
        allow(1, 7),
    ];
    let disk = store(1, &records);
    let before = files_of(&disk);
    let shown = |engine: &Engine| {
        let status = engine.status("k").unwrap().unwrap();
        (status.rates.clone(), status.remaining, status.total_allowed, status.counters.len())
    };
    let expected = (limit("20/minute").rates().to_vec(), 13, 2, 0);
    assert_eq!(shown(&read_at(&disk, START).unwrap()), expected);
    assert!(examine_in(&*disk.dir()).unwrap().ok);
    assert_eq!(files_of(&disk), before, "a reader changes nothing");

    // Without a call that writes, there is nothing that version 1 does not have.
    let engine = open_at(&disk, SyncMode::Always, START).unwrap();
    assert_eq!(shown(&engine), expected);
    let killed = disk.kill();
    assert_eq!(files_of(&killed).keys().filter(|name| files::parse_segment_name(name).is_some()).count(), 1);
    assert_eq!(version_of(&killed, &files::segment_name(1)), 1);

    let seq = engine.counters().seq;
    engine.check("k", 1, Some(&limit("10/minute"))).unwrap();
    assert_eq!(version_of(&disk, &files::segment_name(seq + 1)), 2, "the first call starts a segment of its own");
    engine.reset("k").unwrap();
    engine.check("k", 2, None).unwrap();
    let images = engine.images().unwrap();
    assert_eq!(images.len(), 2);
    let engine = open_at(&disk.kill(), SyncMode::Always, START).unwrap();
    assert_eq!(engine.images().unwrap(), images);
    engine.compact().unwrap();
    engine.close().unwrap();
}

#[test]
fn a_version_1_segment_without_records_gets_a_successor_too() {
    let disk = store(1, &[]);
    let engine = open_at(&disk, SyncMode::Always, START).unwrap();
    engine.check("k", 1, Some(&limit("10/minute"))).unwrap();
    let (first, second) = (version_of(&disk, &files::segment_name(1)), version_of(&disk, &files::segment_name(2)));
    assert_eq!((first, second), (1, 2));
    engine.close().unwrap();
    assert_eq!(open_at(&disk, SyncMode::Always, START).unwrap().status("k").unwrap().unwrap().remaining, 9);
}

#[test]
fn counters_that_cannot_be_of_one_key_are_refused() {
    let call = |id: u64| configure(id, Origin::Call, &format!("{id}/minute"), NEW);
    let eight: Vec<_> = std::iter::once(anchor()).chain((1..=8).map(call)).collect();
    let disk = store(2, &eight);
    let engine = open_at(&disk, SyncMode::Always, START).unwrap();
    assert_eq!(engine.status("k").unwrap().unwrap().counters.len(), 8);
    drop(engine);
    let nine: Vec<_> = std::iter::once(anchor()).chain((1..=9).map(call)).collect();
    let explicit = configure(1, Origin::Explicit, "10/minute", NEW);
    let same = configure(2, Origin::Call, "5/minute; 6/hour", NEW);
    let other_order = configure(3, Origin::Call, "6/hour; 5/minute", NEW);
    for records in [nine, vec![anchor(), explicit, call(2)], vec![anchor(), same, other_order]] {
        for version in [1, 2] {
            let disk = store(version, &records);
            let before = files_of(&disk);
            let Err(Error::Corrupt { detail, .. }) = open_at(&disk, SyncMode::Always, START) else {
                panic!("it opened")
            };
            assert!(detail.contains("\"k\" has counters"), "{detail}");
            assert!(!examine_in(&*disk.dir()).unwrap().ok);
            assert_eq!(files_of(&disk).len(), before.len() + 1, "nothing but the lock file was made");
        }
    }
}
