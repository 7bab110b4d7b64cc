//! The threads of an open store. They hold what the engine's handles share, never a handle, so that dropping the last handle ends
//! them.

use std::io;
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::compact;
use crate::error::{Error, Result};
use crate::hooks::{self, Defect};
use crate::log::segment::{self, Seal};
use crate::memory;
#[cfg(any(test, feature = "testing"))]
use crate::options::SyncMode;
use crate::sync::{Arc, JoinHandle, spawn_named};
use crate::writer::{Blocked, Full};

use crate::store::notices::Severity;
use crate::store::settle::Settling;
use crate::store::shared::Shared;

#[cfg(feature = "testing")]
use super::acquire;

/// The worker runs a round this often even if no call wakes it: denial totals of a store without calls are due then.
const IDLE: Duration = Duration::from_secs(60);
/// After so many slices of giving back memory the allocator gives it back to the system: some 10 MiB.
const RELEASE_EVERY: u32 = 512;
/// And when there is nothing more to give back, after at least this many since the last time: some 1 MiB.
const RELEASE_AT_END: u32 = 64;
/// How long the worker leaves a full disk alone.
const RETRY: Duration = Duration::from_secs(1);

/// After a sync that full batches asked for, the disk is left alone for this many times as long as it took: each sync
/// write-protects the pages that checks write to, and takes a core from them.
const REST: u32 = 9;

/// How long the flusher leaves the disk alone after a sync that took so long. Never longer than a batch may wait anyway, so that at
/// most that time and two syncs are at risk.
fn rest_after(took: Duration, delay: Duration) -> Duration {
    took.saturating_mul(REST).min(delay)
}

/// Batch mode: syncs a while after the first unsynced call, or earlier when the batch is full.
pub(crate) fn spawn_flusher(shared: Arc<Shared>) -> io::Result<JoinHandle<()>> {
    spawn_named("flint-flush", move || {
        let delay = Duration::from_millis(shared.options.flush_every_ms);
        let delay = if hooks::has(Defect::FlushLate) { delay.saturating_mul(2) } else { delay };
        let mut rests_until = None;
        loop {
            let mut ring = shared.flusher.state.lock();
            while !ring.work && !ring.shutdown {
                shared.flusher.rung.wait(&mut ring);
            }
            ring.deadline = Instant::now().checked_add(delay);
            while !ring.pressing && !ring.shutdown {
                let rung = &shared.flusher.rung;
                let timed_out = match (ring.urgent, rests_until, ring.deadline) {
                    (true, None, _) => break,
                    (true, Some(rested), deadline) => {
                        let until = deadline.map_or(rested, |deadline| deadline.min(rested));
                        rung.rest_until(&mut ring, until).timed_out()
                    }
                    (false, _, Some(deadline)) => rung.wait_until(&mut ring, deadline).timed_out(),
                    (false, _, None) => {
                        rung.wait(&mut ring);
                        false
                    }
                };
                if timed_out {
                    break;
                }
            }
            if ring.shutdown {
                return;
            }
            (ring.work, ring.urgent, ring.pressing, ring.deadline) = (false, false, false, None);
            drop(ring);
            if hooks::has(Defect::NeverFlush) {
                continue;
            }
            let seq = shared.core.lock().writer.seq();
            let began = Instant::now();
            // A failure has stopped the engine, and every later call returns it.
            if shared.wait_durable(seq).is_err() {
                return;
            }
            let ended = Instant::now();
            rests_until = ended.checked_add(rest_after(ended - began, delay));
        }
    })
}

/// Syncs for waiters without a thread of their own, and wakes them: all of them, once per sync.
pub(crate) fn spawn_waker(shared: Arc<Shared>) -> io::Result<JoinHandle<()>> {
    spawn_named("flint-wake", move || {
        while let Some(waiting) = shared.wakers.wait() {
            // A failure has stopped the engine; they get it when they poll.
            drop(sync_all(&shared));
            waiting.into_iter().for_each(Waker::wake);
        }
    })
}

/// What that thread would do now, in the caller's thread.
pub(crate) fn serve_wakers_now(shared: &Shared) {
    let waiting = shared.wakers.take();
    if !waiting.is_empty() {
        drop(sync_all(shared));
        waiting.into_iter().for_each(Waker::wake);
    }
}

