//! One short life of a store, call by call.

use std::sync::Arc;

use flint_core::clock::{Clock, ManualClock};
use flint_core::engine::{Item, OnChange, Status, SyncMode};
use flint_core::limit::Algorithm;
use flint_core::storage::sim::SimDisk;
use flint_core::{Engine, Error, Result};

use super::{SECOND, START, clock_at, everything, limit, options, tokens, without_denials};

/// How long each call takes.
const STEP: u64 = 137_000_001;

/// The state after one call.
#[derive(Debug, Clone)]
pub(crate) struct Moment {
    /// Newest record by then.
    pub(crate) seq: u64,
    /// When the call was made. A state is compared at its own time: what is left depends on it.
    pub(crate) wall_ns: u64,
    /// Denials as they were in memory.
    pub(crate) full: Vec<Status>,
    pub(crate) statuses: Vec<Status>,
}

/// What one run of the script saw.
#[derive(Debug, Default)]
pub(crate) struct Run {
    /// The state after each call that returned; the first one is the empty store.
    pub(crate) moments: Vec<Moment>,
    /// Index of the newest moment that must survive a power cut.
    pub(crate) durable: usize,
    /// Whether the store was ever open.
    pub(crate) opened: bool,
    /// Whether everything up to the end of the script was done.
    pub(crate) finished: bool,
    /// Rotations and compactions seen.
    pub(crate) rotations: u64,
    pub(crate) compactions: u64,
    /// Calls that failed, left everything as it was, and succeeded when made again.
    pub(crate) retried: usize,
    /// Whether a failure stopped the engine.
    pub(crate) stopped: bool,
}

pub(crate) struct Driver<'a> {
    sync: SyncMode,
    clock: Arc<ManualClock>,
    run: Run,
    disk: &'a SimDisk,
    /// The states of a run without a fault, in place of looking at them again.
    known: Option<&'a [Moment]>,
    /// Calls may fail and are made again.
    faults: bool,
}

type Call<'a> = &'a dyn Fn(&Engine) -> Result<()>;

/// Runs the script on `disk` until the power goes or the end is reached. With `known`, the states of an undisturbed run are
/// taken over: the script is deterministic, so that they are the same.
pub(crate) fn run(disk: &SimDisk, sync: SyncMode, known: Option<&[Moment]>) -> Run {
    drive(disk, sync, known, false)
}

/// The same on a disk that fails: whatever fails without stopping the engine has to leave everything as it was, and to work
/// when the fault is gone.
pub(crate) fn run_with_faults(disk: &SimDisk, sync: SyncMode, known: &[Moment]) -> Run {
    drive(disk, sync, Some(known), true)
}

fn drive(disk: &SimDisk, sync: SyncMode, known: Option<&[Moment]>, faults: bool) -> Run {
    let clock = clock_at(START);
    let first = Moment { seq: 0, wall_ns: START, full: Vec::new(), statuses: Vec::new() };
    let run = Run { moments: vec![first], ..Run::default() };
    let mut driver = Driver { sync, clock, run, disk, known, faults };
    // An error ends the life; what was done is in the run.
    if driver.live().is_some() && !disk.crashed() {
        driver.run.finished = true;
    }
    driver.run
}

