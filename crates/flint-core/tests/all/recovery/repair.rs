//! Repaired copies: of whatever is damaged, the copy opens, holds every key that the damage does not concern exactly, and the
//! report names what may differ and every record that is gone. The original stays as it is.

use crate::support::eventually::wait_until;
use crate::support::evidence;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};

use crate::support::recovery::{
    START, clock_at, disk_of, everything, files_of, limit, open_at, options, read_at, tokens,
};
use flint_core::doctor::examine_in;
use flint_core::engine::{CallId, Check, CheckAll, Idempotent, Item, Loss, OnChange, RepairReport, Status, SyncMode};
use flint_core::limit::Algorithm;
use flint_core::log::frame;
use flint_core::log::reader::{Step, Walker};
use flint_core::log::segment::SegmentHeader;
use flint_core::repair::repair_in;
use flint_core::testing::sim::{CrashPlan, Fault, PowerCut, SimDisk};
use flint_core::{Engine, Error, files};

const SEAL: usize = 64;
const WALL: u64 = START + 60_000_000_000;

type Files = BTreeMap<String, Vec<u8>>;

/// A store, what it holds, and where its records are.
struct Store {
    files: Files,
    expected: Vec<Status>,
    answers: Vec<Answer>,
    records: Vec<Record>,
}

/// A remembered answer with its record.
#[derive(Debug, Clone, PartialEq)]
struct Answer {
    call: CallId,
    seq: u64,
    at_ns: u64,
    answer: Vec<u8>,
}

fn answers_of(engine: &Engine) -> Vec<Answer> {
    let mut all = Vec::new();
    engine
        .idempotency_records(&mut |record| {
            let (call, seq, at_ns, answer) = (record.call, record.seq, record.at_ns, record.answer.to_vec());
            all.push(Answer { call, seq, at_ns, answer });
        })
        .unwrap();
    all
}

struct Record {
    file: String,
    seq: u64,
    from: usize,
    to: usize,
}

fn names_of(files: &Files, wanted: fn(&str) -> Option<u64>) -> Vec<String> {
    files.keys().filter(|name| wanted(name).is_some()).cloned().collect()
}

fn segments(files: &Files) -> Vec<String> {
    names_of(files, files::parse_segment_name)
}

fn snapshots(files: &Files) -> Vec<String> {
    names_of(files, files::parse_snapshot_name)
}

fn records_of(files: &Files) -> Vec<Record> {
    let mut records = Vec::new();
    for file in segments(files) {
        let bytes = &files[&file];
        let header = SegmentHeader::decode(bytes.first_chunk().unwrap()).unwrap();
        let seed = frame::seed(header.store_id, header.first_seq);
        let mut walker = Walker::new(bytes, seed, header.first_seq, header.prev_crc);
        while let Step::Record(frame) = walker.next() {
            records.push(Record { file: file.clone(), seq: frame.seq, from: frame.offset, to: frame.end() });
        }
    }
    assert!(records.windows(2).all(|pair| pair[0].seq + 1 == pair[1].seq));
    records
}

impl Store {
    fn of(disk: &SimDisk) -> Self {
        let files = files_of(disk);
        let engine = read_at(disk, WALL).unwrap();
        let (expected, answers, records) = (everything(&engine), answers_of(&engine), records_of(&files));
        assert!(answers.len() > 30, "{}", answers.len());
        Self { files, expected, answers, records }
    }
}

