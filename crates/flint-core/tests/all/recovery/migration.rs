//! Directories of releases 0.1 and 0.2 become today's format, whatever happens on the way: until the new snapshot has its name
//! the old files are the store, afterwards the next open finishes the rest.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::support::recovery::{assert_same, everything, options, plans, store_files, tokens};
use flint_core::clock::ManualClock;
use flint_core::doctor::examine_in;
use flint_core::engine::{OnChange, Options, Status, SyncMode};
use flint_core::storage::{Dir, Mode};
use flint_core::testing::sim::{CrashPlan, Fault, SimDisk};
use flint_core::{Engine, Error, Result, files};
use serde_json::Value;

const GOOD: [&str; 4] = ["v0_1_log_only", "v0_2_log_only", "v0_2_snapshot_and_tail", "v0_2_torn_tail"];

fn sample(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/legacy-data").join(name)
}

fn old_disk(name: &str) -> SimDisk {
    let disk = SimDisk::new();
    for entry in std::fs::read_dir(sample(name).join("data")).unwrap() {
        let path = entry.unwrap().path();
        disk.write_file(path.file_name().unwrap().to_str().unwrap(), &std::fs::read(&path).unwrap());
    }
    disk
}

fn expected(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(sample(name).join("expected.json")).unwrap()).unwrap()
}

/// A clock from before the data: time then stands at the newest time in the data, for which the figures were written down.
fn early() -> Options {
    options(SyncMode::Always, &Arc::new(ManualClock::new(1)))
}

fn open(disk: &SimDisk) -> Result<Engine> {
    Engine::open_in(disk.dir(), early())
}

fn look(disk: &SimDisk) -> Result<Engine> {
    Engine::open_in(disk.dir(), Options { read_only: true, ..early() })
}

fn read(dir: &dyn Dir, name: &str) -> Option<Vec<u8>> {
    let file = dir.open(name, Mode::Read).ok()?;
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    Some(bytes)
}

fn old_files(disk: &SimDisk) -> BTreeMap<&'static str, Vec<u8>> {
    let names = [files::LEGACY_AOF, files::LEGACY_SNAPSHOT];
    names.into_iter().filter_map(|name| Some((name, disk.read_file(name)?))).collect()
}

fn assert_migrated(disk: &SimDisk, old: &BTreeMap<&'static str, Vec<u8>>, what: &str) {
    let legacy = disk.dir().subdir(files::LEGACY_DIR, false).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(legacy.list().unwrap().len(), old.len(), "{what}");
    for (name, bytes) in old {
        assert_eq!(read(&*legacy, name).as_ref(), Some(bytes), "{what}: legacy/{name}");
    }
    assert!(files::is_tombstone(&disk.read_file(files::LEGACY_AOF).unwrap()), "{what}");
    assert_eq!(disk.read_file(files::LEGACY_SNAPSHOT), None, "{what}");
    let names = disk.dir().list().unwrap();
    assert!(names.iter().all(|name| files::parse_migrating_name(name).is_none()), "{what}: {names:?}");
}

/// Statuses without what depends on when they are read.
fn migrated_statuses(disk: &SimDisk) -> Vec<Status> {
    let copy = disk.kill();
    let engine = open(&copy).unwrap();
    everything(&engine)
}

