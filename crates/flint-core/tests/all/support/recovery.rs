//! Opening simulated disks, and looking at what is there.

use std::collections::BTreeMap;
use std::sync::Arc;

use flint_core::Engine;
use flint_core::Result;
use flint_core::clock::ManualClock;
use flint_core::engine::{Options, Status, SyncMode};
use flint_core::limit::{Algorithm, Limit, parse_limit};
use flint_core::testing::sim::{CrashPlan, SimDisk};

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
        (status.whole.total_denied, status.whole.total_denied_cost, status.whole.last_denied_at_ns) = (0, 0, None);
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

/// The same but for the lock, about whose content nothing is promised.
pub(crate) fn store_files(disk: &SimDisk) -> BTreeMap<String, Vec<u8>> {
    let mut files = files_of(disk);
    files.remove(flint_core::files::LOCK);
    files.remove(flint_core::files::RESERVE);
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