/// Every algorithm, several rates, groups, limits given with the call, resets, deletions and redefinitions; then long records
/// until `rotations` segments are full, with checks in between.
fn live(engine: &Engine, clock: &flint_core::clock::ManualClock, rotations: u64, salt: u64) {
    let window = limit("50/second; 70/minute", Algorithm::FixedWindowCounter);
    let log = limit("60/second; 90/minute", Algorithm::SlidingWindowLog);
    engine.limit("bucket", &tokens("100/minute; 120/hour"), OnChange::Keep).unwrap();
    engine
        .limit_many(&[
            ("log", log, OnChange::Keep),
            ("window", window, OnChange::Keep),
            ("gone", tokens("3/second"), OnChange::Keep),
            ("quiet", tokens("9/hour"), OnChange::Keep),
        ])
        .unwrap();
    let item = |key, cost| Item { key, cost, limit: None };
    let given = tokens("40/minute");
    let padded = format!("padded {}", "x".repeat(400));
    engine.check("quiet", 2, None).unwrap();
    engine.check("gone", 3, None).unwrap();
    engine.check("gone", 1, None).unwrap();
    engine.delete("gone").unwrap();
    let from = engine.counters().rotations;
    let mut n = salt;
    while engine.counters().rotations < from + rotations {
        n += 1;
        clock.advance_ns(3_000_000);
        for key in ["bucket", "log", "window"] {
            engine.check(key, 1 + n % 3, None).unwrap();
        }
        engine.check_all(&[item("bucket", 1), item("log", 1), item("window", 1)]).unwrap();
        engine.check("given", 1, Some(&given)).unwrap();
        let call = |kind| CallId { id: [n.to_le_bytes(), [kind; 8]].concat().try_into().unwrap(), fingerprint: [0; 8] };
        engine.run(&Idempotent { operation: Check::new(item("bucket", 1)), call: call(1) }).unwrap();
        let items = [item("log", 1), item("window", 1)];
        engine.run(&Idempotent { operation: CheckAll { items: &items }, call: call(2) }).unwrap();
        engine.limit(&padded, &tokens(&format!("{n}/hour")), OnChange::Keep).unwrap();
        match n % 7 {
            0 => engine.reset("log").unwrap(),
            1 => engine.limit("bucket", &tokens(&format!("{}/minute; 120/hour", 100 + n)), OnChange::Keep).unwrap(),
            2 => {
                let key = format!("short {n}");
                engine.check(&key, 2, Some(&given)).unwrap();
                if n.is_multiple_of(2) {
                    engine.delete(&key).unwrap();
                }
            }
            _ => {}
        }
    }
}

fn wait_for_seals(disk: &SimDisk) {
    let sealed = |bytes: &Vec<u8>| bytes[bytes.len() - SEAL..].iter().any(|&byte| byte != 0);
    wait_until("all segments but the newest are sealed", || {
        let files = files_of(disk);
        let names = segments(&files);
        names[..names.len() - 1].iter().all(|name| sealed(&files[name]))
    });
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    LogOnly,
    Compacted,
    Crashed,
}

fn store(kind: Kind) -> Store {
    let disk = SimDisk::new();
    let clock = clock_at(START);
    let engine = Engine::open_in(disk.dir(), options(SyncMode::Always, &clock)).unwrap();
    live(&engine, &clock, 1, 0);
    if kind != Kind::LogOnly {
        engine.compact().unwrap();
        live(&engine, &clock, 1, 100);
    }
    live(&engine, &clock, 1, 200);
    clock.advance_ns(1_000_000);
    engine.check("window", 1, None).unwrap();
    wait_for_seals(&disk);
    if kind != Kind::Crashed {
        engine.close().unwrap();
    }
    let store = Store::of(&disk.kill());
    assert_eq!(segments(&store.files).len(), if kind == Kind::LogOnly { 3 } else { 4 });
    assert_eq!(snapshots(&store.files).len(), usize::from(kind != Kind::LogOnly));
    assert!(store.records.len() > 100 && store.expected.len() > 6, "{} {}", store.records.len(), store.expected.len());
    store
}

fn differing(a: &Status, b: &Status) -> (bool, bool, bool) {
    let limit = (&a.rates, a.origin) != (&b.rates, b.origin);
    let state =
        (a.remaining, a.retry_after_ns, a.reset_at_wall_ns) != (b.remaining, b.retry_after_ns, b.reset_at_wall_ns);
    let totals = |s: &Status| {
        let times = (s.last_allowed_at_ns, s.last_denied_at_ns, s.last_reset_at_ns);
        (s.total_allowed, s.total_denied, s.total_allowed_cost, s.total_denied_cost, times)
    };
    (limit, state, totals(a) != totals(b))
}

