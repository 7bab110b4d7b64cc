//! Group commit: callers who need record `n` on disk either find that it is, or wait for the sync under way, or lead the
//! next one. A sync covers everything appended when it starts, so that any number of callers share one fdatasync and nobody
//! is delayed to gather company.

use crate::error::Result;
use crate::sync::{AtomicU64, Condvar, Mutex, Ordering};

/// Who is syncing and how far the disk is.
#[derive(Default)]
pub(crate) struct GroupCommit {
    durable_seq: AtomicU64,
    syncing: Mutex<bool>,
    done: Condvar,
}

/// Ends a sync even if it panics, so that nobody waits for ever.
struct Lead<'a>(&'a GroupCommit);

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        *self.0.syncing.lock() = false;
        self.0.done.notify_all();
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

    /// Returns when record `seq` is on disk. `sync` makes everything appended so far durable and tells how far that is; it
    /// runs in at most one thread at a time, with no lock held. `usable` fails once a sync has failed: a failed sync is never
    /// tried again.
    pub(crate) fn wait(&self, seq: u64, usable: impl Fn() -> Result<()>, sync: impl Fn() -> Result<u64>) -> Result<()> {
        loop {
            if self.durable_seq() >= seq {
                return Ok(());
            }
            let mut syncing = self.syncing.lock();
            if self.durable_seq() >= seq {
                return Ok(());
            }
            usable()?;
            if *syncing {
                self.done.wait(&mut syncing);
                continue;
            }
            *syncing = true;
            drop(syncing);
            let lead = Lead(self);
            let durable = sync()?;
            self.durable_seq.fetch_max(durable, Ordering::AcqRel);
            drop(lead);
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
}
