//! Calls that may be repeated: a repetition gets the first answer, and only the first is charged.

use crate::support::engine::{HOUR, MINUTE, MODES, SECOND, World, bucket, item, limit};
use flint_core::engine::{
    CallId, Check, CheckAll, EventKind, IDEMPOTENCY_AGE_NS, Idempotent, Item, MAX_IDEMPOTENCY_RECORDS, MultiOutcome,
    OnChange, Outcome, Repeatable, SyncMode, WaitPolicy,
};
use flint_core::limit::Algorithm;
use flint_core::{Engine, Error, Result};

fn call(number: u64) -> CallId {
    let mut id = [0xab; 16];
    id[..8].copy_from_slice(&number.to_le_bytes());
    CallId { id, fingerprint: *b"whatever" }
}

fn check(engine: &Engine, item: &Item<'_>, call: &CallId) -> Result<Repeatable<Outcome>> {
    engine.run(&Idempotent { operation: Check::new(*item), call: *call })
}

fn check_all(engine: &Engine, items: &[Item<'_>], call: &CallId) -> Result<Repeatable<MultiOutcome>> {
    engine.run(&Idempotent { operation: CheckAll { items }, call: *call })
}

/// A key's remaining, and its totals of allowed and denied checks.
fn state(engine: &Engine, key: &str) -> (u64, u64, u64) {
    let status = engine.status(key).unwrap().unwrap();
    (status.remaining, status.total_allowed, status.total_denied)
}

#[derive(Debug, PartialEq, Eq, Clone)]
struct Owned(CallId, u64, u64, Vec<u8>);

fn remembered_answers(engine: &Engine) -> Vec<Owned> {
    let mut all = Vec::new();
    engine
        .idempotency_records(&mut |record| {
            all.push(Owned(record.call, record.seq, record.at_ns, record.answer.to_vec()));
        })
        .unwrap();
    all
}

#[test]
fn a_repetition_gets_the_first_answer_and_takes_nothing() {
    for mode in MODES {
        let world = World::new(mode);
        let engine = world.open();
        engine.limit("k", &bucket("10/minute; 100/hour"), OnChange::Keep).unwrap();
        let plain = engine.check("k", 3, None).unwrap();
        let first = check(&engine, &item("k", 3), &call(1)).unwrap();
        assert!(!first.repeated);
        let Outcome { allowed, cost, remaining, seq, .. } = first.answer;
        assert_eq!((allowed, cost, remaining, seq), (true, 3, 4, plain.seq + 1));
        assert_eq!(first.answer.rates().len(), 2);
        engine.wait_durable(seq).unwrap();
        let counters = engine.counters();
        world.clock.advance_ns(7 * SECOND);
        let again = check(&engine, &item("k", 3), &call(1)).unwrap();
        assert_eq!(again, Repeatable { answer: first.answer, repeated: true });
        assert_eq!(engine.counters(), counters, "no record, nothing counted");
        assert_eq!(state(&engine, "k").1, 2);
        let other = check(&engine, &item("k", 3), &call(2)).unwrap();
        assert!(!other.repeated && other.answer.remaining == 2, "another call is another call");
        engine.close().unwrap();
    }
}

#[test]
fn the_answer_is_that_of_the_same_check_without_an_id() {
    for algorithm in Algorithm::ALL {
        let (once, plain) = (World::new(SyncMode::Batch), World::new(SyncMode::Batch));
        let (once, plain) = (once.open(), plain.open());
        let given = limit("3/minute; 9/hour", algorithm);
        for number in 0..5 {
            let item = Item { key: "new", cost: 1, limit: Some(&given) };
            let first = check(&once, &item, &call(number)).unwrap();
            let expected = plain.check("new", 1, Some(&given)).unwrap();
            assert_eq!(first.answer, expected);
            assert_eq!(check(&once, &item, &call(number)).unwrap(), Repeatable { answer: expected, repeated: true });
            assert_eq!(once.images().unwrap(), plain.images().unwrap());
        }
        let items = [Item { key: "new", cost: 1, limit: None }, Item { key: "more", cost: 2, limit: Some(&given) }];
        for number in 10..13 {
            let first = check_all(&once, &items, &call(number)).unwrap();
            let expected = plain.check_all(&items).unwrap();
            assert_eq!(first.answer, expected);
            assert!(!expected.allowed, "one of them is used up");
            assert_eq!(
                check_all(&once, &items, &call(number)).unwrap(),
                Repeatable { answer: expected, repeated: true }
            );
            assert_eq!(once.counters().denied, plain.counters().denied);
        }
        once.reset("new").unwrap();
        plain.reset("new").unwrap();
        let first = check_all(&once, &items, &call(20)).unwrap();
        let expected = plain.check_all(&items).unwrap();
        assert!(expected.allowed);
        assert_eq!(first.answer, expected);
        assert_eq!(check_all(&once, &items, &call(20)).unwrap(), Repeatable { answer: expected, repeated: true });
        assert_eq!(once.counters().allowed, plain.counters().allowed);
        let history = |engine: &Engine| -> Vec<_> {
            let events = engine.history("new", 100).unwrap();
            events.iter().map(|event| (event.kind, event.cost, event.count, event.remaining)).collect()
        };
        assert_eq!(history(&once), history(&plain));
        assert_eq!(history(&once).iter().filter(|event| event.0 == EventKind::AllowAll).count(), 1);
    }
}

#[test]
fn the_first_answer_counts_whatever_became_of_the_key() {
    let world = World::new(SyncMode::Batch);
    let engine = world.open();
    engine.limit("k", &bucket("10/minute"), OnChange::Keep).unwrap();
    let first = check(&engine, &item("k", 9), &call(1)).unwrap().answer;
    let again = || {
        let again = check(&engine, &item("k", 9), &call(1)).unwrap();
        assert_eq!(again, Repeatable { answer: first.clone(), repeated: true });
    };
    engine.reset("k").unwrap();
    again();
    assert_eq!(state(&engine, "k").0, 10, "still full");
    engine.limit("k", &bucket("5/minute"), OnChange::Keep).unwrap();
    again();
    engine.delete("k").unwrap();
    again();
    assert!(engine.status("k").unwrap().is_none());
    let other = check(&engine, &item("k", 9), &call(2));
    assert!(matches!(other, Err(Error::LimitNotFound { .. })), "a call that failed is not remembered");
    engine.limit("k", &bucket("9/minute"), OnChange::Keep).unwrap();
    assert!(!check(&engine, &item("k", 9), &call(2)).unwrap().repeated);
}

#[test]
fn a_denial_is_remembered_until_the_store_is_closed_and_costs_no_disk() {
    let world = World::new(SyncMode::Batch);
    let engine = world.open();
    engine.limit("k", &bucket("1/hour"), OnChange::Keep).unwrap();
    engine.check("k", 1, None).unwrap();
    let counters = engine.counters();
    let first = check(&engine, &item("k", 1), &call(1)).unwrap();
    assert!(!first.answer.allowed && !first.repeated);
    assert_eq!((engine.counters().seq, engine.counters().denied), (counters.seq, 1));
    engine.reset("k").unwrap();
    world.clock.advance_ns(IDEMPOTENCY_AGE_NS);
    let again = check(&engine, &item("k", 1), &call(1)).unwrap();
    assert_eq!(again, Repeatable { answer: first.answer, repeated: true });
    assert_eq!(state(&engine, "k"), (1, 1, 1));
    engine.close().unwrap();
    let engine = world.open();
    let forgotten = check(&engine, &item("k", 1), &call(1)).unwrap();
    assert!(forgotten.answer.allowed && !forgotten.repeated, "a denial charged nothing, so nothing is charged twice");
}

#[test]
fn a_repeated_attempt_is_charged_once() {
    let world = World::new(SyncMode::Batch);
    let engine = world.open();
    engine.limit("k", &bucket("1/minute"), OnChange::Keep).unwrap();
    engine.check("k", 1, None).unwrap();
    let attempt = Idempotent { operation: Check::attempt(item("k", 1)), call: call(1) };
    let acquire = || engine.try_run(&attempt, WaitPolicy::Lock).unwrap().unwrap();
    for _ in 0..3 {
        let denied = acquire();
        assert!(!denied.answer.allowed && !denied.repeated);
    }
    assert_eq!(state(&engine, "k").2, 0, "a denial counts for nothing");
    world.clock.advance_ns(MINUTE);
    let first = acquire();
    assert!(first.answer.allowed && !first.repeated);
    assert_eq!(acquire(), Repeatable { answer: first.answer, repeated: true });
    assert_eq!(state(&engine, "k"), (0, 2, 0));
}

#[test]
fn an_id_belongs_to_one_request() {
    let world = World::new(SyncMode::Batch);
    let engine = world.open();
    engine.limit("k", &bucket("1/hour"), OnChange::Keep).unwrap();
    for (number, allowed) in [(1, true), (2, false)] {
        assert_eq!(check(&engine, &item("k", 1), &call(number)).unwrap().answer.allowed, allowed);
        let before = (engine.counters(), state(&engine, "k"));
        let other = CallId { fingerprint: *b"another!", ..call(number) };
        let refused = check(&engine, &item("k", 1), &other).unwrap_err();
        assert!(matches!(refused, Error::CallMismatch));
        let text = refused.to_string();
        assert_eq!(text, "the idempotency key was used for another request before: use a new key for a new request");
        assert!(matches!(check_all(&engine, &[item("k", 1)], &other), Err(Error::CallMismatch)));
        let same = call(number);
        assert!(matches!(check_all(&engine, &[item("k", 1)], &same), Err(Error::CallMismatch)), "another kind of call");
        assert_eq!((engine.counters(), state(&engine, "k")), before);
    }
}

#[test]
fn what_is_remembered_survives_a_restart() {
    for mode in MODES {
        for clean in [true, false] {
            for compact in [true, false] {
                let mut world = World::new(mode);
                world.options.threads = false;
                let engine = world.open();
                engine.limit("k", &bucket("100/hour"), OnChange::Keep).unwrap();
                let given = bucket("7/minute; 9/hour");
                let new = Item { key: "new", cost: 2, limit: Some(&given) };
                let one = check(&engine, &item("k", 5), &call(1)).unwrap().answer;
                let with_limit = check(&engine, &new, &call(2)).unwrap().answer;
                if compact {
                    engine.compact().unwrap();
                }
                let all = check_all(&engine, &[item("k", 5), new], &call(3)).unwrap().answer;
                let (images, remembered) = (engine.images().unwrap(), remembered_answers(&engine));
                assert_eq!(remembered.len(), 3);
                if clean {
                    engine.close().unwrap();
                } else {
                    // As by a kill: what was stored stays, nothing more is written.
                    world.disk = world.disk.kill();
                    drop(engine);
                }
                world.clock.advance_ns(SECOND);
                let engine = world.open();
                assert_eq!(engine.images().unwrap(), images);
                assert_eq!(remembered_answers(&engine), remembered);
                let counters = engine.counters();
                assert_eq!(check(&engine, &item("k", 5), &call(1)).unwrap().answer, one);
                assert_eq!(check(&engine, &new, &call(2)).unwrap().answer, with_limit);
                assert_eq!(check_all(&engine, &[item("k", 5), new], &call(3)).unwrap().answer, all);
                assert_eq!((engine.counters(), engine.images().unwrap()), (counters, images));
                assert!(engine.doctor().unwrap().ok);
                engine.close().unwrap();
            }
        }
    }
}

#[test]
fn after_ten_minutes_a_call_is_a_new_one_also_across_a_restart() {
    for restart in [false, true] {
        let world = World::new(SyncMode::Batch);
        let mut engine = world.open();
        engine.limit("k", &bucket("100/hour"), OnChange::Keep).unwrap();
        let first = check(&engine, &item("k", 1), &call(1)).unwrap().answer;
        let pass = |engine: Engine, ns| {
            if restart {
                engine.close().unwrap();
            }
            world.clock.advance_ns(ns);
            if restart { world.open() } else { engine }
        };
        engine = pass(engine, IDEMPOTENCY_AGE_NS);
        let again = check(&engine, &item("k", 1), &call(1)).unwrap();
        assert_eq!(again, Repeatable { answer: first, repeated: true }, "at the last moment");
        engine = pass(engine, 1);
        let new = check(&engine, &item("k", 1), &call(1)).unwrap();
        assert!(!new.repeated);
        assert_eq!(state(&engine, "k").1, 2);
        assert_eq!(remembered_answers(&engine).len(), 1, "the old one made room");
        assert_eq!(check(&engine, &item("k", 1), &call(1)).unwrap(), Repeatable { repeated: true, ..new });
    }
}

#[test]
fn a_snapshot_leaves_out_what_is_too_old() {
    let world = World::new(SyncMode::Batch);
    let engine = world.open();
    engine.limit("k", &bucket("100/hour"), OnChange::Keep).unwrap();
    let lines = || {
        engine.compact().unwrap();
        let names = world.disk.dir().list().unwrap();
        let name = names.iter().find(|name| name.ends_with(".snapshot")).unwrap();
        let text = String::from_utf8(world.disk.read_file(name).unwrap()).unwrap();
        (text.lines().filter(|line| line.starts_with("{\"receipt\"")).count(), text)
    };
    assert!(!lines().1.contains("receipt"), "a store without such calls has none of it");
    check(&engine, &item("k", 1), &call(1)).unwrap();
    world.clock.advance_ns(5 * MINUTE);
    check(&engine, &item("k", 1), &call(2)).unwrap();
    let (count, text) = lines();
    assert_eq!(count, 2);
    assert!(text.contains(",\"keys\":1,\"receipts\":2,\"sha256\""), "{text}");
    world.clock.advance_ns(6 * MINUTE);
    engine.check("k", 1, None).unwrap();
    assert_eq!(lines().0, 1);
    world.clock.advance_ns(HOUR);
    engine.check("k", 1, None).unwrap();
    assert!(!lines().1.contains("receipt"));
}

#[test]
fn the_usual_record_is_short() {
    let world = World::new(SyncMode::Batch);
    let engine = world.open();
    engine.limit("k", &bucket("100/minute"), OnChange::Keep).unwrap();
    let before = engine.counters().log_bytes;
    check(&engine, &item("k", 1), &call(1)).unwrap();
    assert_eq!(engine.counters().log_bytes - before, 144);
}

/// Makes an engine that has to forget, and one that recovers from what it left.
fn live_and_recovered(calls: impl Fn(&Engine), compact_first: bool) {
    let mut world = World::new(SyncMode::Batch);
    world.options.threads = false;
    world.options.segment_bytes = 32 << 20;
    let engine = world.open();
    engine.limit("k", &bucket("1000000000/hour"), OnChange::Keep).unwrap();
    if compact_first {
        calls(&engine);
        engine.compact().unwrap();
    }
    calls(&engine);
    let live = remembered_answers(&engine);
    world.disk = world.disk.kill();
    drop(engine);
    let recovered = remembered_answers(&world.open());
    assert_eq!(recovered.len(), live.len());
    assert!(recovered == live, "other answers after the recovery");
}

#[test]
fn no_more_than_262144_are_remembered() {
    let next = std::cell::Cell::new(0);
    for compact_first in [false, true] {
        let count = if compact_first { 200_000 } else { 270_000 };
        live_and_recovered(
            |engine| {
                let from = next.get();
                next.set(from + count);
                for number in from..next.get() {
                    check(engine, &item("k", 1), &call(number)).unwrap();
                }
                let all = remembered_answers(engine);
                assert!(all.len() <= MAX_IDEMPOTENCY_RECORDS);
                assert_eq!(all.last().map(|newest| newest.0), Some(call(next.get() - 1)));
                assert!(check(engine, &item("k", 1), &all[0].0).unwrap().repeated, "the oldest of them");
            },
            compact_first,
        );
    }
}

#[test]
fn no_more_than_32_mib_are_remembered() {
    let keys: Vec<String> = (0..1_000).map(|number| format!("{number}")).collect();
    let eight = bucket("1000000/s; 1000000/2s; 1000000/3s; 1000000/4s; 1000000/5s; 1000000/6s; 1000000/7s; 1000000/8s");
    let items: Vec<_> = keys.iter().map(|key| Item { key, cost: 1, limit: Some(&eight) }).collect();
    live_and_recovered(
        |engine| {
            let bytes = |all: &[Owned]| all.iter().map(|each| each.3.len()).sum::<usize>();
            let from = engine.counters().allowed;
            for number in from..from + 300 {
                check_all(engine, &items, &call(number)).unwrap();
            }
            let all = remembered_answers(engine);
            assert!(all.len() < 300 && bytes(&all) <= 32 << 20 && bytes(&all) + all[0].3.len() > 32 << 20);
        },
        false,
    );
}

#[test]
fn a_store_as_an_earlier_version_left_it_still_answers() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/format-1/repeatable/data");
    let world = World::new(SyncMode::Batch);
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        world.disk.write_file(entry.file_name().to_str().unwrap(), &std::fs::read(entry.path()).unwrap());
    }
    // A clock that went back passes no time.
    let engine = world.open();
    let remembered = remembered_answers(&engine);
    let ids: Vec<_> = remembered.iter().map(|each| each.0.id[0]).collect();
    assert_eq!(ids, [0x10, 0x11, 0x13, 0x20, 0x21, 0x23]);
    let seqs: Vec<_> = remembered.iter().map(|each| each.1).collect();
    assert!(seqs[2] <= engine.recovery().snapshot_seq && seqs[3] > engine.recovery().snapshot_seq);
    let images = engine.images().unwrap();
    for Owned(call, seq, ..) in &remembered {
        let (repeated, reported) = match call.id[0] & 0xf {
            3 => {
                let again = check_all(&engine, &[item("busy", 1)], call).unwrap();
                (again.repeated, again.answer.seq)
            }
            _ => {
                let again = check(&engine, &item("busy", 2), call).unwrap();
                (again.repeated, again.answer.seq)
            }
        };
        assert_eq!((repeated, reported), (true, *seq));
    }
    assert_eq!(engine.images().unwrap(), images);
    let other = CallId { fingerprint: [0; 8], ..remembered[0].0 };
    assert!(matches!(check(&engine, &item("busy", 2), &other), Err(Error::CallMismatch)));
}
