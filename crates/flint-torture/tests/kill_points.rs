//! Processes that are killed between two stores into the mapping, in the middle of one, and right before and right after
//! system calls: whatever they reported is there, and the store continues.

use std::ops::Range;
use std::path::{Path, PathBuf};

use flint_core::files::{SPARE, parse_segment_name, parse_snapshot_name, segment_name};
use flint_core::log::frame;
use flint_core::log::reader::{Step, Walker};
use flint_core::log::segment::{Seal, SegmentHeader};
use flint_torture::evidence;
use flint_torture::kill::Report;
use flint_torture::kill::process::{Files, Point};
use flint_torture::kill::run::{Run, data};

/// The workloads of the sweeps; `FLINT_TEST_SEED` gives others.
const SEED: u64 = 4;

#[expect(clippy::print_stdout, reason = "the seed has to appear in the output of a failure")]
fn seed() -> u64 {
    let seed =
        std::env::var("FLINT_TEST_SEED").map_or(SEED, |text| text.parse().expect("FLINT_TEST_SEED is a whole number"));
    println!("FLINT_TEST_SEED={seed}");
    seed
}

/// Whether tests that need system tools are to be left out.
#[expect(clippy::print_stdout, reason = "what is left out has to be said")]
fn left_out(test: &str) -> bool {
    let left_out = std::env::var("FLINT_SYSTEM").is_ok_and(|value| value == "0");
    if left_out {
        println!("left out because of FLINT_SYSTEM=0: kill_points::{test}");
    }
    left_out
}

/// At every store, all runs; at every 24th the recovery dies too.
fn at_stores(runs: &[Run]) -> Report {
    let mut report = Report::default();
    for run in runs {
        let points = run.store_points();
        report.add(&run.kill_all(&points, &|index| (index % 24 == 13).then_some(4)));
    }
    report
}

fn at_calls(runs: &[Run], most: usize, nested: usize) -> Report {
    let mut report = Report::default();
    for run in runs {
        let points = run.call_points(most);
        report.add(&run.kill_all(&points, &|index| (index % 24 == 11).then_some(nested)));
    }
    report
}

#[expect(clippy::print_stdout, reason = "how much was tried belongs into the test's output")]
fn record(report: &Report) {
    println!("{report:?}");
    evidence::record("kill_points_store", report.stores);
    evidence::record("kill_points_syscall", report.calls);
    evidence::record("kill_points_nested", report.nested);
}

/// Calls that every workload makes; `rename` stands for all of its kind.
const CALLS: [&str; 12] = [
    "close",
    "fdatasync",
    "flock",
    "fsync",
    "ftruncate",
    "getdents64",
    "mmap",
    "openat",
    "pwrite64",
    "rename",
    "unlinkat",
    "write",
];

fn assert_varied(report: &Report, stores: u64, calls: u64, nested: u64) {
    assert!(report.stores >= stores && report.calls >= calls && report.nested >= nested, "{report:?}");
    // Threads run a little differently every time; four points in five are met all the same.
    assert!(report.missed * 5 <= report.stores + report.calls + report.nested, "{report:?}");
    if calls > 0 {
        for call in CALLS {
            assert!(report.by_call.keys().any(|name| name.starts_with(call)), "no death at {call}: {report:?}");
        }
    }
}

#[test]
fn at_every_store_into_the_mapping() {
    let seed = seed();
    let mut runs = Run::ordinary(seed);
    runs.extend(Run::migrations(seed));
    let report = at_stores(&runs);
    record(&report);
    assert_varied(&report, 500, 0, 60);
    // Half a record, but not half a segment's header: that one is still under a temporary name.
    assert!(report.torn >= report.stores / 3, "{report:?}");
}

#[test]
fn at_stores_beside_a_compaction_in_the_background() {
    let report = at_stores(&Run::backlog(seed()));
    record(&report);
    assert_varied(&report, 60, 0, 4);
}

#[test]
fn at_system_calls() {
    if left_out("at_system_calls") {
        return;
    }
    let report = at_calls(&Run::ordinary(seed()), 4, 6);
    record(&report);
    assert_varied(&report, 0, 300, 60);
    assert!(report.in_background >= 40, "background threads die too: {report:?}");
}

#[test]
fn at_system_calls_beside_a_compaction_in_the_background() {
    if left_out("at_system_calls_beside_a_compaction_in_the_background") {
        return;
    }
    let report = at_calls(&Run::backlog(seed()), 4, 4);
    record(&report);
    assert_varied(&report, 0, 100, 10);
    assert!(report.in_background >= 30, "the compaction dies too: {report:?}");
}

#[test]
fn at_system_calls_of_a_migration() {
    if left_out("at_system_calls_of_a_migration") {
        return;
    }
    let report = at_calls(&Run::migrations(seed()), 4, 6);
    record(&report);
    assert_varied(&report, 0, 200, 40);
}

