//! Batch mode: when the flusher begins to sync, and that no call waits for it. The disk takes as long as the test wants, so that
//! nothing depends on how fast anything runs; that the time is the one asked for is tested beside the code.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use crate::support::recovery::{START, clock_at, open_at, options, tokens};
use flint_core::Engine;
use flint_core::engine::{OnChange, Options, SyncMode};
use flint_core::testing::sim::{CrashPlan, SimDisk};

/// How long a sync that never comes is waited for.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A disk whose syncs begin and then wait to be let go.
struct Held {
    disk: SimDisk,
    started: Receiver<()>,
    go: Sender<()>,
}

impl Held {
    /// Opens a store; from then on syncs are held. The store comes first, so that a failed test lets its syncs go before it closes it.
    fn open(flush_every_ms: u64, flush_every_events: u64) -> (Engine, Self) {
        let disk = SimDisk::new();
        let options = Options { flush_every_ms, flush_every_events, ..options(SyncMode::Batch, &clock_at(START)) };
        let engine = Engine::open_in(disk.dir(), options).unwrap();
        let ((begins, started), (go, gone)) = (channel(), channel::<()>());
        let (begins, gone) = (Mutex::new(begins), Mutex::new(gone));
        disk.before_sync(move || {
            // Both fail when the test has failed, or is over.
            let _ = begins.lock().unwrap().send(());
            let _ = gone.lock().unwrap().recv();
        });
        (engine, Self { disk, started, go })
    }

    #[track_caller]
    fn begins(&self) {
        self.started.recv_timeout(TIMEOUT).expect("a sync begins");
    }

    fn has_started(&self) -> bool {
        self.started.try_recv().is_ok()
    }

    /// Lets all go from now on.
    fn release(self) -> SimDisk {
        self.disk
    }

    /// Calls that a power cut would leave now.
    fn durable_checks(&self) -> u64 {
        durable_checks(&self.disk)
    }
}

fn durable_checks(disk: &SimDisk) -> u64 {
    let engine = open_at(&disk.power_cut(CrashPlan::LoseUnsynced), SyncMode::Batch, START).unwrap();
    engine.status("k").unwrap().map_or(0, |status| status.total_allowed)
}

fn checks(engine: &Engine, times: u64) {
    for _ in 0..times {
        assert!(engine.check("k", 1, None).unwrap().allowed);
    }
}

#[test]
fn a_full_batch_is_synced_at_once_whatever_its_time() {
    let (engine, held) = Held::open(u64::MAX, 5);
    engine.limit("k", &tokens("1000/hour"), OnChange::Keep).unwrap();
    checks(&engine, 3);
    assert!(!held.has_started(), "the batch is not full");
    checks(&engine, 1);
    held.begins();
    assert_eq!(held.durable_checks(), 0);
    // No call waits for the disk; those that fill a batch meanwhile are part of the next sync, which begins a while
    // after this one ends: its time is tested beside the code.
    checks(&engine, 5);
    assert!(!held.has_started(), "one sync at a time");
    held.go.send(()).unwrap();
    held.begins();
    assert!(held.durable_checks() >= 4, "what was there when a sync began is on disk when it ends");
    held.go.send(()).unwrap();
    let disk = held.release();
    engine.flush().unwrap();
    assert_eq!(durable_checks(&disk), 9);
    assert_eq!(engine.counters().syncs, 2, "nothing was left to flush");
}

#[test]
fn what_fills_no_batch_is_synced_when_its_time_is_over() {
    let (engine, held) = Held::open(1, u64::MAX);
    engine.limit("k", &tokens("1000/hour"), OnChange::Keep).unwrap();
    held.begins();
    checks(&engine, 1);
    held.go.send(()).unwrap();
    // No call comes any more.
    held.begins();
    let counters = engine.counters();
    assert!(counters.durable_seq < counters.seq, "the last call was made when the first sync had started");
    held.go.send(()).unwrap();
    let disk = held.release();
    engine.flush().unwrap();
    assert_eq!(durable_checks(&disk), 1);
    assert_eq!(engine.counters().syncs, 2, "nothing was left to flush");
}