/// What a copy is worth, key by key.
fn compare(expected: &[Status], actual: &[Status], report: &RepairReport, what: &str) {
    let by_key = |statuses: &[Status]| -> BTreeMap<String, Status> {
        statuses.iter().map(|status| (status.key.clone(), status.clone())).collect()
    };
    let (expected, actual) = (by_key(expected), by_key(actual));
    let state_lost = report.dropped.iter().any(|dropped| dropped.loss == Loss::State);
    for (key, was) in &expected {
        let doubt = report.doubts.iter().find(|doubt| doubt.key == *key);
        let Some(is) = actual.get(key) else {
            assert!(doubt.is_none() && state_lost, "{what}: key {key} is gone and nothing says so: {report:#?}");
            continue;
        };
        if was == is {
            continue;
        }
        let doubt = doubt.unwrap_or_else(|| panic!("{what}: {was:?}\nbecame {is:?}\nunnoticed: {report:#?}"));
        let (limit, state, totals) = differing(was, is);
        assert!(doubt.unverified || !limit || doubt.limit, "{what}: {was:?}\n{is:?}\n{doubt:?}");
        assert!(doubt.unverified || !state || doubt.state || doubt.limit, "{what}: {was:?}\n{is:?}\n{doubt:?}");
        assert!(doubt.unverified || !totals || doubt.totals, "{what}: {was:?}\n{is:?}\n{doubt:?}");
    }
    for key in actual.keys().filter(|key| !expected.contains_key(*key)) {
        assert!(report.doubts.iter().any(|doubt| doubt.key == *key), "{what}: {key} had been deleted");
    }
    if report.is_complete() {
        assert_eq!(actual, expected, "{what}: {report:#?}");
    }
}

/// The copy remembers what it can: an answer is gone only with its record, or when nothing verifies it, and the report says so.
fn compare_answers(store: &Store, copied: &[Answer], report: &RepairReport, what: &str) {
    let same = |a: &Answer, b: &Answer| (a.call, a.at_ns, &a.answer) == (b.call, b.at_ns, &b.answer);
    for is in copied {
        assert!(store.answers.iter().any(|was| same(was, is)), "{what}: {is:?} was never returned");
    }
    let unverified = report.notes.iter().any(|note| note.contains("remembered answer(s) were left out"));
    for was in store.answers.iter().filter(|was| !copied.iter().any(|is| same(was, is))) {
        let ranges = report.dropped.iter().filter(|dropped| dropped.loss == Loss::State).filter_map(|d| d.records);
        let named = ranges.into_iter().any(|range| (range.first..=range.last.unwrap_or(u64::MAX)).contains(&was.seq));
        assert!(named || unverified, "{what}: {was:?} is gone and nothing says so: {report:#?}");
        assert!(!report.is_complete(), "{what}: {was:?} is gone");
    }
}

/// The copy is a store like any other: it can be written, closed and opened again.
fn goes_on(copy: &SimDisk, what: &str) {
    let clock = clock_at(WALL);
    let engine =
        Engine::open_in(copy.dir(), options(SyncMode::Always, &clock)).unwrap_or_else(|e| panic!("{what}: {e}"));
    clock.advance_ns(1_000);
    engine.check("new", 2, Some(&tokens("5/minute"))).unwrap();
    for status in everything(&engine) {
        engine.check(&status.key, 1, None).unwrap_or_else(|error| panic!("{what}: {error}"));
    }
    engine.history("bucket", 10).unwrap();
    let before = everything(&engine);
    engine.close().unwrap();
    let engine =
        Engine::open_in(copy.dir(), options(SyncMode::Always, &clock)).unwrap_or_else(|e| panic!("{what}: {e}"));
    assert!(engine.recovery().clean, "{what}");
    assert_eq!(everything(&engine), before, "{what}: after closing and opening again");
    engine.compact().unwrap();
    engine.close().unwrap();
    assert!(examine_in(&*copy.dir()).unwrap().ok, "{what}");
}

#[derive(Debug, PartialEq)]
enum Outcome {
    /// It opens as it is.
    Opens,
    Complete,
    Incomplete,
    /// Nothing is left.
    Refused,
}

