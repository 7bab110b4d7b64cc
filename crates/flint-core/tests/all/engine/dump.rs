//! The log as records for people, all of it or as it grows, beside its writer.

use crate::support::engine::{HOUR, SECOND, World, bucket};
use flint_core::clock::Clock;
use flint_core::dump::{Dumped, Follower};
use flint_core::engine::{CallId, Check, CheckAll, Idempotent, Item, OnChange, SyncMode};
use flint_core::{Engine, files};
use serde_json::Value;

/// A store in segments of 16 KiB that keeps none which a snapshot covers.
fn without_history() -> World {
    let mut world = World::new(SyncMode::Batch);
    world.options.history_bytes = 0;
    world.options.threads = false;
    world
}

fn first_segment(world: &World) -> u64 {
    let names = world.disk.dir().list().unwrap();
    names.iter().filter_map(|name| files::parse_segment_name(name)).min().unwrap()
}

fn fill_segments(engine: &Engine, rotations: u64) {
    let until = engine.counters().rotations + rotations;
    while engine.counters().rotations < until {
        engine.check("k", 1, None).unwrap();
    }
}

/// What one look finds: records, and gaps as `Err`.
fn look(follower: &mut Follower) -> Vec<Result<Value, (u64, u64)>> {
    let mut found = Vec::new();
    let goes_on = follower.look(&mut |dumped| {
        found.push(match dumped {
            Dumped::Record(record) => Ok(serde_json::from_str(&record.json).unwrap()),
            Dumped::Gap { from, to } => Err((from, to)),
        });
        true
    });
    assert!(goes_on.unwrap());
    found
}

fn numbers(found: &[Result<Value, (u64, u64)>]) -> Vec<u64> {
    found.iter().map(|record| record.as_ref().expect("no gap")["seq"].as_u64().unwrap()).collect()
}

#[test]
fn keys_and_times_come_from_the_snapshot_where_the_log_has_lost_them() {
    let world = without_history();
    let engine = world.open();
    engine.limit("k", &bucket("1000000/day"), OnChange::Keep).unwrap();
    // Engine time and wall time part, and the anchor that says so goes with the first segment.
    world.clock.set_wall_ns(world.clock.wall_ns() + 12 * HOUR);
    engine.flush().unwrap();
    fill_segments(&engine, 2);
    engine.compact().unwrap();
    assert!(first_segment(&world) > 1);
    for after in [0, engine.counters().seq - 3] {
        let found = look(&mut Follower::open_in(world.disk.dir(), after));
        let allowed: Vec<&Value> = found.iter().flatten().filter(|record| record["type"] == "ALLOW").collect();
        assert!(!allowed.is_empty());
        for record in allowed {
            assert_eq!(record["key"], "k");
            let engine_ns = record["engine_ns"].as_u64().unwrap();
            assert_eq!(world.clock.wall_ns() - engine_ns, 12 * HOUR, "{record}");
            assert!(record["at"].as_str().unwrap().starts_with("2023-11-15T10:13:20"), "{record}");
        }
    }
}

#[test]
fn records_that_compaction_removed_between_two_looks_are_reported_as_a_gap() {
    let world = without_history();
    let engine = world.open();
    engine.limit("k", &bucket("1000000/day"), OnChange::Keep).unwrap();
    let mut follower = Follower::open_in(world.disk.dir(), 0);
    let seen = numbers(&look(&mut follower));
    assert_eq!(seen, (1..=engine.counters().seq).collect::<Vec<_>>());
    fill_segments(&engine, 1);
    let held_until = engine.counters().seq - 1;
    fill_segments(&engine, 2);
    engine.limit("new", &bucket("7/day"), OnChange::Keep).unwrap();
    fill_segments(&engine, 1);
    engine.compact().unwrap();
    engine.check("new", 1, None).unwrap();
    let first = first_segment(&world);
    let found = look(&mut follower);
    let gaps: Vec<_> = found.iter().filter_map(|found| found.as_ref().err()).collect();
    assert_eq!(gaps, [&(held_until + 1, first - 1)], "the segment that was being read is read to its end");
    let read: Vec<u64> = found.iter().flatten().map(|record| record["seq"].as_u64().unwrap()).collect();
    let expected = (seen.len() as u64 + 1..=held_until).chain(first..=engine.counters().seq);
    assert_eq!(read, expected.collect::<Vec<_>>());
    assert_eq!(found.last().unwrap().as_ref().unwrap()["key"], "new", "the snapshot names what came in the gap");
    assert_eq!(look(&mut follower), []);

    let mut late = Follower::open_in(world.disk.dir(), 2);
    assert_eq!(look(&mut late)[0], Err((3, first - 1)), "a reader learns that a record is gone");
    let mut from_the_start = Follower::open_in(world.disk.dir(), 0);
    assert_eq!(numbers(&look(&mut from_the_start))[0], first, "a reader of what there is does not");
}

