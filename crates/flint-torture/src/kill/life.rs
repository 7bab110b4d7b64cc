//! What a worker process does, call by call. Everything that decides is fixed by the scene, the seed and the number of the
//! step, also the time: a process that goes on at step `n` answers and leaves what an undisturbed one would.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use flint_core::clock::{Clock, ManualClock};
use flint_core::engine::{CallId, Check, Idempotent, Item, OnChange, Options, SyncMode};
use flint_core::files::parse_snapshot_name;
use flint_core::limit::{Algorithm, Limit, parse_limit};
use flint_core::{Engine, Error, Result};

use crate::random::Random;
use crate::stage::{State, state};

/// When every life begins: later than anything in the samples of old releases.
const START_NS: u64 = 1_900_000_000 * 1_000_000_000;
/// From step to step; not a whole number of milliseconds.
const STEP_NS: u64 = 137_000_001;

/// Steps of the ordinary life.
const ORDINARY: usize = 132;
/// Steps after the log has become long enough for a compaction in the background.
const BACKLOG: usize = 26;
/// Calls that make the log that long, with so many keys each.
const FILLING: usize = 14;
const FILLING_KEYS: usize = 600;

/// What kind of life it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scene {
    /// Every kind of call, from nothing, with rotations, compactions and sessions.
    Ordinary,
    /// A log so long that the background compacts it while calls go on.
    Backlog,
    /// A directory of an old release, named as in `tests/legacy-data`.
    Migration(String),
}

impl Scene {
    /// As the worker's argument.
    pub fn name(&self) -> &str {
        match self {
            Self::Ordinary => "ordinary",
            Self::Backlog => "backlog",
            Self::Migration(sample) => sample,
        }
    }

    /// The opposite of `name`.
    pub fn parse(name: &str) -> Self {
        match name {
            "ordinary" => Self::Ordinary,
            "backlog" => Self::Backlog,
            sample => Self::Migration(sample.to_owned()),
        }
    }
}

/// One call.
#[derive(Debug, Clone)]
pub enum Step {
    /// One key.
    Check(String, u64, Option<Limit>),
    /// The key at this place of the list.
    CheckNth(usize),
    /// Several keys.
    CheckAll(Vec<(String, u64, Option<Limit>)>),
    /// One key, once: the call with this number. A denial is not remembered, which would make a difference to the next process.
    Once(u64, String, u64, Option<Limit>),
    /// One limit.
    Limit(String, Limit, OnChange),
    /// Several limits.
    LimitMany(Vec<(String, Limit, OnChange)>),
    /// Back to full.
    Reset(String),
    /// Forgotten.
    Delete(String),
    /// Everything durable.
    Flush,
    /// A snapshot by the caller.
    Compact,
    /// Waits until the background has published one.
    AwaitSnapshot,
    /// Close and open.
    Reopen,
}

/// The steps of one life.
#[derive(Debug, Clone)]
pub struct Life {
    /// What kind.
    pub scene: Scene,
    /// Where the numbers come from.
    pub seed: u64,
    /// In order.
    pub steps: Vec<Step>,
}

fn limit(text: &str, algorithm: Algorithm) -> Limit {
    parse_limit(text, algorithm).expect("a valid limit")
}

fn any_limit(random: &mut Random) -> Limit {
    let rates =
        ["10/minute; 12/hour", "6/second; 9/minute", "5/second", "7/10s burst 9", "40/hour; 20/minute", "3/250ms"];
    let algorithm = *random.choose(&Algorithm::ALL);
    let text = random.choose(&rates);
    // Only the token bucket has a burst of its own.
    parse_limit(text, algorithm).unwrap_or_else(|_| limit(text, Algorithm::TokenBucket))
}

const KEYS: [&str; 4] = ["bucket", "log", "window", "gone"];
const GIVEN: [&str; 3] = ["given:0", "given:1", "given:2"];

fn first_limits() -> Step {
    let keep = |key: &str, limit| (key.to_owned(), limit, OnChange::Keep);
    Step::LimitMany(vec![
        keep("bucket", limit("10/minute; 12/hour", Algorithm::TokenBucket)),
        keep("log", limit("6/second; 9/minute", Algorithm::SlidingWindowLog)),
        keep("window", limit("5/second; 7/10s", Algorithm::FixedWindowCounter)),
        keep("gone", limit("3/second", Algorithm::TokenBucket)),
    ])
}

/// A record so long that a few of them fill a segment of 16 KiB.
fn long_record(n: usize) -> Step {
    let rate = limit(&format!("{}/hour", 5 + n), Algorithm::TokenBucket);
    Step::LimitMany((0..8).map(|key| (format!("{key}{}", "x".repeat(500)), rate, OnChange::Keep)).collect())
}

