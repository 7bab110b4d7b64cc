//! Calls that wait for the disk without a thread of their own, beside close() and a failing disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Wake, Waker};

use flint_core::engine::{Check, Item, SyncMode, WaitPolicy};
use flint_core::testing::sim::Fault;
use flint_core::{Engine, Error, Result};

use crate::explore::explore;
use crate::support::{Cuts, Tally, World, allowed, goes_on, run, unless_closed};

/// Counts how often it was rung: no scheduling point, like a byte in a socket.
#[derive(Default)]
struct Bell(AtomicU64);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn begin(engine: &Engine) -> Result<u64> {
    let item = Item { key: "k", cost: 1, limit: None };
    Ok(engine.try_run(&Check::new(item), WaitPolicy::Lock)?.expect("there is room").seq)
}

/// As an event loop does: looks at its records whenever its bell was rung since it last looked, and never otherwise. A wake-up
/// that is lost leaves the test turning until shuttle gives up.
fn wait_for(engine: &Engine, bell: &Bell, seq: u64) -> Result<()> {
    let mut heard = 0;
    loop {
        let rung = bell.0.load(Ordering::SeqCst);
        if rung > heard {
            heard = rung;
            if engine.poll_durable(seq)? {
                return Ok(());
            }
        }
        shuttle::thread::yield_now();
    }
}

fn event_loop(world: &World, calls: u64, durable: &Tally) -> Box<dyn FnOnce() + Send> {
    let (world, durable) = (world.clone(), durable.clone());
    Box::new(move || {
        let bell = Arc::new(Bell::default());
        let waker: Waker = bell.clone().into();
        for _ in 0..calls {
            let Some(seq) = unless_closed(begin(&world.engine)) else { return };
            world.engine.wake_when_durable(&waker).unwrap();
            if unless_closed(wait_for(&world.engine, &bell, seq)).is_some() {
                durable.add(1);
            }
        }
    })
}

#[test]
fn every_record_gets_to_the_disk_and_its_loop_learns_it() {
    explore(8_000, || {
        let world = World::with_key(SyncMode::Always, "100/day");
        let (durable, cuts) = (Tally::default(), Cuts::default());
        let (sync, of_sync) = (world.clone(), durable.clone());
        run(vec![
            event_loop(&world, 2, &durable),
            event_loop(&world, 2, &durable),
            Box::new(move || {
                assert!(sync.engine.check("k", 1, None).unwrap().allowed);
                of_sync.add(1);
            }),
            cuts.watch(&world, &durable),
        ]);
        assert_eq!(durable.get(), 5);
        cuts.verify("k", 5);
        world.engine.close().unwrap();
        goes_on(&world.disk, "k", 5);
    });
}

#[test]
fn closing_leaves_no_waiter() {
    explore(8_000, || {
        let world = World::with_key(SyncMode::Always, "100/day");
        let durable = Tally::default();
        let closing = world.clone();
        run(vec![
            event_loop(&world, 2, &durable),
            event_loop(&world, 1, &durable),
            Box::new(move || closing.engine.close().unwrap()),
        ]);
        // Every check that was decided before close() is durable with it.
        assert_eq!(allowed(&world.disk, "k"), durable.get());
    });
}

#[test]
fn a_failed_sync_reaches_every_loop() {
    explore(8_000, || {
        let world = World::with_key(SyncMode::Always, "100/day");
        world.disk.set_fail(world.disk.ops(), Fault::FsyncFails, false);
        let failing = |_| -> Box<dyn FnOnce() + Send> {
            let world = world.clone();
            Box::new(move || {
                let bell = Arc::new(Bell::default());
                let waker: Waker = bell.clone().into();
                let seq = match begin(&world.engine) {
                    Ok(seq) => seq,
                    Err(Error::Stopped { .. }) => return,
                    Err(error) => panic!("{error}"),
                };
                world.engine.wake_when_durable(&waker).unwrap();
                assert!(matches!(wait_for(&world.engine, &bell, seq), Err(Error::Stopped { .. })));
            })
        };
        run((0..3).map(failing).collect());
        assert!(world.engine.close().is_err());
    });
}
