//! An engine on a simulated disk, under the scheduler. Its clock stands still and is no scheduling point.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use flint_core::clock::Clock;
use flint_core::engine::{OnChange, Options, SyncMode};
use flint_core::limit::{Algorithm, Limit, parse_limit};
use flint_core::testing::sim::{CrashPlan, SimDisk};
use flint_core::{Engine, Error, Result};
use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;

const WALL_NS: u64 = 1_700_000_000_000_000_000;

struct StandingClock;

impl Clock for StandingClock {
    fn monotonic_ns(&self) -> u64 {
        1
    }

    fn wall_ns(&self) -> u64 {
        WALL_NS
    }
}

/// A number that only the test looks at: no scheduling point.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tally(Arc<AtomicU64>);

impl Tally {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::SeqCst);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

pub(crate) fn limit(text: &str) -> Limit {
    parse_limit(text, Algorithm::TokenBucket).unwrap()
}

/// Either mode, as the schedule has it.
pub(crate) fn either_mode() -> SyncMode {
    if thread_rng().gen_ratio(1, 2) { SyncMode::Always } else { SyncMode::Batch }
}

pub(crate) fn options(sync: SyncMode) -> Options {
    Options { sync, segment_bytes: 16 << 10, clock: Arc::new(StandingClock), ..Options::default() }
}

/// An open store.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) disk: SimDisk,
    pub(crate) engine: Arc<Engine>,
    pub(crate) sync: SyncMode,
}

impl World {
    pub(crate) fn new(sync: SyncMode) -> Self {
        let disk = SimDisk::new();
        let engine = Arc::new(Engine::open_in(disk.dir(), options(sync)).unwrap());
        Self { disk, engine, sync }
    }

    /// With a key `k` that allows `text`.
    pub(crate) fn with_key(sync: SyncMode, text: &str) -> Self {
        let world = Self::new(sync);
        world.engine.limit("k", &limit(text), OnChange::Keep).unwrap();
        world
    }

    /// The disk as a power cut now would leave it.
    pub(crate) fn power_cut(&self) -> SimDisk {
        self.disk.power_cut(CrashPlan::LoseUnsynced)
    }
}

/// Copies of the disk as power cuts would have left it, each with the number of checks that it must know of at least. They are
/// looked at when the schedule is over: then no other thread runs.
#[derive(Default, Clone)]
pub(crate) struct Cuts(Arc<Mutex<Vec<(u64, SimDisk)>>>);

impl Cuts {
    pub(crate) fn take(&self, world: &World, acknowledged: &Tally) {
        let at_least = acknowledged.get();
        let copy = world.power_cut();
        self.0.lock().unwrap().push((at_least, copy));
    }

    /// A thread that takes some whenever it is its turn.
    pub(crate) fn watch(&self, world: &World, acknowledged: &Tally) -> Box<dyn FnOnce() + Send> {
        let (cuts, world, acknowledged) = (self.clone(), world.clone(), acknowledged.clone());
        Box::new(move || {
            for _ in 0..4 {
                cuts.take(&world, &acknowledged);
                for _ in 0..thread_rng().gen_range(0..16) {
                    thread::yield_now();
                }
            }
        })
    }

    /// Every copy opens and has what was acknowledged before, of `at_most` in all; one of them goes on. Gives what each had.
    pub(crate) fn verify(&self, key: &str, at_most: u64) -> Vec<u64> {
        let copies = std::mem::take(&mut *self.0.lock().unwrap());
        let found: Vec<u64> = copies.iter().map(|(_, copy)| allowed(copy, key)).collect();
        for ((at_least, _), found) in copies.iter().zip(&found) {
            assert!((*at_least..=at_most).contains(found), "{found} of {at_least} acknowledged checks are on disk");
        }
        let chosen = thread_rng().gen_range(0..copies.len());
        goes_on(&copies[chosen].1, key, found[chosen]);
        found
    }
}

/// Runs all of `threads` to their end.
pub(crate) fn run(threads: Vec<Box<dyn FnOnce() + Send>>) {
    let handles: Vec<_> = threads.into_iter().map(|run| thread::spawn(run)).collect();
    for handle in handles {
        handle.join().unwrap();
    }
}

/// What a directory holds, without threads.
pub(crate) fn look(disk: &SimDisk) -> Engine {
    Engine::open_in(disk.dir(), Options { read_only: true, ..options(SyncMode::Always) }).unwrap()
}

/// How many checks of `key` the directory knows of.
pub(crate) fn allowed(disk: &SimDisk, key: &str) -> u64 {
    look(disk).status(key).unwrap().map_or(0, |status| status.total_allowed)
}

/// Opens to write, writes, closes and opens again: `key` must have had `before` checks, and all of it must
/// be there again.
pub(crate) fn goes_on(disk: &SimDisk, key: &str, before: u64) {
    let engine = Engine::open_in(disk.dir(), options(SyncMode::Always)).unwrap();
    assert_eq!(engine.status(key).unwrap().unwrap().total_allowed, before);
    engine.limit(key, &limit("1000/day"), OnChange::Keep).unwrap();
    assert!(engine.check(key, 1, None).unwrap().allowed);
    engine.close().unwrap();
    let engine = look(disk);
    assert!(engine.recovery().clean);
    assert_eq!(engine.status(key).unwrap().unwrap().total_allowed, before + 1);
}

/// Whether the call was made. It may only have come too late.
pub(crate) fn unless_closed<T>(result: Result<T>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(Error::Closed) => None,
        Err(error) => panic!("{error}"),
    }
}

/// After a clean close: nothing is left over under a temporary name, and no background thread had anything to complain of.
pub(crate) fn assert_tidy(world: &World) {
    assert_eq!(world.engine.take_notices(), []);
    assert_tidy_disk(&world.disk);
}

pub(crate) fn assert_tidy_disk(disk: &SimDisk) {
    assert!(look(disk).recovery().clean);
    let names = disk.dir().list().unwrap();
    assert!(names.iter().all(|name| !name.ends_with(".tmp") || name == "flint-reserve.tmp"), "{names:?}");
}
