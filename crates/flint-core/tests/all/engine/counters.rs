//! Each limit that calls bring has a counter of its own under the key: none touches another, and all of them survive.

use crate::support::engine::{HOUR, MINUTE, MODES, SECOND, World, bucket, item, limit};
use flint_core::engine::{Engine, EventKind, Item, OnChange, SyncMode};
use flint_core::image::Origin;
use flint_core::limit::{Algorithm, Limit};
use flint_core::{Error, Result};

const WINDOW: Algorithm = Algorithm::FixedWindowCounter;

fn with<'a>(key: &'a str, cost: u64, limit: &'a Limit) -> Item<'a> {
    Item { key, cost, limit: Some(limit) }
}

fn left(engine: &Engine, limit: &Limit) -> u64 {
    engine.peek("k", 1, Some(limit)).unwrap().remaining + u64::from(engine.peek("k", 1, Some(limit)).unwrap().allowed)
}

/// What is there must be what is in the files, whichever way they are read. Goes on with what a killed process left.
fn survives(world: &mut World, engine: Engine) -> Engine {
    let images = engine.images().unwrap();
    world.disk = world.disk.kill();
    drop(engine);
    let engine = world.open();
    assert_eq!(engine.images().unwrap(), images, "from the log");
    let list = engine.list(None, None, None).unwrap();
    engine.compact().unwrap();
    engine.close().unwrap();
    let engine = world.open();
    assert_eq!(engine.images().unwrap(), images, "from a snapshot");
    assert_eq!(engine.list(None, None, None).unwrap(), list);
    engine
}

#[test]
fn limits_of_one_key_do_not_touch_each_other() {
    for mode in MODES {
        let mut world = World::new(mode);
        let engine = world.open();
        let (reports, searches) = (bucket("200/day"), bucket("30/minute"));
        let mut allowed = 0;
        for _ in 0..24 * 60 {
            for _ in 0..10 {
                allowed += u64::from(engine.check("k", 1, Some(&reports)).unwrap().allowed);
            }
            assert!(engine.check("k", 1, Some(&searches)).unwrap().allowed);
            world.clock.advance_ns(MINUTE);
        }
        assert!((200..400).contains(&allowed), "{allowed}: one day's limit, and what flowed back in it");
        let engine = survives(&mut world, engine);
        let status = engine.status("k").unwrap().unwrap();
        assert_eq!(status.counters.len(), 2);
        assert_eq!(status.counters[0].rates, searches.rates(), "the most recently used comes first");
        assert_eq!((status.remaining, status.rates.clone()), (status.counters[0].remaining, searches.rates().to_vec()));
        assert_eq!(status.total_allowed, allowed + 24 * 60);
    }
}

#[test]
fn a_huge_limit_refills_no_other() {
    let world = World::new(SyncMode::Batch);
    let engine = world.open();
    let (small, huge) = (bucket("3/hour"), bucket("1000000/second"));
    assert!(engine.check("k", 3, Some(&small)).unwrap().allowed);
    engine.check("k", 1, Some(&huge)).unwrap();
    world.clock.advance_ns(SECOND);
    assert!(!engine.check("k", 1, Some(&small)).unwrap().allowed);
    let denied = engine.check("k", 1, Some(&small)).unwrap();
    assert_eq!(denied.retry_after_ns, 20 * MINUTE - SECOND);
}

#[test]
fn limits_are_equal_in_any_order_and_spelling() {
    let world = World::new(SyncMode::Batch);
    let engine = world.open();
    for text in ["5/minute; 20/hour", "20/hour; 5/minute", "20/1h, 5 per 60 seconds"] {
        engine.check("k", 1, Some(&bucket(text))).unwrap();
    }
    let status = engine.status("k").unwrap().unwrap();
    assert_eq!((status.counters.len(), status.remaining, status.counters().len()), (0, 2, 1));
    engine.check("k", 1, Some(&bucket("20/hour; 5/minute; 5/minute"))).unwrap();
    assert_eq!(engine.status("k").unwrap().unwrap().counters.len(), 2, "one rate more");
    engine.check("k", 1, Some(&limit("5/minute; 20/hour", WINDOW))).unwrap();
    assert_eq!(engine.status("k").unwrap().unwrap().counters.len(), 3, "another algorithm");
}

