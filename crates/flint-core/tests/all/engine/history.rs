//! What happened to a key, as far back as the log is kept.

use crate::support::engine::{HOUR, MODES, SECOND, World, bucket, item, limit};
use flint_core::clock::Clock;
use flint_core::engine::{Event, EventKind, OnChange, SyncMode};
use flint_core::limit::Algorithm;

fn brief(events: &[Event]) -> Vec<(EventKind, u64, u64, Option<u64>)> {
    events.iter().map(|event| (event.kind, event.cost, event.count, event.remaining)).collect()
}

#[test]
fn every_kind_of_event_is_reported_in_order_before_and_after_reopening() {
    for mode in MODES {
        for algorithm in Algorithm::ALL {
            let world = World::new(mode);
            let start = world.clock.wall_ns();
            let step = || world.clock.advance_ns(1_000_000);
            let engine = world.open();
            engine.limit("k", &limit("5/day; 9/week", algorithm), OnChange::Keep).unwrap();
            engine.limit("other", &limit("5/day", algorithm), OnChange::Keep).unwrap();
            step();
            engine.check("k", 2, None).unwrap();
            step();
            engine.check_all(&[item("other", 4), item("k", 3)]).unwrap();
            step();
            for _ in 0..3 {
                step();
                engine.check("k", 2, None).unwrap();
            }
            engine.peek("k", 1, None).unwrap();
            step();
            engine.reset("k").unwrap();
            let expected = [
                (EventKind::LimitConfigured, 0, 1, None),
                (EventKind::Allow, 2, 1, Some(3)),
                (EventKind::AllowAll, 3, 1, Some(0)),
                (EventKind::Deny, 6, 3, None),
                (EventKind::Reset, 0, 1, Some(5)),
            ];
            let events = engine.history("k", 100).unwrap();
            assert_eq!(brief(&events), expected, "{algorithm:?}");
            let times: Vec<u64> = events.iter().map(|event| (event.at_wall_ns - start) / 1_000_000).collect();
            assert_eq!(times, [0, 1, 2, 6, 7]);
            assert_eq!(engine.history("k", 2).unwrap(), events[3..]);
            assert_eq!(engine.history("k", 0).unwrap(), []);
            assert_eq!(engine.history("unknown", 5).unwrap(), []);
            engine.close().unwrap();
            for engine in [world.open_read_only(), world.open()] {
                assert_eq!(engine.history("k", 100).unwrap(), events, "written later, reported with its time");
                assert_eq!(engine.history("k", 2).unwrap(), events[3..]);
                assert_eq!(brief(&engine.history("other", 9).unwrap())[1], (EventKind::AllowAll, 4, 1, Some(1)));
            }
        }
    }
}

#[test]
fn a_deleted_key_keeps_its_history_and_a_new_one_continues_it() {
    let world = World::new(SyncMode::Batch);
    let engine = world.open();
    let given = bucket("5/day");
    engine.check("k", 1, Some(&given)).unwrap();
    engine.delete("k").unwrap();
    let kinds = |engine: &flint_core::Engine| -> Vec<EventKind> {
        engine.history("k", 100).unwrap().into_iter().map(|event| event.kind).collect()
    };
    let first = [EventKind::LimitConfigured, EventKind::Allow, EventKind::LimitDeleted];
    assert_eq!(kinds(&engine), first);
    engine.check("k", 1, Some(&given)).unwrap();
    assert_eq!(kinds(&engine), [&first[..], &first[..2]].concat());
}

#[test]
fn history_is_bounded_and_says_only_what_is_known() {
    let mut world = World::new(SyncMode::Batch);
    world.options.history_bytes = 40 << 10;
    let engine = world.open();
    engine.limit("k", &bucket("100000/day"), OnChange::Keep).unwrap();
    for _ in 0..2_000 {
        engine.check("k", 1, None).unwrap();
    }
    engine.compact().unwrap();
    let events = engine.history("k", 10_000).unwrap();
    assert!((250..1_000).contains(&events.len()), "two or three segments are left: {}", events.len());
    let left: Vec<u64> = events.iter().map(|event| event.remaining.unwrap()).collect();
    assert_eq!(left.last(), Some(&98_000), "the limit never changed, so it is known");
    assert!(left.is_sorted_by(|a, b| *a == b + 1));
    engine.limit("k", &bucket("500000/day"), OnChange::Keep).unwrap();
    engine.check("k", 1, None).unwrap();
    let events = engine.history("k", 10_000).unwrap();
    let (old, new) = events.split_at(events.len() - 2);
    assert!(old.iter().all(|event| event.remaining.is_none()), "under which limit they were is not reported any more");
    assert_eq!(new[1].remaining, Some(497_999), "2000 used were carried");
}

#[test]
fn the_wall_clock_is_shown_not_the_engine_s() {
    let world = World::new(SyncMode::Batch);
    let engine = world.open();
    engine.limit("k", &bucket("5/day"), OnChange::Keep).unwrap();
    world.clock.set_wall_ns(world.clock.wall_ns() - 3 * HOUR);
    world.clock.advance_ns(2 * SECOND);
    engine.check("k", 1, None).unwrap();
    let event = engine.history("k", 1).unwrap().remove(0);
    assert_eq!(event.at_wall_ns, world.clock.wall_ns());
}

#[test]
fn no_event_is_reported_twice_or_left_out_while_others_write() {
    let world = World::new(SyncMode::Batch);
    let engine = world.open();
    engine.limit("k", &bucket("300/day"), OnChange::Keep).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for _ in 0..2_000 {
                world.clock.advance_ns(100_000_000);
                engine.check("k", 1, None).unwrap();
            }
        });
        while !writer.is_finished() {
            let before = engine.status("k").unwrap().unwrap();
            let events = engine.history("k", 10_000).unwrap();
            let after = engine.status("k").unwrap().unwrap();
            let count = |kind| events.iter().filter(|event| event.kind == kind).map(|event| event.count).sum::<u64>();
            let (allowed, denied) = (count(EventKind::Allow), count(EventKind::Deny));
            assert!((before.total_allowed..=after.total_allowed).contains(&allowed), "{allowed}");
            assert!((before.total_denied..=after.total_denied).contains(&denied), "{denied}");
        }
    });
}