/// Repairs `damaged`. `exact`: the report's missing records must be just those that the damage overlaps.
fn judge(store: &Store, damaged: &Files, exact: bool, what: &str) -> (Outcome, Option<RepairReport>) {
    let (disk, copy) = (disk_of(damaged), SimDisk::new());
    let opens = open_at(&disk.kill(), SyncMode::Always, WALL);
    let operations = disk.ops();
    let result = repair_in(&*disk.dir(), &*copy.dir());
    assert_eq!(files_of(&disk), *damaged, "{what}: the original was changed");
    assert_eq!(disk.ops(), operations, "{what}: the original was written to");
    let report = match result {
        Err(error) => {
            assert!(matches!(error, Error::Unsupported { .. }), "{what}: {error}");
            assert!(error.to_string().contains("cannot be repaired"), "{what}: {error}");
            assert!(opens.is_err(), "{what}: {error}");
            assert!(files_of(&copy).is_empty(), "{what}");
            return (Outcome::Refused, None);
        }
        Ok(report) => report,
    };
    if !report.written {
        assert!(opens.is_ok() && files_of(&copy).is_empty(), "{what}");
        return (Outcome::Opens, Some(report));
    }
    assert!(matches!(opens, Err(Error::Corrupt { .. })), "{what}: it opens, and was repaired");
    assert!(!report.problem.is_empty());
    // What is on the copy's disk is there after a power cut too.
    let copy = copy.power_cut(CrashPlan::LoseUnsynced);
    let doctor = examine_in(&*copy.dir()).unwrap();
    assert!(doctor.ok, "{what}: {doctor:?}");
    assert_eq!((doctor.limits, doctor.history_events), (report.limits, report.history_events), "{what}");
    let engine = read_at(&copy, WALL).unwrap();
    let (copied, answers) = (everything(&engine), answers_of(&engine));
    goes_on(&copy, what);
    let mut silent = BTreeSet::new();
    if exact {
        let gone: BTreeSet<u64> = store.records.iter().filter(|r| !is_left(r, store, damaged)).map(|r| r.seq).collect();
        let last = store.records.last().unwrap().seq;
        let ranges = report.dropped.iter().filter_map(|dropped| dropped.records);
        let said: Vec<u64> = ranges.flat_map(|range| range.first..=range.last.unwrap_or(last)).collect();
        assert_eq!(
            said.len(),
            said.iter().collect::<BTreeSet<_>>().len(),
            "{what}: a record is named twice: {report:#?}"
        );
        let said: BTreeSet<u64> = said.into_iter().collect();
        // An end that was wiped out to the last byte looks like a log that ended earlier.
        let is_wiped = |record: &&Record| {
            let bytes = damaged.get(&record.file).and_then(|bytes| bytes.get(record.from..record.to));
            bytes.is_some_and(|bytes| bytes.iter().all(|&byte| byte == 0))
        };
        let wiped: BTreeSet<u64> = store.records.iter().rev().take_while(is_wiped).map(|record| record.seq).collect();
        silent = gone.difference(&said).copied().collect();
        assert!(said.is_subset(&gone), "{what}: {said:?} instead of {gone:?}: {report:#?}");
        assert!(silent.is_subset(&wiped), "{what}: {silent:?} are not named: {report:#?}");
    }
    if silent.is_empty() {
        compare(&store.expected, &copied, &report, what);
        compare_answers(store, &answers, &report, what);
    }
    let outcome = if report.is_complete() { Outcome::Complete } else { Outcome::Incomplete };
    (outcome, Some(report))
}

fn is_left(record: &Record, store: &Store, damaged: &Files) -> bool {
    let (before, after) = (&store.files[&record.file], damaged.get(&record.file));
    after.is_some_and(|after| after.get(record.from..record.to) == before.get(record.from..record.to))
}

