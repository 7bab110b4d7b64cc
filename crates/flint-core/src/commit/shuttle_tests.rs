//! Group commit under every kind of schedule. `shuttle` finds a thread that sleeps forever: it fails a schedule in which
//! no thread can go on.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use shuttle::thread;

use super::*;
use crate::error::Error;
use crate::sync::explore::explore;
use crate::sync::process;

/// Records and a disk. What only the test looks at is no scheduling point.
#[derive(Default)]
struct Log {
    commit: GroupCommit,
    appended: AtomicU64,
    broken: AtomicBool,
    on_disk: process::AtomicU64,
    syncing: process::AtomicBool,
    syncs: process::AtomicU64,
}

/// How a sync ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Success,
    Failure,
    Panic,
}

impl Log {
    fn append(&self) -> u64 {
        self.appended.fetch_add(1, Ordering::SeqCst) + 1
    }

    fn on_disk(&self) -> u64 {
        self.on_disk.load(Ordering::SeqCst)
    }

    fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::SeqCst)
    }

    /// Waits for record `seq`. `end` says how the sync with the given number (from 1) ends.
    fn wait(&self, seq: u64, end: impl Fn(u64) -> End) -> Result<()> {
        let usable = || if self.broken.load(Ordering::SeqCst) { Err(Error::Closed) } else { Ok(()) };
        let sync = || {
            assert!(!self.syncing.swap(true, Ordering::SeqCst), "one sync at a time");
            assert!(self.on_disk() < seq, "a sync for a record that is on disk");
            let number = self.syncs.fetch_add(1, Ordering::SeqCst) + 1;
            let target = self.appended.load(Ordering::SeqCst);
            thread::yield_now();
            let end = end(number);
            if end == End::Failure {
                self.broken.store(true, Ordering::SeqCst);
            }
            self.syncing.store(false, Ordering::SeqCst);
            match end {
                End::Success => {
                    self.on_disk.fetch_max(target, Ordering::SeqCst);
                    Ok(target)
                }
                End::Failure => Err(Error::Closed),
                // Without the panic hook, which would print each.
                End::Panic => resume_unwind(Box::new("a sync panics")),
            }
        };
        let result = self.commit.wait(seq, usable, sync);
        if result.is_ok() {
            assert!(self.on_disk() >= seq, "record {seq} is not on disk");
        }
        result
    }

    fn assert_at_rest(&self) {
        let turn = self.commit.turn.lock();
        assert!(!turn.syncing && turn.queue.is_empty());
    }
}

fn in_threads(threads: u64, run: impl Fn(u64) + Send + Sync + 'static) {
    let run = Arc::new(run);
    let spawned = (0..threads).map(|thread| {
        let run = run.clone();
        thread::spawn(move || run(thread))
    });
    for thread in spawned.collect::<Vec<_>>() {
        thread.join().unwrap();
    }
}

#[test]
fn no_waiter_is_forgotten_and_none_returns_too_early() {
    let shared = Arc::new(process::AtomicU64::new(0));
    let seen = shared.clone();
    explore(40_000, move || {
        let log = Arc::new(Log::default());
        let of_threads = log.clone();
        in_threads(4, move |_| {
            for _ in 0..2 {
                let seq = of_threads.append();
                of_threads.wait(seq, |_| End::Success).unwrap();
            }
        });
        log.assert_at_rest();
        assert_eq!(log.on_disk(), 8);
        assert!(log.syncs() <= 8);
        seen.fetch_add(u64::from(log.syncs() < 8), Ordering::SeqCst);
    });
    assert!(shared.load(Ordering::SeqCst) > 10_000, "callers hardly ever share a sync");
}

#[test]
fn many_waiters_for_one_record_share_its_sync() {
    explore(20_000, || {
        let log = Arc::new(Log::default());
        let seq = log.append();
        let of_threads = log.clone();
        in_threads(5, move |_| of_threads.wait(seq, |_| End::Success).unwrap());
        log.assert_at_rest();
        assert_eq!(log.syncs(), 1);
    });
}

#[test]
fn a_failed_sync_fails_all_waiters_and_is_never_retried() {
    let failed = Arc::new(process::AtomicU64::new(0));
    let seen = failed.clone();
    explore(40_000, move || {
        let log = Arc::new(Log::default());
        let (of_threads, seen) = (log.clone(), seen.clone());
        in_threads(4, move |_| {
            for _ in 0..2 {
                let end = |number| if number == 2 { End::Failure } else { End::Success };
                let too_late = of_threads.broken.load(Ordering::SeqCst);
                let seq = of_threads.append();
                match of_threads.wait(seq, end) {
                    Ok(()) => assert!(!too_late, "acknowledged after a failed sync"),
                    Err(_) => {
                        assert!(of_threads.broken.load(Ordering::SeqCst) && of_threads.on_disk() < seq);
                        seen.fetch_add(1, Ordering::SeqCst);
                    }
                }
            }
        });
        log.assert_at_rest();
        assert!(log.syncs() <= 2, "a sync after the failed one");
        let seq = log.append();
        if log.syncs() == 2 {
            assert!(log.wait(seq, |_| End::Success).is_err());
            assert_eq!(log.syncs(), 2);
        }
    });
    assert!(failed.load(Ordering::SeqCst) > 40_000, "hardly any failure was seen");
}

#[test]
fn a_leader_that_panics_leaves_the_lead_to_the_others() {
    let panics = Arc::new(process::AtomicU64::new(0));
    let seen = panics.clone();
    explore(30_000, move || {
        let log = Arc::new(Log::default());
        let (of_threads, seen) = (log.clone(), seen.clone());
        in_threads(4, move |_| {
            let seq = of_threads.append();
            let end = |number| if number <= 2 { End::Panic } else { End::Success };
            match catch_unwind(AssertUnwindSafe(|| of_threads.wait(seq, end))) {
                Ok(result) => result.unwrap(),
                Err(_) => drop(seen.fetch_add(1, Ordering::SeqCst)),
            }
        });
        log.assert_at_rest();
        assert!((3..=4).contains(&log.syncs()));
        assert_eq!(log.on_disk(), 4);
    });
    assert_eq!(panics.load(Ordering::SeqCst), 2 * 30_000);
}
