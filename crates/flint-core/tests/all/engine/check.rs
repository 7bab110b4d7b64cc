//! Checks of one key: what a result tells, which rate it describes, and that nothing else is touched.

use crate::support::engine::{HOUR, MINUTE, MODES, MS, SECOND, World, bucket, item, limit};
use flint_core::clock::Clock;
use flint_core::engine::{OnChange, Outcome, RateVerdicts};
use flint_core::limit::{Algorithm, Limit, Rate};

#[test]
fn an_allowed_check_tells_what_is_left_and_when_all_is_back() {
    let world = World::new(MODES[1]);
    let engine = world.open();
    engine.limit("k", &bucket("10/10s"), OnChange::Keep).unwrap();
    let got = engine.check("k", 3, None).unwrap();
    let wall = world.clock.wall_ns();
    let expected = Outcome {
        allowed: true,
        cost: 3,
        limit: 10,
        remaining: 7,
        retry_after_ns: 0,
        reset_after_ns: 3 * SECOND,
        reset_at_wall_ns: wall + 3 * SECOND,
        verdicts: RateVerdicts::One(bucket("10/10s").rates()[0]),
        seq: got.seq,
    };
    assert_eq!(got, expected);
    assert!(got.seq > 0);
    world.clock.advance_ns(SECOND / 2);
    let got = engine.check("k", 8, None).unwrap();
    assert_eq!((got.allowed, got.remaining, got.seq), (false, 7, 0));
    assert_eq!((got.retry_after_ns, got.reset_after_ns), (SECOND / 2, 5 * SECOND / 2));
}

#[test]
fn retry_after_is_exact_to_the_nanosecond() {
    // Seven per second does not divide a second: a token takes 142,857,142 6/7 ns.
    for algorithm in Algorithm::ALL {
        let world = World::new(MODES[1]);
        let engine = world.open();
        engine.limit("k", &limit("7/s", algorithm), OnChange::Keep).unwrap();
        world.clock.advance_ns(123_456_789);
        assert!(engine.check("k", 7, None).unwrap().allowed);
        for cost in [1, 3, 7] {
            let denied = engine.check("k", cost, None).unwrap();
            assert!(!denied.allowed);
            world.clock.advance_ns(denied.retry_after_ns - 1);
            let before = engine.check("k", cost, None).unwrap();
            assert_eq!((before.allowed, before.retry_after_ns), (false, 1), "{algorithm:?} {cost}");
            world.clock.advance_ns(1);
            assert!(engine.check("k", cost, None).unwrap().allowed, "{algorithm:?} {cost}");
            engine.reset("k").unwrap();
            assert!(engine.check("k", 7, None).unwrap().allowed);
        }
    }
}

#[test]
fn a_result_describes_the_rate_that_binds() {
    let world = World::new(MODES[1]);
    let engine = world.open();
    engine.limit("k", &bucket("4/s; 5/minute; 5/hour"), OnChange::Keep).unwrap();
    let status = |binding| {
        let status = engine.status("k").unwrap().unwrap();
        assert_eq!(status.binding, binding);
        status
    };
    assert_eq!(engine.check("k", 4, None).unwrap().remaining, 0, "the first has the fewest left");
    status(0);
    world.clock.advance_ns(SECOND);
    // The first is whole again; the minute gave back a twelfth of a token. The second and third are equal: the second.
    let got = engine.check("k", 1, None).unwrap();
    assert_eq!((got.limit, got.remaining), (5, 0));
    status(1);
    let denied = engine.check("k", 1, None).unwrap();
    assert!(!denied.allowed);
    // Both have nothing left, the hour's token takes longest: 720 s less the second that passed.
    assert_eq!((denied.remaining, denied.retry_after_ns), (0, 719 * SECOND));
    world.clock.advance_ns(719 * SECOND);
    assert!(engine.check("k", 1, None).unwrap().allowed);
}

#[test]
fn ties_go_to_the_first() {
    let engine = World::new(MODES[1]).open();
    engine.limit("k", &bucket("2/s; 2/2s"), OnChange::Keep).unwrap();
    let got = engine.check("k", 1, None).unwrap();
    assert_eq!((got.remaining, got.reset_after_ns), (1, SECOND / 2), "of the first, not of the second");
}

