//! Waiting for a limit: first come, first served, at the exact time; no waiter is forgotten whatever happens to the key.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::task::{Wake, Waker};
use std::time::Duration;

use crate::support::engine::{MODES, MS, SECOND, World, bucket, item, limit};
use crate::support::eventually::wait_until;
use flint_core::engine::{Answer, Arrival, Item, OnChange, Options, Outcome, Place, SyncMode};
use flint_core::limit::{Algorithm, Limit};
use flint_core::testing::sim::Fault;
use flint_core::{Engine, Error};
use proptest::prelude::*;

#[derive(Default)]
struct Rings(AtomicU64);

impl Wake for Rings {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A caller that waits.
struct Caller {
    place: Place,
    rings: Arc<Rings>,
}

impl Caller {
    fn has_answer(&self) -> bool {
        self.rings.0.load(Ordering::SeqCst) > 0
    }

    fn answer(&self) -> Result<Answer, Error> {
        assert_eq!(self.rings.0.load(Ordering::SeqCst), 1, "woken once");
        self.place.poll().map(|answer| answer.expect("an answer for the waiter that was woken"))
    }

    fn admitted(&self) -> Outcome {
        match self.answer().unwrap() {
            Answer::Admitted(outcome) => outcome,
            late @ Answer::TooLate { .. } => panic!("{late:?}"),
        }
    }

