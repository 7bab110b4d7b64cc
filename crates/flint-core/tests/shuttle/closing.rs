//! Closing while calls run.

use flint_core::engine::OnChange;
use flint_core::lock_holder::Holder;
use flint_core::{Engine, Error};
use shuttle::rand::{Rng, thread_rng};

use crate::explore::explore;
use crate::support::{
    Tally, World, allowed, assert_tidy, assert_tidy_disk, either_mode, goes_on, limit, look, options, run,
    unless_closed,
};

/// Two checks, one more call of any kind, and close().
#[test]
fn every_call_is_made_or_fails_because_the_store_is_closed() {
    const SCHEDULES: usize = 16_000;
    let (made, refused) = (Tally::default(), Tally::default());
    let (all_made, all_refused) = (made.clone(), refused.clone());
    explore(SCHEDULES, move || {
        let world = World::with_key(either_mode(), "100/day");
        let (checks, limits) = (Tally::default(), Tally::default());
        let other = thread_rng().gen_range(0..5);
        let (a, b, c) = (world.clone(), world.clone(), world.clone());
        let (of_a, of_b) = (checks.clone(), limits.clone());
        let (made, refused) = (all_made.clone(), all_refused.clone());
        run(vec![
            Box::new(move || {
                for _ in 0..2 {
                    match unless_closed(a.engine.check("k", 1, None)) {
                        Some(outcome) => {
                            assert!(outcome.allowed);
                            of_a.add(1);
                            made.add(1);
                        }
                        None => refused.add(1),
                    }
                }
            }),
            Box::new(move || match other {
                0 => drop(unless_closed(b.engine.flush())),
                1 => drop(unless_closed(b.engine.compact())),
                2 => drop(unless_closed(b.engine.status("k"))),
                3 => drop(unless_closed(b.engine.list(None, None, None))),
                _ => {
                    if unless_closed(b.engine.limit("new", &limit("5/day"), OnChange::Keep)).is_some() {
                        of_b.add(1);
                    }
                }
            }),
            Box::new(move || {
                c.engine.close().unwrap();
                assert!(matches!(c.engine.check("k", 1, None), Err(Error::Closed)));
                assert!(matches!(c.engine.flush(), Err(Error::Closed)));
            }),
        ]);
        assert_tidy(&world);
        assert_eq!(allowed(&world.disk, "k"), checks.get());
        let new = look(&world.disk).status("new").unwrap();
        assert_eq!(u64::from(new.is_some()), limits.get());
        goes_on(&world.disk, "k", checks.get());
    });
    let (made, refused) = (made.get(), refused.get());
    assert!(made.min(refused) > SCHEDULES as u64 / 4, "{made} calls were made, {refused} refused");
}

#[test]
fn closing_twice_at_once_ends_the_session_once_for_both() {
    explore(12_000, || {
        let world = World::with_key(either_mode(), "100/day");
        let checks = Tally::default();
        let (a, of_a) = (world.clone(), checks.clone());
        let close = || -> Box<dyn FnOnce() + Send> {
            let world = world.clone();
            Box::new(move || {
                world.engine.close().unwrap();
                assert!(world.engine.is_closed());
                // A caller that learns that it is closed may open it again, or hand the directory to another process.
                let ops = world.disk.ops();
                shuttle::thread::yield_now();
                assert_eq!(world.disk.ops(), ops, "the directory was touched after close");
            })
        };
        let check: Box<dyn FnOnce() + Send> = Box::new(move || {
            if unless_closed(a.engine.check("k", 1, None)).is_some() {
                of_a.add(1);
            }
        });
        run(vec![close(), check, close()]);
        assert_tidy(&world);
        assert_eq!(allowed(&world.disk, "k"), checks.get());
    });
}

/// Another owner opens the directory as soon as its lock is free, although calls may still be on their way out.
#[test]
fn nothing_of_a_closed_store_touches_the_directory_of_the_next() {
    explore(8_000, || {
        let world = World::with_key(either_mode(), "100/day");
        let checks = Tally::default();
        let (a, b, c, d) = (world.clone(), world.clone(), world.clone(), world.clone());
        let of_a = checks.clone();
        run(vec![
            Box::new(move || {
                for _ in 0..4 {
                    of_a.add(unless_closed(a.engine.check("k", 1, None)).map_or(0, |outcome| outcome.cost));
                }
            }),
            Box::new(move || {
                unless_closed(b.engine.compact());
            }),
            Box::new(move || c.engine.close().unwrap()),
            Box::new(move || {
                let next = loop {
                    match Engine::open_in(d.disk.dir(), options(d.sync)) {
                        Ok(next) => break next,
                        Err(Error::Locked { holder: Holder::Here { .. }, .. }) => shuttle::thread::yield_now(),
                        Err(error) => panic!("{error}"),
                    }
                };
                assert!(next.recovery().clean);
                assert!(next.check("k", 1, None).unwrap().allowed);
                next.close().unwrap();
            }),
        ]);
        assert_tidy(&world);
        assert_eq!(allowed(&world.disk, "k"), checks.get() + 1);
    });
}

/// The thread that has the last handle closes the store, while no other thread has one. The others were waiting when the first
/// handles went.
#[test]
fn dropping_handles_while_others_wait_closes_cleanly() {
    explore(12_000, || {
        let world = World::with_key(either_mode(), "100/day");
        let checks = Tally::default();
        let disk = world.disk.clone();
        let check = |_| -> Box<dyn FnOnce() + Send> {
            let (world, checks) = (world.clone(), checks.clone());
            Box::new(move || {
                assert!(world.engine.check("k", 1, None).unwrap().allowed);
                checks.add(1);
            })
        };
        let mut threads: Vec<Box<dyn FnOnce() + Send>> = (0..3).map(check).collect();
        threads.push(Box::new(move || drop(world)));
        run(threads);
        assert_tidy_disk(&disk);
        assert_eq!((checks.get(), allowed(&disk, "k")), (3, 3));
    });
}