fn sync_all(shared: &Shared) -> Result<()> {
    let seq = shared.core.lock().writer.seq();
    shared.wait_durable(seq)
}

/// What the threads would do now, in the caller's thread.
#[cfg(feature = "testing")]
pub(crate) fn turn(shared: &Shared) -> Result<()> {
    if shared.options.sync == SyncMode::Batch && !hooks::has(Defect::NeverFlush) {
        sync_all(shared)?;
    }
    if is_compaction_due(shared) {
        compact_in_background(shared);
    }
    chores(shared, &mut 0);
    acquire::serve(shared);
    Ok(())
}

fn is_compaction_due(shared: &Shared) -> bool {
    let core = shared.core.lock();
    shared.compaction_due(&core)
}

/// Makes spares, seals full segments, saves denial totals, starts compactions.
pub(crate) fn spawn_worker(shared: Arc<Shared>) -> io::Result<JoinHandle<()>> {
    spawn_named("flint-work", move || {
        let mut compaction: Option<JoinHandle<()>> = None;
        let mut pause = None;
        let mut unreleased = 0;
        loop {
            {
                let mut ring = shared.worker.state.lock();
                if let Some(pause) = pause.take() {
                    // What wakes the worker during the pause is part of the retry.
                    let until = Instant::now() + pause;
                    while !ring.shutdown && !shared.worker.rung.wait_until(&mut ring, until).timed_out() {}
                } else if !ring.work && !ring.shutdown {
                    shared.worker.rung.wait_for(&mut ring, IDLE);
                }
                if ring.shutdown {
                    break;
                }
                ring.work = false;
            }
            if compaction.as_ref().is_none_or(JoinHandle::is_finished) {
                if let Some(finished) = compaction.take() {
                    drop(finished.join());
                }
                if is_compaction_due(&shared) {
                    let shared = shared.clone();
                    compaction = spawn_named("flint-compact", move || compact_in_background(&shared)).ok();
                }
            }
            if !chores(&shared, &mut unreleased) {
                pause = Some(RETRY);
            }
        }
        if let Some(compaction) = compaction {
            drop(compaction.join());
        }
    })
}

/// One round of everything that may be due. False if something has to be tried again later.
fn chores(shared: &Shared, unreleased: &mut u32) -> bool {
    shared.renew_lock();
    // What is dropped here is dropped without the lock.
    let (segments, maps, dropped, spare_len) = {
        let mut core = shared.core.lock();
        core.worker_knows = false;
        let now = core.view.time.now();
        let expired = core.view.listings.expire(now);
        let dirty = core.dirty.is_empty().then(|| std::mem::take(&mut core.dirty));
        let spare_len = core.writer.needs_spare().then_some(segment::HEADER_LEN);
        (core.writer.take_to_seal(), core.writer.take_retired(), (expired, dirty), spare_len)
    };
    drop((maps, dropped));
    let mut done = true;
    if let Some(len) = spare_len {
        // No call waits for this spare yet; the one that needs it gets the error.
        done &= shared.make_spare(len).is_ok();
    }
    for full in segments {
        // A stopped engine has left a notice; what fails after that adds nothing.
        if let Err(error) = seal(shared, &full)
            && !shared.is_stopped()
        {
            shared.notices.push(Severity::Warning, format!("a full segment could not be sealed: {error}"));
        }
    }
    done &= save_denials_if_due(shared).is_ok();
    settle(shared, unreleased);
    if !done {
        shared.core.lock().worker_knows = true;
    }
    done
}

/// Gives back the memory of deleted keys. What cannot be done now is done when the worker is rung the next time. `unreleased` counts
/// the slices whose memory the allocator still has.
fn settle(shared: &Shared, unreleased: &mut u32) {
    let mut saves = 0;
    loop {
        let settling = shared.core.lock().settle();
        let release_at = match settling {
            Settling::More => {
                *unreleased += 1;
                RELEASE_EVERY
            }
            Settling::AfterDenials if saves < 3 && compact::save_denials(shared).is_ok() => {
                saves += 1;
                RELEASE_EVERY
            }
            Settling::AfterDenials | Settling::Done => RELEASE_AT_END,
        };
        // For as long as it takes no other thread can allocate, so that it is done bit by bit.
        if *unreleased >= release_at {
            memory::release();
            *unreleased = 0;
        }
        if release_at == RELEASE_AT_END {
            return;
        }
        shared.give_way();
    }
}

