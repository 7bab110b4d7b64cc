//! The thinnest path: from a call through the log to recovery.

use std::sync::Arc;

use flint_core::Engine;
use flint_core::clock::ManualClock;
use flint_core::engine::{Item, OnChange, Options, SyncMode};
use flint_core::limit::{Algorithm, parse_limit};
use flint_core::testing::sim::SimDisk;

const SECOND: u64 = 1_000_000_000;

fn options(clock: &Arc<ManualClock>, sync: SyncMode) -> Options {
    Options { sync, segment_bytes: 16 << 10, clock: clock.clone(), ..Options::default() }
}

#[test]
fn what_was_consumed_is_consumed_after_reopening() {
    for sync in [SyncMode::Always, SyncMode::Batch] {
        for algorithm in Algorithm::ALL {
            let disk = SimDisk::new();
            let clock = Arc::new(ManualClock::new(1_700_000_000 * SECOND));
            let engine = Engine::open_in(disk.dir(), options(&clock, sync)).unwrap();
            let limit = parse_limit("5/minute; 8/hour", algorithm).unwrap();
            engine.limit("k", &limit, OnChange::Keep).unwrap();
            for left in (0..5).rev() {
                let outcome = engine.check("k", 1, None).unwrap();
                assert!(outcome.allowed);
                assert_eq!(outcome.remaining, left);
            }
            let denied = engine.check("k", 1, None).unwrap();
            assert!(!denied.allowed);
            clock.advance_ns(denied.retry_after_ns);
            assert!(engine.check("k", 1, None).unwrap().allowed);
            let before = engine.status("k").unwrap().unwrap();
            engine.close().unwrap();

            let engine = Engine::open_in(disk.dir(), options(&clock, sync)).unwrap();
            assert!(engine.recovery().clean);
            assert_eq!(engine.status("k").unwrap().unwrap(), before);
            let multi = engine.check_all(&[Item { key: "k", cost: 3, limit: None }]).unwrap();
            assert!(!multi.allowed);
            assert_eq!(multi.denied, Some(0));
        }
    }
}

#[test]
fn thousands_of_checks_rotate_segments_and_survive() {
    let disk = SimDisk::new();
    let clock = Arc::new(ManualClock::new(1_700_000_000 * SECOND));
    let engine = Engine::open_in(disk.dir(), options(&clock, SyncMode::Batch)).unwrap();
    let limit = parse_limit("1000000/hour", Algorithm::TokenBucket).unwrap();
    engine.limit("k", &limit, OnChange::Keep).unwrap();
    for _ in 0..5_000 {
        clock.advance_ns(1_000);
        assert!(engine.check("k", 1, None).unwrap().allowed);
    }
    assert!(engine.counters().rotations > 10);
    let before = engine.status("k").unwrap();
    engine.compact().unwrap();
    for _ in 0..50 {
        assert!(engine.check("k", 1, None).unwrap().allowed);
    }
    drop(engine);
    let engine = Engine::open_in(disk.kill().dir(), options(&clock, SyncMode::Batch)).unwrap();
    assert_eq!(engine.status("k").unwrap().unwrap().total_allowed, before.unwrap().total_allowed + 50);
    let report = engine.doctor().unwrap();
    assert!(report.ok, "{report:?}");
    assert_eq!(engine.history("k", 10).unwrap().len(), 10);
}
