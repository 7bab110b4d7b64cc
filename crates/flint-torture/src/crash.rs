//! Cutting the power and killing the process at every operation of a scenario, and looking at what is recovered.
//!
//! For every state of the disk before an operation, outcomes are made: all lost, all kept, every prefix, names lost
//! independently of contents, every choice of few dirty sectors, pages or files and some of many, sectors caught between two
//! writes, garbage where nothing was durable. Each outcome is opened. What is found has to be a state that the live store
//! held, no older than promised, and the store has to continue: written, closed, opened, the same.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

use flint_core::doctor::examine_in;
use flint_core::engine::{Engine, Options};
use flint_core::testing::sim::{CrashPlan, SimDisk, Unit};

use crate::evidence;
use crate::expected_states::ExpectedStates;
use crate::harness::{START, State, assert_continues, assert_repeatable, clock_at, open, options, state};
use crate::random::Random;

/// How much is tried.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// All subsets of at most so many dirty units or names; of more, each alone, all but each, and some.
    pub exhaustive: u32,
    /// Random outcomes of a point, of each kind.
    pub random: u64,
    /// Of so many different outcomes one also has its recovery interrupted at every operation.
    pub nested_every: u64,
    /// Of so many interrupted recoveries one is interrupted again.
    pub twice_every: u64,
    /// Of so many different outcomes one is also looked at by `doctor` and a read-only opening.
    pub look_every: u64,
    /// Seed of what is left to chance.
    pub seed: u64,
}

/// What was done.
#[derive(Debug, Default)]
pub struct Tally {
    /// Operations before which the power was cut and the process killed.
    pub points: AtomicU64,
    /// Outcomes, different from each other at their point.
    pub states: AtomicU64,
    /// Different disks among them, each opened, written, closed and opened.
    pub distinct: AtomicU64,
    /// Outcomes of interrupted recoveries, different from each other at their point.
    pub nested: AtomicU64,
    /// The same of interrupted recoveries of interrupted recoveries.
    pub twice: AtomicU64,
    /// Different disks among the last two, each opened, written, closed and opened.
    pub nested_distinct: AtomicU64,
}

impl Tally {
    /// Crash states in all.
    pub fn total(&self) -> u64 {
        [&self.states, &self.nested, &self.twice].map(|count| count.load(Ordering::Relaxed)).iter().sum()
    }
}

impl Tally {
    /// Notes the counts as evidence.
    pub fn record(&self) {
        for (name, count) in [
            ("crash_points", &self.points),
            ("crash_states", &self.states),
            ("crash_states_distinct", &self.distinct),
            ("crash_states_in_recovery", &self.nested),
            ("crash_states_in_recovery_twice", &self.twice),
            ("crash_states_in_recovery_distinct", &self.nested_distinct),
        ] {
            evidence::record(name, count.load(Ordering::Relaxed));
        }
    }
}

fn bump(count: &AtomicU64) -> u64 {
    count.fetch_add(1, Ordering::Relaxed)
}

/// A state of a store that was opened: its newest record before opening wrote one, every key and answer.
struct Recovered {
    seq: u64,
    state: State,
}

struct Sweep<'a> {
    expected: &'a ExpectedStates,
    effort: Effort,
    tally: &'a Tally,
    /// By the disk's fingerprint: the mark that it leads to.
    known: Mutex<HashMap<u64, usize>>,
    /// The same for interrupted recoveries, by how often they were interrupted: equal disks are recovered in the same way.
    known_nested: Mutex<HashMap<(u64, u64), usize>>,
}

/// Tries what `effort` says at every operation of an executed scenario, on two threads.
///
/// # Panics
/// At the first state that breaks a promise, saying how to get there.
pub fn sweep(name: &str, expected: &ExpectedStates, effort: Effort, tally: &Tally) {
    let sweep = Sweep { expected, effort, tally, known: Mutex::default(), known_nested: Mutex::default() };
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let point = next.fetch_add(1, Ordering::Relaxed);
            let Some(disk) = expected.disks.get(point) else { break };
            let at = catch_unwind(AssertUnwindSafe(|| sweep.point(point as u64, disk)));
            if let Err(panic) = at {
                next.store(usize::MAX / 2, Ordering::Relaxed);
                let mode = expected.sync;
                let seed = effort.seed;
                report(&format!("scenario {name:?}, {mode:?}, before operation {point}, seed {seed}"));
                resume_unwind(panic);
            }
        }
    };
    thread::scope(|scope| {
        let other = scope.spawn(work);
        work();
        if let Err(panic) = other.join() {
            resume_unwind(panic);
        }
    });
}

