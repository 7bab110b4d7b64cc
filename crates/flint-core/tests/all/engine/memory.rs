//! The memory of keys follows those that are alive, whatever was deleted before, and nothing is lost when it is given back.

use crate::support::engine::{MS, World, bucket, limit};
use flint_core::Engine;
use flint_core::engine::{Event, OnChange, SyncMode, TopBy};
use flint_core::limit::{Algorithm, Limit};

fn add(engine: &Engine, names: &[String], limit: &Limit) {
    let specs: Vec<_> = names.iter().map(|key| (key.as_str(), *limit, OnChange::Keep)).collect();
    engine.limit_many(&specs).unwrap();
}

fn keys(engine: &Engine) -> Vec<String> {
    engine.list(None, None, None).unwrap().into_iter().map(|status| status.key).collect()
}

fn opened() -> (World, Engine) {
    let mut world = World::new(SyncMode::Batch);
    world.options.segment_bytes = 1 << 20;
    // What the threads would do is done by `turn`.
    world.options.threads = false;
    let engine = world.open();
    (world, engine)
}

/// Bytes that this many new keys need in a store of their own.
fn needed(names: &[String], limit: &Limit) -> usize {
    let (_world, engine) = opened();
    add(&engine, names, limit);
    engine.held_bytes().unwrap()
}

#[test]
fn generations_of_keys_of_any_length_need_the_memory_of_one() {
    let (_world, engine) = opened();
    let (one, two) = (bucket("5/day"), bucket("5/second; 100/day"));
    let mut most = 0;
    for generation in 0..50_usize {
        let names: Vec<String> = (0..1_000).map(|i| format!("{generation}-{i:0>0$}", 4 + generation)).collect();
        add(&engine, &names, if generation % 2 == 0 { &two } else { &one });
        most = most.max(engine.held_bytes().unwrap());
        for name in &names {
            engine.delete(name).unwrap();
        }
    }
    let longest: Vec<String> = (0..1_000).map(|i| format!("49-{i:053}")).collect();
    assert!(most < 2 * needed(&longest, &two), "{most} bytes");
}

#[test]
fn memory_is_given_back_when_most_keys_are_deleted() {
    for kept in [0, 1, 10] {
        let (world, engine) = opened();
        let two = bucket("5/second; 100/day");
        let names: Vec<String> = (0..20_000).map(|i| format!("key-{i:0>0$}", 6 + i % 9)).collect();
        add(&engine, &names, &two);
        let full = engine.held_bytes().unwrap();
        // The keys that are kept are far apart.
        let is_kept = |i: usize| kept > 0 && i % 100 < kept;
        for (i, name) in names.iter().enumerate() {
            engine.check(name, 1 + u64::try_from(i).unwrap() % 3, None).unwrap();
            if !is_kept(i) {
                engine.delete(name).unwrap();
            }
        }
        engine.turn().unwrap();
        let mut alive: Vec<String> =
            names.iter().enumerate().filter(|(i, _)| is_kept(*i)).map(|(_, k)| k.clone()).collect();
        let (held, needed) = (engine.held_bytes().unwrap(), needed(&alive, &two));
        // Of each array at least one chunk stays.
        assert!(held < 2 * needed + 500_000 && held < full / 4, "{held} bytes of {full} for {needed}");
        alive.sort_unstable();
        assert_eq!(keys(&engine), alive);
        let images = engine.images().unwrap();
        for (i, name) in names.iter().enumerate().filter(|(i, _)| is_kept(*i)) {
            let status = engine.status(name).unwrap().unwrap();
            assert_eq!((status.total_allowed, status.remaining), (1, 5 - (1 + i as u64 % 3)));
        }
        assert_eq!(engine.images().unwrap(), images);
        engine.close().unwrap();
        assert_eq!(world.open().images().unwrap(), images);
    }
}

