//! Changing a key's limit: unchanged rates keep their state, new ones start with what was used, no key gets fresh quota.

use crate::support::engine::{HOUR, MINUTE, MODES, SECOND, World, bucket, limit};
use flint_core::engine::{OnChange, SyncMode};
use flint_core::image::Origin;
use flint_core::limit::{Algorithm, Limit};

fn rates(parts: &[(&str, Algorithm)]) -> Limit {
    let rates: Vec<_> = parts.iter().flat_map(|(text, algorithm)| limit(text, *algorithm).rates().to_vec()).collect();
    Limit::new(&rates).unwrap()
}

const BUCKET: Algorithm = Algorithm::TokenBucket;
const LOG: Algorithm = Algorithm::SlidingWindowLog;
const WINDOW: Algorithm = Algorithm::FixedWindowCounter;

#[test]
fn the_same_limit_again_writes_nothing() {
    for mode in MODES {
        let world = World::new(mode);
        let engine = world.open();
        let given = rates(&[("5/minute", BUCKET), ("9/hour", LOG)]);
        engine.limit("k", &given, OnChange::Keep).unwrap();
        engine.check("k", 3, None).unwrap();
        engine.flush().unwrap();
        let (before, ops, status) = (engine.counters(), world.disk.ops(), engine.status("k").unwrap());
        for on_change in [OnChange::Keep, OnChange::Reset] {
            engine.limit("k", &given, on_change).unwrap();
            engine.limit_many(&[("k", given, on_change)]).unwrap();
        }
        engine.limit_many(&[]).unwrap();
        assert_eq!(engine.counters(), before);
        assert_eq!(world.disk.ops(), ops);
        assert_eq!(engine.status("k").unwrap(), status);
    }
}

#[test]
fn limit_many_writes_only_what_changes_in_one_record() {
    let world = World::new(SyncMode::Batch);
    let engine = world.open();
    let specs: Vec<(String, Limit)> =
        (0..300).map(|i| (format!("k{i}"), bucket(&format!("{}/minute", i + 1)))).collect();
    let many = |specs: &[(String, Limit)]| {
        let specs: Vec<_> = specs.iter().map(|(key, limit)| (key.as_str(), *limit, OnChange::Keep)).collect();
        engine.limit_many(&specs).unwrap();
    };
    let seq = engine.counters().seq;
    many(&specs);
    let first = engine.counters();
    assert_eq!((first.seq, first.keys), (seq + 1, 300));
    let mut changed = specs.clone();
    changed[7].1 = bucket("1/day");
    many(&changed);
    let second = engine.counters();
    assert_eq!(second.seq, seq + 2);
    assert!(second.log_bytes - first.log_bytes < 200, "one key's limit, not three hundred");
    many(&changed);
    assert_eq!(engine.counters().seq, seq + 2);
    let before = engine.list(None, None, None).unwrap();
    engine.close().unwrap();
    assert_eq!(world.open().list(None, None, None).unwrap(), before);
}

#[test]
fn an_unchanged_rate_keeps_its_state_exactly_wherever_it_stands() {
    for algorithm in Algorithm::ALL {
        let world = World::new(SyncMode::Batch);
        let engine = world.open();
        engine.limit("k", &limit("7/minute; 20/hour", algorithm), OnChange::Keep).unwrap();
        world.clock.advance_ns(1_234_567_891);
        engine.check("k", 5, None).unwrap();
        world.clock.advance_ns(3 * SECOND + 1);
        let alone = |text: &str| {
            let copy = World { disk: world.disk.kill(), clock: world.clock.clone(), options: world.options.clone() };
            let engine = copy.open();
            engine.limit("k", &limit(text, algorithm), OnChange::Keep).unwrap();
            let status = engine.status("k").unwrap().unwrap();
            (status.remaining, status.reset_at_wall_ns, engine.peek("k", 7, None).unwrap().retry_after_ns)
        };
        let (minute, hour) = (alone("7/minute"), alone("20/hour"));
        engine.limit("k", &limit("40/day; 20/hour; 7/minute", algorithm), OnChange::Keep).unwrap();
        assert_eq!((alone("7/minute"), alone("20/hour")), (minute, hour));
    }
}

#[test]
fn changing_the_algorithm_gives_no_fresh_quota() {
    for from in Algorithm::ALL {
        for to in Algorithm::ALL.into_iter().filter(|to| *to != from) {
            let world = World::new(SyncMode::Batch);
            let engine = world.open();
            engine.limit("k", &limit("10/minute", from), OnChange::Keep).unwrap();
            assert!(engine.check("k", 8, None).unwrap().allowed);
            engine.limit("k", &limit("10/minute", to), OnChange::Keep).unwrap();
            let status = engine.status("k").unwrap().unwrap();
            assert_eq!(status.remaining, 2, "{from:?} to {to:?}");
            assert_eq!(status.total_allowed_cost, 8, "totals stay");
            engine.limit("k", &limit("10/minute", from), OnChange::Keep).unwrap();
            assert_eq!(engine.status("k").unwrap().unwrap().remaining, 2, "and back");
        }
    }
}

