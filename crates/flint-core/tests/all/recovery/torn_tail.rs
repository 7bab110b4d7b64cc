//! What a crash leaves at the end of the log is cut and reported; the same damage before the last durable mark is refused.

use crate::support::recovery::{START, clock_at, open_at, options, read_at, store_files, tokens};
use flint_core::Engine;
use flint_core::Error;
use flint_core::engine::{OnChange, Options, SyncMode};
use flint_core::files;
use flint_core::testing::sim::{CrashPlan, SimDisk};

const SYNCED: usize = 5;
const UNSYNCED: usize = 6;
/// Bytes of an allowed check of one rate.
const RECORD: usize = 64;

/// A killed store: five checks that a flush covered and six that none did. Gives the log's bytes and where the six start.
fn killed() -> (SimDisk, Vec<u8>, usize) {
    let disk = SimDisk::new();
    let clock = clock_at(START);
    let options = Options { flush_every_events: 1_000, ..options(SyncMode::Batch, &clock) };
    let engine = Engine::open_in(disk.dir(), options).unwrap();
    engine.limit("k", &tokens("1000/hour"), OnChange::Keep).unwrap();
    for _ in 0..SYNCED {
        engine.check("k", 1, None).unwrap();
    }
    engine.flush().unwrap();
    for _ in 0..UNSYNCED {
        engine.check("k", 1, None).unwrap();
    }
    let end = files_end(&engine);
    let disk = disk.kill();
    let bytes = disk.read_file(&files::segment_name(1)).unwrap();
    assert!(bytes[end..].iter().all(|&byte| byte == 0));
    (disk, bytes, end - UNSYNCED * RECORD)
}

fn files_end(engine: &Engine) -> usize {
    64 + usize::try_from(engine.counters().log_bytes).unwrap()
}

fn with_log(disk: &SimDisk, bytes: &[u8]) -> SimDisk {
    let copy = disk.kill();
    copy.write_file(&files::segment_name(1), bytes);
    copy
}

fn allowed(engine: &Engine) -> u64 {
    engine.status("k").unwrap().unwrap().total_allowed
}

#[test]
fn every_length_of_a_torn_tail_is_cut_and_reported_once() {
    let (disk, whole, start) = killed();
    for fill in [0, 0xa5] {
        for cut in start..start + UNSYNCED * RECORD {
            let mut bytes = whole.clone();
            bytes[cut..start + UNSYNCED * RECORD].fill(fill);
            let intact = (0..UNSYNCED)
                .take_while(|n| {
                    let record = start + n * RECORD..start + (n + 1) * RECORD;
                    bytes[record.clone()] == whole[record]
                })
                .count();
            let boundary = start + intact * RECORD;
            let torn = bytes[boundary..].iter().any(|&byte| byte != 0);
            let expected = (SYNCED + intact) as u64;
            let what = format!("{fill:#x} from byte {cut}");

            let damaged = with_log(&disk, &bytes);
            let reader = read_at(&damaged, START).unwrap();
            assert_eq!(allowed(&reader), expected, "{what}");
            let before = store_files(&damaged);
            let report = reader.doctor().unwrap();
            assert!(report.ok && report.notes.is_empty() != torn, "{what}: {report:?}");
            assert_eq!(store_files(&damaged), before, "{what}: looking changes nothing");

            let engine = open_at(&damaged, SyncMode::Batch, START).unwrap();
            assert_eq!(allowed(&engine), expected, "{what}");
            let recovery = engine.recovery();
            let at = recovery.cut_at.as_ref().map(|(path, offset)| (path.file_name().unwrap().to_owned(), *offset));
            assert_eq!(at, torn.then(|| (files::segment_name(1).into(), boundary as u64)), "{what}");
            assert_eq!(recovery.cut_bytes > 0, torn, "{what}");
            assert_eq!(engine.has_notices(), torn, "{what}");
            assert!(!recovery.clean);
            drop(engine);
            let engine = open_at(&damaged, SyncMode::Batch, START).unwrap();
            assert_eq!(allowed(&engine), expected, "{what}");
            assert_eq!(engine.recovery().cut_at, None, "{what}: cut on disk");
        }
    }
}