#[test]
fn only_consumption_creates_or_promotes() {
    let mut world = World::new(SyncMode::Batch);
    let engine = world.open();
    let (a, b, c) = (bucket("2/minute"), bucket("5/minute"), bucket("9/minute"));
    engine.check("k", 2, Some(&a)).unwrap();
    engine.check("k", 1, Some(&b)).unwrap();
    let seq = engine.counters().seq;
    assert!(!engine.check("k", 1, Some(&a)).unwrap().allowed);
    assert_eq!(engine.peek("k", 1, Some(&c)).unwrap().remaining, 8);
    assert_eq!(engine.peek("k", 1, Some(&a)).unwrap().limit, 2);
    assert_eq!(engine.peek("k", 1, None).unwrap().limit, 5, "the last consumption was that of the second");
    let none = engine.check_all(&[with("k", 1, &c), with("k", 1, &a)]).unwrap();
    assert_eq!((none.allowed, none.denied), (false, Some(1)));
    let status = engine.status("k").unwrap().unwrap();
    assert_eq!((engine.counters().seq, status.counters.len()), (seq, 2));
    assert_eq!((status.total_denied, status.counters[1].total_denied), (2, 2));
    assert_eq!(engine.check("k", 1, None).unwrap().limit, 5);
    world.clock.advance_ns(MINUTE);
    engine.check("k", 1, Some(&a)).unwrap();
    assert_eq!(engine.check("k", 1, None).unwrap().limit, 2);
    survives(&mut world, engine);
}

#[test]
fn at_most_eight_and_only_a_refilled_one_gives_way() {
    let mut world = World::new(SyncMode::Batch);
    let engine = world.open();
    let limits: Vec<Limit> = (1..=10).map(|n| bucket(&format!("{n}/{n}h"))).collect();
    for limit in &limits[..8] {
        engine.check("k", 1, Some(limit)).unwrap();
        world.clock.advance_ns(1);
    }
    let images = engine.images().unwrap();
    for refused in [engine.check("k", 1, Some(&limits[8])), engine.peek("k", 1, Some(&limits[8]))] {
        let Err(Error::InvalidLimit(message)) = refused else { panic!("{refused:?}") };
        for part in ["\"k\"", "8 limits", "reset()"] {
            assert!(message.contains(part), "{message}");
        }
    }
    assert!(matches!(engine.check("k", 99, Some(&limits[8])), Err(Error::InvalidCost(_))));
    assert_eq!(engine.images().unwrap(), images);
    // Each of them is full again after an hour; the one that was used last moves to the front.
    world.clock.advance_ns(HOUR);
    engine.check("k", 1, Some(&limits[0])).unwrap();
    let got = engine.check("k", 1, Some(&limits[8])).unwrap();
    assert_eq!((got.allowed, got.remaining), (true, 8));
    let rates = |engine: &Engine| -> Vec<u64> {
        engine.status("k").unwrap().unwrap().counters.iter().map(|counter| counter.rates[0].limit()).collect()
    };
    assert_eq!(rates(&engine), [9, 1, 8, 7, 6, 5, 4, 3], "the least recently used went");
    let status = engine.status("k").unwrap().unwrap();
    assert_eq!(status.total_allowed, 10, "what a key has counted stays");
    assert_eq!((engine.counters().keys, engine.list(None, None, None).unwrap().len()), (1, 1));
    let engine = survives(&mut world, engine);
    assert_eq!(rates(&engine), [9, 1, 8, 7, 6, 5, 4, 3]);
    // A call uses none of those that it would replace.
    world.clock.advance_ns(HOUR);
    let got = engine.check_all(&[with("k", 1, &limits[9]), with("k", 1, &limits[2])]).unwrap();
    assert!(got.allowed);
    assert_eq!(rates(&engine), [3, 10, 9, 1, 8, 7, 6, 5]);
    survives(&mut world, engine);
}

#[test]
fn reset_and_delete_are_about_all_of_them() {
    let mut world = World::new(SyncMode::Always);
    let engine = world.open();
    let (a, b) = (bucket("2/minute"), bucket("5/hour; 7/day"));
    let fill = |engine: &Engine| {
        engine.check("k", 2, Some(&a)).unwrap();
        engine.check("k", 3, Some(&b)).unwrap();
    };
    fill(&engine);
    engine.reset("k").unwrap();
    assert_eq!((left(&engine, &a), left(&engine, &b)), (2, 5));
    assert_eq!(engine.status("k").unwrap().unwrap().total_allowed, 2, "totals stay");
    fill(&engine);
    let kinds = |engine: &Engine| -> Vec<EventKind> {
        engine.history("k", 100).unwrap().iter().map(|event| event.kind).collect()
    };
    let before = {
        use EventKind::{Allow, LimitConfigured, Reset};
        vec![LimitConfigured, Allow, LimitConfigured, Allow, Reset, Allow, Allow]
    };
    assert_eq!(kinds(&engine), before);
    let engine = survives(&mut world, engine);
    assert_eq!(kinds(&engine), before);
    engine.delete("k").unwrap();
    assert!(engine.status("k").unwrap().is_none());
    assert_eq!((engine.counters().keys, engine.images().unwrap().len()), (0, 0));
    assert!(matches!(engine.delete("k"), Err(Error::LimitNotFound { .. })));
    assert_eq!(kinds(&engine).last(), Some(&EventKind::LimitDeleted));
    assert_eq!(kinds(&engine).len(), before.len() + 1);
    fill(&engine);
    assert_eq!(engine.status("k").unwrap().unwrap().total_allowed, 2);
    assert_eq!(engine.recovery().cut_bytes, 0);
}

