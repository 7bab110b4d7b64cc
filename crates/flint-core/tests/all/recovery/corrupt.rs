//! A closed store of which files are missing, or whose files a newer version wrote: refused, and nothing is changed. Damage of
//! every other kind is in `flint-torture`.

use std::collections::BTreeMap;

use crate::support::eventually::wait_until;
use crate::support::recovery::{START, clock_at, disk_of, everything, limit, open_at, options, store_files, tokens};
use flint_core::doctor::examine_in;
use flint_core::engine::{OnChange, Options, Status, SyncMode};
use flint_core::limit::Algorithm;
use flint_core::testing::sim::SimDisk;
use flint_core::{Engine, Error, files};
use sha2::{Digest, Sha256};

const SEAL: usize = 64;

struct Store {
    disk: SimDisk,
    expected: Vec<Status>,
}

fn is_sealed(disk: &SimDisk, name: &str) -> bool {
    disk.read_file(name).is_some_and(|bytes| bytes[bytes.len() - SEAL..].iter().any(|&byte| byte != 0))
}

fn segments(disk: &SimDisk) -> Vec<String> {
    let names = disk.dir().list().unwrap();
    names.into_iter().filter(|name| files::parse_segment_name(name).is_some()).collect()
}

fn snapshot_name(disk: &SimDisk) -> String {
    let names = disk.dir().list().unwrap();
    names.into_iter().find(|name| files::parse_snapshot_name(name).is_some()).unwrap()
}

/// A history segment, two that the snapshot does not cover, the last of them active, and the second snapshot.
fn closed_store() -> Store {
    let disk = SimDisk::new();
    let clock = clock_at(START);
    let engine = Engine::open_in(disk.dir(), options(SyncMode::Always, &clock)).unwrap();
    engine.limit("bucket", &tokens("10/minute; 12/hour"), OnChange::Keep).unwrap();
    engine.limit("log", &limit("6/minute", Algorithm::SlidingWindowLog), OnChange::Keep).unwrap();
    engine.limit("window", &limit("5/minute", Algorithm::FixedWindowCounter), OnChange::Keep).unwrap();
    for key in ["bucket", "log", "window"] {
        for _ in 0..4 {
            clock.advance_ns(1_000_000);
            engine.check(key, 2, None).unwrap();
        }
    }
    let keys: Vec<String> = (0..2).map(|n| format!("{n}{}", "x".repeat(490))).collect();
    let fill = |rotations: u64, salt: u64| {
        let mut n = salt;
        let from = engine.counters().rotations;
        while engine.counters().rotations < from + rotations {
            n += 1;
            let rate = tokens(&format!("{n}/hour"));
            let specs: Vec<_> = keys.iter().map(|key| (key.as_str(), rate, OnChange::Keep)).collect();
            engine.limit_many(&specs).unwrap();
        }
    };
    engine.compact().unwrap();
    fill(1, 0);
    engine.compact().unwrap();
    fill(1, 100);
    engine.check("bucket", 1, None).unwrap();
    engine.delete(&keys[1]).unwrap();
    engine.flush().unwrap();
    let names = segments(&disk);
    wait_until("all segments but the newest are sealed", || {
        names[..names.len() - 1].iter().all(|name| is_sealed(&disk, name))
    });
    let expected = everything(&engine);
    engine.close().unwrap();
    let wall = START + 12_000_000;
    assert_eq!(everything(&open_at(&disk.kill(), SyncMode::Always, wall).unwrap()), expected);
    assert_eq!(segments(&disk).len(), 3);
    Store { disk, expected }
}

/// Whether it was refused. Anything but a refusal that touches nothing or the exact state fails the test.
fn judge(disk: &SimDisk, expected: &[Status], what: &str) -> bool {
    let before = store_files(disk);
    let report = examine_in(&*disk.dir()).unwrap();
    let refused = match open_at(disk, SyncMode::Always, START + 12_000_000) {
        Err(Error::Corrupt { path, .. }) => {
            let name = path.file_name().unwrap().to_str().unwrap();
            let known = files::parse_segment_name(name).is_some() || files::parse_snapshot_name(name).is_some();
            assert!(known || before.is_empty(), "{what}: refused without naming the file: {}", path.display());
            assert_eq!(store_files(disk), before, "{what}: refused and changed");
            true
        }
        Err(error) => panic!("{what}: {error}"),
        Ok(engine) => {
            assert_eq!(everything(&engine), expected, "{what}: opened with another state");
            false
        }
    };
    assert_eq!(report.ok, !refused, "{what}: doctor and open disagree: {report:?}");
    refused
}