/// Writes the seal behind a full segment. The segment, its successor and the directory are synced, so that a sealed last
/// segment means that one is missing. Without its seal a segment is read with the tail rule, so failing here loses nothing.
pub(crate) fn seal(shared: &Shared, full: &Full) -> Result<()> {
    let path = || shared.path().join(&full.name);
    let sha256 = segment::sha256_of(&*full.file, full.end_offset)
        .map_err(|error| Error::storage("cannot read", path(), error))?;
    let seal = Seal { end_offset: full.end_offset, last_seq: full.last_seq, sha256, last_crc: full.last_crc };
    let offset = segment::seal_offset(full.len);
    full.file
        .write_all_at(&seal.encode(full.seed), offset)
        .inspect_err(|_| {
            // A write that failed may have written a part, and a part of a seal would be taken for damage.
            drop(full.file.write_all_at(&[0; segment::SEAL_LEN], offset));
        })
        .and_then(|()| full.file.sync_data())
        .map_err(|error| Error::storage("cannot seal", path(), error))
}

fn save_denials_if_due(shared: &Shared) -> Result<()> {
    let due = {
        let mut core = shared.core.lock();
        // No call may have read the clock since the last denial.
        core.view.time.now();
        shared.denials_due(&core)
    };
    let mut left = due;
    while left {
        let mut core = shared.core.lock();
        if core.closed || shared.is_stopped() {
            return Ok(());
        }
        let seq = core.writer.seq();
        match core.save_denials() {
            Ok(more) => left = more,
            // Denials never cause a sync: the totals wait for the next one.
            Err(Blocked::UntilSync) => return Ok(()),
            Err(refusal) => {
                drop(core);
                shared.resolve(refusal, seq)?;
            }
        }
    }
    Ok(())
}

