//! A store's workload, from which specimens are taken: every kind of call in a random order that the seed decides.

use std::sync::Arc;

use flint_core::Engine;
use flint_core::clock::{Clock as _, ManualClock};
use flint_core::engine::{CallId, Check, Idempotent, Item, OnChange, Options, SyncMode};
use flint_core::image::KeyImage;
use flint_core::limit::{Algorithm, Limit, parse_limit};
use flint_core::testing::sim::SimDisk;

use crate::directory::{Files, files_of};
use crate::random::Random;

/// When every workload begins.
const START_NS: u64 = 1_700_000_000_000_000_000;

/// The state after the records up to `seq`.
#[derive(Clone)]
pub(super) struct Moment {
    pub(super) seq: u64,
    pub(super) images: Vec<KeyImage>,
}

pub(super) fn options(sync: SyncMode, history_bytes: u64, wall_ns: u64) -> (Options, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(wall_ns));
    let options = Options {
        sync,
        segment_bytes: 16 << 10,
        history_bytes,
        threads: false,
        clock: clock.clone(),
        ..Options::default()
    };
    (options, clock)
}

pub(super) fn limit(text: &str, algorithm: Algorithm) -> Limit {
    parse_limit(text, algorithm).expect("a valid limit")
}

/// An open store and what it was at every record so far.
pub(super) struct Workload {
    pub(super) disk: SimDisk,
    clock: Arc<ManualClock>,
    engine: Engine,
    random: Random,
    calls: u64,
    pub(super) moments: Vec<Moment>,
    /// All files as they were at some moments.
    pub(super) earlier: Vec<Files>,
}

impl Workload {
    /// A store on `disk` that is opened `late_ns` after the time at which workloads begin.
    pub(super) fn begin(disk: SimDisk, sync: SyncMode, history_bytes: u64, seed: u64, late_ns: u64) -> Self {
        let (options, clock) = options(sync, history_bytes, START_NS + late_ns);
        let engine = Engine::open_in(disk.dir(), options).expect("a good disk");
        let random = Random::new(seed);
        let mut workload = Self { disk, clock, engine, random, calls: 0, moments: Vec::new(), earlier: Vec::new() };
        workload.note();
        workload
    }

    pub(super) fn wall_ns(&self) -> u64 {
        self.clock.wall_ns()
    }

    pub(super) fn rotations(&self) -> u64 {
        self.engine.counters().rotations
    }

    fn note(&mut self) {
        let moment = Moment { seq: self.engine.counters().seq, images: self.engine.images().expect("an open store") };
        match self.moments.last_mut() {
            Some(last) if last.seq == moment.seq => *last = moment,
            _ => self.moments.push(moment),
        }
    }

    /// Keeps a copy of all files.
    pub(super) fn save(&mut self) {
        let files = files_of(&self.disk);
        if self.earlier.last() != Some(&files) {
            self.earlier.push(files);
        }
    }

    /// Makes `calls` calls, with a copy of all files now and then.
    pub(super) fn calls(&mut self, calls: u64) {
        for _ in 0..calls {
            self.call();
            if self.calls.is_multiple_of(29) {
                self.save();
            }
        }
    }

    /// Makes calls until the active segment is full and another one is started.
    pub(super) fn until_rotation(&mut self) {
        let from = self.rotations();
        while self.rotations() == from {
            self.call();
        }
        self.save();
    }

    pub(super) fn compact(&mut self) {
        self.save();
        self.engine.compact().expect("a good disk");
        self.note();
        self.save();
    }

    pub(super) fn turn(&mut self) {
        self.engine.turn().expect("a good disk");
        self.note();
    }

    pub(super) fn flush(&mut self) {
        self.engine.flush().expect("a good disk");
    }

    /// The disk after close().
    pub(super) fn close(self) -> SimDisk {
        self.engine.close().expect("a good disk");
        self.disk.kill()
    }

    /// The disk as a killed process leaves it.
    pub(super) fn crash(self) -> SimDisk {
        self.disk.kill()
    }

    fn call(&mut self) {
        const KEYS: [&str; 6] = ["bucket", "window", "log", "several", "call:é\n", "again"];
        self.calls += 1;
        self.clock.advance_ns(self.random.below(3_000_000_000) + 1);
        let engine = &self.engine;
        if self.calls == 1 {
            let all = Algorithm::TokenBucket;
            let specs = [
                ("bucket", limit("10/minute burst 20", all), OnChange::Keep),
                ("window", limit("9/minute", Algorithm::FixedWindowCounter), OnChange::Keep),
                ("log", limit("12/minute", Algorithm::SlidingWindowLog), OnChange::Keep),
                ("several", limit("7/second; 100/hour; 1000/day", all), OnChange::Keep),
            ];
            engine.limit_many(&specs).expect("a good disk");
            self.note();
            return;
        }
        let key = KEYS[usize::try_from(self.random.below(6)).unwrap_or(0)];
        let number = self.random.below(40) + 3;
        // A key has room for eight limits that come with calls.
        let given = limit(&format!("{}/minute", number % 8 + 3), Algorithm::FixedWindowCounter);
        // A call may be denied, and a key may not be there: both are part of a workload.
        match self.random.below(20) {
            0 => drop(engine.reset(key)),
            1 => drop(engine.delete(key)),
            2 | 3 => {
                let algorithm = match number % 3 {
                    0 => Algorithm::TokenBucket,
                    1 => Algorithm::FixedWindowCounter,
                    _ => Algorithm::SlidingWindowLog,
                };
                let on_change = if number.is_multiple_of(2) { OnChange::Keep } else { OnChange::Reset };
                engine
                    .limit(key, &limit(&format!("{number}/minute; 500/hour"), algorithm), on_change)
                    .expect("a good disk");
            }
            4 | 5 => {
                let items = [("bucket", 1), ("log", 2), ("call:é\n", 1)];
                let items = items.map(|(key, cost)| Item { key, cost, limit: Some(&given) });
                engine.check_all(&items).expect("a good disk");
            }
            6 => {
                let specs = [("again", given, OnChange::Keep), ("window", given, OnChange::Reset)];
                engine.limit_many(&specs).expect("a good disk");
            }
            7 => {
                let call = CallId { id: [u8::try_from(number).unwrap_or(0); 16], fingerprint: [0; 8] };
                let item = Item { key, cost: 1, limit: Some(&given) };
                drop(engine.run(&Idempotent { operation: Check::new(item), call }));
            }
            choice => {
                engine.check(key, choice % 4 + 1, Some(&given)).map(drop).unwrap_or_default();
            }
        }
        self.note();
    }
}
