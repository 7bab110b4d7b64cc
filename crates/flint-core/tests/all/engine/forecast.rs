//! The wait that is reported to a queue is what happens, and each rate of an answer is what that rate says.

use crate::support::engine::{HOUR, MS, SECOND, World, bucket, item, limit};
use crate::support::seeded;
use flint_core::engine::{Check, OnChange, SyncMode};
use flint_core::limit::{Algorithm, Limit, RateVerdict};
use flint_core::{Engine, Error};
use proptest::prelude::*;

/// Takes `costs` one after the other, each exactly when it is said to fit; gives the time that took, nanoseconds.
fn wait_for_all(world: &World, engine: &Engine, costs: &[u64]) -> u64 {
    let mut waited = 0;
    for &cost in costs {
        loop {
            let outcome = engine.run(&Check::attempt(item("k", cost))).unwrap();
            if outcome.allowed {
                break;
            }
            world.clock.advance_ns(outcome.retry_after_ns);
            waited += outcome.retry_after_ns;
        }
    }
    waited
}

#[test]
fn a_forecast_is_the_time_that_the_queue_then_takes() {
    let rates = prop::sample::select(vec!["7/s", "3/250ms burst 9", "5/s; 12/minute", "4/100ms"]);
    let costs = prop::collection::vec(seeded::wide().prop_map(|n| 1 + n % 4), 1..20);
    let strategy = (rates, 0_usize..3, prop::collection::vec(1_u64..=3, 0..8), costs, 0_u64..SECOND);
    let mut runner = proptest::test_runner::TestRunner::new(seeded::config(400));
    runner
        .run(&strategy, |(text, algorithm, before, costs, pause_ns)| {
            let algorithm = Algorithm::ALL[algorithm];
            let text = if algorithm == Algorithm::TokenBucket { text } else { text.split(" burst").next().unwrap() };
            let costs: Vec<u64> = costs.iter().map(|cost| (*cost).min(limit(text, algorithm).capacity())).collect();
            let world = World::new(SyncMode::Batch);
            let engine = world.open();
            engine.limit("k", &limit(text, algorithm), OnChange::Keep).unwrap();
            for cost in before {
                engine.check("k", cost, None).unwrap();
                world.clock.advance_ns(pause_ns / 7);
            }
            let (status, seq) = (engine.status("k").unwrap(), engine.counters().seq);
            let forecast = engine.forecast("k", None, &costs).unwrap();
            prop_assert_eq!((engine.status("k").unwrap(), engine.counters().seq), (status, seq));
            prop_assert_eq!(wait_for_all(&world, &engine, &costs), forecast, "{} {:?}", text, algorithm);
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_forecast_for_a_limit_that_comes_with_the_call() {
    let world = World::new(SyncMode::Batch);
    let engine = world.open();
    let ten = bucket("10/s");
    assert!(matches!(engine.forecast("k", None, &[1]), Err(Error::LimitNotFound { .. })));
    assert_eq!(engine.forecast("k", Some(&ten), &[10]).unwrap(), 0);
    assert_eq!(engine.forecast("k", Some(&ten), &[10, 1, 1]).unwrap(), SECOND / 5);
    assert_eq!(engine.forecast("k", Some(&ten), &[11]).unwrap(), u64::MAX, "it never fits");
    engine.check("k", 10, Some(&ten)).unwrap();
    // Another limit has a counter of its own.
    assert_eq!(engine.forecast("k", Some(&bucket("100/s")), &[100]).unwrap(), 0);
    assert_eq!(engine.forecast("k", Some(&bucket("100/s")), &[100, 1]).unwrap(), SECOND / 100);
    assert_eq!(engine.forecast("k", None, &[1]).unwrap(), SECOND / 10, "nothing was changed by asking");
    engine.check("k", 1, Some(&bucket("100/s"))).unwrap();
    assert_eq!(engine.forecast("k", Some(&ten), &[1]).unwrap(), SECOND / 10);
    assert_eq!(engine.forecast("k", None, &[100]).unwrap(), SECOND / 100);
}

fn mixed() -> Limit {
    let each = [("10/s", Algorithm::TokenBucket), ("3/minute", Algorithm::FixedWindowCounter)];
    let rates: Vec<_> = each.iter().map(|(text, algorithm)| limit(text, *algorithm).rates()[0]).collect();
    Limit::new(&rates).unwrap()
}

fn remaining(rates: &[RateVerdict]) -> Vec<(u64, u64, u64)> {
    rates.iter().map(|rate| (rate.rate.limit(), rate.verdict.remaining, rate.verdict.retry_after_ns)).collect()
}

#[test]
fn an_answer_tells_what_each_rate_says() {
    let world = World::new(SyncMode::Batch);
    let engine = world.open();
    engine.limit("k", &mixed(), OnChange::Keep).unwrap();
    assert_eq!(remaining(&engine.peek("k", 2, None).unwrap().rates()), [(10, 8, 0), (3, 1, 0)]);
    let allowed = engine.check("k", 2, None).unwrap();
    assert_eq!(remaining(&allowed.rates()), [(10, 8, 0), (3, 1, 0)]);
    assert_eq!((allowed.limit, allowed.remaining), (3, 1), "the second one binds");
    let denied = engine.check("k", 2, None).unwrap();
    let minute = 60 * SECOND;
    assert_eq!(remaining(&denied.rates()), [(10, 8, 0), (3, 1, minute)], "nothing was taken from the first either");
    let all = engine.check_all(&[item("k", 1)]).unwrap();
    assert_eq!(remaining(&all.items[0].rates()), [(10, 7, 0), (3, 0, 0)]);
    engine.limit("full", &bucket("1/hour"), OnChange::Keep).unwrap();
    engine.check("full", 1, None).unwrap();
    world.clock.advance_ns(61 * SECOND);
    let all = engine.check_all(&[item("k", 3), item("full", 1)]).unwrap();
    assert!(!all.allowed);
    assert_eq!(remaining(&all.items[0].rates()), [(10, 10, 0), (3, 3, 0)], "as it stands");
    assert_eq!(remaining(&all.items[1].rates()), [(1, 0, HOUR - 61 * SECOND)]);
}

#[test]
fn a_limit_with_the_call_tells_what_each_rate_says() {
    let world = World::new(SyncMode::Batch);
    let engine = world.open();
    let first = engine.check("k", 2, Some(&mixed())).unwrap();
    assert_eq!(remaining(&first.rates()), [(10, 8, 0), (3, 1, 0)]);
    let single = engine.check("k", 1, Some(&bucket("100/250ms"))).unwrap();
    let rates = single.rates();
    assert_eq!((rates.len(), rates[0].rate.per_ms(), rates[0].verdict.remaining), (1, 250, 99));
    assert_eq!(rates[0].verdict.reset_after_ns, single.reset_after_ns);
    assert!(rates[0].verdict.reset_after_ns <= 250 * MS);
}
