//! Whole directories whose checksums are right and whose content is not: open refuses them and changes nothing, or opens them
//! and continues as with any store. The doctor says the same.

use std::sync::Arc;

use flint_core::clock::ManualClock;
use flint_core::doctor::examine_in;
use flint_core::engine::{Item, OnChange, Options, Report};
use flint_core::files;
use flint_core::image::KeyImage;
use flint_core::limit::{Algorithm, parse_limit};
use flint_core::testing::sim::SimDisk;
use flint_core::{Engine, Error, Result};

use super::directory_script;
use super::features::Features;
use super::stores::{self, LATER};
use crate::directory::{Files, disk_of, files_of};

pub(super) const MAX_LEN: usize = 300;

/// Keys of a store that are called one by one.
const KEYS: usize = 8;

pub(super) fn seeds() -> Vec<Vec<u8>> {
    directory_script::seeds()
}

fn open(disk: &SimDisk, clock: &Arc<ManualClock>) -> Result<Engine> {
    Engine::open_in(disk.dir(), stores::options(clock))
}

fn read_only(disk: &SimDisk) -> Result<Engine> {
    let clock = Arc::new(ManualClock::new(LATER));
    Engine::open_in(disk.dir(), Options { read_only: true, ..stores::options(&clock) })
}

/// The files but for the lock, whose content is not part of any promise.
fn store_files(disk: &SimDisk) -> Files {
    let mut files = files_of(disk);
    files.remove(files::LOCK);
    files
}

fn is_refusal(error: &Error) -> bool {
    matches!(error, Error::Corrupt { .. } | Error::Unsupported { .. })
}

pub(super) fn execute(input: &[u8], features: &mut Features) {
    let files = directory_script::run(input).write();
    let disk = disk_of(&files);
    let before = store_files(&disk);
    let clock = Arc::new(ManualClock::new(LATER));
    let writable = disk_of(&files);
    match open(&writable, &clock) {
        Err(error) => {
            assert!(is_refusal(&error), "another kind of error: {error:?}");
            assert!(store_files(&writable) == before, "refused and changed: {error}");
            features.note("refused", &error);
            let looked = read_only(&disk).err();
            assert!(looked.as_ref().is_some_and(is_refusal), "refused, but not to a reader: {error}; {looked:?}");
            let report = examine_in(&*disk.dir()).expect("a good disk");
            assert!(!report.ok && !report.problems.is_empty(), "refused, but healthy: {error}; {report:?}");
            features.note("doctor", &report.problems[0].message);
        }
        Ok(engine) => {
            let reader = match read_only(&disk) {
                Ok(reader) => reader,
                Err(error) => panic!("it opens, but not for a reader: {error}"),
            };
            let report = examine_in(&*disk.dir()).expect("a good disk");
            let only_history = !report.ok && is_history(&report, &before);
            assert!(report.ok || only_history, "it opens, but the doctor says: {report:?}");
            let images = engine.images().expect("an open store");
            assert_eq!(reader.images().expect("an open store"), images, "a reader sees another state");
            note(&engine, &report, &images, features);
            go_on(&writable, engine, &clock, images, only_history);
        }
    }
    assert_eq!(disk.ops(), 0, "looking changes nothing");
}

/// Whether all that is wrong is in segments that the snapshot replaced. They are kept as history; open compares them with
/// their SHA-256, which is right here, and only the doctor reads them.
fn is_history(report: &Report, files: &Files) -> bool {
    let start = files.keys().filter_map(|name| files::parse_snapshot_name(name)).max();
    report.problems.iter().all(|problem| {
        let name = problem.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        files::parse_segment_name(name).is_some_and(|first| start.is_some_and(|start| first <= start))
    })
}