#[test]
fn an_explicit_limit_replaces_all_with_the_largest_use() {
    for many in [false, true] {
        let mut world = World::new(SyncMode::Batch);
        let engine = world.open();
        let set = |engine: &Engine, text: &str, on_change| -> Result<()> {
            if many {
                engine.limit_many(&[("k", bucket(text), on_change), ("beside", bucket("1/day"), OnChange::Keep)])
            } else {
                engine.limit("k", &bucket(text), on_change)
            }
        };
        let fill = |engine: &Engine| {
            engine.check("k", 3, Some(&bucket("5/day"))).unwrap();
            engine.check("k", 7, Some(&bucket("10/day"))).unwrap();
            engine.check("k", 1, Some(&limit("4/hour", WINDOW))).unwrap();
            engine.check("k", 4, Some(&limit("4/hour", WINDOW))).unwrap_or_else(|e| panic!("{e}"));
        };
        fill(&engine);
        set(&engine, "20/day", OnChange::Keep).unwrap();
        let status = engine.status("k").unwrap().unwrap();
        assert_eq!((status.remaining, status.origin, status.counters.len()), (13, Origin::Explicit, 0));
        assert_eq!((status.total_allowed, status.total_allowed_cost, status.total_denied), (3, 11, 1));
        let engine = survives(&mut world, engine);
        assert_eq!(engine.history("k", 2).unwrap().len(), 2);

        engine.delete("k").unwrap();
        fill(&engine);
        set(&engine, "5/day", OnChange::Keep).unwrap();
        assert_eq!(engine.status("k").unwrap().unwrap().remaining, 2, "a rate that stays keeps its state");

        engine.delete("k").unwrap();
        fill(&engine);
        set(&engine, "10/day; 5/day; 6/week", OnChange::Keep).unwrap();
        let peeked = engine.peek("k", 1, None).unwrap();
        let left: Vec<u64> = peeked.rates().iter().map(|state| state.verdict.remaining).collect();
        assert_eq!(left, [3, 0, 0], "{peeked:?}");

        engine.delete("k").unwrap();
        fill(&engine);
        set(&engine, "5/day", OnChange::Reset).unwrap();
        assert_eq!(engine.status("k").unwrap().unwrap().remaining, 5);
        let engine = survives(&mut world, engine);
        assert_eq!(engine.peek("k", 1, Some(&bucket("10/day"))).unwrap().limit, 5, "it takes precedence");
        engine.close().unwrap();
    }
}

#[test]
fn of_two_equal_rates_the_one_with_more_in_use_stays() {
    let engine = World::new(SyncMode::Batch).open();
    engine.check("k", 9, Some(&bucket("10/day; 90/week"))).unwrap();
    engine.check("k", 1, Some(&bucket("10/day"))).unwrap();
    engine.limit("k", &bucket("10/day"), OnChange::Keep).unwrap();
    assert_eq!(engine.status("k").unwrap().unwrap().remaining, 1);
}

#[test]
fn one_call_may_name_a_key_under_several_limits() {
    let mut world = World::new(SyncMode::Always);
    let engine = world.open();
    let (a, b) = (bucket("2/minute"), bucket("5/minute"));
    let seq = engine.counters().seq;
    let got = engine.check_all(&[with("k", 1, &a), with("k", 2, &b), with("other", 1, &a)]).unwrap();
    assert!(got.allowed);
    assert_eq!(engine.counters().seq, seq + 1);
    assert_eq!(got.items.iter().map(|outcome| outcome.remaining).collect::<Vec<_>>(), [1, 3, 1]);
    assert_eq!(engine.peek("k", 1, None).unwrap().limit, 5, "the last item was used last");
    let engine = survives(&mut world, engine);
    assert_eq!(engine.peek("k", 1, None).unwrap().limit, 5);
    engine.check_all(&[with("k", 1, &b), with("k", 1, &a)]).unwrap();
    let engine = survives(&mut world, engine);
    assert_eq!(engine.peek("k", 1, None).unwrap().limit, 2);
    let denied = engine.check_all(&[with("k", 1, &b), with("k", 1, &a)]).unwrap();
    assert_eq!((denied.allowed, denied.denied, denied.items[0].remaining), (false, Some(1), 2));
    for same in [[with("k", 1, &a), with("k", 2, &a)], [item("k", 1), item("k", 1)]] {
        assert!(matches!(engine.check_all(&same), Err(Error::InvalidKey(_))));
    }
}