    /// The time that it would have to wait, and what was left of its timeout.
    fn too_late(&self) -> (u64, u64) {
        match self.answer().unwrap() {
            Answer::TooLate { outcome, left_ns } => {
                assert!(!outcome.allowed);
                (outcome.retry_after_ns, left_ns)
            }
            admitted @ Answer::Admitted(_) => panic!("{admitted:?}"),
        }
    }
}

fn arrive(engine: &Engine, item: Item<'_>, timeout_ns: Option<u64>) -> Result<Arrival, Error> {
    engine.arrive(&item, timeout_ns.map(Duration::from_nanos), Some(Waker::noop()))
}

/// A caller that has to wait.
fn waits(engine: &Engine, item: Item<'_>, timeout_ns: Option<u64>) -> Caller {
    let rings = Arc::new(Rings::default());
    match engine.arrive(&item, timeout_ns.map(Duration::from_nanos), Some(&rings.clone().into())).unwrap() {
        Arrival::Waits(place) => Caller { place, rings },
        other => panic!("{other:?}"),
    }
}

/// A store whose queues are served by the thread that moves the clock, with a key of which everything is taken.
fn taken(text: &str, algorithm: Algorithm) -> (World, Engine) {
    let mut world = World::new(SyncMode::Always);
    world.options.threads = false;
    let engine = world.open();
    let limit = limit(text, algorithm);
    engine.limit("k", &limit, OnChange::Keep).unwrap();
    let capacity = limit.rates().iter().map(|rate| rate.burst()).min().unwrap();
    assert!(engine.check("k", capacity, None).unwrap().allowed);
    (world, engine)
}

#[test]
fn what_is_there_is_taken_at_once() {
    for mode in MODES {
        let engine = World::new(mode).open();
        engine.limit("k", &bucket("2/minute"), OnChange::Keep).unwrap();
        for left in [1, 0] {
            let answer = engine.acquire(&item("k", 1), None).unwrap();
            assert!(matches!(answer, Answer::Admitted(outcome) if outcome.remaining == left));
        }
        assert_eq!(engine.status("k").unwrap().unwrap().total_denied, 0);
    }
}

#[test]
fn the_first_is_admitted_at_the_exact_time_and_then_the_next() {
    for algorithm in Algorithm::ALL {
        let (world, engine) = taken("2/10ms", algorithm);
        let callers: Vec<_> = (0..6).map(|_| waits(&engine, item("k", 1), None)).collect();
        let expected: [u64; 6] = match algorithm {
            Algorithm::TokenBucket => [5, 10, 15, 20, 25, 30],
            Algorithm::SlidingWindowLog | Algorithm::FixedWindowCounter => [10, 10, 20, 20, 30, 30],
        };
        let mut at_ns = 0;
        for ms in 1..=30 {
            world.clock.advance_ns(ms * MS - 1 - at_ns);
            let admitted = callers.iter().filter(|caller| caller.has_answer()).count();
            assert_eq!(admitted, expected.iter().filter(|&&due| due < ms).count(), "{algorithm:?} before {ms} ms");
            world.clock.advance_ns(1);
            at_ns = ms * MS;
            let admitted = callers.iter().take_while(|caller| caller.has_answer()).count();
            assert_eq!(admitted, expected.iter().filter(|&&due| due <= ms).count(), "{algorithm:?} at {ms} ms");
        }
        let seqs: Vec<u64> = callers.iter().map(|caller| caller.admitted().seq).collect();
        assert!(seqs.is_sorted(), "the log has the order of arrival");
    }
}

#[test]
fn a_large_cost_is_not_overtaken_by_a_small_one() {
    let (world, engine) = taken("10/s", Algorithm::TokenBucket);
    let (large, small) = (waits(&engine, item("k", 8), None), waits(&engine, item("k", 1), None));
    world.clock.advance_ns(800 * MS - 1);
    assert!(!large.has_answer() && !small.has_answer());
    world.clock.advance_ns(1);
    assert!(large.has_answer() && !small.has_answer());
    world.clock.advance_ns(100 * MS);
    assert!(small.has_answer());
}

#[test]
fn a_wait_that_would_be_too_long_is_refused_on_arrival() {
    for algorithm in Algorithm::ALL {
        let (_world, engine) = taken("1/s", algorithm);
        let callers: Vec<_> = (0..3).map(|_| waits(&engine, item("k", 1), None)).collect();
        let refused = arrive(&engine, item("k", 1), Some(4 * SECOND - 1)).unwrap();
        let Arrival::Answered(Answer::TooLate { outcome, left_ns }) = refused else { panic!("{refused:?}") };
        assert_eq!((outcome.retry_after_ns, left_ns), (4 * SECOND, 4 * SECOND - 1), "{algorithm:?}");
        assert_eq!((outcome.allowed, outcome.remaining, outcome.limit, outcome.cost), (false, 0, 1, 1));
        drop(waits(&engine, item("k", 1), Some(4 * SECOND)));
        assert_eq!(engine.status("k").unwrap().unwrap().total_denied, 1, "the refused one");
        drop(callers);
    }
}

#[test]
fn a_wait_in_vain_ends_at_the_deadline() {
    let (world, engine) = taken("1/s", Algorithm::TokenBucket);
    let first = waits(&engine, item("k", 1), Some(SECOND));
    let second = waits(&engine, item("k", 1), Some(2 * SECOND));
    world.clock.advance_ns(SECOND - 1);
    assert!(!first.has_answer());
    engine.limit("k", &bucket("1/m"), OnChange::Keep).unwrap();
    engine.turn().unwrap();
    let (wait_ns, left_ns) = first.too_late();
    assert!(wait_ns > left_ns && left_ns == 1, "{wait_ns} {left_ns}");
    assert!(second.has_answer(), "it is the first now, and a minute is longer than it may wait");
    assert_eq!(engine.status("k").unwrap().unwrap().total_denied, 2);
    let behind = waits(&engine, item("k", 1), None);
    let first_again = waits(&engine, item("k", 1), Some(600 * SECOND));
    drop(behind);
    engine.turn().unwrap();
    world.clock.advance_ns(600 * SECOND);
    assert_eq!(first_again.admitted().cost, 1);
}

#[test]
fn a_place_that_is_given_up_is_the_next_ones() {
    let (world, engine) = taken("1/s", Algorithm::TokenBucket);
    let mut callers: Vec<_> = (0..4).map(|_| waits(&engine, item("k", 1), None)).collect();
    assert_eq!(engine.waiting("k").unwrap(), 4);
    callers.remove(1);
    callers.remove(0);
    assert_eq!(engine.waiting("k").unwrap(), 2);
    world.clock.advance_ns(SECOND);
    assert!(callers[0].has_answer() && !callers[1].has_answer());
    assert_eq!(engine.status("k").unwrap().unwrap().total_allowed, 2, "no waiter that left was charged");
    // A waiter that left without its answer was admitted all the same.
    callers.clear();
    assert_eq!((engine.status("k").unwrap().unwrap().total_allowed, engine.waiting("k").unwrap()), (2, 0));
    // A large cost at the front that goes away lets the next one have what is there.
    engine.limit("k", &bucket("10/s"), OnChange::Reset).unwrap();
    engine.check("k", 5, None).unwrap();
    let large = waits(&engine, item("k", 9), None);
    let small = waits(&engine, item("k", 5), None);
    drop(large);
    engine.turn().unwrap();
    assert!(small.has_answer());
}

#[test]
fn whatever_changes_the_key_wakes_its_waiters() {
    let day = || taken("1/day", Algorithm::TokenBucket);
    // A reset.
    let (_world, engine) = day();
    let callers = [waits(&engine, item("k", 1), None), waits(&engine, item("k", 1), None)];
    engine.reset("k").unwrap();
    engine.turn().unwrap();
    assert_eq!((callers[0].admitted().remaining, callers[1].has_answer()), (0, false));
    // A larger limit, and one whose capacity is below what a waiter asks for.
    engine.limit("k", &bucket("5/day"), OnChange::Reset).unwrap();
    engine.turn().unwrap();
    callers[1].admitted();
    engine.check("k", 4, None).unwrap();
    let (asks_two, asks_one) = (waits(&engine, item("k", 2), None), waits(&engine, item("k", 1), None));
    engine.limit("k", &bucket("1/day"), OnChange::Reset).unwrap();
    engine.turn().unwrap();
    assert!(matches!(asks_two.answer(), Err(Error::InvalidCost(_))));
    asks_one.admitted();
    // A deletion, even if the key is there again before the queues are served.
    let gone = waits(&engine, item("k", 1), None);
    engine.delete("k").unwrap();
    engine.limit("k", &bucket("9/day"), OnChange::Keep).unwrap();
    engine.turn().unwrap();
    assert!(matches!(gone.answer(), Err(Error::LimitNotFound { key }) if key == "k"));
}

#[test]
fn limits_of_one_key_have_queues_of_their_own_until_one_is_set() {
    let mut world = World::new(SyncMode::Always);
    world.options.threads = false;
    let engine = world.open();
    let (slow, quick) = (bucket("1/day"), bucket("1/s"));
    let with = |limit| Item { key: "k", cost: 1, limit: Some(limit) };
    for limit in [&slow, &quick] {
        assert!(engine.check("k", 1, Some(limit)).unwrap().allowed);
    }
    let day = waits(&engine, with(&slow), None);
    let second = waits(&engine, with(&quick), None);
    let third = waits(&engine, with(&slow), None);
    world.clock.advance_ns(SECOND);
    assert!(second.has_answer() && !day.has_answer());
    // An explicit limit takes precedence: the queues become one, in the order of arrival.
    let fourth = waits(&engine, with(&quick), None);
    engine.limit("k", &bucket("1/s"), OnChange::Keep).unwrap();
    engine.turn().unwrap();
    for caller in [&day, &third, &fourth] {
        assert!(!caller.has_answer());
        world.clock.advance_ns(SECOND);
        assert!(caller.has_answer());
    }
    // A deleted key's limits begin anew with the calls that bring them.
    engine.delete("k").unwrap();
    assert!(engine.check("k", 1, Some(&slow)).unwrap().allowed);
    let brings = waits(&engine, with(&slow), None);
    let brings_none = waits(&engine, item("k", 1), None);
    engine.delete("k").unwrap();
    engine.turn().unwrap();
    brings.admitted();
    assert!(matches!(brings_none.answer(), Err(Error::LimitNotFound { .. })));
}

#[test]
fn closing_and_a_failure_end_every_wait() {
    let (_world, engine) = taken("1/day", Algorithm::TokenBucket);
    let callers = [waits(&engine, item("k", 1), None), waits(&engine, item("k", 1), Some(2 * 86_400 * SECOND))];
    engine.close().unwrap();
    for caller in &callers {
        assert!(matches!(caller.answer(), Err(Error::Closed)));
    }
    assert!(matches!(arrive(&engine, item("k", 1), None), Err(Error::Closed)));

    let world = World::new(SyncMode::Always);
    let engine = world.open();
    engine.limit("k", &bucket("1/day"), OnChange::Keep).unwrap();
    engine.check("k", 1, None).unwrap();
    let caller = waits(&engine, item("k", 1), None);
    world.disk.set_fail(world.disk.ops(), Fault::FsyncFails, false);
    engine.limit("other", &bucket("1/day"), OnChange::Keep).unwrap_err();
    wait_until("the waiter has its answer", || caller.has_answer());
    assert!(matches!(caller.answer(), Err(Error::Stopped { .. })));
}

#[test]
fn a_full_disk_refuses_the_first_and_does_not_hold_up_the_others() {
    let (world, engine) = taken("1/s", Algorithm::TokenBucket);
    let callers: Vec<_> = (0..2).map(|_| waits(&engine, item("k", 1), None)).collect();
    world.disk.set_full(true);
    while engine.check("other", 1, Some(&bucket("1000000/s"))).is_ok() {}
    world.clock.advance_ns(SECOND);
    let error = callers[0].answer().unwrap_err();
    assert!(error.is_out_of_space(), "{error:?}");
    assert!(callers[1].answer().unwrap_err().is_out_of_space());
    world.disk.set_full(false);
    assert!(engine.check("k", 1, None).unwrap().allowed, "nothing was taken");
}

#[test]
fn without_a_waker_no_place_is_taken() {
    let (_world, engine) = taken("1/s", Algorithm::TokenBucket);
    assert!(matches!(engine.arrive(&item("k", 1), None, None).unwrap(), Arrival::WouldWait));
    assert_eq!(engine.waiting("k").unwrap(), 0);
}

#[test]
fn bad_input_is_refused_before_anything_is_waited_for() {
    let (_world, engine) = taken("2/day", Algorithm::TokenBucket);
    let _ahead = waits(&engine, item("k", 1), None);
    assert!(matches!(arrive(&engine, item("unknown", 1), None), Err(Error::LimitNotFound { .. })));
    for cost in [0, 3] {
        assert!(matches!(arrive(&engine, item("k", cost), None), Err(Error::InvalidCost(_))));
    }
    assert!(matches!(arrive(&engine, item("", 1), None), Err(Error::InvalidKey(_))));
}

#[test]
fn threads_wait_by_the_clock_of_the_system_and_share_a_queue() {
    const CALLERS: u64 = 20;
    let world = World::new(SyncMode::Always);
    let options = Options { clock: Arc::new(flint_core::clock::SystemClock), ..world.options.clone() };
    let engine = Engine::open_in(world.disk.dir(), options).unwrap();
    engine.limit("k", &bucket("1/5ms"), OnChange::Keep).unwrap();
    let (sender, admitted) = channel();
    std::thread::scope(|scope| {
        for _ in 0..CALLERS {
            let (engine, sender) = (&engine, sender.clone());
            scope.spawn(move || {
                let answer = engine.acquire(&item("k", 1), None).unwrap();
                sender.send(matches!(answer, Answer::Admitted(_))).unwrap();
            });
        }
    });
    drop(sender);
    assert!(admitted.iter().all(|admitted| admitted));
    let status = engine.status("k").unwrap().unwrap();
    assert_eq!((status.total_allowed, status.total_denied), (CALLERS, 0));
}

#[test]
fn waiters_that_are_admitted_together_share_a_sync() {
    let (world, engine) = taken("100/s", Algorithm::FixedWindowCounter);
    let callers: Vec<_> = (0..100).map(|_| waits(&engine, item("k", 1), None)).collect();
    let before = engine.counters();
    world.clock.advance_ns(SECOND);
    let newest = callers.iter().map(|caller| caller.admitted().seq).max().unwrap();
    engine.wait_durable(newest).unwrap();
    let after = engine.counters();
    assert_eq!((after.allowed - before.allowed, after.syncs - before.syncs), (100, 1));
}

#[test]
fn a_hundred_thousand_arrive_and_leave() {
    let (world, engine) = taken("1/s", Algorithm::TokenBucket);
    let mut callers: Vec<_> = (0..100_000).map(|_| waits(&engine, item("k", 1), Some(200_000 * SECOND))).collect();
    assert_eq!(engine.waiting("k").unwrap(), 100_000);
    let last = callers.pop().unwrap();
    callers.reverse();
    callers.truncate(1);
    drop(callers);
    assert_eq!(engine.waiting("k").unwrap(), 1);
    world.clock.advance_ns(SECOND);
    assert!(last.has_answer());
}

/// What the sum says against what really happens when all calls wait.
#[test]
fn the_forecast_from_sums_is_never_too_long_and_exact_for_single_tokens() {
    let strategy = (
        prop::sample::select(Algorithm::ALL.to_vec()),
        1..8_u64,
        1..50_u64,
        0..8_u64,
        prop::collection::vec(1..4_u64, 1..20),
    );
    proptest!(ProptestConfig::with_cases(300), |((algorithm, rate, per_ms, used, costs) in strategy)| {
        let mut world = World::new(SyncMode::Batch);
        world.options.threads = false;
        let engine = world.open();
        engine.limit("k", &limit(&format!("{rate} per {per_ms}ms"), algorithm), OnChange::Keep).unwrap();
        for _ in 0..used.min(rate) {
            engine.check("k", 1, None).unwrap();
            world.clock.advance_ns(MS / 3);
        }
        let single = costs.iter().all(|&cost| cost == 1);
        let costs: Vec<u64> = costs.into_iter().map(|cost| cost.min(rate)).collect();
        let exact = engine.forecast("k", None, &costs).unwrap();
        // All but the last are there; the last one is refused.
        let (last, before) = costs.split_last().unwrap();
        let mut callers = Vec::new();
        for &cost in before {
            if let Arrival::Waits(place) = arrive(&engine, item("k", cost), None).unwrap() {
                callers.push(place);
            }
        }
        let reported = match arrive(&engine, item("k", *last), Some(0)).unwrap() {
            Arrival::Answered(Answer::TooLate { outcome, .. }) => outcome.retry_after_ns,
            _ => 0,
        };
        prop_assert!(reported <= exact, "{} > {}", reported, exact);
        if single && algorithm != Algorithm::SlidingWindowLog {
            prop_assert_eq!(reported, exact);
        }
    });
}

#[test]
fn a_limit_may_come_with_the_call() {
    let (world, engine) = taken("1/s", Algorithm::TokenBucket);
    let given: Limit = bucket("1/10s");
    let new = Item { key: "new", cost: 1, limit: Some(&given) };
    assert!(matches!(arrive(&engine, new, None).unwrap(), Arrival::Answered(Answer::Admitted(_))));
    let caller = waits(&engine, new, None);
    world.clock.advance_ns(10 * SECOND);
    caller.admitted();
}