#[test]
fn what_the_old_release_said_is_what_is_there() {
    for name in GOOD {
        let expected = expected(name);
        let disk = old_disk(name);
        let old = old_files(&disk);
        let reader = look(&disk).unwrap();
        let seen = everything(&reader);
        let report = reader.doctor().unwrap();
        assert!(report.ok, "{name}: {report:?}");
        assert_eq!(old_files(&disk), old, "{name}: looking changes nothing");
        assert_eq!(disk.ops(), 0, "{name}: looking changes nothing");

        let engine = open(&disk).unwrap();
        let limits = expected["limits"].as_object().unwrap();
        let statuses = everything(&engine);
        assert_eq!(statuses, seen, "{name}: read-only and migrated");
        assert_eq!(statuses.len(), limits.len(), "{name}");
        for status in &statuses {
            let old = &limits[&status.key];
            let what = format!("{name}: {}", status.key);
            assert_eq!(old["remaining"], status.remaining, "{what}");
            assert_eq!(old["rate"], status.rates[0].limit(), "{what}");
            assert_eq!(old["algorithm"], status.rates[0].algorithm().name(), "{what}");
            if let Some(per_ms) = old.get("per_millis") {
                assert_eq!(*per_ms, status.rates[0].per_ms(), "{what}");
            }
            for (field, total) in [
                ("total_allowed", status.total_allowed),
                ("total_denied", status.total_denied),
                ("total_allowed_cost", status.total_allowed_cost),
                ("total_denied_cost", status.total_denied_cost),
            ] {
                if let Some(value) = old.get(field) {
                    assert_eq!(*value, total, "{what}: {field}");
                }
            }
        }
        for (key, count) in expected["history_events"].as_object().unwrap() {
            let events = engine.history(key, 1_000).unwrap();
            assert_eq!(*count, events.len(), "{name}: history of {key}");
        }
        assert_eq!(engine.recovery().migrated_from, Some(if name.starts_with("v0_1") { "0.1" } else { "0.2" }));
        assert_migrated(&disk, &old, name);
        engine.close().unwrap();
        let engine = open(&disk).unwrap();
        assert_eq!(engine.recovery().migrated_from, None, "{name}: once");
        assert_same(&everything(&engine), &statuses, &format!("{name}: opened again"));
        engine.compact().unwrap();
        drop(engine);
        assert_eq!(everything(&open(&disk).unwrap()), statuses, "{name}: compacted and opened again");
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "how much was tried belongs into the test's output")]
fn a_power_cut_at_every_operation() {
    let (mut states, mut before_commit, mut nested) = (0, 0, 0);
    for name in GOOD {
        let original = old_disk(name);
        let old = old_files(&original);
        let statuses = migrated_statuses(&original);
        for op in 0.. {
            let disk = original.kill();
            disk.crash_at(op);
            drop(open(&disk));
            if !disk.crashed() {
                break;
            }
            let killed = std::iter::once((disk.kill(), "killed".to_owned()));
            let cut = plans(&disk, op, 2).into_iter().map(|plan| (disk.power_cut(plan), format!("{plan:?}")));
            for (after, how) in killed.chain(cut) {
                let what = format!("{name}, operation {op}, {how}");
                let names = after.dir().list().unwrap();
                if names.iter().all(|name| files::parse_snapshot_name(name).is_none()) {
                    assert_eq!(old_files(&after), old, "{what}: not committed, and the old files are not as they were");
                    before_commit += 1;
                }
                let reader = look(&after).unwrap_or_else(|error| panic!("{what}: {error}"));
                assert_same(&everything(&reader), &statuses, &format!("{what}: read-only"));
                drop(reader);
                assert!(examine_in(&*after.dir()).unwrap().ok, "{what}");
                // And once more while it is being finished.
                let large = name == "v0_2_snapshot_and_tail";
                if how == "killed" || (op % 4 == 0 && !large) {
                    for again in (op % 3..).step_by(if large { 3 } else { 1 }) {
                        let second = after.kill();
                        second.crash_at(again);
                        drop(open(&second));
                        if !second.crashed() {
                            break;
                        }
                        for plan in [CrashPlan::LoseUnsynced, CrashPlan::Random(again * 7 + op)] {
                            let what = format!("{what}, again at operation {again}, {plan:?}");
                            let third = second.power_cut(plan);
                            let engine = open(&third).unwrap_or_else(|error| panic!("{what}: {error}"));
                            assert_same(&everything(&engine), &statuses, &what);
                            assert_migrated(&third, &old, &what);
                            nested += 1;
                        }
                    }
                }
                let engine = open(&after).unwrap_or_else(|error| panic!("{what}: {error}"));
                assert_same(&everything(&engine), &statuses, &what);
                assert_migrated(&after, &old, &what);
                states += 1;
            }
        }
    }
    println!("{states} states, {before_commit} before the commit, {nested} interrupted twice");
    assert!(states >= 400 && before_commit >= 100 && nested >= 2_000, "{states} {before_commit} {nested}");
}

#[test]
fn a_full_disk_leaves_the_old_files() {
    for name in ["v0_1_log_only", "v0_2_log_only"] {
        let original = old_disk(name);
        let old = old_files(&original);
        let statuses = migrated_statuses(&original);
        let good = original.kill();
        open(&good).unwrap().close().unwrap();
        let (mut struck, mut refused) = (0, 0);
        for op in 0..good.ops() {
            for (fault, sticky) in [(Fault::Enospc, false), (Fault::ShortWrite, true), (Fault::Eio, false)] {
                let disk = original.kill();
                disk.set_fail(op, fault, sticky);
                // Dropping the engine closes it, which may meet the fault, too.
                let opened = open(&disk).map(drop);
                if !disk.clear_fail() {
                    continue;
                }
                struck += 1;
                if let Err(error) = opened {
                    assert!(matches!(error, Error::Storage { .. } | Error::Stopped { .. }), "{name}, {op}: {error:?}");
                    refused += 1;
                }
                let engine = open(&disk).unwrap_or_else(|error| panic!("{name}, {fault:?} at operation {op}: {error}"));
                assert_same(&everything(&engine), &statuses, &format!("{name}, {fault:?} at operation {op}"));
                assert_migrated(&disk, &old, &format!("{name}, {fault:?} at operation {op}"));
            }
        }
        assert!(
            refused >= 60 && struck > refused,
            "{name}: {struck} struck, {refused} refused, {} operations",
            good.ops()
        );
    }
}

