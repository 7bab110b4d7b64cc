//! An open store in one process, and the clock that its steps run at.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use flint_core::clock::{Clock, ManualClock};
use flint_core::engine::{CallId, Check, Idempotent, Item, Options, SyncMode};
use flint_core::files::parse_snapshot_name;
use flint_core::{Engine, Error, Result};

use super::workload::Step;
use crate::harness::{State, state};

/// When every workload begins: later than anything in the samples of old releases.
const START_NS: u64 = 1_900_000_000 * 1_000_000_000;
/// From step to step; not a whole number of milliseconds.
const STEP_NS: u64 = 137_000_001;

/// The time at which `done` steps were made.
pub fn wall_ns(done: usize) -> u64 {
    START_NS + STEP_NS * done as u64
}

/// The time at which a process continues after `done` steps: that of the step that it will execute. The step may have been under
/// way before and have left its time in the store, and a wall clock that goes back is the subject of other tests.
pub fn resumed_ns(done: usize) -> u64 {
    wall_ns(done + 1)
}

/// A workload under way in one process.
pub struct Session {
    path: PathBuf,
    sync: SyncMode,
    threads: bool,
    clock: Arc<ManualClock>,
    /// The open store.
    pub engine: Engine,
}

/// How every workload opens its store: small segments, little history, a flusher that is always busy.
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

    /// Executes step `n` and returns its number and its answer in one line.
    ///
    /// # Panics
    /// When it fails in a way that no sound store can.
    pub fn execute(&mut self, n: usize, step: &Step) -> String {
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
                let answered = engine.run(&Idempotent { operation: Check::attempt(item), call })?;
                let (again, o) = (answered.repeated, answered.answer);
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
            assert!(Instant::now() < deadline, "no snapshot was published");
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
