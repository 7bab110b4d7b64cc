//! Denials cost no disk: nothing is written or synced when they happen, totals follow at most once a minute.

use std::collections::BTreeMap;

use crate::support::engine::{HOUR, MINUTE, MODES, SECOND, World, bucket, item, limit};
use flint_core::engine::{EventKind, OnChange, SyncMode, TopBy};
use flint_core::limit::Algorithm;
use flint_core::storage::Dir;

/// Syncs that the threads of a store may still owe are done after this.
fn settle(engine: &flint_core::Engine, world: &World) {
    engine.flush().unwrap();
    let mut ops = world.disk.ops();
    // Twice the same means that the worker, which the flush woke, is idle again; a busy machine only makes this longer.
    for _ in 0..5 {
        std::thread::sleep(std::time::Duration::from_millis(5));
        let now = world.disk.ops();
        if now == ops {
            return;
        }
        ops = now;
    }
}

fn log_bytes(dir: &dyn Dir) -> u64 {
    let names = dir.list().unwrap();
    let segments = names.iter().filter(|name| name.ends_with(".aof"));
    segments.map(|name| dir.open(name, flint_core::storage::Mode::Read).unwrap().len().unwrap()).sum()
}

#[test]
fn a_million_denials_of_one_key_touch_no_file() {
    for mode in MODES {
        let world = World::new(mode);
        let engine = world.open();
        engine.limit("k", &bucket("1/day"), OnChange::Keep).unwrap();
        engine.check("k", 1, None).unwrap();
        settle(&engine, &world);
        let (ops, before) = (world.disk.ops(), engine.counters());
        for _ in 0..1_000_000 {
            let outcome = engine.check("k", 1, None).unwrap();
            assert!(!outcome.allowed && !engine.must_wait(outcome.seq));
        }
        assert_eq!(world.disk.ops(), ops);
        let after = engine.counters();
        assert_eq!((after.seq, after.syncs, after.log_bytes), (before.seq, before.syncs, before.log_bytes));
        assert_eq!(after.denied, before.denied + 1_000_000);
        assert_eq!(engine.status("k").unwrap().unwrap().total_denied, 1_000_000);
        engine.close().unwrap();
        assert!(engine.counters().log_bytes < 1_000);
        assert!(log_bytes(&*world.disk.dir()) <= 16 << 10);
        assert_eq!(world.open().status("k").unwrap().unwrap().total_denied, 1_000_000);
    }
}

#[test]
fn every_kind_of_denial_is_free() {
    for algorithm in Algorithm::ALL {
        let world = World::new(SyncMode::Always);
        let engine = world.open();
        engine.limit("k", &limit("2/day; 3/week", algorithm), OnChange::Keep).unwrap();
        engine.limit("free", &limit("2/day", algorithm), OnChange::Keep).unwrap();
        engine.check("k", 2, None).unwrap();
        engine.check("call", 2, Some(&bucket("2/day"))).unwrap();
        settle(&engine, &world);
        let (ops, seq) = (world.disk.ops(), engine.counters().seq);
        for _ in 0..1_000 {
            assert!(!engine.check("k", 1, None).unwrap().allowed);
            assert!(!engine.check("call", 2, Some(&bucket("2/day"))).unwrap().allowed);
            assert!(!engine.check_all(&[item("free", 1), item("k", 1)]).unwrap().allowed);
        }
        assert_eq!((world.disk.ops(), engine.counters().seq), (ops, seq));
    }
}

/// An attacker that is denied for hours.
#[test]
fn hours_of_denials_grow_the_log_by_one_line_a_minute_and_syncs_nothing() {
    let mut world = World::new(SyncMode::Batch);
    // The one allowed check must not leave a flush for later.
    world.options.flush_every_ms = HOUR / 1_000_000;
    let engine = world.open();
    engine.limit("k", &bucket("1/365d"), OnChange::Keep).unwrap();
    engine.check("k", 1, None).unwrap();
    settle(&engine, &world);
    let before = engine.counters();
    for second in 0..3_600 * 4 {
        for _ in 0..3 {
            assert!(!engine.check("k", 1, None).unwrap().allowed);
        }
        world.clock.advance_ns(SECOND);
        if second % 60 == 0 {
            // The worker runs when it is due; it gets the time to.
            let seq = engine.counters().seq;
            for _ in 0..50 {
                if engine.counters().seq != seq {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_micros(50));
            }
        }
    }
    let after = engine.counters();
    let records = after.seq - before.seq;
    assert!((1..=240).contains(&records), "{records} records in 240 minutes");
    assert_eq!(after.log_bytes - before.log_bytes, records * 88);
    assert_eq!(after.syncs, before.syncs, "no call waited for the disk");
    let history = engine.history("k", 10_000).unwrap();
    let denied: u64 = history.iter().filter(|event| event.kind == EventKind::Deny).map(|event| event.count).sum();
    assert_eq!(denied, 3_600 * 4 * 3, "all of them are reported, written or not");
    engine.close().unwrap();
    assert_eq!(world.open().status("k").unwrap().unwrap().total_denied, 3_600 * 4 * 3);
}