#[expect(clippy::print_stderr, reason = "says where a failure was met")]
fn report(place: &str) {
    eprintln!("crash state: {place}");
}

/// Subsets of `count` things as bits: all of few, else none, all, each alone, all but each, and some.
fn subsets(count: usize, effort: &Effort, random: &mut Random) -> Vec<u64> {
    let count = u32::try_from(count.min(64)).unwrap_or(64);
    let all = if count == 64 { u64::MAX } else { (1 << count) - 1 };
    if count <= effort.exhaustive {
        return (0..=all).collect();
    }
    let mut subsets = vec![0, all];
    for n in 0..count {
        subsets.extend([1 << n, all & !(1 << n)]);
    }
    subsets.extend((0..effort.random).map(|_| random.next() & all));
    subsets
}

/// What may be left of `disk` by a power cut.
pub fn plans(disk: &SimDisk, effort: &Effort, random: &mut Random) -> Vec<CrashPlan> {
    let mut plans = vec![CrashPlan::LoseUnsynced, CrashPlan::KeepAll];
    plans.extend((1..disk.unsynced()).map(CrashPlan::KeepPrefix));
    let (names, _) = disk.doubts(Unit::File);
    for unit in [Unit::Sector, Unit::Page, Unit::File] {
        let (_, pieces) = disk.doubts(unit);
        for pieces in subsets(pieces, effort, random) {
            plans.extend([0, u64::MAX].map(|names| CrashPlan::Choose { names, pieces, unit }));
        }
    }
    for names in subsets(names, effort, random) {
        plans.extend([0, u64::MAX].map(|pieces| CrashPlan::Choose { names, pieces, unit: Unit::Sector }));
    }
    if disk.unsynced() > 0 {
        plans.extend((0..effort.random).map(|_| CrashPlan::Random(random.next())));
        plans.extend((0..effort.random).map(|_| CrashPlan::Garbage(random.next())));
    }
    plans
}

