//! Group commit: a caller that needs record `n` on disk either finds that it is, or waits for the sync under way, or leads the
//! next one. A sync covers everything appended when it starts, so that any number of callers share one fdatasync and none of them
//! is delayed to gather company.
//!
//! After a sync the leader of the next one is woken first, so that the disk works again while the others still wake up.
//! Those wake each other one by one: a crowd woken at once would only queue again, for this lock or for the one behind it.

use std::collections::VecDeque;

use crate::error::Result;
use crate::hooks::{self, Defect};
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, Ordering, Thread, current_thread, park};

/// Whether a sync is under way, and the newest durable record.
#[derive(Default)]
pub(crate) struct GroupCommit {
    durable_seq: AtomicU64,
    turn: Mutex<Turn>,
}

/// Whenever a waiter's record is on disk, or there are waiters and no sync is under way, there is a caller awake that
/// has still to look at the queue.
#[derive(Default)]
struct Turn {
    syncing: bool,
    /// As many as there are threads inside `wait`, at most.
    queue: VecDeque<Waiter>,
}

struct Waiter {
    seq: u64,
    thread: Thread,
    woken: Arc<AtomicBool>,
}

impl Waiter {
    fn wake(self) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

impl Turn {
    /// Takes a waiter whose record is on disk out of the queue; if there is none and no sync is under way, one to lead.
    fn next(&mut self, durable_seq: u64) -> Option<Waiter> {
        let early = u64::from(hooks::has(Defect::WakeOneEarly));
        let satisfied = self.queue.iter().position(|waiter| waiter.seq <= durable_seq + early);
        self.queue.remove(satisfied.or((!self.syncing).then_some(0))?)
    }
}

/// Ends a sync even if it panics, so that no caller waits forever.
struct Lead<'a> {
    commit: &'a GroupCommit,
    succeeded: bool,
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        let durable_seq = self.commit.durable_seq();
        let mut turn = self.commit.turn.lock();
        turn.syncing = false;
        if !self.succeeded {
            let all = std::mem::take(&mut turn.queue);
            drop(turn);
            all.into_iter().for_each(Waiter::wake);
            return;
        }
        let leader = turn.queue.iter().position(|waiter| waiter.seq > durable_seq);
        let leader = leader.and_then(|index| turn.queue.remove(index));
        let next = turn.next(durable_seq);
        drop(turn);
        leader.into_iter().chain(next).for_each(Waiter::wake);
    }
}

impl GroupCommit {
    pub(crate) fn new(durable_seq: u64) -> Self {
        Self { durable_seq: AtomicU64::new(durable_seq), ..Self::default() }
    }

    /// The newest record known to be on disk.
    #[inline]
    pub(crate) fn durable_seq(&self) -> u64 {
        self.durable_seq.load(Ordering::Acquire)
    }

