//! The engine against a reference that keeps every event and works everything out from the definitions: what is used comes
//! from walking the events, waiting times from searching for the first moment at which the definition holds. All calls, all
//! algorithms, one to eight rates a key, redefinition, limits given with the call, steps of the wall clock, reopening after a
//! close and after a death, with time and a stepped clock in between, looking beside, compaction.

mod driver;
mod reference;

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::support::engine::{HOUR, MINUTE, MS, SECOND};
use crate::support::{evidence, seeded};
use driver::{Done, Driver, Pool, Step};
use flint_core::engine::SyncMode;
use flint_core::limit::{Algorithm, Limit, MAX_RATES, Rate};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

const CASES: u32 = 6_000;
/// Limits of a case: more than the counters of a key.
const LIMITS: usize = 11;

fn rate() -> impl Strategy<Value = Rate> {
    let limit = prop_oneof![6 => 1..=12_u64, 2 => 1..=2_000_u64, 1 => seeded::wide()];
    let per_ms = prop_oneof![3 => 1..=20_u64, 3 => 1_000..=10_000_u64, 1 => 1..=315_360_000_000_u64];
    let burst = prop_oneof![2 => Just(None), 1 => (1..=30_u64).prop_map(Some)];
    (limit, per_ms, burst, prop::sample::select(Algorithm::ALL.to_vec())).prop_filter_map(
        "outside the bounds",
        |(limit, per_ms, burst, algorithm)| {
            let burst = burst.filter(|_| algorithm == Algorithm::TokenBucket);
            Rate::new(limit, per_ms, burst, algorithm).ok()
        },
    )
}

/// A few rates, and limits made of them, so that redefinitions have rates in common.
fn pool() -> impl Strategy<Value = Pool> {
    let chosen =
        prop_oneof![5 => prop::collection::vec(0..5_usize, 1..=3), 1 => prop::collection::vec(0..5_usize, MAX_RATES)];
    (prop::collection::vec(rate(), 5), prop::collection::vec(chosen, LIMITS)).prop_map(|(rates, limits)| {
        let limit = |chosen: Vec<usize>| -> Limit {
            Limit::new(&chosen.into_iter().map(|i| rates[i]).collect::<Vec<_>>()).unwrap()
        };
        Pool { limits: limits.into_iter().map(limit).collect() }
    })
}

fn advance() -> impl Strategy<Value = u64> {
    prop_oneof![
        1 => Just(0),
        3 => 1..=3 * MS,
        3 => 1..=3 * SECOND,
        2 => 1..=2 * MINUTE,
        1 => 1..=100 * 24 * HOUR,
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0..4_usize;
    let maybe_limit = prop_oneof![2 => Just(None), 1 => (0..LIMITS).prop_map(Some)];
    // Thousandths of the capacity; 0 and 1001 stand for a cost of zero and one above the capacity.
    let cost = prop_oneof![6 => 1..=400_u32, 1 => Just(1_000), 1 => prop::sample::select(vec![0, 1_001])];
    let away = prop_oneof![1 => Just(0), 1 => advance()];
    let item = (key.clone(), cost.clone(), maybe_limit.clone());
    prop_oneof![
        12 => (key.clone(), cost.clone(), maybe_limit.clone())
            .prop_map(|(key, cost, limit)| Step::Check { key, cost, limit }),
        4 => (key.clone(), cost, maybe_limit).prop_map(|(key, cost, limit)| Step::Peek { key, cost, limit }),
        5 => prop::collection::vec(item, 1..=5).prop_map(Step::CheckAll),
        4 => (key.clone(), 0..LIMITS, any::<bool>()).prop_map(|(key, limit, reset)| Step::Limit { key, limit, reset }),
        1 => prop::collection::vec((key.clone(), 0..LIMITS, any::<bool>()), 0..4).prop_map(Step::LimitMany),
        4 => key.clone().prop_map(|key| Step::Boundary { key }),
        1 => (key.clone(), 1..=300_u32, 0..=MS).prop_map(|(key, count, pause_ns)| Step::Burst { key, count, pause_ns }),
        1 => key.clone().prop_map(|key| Step::Reset { key }),
        1 => key.prop_map(|key| Step::Delete { key }),
        8 => advance().prop_map(Step::Advance),
        1 => (-48_i64..48).prop_map(|hours| Step::SetWall { hours }),
        4 => (any::<bool>(), away, prop_oneof![3 => Just(0), 1 => -48_i64..48])
            .prop_map(|(kill, ns, wall_hours)| Step::Reopen { kill, ns, wall_hours }),
        2 => Just(Step::Compact),
        2 => Just(Step::LookBeside),
        1 => Just(Step::Flush),
    ]
}

#[test]
fn every_answer_is_the_reference_s() {
    let total = RefCell::new(BTreeMap::<&str, u64>::new());
    let input = (pool(), any::<bool>(), prop::collection::vec(step(), 1..120));
    let mut runner = TestRunner::new(seeded::config(CASES));
    let result = runner.run(&input, |(pool, always, steps)| {
        let mode = if always { SyncMode::Always } else { SyncMode::Batch };
        let mut driver = Driver::new(mode, pool);
        for step in &steps {
            driver.run(step);
        }
        driver.run(&Step::Reopen { kill: false, ns: 0, wall_hours: 0 });
        let Done { allowed, denied, reopenings, deaths, looks, several } = driver.done;
        for (name, count) in [
            ("engine_model_cases", 1),
            ("engine_model_steps", steps.len() as u64),
            ("engine_model_allowed", allowed),
            ("engine_model_denied", denied),
            ("engine_model_several_counters", several),
            ("engine_model_reopenings", reopenings),
            ("engine_model_deaths", deaths),
            ("engine_model_looks_beside", looks),
        ] {
            *total.borrow_mut().entry(name).or_default() += count;
        }
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
    let least = u64::from(CASES);
    for (name, count) in total.into_inner() {
        evidence::record(name, count);
        assert!(count >= least, "the cases missed what they are for: {name} {count}");
    }
}
