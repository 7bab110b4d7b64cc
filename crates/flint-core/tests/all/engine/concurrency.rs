//! Many threads, one order: never more than the limit, whatever runs beside.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::engine::{MODES, SECOND, World, bucket, item, limit};
use crate::support::eventually::wait_until;
use flint_core::engine::{OnChange, SyncMode};
use flint_core::limit::Algorithm;
use flint_core::lock_holder::Holder;
use flint_core::{Engine, Error, files};

const THREADS: u64 = 8;

fn in_threads(run: impl Fn(u64) + Sync) {
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let run = &run;
            scope.spawn(move || run(thread));
        }
    });
}

#[test]
fn threads_together_get_exactly_the_limit() {
    for mode in MODES {
        for algorithm in Algorithm::ALL {
            let world = World::new(mode);
            let engine = world.open();
            engine.limit("k", &limit("500/hour; 700/day", algorithm), OnChange::Keep).unwrap();
            let allowed = AtomicU64::new(0);
            in_threads(|thread| {
                for _ in 0..200 {
                    let outcome = engine.check("k", 1 + thread % 2, None).unwrap();
                    allowed.fetch_add(if outcome.allowed { outcome.cost } else { 0 }, Ordering::Relaxed);
                }
            });
            assert_eq!(allowed.into_inner(), 500, "{algorithm:?}");
            let status = engine.status("k").unwrap().unwrap();
            assert_eq!((status.remaining, status.total_allowed_cost), (0, 500));
            assert_eq!(status.total_allowed + status.total_denied, THREADS * 200);
            engine.close().unwrap();
            assert_eq!(world.open().status("k").unwrap().unwrap(), status);
        }
    }
}

#[test]
fn multi_key_checks_from_both_ends_neither_deadlock_nor_take_half() {
    let world = World::new(SyncMode::Batch);
    let engine = world.open();
    for key in ["a", "b", "c"] {
        engine.limit(key, &bucket("1000/day"), OnChange::Keep).unwrap();
    }
    in_threads(|thread| {
        let forwards = [item("a", 1), item("b", 2), item("c", 3)];
        let backwards = [item("c", 3), item("b", 2), item("a", 1)];
        for _ in 0..200 {
            engine.check_all(if thread % 2 == 0 { &forwards } else { &backwards }).unwrap();
        }
    });
    let taken: Vec<u64> =
        engine.list(None, None, None).unwrap().iter().map(|status| status.total_allowed_cost).collect();
    assert_eq!(taken, [333, 666, 999]);
    let before = engine.list(None, None, None).unwrap();
    engine.close().unwrap();
    assert_eq!(world.open().list(None, None, None).unwrap(), before);
}

#[test]
fn checks_go_on_while_snapshots_are_taken_and_a_kill_then_loses_nothing() {
    for mode in MODES {
        let world = World::new(mode);
        let engine = world.open();
        for key in 0..500 {
            engine.limit(&format!("k{key}"), &bucket("1000000/day; 9/10ms"), OnChange::Keep).unwrap();
        }
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let compactor = scope.spawn(|| {
                let mut rounds = 0;
                while !done.load(Ordering::Acquire) || rounds < 3 {
                    engine.compact().unwrap();
                    rounds += 1;
                }
                rounds
            });
            in_threads(|thread| {
                for round in 0..400_u64 {
                    world.clock.advance_ns(1_000);
                    let key = format!("k{}", (round * 7 + thread * 61) % 500);
                    match round % 20 {
                        0 => drop(engine.delete(&key)),
                        1 => engine.limit(&key, &bucket(&format!("{}/day", 1_000 + round)), OnChange::Keep).unwrap(),
                        2 => drop(engine.reset(&key)),
                        _ => drop(engine.check(&key, 1, Some(&bucket("77/hour; 5/s"))).unwrap()),
                    }
                }
            });
            done.store(true, Ordering::Release);
            assert!(compactor.join().unwrap() >= 3);
        });
        let denials_aside = |engine: &Engine| {
            let mut all = engine.list(None, None, None).unwrap();
            for status in &mut all {
                (status.whole.total_denied, status.whole.total_denied_cost, status.whole.last_denied_at_ns) =
                    (0, 0, None);
            }
            all
        };
        let before = denials_aside(&engine);
        assert!(before.len() > 300);
        let killed = World { disk: world.disk.kill(), clock: world.clock.clone(), options: world.options.clone() };
        assert_eq!(denials_aside(&killed.open()), before);
        let full = engine.list(None, None, None).unwrap();
        engine.close().unwrap();
        assert_eq!(world.open().list(None, None, None).unwrap(), full);
    }
}

#[test]
fn what_was_acknowledged_before_close_is_there_and_later_calls_say_closed() {
    for round in 0..40 {
        let world = World::new(MODES[round % 2]);
        let engine = world.open();
        engine.limit("k", &bucket("1000000/day"), OnChange::Keep).unwrap();
        let acknowledged = AtomicU64::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    loop {
                        match engine.check("k", 1, None) {
                            Ok(outcome) => drop(acknowledged.fetch_add(outcome.cost, Ordering::SeqCst)),
                            Err(Error::Closed) => return,
                            Err(error) => panic!("{error}"),
                        }
                    }
                });
            }
            wait_until("50 calls are acknowledged", || acknowledged.load(Ordering::SeqCst) >= 50);
            engine.close().unwrap();
        });
        assert!(matches!(engine.status("k"), Err(Error::Closed)));
        let engine = world.open();
        assert!(engine.recovery().clean);
        assert_eq!(engine.status("k").unwrap().unwrap().total_allowed, acknowledged.into_inner());
    }
}

