//! Several keys at one moment: all are taken or none.

use std::collections::BTreeMap;

use crate::support::engine::{HOUR, MINUTE, MODES, SECOND, World, bucket, item, limit};
use flint_core::engine::{EventKind, Item, MAX_ITEMS, OnChange, SyncMode};
use flint_core::limit::Algorithm;

#[test]
fn what_is_allowed_is_taken_from_every_key_in_one_record() {
    for mode in MODES {
        let world = World::new(mode);
        let engine = world.open();
        for (key, rate) in [("user", "5/minute"), ("org", "100/hour; 50/minute"), ("all", "1000/day")] {
            engine.limit(key, &bucket(rate), OnChange::Keep).unwrap();
        }
        let seq = engine.counters().seq;
        let got = engine.check_all(&[item("user", 2), item("org", 30), item("all", 1)]).unwrap();
        assert!(got.allowed);
        assert_eq!((got.denied, got.retry_after_ns, got.seq), (None, 0, seq + 1));
        assert_eq!(engine.counters().seq, seq + 1);
        let left: Vec<_> = got.items.iter().map(|outcome| (outcome.allowed, outcome.cost, outcome.remaining)).collect();
        assert_eq!(left, [(true, 2, 3), (true, 30, 20), (true, 1, 999)]);
        assert_eq!(engine.counters().allowed, 3);
        let before = engine.list(None, None, None).unwrap();
        assert_eq!(before.iter().map(|status| status.remaining).collect::<Vec<_>>(), [999, 20, 3]);
        engine.close().unwrap();
        let engine = world.open();
        assert_eq!(engine.list(None, None, None).unwrap(), before);
        let history = engine.history("org", 10).unwrap();
        assert_eq!(history.last().map(|event| (event.kind, event.cost)), Some((EventKind::AllowAll, 30)));
    }
}

#[test]
fn one_denial_leaves_every_key_as_it_was() {
    for algorithm in Algorithm::ALL {
        let world = World::new(SyncMode::Batch);
        let engine = world.open();
        for (key, rate) in [("a", "5/minute"), ("b", "2/minute"), ("c", "3/hour"), ("d", "9/minute")] {
            engine.limit(key, &limit(rate, algorithm), OnChange::Keep).unwrap();
        }
        engine.check_all(&[item("b", 2), item("c", 2)]).unwrap();
        let before: BTreeMap<_, _> =
            engine.list(None, None, None).unwrap().into_iter().map(|status| (status.key.clone(), status)).collect();
        let counters = engine.counters();
        let got = engine.check_all(&[item("a", 3), item("b", 1), item("c", 2), item("d", 9)]).unwrap();
        assert_eq!((got.allowed, got.denied, got.seq), (false, Some(1), 0));
        let said: Vec<_> = got.items.iter().map(|outcome| (outcome.allowed, outcome.remaining)).collect();
        assert_eq!(said, [(true, 5), (false, 0), (false, 1), (true, 9)], "what is left is the truth after the call");
        let wait = got.items.iter().map(|outcome| outcome.retry_after_ns).max().unwrap();
        assert_eq!(got.retry_after_ns, wait);
        assert!(got.items[2].retry_after_ns > got.items[1].retry_after_ns, "the second denied item waits longer");

        for status in engine.list(None, None, None).unwrap() {
            let old = &before[&status.key];
            let denied = u64::from(["b", "c"].contains(&status.key.as_str()));
            assert_eq!(status.total_denied, old.total_denied + denied, "only the denied items count a denial");
            assert_eq!((status.remaining, status.total_allowed), (old.remaining, old.total_allowed));
        }
        assert_eq!(engine.counters().seq, counters.seq, "nothing was written");
        assert_eq!(engine.counters().denied, counters.denied + 2);

        let again = [item("a", 3), item("b", 1), item("c", 2), item("d", 9)];
        world.clock.advance_ns(wait - 1);
        assert!(!engine.check_all(&again).unwrap().allowed, "a nanosecond early");
        world.clock.advance_ns(1);
        assert!(engine.check_all(&again).unwrap().allowed, "all pass at the time reported");
    }
}

#[test]
fn limits_given_with_the_items_are_stored_only_if_all_pass() {
    let world = World::new(SyncMode::Always);
    let engine = world.open();
    engine.limit("known", &bucket("1/hour"), OnChange::Keep).unwrap();
    let given = bucket("5/minute");
    let items = [Item { key: "new", cost: 2, limit: Some(&given) }, item("known", 1)];
    let first = engine.check_all(&items).unwrap();
    assert!(first.allowed);
    assert_eq!(first.items[0].remaining, 3);
    engine.delete("new").unwrap();
    let second = engine.check_all(&items).unwrap();
    assert_eq!((second.allowed, second.denied), (false, Some(1)));
    assert_eq!((second.items[0].allowed, second.items[0].remaining), (true, 5));
    assert_eq!(engine.status("new").unwrap(), None, "a denied call makes no key");
    world.clock.advance_ns(HOUR);
    assert!(engine.check_all(&items).unwrap().allowed);
    let before = engine.list(None, None, None).unwrap();
    drop(engine);
    assert_eq!(world.open().list(None, None, None).unwrap(), before);
}

#[test]
fn the_largest_call_is_one_record_even_if_it_outgrows_a_segment() {
    for mode in MODES {
        let world = World::new(mode);
        let engine = world.open();
        let keys: Vec<String> = (0..MAX_ITEMS).map(|i| format!("{i:0>500}")).collect();
        let given = bucket("10/minute; 20/hour; 30/day; 40/week; 50/2w; 60/3w; 70/4w; 80/5w");
        let items: Vec<Item<'_>> = keys.iter().map(|key| Item { key, cost: 1, limit: Some(&given) }).collect();
        let seq = engine.counters().seq;
        let got = engine.check_all(&items).unwrap();
        assert!(got.allowed);
        assert_eq!(engine.counters().seq, seq + 1);
        assert!(engine.counters().log_bytes > 20 * (16 << 10), "the record is larger than a usual segment");
        assert!(engine.check_all(&items).unwrap().allowed);
        let before = engine.list(None, None, None).unwrap();
        assert_eq!(before.len(), MAX_ITEMS);
        assert!(before.iter().all(|status| status.remaining == 8));
        engine.check(&keys[0], 1, None).unwrap();
        engine.close().unwrap();
        let engine = world.open();
        assert_eq!(engine.list(None, None, None).unwrap()[1..], before[1..]);
        engine.compact().unwrap();
        engine.close().unwrap();
        assert_eq!(world.open().list(None, None, None).unwrap()[1..], before[1..]);
    }
}

#[test]
fn many_keys_go_up_and_down_together() {
    let world = World::new(SyncMode::Batch);
    let engine = world.open();
    let keys: Vec<String> = (0..50).map(|i| format!("k{i}")).collect();
    for key in &keys {
        engine.limit(key, &limit("7/minute", Algorithm::FixedWindowCounter), OnChange::Keep).unwrap();
    }
    let items: Vec<Item<'_>> = keys.iter().map(|key| item(key, 2)).collect();
    let mut passed = 0;
    for _ in 0..40 {
        passed += u32::from(engine.check_all(&items).unwrap().allowed);
        let left: Vec<u64> = engine.list(None, None, None).unwrap().iter().map(|status| status.remaining).collect();
        assert!(left.iter().all(|remaining| *remaining == left[0]), "{left:?}");
        world.clock.advance_ns(10 * SECOND);
    }
    assert_eq!(passed, 21, "three in each window of a minute: {MINUTE} ns");
}