fn compact_in_background(shared: &Shared) {
    shared.core.lock().is_short = false;
    match compact::compact(shared) {
        Ok(()) | Err(Error::Closed) => {}
        // The stop left a notice; that a compaction fails with it adds nothing.
        Err(_) if shared.is_stopped() => {}
        Err(error) => {
            {
                let mut core = shared.core.lock();
                // Try again when the log has grown by as much once more.
                core.compact_above = core.replay_bytes().saturating_mul(2);
            }
            shared.notices.push(Severity::Warning, format!("compaction failed and will be tried again later: {error}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::engine::{Engine, OnChange, Options};
    use crate::limit::{Algorithm, parse_limit};
    use crate::testing::sim::SimDisk;

    #[test]
    fn a_stopped_engine_leaves_one_notice() {
        let disk = SimDisk::new();
        let options = Options { sync: SyncMode::Batch, ..Options::default() };
        let engine = Engine::open_in(disk.dir(), options).unwrap();
        let limit = parse_limit("1/day", Algorithm::TokenBucket).unwrap();
        engine.limit("k", &limit, OnChange::Keep).unwrap();
        let Some(shared) = engine.backend.store() else { unreachable!("it was opened to write") };
        shared.stop("cannot sync", shared.path().to_path_buf(), io::Error::other("broken"));
        assert_eq!(engine.take_notices().len(), 1);
        compact_in_background(shared);
        assert_eq!(engine.take_notices(), [], "a failed compaction adds no notice");
    }

    #[test]
    fn the_disk_rests_as_long_as_a_batch_may_wait_at_most() {
        let ms = Duration::from_millis;
        assert_eq!(rest_after(ms(2), ms(100)), ms(18));
        assert_eq!(rest_after(ms(20), ms(100)), ms(100));
        assert_eq!(rest_after(Duration::MAX, ms(100)), ms(100));
    }

    /// Begin and end of each sync of a slow disk, of a store whose batches are full at once.
    fn timed_syncs() -> (Engine, std::sync::mpsc::Receiver<(Instant, Instant)>) {
        const SLOW: Duration = Duration::from_millis(200);
        let disk = SimDisk::new();
        let options = Options {
            sync: SyncMode::Batch,
            flush_every_ms: 3_600_000,
            flush_every_events: 1,
            segment_bytes: 16 << 10,
            ..Options::default()
        };
        let engine = Engine::open_in(disk.dir(), options).expect("the disk does not fail");
        let (sender, syncs) = std::sync::mpsc::channel();
        let sender = std::sync::Mutex::new(sender);
        disk.before_sync(move || {
            let began = Instant::now();
            std::thread::sleep(SLOW);
            let _ = sender.lock().expect("no thread panics with it").send((began, Instant::now()));
        });
        let limit = parse_limit("1000000/day", Algorithm::TokenBucket).expect("it is valid");
        engine.limit("k", &limit, OnChange::Keep).expect("the disk does not fail");
        (engine, syncs)
    }

    #[test]
    fn full_batches_leave_the_disk_alone_between_two_syncs() {
        let (engine, syncs) = timed_syncs();
        let mut ended: Option<(Instant, Instant)> = None;
        for _ in 0..2 {
            let sync = syncs.recv().unwrap();
            engine.check("k", 1, None).unwrap();
            if let Some((began, end)) = ended.replace(sync) {
                assert!(sync.0 - end >= (end - began) * REST, "{:?} after a sync of {:?}", sync.0 - end, end - began);
            }
        }
    }

    #[test]
    fn a_log_with_half_a_segment_unsynced_is_synced_without_rest() {
        let (engine, syncs) = timed_syncs();
        let (began, end) = syncs.recv().unwrap();
        while engine.counters().log_bytes < 9 << 10 {
            engine.check("k", 1, None).unwrap();
        }
        let next = syncs.recv().unwrap();
        assert!(next.0 < end + (end - began) * REST, "{:?} after a sync of {:?}", next.0 - end, end - began);
    }

    #[test]
    fn a_batch_waits_for_its_time_from_its_first_call_on() {
        const HOUR: Duration = Duration::from_secs(3_600);
        let disk = SimDisk::new();
        let options = Options { sync: SyncMode::Batch, flush_every_ms: 3_600_000, ..Options::default() };
        let engine = Engine::open_in(disk.dir(), options).unwrap();
        let Some(shared) = engine.backend.store() else { unreachable!("it was opened to write") };
        assert_eq!(shared.flusher.state.lock().deadline, None);
        let limit = parse_limit("1/day", Algorithm::TokenBucket).unwrap();
        let before = Instant::now();
        engine.limit("k", &limit, OnChange::Keep).unwrap();
        let deadline = loop {
            if let Some(deadline) = shared.flusher.state.lock().deadline {
                break deadline;
            }
            std::thread::yield_now();
        };
        let after = Instant::now();
        assert!((before + HOUR..=after + HOUR).contains(&deadline), "{before:?} {deadline:?} {after:?}");
    }

    #[test]
    fn denial_totals_are_saved_after_a_minute_without_calls() {
        let clock = Arc::new(ManualClock::new(1_700_000_000_000_000_000));
        let options = Options { sync: SyncMode::Batch, clock: clock.clone(), ..Options::default() };
        let disk = SimDisk::new();
        let engine = Engine::open_in(disk.dir(), options.clone()).unwrap();
        let limit = parse_limit("1/day", Algorithm::TokenBucket).unwrap();
        engine.limit("k", &limit, OnChange::Keep).unwrap();
        for _ in 0..4 {
            engine.check("k", 1, None).unwrap();
        }
        let Some(shared) = engine.backend.store() else { unreachable!("it was opened to write") };
        let seq = engine.counters().seq;
        clock.advance_ns(59_999_999_999);
        save_denials_if_due(shared).unwrap();
        assert_eq!(engine.counters().seq, seq, "not yet");
        clock.advance_ns(1);
        save_denials_if_due(shared).unwrap();
        assert_eq!(engine.counters().seq, seq + 1);
        let killed = Engine::open_in(disk.kill().dir(), options).unwrap();
        assert_eq!(killed.status("k").unwrap().unwrap().total_denied, 3);
    }
}
