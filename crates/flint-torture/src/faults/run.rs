//! One execution of a scenario with one fault.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use flint_core::clock::{Clock as _, ManualClock};
use flint_core::doctor::examine_in;
use flint_core::engine::{Engine, LogIo, Options, SyncMode};
use flint_core::hooks::visit_between_slices;
use flint_core::testing::sim::{CrashPlan, Fault, SimDisk};
use flint_core::{Error, Result, files};

use super::tally::{FAULTS, Tally};
use crate::expected_states::{ExpectedStates, STEP_NS};
use crate::harness::{START, State, assert_continues, clock_at, is_refusal, open, options, state};
use crate::scenario::{Scenario, Step, call};

/// One run of a scenario with a fault.
struct Run<'a> {
    what: String,
    expected: &'a ExpectedStates,
    tally: &'a Tally,
    sync: SyncMode,
    history_bytes: u64,
    log_io: LogIo,
    fault: Fault,
    disk: SimDisk,
    clock: Arc<ManualClock>,
    /// Whether this session saw its wall clock set.
    wall_clock_set: bool,
    /// The newest step that returned, and the newest that a power cut must leave.
    returned: usize,
    durable: usize,
    /// Stores of processes that died. They are dropped after the last look at the disk.
    dead: Vec<Rc<Engine>>,
}

/// The end of a run before the scenario's: the engine stopped in this step.
struct Stopped {
    step: usize,
}

/// Executes the scenario with a fault at operation `op`, or from there on if `sticky`; false if the fault did not strike.
pub(super) fn run(
    scenario: &Scenario,
    expected: &ExpectedStates,
    fault: Fault,
    sticky: bool,
    op: u64,
    tally: &Tally,
) -> bool {
    let disk = SimDisk::new();
    for (name, bytes) in &scenario.before {
        disk.write_file(name, bytes);
    }
    disk.set_fail(op, fault, sticky);
    let often = if sticky { "from" } else { "at" };
    let mut run = Run {
        what: format!("scenario {:?}, {:?}, {fault:?} {often} operation {op}", scenario.name, expected.sync),
        expected,
        tally,
        sync: expected.sync,
        history_bytes: scenario.history_bytes,
        log_io: scenario.log_io,
        fault,
        disk,
        clock: clock_at(START),
        wall_clock_set: false,
        returned: 0,
        durable: 0,
        dead: Vec::new(),
    };
    let end = run.execute(scenario);
    run.disk.clear_fail();
    let struck = run.disk.was_struck();
    match end {
        Ok(()) => run.after_close(),
        Err(Stopped { step }) => {
            tally.stopped.fetch_add(1, Ordering::Relaxed);
            run.after_stop(step);
        }
    }
    if struck {
        let kind = FAULTS.iter().position(|known| *known == fault).expect("one of all");
        tally.struck[kind][usize::from(sticky)].fetch_add(1, Ordering::Relaxed);
    }
    struck
}