fn with(store: &Store, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> Files {
    let mut files = store.files.clone();
    change(files.get_mut(name).unwrap());
    files
}

#[test]
fn a_store_that_opens_is_not_copied() {
    for kind in [Kind::LogOnly, Kind::Compacted, Kind::Crashed] {
        let store = store(kind);
        assert_eq!(judge(&store, &store.files, true, "undamaged").0, Outcome::Opens);
    }
    let (empty, copy) = (SimDisk::new(), SimDisk::new());
    assert!(!repair_in(&*empty.dir(), &*copy.dir()).unwrap().written);
}

#[test]
fn flipped_bits() {
    let (mut cases, mut complete, mut incomplete) = (0, 0, 0);
    for (kind, step) in [(Kind::LogOnly, 43), (Kind::Compacted, 47), (Kind::Crashed, 53)] {
        let store = store(kind);
        for (name, bytes) in &store.files {
            if name == files::LOCK {
                continue;
            }
            let edges = (0..64).step_by(3).chain((bytes.len() - SEAL..bytes.len()).step_by(3));
            for offset in (0..bytes.len()).step_by(step).chain(edges) {
                let bit = (offset * 5 + 3) % 8;
                let damaged = with(&store, name, |bytes| bytes[offset] ^= 1 << bit);
                let what = format!("{kind:?}, {name}, byte {offset}, bit {bit}");
                let (outcome, report) = judge(&store, &damaged, true, &what);
                cases += 1;
                match outcome {
                    Outcome::Opens => {}
                    Outcome::Complete => complete += 1,
                    Outcome::Incomplete => incomplete += 1,
                    Outcome::Refused => panic!("{what}: refused"),
                }
                // A header, a seal or a snapshot costs nothing where the log holds it all.
                let snapshot = files::parse_snapshot_name(name).is_some();
                if snapshot || offset < 64 || offset >= bytes.len() - SEAL {
                    assert_ne!(outcome, Outcome::Incomplete, "{what}: {report:#?}");
                }
            }
        }
    }
    evidence::record("repair_flips", cases);
    assert!(cases > 3_500 && complete > 300 && incomplete > 1_000, "{cases} {complete} {incomplete}");
}

#[test]
fn missing_files_and_files_of_another_store() {
    let mut cases = 0;
    for kind in [Kind::LogOnly, Kind::Compacted, Kind::Crashed] {
        let (store, other) = (store(kind), store(kind));
        let names: Vec<&String> = store.files.keys().collect();
        // Every set of missing files, the lock's included.
        for missing in 1_u32..1 << names.len() {
            let gone = |index: usize| missing & 1 << index != 0;
            let damaged: Files = names
                .iter()
                .enumerate()
                .filter(|(n, _)| !gone(*n))
                .map(|(_, name)| ((*name).clone(), store.files[*name].clone()))
                .collect();
            let what = format!(
                "{kind:?} without {:?}",
                names.iter().enumerate().filter(|(n, _)| gone(*n)).map(|(_, name)| name).collect::<Vec<_>>()
            );
            let exact = damaged.keys().any(|name| files::parse_segment_name(name).is_some());
            let (outcome, report) = judge(&store, &damaged, false, &what);
            cases += 1;
            if outcome == Outcome::Incomplete && exact {
                let report = report.unwrap();
                let last = store.records.last().unwrap().seq;
                let covered = damaged.keys().filter_map(|name| files::parse_snapshot_name(name)).max().unwrap_or(0);
                let gone: BTreeSet<u64> = store
                    .records
                    .iter()
                    .filter(|r| !damaged.contains_key(&r.file) && r.seq > covered)
                    .map(|r| r.seq)
                    .collect();
                let ranges = report.dropped.iter().filter_map(|dropped| dropped.records);
                let said: BTreeSet<u64> = ranges
                    .flat_map(|range| range.first..=range.last.unwrap_or(last))
                    .filter(|&seq| seq > covered)
                    .collect();
                // The last segment is not missed where its predecessor is not sealed.
                assert!(said == gone || said.is_subset(&gone), "{what}: {report:#?}");
            }
        }
        for name in segments(&store.files).iter().chain(&snapshots(&store.files)) {
            let mut damaged = store.files.clone();
            damaged.insert(name.clone(), other.files[name].clone());
            let (outcome, report) = judge(&store, &damaged, false, &format!("{kind:?}: {name} of another store"));
            assert_ne!(outcome, Outcome::Opens);
            if let Some(report) = report {
                assert!(report.dropped.iter().any(|dropped| dropped.path.ends_with(name)), "{report:#?}");
            }
            cases += 1;
        }
    }
    evidence::record("repair_missing_files", cases);
    assert!(cases > 150, "{cases}");
}

#[test]
fn swapped_and_doubled_segments_cost_nothing() {
    let mut cases = 0;
    for kind in [Kind::LogOnly, Kind::Compacted] {
        let store = store(kind);
        let names = segments(&store.files);
        for (n, one) in names.iter().enumerate() {
            for two in &names[n + 1..] {
                let mut damaged = store.files.clone();
                damaged.insert(one.clone(), store.files[two].clone());
                damaged.insert(two.clone(), store.files[one].clone());
                assert_eq!(judge(&store, &damaged, false, &format!("{one} and {two} swapped")).0, Outcome::Complete);
                cases += 1;
            }
            let mut doubled = store.files.clone();
            doubled.insert(files::segment_name(7_777), store.files[one].clone());
            assert_eq!(judge(&store, &doubled, true, &format!("{one} is there twice")).0, Outcome::Complete);
            // Two copies, each with other damage, make one whole.
            let record = store.records.iter().find(|record| record.file == *one).unwrap();
            doubled.get_mut(one).unwrap()[record.from + 30] ^= 1;
            assert_eq!(
                judge(&store, &doubled, false, &format!("{one} is there twice, once damaged")).0,
                Outcome::Complete
            );
            cases += 2;
        }
    }
    assert!(cases >= 20, "{cases}");
}

#[test]
fn truncated_files_and_lost_sectors() {
    let mut cases = 0;
    for kind in [Kind::LogOnly, Kind::Compacted, Kind::Crashed] {
        let store = store(kind);
        for (name, bytes) in store.files.iter().filter(|(name, _)| *name != files::LOCK) {
            for len in [0, 1, 63, 64, 200, bytes.len() / 2, bytes.len() - 64, bytes.len() - 1] {
                let damaged = with(&store, name, |bytes| bytes.truncate(len));
                judge(
                    &store,
                    &damaged,
                    files::parse_segment_name(name).is_some(),
                    &format!("{kind:?}: {name} cut to {len}"),
                );
                cases += 1;
            }
            for sector in (0..bytes.len() / 512).step_by(3) {
                for fill in [0, 0xa5] {
                    let damaged = with(&store, name, |bytes| bytes[sector * 512..(sector + 1) * 512].fill(fill));
                    judge(&store, &damaged, true, &format!("{kind:?}: {name}, sector {sector} filled with {fill}"));
                    cases += 1;
                }
            }
        }
    }
    evidence::record("repair_sectors", cases);
    assert!(cases > 250, "{cases}");
}

/// A small generator, so that a printed seed says it all.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % n
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "the seed belongs to the report of a failure")]
fn damage_in_several_places() {
    let seed = std::env::var("FLINT_TEST_SEED").map_or_else(
        |_| RandomState::new().hash_one(0),
        |text| text.parse().expect("FLINT_TEST_SEED is a whole number"),
    );
    println!("FLINT_TEST_SEED={seed}");
    let mut chance = Chance(seed);
    let stores = [store(Kind::LogOnly), store(Kind::Compacted), store(Kind::Crashed)];
    let (mut cases, mut copies) = (0, 0);
    while cases < 1_500 {
        let store = &stores[chance.below(stores.len())];
        let mut damaged = store.files.clone();
        let mut what = format!("seed {seed}, case {cases}:");
        for _ in 0..1 + chance.below(5) {
            let names: Vec<String> = damaged.keys().filter(|name| *name != files::LOCK).cloned().collect();
            let name = &names[chance.below(names.len())];
            let bytes = damaged.get_mut(name).unwrap();
            let at = chance.below(bytes.len());
            match chance.below(4) {
                0 => {
                    let end = (at + 1 + chance.below(900)).min(bytes.len());
                    bytes[at..end].fill(0);
                    what += &format!(" {name} zero {at}..{end}");
                }
                1 => {
                    let end = (at + 1 + chance.below(900)).min(bytes.len());
                    bytes[at..end].iter_mut().for_each(|byte| *byte = u8::try_from(chance.below(256)).unwrap());
                    what += &format!(" {name} garbage {at}..{end}");
                }
                _ => {
                    bytes[at] ^= 1 << chance.below(8);
                    what += &format!(" {name} flip {at}");
                }
            }
        }
        cases += 1;
        copies += u64::from(judge(store, &damaged, true, &what).1.is_some_and(|report| report.written));
    }
    evidence::record("repair_random_damage", cases);
    assert!(copies > 800, "{copies}");
}