#[test]
fn a_denial_takes_nothing_of_any_rate() {
    for algorithm in Algorithm::ALL {
        let world = World::new(MODES[1]);
        let engine = world.open();
        engine.limit("k", &limit("2/hour; 100/day", algorithm), OnChange::Keep).unwrap();
        assert!(engine.check("k", 2, None).unwrap().allowed);
        let day = || {
            // In a copy of the store: redefinition keeps the day's state, so that it can be looked at alone.
            let copy = World { disk: world.disk.kill(), clock: world.clock.clone(), options: world.options.clone() };
            let alone = copy.open();
            alone.limit("k", &limit("100/day", algorithm), OnChange::Keep).unwrap();
            alone.status("k").unwrap().unwrap().remaining
        };
        let before = day();
        for _ in 0..50 {
            assert!(!engine.check("k", 1, None).unwrap().allowed);
        }
        assert_eq!(day(), before);
        assert_eq!(before, 98);
    }
}

#[test]
fn reads_take_and_count_nothing() {
    let world = World::new(MODES[1]);
    let engine = world.open();
    engine.limit("k", &bucket("3/hour"), OnChange::Keep).unwrap();
    engine.check("k", 1, None).unwrap();
    let (before, seq) = (engine.status("k").unwrap(), engine.counters());
    for cost in 1..=3 {
        let peeked = engine.peek("k", cost, None).unwrap();
        assert_eq!((peeked.allowed, peeked.seq), (cost <= 2, 0));
    }
    engine.peek("new", 1, Some(&bucket("5/s"))).unwrap();
    engine.list(None, None, None).unwrap();
    engine.top(flint_core::engine::TopBy::Allowed, 5).unwrap();
    engine.history("k", 5).unwrap();
    engine.doctor().unwrap();
    assert_eq!(engine.status("k").unwrap(), before);
    assert_eq!(engine.status("new").unwrap(), None);
    assert_eq!(engine.counters(), seq);
}

#[test]
fn peek_says_what_check_then_says() {
    let world = World::new(MODES[1]);
    let engine = world.open();
    engine.limit("k", &limit("5/s; 8/minute", Algorithm::SlidingWindowLog), OnChange::Keep).unwrap();
    for _ in 0..30 {
        world.clock.advance_ns(77_777_777);
        let peeked = engine.peek("k", 2, None).unwrap();
        let checked = engine.check("k", 2, None).unwrap();
        assert_eq!(Outcome { seq: 0, ..checked }, peeked);
    }
}

#[test]
fn a_fixed_window_starts_at_the_first_consumption() {
    let world = World::new(MODES[1]);
    let engine = world.open();
    engine.limit("k", &limit("2/minute", Algorithm::FixedWindowCounter), OnChange::Keep).unwrap();
    world.clock.advance_ns(40 * SECOND);
    assert_eq!(engine.check("k", 1, None).unwrap().reset_after_ns, MINUTE);
    world.clock.advance_ns(50 * SECOND);
    assert_eq!(engine.check("k", 1, None).unwrap().reset_after_ns, 10 * SECOND);
    assert_eq!(engine.check("k", 1, None).unwrap().retry_after_ns, 10 * SECOND);
    world.clock.advance_ns(10 * SECOND);
    assert_eq!(engine.check("k", 1, None).unwrap().reset_after_ns, MINUTE);
}

#[test]
fn a_sliding_log_admits_no_more_than_its_limit_in_any_window() {
    let world = World::new(MODES[1]);
    let engine = world.open();
    engine.limit("k", &limit("5/10ms", Algorithm::SlidingWindowLog), OnChange::Keep).unwrap();
    let mut taken: Vec<u64> = Vec::new();
    for step in 0..4_000_u64 {
        world.clock.advance_ns(step * 2_654_435_761 % (3 * MS));
        let now = world.clock.monotonic_ns();
        if engine.check("k", 1, None).unwrap().allowed {
            taken.push(now);
        }
    }
    assert!(taken.len() > 1_000, "{}", taken.len());
    let crowded = taken.windows(6).find(|six| six[5] - six[0] < 10 * MS);
    assert_eq!(crowded, None);
}

