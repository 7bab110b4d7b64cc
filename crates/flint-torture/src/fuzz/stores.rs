//! The stores that fuzzing starts from: small, of every shape that a real one can have, and the same in every run.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use flint_core::Engine;
use flint_core::clock::ManualClock;
use flint_core::engine::{CallId, Check, CheckAll, Idempotent, Item, OnChange, Options, SyncMode};
use flint_core::files;
use flint_core::limit::{Algorithm, Limit, parse_limit};
use flint_core::testing::sim::{CrashPlan, SimDisk};

use super::editable::EditableDirectory;
use crate::directory::{Files, disk_of, files_of};

const SECOND: u64 = 1_000_000_000;
/// When every store begins.
const START: u64 = 1_700_000_000 * SECOND;
/// When they are opened again: later than anything in them.
pub(super) const LATER: u64 = 1_900_000_000 * SECOND;

/// The id that stands in for the random one of a new store, so that all stores can exchange parts.
const STORE_ID: u64 = 0x0123_4567_89ab_cdef;

/// Small segments, and nothing that happens by itself.
pub(super) fn options(clock: &Arc<ManualClock>) -> Options {
    Options {
        sync: SyncMode::Always,
        segment_bytes: 16 << 10,
        history_bytes: 1 << 20,
        clock: clock.clone(),
        threads: false,
        ..Options::default()
    }
}

fn limit(text: &str, algorithm: Algorithm) -> Limit {
    parse_limit(text, algorithm).expect("a valid limit")
}

fn tokens(text: &str) -> Limit {
    limit(text, Algorithm::TokenBucket)
}

struct Session {
    disk: SimDisk,
    clock: Arc<ManualClock>,
    engine: Engine,
}

impl Session {
    fn open(disk: &SimDisk, wall_ns: u64) -> Self {
        let clock = Arc::new(ManualClock::new(wall_ns));
        let engine = Engine::open_in(disk.dir(), options(&clock)).expect("a good store opens");
        Self { disk: disk.clone(), clock, engine }
    }

    fn check(&self, key: &str, cost: u64) {
        self.clock.advance_ns(1_234_567);
        self.engine.check(key, cost, None).expect("a configured key");
    }

    /// A little of everything that is written.
    fn everything(&self) {
        let Self { engine, clock, .. } = self;
        engine.limit("bucket", &tokens("10/minute; 12/hour burst 20"), OnChange::Keep).expect("a limit");
        engine.limit("log", &limit("6/minute", Algorithm::SlidingWindowLog), OnChange::Keep).expect("a limit");
        engine.limit("window", &limit("5/minute", Algorithm::FixedWindowCounter), OnChange::Keep).expect("a limit");
        engine.limit("gone", &tokens("1/day"), OnChange::Keep).expect("a limit");
        for key in ["bucket", "log", "window", "gone", "log", "gone"] {
            self.check(key, 1);
        }
        let brought = tokens("3/s");
        engine.check("\"brought\"\n", 2, Some(&brought)).expect("a check");
        engine.check("\"brought\"\n", 1, Some(&tokens("9/hour; 2/s"))).expect("a check with another limit");
        let item = |key, limit| Item { key, cost: 1, limit };
        engine.check_all(&[item("bucket", None), item("log", None), item("new", Some(&brought))]).expect("a check");
        let call = |number| CallId { id: [number; 16], fingerprint: [0; 8] };
        let one = Idempotent { operation: Check::new(item("bucket", None)), call: call(1) };
        assert!(engine.run(&one).expect("a check").answer.allowed, "for an idempotency record");
        let named = [item("log", None), item("new", None)];
        let all = Idempotent { operation: CheckAll { items: &named }, call: call(2) };
        assert!(engine.run(&all).expect("a check").answer.allowed, "for an idempotency record");
        engine.reset("window").expect("it exists");
        engine.delete("gone").expect("it exists");
        clock.advance_ns(61 * SECOND);
        self.check("log", 6);
        self.check("log", 1);
        engine.limit("bucket", &tokens("12/hour burst 20; 7/s"), OnChange::Keep).expect("a limit");
        engine.limit("log", &tokens("6/minute"), OnChange::Keep).expect("a limit");
        engine.limit("log", &limit("9/minute", Algorithm::SlidingWindowLog), OnChange::Keep).expect("a limit");
        self.check("log", 2);
        engine.turn().expect("a good disk");
    }