fn note(engine: &Engine, report: &Report, images: &[KeyImage], features: &mut Features) {
    let recovery = engine.recovery();
    features.note(
        "opened",
        format_args!(
            "{} {} {} {} {:?} {}",
            recovery.created,
            recovery.clean,
            recovery.cut_at.is_some(),
            recovery.snapshot_seq > 0,
            recovery.migrated_from.map(str::len),
            report.ok
        ),
    );
    features.count("cut", recovery.cut_bytes);
    features.count("segments", recovery.segments);
    features.count("records", recovery.records);
    features.count("keys", images.len() as u64);
    for problem in &report.problems {
        features.note("history", &problem.message);
    }
    for image in images {
        for rate in &image.rates {
            features.note("rate", format_args!("{:?} {} {}", rate.algorithm(), rate.is_valid(), image.out_of_bounds));
        }
    }
}

/// Calls that an application would make; then the store is killed, opened, closed and opened again.
fn go_on(disk: &SimDisk, engine: Engine, clock: &Arc<ManualClock>, images: Vec<KeyImage>, only_history: bool) {
    let killed = disk.kill();
    assert_eq!(images_of(&killed), images, "opened a second time");
    let limit = parse_limit("5/s; 90/h burst 100", Algorithm::TokenBucket).expect("a valid limit");
    let log = parse_limit("3/m", Algorithm::SlidingWindowLog).expect("a valid limit");
    clock.advance_ns(1_000_003);
    for (index, image) in images.iter().take(KEYS).enumerate() {
        let key = image.key.as_str();
        // A limit or a key of an old release can be beyond today's bounds, a cost beyond the capacity.
        for cost in [1, 3] {
            expected(engine.check(key, cost, None).map(drop), "check");
        }
        expected(engine.peek(key, 1, None).map(drop), "peek");
        match engine.history(key, 20) {
            Err(error) if only_history && is_refusal(&error) => {}
            other => expected(other.map(drop), "history"),
        }
        match index % 4 {
            0 => expected(engine.reset(key), "reset"),
            1 => expected(engine.limit(key, &limit, OnChange::Keep), "limit"),
            2 => expected(engine.limit(key, &log, OnChange::Keep), "limit"),
            _ => expected(engine.delete(key), "delete"),
        }
        clock.advance_ns(500_000_000);
    }
    good(engine.check("fresh", 1, Some(&limit)).map(drop), "check");
    let item = |key| Item { key, cost: 1, limit: Some(&limit) };
    good(engine.check_all(&[item("fresh"), item("fresher")]).map(drop), "check_all");
    let all = engine.list(None, None, None).expect("an open store");
    assert_eq!(all.len() as u64, engine.counters().keys);
    good(engine.turn(), "turn");
    let after = engine.images().expect("an open store");
    assert_eq!(images_of(&disk.kill()), after, "killed");
    if after.len().is_multiple_of(2) {
        good(engine.compact(), "compact");
        assert_eq!(images_of(&disk.kill()), after, "killed after compaction");
    }
    good(engine.close(), "close");
    assert_eq!(images_of(disk), after, "closed");
    let report = examine_in(&*disk.dir()).expect("a good disk");
    assert!(report.ok || only_history, "closed, and the doctor says: {report:?}");
    let engine = open(&disk.kill(), clock).expect("a store that was closed opens");
    assert!(engine.recovery().clean, "closed, and not clean");
}

fn images_of(disk: &SimDisk) -> Vec<KeyImage> {
    match read_only(disk) {
        Ok(engine) => engine.images().expect("an open store"),
        Err(error) => panic!("it does not open again: {error}"),
    }
}

#[track_caller]
fn good(result: Result<()>, call: &str) {
    if let Err(error) = result {
        panic!("{call}: {error}");
    }
}

#[track_caller]
fn expected(result: Result<()>, call: &str) {
    match result {
        Ok(()) | Err(Error::InvalidLimit(_) | Error::InvalidCost(_) | Error::InvalidKey(_)) => {}
        Err(error) => panic!("{call}: {error:?}"),
    }
}
