//! Batch mode: the flusher beside callers, close() and a failing disk.

use std::sync::Arc;

use flint_core::engine::{OnChange, Options, SyncMode};
use flint_core::testing::sim::{Fault, SimDisk};
use flint_core::{Engine, Error, Result};
use shuttle::rand::{Rng, thread_rng};

use crate::explore::explore;
use crate::support::{Tally, World, allowed, assert_tidy, goes_on, limit, look, options, run, unless_closed};

fn world(flush_every_events: u64) -> World {
    let disk = SimDisk::new();
    let options = Options { flush_every_events, ..options(SyncMode::Batch) };
    let engine = Arc::new(Engine::open_in(disk.dir(), options).unwrap());
    engine.limit("k", &limit("100/day"), OnChange::Keep).unwrap();
    World { disk, engine, sync: SyncMode::Batch }
}

/// Each call fills a batch, so that the flusher may not wait for its time-out, which perhaps never strikes here. A call that
/// it forgot leaves the test waiting until shuttle gives up.
#[test]
fn the_flusher_syncs_every_call_that_fills_a_batch() {
    explore(12_000, || {
        let world = world(1);
        let check = |_| -> Box<dyn FnOnce() + Send> {
            let world = world.clone();
            Box::new(move || {
                for _ in 0..2 {
                    assert!(world.engine.check("k", 1, None).unwrap().allowed);
                }
            })
        };
        run((0..2).map(check).collect());
        loop {
            let counters = world.engine.counters();
            if counters.durable_seq == counters.seq {
                break;
            }
            shuttle::thread::yield_now();
        }
        assert_eq!(allowed(&world.power_cut(), "k"), 4);
        world.engine.close().unwrap();
        assert_tidy(&world);
    });
}

#[test]
fn what_flush_or_close_acknowledged_is_on_disk() {
    explore(12_000, || {
        let world = world(2);
        let checks = Tally::default();
        let (a, of_a) = (world.clone(), checks.clone());
        let (b, before) = (world.clone(), checks.clone());
        let c = world.clone();
        run(vec![
            Box::new(move || {
                for _ in 0..3 {
                    if unless_closed(a.engine.check("k", 1, None)).is_some() {
                        of_a.add(1);
                    }
                }
            }),
            Box::new(move || {
                let at_least = before.get();
                if unless_closed(b.engine.flush()).is_some() {
                    assert!(allowed(&b.power_cut(), "k") >= at_least);
                }
            }),
            Box::new(move || {
                if thread_rng().gen_ratio(1, 2) {
                    c.engine.close().unwrap();
                }
            }),
        ]);
        world.engine.close().unwrap();
        assert_tidy(&world);
        assert_eq!(allowed(&world.power_cut(), "k"), checks.get());
        goes_on(&world.power_cut(), "k", checks.get());
    });
}

/// Once a sync has failed: nothing but this error, or that it is closed.
fn is_refusal<T>(result: &Result<T>) -> bool {
    match result {
        Err(Error::Stopped { errno, .. }) => *errno == Some(5),
        Err(Error::Storage { source, .. }) => source.raw_os_error() == Some(5),
        Err(Error::Closed) => true,
        _ => false,
    }
}

#[test]
fn a_failed_sync_reaches_calls_flush_and_close_and_is_not_tried_again() {
    const SCHEDULES: usize = 16_000;
    let by_flusher = Tally::default();
    let struck_behind = by_flusher.clone();
    explore(SCHEDULES, move || {
        let world = world(2);
        world.engine.flush().unwrap();
        let at_start = world.engine.counters().syncs;
        world.disk.set_fail(world.disk.ops(), Fault::FsyncFails, false);
        let (checks, flushes) = (Tally::default(), Tally::default());
        let check = |_| -> Box<dyn FnOnce() + Send> {
            let (world, checks) = (world.clone(), checks.clone());
            Box::new(move || {
                let mut stopped = false;
                for _ in 0..2 {
                    let result = world.engine.check("k", 1, None);
                    match &result {
                        Ok(outcome) => {
                            assert!(outcome.allowed && !stopped, "a call succeeded after the stop");
                            checks.add(1);
                        }
                        Err(_) => assert!(is_refusal(&result)),
                    }
                    stopped = result.is_err();
                }
            })
        };
        let mut threads: Vec<_> = (0..2).map(check).collect();
        let closes = thread_rng().gen_ratio(1, 2);
        let (of_flush, flushed, before) = (world.clone(), flushes.clone(), checks.clone());
        threads.push(Box::new(move || {
            let owed = before.get() > 0;
            if closes {
                assert!(is_refusal(&of_flush.engine.close()), "close succeeded although no sync can");
            } else if of_flush.engine.flush().is_ok() {
                assert!(!owed, "a flush succeeded although no sync can");
                flushed.add(1);
            }
        }));
        run(threads);
        if !closes {
            struck_behind.add(u64::from(flushes.get() == 1 && world.engine.has_notices()));
            if checks.get() > 0 {
                // No other thread is left to sync, or the flusher was faster: the error is here now, and stays.
                assert!(is_refusal(&world.engine.flush()));
                assert!(is_refusal(&world.engine.check("k", 1, None)));
                assert!(matches!(world.engine.flush(), Err(Error::Stopped { .. })));
            }
            let result = world.engine.close();
            assert!(is_refusal(&result) && !matches!(result, Err(Error::Closed)));
        }
        assert!(world.engine.is_closed());
        assert!(matches!(world.engine.check("k", 1, None), Err(Error::Closed)));
        assert_eq!(world.engine.counters().syncs, at_start + 1, "the failed sync, and none after it");
        assert!(world.disk.clear_fail());
        // None was acknowledged as durable; the directory is free and goes on.
        assert!(!look(&world.disk).recovery().clean);
        let after = world.power_cut();
        let kept = allowed(&after, "k");
        assert!(kept <= checks.get());
        goes_on(&after, "k", kept);
    });
    assert!(by_flusher.get() > 20, "the flusher never was the one that failed");
}
