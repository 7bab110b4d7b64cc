//! However much a key has, the lock is held for a bounded amount of work: scans, compactions, and calls that read or replace a
//! sliding log of many runs.

use crate::support::engine::{MS, World, bucket, limit};
use flint_core::Engine;
use flint_core::engine::{OnChange, SLICE_RATES, SyncMode};
use flint_core::limit::Algorithm;

const RUNS: usize = 6_000;
/// Keys, runs, and blocks of runs that one slice may visit.
const SLICE: u64 = 5_000;
/// The same for a call that concerns one key.
const CALL: u64 = 300;

/// A store in which four sliding logs have [`RUNS`] runs each, and a few other keys.
fn filled() -> (World, Engine) {
    let world = World::new(SyncMode::Batch);
    let engine = world.open();
    let log = limit("900000/day", Algorithm::SlidingWindowLog);
    for key in ["log-0", "log-1", "log-2", "log-3"] {
        engine.limit(key, &log, OnChange::Keep).unwrap();
    }
    engine.limit("other", &bucket("5/day"), OnChange::Keep).unwrap();
    for _ in 0..RUNS {
        world.clock.advance_ns(MS);
        for key in ["log-0", "log-1", "log-2", "log-3"] {
            engine.check(key, 1, None).unwrap();
        }
    }
    (world, engine)
}

/// How many runs and blocks of runs `call` visits.
fn visits(engine: &Engine, call: impl FnOnce(&Engine)) -> u64 {
    let before = engine.visited_runs().unwrap();
    call(engine);
    engine.visited_runs().unwrap() - before
}

#[test]
fn a_slice_of_a_compaction_is_bounded_by_its_work() {
    let (world, engine) = filled();
    engine.compact().unwrap();
    let scanned = engine.scanned().unwrap();
    assert!((RUNS as u64 / 100..SLICE).contains(&scanned.most_work), "{scanned:?}");
    let images = engine.images().unwrap();
    assert_eq!(images[0].states[0].len(), 2 * RUNS);
    engine.close().unwrap();
    assert_eq!(world.open().images().unwrap(), images);
}

#[test]
fn a_slice_of_a_listing_is_bounded_by_its_work() {
    let (_world, engine) = filled();
    let before = engine.visited_runs().unwrap();
    assert_eq!(engine.list(None, None, None).unwrap().len(), 5);
    engine.aggregate().unwrap();
    assert!(engine.visited_runs().unwrap() - before < 2 * 4 * CALL);
}

#[test]
fn a_call_on_a_long_log_visits_few_of_its_runs() {
    let (world, engine) = filled();
    world.clock.advance_ns(86_400_000 * MS - RUNS as u64 / 2 * MS);
    let peeked = visits(&engine, |engine| {
        let outcome = engine.peek("log-0", 1, None).unwrap();
        assert_eq!(outcome.remaining, 900_000 - 1 - RUNS as u64 / 2);
        assert!(engine.peek("log-0", 900_000, None).unwrap().retry_after_ns > 0);
    });
    assert!(peeked < CALL, "{peeked}");
    let changed = visits(&engine, |engine| {
        let other = limit("800000/day", Algorithm::SlidingWindowLog);
        engine.limit_many(&[("log-1", other, OnChange::Keep), ("log-2", other, OnChange::Reset)]).unwrap();
    });
    assert!(changed < 2 * CALL, "{changed}");
    let expired = visits(&engine, |engine| {
        assert!(engine.check("log-0", 1, None).unwrap().allowed);
        engine.reset("log-0").unwrap();
        engine.delete("log-3").unwrap();
    });
    assert!(expired < 3 * CALL, "{expired}");
}

#[test]
fn limit_many_sets_a_bounded_number_of_rates_at_a_time() {
    let world = World::new(SyncMode::Batch);
    let engine = world.open();
    let (one, several) = (bucket("5/day"), bucket("1/s; 20/m; 300/h; 4000/d"));
    let keys: Vec<String> = (0..2_000).map(|number| format!("key-{number:05}")).collect();
    let specs: Vec<_> = keys
        .iter()
        .enumerate()
        .map(|(number, key)| (key.as_str(), if number % 10 == 0 { several } else { one }, OnChange::Keep))
        .collect();
    let before = engine.counters().seq;
    engine.limit_many(&specs).unwrap();
    let rates = 200 * 4 + 1_800;
    let work = engine.scanned().unwrap().most_work;
    assert!((SLICE_RATES as u64 - 3..=SLICE_RATES as u64).contains(&work), "{work}");
    assert_eq!(engine.counters().seq - before, rates / SLICE_RATES as u64 + 1);
    // The same again, and a part of it: nothing is written.
    engine.limit_many(&specs).unwrap();
    engine.limit_many(&specs[..1_500]).unwrap();
    assert_eq!(engine.counters().seq - before, rates / SLICE_RATES as u64 + 1);
    let images = engine.images().unwrap();
    assert_eq!(images.len(), keys.len());
    engine.close().unwrap();
    assert_eq!(world.open().images().unwrap(), images);
}

#[test]
fn limits_of_one_slice_are_one_record() {
    let world = World::new(SyncMode::Batch);
    let engine = world.open();
    let keys: Vec<String> = (0..=SLICE_RATES).map(|number| format!("key-{number:05}")).collect();
    let specs: Vec<_> = keys.iter().map(|key| (key.as_str(), bucket("5/day"), OnChange::Keep)).collect();
    for (specs, records) in [(&specs[1..], 1), (&specs[..], 1)] {
        let before = engine.counters().seq;
        engine.limit_many(specs).unwrap();
        assert_eq!(engine.counters().seq - before, records);
    }
    assert_eq!(engine.list(None, None, None).unwrap().len(), keys.len());
}

#[test]
fn a_forecast_copies_few_runs() {
    let (_world, engine) = filled();
    let forecast = visits(&engine, |engine| {
        assert!(engine.forecast("log-0", None, &[900_000, 1]).unwrap() > 0);
    });
    assert!(forecast < SLICE, "{forecast}");
}
