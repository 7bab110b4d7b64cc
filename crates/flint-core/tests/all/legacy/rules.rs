//! What old events mean: refill, redefinition, windows, clocks.

use flint_core::image::EventKind;
use flint_core::legacy::LegacyStore;
use flint_core::limit::Algorithm;

use super::support::{image, line, read_log, remaining, stamp_ns};

const HOUR_MS: u64 = 3_600_000;

fn configure(second: u64, rate: u64, per_ms: u64, algorithm: &str) -> String {
    let config = format!(r#"{{"key":"k","rate":{rate},"per_millis":{per_ms},"algorithm":"{algorithm}"}}"#);
    line(second, &format!(r#"{{"type":"LIMIT_CONFIGURED","config":{config}}}"#))
}

fn allow(second: u64, cost: u64) -> String {
    line(second, &format!(r#"{{"type":"ALLOW","key":"k",AT,"cost":{cost}}}"#))
}

fn read(lines: &[String]) -> LegacyStore {
    read_log(lines.concat().as_bytes()).unwrap()
}

fn left(store: &LegacyStore, second: u64) -> u64 {
    remaining(image(store, "k"), stamp_ns(second))
}

#[test]
fn buckets_refill_between_events() {
    // A token every 10 seconds.
    let store = read(&[configure(0, 360, HOUR_MS, "token_bucket"), allow(0, 360), allow(100, 10)]);
    assert_eq!((left(&store, 100), left(&store, 109), left(&store, 110)), (0, 0, 1));
    // What the old release allowed stays allowed, and is never owed.
    let store = read(&[configure(0, 360, HOUR_MS, "token_bucket"), allow(0, 360), allow(9, 1)]);
    assert_eq!((left(&store, 18), left(&store, 19)), (0, 1));
    let store = read(&[configure(0, 360, HOUR_MS, "token_bucket"), allow(0, 360), allow(9, 1), allow(20, 1)]);
    assert_eq!((left(&store, 28), left(&store, 29)), (0, 1));
}

#[test]
fn a_redefined_bucket_keeps_its_tokens_up_to_the_new_burst() {
    let bucket = |second, rate| configure(second, rate, HOUR_MS, "token_bucket");
    for (rate, after) in [(5, 5), (8, 7), (7, 7), (1000, 7)] {
        assert_eq!(left(&read(&[bucket(0, 10), allow(0, 3), bucket(0, rate)]), 0), after, "{rate}");
    }
    // Refill up to the event at the old rate (10 s a token), then at the new one (1 s a token).
    let store = read(&[bucket(0, 360), allow(0, 360), bucket(25, 3600)]);
    assert_eq!((left(&store, 25), left(&store, 26), left(&store, 35)), (2, 3, 12));
    // Half a token stays half a token when the period changes too.
    let store = read(&[bucket(0, 360), allow(0, 360), configure(25, 1, 20_000, "token_bucket")]);
    assert_eq!(left(&store, 25), 1);
    let store = read(&[bucket(0, 360), allow(0, 360), configure(15, 10, 200_000, "token_bucket")]);
    assert_eq!((left(&store, 15), left(&store, 24), left(&store, 25)), (1, 1, 2));
}

#[test]
fn redefined_windows_keep_what_they_hold() {
    for algorithm in ["fixed_window_counter", "sliding_window_log"] {
        let window = |second, rate| configure(second, rate, HOUR_MS, algorithm);
        let store = read(&[window(0, 10), allow(5, 2), allow(6, 4), window(7, 8)]);
        assert_eq!(left(&store, 7), 2, "{algorithm}");
        let store = read(&[window(0, 10), allow(5, 2), allow(6, 4), window(7, 3)]);
        assert_eq!((left(&store, 7), left(&store, 3600)), (0, 0), "{algorithm}");
        assert_eq!(left(&store, 3605), if algorithm == "fixed_window_counter" { 3 } else { 0 }, "{algorithm}");
        assert_eq!(left(&store, 3606), 3, "{algorithm}");
        // Used sums stay within the limit, which is what the engine counts on.
        let numbers = &image(&store, "k").states[0];
        if algorithm == "fixed_window_counter" {
            assert_eq!(numbers[1], 3);
        } else {
            assert_eq!(numbers[..], [u128::from(stamp_ns(6) / 1_000_000), 3]);
        }
        // For a while the limit was lower; nothing of what was consumed is forgotten by that.
        let store = read(&[window(0, 10), allow(5, 2), allow(6, 4), window(7, 3), window(8, 10)]);
        assert_eq!(left(&store, 8), 4, "{algorithm}");
    }
}

#[test]
fn another_algorithm_gives_no_fresh_quota() {
    let all = Algorithm::ALL.map(Algorithm::name);
    for (from, to) in all.iter().flat_map(|from| all.iter().map(move |to| (from, to))).filter(|(from, to)| from != to) {
        let store = read(&[configure(0, 10, HOUR_MS, from), allow(0, 4), configure(1, 12, HOUR_MS, to)]);
        assert_eq!(left(&store, 1), 8, "{from} to {to}");
        assert_eq!(image(&store, "k").rates[0].algorithm().name(), *to);
        let store = read(&[configure(0, 10, HOUR_MS, from), allow(0, 4), configure(1, 3, HOUR_MS, to)]);
        assert_eq!(left(&store, 1), 0, "{from} to {to}");
    }
}

#[test]
fn a_reset_fills_up_and_a_denial_changes_no_state() {
    for algorithm in Algorithm::ALL.map(Algorithm::name) {
        let deny = line(2, r#"{"type":"DENY","key":"k",AT,"cost":9}"#);
        let with = read(&[configure(0, 10, HOUR_MS, algorithm), allow(1, 4), deny.clone()]);
        let without = read(&[configure(0, 10, HOUR_MS, algorithm), allow(1, 4)]);
        let (with, without) = (image(&with, "k"), image(&without, "k"));
        assert_eq!(with.states, without.states);
        assert_eq!((with.totals.denied, with.totals.denied_cost), (1, 9));
        assert_eq!(with.totals.last_denied_ns, stamp_ns(2));

        let reset = line(3, r#"{"type":"RESET","key":"k",AT}"#);
        let store = read(&[configure(0, 10, HOUR_MS, algorithm), allow(1, 4), deny, reset]);
        assert_eq!(left(&store, 3), 10, "{algorithm}");
        let totals = image(&store, "k").totals;
        assert_eq!((totals.allowed, totals.denied, totals.last_reset_ns), (1, 1, stamp_ns(3)));
        let kinds: Vec<_> = store.events.iter().map(|event| (event.kind, event.cost)).collect();
        assert_eq!(
            kinds,
            [(EventKind::LimitConfigured, 0), (EventKind::Allow, 4), (EventKind::Deny, 9), (EventKind::Reset, 0)]
        );
    }
}

#[test]
fn windows_end() {
    let store = read(&[configure(0, 10, 60_000, "fixed_window_counter"), allow(10, 4), allow(69, 3), allow(70, 5)]);
    assert_eq!((left(&store, 70), left(&store, 129), left(&store, 130)), (5, 5, 10));
    let store = read(&[configure(0, 10, 60_000, "sliding_window_log"), allow(10, 4), allow(69, 3), allow(70, 5)]);
    assert_eq!((left(&store, 70), left(&store, 128), left(&store, 129), left(&store, 130)), (2, 2, 5, 10));
    assert_eq!(image(&store, "k").states[0].len(), 4, "of two runs; the expired one is gone");
}

#[test]
fn entries_of_one_millisecond_make_one_run_and_times_round_up() {
    let at = |at: &str| {
        line(1, r#"{"type":"ALLOW","key":"k","at":"X","cost":2}"#)
            .replace('X', at)
            .rsplit_once(",\"checksum\"")
            .map(|(body, _)| body.to_owned() + "}\n")
            .unwrap()
    };
    let lines = [
        configure(0, 10, HOUR_MS, "sliding_window_log"),
        at("2026-01-01T00:00:01.000000001Z"),
        at("2026-01-01T00:00:01.001000000Z"),
        at("2026-01-01T00:00:01.001000001Z"),
    ];
    let numbers = image(&read(&lines), "k").states[0].clone();
    let ms = stamp_ns(1) / 1_000_000;
    assert_eq!(numbers, [ms + 1, 4, ms + 2, 2].map(u128::from));
}

#[test]
fn a_clock_that_went_back_gives_nothing_away() {
    for algorithm in Algorithm::ALL.map(Algorithm::name) {
        let store = read(&[configure(1000, 10, 1_000_000, algorithm), allow(1000, 4), allow(10, 4), allow(20, 1)]);
        assert_eq!(store.newest_ns, stamp_ns(1000));
        assert_eq!((left(&store, 1000), left(&store, 1001)), (1, 1), "{algorithm}");
        assert!(store.events.iter().all(|event| event.at_ns == stamp_ns(1000)));
    }
}

#[test]
fn limits_beyond_todays_bounds_are_read_and_marked() {
    for (rate, per_ms, algorithm) in [
        (1, 315_360_000_001, "token_bucket"),
        (0, 1000, "token_bucket"),
        (10, 0, "fixed_window_counter"),
        (u64::MAX, u64::MAX, "token_bucket"),
        (u64::MAX, u64::MAX, "sliding_window_log"),
        (2_000_000, HOUR_MS, "sliding_window_log"),
    ] {
        let lines = [configure(0, rate, per_ms, algorithm), allow(1, 1), allow(2, 3)];
        let store = read(&lines);
        let key = image(&store, "k");
        assert!(key.out_of_bounds, "{rate} per {per_ms}");
        assert_eq!((key.rates[0].limit(), key.rates[0].per_ms(), key.totals.allowed_cost), (rate, per_ms, 4));
        // Redefined within the bounds, it is a limit like any other.
        let store = read(&[&lines[..], &[configure(3, 10, HOUR_MS, algorithm)]].concat());
        assert!(!image(&store, "k").out_of_bounds);
        assert!(left(&store, 3) <= 10);
    }
    let seconds =
        configure(0, 5, 1, "token_bucket").replace("\"per_millis\":1", "\"per_seconds\":18446744073709551615");
    let seconds = seconds.rsplit_once(",\"checksum\"").unwrap().0.to_owned() + "}\n";
    assert!(image(&read(&[seconds]), "k").out_of_bounds);
    let long =
        configure(0, 5, 1000, "token_bucket").replace("\"key\":\"k\"", &format!("\"key\":\"{}\"", "x".repeat(513)));
    let long = long.rsplit_once(",\"checksum\"").unwrap().0.to_owned() + "}\n";
    assert!(read(&[long]).images[0].out_of_bounds);
}

#[test]
fn missing_costs_are_one_and_items_of_one_call_are_kept_apart() {
    let all = line(2, r#"{"type":"ALLOW_ALL","items":[{"key":"k"},{"key":"k","cost":2}],AT}"#);
    let store = read(&[
        configure(0, 10, HOUR_MS, "token_bucket"),
        line(1, r#"{"type":"ALLOW","key":"k",AT}"#),
        all,
        line(3, r#"{"type":"DENY","key":"k",AT}"#),
    ]);
    let totals = image(&store, "k").totals;
    assert_eq!((totals.allowed, totals.allowed_cost, totals.denied, totals.denied_cost), (3, 4, 1, 1));
    assert_eq!(left(&store, 3), 6);
    let all: Vec<_> = store.events.iter().filter(|event| event.kind == EventKind::AllowAll).collect();
    assert_eq!(all.iter().map(|event| (event.cost, event.count)).collect::<Vec<_>>(), [(1, 1), (2, 1)]);
}
