//! A disk that fails or is full, with the background threads at work: what fails changes nothing, a failed fsync stops the engine
//! until it is reopened. A fault at every operation of whole scenarios is in `flint-torture`.

use std::sync::Arc;

use crate::support::eventually::wait_until;
use crate::support::recovery::{START, clock_at, everything, open_at, options, tokens, without_denials};
use flint_core::clock::ManualClock;
use flint_core::engine::{OnChange, Options, Severity, SyncMode};
use flint_core::testing::sim::{CrashPlan, Fault, SimDisk};
use flint_core::{Engine, Error};

fn store(sync: SyncMode) -> (SimDisk, Arc<ManualClock>, Engine) {
    let disk = SimDisk::new();
    let clock = clock_at(START);
    let engine = Engine::open_in(disk.dir(), options(sync, &clock)).unwrap();
    engine.limit("k", &tokens("1000/hour"), OnChange::Keep).unwrap();
    engine.flush().unwrap();
    (disk, clock, engine)
}

#[test]
fn a_failed_fsync_stops_the_engine_and_is_not_retried() {
    let (disk, _, engine) = store(SyncMode::Always);
    assert!(engine.check("k", 1, None).unwrap().allowed);
    disk.set_fail(disk.ops(), Fault::FsyncFails, false);
    let error = engine.check("k", 1, None).unwrap_err();
    assert!(matches!(&error, Error::Storage { source, .. } if source.raw_os_error() == Some(libc::EIO)), "{error:?}");
    let ops = disk.ops();
    assert!(matches!(engine.check("k", 1, None), Err(Error::Stopped { errno: Some(libc::EIO), .. })));
    assert!(matches!(engine.peek("k", 1, None), Err(Error::Stopped { .. })));
    assert!(matches!(engine.status("k"), Err(Error::Stopped { .. })));
    assert!(matches!(engine.limit("l", &tokens("1/s"), OnChange::Keep), Err(Error::Stopped { .. })));
    assert!(matches!(engine.compact(), Err(Error::Stopped { .. })));
    assert!(matches!(engine.flush(), Err(Error::Stopped { .. })));
    assert!(engine.take_notices().iter().any(|notice| notice.severity == Severity::Error));
    assert!(matches!(engine.close(), Err(Error::Stopped { .. })));
    assert_eq!(disk.ops(), ops, "the disk was left alone");

    // The pages of the failed fsync look clean and are not on disk: reopening has to write them again.
    let engine = open_at(&disk, SyncMode::Always, START).unwrap();
    let allowed = engine.status("k").unwrap().unwrap().total_allowed;
    assert!((1..=2).contains(&allowed));
    let engine = open_at(&disk.power_cut(CrashPlan::LoseUnsynced), SyncMode::Always, START).unwrap();
    assert_eq!(engine.status("k").unwrap().unwrap().total_allowed, allowed);
}

#[test]
fn every_waiter_of_a_failed_fsync_gets_an_error() {
    let (disk, _, engine) = store(SyncMode::Always);
    disk.set_fail(disk.ops(), Fault::FsyncFails, false);
    std::thread::scope(|scope| {
        let calls: Vec<_> = (0..8).map(|_| scope.spawn(|| engine.check("k", 1, None))).collect();
        for call in calls {
            assert!(call.join().unwrap().is_err());
        }
    });
}

#[test]
fn in_batch_mode_the_next_call_flush_and_close_tell() {
    let (disk, _, engine) = store(SyncMode::Batch);
    disk.set_fail(disk.ops(), Fault::FsyncFails, false);
    for _ in 0..5 {
        // The fifth fills the batch; the flusher may be as quick as to stop the engine before the loop ends.
        drop(engine.check("k", 1, None));
    }
    wait_until("the flusher stops the engine", || engine.has_notices());
    assert!(matches!(engine.check("k", 1, None), Err(Error::Stopped { .. })));
    assert!(matches!(engine.flush(), Err(Error::Stopped { .. })));
    assert!(matches!(engine.close(), Err(Error::Stopped { .. })));
    open_at(&disk, SyncMode::Batch, START).unwrap();
}