#[test]
fn damaged_old_files_are_refused_and_left_alone() {
    for name in ["v0_2_corrupt_middle", "v0_2_tampered_snapshot"] {
        assert!(expected(name)["error"].is_string());
        let disk = old_disk(name);
        let old = old_files(&disk);
        for opened in [open(&disk), look(&disk)] {
            assert!(matches!(opened, Err(Error::Corrupt { .. })), "{name}");
        }
        assert!(!examine_in(&*disk.dir()).unwrap().ok);
        assert_eq!(old_files(&disk), old);
        assert_eq!(disk.dir().list().unwrap().len(), old.len() + 1, "nothing but the lock beside them");
    }
}

#[test]
fn both_formats_together_are_refused() {
    let disk = SimDisk::new();
    let engine = open(&disk).unwrap();
    engine.limit("k", &tokens("5/minute"), OnChange::Keep).unwrap();
    engine.close().unwrap();
    let legacy = old_disk("v0_2_log_only").read_file(files::LEGACY_AOF).unwrap();
    disk.write_file(files::LEGACY_AOF, &legacy);
    let migrated = old_disk("v0_2_log_only");
    open(&migrated).unwrap().close().unwrap();
    // A backup of another directory, put back over the tombstone.
    migrated.write_file(files::LEGACY_AOF, &old_disk("v0_1_log_only").read_file(files::LEGACY_AOF).unwrap());
    for disk in [disk, migrated] {
        let before = store_files(&disk);
        for opened in [open(&disk), look(&disk)] {
            let Err(Error::Unsupported { detail, .. }) = opened else { panic!("both formats opened") };
            assert!(detail.contains(files::LEGACY_AOF), "{detail}");
        }
        assert!(!examine_in(&*disk.dir()).unwrap().ok);
        assert_eq!(store_files(&disk), before);
    }
}

/// An open that meets new files that are damaged refuses them before it renames, moves or writes anything.
#[test]
fn damaged_new_files_are_refused_at_every_step_and_nothing_is_changed() {
    let counted = old_disk("v0_2_log_only");
    open(&counted).unwrap().close().unwrap();
    let mut tried = 0;
    for op in 0..counted.ops() {
        let disk = old_disk("v0_2_log_only");
        disk.crash_at(op);
        if open(&disk).is_ok() {
            break;
        }
        let left = disk.power_cut(CrashPlan::KeepAll);
        let names = left.dir().list().unwrap();
        if !names.iter().any(|name| files::parse_snapshot_name(name).is_some()) {
            continue;
        }
        let is_segment =
            |name: &&String| files::parse_segment_name(name).is_some() || files::parse_migrating_name(name).is_some();
        let segment = names.iter().find(is_segment).expect("a segment");
        let mut bytes = left.read_file(segment).unwrap();
        bytes[100] ^= 1;
        left.write_file(segment, &bytes);
        let before = store_files(&left);
        assert!(matches!(look(&left), Err(Error::Corrupt { .. })), "operation {op}: a reader opens it");
        assert!(!examine_in(&*left.dir()).unwrap().ok, "operation {op}: the doctor sees nothing");
        assert!(matches!(open(&left), Err(Error::Corrupt { .. })), "operation {op}: a writer opens it");
        assert_eq!(store_files(&left), before, "operation {op}: refused and changed");
        tried += 1;
    }
    assert!(tried >= 10, "{tried}");
}

/// A key of an old release may be longer than a small segment.
#[test]
fn old_history_of_a_very_long_key_gets_a_larger_segment() {
    let disk = SimDisk::new();
    let key = "k".repeat(40_000);
    let config = format!("{{\"key\":\"{key}\",\"rate\":7,\"per_seconds\":60,\"algorithm\":\"token_bucket\"}}");
    let event = format!("{{\"type\":\"LIMIT_CONFIGURED\",\"config\":{config}}}");
    disk.write_file(files::LEGACY_AOF, format!("{{\"ts\":\"2026-01-01T00:00:15Z\",\"event\":{event}}}\n").as_bytes());
    open(&disk).unwrap().close().unwrap();
    let again = open(&disk).unwrap();
    assert_eq!(again.counters().keys, 1);
    assert!(examine_in(&*disk.kill().dir()).unwrap().ok);
}