    /// Large records until the segment is full.
    fn rotate(&self, salt: u64) {
        let keys: Vec<String> = (0..8).map(|n| format!("{n}{}", "x".repeat(500))).collect();
        let from = self.engine.counters().rotations;
        let mut n = salt;
        while self.engine.counters().rotations == from {
            n += 1;
            let rate = tokens(&format!("{n}/hour"));
            let specs: Vec<_> = keys.iter().map(|key| (key.as_str(), rate, OnChange::Keep)).collect();
            self.engine.limit_many(&specs).expect("a good disk");
        }
    }

    fn killed(self) -> Files {
        files_of(&self.disk.kill())
    }

    fn closed(self) -> Files {
        self.engine.close().expect("a good disk");
        files_of(&self.disk)
    }
}

fn sample(name: &str) -> Files {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/legacy-data").join(name).join("data");
    let read = |name: &str| std::fs::read(dir.join(name)).ok().map(|bytes| (name.to_owned(), bytes));
    [files::LEGACY_AOF, files::LEGACY_SNAPSHOT].into_iter().filter_map(read).collect()
}

/// The snapshot of release 0.2, shorter than the one in the samples: one key for each algorithm.
const OLD_STATE: &str = r#"{"aof_offset":0,"created_at":"2026-01-01T00:00:09.5Z","format_version":1,"state":{"buckets":{"b":{"last_refill":"2026-01-01T00:00:03Z","tokens":46.000000000475644}},"configs":{"b":{"algorithm":"token_bucket","key":"b","per_millis":60000,"rate":50},"s":{"algorithm":"sliding_window_log","key":"s","per_millis":60000,"rate":5},"w":{"algorithm":"fixed_window_counter","key":"w","per_millis":60000,"rate":5}},"fixed_windows":{"w":{"count":3,"window_start":"2026-01-01T00:00:02Z"}},"history":[{"config":{"algorithm":"token_bucket","key":"b","per_millis":60000,"rate":50},"type":"LIMIT_CONFIGURED"},{"at":"2026-01-01T00:00:02Z","cost":3,"key":"w","type":"ALLOW"},{"at":"2026-01-01T00:00:03Z","cost":4,"key":"b","type":"ALLOW"}],"metrics":{"b":{"last_allowed_at":"2026-01-01T00:00:03Z","last_denied_at":null,"last_reset_at":null,"total_allowed":1,"total_allowed_cost":4,"total_denied":0,"total_denied_cost":0}},"sliding_windows":{"s":["2026-01-01T00:00:04Z","2026-01-01T00:00:04Z","2026-01-01T00:00:05.25Z"]}}}"#;

const OLD_LINES: [&str; 6] = [
    r#"{"version":1,"ts":"2026-01-01T00:00:10Z","event":{"type":"ALLOW","key":"b","at":"2026-01-01T00:00:10Z","cost":4}}"#,
    r#"{"version":1,"ts":"2026-01-01T00:00:11Z","event":{"type":"DENY","key":"w","at":"2026-01-01T00:00:11Z","cost":4}}"#,
    r#"{"version":1,"ts":"2026-01-01T00:00:12Z","event":{"type":"ALLOW_ALL","items":[{"key":"b","cost":2},{"key":"s","cost":1}],"at":"2026-01-01T00:00:12Z"}}"#,
    r#"{"version":1,"ts":"2026-01-01T00:00:13Z","event":{"type":"LIMIT_CONFIGURED","config":{"key":"s","rate":7,"per_millis":1000,"algorithm":"token_bucket"}}}"#,
    r#"{"version":1,"ts":"2026-01-01T00:00:14Z","event":{"type":"RESET","key":"w","at":"2026-01-01T00:00:14Z"}}"#,
    r#"{"ts":"2026-01-01T00:00:15Z","event":{"type":"LIMIT_CONFIGURED","config":{"key":"old","rate":7,"per_seconds":60,"algorithm":"fixed_window_counter"}}}"#,
];

