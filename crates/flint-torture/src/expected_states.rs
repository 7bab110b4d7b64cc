//! Executing a scenario on a recorded disk, and the states of the store that each state of that disk may lead to.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use flint_core::clock::{Clock as _, ManualClock};
use flint_core::engine::{Engine, LogIo, Options, SyncMode};
use flint_core::hooks::visit_between_slices;
use flint_core::testing::sim::SimDisk;
use flint_core::{Error, files};

use crate::harness::{START, State, clock_at, is_refusal, open, options, state};
use crate::scenario::{Scenario, Step, call};

/// How long each step takes, at least.
pub const STEP_NS: u64 = 137_000_001;

/// The state of the store when a call returned.
#[derive(Debug, Clone)]
pub struct Mark {
    /// What returned.
    pub what: String,
    /// Index of the scenario's step that it was part of; 0 is opening the store, 1 the first step.
    pub step: usize,
    /// Disk operations so far.
    pub ops: u64,
    /// The newest record.
    pub seq: u64,
    /// The newest record that the engine said to be on disk.
    pub durable_seq: u64,
    /// Whether what returned promises that everything up to it is on disk, in both modes and whatever the engine says.
    pub synced: bool,
    /// Every key and answer.
    pub state: Arc<State>,
}

/// A scenario that was executed: the states of its store, and the disks that led there.
pub struct ExpectedStates {
    /// Mode of the store.
    pub sync: SyncMode,
    /// In the order in which calls returned; the first is the state before the store was opened.
    pub marks: Vec<Mark>,
    /// When it ended: no earlier than any record.
    pub end_wall_ns: u64,
    /// The disk before each operation, and at the end.
    pub disks: Vec<SimDisk>,
    /// Rotations and snapshots seen.
    pub rotations: u64,
    /// The same for snapshots.
    pub compactions: u64,
}

/// What must be true of a store recovered from some state of the disk: indexes into [`ExpectedStates::marks`].
#[derive(Debug, Clone, Copy)]
pub struct Promise {
    /// The oldest mark that a power cut may lead back to.
    pub power_cut: usize,
    /// The oldest mark that a killed process may lead back to.
    pub kill: usize,
}

impl ExpectedStates {
    /// What was promised when the disk had done `ops` operations: whatever calls that had returned by then had changed, in a batch
    /// up to the last of them that syncs, or as far as the engine said.
    pub fn promise(&self, ops: u64) -> Promise {
        let returned = self.marks.iter().take_while(|mark| mark.ops <= ops).count();
        let marks = &self.marks[..returned];
        let durable_seq = marks.iter().map(|mark| mark.durable_seq).max().unwrap_or(0);
        let synced = marks.iter().rposition(|mark| mark.synced).unwrap_or(0);
        // What a call changes is in its last record; in a batch, a sync for the sake of room may come before that.
        let newest = |all: bool| {
            (1..returned)
                .rev()
                .find(|&n| marks[n].state != marks[n - 1].state && (all || n <= synced || marks[n].seq <= durable_seq))
                .unwrap_or(0)
        };
        let kill = newest(true);
        let power_cut = if self.sync == SyncMode::Always { kill } else { newest(false) };
        Promise { power_cut, kill }
    }

    /// The newest mark at which the live store held `found` and had got as far as record `seq`; between two marks some records
    /// belong to calls that did not return, and their state is that of before or after. Up to `anchors` records were written by
    /// recoveries, which change no key.
    pub fn find(&self, seq: u64, anchors: u64, found: &State) -> Option<usize> {
        (seq.saturating_sub(anchors)..=seq).rev().find_map(|seq| self.find_exactly(seq, found))
    }

    fn find_exactly(&self, seq: u64, found: &State) -> Option<usize> {
        let after = self.marks.partition_point(|mark| mark.seq < seq);
        let exact = self.marks[after..].iter().take_while(|mark| mark.seq == seq).count();
        let until = match exact {
            0 => (after + 1).min(self.marks.len()),
            exact => after + exact,
        };
        // Records that only a recovery wrote change no key, so that there may be no mark at or after this one.
        let from = if exact == 0 { after.saturating_sub(1) } else { after };
        (from..until).rev().find(|&n| *self.marks[n].state == *found)
    }

    /// Segments that lost their names.
    pub fn removed_segments(&self) -> usize {
        let segments = |disk: &SimDisk| {
            let names = disk.dir().list().expect("a disk with power");
            names.into_iter().filter(|name| files::parse_segment_name(name).is_some()).collect::<BTreeSet<_>>()
        };
        let (mut removed, mut before) = (0, BTreeSet::new());
        for disk in &self.disks {
            let now = segments(&disk.kill());
            removed += before.difference(&now).count();
            before = now;
        }
        removed
    }

    /// What there was at about record `seq`, for failures.
    pub fn around(&self, seq: u64) -> String {
        let after = self.marks.iter().position(|mark| mark.seq >= seq).unwrap_or(self.marks.len() - 1);
        let near = &self.marks[after.saturating_sub(1)..=after];
        near.iter()
            .map(|mark| {
                format!("record {} after {} at operation {}: {:#?}\n", mark.seq, mark.what, mark.ops, mark.state)
            })
            .collect()
    }
}