#[test]
fn every_set_of_missing_files() {
    let store = closed_store();
    let whole = store_files(&store.disk);
    let names: Vec<&String> = whole.keys().collect();
    // Every set of missing files. Only the oldest, which is history, may be absent.
    for missing in 1_u32..1 << names.len() {
        let without: BTreeMap<_, _> = whole
            .iter()
            .enumerate()
            .filter(|(n, _)| missing & 1 << n == 0)
            .map(|(_, (k, v))| (k.clone(), v.clone()))
            .collect();
        let damaged = disk_of(&without);
        damaged.write_file(files::LOCK, &store.disk.read_file(files::LOCK).unwrap());
        let refused = judge(&damaged, &store.expected, &format!("without the files of {missing:b}"));
        assert_eq!(refused, missing != 1, "without the files of {missing:b}");
    }
}

#[test]
fn newer_formats_are_refused_and_not_touched() {
    let store = closed_store();
    let segments = segments(&store.disk);
    let header_with = |name: &str, at: usize, value: u8| {
        let mut bytes = store.disk.read_file(name).unwrap();
        bytes[at] = value;
        let crc = crc32c::crc32c(&bytes[..60]);
        bytes[60..64].copy_from_slice(&crc.to_le_bytes());
        (name.to_owned(), bytes)
    };
    let snapshot = snapshot_name(&store.disk);
    let snapshot_with = |old: &str, new: &str| {
        let text = String::from_utf8(store.disk.read_file(&snapshot).unwrap()).unwrap();
        let changed = text.replacen(old, new, 1);
        assert_ne!(text, changed);
        let digits = changed.len() - "\"}\n".len() - 64;
        let sha256: String = Sha256::digest(&changed[..digits]).iter().map(|byte| format!("{byte:02x}")).collect();
        (snapshot.clone(), (changed[..digits].to_owned() + &sha256 + "\"}\n").into_bytes())
    };
    let last = segments.last().unwrap();
    // A record of a kind that is reserved, behind the last one.
    let unknown_kind = {
        let mut bytes = store.disk.read_file(last).unwrap();
        let store_id: [u8; 8] = bytes[24..32].try_into().unwrap();
        let first_seq: [u8; 8] = bytes[32..40].try_into().unwrap();
        let seed = crc32c::crc32c(&[store_id, first_seq].concat());
        let close = bytes[..bytes.len() - SEAL].iter().rposition(|&byte| byte != 0).unwrap() / 8 * 8 + 8 - 32;
        let record = &mut bytes[close..close + 32];
        assert_eq!(record[16], 9, "the last record is the close record");
        record[16] = 32;
        let crc = crc32c::crc32c_append(seed, &record[4..]);
        record[..4].copy_from_slice(&crc.to_le_bytes());
        (last.clone(), bytes)
    };
    let cases = [
        header_with(last, 8, 3),
        header_with(last, 16, 1),
        header_with(&segments[0], 8, 3),
        header_with(&segments[0], 23, 0x80),
        snapshot_with("\"version\":2", "\"version\":3"),
        snapshot_with("\"features\":0", "\"features\":4"),
        unknown_kind,
    ];
    for (index, (name, bytes)) in cases.into_iter().enumerate() {
        let newer = store.disk.kill();
        newer.write_file(&name, &bytes);
        let before = store_files(&newer);
        let Err(error) = open_at(&newer, SyncMode::Always, START) else { panic!("case {index} opened") };
        assert!(matches!(&error, Error::Unsupported { path, .. } if path.ends_with(&name)), "case {index}: {error:?}");
        assert_eq!(store_files(&newer), before, "case {index}");
        let read_only = Options { read_only: true, ..options(SyncMode::Always, &clock_at(START)) };
        assert!(matches!(Engine::open_in(newer.dir(), read_only), Err(Error::Unsupported { .. })), "case {index}");
        let report = examine_in(&*newer.dir()).unwrap();
        assert!(!report.ok && report.problems[0].path.ends_with(&name), "case {index}: {report:?}");
    }
}
