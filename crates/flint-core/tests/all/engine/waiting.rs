//! Calls that wait for the disk without a thread of their own: one wake-up for each sync, and no waiter is forgotten.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{Wake, Waker};
use std::time::Duration;

use crate::support::engine::{MODES, World, bucket, item};
use crate::support::gated_disk::Gate;
use flint_core::engine::{Check, OnChange, Options, SyncMode, WaitPolicy};
use flint_core::testing::sim::{CrashPlan, Fault};
use flint_core::{Engine, Error};

/// Long enough for any machine; nothing is decided by how long it really takes.
const DEADLINE: Duration = Duration::from_secs(60);

struct Bell {
    rings: AtomicU64,
    rung: Sender<()>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.rings.fetch_add(1, Ordering::SeqCst);
        // The test may have ended.
        let _ = self.rung.send(());
    }
}

fn bell() -> (Arc<Bell>, Waker, Receiver<()>) {
    let (rung, heard) = channel();
    let bell = Arc::new(Bell { rings: AtomicU64::new(0), rung });
    (bell.clone(), bell.into(), heard)
}

fn check(engine: &Engine) -> u64 {
    engine.try_run(&Check::new(item("k", 1)), WaitPolicy::Lock).unwrap().expect("there is room").seq
}

#[test]
fn a_record_is_made_durable_and_its_waker_woken() {
    let world = World::new(SyncMode::Always);
    let engine = world.open();
    engine.limit("k", &bucket("100/day"), OnChange::Keep).unwrap();
    let (bell, waker, heard) = bell();
    for n in 1..=5 {
        let seq = check(&engine);
        assert!(engine.must_wait(seq));
        engine.wake_when_durable(&waker).unwrap();
        heard.recv_timeout(DEADLINE).unwrap();
        assert!(engine.poll_durable(seq).unwrap());
        assert_eq!(bell.rings.load(Ordering::SeqCst), n);
        let after_power_cut = World { disk: world.disk.power_cut(CrashPlan::LoseUnsynced), ..world.clone() };
        assert_eq!(after_power_cut.open().status("k").unwrap().unwrap().total_allowed, n);
    }
}

#[test]
fn many_records_share_a_sync_and_each_waker_is_woken_once() {
    let world = World::new(SyncMode::Always);
    let gate = Gate::new(world.disk.dir());
    let engine = Engine::open_in(gate.dir(), world.options.clone()).unwrap();
    engine.limit("k", &bucket("100/day"), OnChange::Keep).unwrap();
    let (first, of_first, heard_first) = bell();
    let (second, of_second, heard_second) = bell();
    let before = engine.counters();
    let closed = gate.close();
    let alone = check(&engine);
    engine.wake_when_durable(&of_first).unwrap();
    gate.wait_for_a_sync();
    // While that sync is under way, calls go on and no waiter is woken.
    let together: Vec<u64> = (0..40).map(|_| check(&engine)).collect();
    for _ in &together {
        engine.wake_when_durable(&of_first).unwrap();
        engine.wake_when_durable(&of_second).unwrap();
    }
    assert!(!engine.poll_durable(alone).unwrap());
    assert_eq!(first.rings.load(Ordering::SeqCst), 0);
    drop(closed);
    heard_first.recv_timeout(DEADLINE).unwrap();
    heard_first.recv_timeout(DEADLINE).unwrap();
    heard_second.recv_timeout(DEADLINE).unwrap();
    assert!(together.iter().all(|seq| engine.poll_durable(*seq).unwrap()));
    assert_eq!((first.rings.load(Ordering::SeqCst), second.rings.load(Ordering::SeqCst)), (2, 1));
    let counters = engine.counters();
    assert_eq!(counters.syncs - before.syncs, 2, "one for the first record, one for all that came meanwhile");
    assert_eq!(counters.sync_records.sum - before.sync_records.sum, 41);
    assert_eq!(counters.sync_ns.counts.iter().sum::<u64>(), counters.sync_records.counts.iter().sum::<u64>());
}

#[test]
fn a_failed_sync_wakes_every_waiter_with_the_error() {
    let world = World::new(SyncMode::Always);
    let engine = world.open();
    engine.limit("k", &bucket("100/day"), OnChange::Keep).unwrap();
    let (_, waker, heard) = bell();
    world.disk.set_fail(world.disk.ops(), Fault::FsyncFails, false);
    let seq = check(&engine);
    engine.wake_when_durable(&waker).unwrap();
    heard.recv_timeout(DEADLINE).unwrap();
    assert!(matches!(engine.poll_durable(seq), Err(Error::Stopped { .. })));
    // A waiter that comes later is woken, too, and learns the same; also after close().
    engine.wake_when_durable(&waker).unwrap();
    heard.recv_timeout(DEADLINE).unwrap();
    assert!(engine.close().is_err());
    engine.wake_when_durable(&waker).unwrap();
    heard.recv_timeout(DEADLINE).unwrap();
    assert!(matches!(engine.poll_durable(seq), Err(Error::Stopped { .. })));
}

