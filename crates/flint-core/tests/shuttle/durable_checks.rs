//! Durable checks on one key.

use flint_core::Engine;
use flint_core::engine::{Check, Item, Outcome, SyncMode, WaitPolicy};
use shuttle::rand::{Rng, thread_rng};

use crate::explore::explore;
use crate::support::{Cuts, Tally, World, allowed, run};

const SCHEDULES: usize = 8_000;
const LIMIT: u64 = 4;
const THREADS: u64 = 3;

/// Waiting for the lock or, as a caller does that may not block, trying first.
fn check(engine: &Engine) -> Outcome {
    if thread_rng().gen_ratio(1, 3)
        && let Some(outcome) =
            engine.try_run(&Check::new(Item { key: "k", cost: 1, limit: None }), WaitPolicy::Never).unwrap()
    {
        if engine.must_wait(outcome.seq) {
            engine.wait_durable(outcome.seq).unwrap();
        }
        return outcome;
    }
    engine.check("k", 1, None).unwrap()
}

#[test]
fn no_more_than_the_limit_and_nothing_acknowledged_is_lost() {
    let early = Tally::default();
    let all_early = early.clone();
    explore(SCHEDULES, move || {
        let world = World::with_key(SyncMode::Always, "4/day");
        let (acknowledged, denied, cuts) = (Tally::default(), Tally::default(), Cuts::default());
        let thread = |_| -> Box<dyn FnOnce() + Send> {
            let (world, acknowledged, denied, cuts) =
                (world.clone(), acknowledged.clone(), denied.clone(), cuts.clone());
            Box::new(move || {
                for _ in 0..2 {
                    if check(&world.engine).allowed {
                        acknowledged.add(1);
                        cuts.take(&world, &acknowledged);
                    } else {
                        denied.add(1);
                    }
                }
            })
        };
        run((0..THREADS).map(thread).collect());
        assert_eq!((acknowledged.get(), denied.get()), (LIMIT, 2 * THREADS - LIMIT));
        let found = cuts.verify("k", LIMIT);
        assert_eq!(found.len() as u64, LIMIT);
        all_early.add(found.iter().filter(|found| **found < LIMIT).count() as u64);
        drop(world.engine);
        assert_eq!(allowed(&world.disk, "k"), LIMIT);
    });
    assert!(early.get() > SCHEDULES as u64 / 2, "hardly any power cut struck before the last check was durable");
}
