//! A scenario that uses everything the engine writes, and comparing what is recovered with what the live engine held.

#![allow(dead_code, reason = "each scenario file uses a part of it")]

pub(crate) mod script;

use std::collections::BTreeMap;
use std::sync::Arc;

use flint_core::Engine;
use flint_core::Result;
use flint_core::clock::ManualClock;
use flint_core::engine::{Options, Status, SyncMode};
use flint_core::limit::{Algorithm, Limit, parse_limit};
use flint_core::storage::sim::{CrashPlan, SimDisk};
use script::{Moment, Run};

pub(crate) const SECOND: u64 = 1_000_000_000;
/// When every scenario begins.
pub(crate) const START: u64 = 1_700_000_000 * SECOND;

/// Small segments; the flusher acts on full batches only, never on time, so that nothing depends on how fast the test runs.
pub(crate) fn options(sync: SyncMode, clock: &Arc<ManualClock>) -> Options {
    Options {
        sync,
        segment_bytes: 16 << 10,
        flush_every_ms: 3_600_000,
        flush_every_events: 5,
        clock: clock.clone(),
        ..Options::default()
    }
}

pub(crate) fn clock_at(wall_ns: u64) -> Arc<ManualClock> {
    Arc::new(ManualClock::new(wall_ns))
}

pub(crate) fn open_at(disk: &SimDisk, sync: SyncMode, wall_ns: u64) -> Result<Engine> {
    Engine::open_in(disk.dir(), options(sync, &clock_at(wall_ns)))
}

pub(crate) fn read_at(disk: &SimDisk, wall_ns: u64) -> Result<Engine> {
    Engine::open_in(disk.dir(), Options { read_only: true, ..options(SyncMode::Always, &clock_at(wall_ns)) })
}

pub(crate) fn limit(text: &str, algorithm: Algorithm) -> Limit {
    parse_limit(text, algorithm).expect("a valid limit")
}

pub(crate) fn tokens(text: &str) -> Limit {
    limit(text, Algorithm::TokenBucket)
}

/// Every key in full.
pub(crate) fn everything(engine: &Engine) -> Vec<Status> {
    engine.list(None, None, None).expect("listing an open store")
}

/// The same without denial totals, which may lag behind when a session ends without close().
pub(crate) fn without_denials(mut statuses: Vec<Status>) -> Vec<Status> {
    for status in &mut statuses {
        (status.total_denied, status.total_denied_cost, status.last_denied_at_ns) = (0, 0, None);
    }
    statuses
}

/// Compares two listings and shows where they part, not all of both.
#[track_caller]
pub(crate) fn assert_same(actual: &[Status], expected: &[Status], what: &str) {
    let parted = actual.iter().zip(expected).find(|(actual, expected)| actual != expected);
    assert!(parted.is_none(), "{what}: {parted:#?}");
    assert_eq!(actual.len(), expected.len(), "{what}");
}

/// Every file of the root directory.
pub(crate) fn files_of(disk: &SimDisk) -> BTreeMap<String, Vec<u8>> {
    let names = disk.dir().list().expect("a disk with power");
    names.into_iter().map(|name| (name.clone(), disk.read_file(&name).expect("a listed file"))).collect()
}

/// The same but for the lock, whose content nobody promises anything about.
pub(crate) fn store_files(disk: &SimDisk) -> BTreeMap<String, Vec<u8>> {
    let mut files = files_of(disk);
    files.remove(flint_core::files::LOCK);
    files
}

pub(crate) fn disk_of(files: &BTreeMap<String, Vec<u8>>) -> SimDisk {
    let disk = SimDisk::new();
    for (name, bytes) in files {
        disk.write_file(name, bytes);
    }
    disk
}

/// What a power cut may leave: nothing, everything, chance, and some prefixes of what was written.
pub(crate) fn plans(disk: &SimDisk, seed: u64, random: u64) -> Vec<CrashPlan> {
    let unsynced = disk.unsynced();
    let mut plans = vec![CrashPlan::LoseUnsynced];
    if unsynced > 0 {
        plans.push(CrashPlan::KeepAll);
        plans.extend((0..random).map(|n| CrashPlan::Random(seed.wrapping_mul(1_000).wrapping_add(n))));
        let prefixes = [unsynced - 1, unsynced / 2];
        plans.extend(prefixes.into_iter().filter(|&n| n > 0).map(CrashPlan::KeepPrefix));
    }
    plans
}

/// Opens a copy of the disk and finds the moment that it holds. Panics if it holds none, one older than `promised`, or one
/// newer than the call that was under way.
pub(crate) fn identify(
    disk: &SimDisk,
    sync: SyncMode,
    known: &[Moment],
    run: &Run,
    promised: usize,
    what: &str,
) -> usize {
    let newest = run.moments.len().min(known.len() - 1);
    let probe = disk.kill();
    let engine = open_at(&probe, sync, known[newest].wall_ns).unwrap_or_else(|error| panic!("{what}: {error}"));
    // Opening wrote one record, the anchor.
    let last = engine.counters().seq - 1;
    drop(engine);
    let below = known[..=newest].iter().rposition(|moment| moment.seq <= last).expect("the empty store");
    // The call under way may have written less than it would have; an opening that was cut short may have written an anchor.
    let oldest = known.iter().position(|moment| moment.seq + 2 >= last).unwrap_or(below);
    for index in (oldest..=newest.min(below + 1)).rev() {
        let copy = disk.kill();
        let engine = open_at(&copy, sync, known[index].wall_ns).unwrap_or_else(|error| panic!("{what}: {error}"));
        if without_denials(everything(&engine)) == known[index].statuses {
            assert!(
                index >= promised,
                "{what}: recovered the state after call {index}, but call {promised} was promised"
            );
            return index;
        }
    }
    panic!("{what}: the state with {last} records is that of no call near {below} (of {newest})");
}

/// The store goes on: looked at, written, closed, opened again.
pub(crate) fn goes_on(disk: &SimDisk, sync: SyncMode, moment: &Moment, what: &str) {
    let reader = read_at(disk, moment.wall_ns).unwrap_or_else(|error| panic!("{what}: {error}"));
    let seen = without_denials(everything(&reader));
    let report = reader.doctor().expect("a directory that can be listed");
    assert!(report.ok, "{what}: {report:?}");
    let clock = clock_at(moment.wall_ns);
    let engine = Engine::open_in(disk.dir(), options(sync, &clock)).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(seen, without_denials(everything(&engine)), "{what}: a reader sees something else");
    clock.advance_ns(1_000);
    let given = tokens("5/minute");
    for _ in 0..3 {
        engine.check("new", 2, Some(&given)).unwrap_or_else(|error| panic!("{what}: {error}"));
        for status in &moment.statuses {
            engine.check(&status.key, 1, None).unwrap_or_else(|error| panic!("{what}: {error}"));
        }
    }
    let before = everything(&engine);
    engine.close().unwrap_or_else(|error| panic!("{what}: {error}"));
    let engine = Engine::open_in(disk.dir(), options(sync, &clock)).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(engine.recovery().clean, "{what}");
    assert_eq!(everything(&engine), before, "{what}: after closing and opening again");
    engine.close().unwrap_or_else(|error| panic!("{what}: {error}"));
}