#[test]
fn a_full_disk_refuses_writes_answers_the_rest_and_recovers() {
    for sync in [SyncMode::Always, SyncMode::Batch] {
        let (disk, clock, engine) = store(sync);
        engine.limit("small", &tokens("1/hour"), OnChange::Keep).unwrap();
        assert!(engine.check("small", 1, None).unwrap().allowed);
        engine.flush().unwrap();
        disk.set_full(true);
        let keys: Vec<String> = (0..8).map(|n| format!("{n}{}", "x".repeat(500))).collect();
        let specs = |n: u64| -> Vec<_> {
            let rate = tokens(&format!("{n}/hour"));
            keys.iter().map(|key| (key.as_str(), rate, OnChange::Keep)).collect()
        };
        // A spare may have been made before the disk was full.
        let mut before = everything(&engine);
        let error = (1..20)
            .find_map(|n| {
                before = everything(&engine);
                engine.limit_many(&specs(n)).err()
            })
            .expect("the log needs another segment");
        assert!(error.is_out_of_space(), "{error:?}");
        assert_eq!(everything(&engine), before, "a call that failed changed something");
        assert!(engine.compact().is_err());
        assert_eq!(everything(&engine), before, "a compaction that failed changed something");
        assert!(!engine.check("small", 1, None).unwrap().allowed, "denials need no room");
        assert!(engine.peek("k", 1, None).unwrap().allowed);
        // Room for the totals and the close record was kept.
        while engine.check("k", 1, None).is_ok() {}
        let before = everything(&engine);
        engine.close().unwrap();

        let engine = Engine::open_in(disk.dir(), options(sync, &clock)).unwrap();
        assert!(engine.recovery().clean);
        assert_eq!(everything(&engine), before);
        let error = engine.limit_many(&specs(30)).unwrap_err();
        assert!(error.is_out_of_space(), "{error:?}");
        disk.set_full(false);
        engine.limit_many(&specs(30)).unwrap();
        engine.compact().unwrap();
        let before = without_denials(everything(&engine));
        drop(engine);
        let engine = open_at(&disk.kill(), sync, START).unwrap();
        assert_eq!(without_denials(everything(&engine)), before);
    }
}

#[test]
fn a_failed_compaction_leaves_the_store_usable() {
    let begin = || {
        let (disk, clock, engine) = store(SyncMode::Always);
        for _ in 0..10 {
            engine.check("k", 1, None).unwrap();
        }
        let first = disk.ops();
        (disk, clock, engine, first)
    };
    let (disk, _, engine, first) = begin();
    engine.compact().unwrap();
    let operations = disk.ops() - first;
    let mut failures = 0;
    for op in 0.. {
        let (disk, clock, engine, first) = begin();
        disk.set_fail(first + op, Fault::Enospc, false);
        let result = engine.compact();
        if !disk.clear_fail() {
            result.unwrap();
            // A store into the mapping cannot fail; those behind it can.
            if op >= operations {
                break;
            }
            continue;
        }
        failures += usize::from(result.is_err());
        match engine.check("k", 1, None) {
            Ok(outcome) => {
                assert!(outcome.allowed);
                engine.compact().unwrap();
            }
            // The log itself could not be synced.
            Err(error) => assert!(matches!(error, Error::Stopped { .. }), "{error:?}"),
        }
        drop(engine);
        let engine =
            Engine::open_in(disk.dir(), Options { history_bytes: 0, ..options(SyncMode::Always, &clock) }).unwrap();
        let allowed = engine.status("k").unwrap().unwrap().total_allowed;
        assert!((10..=11).contains(&allowed), "{allowed}");
        engine.compact().unwrap();
        assert!(!disk.dir().list().unwrap().contains(&"flint-snapshot.tmp".to_owned()));
        assert!(engine.doctor().unwrap().ok);
    }
    assert!(failures >= 4, "{failures} of {operations}");
}