impl Driver<'_> {
    fn open(&mut self) -> Option<Engine> {
        let open = || Engine::open_in(self.disk.dir(), options(self.sync, &self.clock));
        let engine = match open() {
            Err(_) if self.faults => {
                self.disk.clear_fail();
                self.run.retried += 1;
                open().expect("it opens when the fault is gone")
            }
            other => other.ok()?,
        };
        self.run.opened = true;
        Some(engine)
    }

    /// Lets time pass to the next call's.
    fn step(&self) {
        let wall_ns = START + STEP * self.run.moments.len() as u64;
        self.clock.advance_ns(wall_ns - self.clock.wall_ns());
    }

    fn note(&mut self, engine: &Engine, closing: Option<Vec<Status>>) {
        let index = self.run.moments.len();
        let counters = engine.counters();
        if let Some(known) = self.known {
            assert_eq!(counters.seq, known[index].seq, "the script writes the same records every time, call {index}");
        }
        let moment = match self.known {
            Some(known) => known[index].clone(),
            None => {
                let full = closing.unwrap_or_else(|| everything(engine));
                let wall_ns = self.clock.wall_ns();
                Moment { seq: counters.seq, wall_ns, statuses: without_denials(full.clone()), full }
            }
        };
        self.run.moments.push(moment);
        // Beyond the power cut a batch goes on in memory without noticing.
        if self.sync == SyncMode::Always {
            self.run.durable = index;
        } else {
            let durable = self.run.moments.iter().rposition(|moment| moment.seq <= counters.durable_seq);
            self.run.durable = self.run.durable.max(durable.unwrap_or(0));
        }
    }

    fn call(&mut self, engine: &Engine, call: Call<'_>) -> Option<()> {
        self.step();
        match call(engine) {
            Err(error) if self.faults => self.again(engine, call, &error)?,
            other => other.ok()?,
        }
        // A call that ends when the power is gone was not acknowledged to anybody.
        if self.disk.crashed() {
            return None;
        }
        self.note(engine, None);
        Some(())
    }

    fn again(&mut self, engine: &Engine, call: Call<'_>, error: &Error) -> Option<()> {
        assert!(matches!(error, Error::Storage { .. } | Error::Stopped { .. }), "{error:?}");
        let Ok(now) = engine.list(None, None, None) else {
            self.run.stopped = true;
            assert!(matches!(call(engine), Err(Error::Stopped { .. })), "a stopped engine stays stopped");
            assert!(engine.flush().is_err());
            assert!(engine.close().is_err(), "close() tells of it");
            return None;
        };
        let known = self.known.expect("an undisturbed run came first");
        let before = &known[self.run.moments.len() - 1];
        let totals = |statuses: &[Status]| -> Vec<(String, u64, u64)> {
            statuses.iter().map(|s| (s.key.clone(), s.total_allowed, s.total_allowed_cost)).collect()
        };
        assert_eq!(totals(&now), totals(&before.statuses), "a call that failed changed something: {error}");
        self.disk.clear_fail();
        self.run.retried += 1;
        match call(engine) {
            // A background thread met the fault before it was taken away.
            Err(Error::Stopped { .. }) => {
                self.run.stopped = true;
                return None;
            }
            other => other.unwrap_or_else(|again| panic!("{again}, after {error}")),
        }
        if self.run.moments.len() < known.len() {
            let after = &known[self.run.moments.len()];
            match engine.list(None, None, None) {
                Ok(now) => assert_eq!(without_denials(now), after.statuses, "after {error}, and again"),
                Err(_) => {
                    self.run.stopped = true;
                    return None;
                }
            }
        }
        Some(())
    }

    /// Closing changes no key; afterwards there is nothing to look at.
    fn close(&mut self, engine: &Engine) -> Option<()> {
        self.step();
        let full = if self.known.is_none() { everything(engine) } else { Vec::new() };
        engine.close().ok()?;
        if self.disk.crashed() {
            return None;
        }
        self.note(engine, Some(full));
        self.run.durable = self.run.moments.len() - 1;
        Some(())
    }

    fn checks(&mut self, engine: &Engine, key: &str, cost: u64, times: usize) -> Option<()> {
        for _ in 0..times {
            self.call(engine, &|engine| engine.check(key, cost, None).map(drop))?;
        }
        Some(())
    }

    fn live(&mut self) -> Option<()> {
        let engine = self.open()?;
        self.first_session(&engine)?;
        self.call(&engine, &|engine| engine.flush())?;
        self.run.durable = self.run.moments.len() - 1;
        self.big_calls(&engine, 8)?;
        self.run.rotations += engine.counters().rotations;
        self.call(&engine, &|engine| engine.compact())?;
        self.run.compactions += engine.counters().compactions;
        self.second_half(&engine)?;
        self.close(&engine)?;
        drop(engine);
        let engine = self.open()?;
        self.checks(&engine, "bucket", 1, 3)?;
        self.big_calls(&engine, 4)?;
        self.run.rotations += engine.counters().rotations;
        self.call(&engine, &|engine| engine.delete("window"))?;
        self.call(&engine, &|engine| engine.compact())?;
        self.run.compactions += engine.counters().compactions;
        self.checks(&engine, "log", 2, 2)?;
        self.close(&engine)?;
        Some(())
    }

    /// Every kind of call, every algorithm.
    fn first_session(&mut self, engine: &Engine) -> Option<()> {
        let bucket = tokens("10/minute; 12/hour");
        self.call(engine, &|engine| engine.limit("bucket", &bucket, OnChange::Keep))?;
        let (log, window) = (
            limit("6/second; 9/minute", Algorithm::SlidingWindowLog),
            limit("5/second; 7/10s", Algorithm::FixedWindowCounter),
        );
        self.call(engine, &|engine| {
            engine.limit_many(&[
                ("log", log, OnChange::Keep),
                ("window", window, OnChange::Keep),
                ("gone", tokens("3/second"), OnChange::Keep),
            ])
        })?;
        self.checks(engine, "bucket", 3, 4)?;
        self.checks(engine, "log", 2, 4)?;
        self.checks(engine, "window", 4, 3)?;
        for _ in 0..2 {
            self.call(engine, &|engine| {
                let item = |key, cost| Item { key, cost, limit: None };
                engine.check_all(&[item("bucket", 1), item("log", 1), item("window", 1)]).map(drop)
            })?;
        }
        let given = tokens("4/minute");
        for _ in 0..3 {
            self.call(engine, &|engine| engine.check("given", 2, Some(&given)).map(drop))?;
        }
        self.call(engine, &|engine| engine.reset("bucket"))?;
        self.checks(engine, "bucket", 5, 1)?;
        self.checks(engine, "gone", 1, 1)?;
        self.call(engine, &|engine| engine.delete("gone"))?;
        let changed = tokens("10/minute; 40/hour");
        self.call(engine, &|engine| engine.limit("bucket", &changed, OnChange::Keep))
    }

    /// Long records, so that a few of them fill a segment.
    fn big_calls(&mut self, engine: &Engine, times: u64) -> Option<()> {
        let keys: Vec<String> = (0..8).map(|n| format!("{n}{}", "x".repeat(500))).collect();
        for n in 0..times {
            let rate = tokens(&format!("{}/hour", 5 + n));
            let specs: Vec<_> = keys.iter().map(|key| (key.as_str(), rate, OnChange::Keep)).collect();
            self.call(engine, &|engine| engine.limit_many(&specs))?;
            self.checks(engine, &keys[0], 1, 1)?;
        }
        Some(())
    }

    fn second_half(&mut self, engine: &Engine) -> Option<()> {
        self.checks(engine, "bucket", 1, 2)?;
        let narrower = limit("3/second", Algorithm::SlidingWindowLog);
        self.call(engine, &|engine| engine.limit("log", &narrower, OnChange::Reset))?;
        self.checks(engine, "log", 2, 2)?;
        let given = limit("9/minute", Algorithm::FixedWindowCounter);
        self.call(engine, &|engine| {
            engine.check_all(&[Item { key: "given", cost: 1, limit: Some(&given) }]).map(drop)
        })?;
        let again = tokens("2/second");
        self.call(engine, &|engine| engine.limit("gone", &again, OnChange::Keep))?;
        self.checks(engine, "gone", 1, 3)
    }
}

/// A sanity check of the script itself.
pub(crate) fn rehearse(sync: SyncMode) -> Run {
    let disk = SimDisk::new();
    let run = run(&disk, sync, None);
    assert!(run.finished, "the script runs through");
    assert!(run.rotations >= 3, "it fills segments: {}", run.rotations);
    assert_eq!(run.compactions, 2);
    assert!(run.moments.iter().any(|moment| moment.full != moment.statuses), "something is denied");
    assert!(run.moments.len() as u64 * STEP < 59 * SECOND, "denial totals are saved at the same calls in every run");
    run
}