struct Recorder {
    sync: SyncMode,
    history_bytes: u64,
    log_io: LogIo,
    disk: SimDisk,
    clock: Arc<ManualClock>,
    engine: RefCell<Option<Rc<Engine>>>,
    marks: RefCell<Vec<Mark>>,
    rotations: RefCell<u64>,
    compactions: RefCell<u64>,
    step: Cell<usize>,
    /// Stores of processes that died.
    dead: RefCell<Vec<Rc<Engine>>>,
}

impl Recorder {
    fn options(&self) -> Options {
        Options { history_bytes: self.history_bytes, log_io: self.log_io, ..options(self.sync, &self.clock) }
    }

    fn engine(&self) -> Rc<Engine> {
        self.engine.borrow().clone().expect("the store is open")
    }

    fn mark(&self, what: &dyn std::fmt::Debug, synced: bool, engine: &Engine, last: Option<Arc<State>>) {
        let counters = engine.counters();
        let mut marks = self.marks.borrow_mut();
        // What is too old may be gone later: each mark has its own moment.
        let state = last.unwrap_or_else(|| Arc::new(state(engine)));
        marks.push(Mark {
            what: format!("{what:?}"),
            step: self.step.get(),
            ops: self.disk.ops(),
            seq: counters.seq,
            durable_seq: counters.durable_seq,
            synced,
            state,
        });
    }

    fn open(&self) {
        let engine = open(&self.disk, self.options()).unwrap_or_else(|error| panic!("opening: {error}"));
        let engine = Rc::new(engine);
        self.mark(&"open", true, &engine, None);
        *self.engine.borrow_mut() = Some(engine);
    }

    fn count(&self, engine: &Engine) {
        let counters = engine.counters();
        *self.rotations.borrow_mut() += counters.rotations;
        *self.compactions.borrow_mut() += counters.compactions;
    }

    fn take_engine(&self) -> Rc<Engine> {
        let engine = self.engine.borrow_mut().take().expect("the store is open");
        self.count(&engine);
        engine
    }

    fn close(&self) {
        let engine = self.take_engine();
        let last = self.marks.borrow().last().map(|mark| mark.state.clone());
        engine.close().unwrap_or_else(|error| panic!("closing: {error}"));
        self.mark(&"close", true, &engine, last);
    }

    fn step(self: &Rc<Self>, step: &Step) {
        self.clock.advance_ns(STEP_NS);
        match step {
            Step::Wait(ms) => self.clock.advance_ns(ms * 1_000_000),
            Step::StepWallClock(seconds) => {
                let wall_ns = self.clock.wall_ns();
                let stepped = wall_ns.saturating_add_signed(seconds * 1_000_000_000);
                self.clock.set_wall_ns(stepped);
            }
            Step::Reopen => {
                self.close();
                self.open();
            }
            Step::Die => {
                // Kept, because dropping it would close it; a process that is gone only releases its lock.
                self.dead.borrow_mut().push(self.take_engine());
                self.disk.lock_elsewhere(files::LOCK, None);
                self.open();
            }
            Step::Compact(between) => {
                let (recorder, between) = (self.clone(), between.clone());
                let mut done = false;
                visit_between_slices(Some(Box::new(move || {
                    if !std::mem::replace(&mut done, true) {
                        between.iter().for_each(|step| recorder.step(step));
                    }
                })));
                self.call(step);
                visit_between_slices(None);
            }
            _ => self.call(step),
        }
    }

    fn call(&self, step: &Step) {
        let engine = self.engine();
        match call(&engine, step) {
            Err(error) if !is_refusal(&error) => panic!("{step:?}: {error}"),
            _ => self.mark(step, step.syncs(), &engine, None),
        }
    }
}

/// Executes `scenario` from beginning to end on a recorded disk; it ends with a clean close.
///
/// # Panics
/// When a call fails that should not.
pub fn record(scenario: &Scenario, sync: SyncMode) -> ExpectedStates {
    let disk = SimDisk::new();
    for (name, bytes) in &scenario.before {
        disk.write_file(name, bytes);
    }
    let first = Arc::new(state_of_old(&disk));
    disk.record();
    let recorder = Rc::new(Recorder {
        sync,
        history_bytes: scenario.history_bytes,
        log_io: scenario.log_io,
        disk,
        clock: clock_at(START),
        engine: RefCell::new(None),
        marks: RefCell::new(vec![Mark {
            what: "nothing".to_owned(),
            step: 0,
            ops: 0,
            seq: 0,
            durable_seq: 0,
            synced: true,
            state: first,
        }]),
        rotations: RefCell::new(0),
        compactions: RefCell::new(0),
        step: Cell::new(0),
        dead: RefCell::default(),
    });
    recorder.open();
    for (index, step) in scenario.steps.iter().enumerate() {
        recorder.step.set(index + 1);
        recorder.step(step);
    }
    recorder.step.set(scenario.steps.len() + 1);
    recorder.close();
    let disks = recorder.disk.recorded();
    let marks = recorder.marks.borrow().clone();
    let (rotations, compactions) = (*recorder.rotations.borrow(), *recorder.compactions.borrow());
    ExpectedStates {
        sync,
        marks,
        end_wall_ns: recorder.clock.wall_ns() + 86_400_000_000_000,
        disks,
        rotations,
        compactions,
    }
}

/// What an old directory holds: the state after its migration.
fn state_of_old(disk: &SimDisk) -> State {
    let copy = disk.kill();
    match open(&copy, options(SyncMode::Always, &clock_at(START))) {
        Ok(engine) => state(&engine),
        Err(Error::Corrupt { .. }) => State::default(),
        Err(error) => panic!("the scenario cannot start: {error}"),
    }
}