#[test]
fn a_flipped_bit_before_the_durable_mark_is_refused_and_behind_it_cut() {
    let (disk, whole, start) = killed();
    for offset in 64..start + UNSYNCED * RECORD {
        for bit in 0..8 {
            let mut bytes = whole.clone();
            bytes[offset] ^= 1 << bit;
            let damaged = with_log(&disk, &bytes);
            let before = store_files(&damaged);
            let opened = open_at(&damaged, SyncMode::Batch, START);
            if offset < start {
                let Err(Error::Corrupt { path, offset: at, .. }) = opened else {
                    panic!("byte {offset} bit {bit}: opened");
                };
                assert_eq!(path.file_name().unwrap(), files::segment_name(1).as_str());
                assert!(at <= offset as u64 && at >= 64, "byte {offset}: reported at {at}");
                assert_eq!(store_files(&damaged), before);
            } else {
                let expected = (SYNCED + (offset - start) / RECORD) as u64;
                assert_eq!(allowed(&opened.unwrap()), expected, "byte {offset} bit {bit}");
            }
        }
    }
}

#[test]
fn segments_behind_a_cut_are_removed() {
    let disk = SimDisk::new();
    let clock = clock_at(START);
    let options = Options { flush_every_events: 1_000_000, ..options(SyncMode::Batch, &clock) };
    let engine = Engine::open_in(disk.dir(), options).unwrap();
    engine.limit("k", &tokens("1000000/hour"), OnChange::Keep).unwrap();
    while engine.counters().rotations == 0 {
        engine.check("k", 1, None).unwrap();
    }
    let disk = disk.kill();
    let mut bytes = disk.read_file(&files::segment_name(1)).unwrap();
    let middle = 64 + 100 * RECORD;
    bytes[middle..middle + 512].fill(0);
    let names = disk.dir().list().unwrap();
    let segments = |names: &[String]| names.iter().filter(|name| files::parse_segment_name(name).is_some()).count();
    assert_eq!(segments(&names), 2);
    let damaged = with_log(&disk, &bytes);
    let engine = open_at(&damaged, SyncMode::Batch, START).unwrap();
    assert!(allowed(&engine) < 110);
    assert!(engine.recovery().cut_at.is_some());
    assert_eq!(segments(&damaged.dir().list().unwrap()), 1);
    drop(engine);
    assert!(open_at(&damaged, SyncMode::Batch, START).unwrap().recovery().clean);
}

/// A log of three segments. Its last synced record is in the first; the only other record there is gone.
fn two_segments_behind_a_cut() -> SimDisk {
    let disk = SimDisk::new();
    let options = Options { threads: false, ..options(SyncMode::Batch, &clock_at(START)) };
    let engine = Engine::open_in(disk.dir(), options).unwrap();
    let configure = |count: usize| {
        let keys: Vec<String> = (0..count).map(|number| format!("{count}-{number:0500}")).collect();
        let specs: Vec<_> = keys.iter().map(|key| (key.as_str(), tokens("1/hour"), OnChange::Keep)).collect();
        engine.limit_many(&specs).unwrap();
    };
    engine.limit("k", &tokens("1000/hour"), OnChange::Keep).unwrap();
    // Records for which one segment has room, but not for two of them; together less than a segment, which may be unsynced.
    configure(20);
    engine.flush().unwrap();
    let end = files_end(&engine);
    engine.check("k", 1, None).unwrap();
    configure(13);
    configure(12);
    assert_eq!(engine.counters().rotations, 2);
    let disk = disk.kill();
    let mut bytes = disk.read_file(&files::segment_name(1)).unwrap();
    assert!(bytes[end..end + RECORD].iter().any(|&byte| byte != 0));
    bytes[end..end + RECORD].fill(0);
    with_log(&disk, &bytes)
}

#[test]
fn an_interrupted_removal_of_segments_behind_a_cut_can_be_repeated() {
    let segments = |disk: &SimDisk| {
        let mut names = disk.dir().list().unwrap();
        names.retain(|name| files::parse_segment_name(name).is_some());
        names.sort_unstable();
        names
    };
    let damaged = two_segments_behind_a_cut();
    let all = segments(&damaged);
    assert_eq!(all.len(), 3);
    let whole = damaged.kill();
    let first = whole.ops();
    drop(open_at(&whole, SyncMode::Batch, START).unwrap());
    let (operations, mut halfway) = (whole.ops() - first, 0);
    for op in 0..operations {
        let disk = damaged.kill();
        disk.crash_at(disk.ops() + op);
        drop(open_at(&disk, SyncMode::Batch, START));
        for plan in [CrashPlan::LoseUnsynced, CrashPlan::KeepAll] {
            let after = disk.power_cut(plan);
            let left = segments(&after);
            assert_eq!(left, all[..left.len()], "at {op}: the log has a gap");
            halfway += usize::from(left.len() == 2);
            let engine = open_at(&after, SyncMode::Batch, START).unwrap_or_else(|error| panic!("at {op}: {error}"));
            assert_eq!(allowed(&engine), 0, "at {op}");
            assert_eq!(engine.counters().keys, 21, "at {op}");
        }
    }
    assert!(halfway > 0, "no crash came between the two removals");
}
