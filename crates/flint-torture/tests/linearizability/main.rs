//! Concurrent callers see one limiter: recorded histories of real threads on shared keys have a sequential explanation, in
//! which the log's order is the order of decisions; across a close, a kill and a power cut too.

mod slices;
mod slow_disk;
mod store;
mod violations;
mod windows;

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use flint_core::Engine;
use flint_core::engine::{OnChange, SyncMode};
use flint_core::limit::Algorithm;
use flint_core::testing::sim::CrashPlan;
use flint_torture::evidence;
use flint_torture::linearizability::checker::check;
use flint_torture::linearizability::limiter::{Answer, Ask, Limiter, Op};
use flint_torture::linearizability::recorder::{self, Recorder};
use flint_torture::random::Random;

use store::{MS, Medium, START_NS, Store, THREADS, limit, perform, random_op};

type Call = recorder::Call<Op, Answer>;

/// What was checked.
#[derive(Default)]
struct Tally {
    histories: u64,
    operations: u64,
    overlaps: u64,
}

impl Tally {
    /// Fails unless the calls have an explanation that starts with an empty store at `now`.
    fn check(&mut self, now: u64, calls: &[Call], of: &str) {
        if let Err(violation) = check(&Limiter::new(now), calls) {
            let lines = calls.iter().enumerate().map(|(index, call)| format!("{index}: {call:?}\n"));
            panic!("{of}:\n{}{violation}", lines.collect::<String>());
        }
        self.histories += 1;
        self.operations += calls.len() as u64;
        self.overlaps += recorder::overlaps(calls);
    }

    fn record(&self) {
        evidence::record("linearizable_histories", self.histories);
        evidence::record("linearizable_operations", self.operations);
        evidence::record("linearizable_overlaps", self.overlaps);
    }
}

/// Numbers of records that the answers to a call named.
fn seq(call: &Call) -> Option<u64> {
    match &call.answer {
        Answer::Outcome(outcome) if outcome.seq > 0 => Some(outcome.seq),
        Answer::Multi(multi) if multi.seq > 0 => Some(multi.seq),
        _ => None,
    }
}

/// Whatever ended before another began comes before it in the log.
fn assert_log_order(calls: &[Call]) {
    let mut numbered: Vec<(u64, &Call)> = calls.iter().filter_map(|call| Some((seq(call)?, call))).collect();
    numbered.sort_by_key(|(seq, _)| *seq);
    // The latest beginning among all before it in the log: nothing behind may have ended before that.
    let mut latest = 0;
    for (index, (seq, call)) in numbered.iter().enumerate() {
        assert!(index == 0 || numbered[index - 1].0 < *seq, "record {seq} was acknowledged twice");
        assert!(call.returned > latest, "record {seq} ended before an earlier record's call began");
        latest = latest.max(call.invoked);
    }
}

/// One history: what each thread asks, in turn.
type Plan = Vec<Vec<Op>>;

fn random_plan(random: &mut Random, calls: usize, keys: u64) -> Plan {
    (0..THREADS)
        .map(|thread| {
            let mut ops: Vec<Op> = (0..calls).map(|_| random_op(random, keys)).collect();
            if let Some(key) = u8::try_from(thread).ok().filter(|key| u64::from(*key) < keys) {
                // Keys come into being at the beginning, while the others ask for them already.
                ops[0] = Op::Limit(key, limit("9/100ms; 15/1s", *random.choose(&Algorithm::ALL)), OnChange::Keep);
            }
            ops
        })
        .collect()
}