#[test]
fn items_that_come_to_one_counter_are_decided_on_their_sum() {
    let mut world = World::new(SyncMode::Batch);
    let engine = world.open();
    let (a, b) = (bucket("2/minute"), bucket("5/minute"));
    engine.limit("k", &bucket("6/hour"), OnChange::Keep).unwrap();
    let both = [with("k", 1, &a), with("k", 2, &b)];
    let got = engine.check_all(&both).unwrap();
    assert_eq!(got.items.iter().map(|outcome| (outcome.cost, outcome.remaining)).collect::<Vec<_>>(), [(1, 3), (2, 3)]);
    assert_eq!(engine.status("k").unwrap().unwrap().total_allowed_cost, 3);
    assert!(engine.check_all(&both).unwrap().allowed);
    let denied = engine.check_all(&both).unwrap();
    assert_eq!((denied.allowed, denied.retry_after_ns), (false, 30 * MINUTE));
    assert_eq!(engine.status("k").unwrap().unwrap().total_denied, 2);
    let Err(Error::InvalidCost(message)) = engine.check_all(&[with("k", 4, &a), with("k", 4, &b)]) else { panic!() };
    assert!(message.contains("\"k\"") && message.contains('8') && message.contains('6'), "{message}");
    engine.check("m", 1, Some(&a)).unwrap();
    let got = engine.check_all(&[item("m", 1), with("m", 1, &b)]).unwrap();
    assert_eq!((got.items[0].limit, got.items[1].limit), (2, 5));
    let shared = engine.check_all(&[item("m", 1), with("m", 1, &b)]).unwrap();
    assert_eq!((shared.items[0].limit, shared.items[0].remaining, shared.items[1].remaining), (5, 2, 2));
    survives(&mut world, engine);
}

#[test]
fn scans_show_each_key_once() {
    let engine = World::new(SyncMode::Batch).open();
    let limits: Vec<Limit> = (1..=8).map(|n| bucket(&format!("{n}/day"))).collect();
    for key in 0..600 {
        for limit in &limits {
            engine.check(&format!("key {key:03}"), 1, Some(limit)).unwrap();
        }
    }
    let all = engine.list(None, None, None).unwrap();
    assert_eq!(all.len(), 600);
    let mut paged = Vec::new();
    while let page @ [_, ..] = &engine.list(None, Some(7), paged.last().map(|last: &String| last.as_str())).unwrap()[..]
    {
        paged.extend(page.iter().map(|status| status.key.clone()));
    }
    assert_eq!(paged, all.iter().map(|status| status.key.clone()).collect::<Vec<_>>());
    let top = engine.top(flint_core::engine::TopBy::Allowed, 10).unwrap();
    assert_eq!(top.iter().map(|status| (&status.key[..], status.total_allowed)).collect::<Vec<_>>().len(), 10);
    assert!(top.iter().all(|status| status.total_allowed == 8));
    let aggregate = engine.aggregate().unwrap();
    let sums: Vec<_> = aggregate.iter().map(|sum| (sum.keys, sum.total_allowed)).collect();
    assert_eq!(sums, [(600, 4_800)]);
    assert_eq!(engine.counters().keys, 600);
}

#[test]
fn a_denial_of_a_waiter_is_counted_where_it_waited() {
    let engine = World::new(SyncMode::Batch).open();
    let (a, b) = (bucket("2/minute"), bucket("5/minute"));
    engine.check("k", 2, Some(&a)).unwrap();
    engine.check("k", 1, Some(&b)).unwrap();
    engine.count_denial("k", 1, Some(&a)).unwrap();
    engine.count_denial("k", 1, None).unwrap();
    engine.count_denial("k", 1, Some(&bucket("9/minute"))).unwrap();
    let counters = engine.status("k").unwrap().unwrap().counters;
    assert_eq!(counters.iter().map(|counter| counter.total_denied).collect::<Vec<_>>(), [1, 1]);
}