#[test]
fn a_cost_of_fifty_million_is_one_entry() {
    let world = World::new(MODES[1]);
    let engine = world.open();
    let rate = Rate::new(50_000_000, 1_000, None, Algorithm::SlidingWindowLog).unwrap();
    engine.limit("k", &Limit::single(rate), OnChange::Keep).unwrap();
    let before = engine.counters().log_bytes;
    let got = engine.check("k", 50_000_000, None).unwrap();
    assert!(got.allowed);
    assert_eq!(engine.counters().log_bytes - before, 64);
    assert_eq!(engine.check("k", 1, None).unwrap().retry_after_ns, SECOND);
}

#[test]
fn an_allowed_single_rate_check_is_64_bytes_of_log() {
    for algorithm in Algorithm::ALL {
        let engine = World::new(MODES[1]).open();
        engine.limit("k", &limit("1000000/day", algorithm), OnChange::Keep).unwrap();
        let before = engine.counters().log_bytes;
        for _ in 0..100 {
            assert!(engine.check("k", 1, None).unwrap().allowed);
        }
        assert_eq!(engine.counters().log_bytes - before, 6_400);
    }
}

#[test]
fn eight_rates_are_taken_together() {
    let world = World::new(MODES[0]);
    let engine = world.open();
    let rates: Vec<Rate> = (1..=8)
        .map(|n| Rate::new(10 * n, 1_000 * n * n, None, Algorithm::ALL[usize::try_from(n).unwrap() % 3]).unwrap())
        .collect();
    engine.limit("k", &Limit::new(&rates).unwrap(), OnChange::Keep).unwrap();
    for left in (0..10).rev() {
        assert_eq!(engine.check("k", 1, None).unwrap().remaining, left);
    }
    assert!(!engine.check("k", 1, None).unwrap().allowed);
    let before = engine.list(None, None, None).unwrap();
    engine.close().unwrap();
    assert_eq!(world.open().list(None, None, None).unwrap(), before);
}

#[test]
fn limits_at_the_bounds_decide_without_overflow() {
    let world = World::new(MODES[1]);
    let engine = world.open();
    let year_ms = 365 * 24 * HOUR / MS;
    let bounds = [
        Rate::new(u64::MAX, 1, None, Algorithm::TokenBucket).unwrap(),
        Rate::new(1, 10 * year_ms, Some(10), Algorithm::TokenBucket).unwrap(),
        Rate::new(u64::MAX, 10 * year_ms, None, Algorithm::TokenBucket).unwrap(),
        Rate::new(u64::MAX, 10 * year_ms, None, Algorithm::FixedWindowCounter).unwrap(),
        Rate::new(u64::MAX, 1_000_000, None, Algorithm::SlidingWindowLog).unwrap(),
        Rate::new(1_000_000, 10 * year_ms, None, Algorithm::SlidingWindowLog).unwrap(),
    ];
    for (index, rate) in bounds.into_iter().enumerate() {
        let key = index.to_string();
        engine.limit(&key, &Limit::single(rate), OnChange::Keep).unwrap();
        for round in 0..3 {
            let got = engine.check(&key, rate.capacity(), None).unwrap();
            assert_eq!((got.allowed, got.remaining), (true, 0), "{rate:?} {round}");
            let denied = engine.check(&key, rate.capacity(), None).unwrap();
            assert!(!denied.allowed);
            world.clock.advance_ns(denied.retry_after_ns - 1);
            assert!(!engine.peek(&key, rate.capacity(), None).unwrap().allowed);
            world.clock.advance_ns(1);
        }
    }
    let before = engine.list(None, None, None).unwrap();
    engine.close().unwrap();
    assert_eq!(world.open().list(None, None, None).unwrap(), before, "totals are saturated, states are not");
}

#[test]
fn a_single_item_of_check_all_decides_like_check() {
    let world = World::new(MODES[1]);
    let engine = world.open();
    for key in ["one", "all"] {
        engine.limit(key, &bucket("3/minute; 5/hour"), OnChange::Keep).unwrap();
    }
    for step in 0..20_u64 {
        world.clock.advance_ns(step * SECOND);
        let one = engine.check("one", 2, None).unwrap();
        let all = engine.check_all(&[item("all", 2)]).unwrap();
        assert_eq!(Outcome { seq: 0, ..all.items[0].clone() }, Outcome { seq: 0, ..one.clone() });
        assert_eq!((all.allowed, all.retry_after_ns), (one.allowed, one.retry_after_ns));
    }
}