fn random_step(random: &mut Random) -> Step {
    match random.below(100) {
        0..38 => Step::Check((*random.choose(&KEYS)).to_owned(), 1 + random.below(4), None),
        38..50 => {
            let given = if random.below(3) == 0 { Some(any_limit(random)) } else { None };
            let keys: &[&str] = if given.is_some() { &GIVEN } else { &KEYS };
            Step::Once(random.below(16), (*random.choose(keys)).to_owned(), 1 + random.below(3), given)
        }
        50..58 => Step::Check((*random.choose(&GIVEN)).to_owned(), 1 + random.below(3), Some(any_limit(random))),
        58..72 => {
            let given = any_limit(random);
            let mut items: Vec<_> =
                KEYS[..3].iter().map(|key| ((*key).to_owned(), 1 + random.below(2), None)).collect();
            items.push(((*random.choose(&GIVEN)).to_owned(), 1, Some(given)));
            Step::CheckAll(items)
        }
        72..80 => {
            let change = *random.choose(&[OnChange::Keep, OnChange::Reset]);
            Step::Limit((*random.choose(&KEYS)).to_owned(), any_limit(random), change)
        }
        80..86 => first_limits(),
        86..92 => Step::Reset((*random.choose(&KEYS)).to_owned()),
        // One of those that every check_all needs goes rarely: until it is back, nothing else happens.
        92..99 => Step::Delete((*random.choose(&["gone", "given:0", "given:1"])).to_owned()),
        _ => Step::Delete((*random.choose(&KEYS)).to_owned()),
    }
}

impl Life {
    /// The steps of a scene.
    pub fn new(scene: Scene, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let steps = match &scene {
            Scene::Ordinary => (0..ORDINARY)
                .map(|n| match n {
                    0 => first_limits(),
                    _ if n % 6 == 2 => long_record(n),
                    _ if n % 26 == 21 => Step::Compact,
                    _ if n % 38 == 33 => Step::Reopen,
                    _ if n % 19 == 16 => Step::Flush,
                    _ => random_step(&mut random),
                })
                .collect(),
            Scene::Backlog => {
                let filling = (0..FILLING).map(|n| {
                    let rate = limit(&format!("{}/day", 50 + n), Algorithm::TokenBucket);
                    let key = |key: usize| format!("{key:03}{}", "y".repeat(480));
                    Step::LimitMany((0..FILLING_KEYS).map(|n| (key(n), rate, OnChange::Keep)).collect())
                });
                let rest = (0..BACKLOG).map(|n| match n {
                    0 => first_limits(),
                    16 => Step::AwaitSnapshot,
                    _ if n % 5 == 3 => long_record(n),
                    _ => random_step(&mut random),
                });
                filling.chain(rest).collect()
            }
            Scene::Migration(_) => {
                let nth = (0..6).map(|n| Step::CheckNth(n * 3));
                let rest = [first_limits(), long_record(0)].into_iter().chain((0..4).map(|_| random_step(&mut random)));
                nth.chain(rest).chain([Step::Compact, Step::CheckNth(1), Step::Reopen, Step::CheckNth(2)]).collect()
            }
        };
        Self { scene, seed, steps }
    }

    /// Where the interesting part begins: what is before only makes the directory.
    pub fn prelude(&self) -> usize {
        if self.scene == Scene::Backlog { FILLING } else { 0 }
    }
}

/// The time at which `done` steps were made.
pub fn wall_ns(done: usize) -> u64 {
    START_NS + STEP_NS * done as u64
}

/// The time at which a process goes on after `done` steps: that of the step that it will make. The step may have been under
/// way before and have left its time in the store, and a wall clock that goes back is another story.
pub fn resumed_ns(done: usize) -> u64 {
    wall_ns(done + 1)
}

/// A life under way in one process.
pub struct Session {
    path: PathBuf,
    sync: SyncMode,
    threads: bool,
    clock: Arc<ManualClock>,
    /// The open store.
    pub engine: Engine,
}

/// How every life opens its store: small segments, little history, a flusher that is always busy.
pub fn options(sync: SyncMode, clock: Arc<ManualClock>) -> Options {
    Options {
        sync,
        segment_bytes: 16 << 10,
        history_bytes: 32 << 10,
        flush_every_ms: 1,
        flush_every_events: 4,
        clock,
        ..Options::default()
    }
}

impl Session {
    /// Opens the store at a time, see [`resumed_ns`]. Without `threads` nothing happens in the background.
    ///
    /// # Errors
    /// Those of [`Engine::open`].
    pub fn open(path: &Path, sync: SyncMode, wall_ns: u64, threads: bool) -> Result<Self> {
        let clock = Arc::new(ManualClock::new(wall_ns));
        let engine = Engine::open(path, Options { threads, ..options(sync, clock.clone()) })?;
        Ok(Self { path: path.to_path_buf(), sync, threads, clock, engine })
    }