#[test]
fn closing_makes_durable_what_a_caller_still_waits_for() {
    for mode in MODES {
        let world = World::new(mode);
        let gate = Gate::new(world.disk.dir());
        let options = Options { flush_every_events: u64::MAX, flush_every_ms: u64::MAX, ..world.options.clone() };
        let engine = Arc::new(Engine::open_in(gate.dir(), options).unwrap());
        engine.limit("k", &bucket("100/day"), OnChange::Keep).unwrap();
        let (_, waker, heard) = bell();
        let closed = gate.close();
        check(&engine);
        engine.wake_when_durable(&waker).unwrap();
        gate.wait_for_a_sync();
        let seq = check(&engine);
        let (_, late, heard_late) = bell();
        engine.wake_when_durable(&late).unwrap();
        let closing = std::thread::spawn({
            let engine = engine.clone();
            move || engine.close()
        });
        drop(closed);
        closing.join().unwrap().unwrap();
        heard.recv_timeout(DEADLINE).unwrap();
        heard_late.recv_timeout(DEADLINE).unwrap();
        assert!(engine.poll_durable(seq).unwrap());
        assert!(matches!(engine.poll_durable(seq + 100), Err(Error::Closed)), "nothing that was never written");
    }
}

#[test]
fn a_call_that_may_not_wait_for_the_disk_returns_none() {
    let world = World::new(SyncMode::Batch);
    let options = Options { flush_every_events: u64::MAX, flush_every_ms: u64::MAX, ..world.options.clone() };
    let gate = Gate::new(world.disk.dir());
    let engine = Engine::open_in(gate.dir(), options).unwrap();
    engine.limit("k", &bucket("1000000/day"), OnChange::Keep).unwrap();
    let closed = gate.close();
    // Unsynced log never exceeds a segment: sooner or later a call would have to wait for the disk.
    let refused = (0..2_000).find(|_| engine.try_run(&Check::new(item("k", 1)), WaitPolicy::Lock).unwrap().is_none());
    assert!(refused.is_some());
    let before = engine.status("k").unwrap().unwrap();
    assert!(engine.try_run(&Check::new(item("k", 1)), WaitPolicy::Lock).unwrap().is_none());
    assert_eq!(engine.status("k").unwrap().unwrap(), before, "nothing was consumed");
    drop(closed);
    assert!(engine.check("k", 1, None).unwrap().allowed);
}

#[test]
fn an_attempt_that_is_denied_counts_nothing_until_it_is_given_up() {
    let world = World::new(SyncMode::Batch);
    let engine = world.open();
    engine.limit("k", &bucket("2/minute"), OnChange::Keep).unwrap();
    let attempt = || engine.run(&Check::attempt(item("k", 1))).unwrap();
    assert!(attempt().allowed && attempt().allowed);
    let denied = attempt();
    assert!(!denied.allowed && denied.retry_after_ns > 0);
    assert_eq!((engine.status("k").unwrap().unwrap().total_denied, engine.counters().denied), (0, 0));
    engine.count_denial("k", 1, None).unwrap();
    engine.count_denial("unknown", 1, None).unwrap();
    let status = engine.status("k").unwrap().unwrap();
    assert_eq!((status.total_allowed, status.total_denied, status.total_denied_cost), (2, 1, 1));
    assert_eq!(engine.counters().denied, 1);
}

#[test]
fn compaction_blocks_no_call() {
    for mode in MODES {
        let world = World::new(mode);
        let gate = Gate::new(world.disk.dir());
        let engine = Engine::open_in(gate.dir(), world.options.clone()).unwrap();
        engine.limit("k", &bucket("100/day"), OnChange::Keep).unwrap();
        let closed = gate.close_for(|file| file.starts_with("flint-snapshot"));
        std::thread::scope(|scope| {
            let compacting = scope.spawn(|| engine.compact());
            gate.wait_for_a_sync();
            let (done, is_done) = channel();
            let engine = &engine;
            scope.spawn(move || {
                for n in 0..50 {
                    assert!(engine.check("k", 1, None).unwrap().allowed);
                    engine.limit(&format!("new-{n}"), &bucket("1/s"), OnChange::Keep).unwrap();
                    engine.reset("new-0").unwrap();
                    assert_eq!(engine.status("k").unwrap().unwrap().total_allowed, n + 1);
                }
                engine.flush().unwrap();
                done.send(()).unwrap();
            });
            let went_on = is_done.recv_timeout(DEADLINE);
            let was_compacting = !compacting.is_finished();
            // Whatever came of it, or the threads would wait for ever.
            drop(closed);
            compacting.join().unwrap().unwrap();
            went_on.expect("calls go on");
            assert!(was_compacting);
        });
        assert_eq!(engine.counters().compactions, 1);
    }
}
