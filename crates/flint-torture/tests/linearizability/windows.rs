//! Never more than the limit in any window, by the definition of each algorithm, from the times in the log: with many
//! threads, a clock that moves, and a session that ends in the middle by a close, a kill or a power cut.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use flint_core::Engine;
use flint_core::clock::Clock as _;
use flint_core::engine::{Event, OnChange, SyncMode};
use flint_core::image::EventKind;
use flint_core::limit::{Algorithm, Rate};
use flint_core::testing::sim::CrashPlan;
use flint_torture::evidence;
use flint_torture::linearizability::recorder::{Call, Recorder};
use flint_torture::random::Random;

use crate::store::{MS, Medium, Store, THREADS, limit};

const KEY: &str = "shared";
const CHECKS: usize = 60;

/// The most that any window held, and how many windows were looked at. Times rise.
fn most(rate: &Rate, taken: &[(u64, u64)]) -> (u128, u64) {
    let (per_ns, mut most, mut windows) = (rate.per_ns(), 0, 0);
    let mut held = |tokens: u128| {
        most = most.max(tokens);
        windows += 1;
    };
    match rate.algorithm() {
        // Every interval may hold the burst and what came back since its beginning: in units of token x period, what it
        // held less what came back, in the worst of all intervals.
        Algorithm::TokenBucket => {
            for (first, (from, _)) in taken.iter().enumerate() {
                let mut units = 0_u128;
                for (at, cost) in &taken[first..] {
                    units += u128::from(*cost) * u128::from(per_ns);
                    held(
                        units.saturating_sub(u128::from(at - from) * u128::from(rate.limit())).div_ceil(per_ns.into()),
                    );
                }
            }
        }
        Algorithm::SlidingWindowLog => {
            for (first, (from, _)) in taken.iter().enumerate() {
                let window = taken[first..].iter().take_while(|(at, _)| at - from < per_ns);
                held(window.map(|(_, cost)| u128::from(*cost)).sum());
            }
        }
        Algorithm::FixedWindowCounter => {
            let mut left = taken;
            while let Some((from, _)) = left.first() {
                let end = left.partition_point(|(at, _)| at - from < per_ns);
                held(left[..end].iter().map(|(_, cost)| u128::from(*cost)).sum());
                left = &left[end..];
            }
        }
    }
    (most, windows)
}

fn is_allow(event: &Event) -> bool {
    matches!(event.kind, EventKind::Allow | EventKind::AllowAll)
}

/// Times and costs of everything allowed, as the log has them.
fn taken(engine: &Engine) -> Vec<(u64, u64)> {
    let events = engine.history(KEY, usize::MAX).unwrap();
    let taken: Vec<(u64, u64)> =
        events.iter().filter(|event| is_allow(event)).map(|event| (event.at_wall_ns, event.cost)).collect();
    assert!(taken.is_sorted_by_key(|(at, _)| *at), "log order is time order");
    taken
}

/// What the caller of an allowed check knows of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Allowed {
    /// Its record.
    seq: u64,
    /// The wall clock just before and just after it.
    from_ns: u64,
    until_ns: u64,
}

/// An acknowledged allowed check, with its cost.
type Acknowledged = Call<u64, Option<Allowed>>;