    /// Makes step `n` and gives its number and its answer in one line.
    ///
    /// # Panics
    /// When it fails in a way that no sound store can.
    pub fn make(&mut self, n: usize, step: &Step) -> String {
        self.clock.advance_ns(wall_ns(n + 1) - self.clock.wall_ns());
        match self.answer(step) {
            Ok(answer) => format!("{n} {answer}"),
            Err(error @ (Error::LimitNotFound { .. } | Error::InvalidLimit(_) | Error::InvalidCost(_))) => {
                format!("{n} {}", error.to_string().replace('\n', " "))
            }
            Err(error) => panic!("step {n}, {step:?}: {error}"),
        }
    }

    fn answer(&mut self, step: &Step) -> Result<String> {
        let engine = &self.engine;
        match step {
            Step::Check(key, cost, limit) => {
                let o = engine.check(key, *cost, limit.as_ref())?;
                Ok(format!("{} {} {} {}", o.allowed, o.remaining, o.retry_after_ns, o.reset_at_wall_ns))
            }
            Step::CheckNth(n) => {
                let all = engine.list(None, None, None)?;
                let key = all[n % all.len()].key.clone();
                self.answer(&Step::Check(key, 1, None))
            }
            Step::CheckAll(items) => {
                let items: Vec<_> =
                    items.iter().map(|(key, cost, limit)| Item { key, cost: *cost, limit: limit.as_ref() }).collect();
                let o = engine.check_all(&items)?;
                let left: Vec<_> = o.items.iter().map(|item| item.remaining).collect();
                Ok(format!("{} {:?} {} {left:?}", o.allowed, o.denied, o.retry_after_ns))
            }
            Step::Once(number, key, cost, limit) => {
                let call = CallId { id: u128::from(*number).to_le_bytes(), fingerprint: [7; 8] };
                let item = Item { key, cost: *cost, limit: limit.as_ref() };
                let told = engine.run(&Idempotent { operation: Check::attempt(item), call })?;
                let (again, o) = (told.repeated, told.answer);
                Ok(format!("{again} {} {} {} {}", o.allowed, o.remaining, o.retry_after_ns, o.reset_at_wall_ns))
            }
            Step::Limit(key, limit, change) => engine.limit(key, limit, *change).map(|()| String::new()),
            Step::LimitMany(specs) => {
                let specs: Vec<_> = specs.iter().map(|(key, limit, change)| (key.as_str(), *limit, *change)).collect();
                engine.limit_many(&specs).map(|()| String::new())
            }
            Step::Reset(key) => engine.reset(key).map(|()| String::new()),
            Step::Delete(key) => engine.delete(key).map(|()| String::new()),
            Step::Flush => engine.flush().map(|()| String::new()),
            Step::Compact => engine.compact().map(|()| String::new()),
            Step::AwaitSnapshot => {
                self.await_snapshot();
                Ok(String::new())
            }
            Step::Reopen => {
                engine.close()?;
                self.engine = Engine::open(
                    &self.path,
                    Options { threads: self.threads, ..options(self.sync, self.clock.clone()) },
                )?;
                Ok(String::new())
            }
        }
    }

    fn await_snapshot(&self) {
        if !self.threads {
            self.engine.turn().expect("a compaction that nothing disturbs");
        }
        let published = || {
            let mut names = std::fs::read_dir(&self.path).expect("the store's directory");
            names.any(|name| name.is_ok_and(|name| name.file_name().to_str().and_then(parse_snapshot_name).is_some()))
        };
        // Not a measure of anything: a compaction that never comes must not keep a test waiting for ever.
        let deadline = Instant::now() + Duration::from_secs(30);
        while !published() {
            assert!(Instant::now() < deadline, "nobody publishes a snapshot");
            let notices = self.engine.take_notices();
            assert!(notices.iter().all(|notice| !notice.message.contains("compaction failed")), "{notices:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// What the clock shows.
    pub fn wall_ns(&self) -> u64 {
        self.clock.wall_ns()
    }

    /// Every key's state and every remembered answer. Two equal ones mean two stores that will answer alike.
    pub fn state(&self) -> State {
        state(&self.engine)
    }
}

/// What an undisturbed life shows.
#[derive(Debug)]
pub struct Reference {
    /// The state after so many steps.
    pub states: Vec<State>,
    /// The answer of each.
    pub told: Vec<String>,
}

/// Lives through all of it, without threads, in the empty directory (or the old store) `path`.
///
/// # Panics
/// When anything fails.
pub fn rehearse(life: &Life, path: &Path) -> Reference {
    let mut session =
        Session::open(path, SyncMode::Batch, resumed_ns(0), false).expect("a directory that can be opened");
    let mut reference = Reference { states: vec![session.state()], told: Vec::new() };
    for (n, step) in life.steps.iter().enumerate() {
        reference.told.push(session.make(n, step));
        reference.states.push(session.state());
    }
    session.engine.close().expect("an undisturbed close");
    reference
}