/// Whatever still ran would work on a directory that may have another owner by then.
#[test]
fn nothing_touches_the_directory_after_close() {
    for round in 0..60 {
        let world = World::new(MODES[round % 2]);
        let engine = world.open();
        for key in 0..300 {
            engine.limit(&format!("k{key}"), &bucket("1000000/day"), OnChange::Keep).unwrap();
        }
        let started = AtomicU64::new(0);
        thread::scope(|scope| {
            let threads = [
                scope.spawn(|| {
                    while engine.check("k1", 1, None).is_ok() {
                        started.fetch_or(1, Ordering::SeqCst);
                    }
                }),
                scope.spawn(|| {
                    while engine.compact().is_ok() {
                        started.fetch_or(2, Ordering::SeqCst);
                    }
                }),
                scope.spawn(|| while engine.flush().is_ok() {}),
            ];
            wait_until("all threads have started", || started.load(Ordering::SeqCst) == 3);
            for _ in 0..round * 200 {
                std::hint::spin_loop();
            }
            engine.close().unwrap();
            let ops = world.disk.ops();
            for thread in threads {
                thread.join().unwrap();
            }
            assert_eq!(world.disk.ops(), ops, "round {round}");
        });
        let names = world.disk.dir().list().unwrap();
        assert!(names.iter().all(|name| !name.ends_with(".tmp") || name == files::RESERVE), "{names:?}");
        drop(engine);
        assert!(world.open().recovery().clean);
    }
}

#[test]
fn closing_twice_at_once_is_fine_and_both_wait_until_it_is_done() {
    for _ in 0..20 {
        let world = World::new(SyncMode::Batch);
        let engine = world.open();
        engine.limit("k", &bucket("10/s"), OnChange::Keep).unwrap();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    engine.close().unwrap();
                    assert!(engine.is_closed());
                });
            }
        });
        assert!(matches!(engine.check("k", 1, None), Err(Error::Closed)));
        assert!(matches!(engine.flush(), Err(Error::Closed)));
        world.open();
    }
}

#[test]
fn a_second_writer_in_the_same_process_gets_an_error_that_says_so() {
    let world = World::new(SyncMode::Batch);
    let engine = world.open();
    engine.limit("k", &bucket("2/day"), OnChange::Keep).unwrap();
    let ops = world.disk.ops();
    let second = Engine::open_in(world.disk.dir(), world.options.clone()).err().unwrap();
    let message = second.to_string();
    assert!(matches!(second, Error::Locked { holder: Holder::Here { .. }, waited: Duration::ZERO, .. }), "{message}");
    assert!(message.contains("read_only=True") && message.contains("imported twice"), "{message}");
    assert_eq!(world.disk.ops(), ops);
    assert!(engine.check("k", 1, None).unwrap().allowed, "the first goes on");
    drop(engine);
    assert_eq!(world.open().check("k", 1, None).unwrap().remaining, 0);
}

#[test]
fn a_second_writer_elsewhere_is_named() {
    let world = World::new(SyncMode::Batch);
    world.open().limit("k", &bucket("2/day"), OnChange::Keep).unwrap();
    let lock = String::from_utf8(world.disk.read_file("flint.lock").unwrap()).unwrap();
    let store = lock.lines().nth(1).unwrap();
    world.disk.lock_elsewhere("flint.lock", Some(&format!("999999999\n{store}\n")));
    let refused = Engine::open_in(world.disk.dir(), world.options.clone()).err().unwrap();
    assert!(matches!(refused, Error::Locked { holder: Holder::Ended { pid: 999_999_999 }, .. }), "{refused}");
    assert!(refused.to_string().contains("999999999"));
    assert_eq!(world.open_read_only().status("k").unwrap().unwrap().remaining, 2, "a reader needs no lock");
    world.disk.lock_elsewhere("flint.lock", None);
    assert!(world.open().check("k", 1, None).unwrap().allowed);
}

#[test]
fn time_runs_forward_for_all_threads() {
    let world = World::new(SyncMode::Batch);
    let engine = world.open();
    engine.limit("k", &limit("20/s", Algorithm::SlidingWindowLog), OnChange::Keep).unwrap();
    let allowed = AtomicU64::new(0);
    in_threads(|_| {
        for _ in 0..500 {
            world.clock.advance_ns(SECOND / 1_000);
            allowed.fetch_add(u64::from(engine.check("k", 1, None).unwrap().allowed), Ordering::Relaxed);
        }
    });
    // Four seconds: at most five windows' worth, at least what one thread alone would get.
    let allowed = allowed.into_inner();
    assert!((80..=100).contains(&allowed), "{allowed}");
    let before = engine.list(None, None, None).unwrap();
    engine.close().unwrap();
    assert_eq!(world.open().list(None, None, None).unwrap(), before, "log order is time order");
}