/// All threads check; when so many checks were answered, `end` runs in parallel. Returns what was allowed.
fn hammer<T>(
    store: &Store,
    engine: &Engine,
    random: &mut Random,
    recorder: &Recorder,
    end_after: u64,
    end: impl FnOnce() -> T,
) -> (Vec<Acknowledged>, T) {
    let (answered, barrier) = (AtomicU64::new(0), Barrier::new(THREADS + 1));
    let seeds: Vec<u64> = (0..THREADS).map(|_| random.next()).collect();
    thread::scope(|scope| {
        let threads: Vec<_> = seeds
            .into_iter()
            .map(|seed| {
                let (answered, barrier) = (&answered, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    let calls = (0..CHECKS as u64).filter_map(|round| {
                        let dice = seed.rotate_left(u32::try_from(round % 64).unwrap()) ^ round;
                        store.clock.advance_ns(dice % (3 * MS));
                        let call = recorder.record(1 + dice % 3, |cost| {
                            let from_ns = store.clock.wall_ns();
                            let outcome = engine.check(KEY, *cost, None).unwrap();
                            let until_ns = store.clock.wall_ns();
                            outcome.allowed.then_some(Allowed { seq: outcome.seq, from_ns, until_ns })
                        });
                        answered.fetch_add(1, Ordering::SeqCst);
                        call.answer.is_some().then_some(call)
                    });
                    calls.collect::<Vec<_>>()
                })
            })
            .collect();
        barrier.wait();
        while answered.load(Ordering::SeqCst) < end_after {
            thread::yield_now();
        }
        let ended = end();
        (threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect(), ended)
    })
}

/// The log's order agrees with the order in which callers could order their calls.
fn assert_log_order(calls: &[Acknowledged]) {
    let mut calls: Vec<&Acknowledged> = calls.iter().collect();
    calls.sort_by_key(|call| call.answer);
    for (index, call) in calls.iter().enumerate() {
        let seq = |call: &Acknowledged| call.answer.map(|allowed| allowed.seq);
        assert!(calls[..index].iter().all(|before| !call.precedes(before) && seq(before) < seq(call)));
    }
}

/// What the log says of a session's calls, of all or of the first, is what their callers asked for, at a time within the call.
/// Gives how many there are.
fn assert_times(calls: &[Acknowledged], taken: &[(u64, u64)], of: &str) -> u64 {
    let mut calls: Vec<&Acknowledged> = calls.iter().collect();
    calls.sort_by_key(|call| call.answer);
    assert!(taken.len() <= calls.len(), "{of}: {} of {} calls", taken.len(), calls.len());
    for (call, (at_ns, cost)) in calls.iter().zip(taken) {
        let allowed = call.answer.unwrap();
        assert!((allowed.from_ns..=allowed.until_ns).contains(at_ns), "{of}: {allowed:?} is at {at_ns} in the log");
        assert_eq!(call.op, *cost, "{of}: {allowed:?}");
    }
    taken.len() as u64
}