/// The sweeps rest on this: SIGKILL comes before the call, SIGTERM after it.
#[test]
fn a_call_has_happened_or_has_not() {
    if left_out("a_call_has_happened_or_has_not") {
        return;
    }
    let runs = Run::ordinary(seed());
    let first_rename = runs[0].call_points(usize::MAX).0.into_iter().find_map(|point| match point {
        Point::Call { name, files: Files::Root, .. } if name.starts_with("rename") => Some(name),
        _ => None,
    });
    let name = first_rename.expect("the first segment gets its name");
    for after in [false, true] {
        let scratch = runs[0].begin(false);
        let dir = data(&scratch);
        let point = Point::Call { name: name.clone(), files: Files::Root, when: 1, after };
        assert!(runs[0].task(&dir).killed_at(&point).killed);
        assert_eq!(dir.join(segment_name(1)).exists(), after, "{point:?}");
        assert_eq!(dir.join(SPARE).exists(), !after, "{point:?}");
    }
}

/// A process that died leaves records in the page cache that no sync has covered. The next one writes them again, so that
/// they are dirty whatever became of an earlier sync, and syncs them and the directory, before it answers a call.
#[test]
fn unsynced_records_are_written_again_and_synced_before_open_returns() {
    if left_out("unsynced_records_are_written_again_and_synced_before_open_returns") {
        return;
    }
    let mut unsynced = 0;
    for run in Run::ordinary(seed()) {
        for at in [5, 11, 18, 24, 31, 37, 44, 50] {
            let scratch = run.begin(false);
            let dir = data(&scratch);
            let ran = run.task(&dir).killed_at(&Point::Store(at));
            assert!(ran.killed, "{}", run.name());
            let what = format!("{} (seed {}), killed at store {at}", run.name(), seed());
            let done = run.inspect(&dir, &ran.reported, &what);
            let owed = unsynced_records(&dir);
            let calls = run.rest(&dir, done, done).traced("pwrite64,fdatasync,fsync,write");
            let opened =
                calls.iter().position(|line| line.contains("\"open\\n\"")).expect("it reports that it is open");
            let opening = &calls[..opened];
            for (path, records) in &owed {
                unsynced += records.len();
                let about = |line: &&String| line.contains(&format!("<{}>", path.display()));
                let last_write = opening.iter().rposition(|line| line.contains("pwrite64(") && about(&line));
                for record in records {
                    let covered = opening
                        .iter()
                        .filter(about)
                        .filter_map(|line| written(line))
                        .any(|bytes| bytes.start <= record.start && record.end <= bytes.end);
                    assert!(covered, "{what}: {record:?} of {} is not written again: {opening:#?}", path.display());
                }
                let synced = opening.iter().rposition(|line| line.contains("fdatasync(") && about(&line));
                assert!(synced > last_write, "{what}: {} is not synced: {opening:#?}", path.display());
            }
            let root = format!("<{}>", dir.display());
            assert!(opening.iter().any(|line| line.contains("fsync(") && line.contains(&root)), "{what}: {opening:#?}");
        }
    }
    assert!(unsynced >= 40, "{unsynced}");
}

/// The bytes that a line of strace says were written.
fn written(line: &str) -> Option<Range<usize>> {
    let arguments = line.contains("pwrite64(").then_some(line)?.rsplit_once(") ")?.0;
    let mut last = arguments.rsplit(", ");
    let (offset, len): (usize, usize) = (last.next()?.parse().ok()?, last.next()?.parse().ok()?);
    Some(offset..offset + len)
}

/// The whole records of each segment that are newer than what the files themselves say was synced.
fn unsynced_records(dir: &Path) -> Vec<(PathBuf, Vec<Range<usize>>)> {
    let mut segments: Vec<(u64, PathBuf, Vec<u8>)> = Vec::new();
    let mut durable = 0;
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name in UTF-8");
        // A snapshot is published after the log that it covers was synced.
        durable = durable.max(parse_snapshot_name(name).unwrap_or(0));
        if let Some(first) = parse_segment_name(name) {
            segments.push((first, path.clone(), std::fs::read(&path).expect("a segment")));
        }
    }
    segments.sort();
    let mut records: Vec<(usize, u64, Range<usize>)> = Vec::new();
    for (index, (first, _, bytes)) in segments.iter().enumerate() {
        let header = SegmentHeader::decode(bytes.first_chunk().expect("a whole segment")).expect("a header");
        let seed = frame::seed(header.store_id, *first);
        // A full segment is sealed after it was synced.
        let seal = bytes.last_chunk().and_then(|seal| Seal::decode(seal, seed).expect("a whole seal or none"));
        durable = durable.max(seal.map_or(0, |seal| seal.last_seq));
        let mut walker = Walker::new(bytes, seed, *first, header.prev_crc);
        while let Step::Record(record) = walker.next() {
            durable = durable.max(record.durable_seq);
            records.push((index, record.seq, record.offset..record.end()));
        }
    }
    let of = |wanted: usize| {
        let unsynced = records.iter().filter(move |(index, seq, _)| *index == wanted && *seq > durable);
        unsynced.map(|(.., bytes)| bytes.clone()).collect()
    };
    segments
        .iter()
        .enumerate()
        .map(|(index, (_, path, _))| (path.clone(), of(index)))
        .filter(|(_, all): &(_, Vec<_>)| !all.is_empty())
        .collect()
}
