//! An engine with many callers: a clock that lets others run while the engine's lock is held, real and simulated disks, and
//! what callers ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use flint_core::clock::Clock;
use flint_core::engine::{Item, OnChange, Options, SyncMode};
use flint_core::limit::{Algorithm, Limit, parse_limit};
use flint_core::testing::sim::SimDisk;
use flint_core::{Engine, Error};
use flint_torture::linearizability::limiter::{Answer, Ask, Blocked, Op};
use flint_torture::random::Random;

use crate::slow_disk::SlowDir;

pub(crate) const THREADS: usize = 8;
pub(crate) const MS: u64 = 1_000_000;
pub(crate) const START_NS: u64 = 1_700_000_000_000 * MS;

/// One time for both readings, moved by hand. The engine reads it under its lock, just before it decides: giving way there
/// makes the other threads queue for the lock, which they would rarely do on few processors.
pub(crate) struct YieldingClock {
    now_ns: AtomicU64,
    readings: AtomicU64,
}

impl YieldingClock {
    pub(crate) fn advance_ns(&self, ns: u64) {
        self.now_ns.fetch_add(ns, Ordering::SeqCst);
    }

    pub(crate) fn now_ns(&self) -> u64 {
        self.now_ns.load(Ordering::SeqCst)
    }
}

impl Clock for YieldingClock {
    fn monotonic_ns(&self) -> u64 {
        if self.readings.fetch_add(1, Ordering::Relaxed).is_multiple_of(3) {
            thread::yield_now();
        }
        self.now_ns()
    }

    fn wall_ns(&self) -> u64 {
        self.now_ns()
    }
}

/// Where the files of a store are.
pub(crate) enum Medium {
    Sim(SimDisk),
    Disk(tempfile::TempDir),
}

impl Medium {
    pub(crate) fn sim() -> Self {
        Self::Sim(SimDisk::new())
    }

    pub(crate) fn disk() -> Self {
        Self::Disk(tempfile::tempdir().unwrap())
    }
}

pub(crate) struct Store {
    pub(crate) medium: Medium,
    pub(crate) clock: Arc<YieldingClock>,
    options: Options,
}

impl Store {
    pub(crate) fn new(medium: Medium, sync: SyncMode) -> Self {
        let clock = Arc::new(YieldingClock { now_ns: AtomicU64::new(START_NS), readings: AtomicU64::new(0) });
        let options = Options { sync, segment_bytes: 16 << 10, clock: clock.clone(), ..Options::default() };
        Self { medium, clock, options }
    }

    /// The same store on another disk.
    pub(crate) fn on(&self, disk: SimDisk) -> Self {
        Self { medium: Medium::Sim(disk), clock: self.clock.clone(), options: self.options.clone() }
    }

    pub(crate) fn open(&self) -> Engine {
        match &self.medium {
            Medium::Sim(disk) => Engine::open_in(Arc::new(SlowDir(disk.dir())), self.options.clone()).unwrap(),
            Medium::Disk(dir) => Engine::open(dir.path(), self.options.clone()).unwrap(),
        }
    }

    pub(crate) fn sim_disk(&self) -> &SimDisk {
        match &self.medium {
            Medium::Sim(disk) => disk,
            Medium::Disk(_) => unreachable!("only simulated disks are cut off"),
        }
    }

    pub(crate) fn kind(&self) -> String {
        let medium = match &self.medium {
            Medium::Sim(_) => "simulated disk",
            Medium::Disk(_) => "disk",
        };
        format!("{medium}, {:?}", self.options.sync)
    }
}

pub(crate) fn limit(text: &str, algorithm: Algorithm) -> Limit {
    parse_limit(text, algorithm).unwrap()
}

/// Small limits, so that everything is denied now and then, and periods that pass within a round.
fn random_limit(random: &mut Random) -> Limit {
    let text =
        *random.choose(&["3/50ms", "5/100ms", "8/200ms", "10/1s", "4/30ms; 9/300ms", "6/100ms; 7/1s", "12/70ms"]);
    limit(text, *random.choose(&Algorithm::ALL))
}

fn random_ask(random: &mut Random, keys: u64) -> Ask {
    let cost = if random.below(20) == 0 { *random.choose(&[0, 11, 13]) } else { 1 + random.below(3) };
    let limit = (random.below(5) == 0).then(|| random_limit(random));
    Ask { key: u8::try_from(random.below(keys)).unwrap(), cost, limit }
}

/// Any call but those that end a session.
pub(crate) fn random_op(random: &mut Random, keys: u64) -> Op {
    let key = |random: &mut Random| u8::try_from(random.below(keys)).unwrap();
    match random.below(100) {
        0..45 => Op::Check(random_ask(random, keys)),
        45..60 => {
            let from = random.below(keys);
            let asks = (0..1 + random.below(keys)).map(|n| {
                // Each key once, in different orders.
                let key = u8::try_from((from + n) % keys).unwrap();
                Ask { key, ..random_ask(random, keys) }
            });
            Op::CheckAll(asks.collect())
        }
        60..68 => Op::Peek(random_ask(random, keys)),
        68..76 => Op::Status(key(random)),
        76..85 => {
            let key = key(random);
            let on_change = *random.choose(&[OnChange::Keep, OnChange::Keep, OnChange::Reset]);
            Op::Limit(key, random_limit(random), on_change)
        }
        85..89 => Op::Reset(key(random)),
        89..92 => Op::Delete(key(random)),
        _ => Op::Advance(*random.choose(&[1, 999_999, 3 * MS, 10 * MS + 1, 30 * MS, 49 * MS])),
    }
}

/// Does what is asked; `name` gives a key's text.
pub(crate) fn perform(engine: &Engine, clock: &YieldingClock, name: &impl Fn(u8) -> String, op: &Op) -> Answer {
    let done = |()| Answer::Done;
    let answer = match op {
        Op::Advance(ns) => {
            clock.advance_ns(*ns);
            Ok(Answer::Done)
        }
        Op::Check(ask) => engine.check(&name(ask.key), ask.cost, ask.limit.as_ref()).map(Answer::Outcome),
        Op::Peek(ask) => engine.peek(&name(ask.key), ask.cost, ask.limit.as_ref()).map(Answer::Outcome),
        Op::CheckAll(asks) => {
            let names: Vec<String> = asks.iter().map(|ask| name(ask.key)).collect();
            let both = asks.iter().zip(&names);
            let items: Vec<Item<'_>> =
                both.map(|(ask, key)| Item { key, cost: ask.cost, limit: ask.limit.as_ref() }).collect();
            engine.check_all(&items).map(Answer::Multi)
        }
        Op::Status(key) => engine.status(&name(*key)).map(Answer::Status),
        Op::Limit(key, limit, on_change) => engine.limit(&name(*key), limit, *on_change).map(done),
        Op::Reset(key) => engine.reset(&name(*key)).map(done),
        Op::Delete(key) => engine.delete(&name(*key)).map(done),
        Op::Close => engine.close().map(done),
        Op::Open(_) | Op::Crash(_) => unreachable!("these make a new engine"),
    };
    match answer {
        Ok(answer) => answer,
        Err(Error::LimitNotFound { .. }) => Answer::Refused(Blocked::NotFound),
        Err(Error::InvalidCost(_)) => Answer::Refused(Blocked::InvalidCost),
        Err(Error::InvalidLimit(_)) => Answer::Refused(Blocked::TooMany),
        Err(Error::Closed) => Answer::Closed,
        Err(error) => panic!("{op:?}: {error}"),
    }
}