#[test]
fn totals_are_saved_at_close_and_at_compaction() {
    for compact in [false, true] {
        let world = World::new(SyncMode::Always);
        let engine = world.open();
        for key in 0..300 {
            engine.check(&format!("k{key}"), 5, Some(&bucket("5/day"))).unwrap();
        }
        for key in 0..300 {
            for _ in 0..key % 5 {
                world.clock.advance_ns(1);
                engine.check(&format!("k{key}"), 2, None).unwrap();
            }
        }
        let before = engine.list(None, None, None).unwrap();
        let disk = if compact {
            engine.compact().unwrap();
            world.disk.kill()
        } else {
            engine.close().unwrap();
            world.disk.clone()
        };
        let world = World { disk, clock: world.clock.clone(), options: world.options.clone() };
        let after = world.open().list(None, None, None).unwrap();
        assert_eq!(after, before);
        let totals: BTreeMap<_, _> =
            after.iter().map(|status| (status.key.as_str(), status.total_denied_cost)).collect();
        assert_eq!((totals["k0"], totals["k299"]), (0, 8));
    }
}

#[test]
fn a_death_without_close_loses_denials_only() {
    let world = World::new(SyncMode::Batch);
    let engine = world.open();
    engine.limit("k", &bucket("3/day"), OnChange::Keep).unwrap();
    engine.check("k", 3, None).unwrap();
    for _ in 0..10 {
        engine.check("k", 1, None).unwrap();
    }
    let before = engine.status("k").unwrap().unwrap();
    let killed = World { disk: world.disk.kill(), clock: world.clock.clone(), options: world.options.clone() };
    let engine = killed.open();
    let mut after = engine.status("k").unwrap().unwrap();
    assert_eq!((after.total_denied, after.last_denied_at_ns), (0, None));
    (after.whole.total_denied, after.whole.total_denied_cost) = (before.total_denied, before.total_denied_cost);
    after.whole.last_denied_at_ns = before.last_denied_at_ns;
    assert_eq!(after, before);
    assert!(!engine.check("k", 1, None).unwrap().allowed, "still denied");
}

#[test]
fn denials_of_keys_that_come_and_go_are_counted_for_the_right_one() {
    let world = World::new(SyncMode::Batch);
    let engine = world.open();
    let given = bucket("1/day");
    for round in 1..=50 {
        engine.check("k", 1, Some(&given)).unwrap();
        for _ in 0..round {
            engine.check("k", 1, None).unwrap();
        }
        assert_eq!(engine.status("k").unwrap().unwrap().total_denied, round);
        let events = engine.history("k", 1).unwrap();
        assert_eq!((events[0].kind, events[0].count), (EventKind::Deny, round));
        engine.delete("k").unwrap();
        engine.check("other", 1, Some(&given)).unwrap();
    }
    assert_eq!(engine.top(TopBy::Denied, 5).unwrap()[0].key, "other");
    engine.check("k", 1, Some(&given)).unwrap();
    let before = engine.list(None, None, None).unwrap();
    assert_eq!(before[0].total_denied, 0);
    engine.close().unwrap();
    assert_eq!(world.open().list(None, None, None).unwrap(), before);
}

#[test]
fn times_of_denials_survive() {
    let world = World::new(SyncMode::Batch);
    let engine = world.open();
    engine.limit("k", &bucket("1/day"), OnChange::Keep).unwrap();
    engine.check("k", 1, None).unwrap();
    world.clock.advance_ns(HOUR);
    engine.check("k", 1, None).unwrap();
    world.clock.advance_ns(MINUTE / 2);
    let status = engine.status("k").unwrap().unwrap();
    assert_eq!(status.last_denied_at_ns.unwrap() - status.last_allowed_at_ns.unwrap(), HOUR);
    engine.close().unwrap();
    world.clock.advance_ns(HOUR);
    let later = world.open().status("k").unwrap().unwrap();
    assert_eq!(
        (later.last_denied_at_ns, later.last_allowed_at_ns),
        (status.last_denied_at_ns, status.last_allowed_at_ns)
    );
}

#[test]
fn room_is_kept_for_keys_that_are_denied_for_the_first_time_on_a_full_disk() {
    for sync in MODES {
        let world = World::new(sync);
        let engine = world.open();
        engine.limit("filler", &bucket("1000000/hour"), OnChange::Keep).unwrap();
        let keys: Vec<String> = (0..30).map(|n| format!("k{n}")).collect();
        for key in &keys {
            engine.limit(key, &bucket("1/hour"), OnChange::Keep).unwrap();
            assert!(engine.check(key, 1, None).unwrap().allowed);
        }
        engine.flush().unwrap();
        world.disk.set_full(true);
        while engine.check("filler", 1, None).is_ok() {}
        for key in &keys {
            assert!(!engine.check(key, 1, None).unwrap().allowed);
        }
        engine.close().unwrap();
        let engine = world.open();
        for key in &keys {
            assert_eq!(engine.status(key).unwrap().unwrap().total_denied, 1, "{key}");
        }
    }
}