/// A directory of release 0.2 with both files, checksums included.
fn old_store() -> Files {
    let mut editable =
        EditableDirectory { old_state: Some(OLD_STATE.as_bytes().to_vec()), ..EditableDirectory::default() };
    let with_checksum = |line: &&str| match line.starts_with("{\"version\"") {
        true => [&line.as_bytes()[..line.len() - 1], br#","checksum":""}"#].concat(),
        false => line.as_bytes().to_vec(),
    };
    editable.old_log = Some(OLD_LINES.iter().map(with_checksum).collect());
    editable.write()
}

/// What a migration leaves when it is interrupted after so many of its storage operations.
fn interrupted_migration(old: &Files, after: u64) -> Files {
    let disk = disk_of(old);
    disk.crash_at(disk.ops() + after);
    let clock = Arc::new(ManualClock::new(LATER));
    assert!(Engine::open_in(disk.dir(), options(&clock)).is_err(), "the power was cut");
    files_of(&disk.power_cut(CrashPlan::KeepAll))
}

/// All of them.
pub(super) fn build() -> Vec<Files> {
    let mut all = Vec::new();
    // Nothing but the first anchor.
    all.push(Session::open(&SimDisk::new(), START).closed());
    // One segment, closed and opened again.
    let disk = SimDisk::new();
    let session = Session::open(&disk, START);
    session.everything();
    drop(session.closed());
    all.push(Session::open(&disk, START + 90 * SECOND).closed());
    // One segment, killed.
    let session = Session::open(&SimDisk::new(), START);
    session.everything();
    all.push(session.killed());
    // A snapshot, a segment of history, one behind it, and the active one.
    let session = Session::open(&SimDisk::new(), START);
    session.everything();
    session.rotate(0);
    session.engine.turn().expect("a good disk");
    session.engine.compact().expect("a good disk");
    session.check("bucket", 1);
    session.rotate(100);
    session.engine.delete("new").expect("it exists");
    session.check("log", 1);
    session.engine.turn().expect("a good disk");
    all.push(session.closed());
    // Full segments that are not sealed yet, killed.
    let session = Session::open(&SimDisk::new(), START);
    session.everything();
    session.rotate(0);
    session.rotate(100);
    session.check("bucket", 1);
    all.push(session.killed());
    // A snapshot and a short log, killed.
    let session = Session::open(&SimDisk::new(), START);
    session.everything();
    session.engine.compact().expect("a good disk");
    session.check("bucket", 1);
    session.check("log", 1);
    session.engine.delete("window").expect("it exists");
    all.push(session.killed());
    // Old releases, and migrations on their way.
    all.push(sample("v0_1_log_only"));
    all.push(sample("v0_2_log_only"));
    let old = old_store();
    for after in [8, 13, 17] {
        all.push(interrupted_migration(&old, after));
    }
    let disk = disk_of(&old);
    all.push(old);
    let session = Session::open(&disk, LATER - SECOND);
    session.check("b", 1);
    all.push(session.closed());
    all
}

/// All of them, taken apart, the same in every run.
pub(super) fn all() -> &'static [EditableDirectory] {
    static STORES: OnceLock<Vec<EditableDirectory>> = OnceLock::new();
    STORES.get_or_init(|| build().iter().map(|files| EditableDirectory::read(files).with_id(STORE_ID)).collect())
}

#[cfg(test)]
mod tests {
    use super::super::editable::inner_state;
    use super::*;

    #[test]
    fn what_is_taken_apart_is_put_together_again() {
        for (index, files) in build().iter().enumerate() {
            let mut again = EditableDirectory::read(files).write();
            // The old snapshot has other fields around the same state.
            if let (Some(old), Some(new)) = (files.get(files::LEGACY_SNAPSHOT), again.get_mut(files::LEGACY_SNAPSHOT)) {
                assert_eq!(inner_state(old), inner_state(new), "store {index}");
                new.clone_from(old);
            }
            for (name, bytes) in files {
                assert!(again.get(name) == Some(bytes), "store {index}: {name}");
            }
            assert_eq!(again.len(), files.len(), "store {index}");
        }
    }
}