#[test]
fn formats_to_come_are_left_alone() {
    let store = store(Kind::Compacted);
    let names = segments(&store.files);
    // Damage in front, so that opening would stop there.
    let mut damaged = with(&store, &names[1], |bytes| bytes[200] ^= 1);
    let newer = damaged.get_mut(&names[2]).unwrap();
    newer[8] = 3;
    let crc = crc32c::crc32c(&newer[..60]);
    newer[60..64].copy_from_slice(&crc.to_le_bytes());
    let (disk, copy) = (disk_of(&damaged), SimDisk::new());
    let error = repair_in(&*disk.dir(), &*copy.dir()).unwrap_err();
    assert!(matches!(&error, Error::Unsupported { path, .. } if path.ends_with(&names[2])), "{error}");
    assert!(error.to_string().contains("newer Flint"), "{error}");
    assert!(files_of(&copy).is_empty());
    assert_eq!(files_of(&disk), damaged);
}

/// The power cut and every kind of failure at each operation of writing the copy: whatever is left is refused, or is the whole
/// copy.
#[test]
fn a_copy_that_was_not_finished_does_not_open() {
    let mut cases = 0;
    for kind in [Kind::LogOnly, Kind::Compacted] {
        let store = store(kind);
        let name = &segments(&store.files)[1];
        let damaged = disk_of(&with(&store, name, |bytes| bytes[700] ^= 1));
        let whole = SimDisk::new();
        let report = repair_in(&*damaged.dir(), &*whole.dir()).unwrap();
        let expected = everything(&read_at(&whole, WALL).unwrap());
        let operations = whole.ops();
        let mut check = |left: &SimDisk, what: &str| {
            // Without a store's name in the lock file nothing was started: it is no more than the empty directory was.
            let files = files_of(left);
            if files.len() < 2 && files.values().all(Vec::is_empty) {
                return;
            }
            cases += 1;
            match open_at(left, SyncMode::Always, WALL) {
                Ok(engine) => assert_eq!(everything(&engine), expected, "{what}"),
                Err(error) => assert!(matches!(error, Error::Corrupt { .. }), "{what}: {error}"),
            }
        };
        for op in 0..operations {
            let copy = SimDisk::new();
            copy.crash_at(op);
            let error = repair_in(&*damaged.dir(), &*copy.dir()).unwrap_err();
            assert!(matches!(&error, Error::Storage { source, .. } if PowerCut::is(source)), "{error}");
            let mut plans = vec![CrashPlan::LoseUnsynced, CrashPlan::KeepAll];
            plans.extend((0..6).map(CrashPlan::Random));
            for plan in plans {
                let left = copy.power_cut(plan);
                check(&left, &format!("{kind:?}: power cut at operation {op} of {operations}, {plan:?}"));
            }
        }
        for fault in [Fault::Eio, Fault::Enospc, Fault::ShortWrite, Fault::FsyncFails] {
            for op in 0..operations {
                let copy = SimDisk::new();
                copy.set_fail(op, fault, true);
                let result = repair_in(&*damaged.dir(), &*copy.dir());
                copy.clear_fail();
                match result {
                    Ok(done) => assert_eq!(done, report),
                    Err(error) => {
                        assert!(matches!(error, Error::Storage { .. }), "{error}");
                        check(&copy.kill(), &format!("{kind:?}: {fault:?} at operation {op}"));
                    }
                }
            }
        }
    }
    evidence::record("repair_unfinished_copies", cases);
    assert!(cases > 300, "{cases}");
}