impl Run<'_> {
    fn options(&self) -> Options {
        Options { history_bytes: self.history_bytes, log_io: self.log_io, ..options(self.sync, &self.clock) }
    }

    fn execute(&mut self, scenario: &Scenario) -> std::result::Result<(), Stopped> {
        let mut engine = Rc::new(self.open(0));
        for (index, step) in scenario.steps.iter().enumerate() {
            let number = index + 1;
            self.clock.advance_ns(STEP_NS);
            match step {
                Step::Wait(ms) => self.clock.advance_ns(ms * 1_000_000),
                Step::StepWallClock(seconds) => {
                    let wall_ns = self.clock.wall_ns();
                    self.clock.set_wall_ns(wall_ns.saturating_add_signed(seconds * 1_000_000_000));
                    self.wall_clock_set = true;
                }
                Step::Reopen => {
                    self.close(&engine, number)?;
                    self.wall_clock_set = false;
                    engine = Rc::new(self.open(number));
                }
                Step::Die => {
                    self.disk.lock_elsewhere(files::LOCK, None);
                    // Dropping it would close it.
                    let dead = std::mem::replace(&mut engine, Rc::new(self.open(number)));
                    self.dead.push(dead);
                    if std::mem::take(&mut self.wall_clock_set) && self.lost_time(&engine, number) {
                        self.dead.push(engine);
                        return Err(Stopped { step: number });
                    }
                }
                Step::Compact(between) => self.compact(&engine, step, between, number)?,
                _ => self.step(&engine, step, number)?,
            }
            // What is done in the background may have stopped the engine after the call was through.
            if let Err(error) = engine.images() {
                self.stopped(&engine, &error, number)?;
            }
            self.returned(&engine, number);
            if step.syncs() {
                self.durable = number;
            }
        }
        self.close(&engine, scenario.steps.len() + 1)
    }

    /// What step `number` led to without faults.
    fn after(&self, number: usize) -> &State {
        let last =
            self.expected.marks.iter().rposition(|mark| mark.step <= number).expect("the first mark is of step 0");
        &self.expected.marks[last].state
    }

    /// Whether there was no room, or no memory, for the anchor that a set wall clock calls for. How long the store was closed
    /// then follows from the older anchor, as after a clock set while no process ran. The keys are the same; what follows is
    /// decided at other times.
    fn lost_time(&self, engine: &Engine, number: usize) -> bool {
        let no_room =
            !matches!(self.fault, Fault::Eio | Fault::FsyncFails | Fault::ReadFails) && self.disk.was_struck();
        no_room && state(engine).now_ns != self.after(number).now_ns
    }

    fn returned(&mut self, engine: &Engine, number: usize) {
        assert!(state(engine) == *self.after(number), "{}: other keys after step {number}", self.what);
        self.returned = number;
        let counters = engine.counters();
        if self.sync == SyncMode::Always || counters.durable_seq == counters.seq {
            self.durable = number;
        }
    }

    fn open(&mut self, number: usize) -> Engine {
        let engine = match open(&self.disk, self.options()) {
            Ok(engine) => engine,
            Err(error) => {
                assert!(
                    matches!(error, Error::Storage { .. } | Error::Stopped { .. }),
                    "{}: opening says {error:?}",
                    self.what
                );
                self.disk.clear_fail();
                self.tally.reopened.fetch_add(1, Ordering::Relaxed);
                open(&self.disk, self.options())
                    .unwrap_or_else(|again| panic!("{}: opening says {error}, and then {again}", self.what))
            }
        };
        // What the last session left may be a step further than what returned, if that step failed.
        self.returned(&engine, number);
        self.durable = number;
        engine
    }

    fn close(&mut self, engine: &Engine, number: usize) -> std::result::Result<(), Stopped> {
        let Err(error) = engine.close() else {
            self.returned = number;
            self.durable = number;
            return Ok(());
        };
        assert!(matches!(error, Error::Storage { .. } | Error::Stopped { .. }), "{}: {error:?}", self.what);
        Err(Stopped { step: number })
    }

    /// One call, made again when it failed for a fault that does not stop the engine.
    fn step(&mut self, engine: &Engine, step: &Step, number: usize) -> std::result::Result<(), Stopped> {
        let before = state(engine);
        let Err(error) = refusals_aside(call(engine, step)) else { return Ok(()) };
        let Ok(now) = State::of(engine) else { return self.stopped(engine, &error, number) };
        assert!(error.is_out_of_resources(), "{}: {step:?} says {error} and the engine continues", self.what);
        assert!(now == before, "{}: {step:?} failed ({error}) and changed something", self.what);
        self.again(engine, step, &error)
    }

    /// With the fault gone the same call works.
    fn again(&self, engine: &Engine, step: &Step, error: &Error) -> std::result::Result<(), Stopped> {
        self.disk.clear_fail();
        self.tally.resumed.fetch_add(1, Ordering::Relaxed);
        let again = refusals_aside(call(engine, step));
        again.unwrap_or_else(|again| panic!("{}: {step:?} says {error}, and then {again}", self.what));
        Ok(())
    }

    /// A snapshot that fails is given up, whatever failed, unless the log could not be written or synced.
    fn compact(
        &mut self,
        engine: &Rc<Engine>,
        step: &Step,
        between: &[Step],
        number: usize,
    ) -> std::result::Result<(), Stopped> {
        let inner = Rc::new(Cell::new(None));
        let done = Rc::new(Cell::new(false));
        let clock = self.clock.clone();
        {
            let (inner, done, engine, between) = (inner.clone(), done.clone(), engine.clone(), between.to_vec());
            visit_between_slices(Some(Box::new(move || {
                if done.replace(true) {
                    return;
                }
                for step in &between {
                    clock.advance_ns(STEP_NS);
                    if let Err(error) = refusals_aside(call(&engine, step)) {
                        inner.set(Some(error));
                        return;
                    }
                }
            })));
        }
        let mut result = refusals_aside(call(engine, step));
        let mut end = Ok(());
        if let Some(error) = inner.take() {
            // A call between two slices failed: those after it are not made, so that nothing can be compared any more.
            end = self.abandoned(engine, &error, number);
        } else if let Err(error) = &result {
            if engine.images().is_err() {
                end = self.stopped(engine, error, number);
            } else {
                self.disk.clear_fail();
                self.tally.resumed.fetch_add(1, Ordering::Relaxed);
                result = refusals_aside(call(engine, step));
                if let Err(again) = result {
                    panic!("{}: {step:?} fails again: {again}", self.what);
                }
            }
        }
        visit_between_slices(None);
        end
    }

    /// A call in the middle of a compaction failed without stopping the engine: the store is closed, as far as that goes.
    fn abandoned(&mut self, engine: &Engine, error: &Error, number: usize) -> std::result::Result<(), Stopped> {
        if engine.images().is_err() {
            return self.stopped(engine, error, number);
        }
        assert!(error.is_out_of_resources(), "{}: {error} and the engine continues", self.what);
        self.disk.clear_fail();
        engine.close().unwrap_or_else(|again| panic!("{}: closing after {error}: {again}", self.what));
        Err(Stopped { step: number })
    }

    /// A stopped engine stays so, says so everywhere, and leaves the disk alone.
    fn stopped(&self, engine: &Engine, error: &Error, number: usize) -> std::result::Result<(), Stopped> {
        assert!(
            matches!(error, Error::Storage { .. } | Error::Stopped { .. }) && !matches!(error, Error::Closed),
            "{}: {error:?}",
            self.what
        );
        self.disk.clear_fail();
        let (ops, syncs) = (self.disk.ops(), self.disk.syncs());
        let refused = |what: &str, result: Result<()>| {
            assert!(matches!(result, Err(Error::Stopped { .. })), "{}: {what} after {error}: {result:?}", self.what);
        };
        refused("check", engine.check("a", 1, None).map(drop));
        refused("limit", call(engine, &Step::LimitMany { keys: 1, len: 3, rate: 1 }));
        refused("status", engine.status("a").map(drop));
        refused("flush", engine.flush());
        refused("compact", engine.compact());
        assert_eq!(self.disk.ops(), ops, "{}: a stopped engine touched the disk", self.what);
        refused("close", engine.close());
        assert_eq!(self.disk.syncs(), syncs, "{}: a stopped engine synced", self.what);
        refused_closed(&self.what, engine);
        Err(Stopped { step: number })
    }

    /// What is found after a clean end, whatever failed before it.
    fn after_close(&self) {
        for (disk, when) in [
            (self.disk.kill(), "closed and opened again"),
            (self.disk.power_cut(CrashPlan::LoseUnsynced), "closed, after a power cut"),
        ] {
            let report = examine_in(&*disk.dir()).unwrap_or_else(|error| panic!("{}, {when}: {error}", self.what));
            assert!(report.ok, "{}, {when}: {report:?}", self.what);
            self.found(&disk, self.returned, self.returned, when);
        }
    }

    /// What is found after a stop in `step`, by the next process and after a power cut, at once and after the repair.
    fn after_stop(&self, step: usize) {
        let next = self.disk.kill();
        self.found(&next, self.returned, step, "opened again");
        let cut = self.disk.power_cut(CrashPlan::LoseUnsynced);
        self.found(&cut, self.durable, step, "after a power cut");
        let next = self.disk.kill();
        let engine = open(&next, self.options()).unwrap_or_else(|error| panic!("{}: {error}", self.what));
        let repaired = state(&engine);
        let cut = next.power_cut(CrashPlan::LoseUnsynced);
        let engine = open(&cut, self.options()).unwrap_or_else(|error| panic!("{}: {error}", self.what));
        assert!(state(&engine) == repaired, "{}: opening did not make durable what it found", self.what);
    }

    /// The store holds a state of the steps `least` to `most`, and continues.
    fn found(&self, disk: &SimDisk, least: usize, most: usize, when: &str) {
        let what = format!("{}, {when}", self.what);
        let engine = open(disk, self.options()).unwrap_or_else(|error| panic!("{what}: {error}"));
        let found = state(&engine);
        let known = found == *self.after(least)
            || self.expected.marks.iter().any(|mark| mark.step > least && mark.step <= most && *mark.state == found);
        assert!(known, "{what}: not a state of steps {least} to {most}: {found:#?}");
        self.clock.advance_ns(1_000);
        assert_continues(disk, engine, &self.options(), &what);
    }
}

fn refused_closed(what: &str, engine: &Engine) {
    let again = engine.check("a", 1, None);
    assert!(matches!(again, Err(Error::Closed)), "{what}: after close(): {again:?}");
}

/// A refusal for what was asked is part of the scenario.
fn refusals_aside(result: Result<()>) -> Result<()> {
    match result {
        Err(error) if is_refusal(&error) => Ok(()),
        other => other,
    }
}
