//! Segments that run full: callers and the worker want the next one at the same time.

use flint_core::engine::{OnChange, SyncMode};
use flint_core::limit::Limit;
use shuttle::rand::{Rng, thread_rng};

use crate::explore::explore;
use crate::support::{Cuts, Tally, World, assert_tidy, either_mode, limit, look, run, unless_closed};

/// Keys of one call: with 16 KiB segments the third call needs the next segment.
const KEYS: usize = 70;
/// Needs a segment larger than usual.
const MANY_KEYS: usize = 220;

fn names(thread: usize, call: usize, keys: usize) -> Vec<String> {
    (0..keys).map(|key| format!("{thread}-{call}-{key:050}")).collect()
}

fn specs(names: &[String]) -> Vec<(&str, Limit, OnChange)> {
    let limit = limit("5/day");
    names.iter().map(|name| (name.as_str(), limit, OnChange::Keep)).collect()
}

fn found(world: &World) -> u64 {
    look(&world.disk).list(None, None, None).unwrap().len() as u64
}

#[test]
fn callers_and_the_worker_make_one_spare_at_a_time() {
    const SCHEDULES: usize = 3_000;
    let rotations = Tally::default();
    let all_rotations = rotations.clone();
    explore(SCHEDULES, move || {
        let world = World::new(either_mode());
        world.engine.limit("k", &limit("100/day"), OnChange::Keep).unwrap();
        world.engine.flush().unwrap();
        let (keys, checks, cuts) = (Tally::default(), Tally::default(), Cuts::default());
        let thread = |thread: usize| -> Box<dyn FnOnce() + Send> {
            let (world, set, checks) = (world.clone(), keys.clone(), checks.clone());
            let large = thread == 0 && thread_rng().gen_ratio(1, 3);
            Box::new(move || {
                for call in 0..2 {
                    let names = names(thread, call, if large { MANY_KEYS } else { KEYS });
                    world.engine.limit_many(&specs(&names)).unwrap();
                    set.add(names.len() as u64);
                    assert!(world.engine.check("k", 1, None).unwrap().allowed);
                    if world.sync == SyncMode::Always {
                        checks.add(1);
                    }
                }
            })
        };
        let mut threads: Vec<_> = (0..2).map(thread).collect();
        threads.push(cuts.watch(&world, &checks));
        run(threads);
        cuts.verify("k", 4);
        let counters = world.engine.counters();
        assert!(counters.rotations > 0);
        all_rotations.add(counters.rotations);
        let before = world.engine.list(None, None, None).unwrap();
        world.engine.close().unwrap();
        assert_tidy(&world);
        assert_eq!(look(&world.disk).list(None, None, None).unwrap(), before);
        assert_eq!(before.len() as u64, keys.get() + 1);
    });
    assert!(rotations.get() > SCHEDULES as u64);
}

#[test]
fn closing_while_a_spare_is_made_leaves_none() {
    explore(5_000, || {
        let world = World::new(either_mode());
        let keys = Tally::default();
        let thread = |thread: usize| -> Box<dyn FnOnce() + Send> {
            let (world, set) = (world.clone(), keys.clone());
            Box::new(move || {
                for call in 0..2 {
                    let names = names(thread, call, KEYS);
                    if unless_closed(world.engine.limit_many(&specs(&names))).is_some() {
                        set.add(names.len() as u64);
                    }
                }
            })
        };
        let closing = world.clone();
        let mut threads: Vec<_> = (0..2).map(thread).collect();
        threads.push(Box::new(move || closing.engine.close().unwrap()));
        run(threads);
        assert_tidy(&world);
        assert_eq!(found(&world), keys.get());
    });
}