impl Sweep<'_> {
    fn options(&self, extra_ns: u64) -> Options {
        options(self.expected.sync, &clock_at(self.expected.end_wall_ns + extra_ns))
    }

    fn point(&self, point: u64, disk: &SimDisk) {
        bump(&self.tally.points);
        let promise = self.expected.promise(point);
        let mut random = Random::new(self.effort.seed ^ point);
        let killed = disk.kill();
        self.state(&killed, promise.kill, promise.power_cut, "the process is killed");
        let mut seen = vec![killed.fingerprint()];
        for plan in plans(disk, &self.effort, &mut random) {
            let left = disk.power_cut(plan);
            let fingerprint = left.fingerprint();
            if seen.contains(&fingerprint) {
                continue;
            }
            seen.push(fingerprint);
            self.state(&left, promise.power_cut, promise.power_cut, &format!("{plan:?}"));
        }
    }

    /// One outcome: at least mark `promised`, also when the power goes while it is recovered `then`, and able to continue.
    fn state(&self, left: &SimDisk, promised: usize, then: usize, what: &str) {
        bump(&self.tally.states);
        let fingerprint = left.fingerprint();
        let known = match self.known.lock().expect("no panic under it").entry(fingerprint) {
            Entry::Occupied(known) => Some(*known.get()),
            Entry::Vacant(_) => None,
        };
        let mark = known.unwrap_or_else(|| {
            let mark = self.distinct(left, then, what);
            self.known.lock().expect("no panic under it").insert(fingerprint, mark);
            mark
        });
        assert!(
            mark >= promised,
            "{what}: led back to mark {mark} ({}), but mark {promised} ({}) was promised",
            self.expected.marks[mark].what,
            self.expected.marks[promised].what
        );
    }

    fn distinct(&self, left: &SimDisk, then: usize, what: &str) -> usize {
        let number = bump(&self.tally.distinct);
        if number.is_multiple_of(self.effort.look_every) {
            self.look(left, what);
        }
        let nested = number.is_multiple_of(self.effort.nested_every);
        let disk = left.kill();
        if nested {
            disk.record();
        }
        let (engine, recovered) = self.recover(&disk, what);
        let disks = if nested { disk.recorded() } else { Vec::new() };
        let mark = self.expected.find(recovered.seq, 0, &recovered.state).unwrap_or_else(|| {
            panic!(
                "{what}: a state that never was, at record {}: {:#?}\nthere was {}",
                recovered.seq,
                recovered.state,
                self.expected.around(recovered.seq)
            )
        });
        assert_continues(&disk, engine, &self.options(1_000_000), what);
        // What a killed process left is not all durable: while it is recovered the power may still take it back to the promise.
        let least = if left.unsynced() == 0 { mark } else { then };
        for (op, disk) in disks.iter().enumerate() {
            self.nested(disk, least, &format!("{what}, then in recovery before operation {op}"), 1);
        }
        mark
    }

    /// A recovery that is itself interrupted, for the `depth`th time, leads back no further than an uninterrupted one. It may
    /// find one record more: zeros that replaced a torn record's middle can be what should stand there.
    fn nested(&self, disk: &SimDisk, least: usize, what: &str, depth: u64) {
        let mut random = Random::new(self.effort.seed ^ disk.fingerprint());
        let mut seen = Vec::new();
        let unsynced = disk.unsynced();
        let mut outcomes = vec![CrashPlan::LoseUnsynced, CrashPlan::KeepAll];
        outcomes.extend((1..unsynced).map(CrashPlan::KeepPrefix));
        if unsynced > 0 {
            outcomes.extend([CrashPlan::Random(random.next()), CrashPlan::Garbage(random.next())]);
        }
        for plan in outcomes {
            let left = disk.power_cut(plan);
            let fingerprint = left.fingerprint();
            if seen.contains(&fingerprint) {
                continue;
            }
            seen.push(fingerprint);
            bump(if depth == 1 { &self.tally.nested } else { &self.tally.twice });
            let what = format!("{what}, {plan:?}");
            let known = self.known_nested.lock().expect("no panic under it").get(&(fingerprint, depth)).copied();
            let mark = known.unwrap_or_else(|| {
                let mark = self.nested_distinct(&left, least, &what, depth);
                self.known_nested.lock().expect("no panic under it").insert((fingerprint, depth), mark);
                mark
            });
            assert!(mark >= least, "{what}: led back to mark {mark}, but mark {least} was promised");
        }
    }

    fn nested_distinct(&self, left: &SimDisk, least: usize, what: &str, depth: u64) -> usize {
        let number = bump(&self.tally.nested_distinct);
        let once_more = depth == 1 && number.is_multiple_of(self.effort.twice_every);
        if once_more {
            left.record();
        }
        let (engine, recovered) = self.recover(left, what);
        let disks = if once_more { left.recorded() } else { Vec::new() };
        let mark = self.expected.find(recovered.seq, depth, &recovered.state).unwrap_or_else(|| {
            panic!("{what}: a state that never was, at record {}: {:#?}", recovered.seq, recovered.state)
        });
        assert_continues(left, engine, &self.options(1_000_000), what);
        for (op, disk) in disks.iter().enumerate() {
            self.nested(disk, least, &format!("{what}, then again before operation {op}"), depth + 1);
        }
        mark
    }

    fn recover(&self, disk: &SimDisk, what: &str) -> (Engine, Recovered) {
        let engine = open(disk, self.options(0)).unwrap_or_else(|error| panic!("{what}: {error}"));
        // Opening wrote one record, the anchor.
        let recovered = Recovered { seq: engine.counters().seq - 1, state: state(&engine) };
        (engine, recovered)
    }

    /// `doctor` and a read-only opening find the same, and what an open store shows is on disk.
    fn look(&self, left: &SimDisk, what: &str) {
        let report = examine_in(&*left.dir()).unwrap_or_else(|error| panic!("{what}: doctor: {error}"));
        assert!(report.ok, "{what}: {report:?}");
        let reader = Options { read_only: true, ..self.options(0) };
        let reader = open(left, reader).unwrap_or_else(|error| panic!("{what}: read-only: {error}"));
        let seen = state(&reader);
        let disk = left.kill();
        let (_engine, recovered) = self.recover(&disk, what);
        assert_eq!(seen, recovered.state, "{what}: a reader sees something else");
        // A wall clock that goes back passes no time: everything that was remembered when the power went still is.
        let earlier = Options { clock: clock_at(START), ..self.options(0) };
        let engine = open(&left.kill(), earlier).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_repeatable(&engine, what);
        let (_, again) = self.recover(&disk.power_cut(CrashPlan::LoseUnsynced), what);
        assert_eq!(again.state, recovered.state, "{what}: shown by an open store and lost by a power cut");
    }
}