#[test]
fn nothing_is_lost_between_looks_while_segments_are_kept() {
    let mut world = without_history();
    world.options.history_bytes = 1 << 30;
    let engine = world.open();
    engine.limit("k", &bucket("1000000/day"), OnChange::Keep).unwrap();
    let mut follower = Follower::open_in(world.disk.dir(), 0);
    let mut seen = Vec::new();
    for round in 0..600 {
        engine.check("k", 1, None).unwrap();
        match round % 97 {
            0 => engine.compact().unwrap(),
            1..=4 => seen.extend(numbers(&look(&mut follower))),
            _ => {}
        }
    }
    seen.extend(numbers(&look(&mut follower)));
    assert!(engine.counters().rotations > 1);
    assert_eq!(seen, (1..=engine.counters().seq).collect::<Vec<_>>());
    assert_eq!(follower.newest(), engine.counters().seq);
    // Across the end of one writer and the start of the next, too.
    engine.close().unwrap();
    seen.extend(numbers(&look(&mut follower)));
    world.clock.advance_ns(SECOND);
    let engine = world.open();
    engine.check("k", 1, None).unwrap();
    seen.extend(numbers(&look(&mut follower)));
    assert_eq!(seen, (1..=engine.counters().seq).collect::<Vec<_>>());
}

#[test]
fn a_look_at_a_log_that_did_not_grow_reads_next_to_nothing() {
    let mut world = without_history();
    world.options.history_bytes = 1 << 30;
    let engine = world.open();
    engine.limit("k", &bucket("1000000/day"), OnChange::Keep).unwrap();
    fill_segments(&engine, 5);
    let mut follower = Follower::open_in(world.disk.dir(), 0);
    let reads_of = |follower: &mut Follower, records: usize| {
        let before = world.disk.reads();
        assert_eq!(look(follower).len(), records);
        world.disk.reads() - before
    };
    let whole = reads_of(&mut follower, usize::try_from(engine.counters().seq).unwrap());
    // Two listings, the newest segment opened and measured, one header.
    let idle = reads_of(&mut follower, 0);
    assert!(idle <= 5 && idle < whole, "{idle} of {whole}");
    engine.check("k", 1, None).unwrap();
    assert_eq!(reads_of(&mut follower, 1), idle + 1, "the newest segment alone");
}

#[test]
fn calls_that_may_be_repeated_look_like_any_other_with_their_id() {
    let world = World::new(SyncMode::Batch);
    let engine = world.open();
    engine.limit("k", &bucket("100/hour"), OnChange::Keep).unwrap();
    let call = |number| CallId { id: [number; 16], fingerprint: [0xa0 | number; 8] };
    let (plain, brought) = (Item { key: "k", cost: 3, limit: None }, bucket("9/hour"));
    let with_limit = Item { key: "new", cost: 2, limit: Some(&brought) };
    engine.run(&Idempotent { operation: Check::new(plain), call: call(1) }).unwrap();
    engine.run(&Idempotent { operation: Check::new(with_limit), call: call(2) }).unwrap();
    engine.run(&Idempotent { operation: CheckAll { items: &[plain, with_limit] }, call: call(3) }).unwrap();
    let found: Vec<Value> = look(&mut Follower::open_in(world.disk.dir(), 0))
        .into_iter()
        .flatten()
        .filter(|r| r["type"] != "ANCHOR")
        .collect();
    let call = |number: u8| {
        let (id, fingerprint) = (format!("{number:02x}").repeat(16), format!("a{number:x}").repeat(8));
        serde_json::json!({ "id": id, "fingerprint": fingerprint })
    };
    let [_, one, given, all] = &found[..] else { panic!("{found:?}") };
    assert_eq!((&one["type"], &one["key"], &one["cost"]), (&"ALLOW".into(), &"k".into(), &3.into()));
    assert_eq!((one["receipt"].clone(), one.get("items")), (call(1), None));
    let types = |record: &Value| -> Vec<Value> {
        record["items"].as_array().unwrap().iter().map(|item| item["type"].clone()).collect()
    };
    assert_eq!(
        (&given["type"], types(given)),
        (&"ALLOW_WITH_LIMIT".into(), vec!["LIMIT_CONFIGURED".into(), "ALLOW".into()])
    );
    assert_eq!(given["receipt"], call(2));
    assert_eq!((&all["type"], types(all)), (&"ALLOW_ALL".into(), vec!["ALLOW".into(), "ALLOW".into()]));
    assert_eq!(all["receipt"], call(3));
    // The doctor counts what happened to keys, not what was answered.
    assert_eq!(engine.doctor().unwrap().history_events, 1 + 1 + 2 + 2);
}