#[test]
fn a_new_window_starts_now() {
    let world = World::new(SyncMode::Batch);
    let engine = world.open();
    engine.limit("k", &limit("10/minute", WINDOW), OnChange::Keep).unwrap();
    engine.check("k", 6, None).unwrap();
    world.clock.advance_ns(59 * SECOND);
    engine.limit("k", &limit("10/hour", WINDOW), OnChange::Keep).unwrap();
    let got = engine.check("k", 1, None).unwrap();
    assert_eq!((got.remaining, got.reset_after_ns), (3, HOUR));
    // Nothing is carried out of a window that is over.
    world.clock.advance_ns(HOUR);
    engine.limit("k", &limit("10/2h", WINDOW), OnChange::Keep).unwrap();
    let status = engine.status("k").unwrap().unwrap();
    assert_eq!(status.remaining, 10);
    world.clock.advance_ns(MINUTE);
    assert_eq!(
        engine.check("k", 1, None).unwrap().reset_after_ns,
        2 * HOUR,
        "its window starts at its first consumption"
    );
}

#[test]
fn what_is_carried_is_the_largest_use_rounded_up_and_at_most_the_capacity() {
    let world = World::new(SyncMode::Batch);
    let engine = world.open();
    engine.limit("k", &rates(&[("10/s", BUCKET), ("100/hour", LOG)]), OnChange::Keep).unwrap();
    for _ in 0..5 {
        engine.check("k", 10, None).unwrap();
        world.clock.advance_ns(SECOND);
    }
    // The bucket is full again; the log holds 50.
    engine.limit("k", &bucket("80/hour"), OnChange::Keep).unwrap();
    assert_eq!(engine.status("k").unwrap().unwrap().remaining, 30);
    engine.limit("k", &bucket("20/hour"), OnChange::Keep).unwrap();
    assert_eq!(engine.status("k").unwrap().unwrap().remaining, 0, "at most what it holds");
    // After 180 s one token is back, after one nanosecond less it counts as used.
    world.clock.advance_ns(180 * SECOND - 1);
    engine.limit("k", &limit("20/hour", WINDOW), OnChange::Keep).unwrap();
    assert_eq!(engine.status("k").unwrap().unwrap().remaining, 0, "a started token counts whole");
}

#[test]
fn reset_starts_afresh() {
    for algorithm in Algorithm::ALL {
        let world = World::new(SyncMode::Batch);
        let engine = world.open();
        engine.limit("k", &limit("5/minute; 9/hour", algorithm), OnChange::Keep).unwrap();
        engine.check("k", 5, None).unwrap();
        engine.limit("k", &limit("5/minute; 8/hour", algorithm), OnChange::Reset).unwrap();
        let status = engine.status("k").unwrap().unwrap();
        assert_eq!((status.remaining, status.total_allowed_cost), (5, 5));
        let before = engine.list(None, None, None).unwrap();
        drop(engine);
        assert_eq!(world.open().list(None, None, None).unwrap(), before);
    }
}

#[test]
fn equal_rates_in_one_limit_keep_their_own_states() {
    let world = World::new(SyncMode::Batch);
    let engine = world.open();
    engine.limit("k", &bucket("5/minute"), OnChange::Keep).unwrap();
    engine.check("k", 2, None).unwrap();
    engine.limit("k", &bucket("5/minute; 5/minute"), OnChange::Keep).unwrap();
    engine.check("k", 1, None).unwrap();
    let before = engine.status("k").unwrap().unwrap();
    assert_eq!((before.remaining, before.rates.len()), (2, 2));
    engine.close().unwrap();
    assert_eq!(world.open().status("k").unwrap().unwrap(), before);
}

#[test]
fn configuring_a_key_that_a_call_made_makes_it_explicit() {
    let world = World::new(SyncMode::Batch);
    let engine = world.open();
    let given = bucket("5/minute");
    engine.check("k", 2, Some(&given)).unwrap();
    assert_eq!(engine.status("k").unwrap().unwrap().origin, Origin::Call);
    engine.limit("k", &given, OnChange::Keep).unwrap();
    let status = engine.status("k").unwrap().unwrap();
    assert_eq!((status.origin, status.remaining), (Origin::Explicit, 3), "the same rate keeps its state");
}

#[test]
fn growing_and_shrinking_many_times_leaves_nothing_behind() {
    let world = World::new(SyncMode::Batch);
    let engine = world.open();
    for round in 0..200_u64 {
        let text: Vec<String> = (0..=round % 8).map(|n| format!("{}/{}s", 50 + round % 3, 10 + n)).collect();
        engine
            .limit("k", &limit(&text.join(";"), Algorithm::ALL[usize::try_from(round % 3).unwrap()]), OnChange::Keep)
            .unwrap();
        engine.check("k", 1, None).unwrap();
        world.clock.advance_ns(SECOND);
        engine.limit("other", &bucket(&format!("{}/s;7/m", round + 1)), OnChange::Keep).unwrap();
    }
    assert_eq!(engine.status("other").unwrap().unwrap().remaining, 7, "another key's rates are not mixed up with it");
    let before = engine.list(None, None, None).unwrap();
    engine.compact().unwrap();
    engine.close().unwrap();
    assert_eq!(world.open().list(None, None, None).unwrap(), before);
}
