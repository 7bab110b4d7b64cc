//! What must hold of a recovered store from then on.

use flint_core::engine::{Check, CheckAll, Engine, Idempotent, Item, Options, SyncMode};
use flint_core::idempotency::{Answer, decode_answer};
use flint_core::limit::Algorithm;
use flint_core::testing::sim::SimDisk;

use super::state::{Answered, state};
use super::store::{is_refusal, limit, open};

/// Every remembered call is repeated: it gets the first answer, and nothing changes.
///
/// # Panics
/// When one is charged again or gets another answer, naming `what` led there.
pub fn assert_repeatable(engine: &Engine, what: &str) {
    let counted = || (engine.counters().allowed, engine.counters().denied);
    let (before, counts) = (state(engine), counted());
    // A repetition is answered before its key is looked up.
    let item = Item { key: "unknown", cost: 1, limit: None };
    for Answered { call, seq, answer, .. } in before.answered.iter().filter(|each| each.is_alive(before.now_ns)) {
        let (first, _) = decode_answer(answer, *seq).unwrap_or_else(|reason| panic!("{what}: {reason}"));
        let same = match first {
            Answer::One(first) => engine
                .run(&Idempotent { operation: Check::new(item), call: *call })
                .map(|again| again.repeated && again.answer == first),
            Answer::Multi(first) => engine
                .run(&Idempotent { operation: CheckAll { items: &[item] }, call: *call })
                .map(|again| again.repeated && again.answer == first),
        };
        assert!(matches!(same, Ok(true)), "{what}: {call:?} does not get its first answer: {same:?}");
    }
    assert!(state(engine) == before && counted() == counts, "{what}: repeated calls changed something");
}

/// A recovered store is written, closed and opened `then`: the same.
///
/// # Panics
/// When it is not, naming `what` led there.
pub fn assert_continues(disk: &SimDisk, engine: Engine, then: &Options, what: &str) {
    let given = limit("5/minute", Algorithm::TokenBucket);
    let check = |key: &str, with| match engine.check(key, 1, with) {
        Err(error) if !is_refusal(&error) => panic!("{what}: {error}"),
        _ => {}
    };
    assert_repeatable(&engine, what);
    for _ in 0..2 {
        check("one more", Some(&given));
        for image in state(&engine).images.iter().take(4) {
            check(&image.key, None);
        }
    }
    let before = state(&engine);
    engine.close().unwrap_or_else(|error| panic!("{what}: closing: {error}"));
    drop(engine);
    let engine = open(disk, then.clone()).unwrap_or_else(|error| panic!("{what}: once more: {error}"));
    assert!(engine.recovery().clean, "{what}: the end of a clean session was torn");
    assert!(state(&engine) == before, "{what}: other keys or answers after closing and opening again");
    assert_repeatable(&engine, what);
    if then.sync == SyncMode::Batch {
        // A clean end twice in a row; in the other mode the store is left as by a process that ends without saying so.
        engine.close().unwrap_or_else(|error| panic!("{what}: closing again: {error}"));
    }
}
