//! Snapshots beside running checks.

use flint_core::engine::{Item, OnChange, SyncMode};

use crate::explore::explore;
use crate::support::{Cuts, Tally, World, allowed, assert_tidy, either_mode, goes_on, limit, look, run, unless_closed};

/// More than two slices, so that the lock is given up in between.
const KEYS: usize = 140;

fn world(sync: SyncMode) -> World {
    let world = World::new(sync);
    let names: Vec<String> = (0..KEYS).map(|key| format!("k{key}")).collect();
    let limit = limit("100/day");
    let specs: Vec<_> = names.iter().map(|name| (name.as_str(), limit, OnChange::Keep)).collect();
    world.engine.limit_many(&specs).unwrap();
    world
}

#[test]
fn a_snapshot_beside_checks_loses_nothing() {
    explore(5_000, || {
        let world = world(SyncMode::Always);
        let (checks, cuts) = (Tally::default(), Cuts::default());
        let (a, of_a) = (world.clone(), checks.clone());
        let compact = || -> Box<dyn FnOnce() + Send> {
            let (world, checks, cuts) = (world.clone(), checks.clone(), cuts.clone());
            Box::new(move || {
                world.engine.compact().unwrap();
                cuts.take(&world, &checks);
            })
        };
        let check: Box<dyn FnOnce() + Send> = Box::new(move || {
            for _ in 0..3 {
                let item = |key| Item { key, cost: 1, limit: None };
                assert!(a.engine.check_all(&[item("k0"), item("k139")]).unwrap().allowed);
                of_a.add(1);
            }
            a.engine.delete("k70").unwrap();
            assert!(look(&a.power_cut()).status("k70").unwrap().is_none());
        });
        run(vec![compact(), check, compact(), cuts.watch(&world, &checks)]);
        cuts.verify("k139", 3);
        let before = world.engine.list(None, None, None).unwrap();
        assert_eq!(before.len(), KEYS - 1);
        assert_eq!(look(&world.power_cut()).list(None, None, None).unwrap(), before);
        world.engine.close().unwrap();
        assert_tidy(&world);
        assert_eq!(look(&world.disk).list(None, None, None).unwrap(), before);
        goes_on(&world.disk, "k0", 3);
    });
}

#[test]
fn a_snapshot_that_close_interrupts_costs_nothing() {
    const SCHEDULES: usize = 6_000;
    let (finished, interrupted) = (Tally::default(), Tally::default());
    let (all_finished, all_interrupted) = (finished.clone(), interrupted.clone());
    explore(SCHEDULES, move || {
        let world = world(either_mode());
        let checks = Tally::default();
        let (a, of_a) = (world.clone(), checks.clone());
        let (b, finished, interrupted) = (world.clone(), all_finished.clone(), all_interrupted.clone());
        let c = world.clone();
        run(vec![
            Box::new(move || {
                for _ in 0..2 {
                    of_a.add(unless_closed(a.engine.check("k1", 1, None)).map_or(0, |outcome| outcome.cost));
                }
            }),
            Box::new(move || match unless_closed(b.engine.compact()) {
                Some(()) => finished.add(1),
                None => interrupted.add(1),
            }),
            Box::new(move || c.engine.close().unwrap()),
        ]);
        assert_tidy(&world);
        assert_eq!(look(&world.disk).list(None, None, None).unwrap().len(), KEYS);
        assert_eq!(allowed(&world.disk, "k1"), checks.get());
        goes_on(&world.disk, "k1", checks.get());
    });
    let (finished, interrupted) = (finished.get(), interrupted.get());
    assert!(finished.min(interrupted) > SCHEDULES as u64 / 20, "{finished} finished, {interrupted} were interrupted");
}