/// Runs all plans with the same threads, one after the other; each has keys of its own. Gives the calls of each.
fn run(store: &Store, engine: &Engine, recorder: &Recorder, plans: &[Plan]) -> Vec<Vec<Call>> {
    let barrier = Barrier::new(THREADS);
    let mut histories: Vec<Vec<Call>> = plans.iter().map(|_| Vec::new()).collect();
    let of_threads: Vec<Vec<Vec<Call>>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let barrier = &barrier;
                scope.spawn(move || {
                    let run_plan = |(number, plan): (usize, &Plan)| {
                        let name = |key| format!("{number}/{key}");
                        barrier.wait();
                        let run_op =
                            |op: &Op| recorder.record(op.clone(), |op| perform(engine, &store.clock, &name, op));
                        plan[thread].iter().map(run_op).collect()
                    };
                    plans.iter().enumerate().map(run_plan).collect()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for of_thread in of_threads {
        for (history, calls) in histories.iter_mut().zip(of_thread) {
            history.extend(calls);
        }
    }
    histories
}

fn advanced_by(calls: &[Call]) -> u64 {
    calls.iter().map(|call| if let Op::Advance(ns) = call.op { ns } else { 0 }).sum()
}

/// Many short histories on one store; what is on the disk at the end is what the callers got as answers.
fn session(tally: &mut Tally, store: &Store, random: &mut Random, plans: usize, compacting: bool) {
    let engine = store.open();
    let recorder = Recorder::default();
    let plans: Vec<Plan> = (0..plans).map(|_| random_plan(random, 4, 3)).collect();
    let histories = thread::scope(|scope| {
        let compactor = compacting.then(|| scope.spawn(|| (0..5).for_each(|_| engine.compact().unwrap())));
        let histories = run(store, &engine, &recorder, &plans);
        compactor.into_iter().for_each(|thread| thread.join().unwrap());
        histories
    });
    let mut now = START_NS;
    for (number, calls) in histories.iter().enumerate() {
        tally.check(now, calls, &format!("{}, history {number}", store.kind()));
        now += advanced_by(calls);
    }
    assert_log_order(&histories.concat());
    let live = engine.images().unwrap();
    assert!(!live.is_empty());
    if let Medium::Sim(disk) = &store.medium {
        assert_eq!(store.on(disk.kill()).open().images().unwrap(), live, "replayed after a kill");
    }
    engine.close().unwrap();
    assert_eq!(store.open().images().unwrap(), live, "replayed after a close");
}

#[test]
fn histories_on_a_simulated_disk_are_linearizable() {
    let mut random = Random::new(Random::seed());
    let mut tally = Tally::default();
    for round in 0..30 {
        for sync in [SyncMode::Always, SyncMode::Batch] {
            session(&mut tally, &Store::new(Medium::sim(), sync), &mut random, 60, round % 3 == 0);
        }
    }
    tally.record();
    assert!(tally.histories >= 3_600 && tally.overlaps >= 20 * tally.histories, "{} overlaps", tally.overlaps);
}

#[test]
fn histories_on_a_real_disk_are_linearizable() {
    let mut random = Random::new(Random::seed());
    let mut tally = Tally::default();
    for (sync, plans) in [(SyncMode::Always, 150), (SyncMode::Batch, 300)] {
        session(&mut tally, &Store::new(Medium::disk(), sync), &mut random, plans, false);
        session(&mut tally, &Store::new(Medium::disk(), sync), &mut random, plans, true);
    }
    tally.record();
    assert!(tally.histories >= 900 && tally.overlaps >= 20 * tally.histories, "{} overlaps", tally.overlaps);
}

/// How a session ends in the middle of a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// One of the threads closes the store.
    Close,
    /// The process dies: what was decided is there.
    Kill,
    /// The power goes: what was acknowledged is there.
    PowerCut,
}

/// The calls that the store remembers after an end at the moments `[begin, end]`: those that ended before it, and those under
/// way, of which no caller knows.
fn survivors(calls: &[Call], how: End, begin: u64, end: u64) -> Vec<Call> {
    let lost = |call: &Call| Call { returned: end, answer: Answer::Lost, ..call.clone() };
    let of = |call: &Call| if call.returned < begin { call.clone() } else { lost(call) };
    // A denial, or a look, may rest on an allowed check that is not durable yet, and that a power cut then takes back.
    let changes = |call: &Call| match &call.answer {
        Answer::Outcome(outcome) => outcome.seq > 0,
        Answer::Multi(multi) => multi.seq > 0,
        answer => *answer == Answer::Done || *answer == Answer::Lost,
    };
    let all = calls.iter().filter(|call| call.invoked < end).map(of);
    all.filter(|call| how != End::PowerCut || changes(call)).collect()
}

/// Runs calls, ends the session among them, opens the store again, looks, writes, closes, opens and looks again.
fn ended(tally: &mut Tally, random: &mut Random, sync: SyncMode, how: End) {
    const KEYS: u8 = 3;
    let store = Store::new(Medium::sim(), sync);
    let engine = store.open();
    let recorder = Recorder::default();
    let name = |key: u8| format!("{key}");
    let mut plan = random_plan(random, 4, u64::from(KEYS));
    for ops in &mut plan[1..] {
        // The thread that closes the store also moves the clock, so that the last anchor is exact.
        ops.iter_mut().filter(|op| matches!(op, Op::Advance(_))).for_each(|op| *op = Op::Status(0));
    }
    if random.below(2) == 0 {
        // The same limit for one key from all: all but one write nothing, and are promised what the one writes.
        let same = Op::Limit(0, limit("9/100ms", Algorithm::TokenBucket), OnChange::Keep);
        plan.iter_mut().for_each(|ops| ops[0] = same.clone());
    }
    if how == End::Close {
        let ops = &mut plan[0];
        ops.truncate(1 + usize::try_from(random.below(3)).unwrap());
        ops.push(Op::Close);
    }
    let stop_after = usize::try_from(random.below(20)).unwrap();
    let (answered, barrier) = (AtomicUsize::new(0), Barrier::new(THREADS + 1));
    let (calls, cut) = thread::scope(|scope| {
        let threads: Vec<_> = plan
            .iter()
            .map(|ops| {
                scope.spawn(|| {
                    barrier.wait();
                    let run = |op: &Op| {
                        let call = recorder.record(op.clone(), |op| perform(&engine, &store.clock, &name, op));
                        answered.fetch_add(1, Ordering::SeqCst);
                        call
                    };
                    ops.iter().map(run).collect::<Vec<Call>>()
                })
            })
            .collect();
        barrier.wait();
        while answered.load(Ordering::SeqCst) < stop_after {
            thread::yield_now();
        }
        let begin = recorder.moment();
        let disk = match how {
            End::Close => None,
            End::Kill => Some(store.sim_disk().kill()),
            End::PowerCut => Some(store.sim_disk().power_cut(CrashPlan::LoseUnsynced)),
        };
        let cut = disk.map(|disk| (disk, begin, recorder.moment()));
        let calls = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<Call>>();
        (calls, cut)
    });
    let of = format!("{how:?}, {sync:?}");
    tally.check(START_NS, &calls, &of);
    assert_log_order(&calls);
    let now = store.clock.now_ns();
    let (store, mut calls, reopening) = match cut {
        None => (store, calls, Op::Open(now)),
        Some((disk, begin, end)) => (store.on(disk), survivors(&calls, how, begin, end), Op::Crash(now)),
    };
    drop(engine);
    let mut reopening = Some(reopening);
    for round in 0..2 {
        let op = reopening.take().unwrap_or(Op::Open(store.clock.now_ns()));
        let mut engine = None;
        calls.push(recorder.record(op, |_| {
            engine = Some(store.open());
            Answer::Done
        }));
        let engine = engine.expect("it was just opened");
        let statuses = (0..KEYS).map(Op::Status);
        let asks =
            |cost| (0..KEYS).map(move |key| Ask { key, cost, limit: Some(limit("9/s", Algorithm::TokenBucket)) });
        let writes = asks(2).map(Op::Check).chain([Op::Advance(20 * MS), Op::CheckAll(asks(1).collect())]);
        let looks: Vec<Op> = statuses.clone().chain(writes).chain(statuses).collect();
        for op in looks.into_iter().chain((round == 0).then_some(Op::Close)) {
            calls.push(recorder.record(op, |op| perform(&engine, &store.clock, &name, op)));
        }
    }
    tally.check(START_NS, &calls, &of);
}

#[test]
fn histories_across_the_end_of_a_session_are_linearizable() {
    let mut random = Random::new(Random::seed());
    let mut tally = Tally::default();
    for _ in 0..250 {
        ended(&mut tally, &mut random, SyncMode::Always, End::PowerCut);
        for sync in [SyncMode::Always, SyncMode::Batch] {
            ended(&mut tally, &mut random, sync, End::Kill);
            ended(&mut tally, &mut random, sync, End::Close);
        }
    }
    tally.record();
    assert!(tally.histories >= 2_500 && tally.overlaps >= 20 * tally.histories, "{} overlaps", tally.overlaps);
}