    /// Returns when record `seq` is on disk. `sync` makes everything appended so far durable and returns how far that is; it
    /// runs in at most one thread at a time, with no lock held. `usable` fails once a sync has failed: a failed sync is never
    /// tried again.
    pub(crate) fn wait(&self, seq: u64, usable: impl Fn() -> Result<()>, sync: impl Fn() -> Result<u64>) -> Result<()> {
        let mut was_woken = false;
        loop {
            if !was_woken && self.durable_seq() >= seq {
                return Ok(());
            }
            let mut turn = self.turn.lock();
            let durable_seq = self.durable_seq();
            let early = u64::from(was_woken && hooks::has(Defect::WakeOneEarly));
            let verdict = if durable_seq + early >= seq { Some(Ok(())) } else { usable().err().map(Err) };
            let leads = verdict.is_none() && !turn.syncing;
            turn.syncing |= leads;
            // A caller that was woken wakes the next.
            let next = if was_woken { turn.next(durable_seq) } else { None };
            let woken = (verdict.is_none() && !leads).then(|| {
                let woken = Arc::new(AtomicBool::new(false));
                turn.queue.push_back(Waiter { seq, thread: current_thread(), woken: woken.clone() });
                woken
            });
            drop(turn);
            if let Some(next) = next {
                next.wake();
            }
            if let Some(verdict) = verdict {
                return verdict;
            }
            was_woken = woken.is_some();
            match woken {
                Some(woken) => {
                    while !woken.load(Ordering::Acquire) {
                        park();
                    }
                }
                None => {
                    let mut lead = Lead { commit: self, succeeded: false };
                    self.durable_seq.fetch_max(sync()?, Ordering::AcqRel);
                    lead.succeeded = true;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::sync::{Arc, AtomicBool};
    use std::sync::mpsc;

    #[test]
    fn callers_that_come_during_a_sync_share_the_next_one() {
        let commit = Arc::new(GroupCommit::new(0));
        let appended = Arc::new(AtomicU64::new(1));
        let syncs = Arc::new(AtomicU64::new(0));
        let (entered, in_sync) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let released = Arc::new(Mutex::new(released));
        let wait = |seq: u64| {
            let (commit, appended, syncs) = (commit.clone(), appended.clone(), syncs.clone());
            let (entered, released) = (entered.clone(), released.clone());
            std::thread::spawn(move || {
                commit.wait(
                    seq,
                    || Ok(()),
                    || {
                        let target = appended.load(Ordering::SeqCst);
                        syncs.fetch_add(1, Ordering::SeqCst);
                        entered.send(()).unwrap();
                        released.lock().recv().unwrap();
                        Ok(target)
                    },
                )
            })
        };
        let first = wait(1);
        in_sync.recv().unwrap();
        appended.store(9, Ordering::SeqCst);
        let others: Vec<_> = (2..=9).map(wait).collect();
        release.send(()).unwrap();
        first.join().unwrap().unwrap();
        in_sync.recv().unwrap();
        release.send(()).unwrap();
        for other in others {
            other.join().unwrap().unwrap();
        }
        assert_eq!(syncs.load(Ordering::SeqCst), 2, "eight callers shared the second sync");
    }

    #[test]
    fn a_failed_sync_fails_every_waiter_and_is_not_tried_again() {
        let commit = GroupCommit::new(0);
        let broken = AtomicBool::new(false);
        let syncs = AtomicU64::new(0);
        let usable = || if broken.load(Ordering::SeqCst) { Err(Error::Closed) } else { Ok(()) };
        let sync = || {
            syncs.fetch_add(1, Ordering::SeqCst);
            broken.store(true, Ordering::SeqCst);
            Err(Error::Closed)
        };
        assert!(commit.wait(1, usable, sync).is_err());
        assert!(commit.wait(1, usable, sync).is_err());
        assert_eq!(syncs.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn no_waiter_is_forgotten_and_none_returns_too_early() {
        const THREADS: usize = 8;
        const CALLS: usize = 2_000;
        let commit = Arc::new(GroupCommit::new(0));
        let appended = Arc::new(AtomicU64::new(0));
        let on_disk = Arc::new(AtomicU64::new(0));
        let syncing = Arc::new(AtomicBool::new(false));
        let (ended, ends) = mpsc::channel();
        for thread in 0..THREADS {
            let (commit, appended, on_disk) = (commit.clone(), appended.clone(), on_disk.clone());
            let (syncing, ended) = (syncing.clone(), ended.clone());
            std::thread::spawn(move || {
                for call in 0..CALLS {
                    let seq = appended.fetch_add(1, Ordering::SeqCst) + 1;
                    let sync = || {
                        assert!(!syncing.swap(true, Ordering::SeqCst), "one sync at a time");
                        let target = appended.load(Ordering::SeqCst);
                        // Now a short sync, now a longer one that more callers wait for.
                        for _ in 0..(call + thread) % 4 {
                            std::thread::yield_now();
                        }
                        on_disk.fetch_max(target, Ordering::SeqCst);
                        syncing.store(false, Ordering::SeqCst);
                        Ok(target)
                    };
                    commit.wait(seq, || Ok(()), sync).unwrap();
                    assert!(on_disk.load(Ordering::SeqCst) >= seq, "record {seq} is not on disk");
                }
                ended.send(()).unwrap();
            });
        }
        drop(ended);
        for _ in 0..THREADS {
            ends.recv_timeout(std::time::Duration::from_secs(60)).expect("a caller sleeps for ever or failed");
        }
    }
}

#[cfg(test)]
#[cfg(feature = "shuttle")]
mod shuttle_tests;