#[test]
fn memory_of_sliding_logs_is_given_back() {
    let (world, engine) = opened();
    let log = limit("1000/day", Algorithm::SlidingWindowLog);
    let names: Vec<String> = (0..2_000).map(|i| format!("log-{i:04}")).collect();
    add(&engine, &names, &log);
    for round in 0..60 {
        world.clock.advance_ns(MS);
        for (i, name) in names.iter().enumerate() {
            if round < 10 || i % 10 == 0 {
                engine.check(name, 1, None).unwrap();
            }
        }
    }
    let full = engine.held_bytes().unwrap();
    for (i, name) in names.iter().enumerate() {
        if i % 20 > 1 {
            engine.delete(name).unwrap();
        }
    }
    let images = engine.images().unwrap();
    while engine.held_bytes().unwrap() > full / 2 {
        let before = engine.held_bytes().unwrap();
        engine.turn().unwrap();
        assert!(engine.held_bytes().unwrap() < before, "{before} bytes of {full} are kept");
    }
    assert_eq!(engine.images().unwrap(), images);
    for (i, name) in names.iter().enumerate().filter(|(i, _)| i % 20 <= 1) {
        let status = engine.status(name).unwrap().unwrap();
        assert_eq!(status.remaining, 1_000 - if i % 10 == 0 { 60 } else { 10 });
    }
}

#[test]
fn what_moves_keeps_its_unsaved_denials_and_its_place_in_a_listing() {
    let (_world, engine) = opened();
    let once = bucket("1/day");
    let names: Vec<String> = (0..10_000).map(|i| format!("key-{i:05}")).collect();
    add(&engine, &names[..9_000], &once);
    let first = engine.list(None, Some(10), None).unwrap();
    assert_eq!(first.last().unwrap().key, names[9]);
    // New keys are noted for the next page by their slots.
    add(&engine, &names[9_000..], &once);
    for name in &names[9_900..] {
        engine.check(name, 1, None).unwrap();
        assert!(!engine.check(name, 1, None).unwrap().allowed);
    }
    for name in &names[10..9_900] {
        engine.delete(name).unwrap();
    }
    let full = engine.held_bytes().unwrap();
    engine.turn().unwrap();
    assert!(engine.held_bytes().unwrap() < full / 2);
    let page: Vec<String> =
        engine.list(None, None, Some(&names[9])).unwrap().into_iter().map(|status| status.key).collect();
    assert_eq!(page, names[9_900..]);
    assert_eq!(engine.top(TopBy::Denied, 1_000).unwrap().len(), 100);
    let denials = |event: &Event| event.kind == flint_core::engine::EventKind::Deny;
    let history = engine.history(&names[9_999], 10).unwrap();
    assert_eq!(history.iter().filter(|event| denials(event)).count(), 1, "{history:?}");
}

#[test]
fn counters_of_a_key_stay_linked_while_they_move() {
    let (_world, engine) = opened();
    let limits = [bucket("5/day"), bucket("7/day"), limit("9/day", Algorithm::SlidingWindowLog)];
    let names: Vec<String> = (0..3_000).map(|i| format!("key-{i:04}")).collect();
    // The counters of a key are far apart.
    for limit in &limits {
        for name in &names {
            engine.check(name, 1, Some(limit)).unwrap();
        }
    }
    for name in &names[50..] {
        engine.delete(name).unwrap();
    }
    let images = engine.images().unwrap();
    let full = engine.held_bytes().unwrap();
    engine.turn().unwrap();
    assert!(engine.held_bytes().unwrap() < full / 2);
    assert_eq!(engine.images().unwrap(), images);
    for name in &names[..50] {
        let left = limits.each_ref().map(|limit| engine.check(name, 1, Some(limit)).unwrap().remaining);
        assert_eq!(left, [3, 5, 7]);
    }
    for name in &names[..50] {
        engine.delete(name).unwrap();
    }
    assert_eq!(engine.images().unwrap(), []);
}