fn cost(calls: &[Acknowledged]) -> u64 {
    calls.iter().map(|call| call.op).sum()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Between {
    Close,
    Kill,
    PowerCut,
}

fn bounded(random: &mut Random, medium: Medium, sync: SyncMode, algorithm: Algorithm, between: Between) -> (u64, u64) {
    let first = Store::new(medium, sync);
    let of = format!("{}, {algorithm:?}, {between:?}", first.kind());
    let rates = limit("20/40ms; 60/200ms", algorithm);
    let recorder = Recorder::default();
    let engine = first.open();
    engine.limit(KEY, &rates, OnChange::Keep).unwrap();
    let checks = (THREADS * CHECKS) as u64;
    let (second, known, first_calls) = if between == Between::Close {
        let (calls, ()) = hammer(&first, &engine, random, &recorder, 0, || ());
        assert_log_order(&calls);
        engine.close().unwrap();
        (first, cost(&calls)..=cost(&calls), calls)
    } else {
        let after = random.below(checks);
        let (calls, (disk, begin, end)) = hammer(&first, &engine, random, &recorder, after, || {
            let begin = recorder.moment();
            let disk = match between {
                Between::Kill => first.sim_disk().kill(),
                _ => first.sim_disk().power_cut(CrashPlan::LoseUnsynced),
            };
            (disk, begin, recorder.moment())
        });
        assert_log_order(&calls);
        let sum =
            |until: &dyn Fn(&Acknowledged) -> bool| calls.iter().filter(|call| until(call)).map(|call| call.op).sum();
        let (least, most): (u64, u64) = (sum(&|call| call.returned < begin), sum(&|call| call.invoked < end));
        (first.on(disk), least..=most, calls)
    };
    drop(engine);
    let engine = second.open();
    let recovered = taken(&engine);
    let mut times = assert_times(&first_calls, &recovered, &of);
    let before: u64 = recovered.iter().map(|(_, cost)| cost).sum();
    assert!(known.contains(&before), "{of}: {before} recovered, {known:?} acknowledged");
    let (calls, ()) = hammer(&second, &engine, random, &recorder, 0, || ());
    assert_log_order(&calls);
    // Looking at the key pairs the clocks anew, now that no thread moves them.
    let status = engine.status(KEY).unwrap().unwrap();
    let all = taken(&engine);
    assert_eq!(all.iter().map(|(_, cost)| cost).sum::<u64>(), before + cost(&calls), "{of}");
    assert_eq!((status.total_allowed, status.total_allowed_cost), (all.len() as u64, before + cost(&calls)), "{of}");
    assert_eq!(all[..recovered.len()], recovered, "{of}: other times after more calls");
    times += assert_times(&calls, &all[recovered.len()..], &of);
    let mut windows = 0;
    for rate in rates.rates() {
        let (most, looked) = most(rate, &all);
        assert!(most <= rate.limit().into(), "{of}: {most} in a window of {rate:?}");
        windows += looked;
    }
    let live = engine.images().unwrap();
    engine.close().unwrap();
    drop(engine);
    let engine = second.open();
    assert_eq!((engine.images().unwrap(), taken(&engine)), (live, all), "{of}");
    (windows, times)
}

#[test]
fn no_window_ever_holds_more_than_the_limit() {
    let mut random = Random::new(Random::seed());
    let (mut windows, mut times) = (0, 0);
    let mut run = |medium, sync, algorithm, between| {
        let (more, looked) = bounded(&mut random, medium, sync, algorithm, between);
        windows += more;
        times += looked;
    };
    for algorithm in Algorithm::ALL {
        for sync in [SyncMode::Always, SyncMode::Batch] {
            run(Medium::disk(), sync, algorithm, Between::Close);
            for _ in 0..4 {
                run(Medium::sim(), sync, algorithm, Between::Close);
                run(Medium::sim(), sync, algorithm, Between::Kill);
            }
        }
        for _ in 0..4 {
            run(Medium::sim(), SyncMode::Always, algorithm, Between::PowerCut);
        }
    }
    evidence::record("limit_windows", windows);
    evidence::record("history_times", times);
    assert!(windows >= 500_000, "{windows} windows");
}

/// The bounds themselves: reached by what is allowed, exceeded by one more.
#[test]
fn a_window_that_holds_more_is_noticed() {
    let of = |algorithm, taken: &[(u64, u64)]| most(limit("5/s", algorithm).rates().first().unwrap(), taken).0;
    let second = 1_000 * MS;
    assert_eq!(of(Algorithm::TokenBucket, &[(0, 5), (second / 5, 1), (second, 4)]), 5);
    assert_eq!(of(Algorithm::TokenBucket, &[(0, 5), (second / 5 - 1, 1)]), 6);
    assert_eq!(of(Algorithm::TokenBucket, &[(0, 1), (9 * second, 5), (9 * second + 1, 1)]), 6);
    assert_eq!(of(Algorithm::SlidingWindowLog, &[(0, 3), (second / 2, 2), (second, 3)]), 5);
    assert_eq!(of(Algorithm::SlidingWindowLog, &[(0, 3), (second / 2, 2), (second, 4)]), 6);
    assert_eq!(of(Algorithm::FixedWindowCounter, &[(7, 1), (6 + second, 4), (7 + second, 5)]), 5);
    assert_eq!(of(Algorithm::FixedWindowCounter, &[(7, 1), (6 + second, 5)]), 6);
}
