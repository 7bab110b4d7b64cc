//! The grammar of limits, and the errors for anything else.

use crate::support::seeded;
use crate::support::seeded::wide;
use flint_core::Error;
use flint_core::limit::Algorithm::{FixedWindowCounter, SlidingWindowLog, TokenBucket};
use flint_core::limit::{Algorithm, Limit, Rate, parse_limit, parse_period_ms};
use proptest::prelude::*;

/// The (limit, period in ms, burst) of each rate.
#[track_caller]
fn rates(text: &str) -> Vec<(u64, u64, u64)> {
    let limit = parse_limit(text, TokenBucket).unwrap_or_else(|error| panic!("{text:?}: {error}"));
    limit.rates().iter().map(|rate| (rate.limit(), rate.per_ms(), rate.burst())).collect()
}

#[track_caller]
fn refusal<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    match result {
        Err(Error::InvalidLimit(message)) => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_forms_of_the_documentation() {
    assert_eq!(rates("100/minute"), [(100, 60_000, 100)]);
    assert_eq!(rates("10 per 2 hours"), [(10, 7_200_000, 10)]);
    assert_eq!(rates("5/250ms"), [(5, 250, 5)]);
    assert_eq!(rates("100/m burst 200"), [(100, 60_000, 200)]);
    assert_eq!(rates("10/s; 100/m burst 20, 1000/d"), [(10, 1000, 10), (100, 60_000, 20), (1000, 86_400_000, 1000)]);
}

#[test]
fn letters_in_either_case_and_spaces_anywhere() {
    for text in
        ["100/M", " 100 / 1 MINUTE ", "100per1Min", "100 PER minutes", "100/60s", "100  /  60   Sec", "0100/01m"]
    {
        assert_eq!(rates(text), [(100, 60_000, 100)], "{text:?}");
    }
    assert_eq!(rates("1/s BURST2 ;1/d"), [(1, 1000, 2), (1, 86_400_000, 1)]);
}

#[test]
fn every_name_of_every_unit() {
    let units: [(u64, &[&str]); 6] = [
        (1, &["ms", "millisecond", "milliseconds"]),
        (1000, &["s", "sec", "second", "seconds"]),
        (60_000, &["m", "min", "minute", "minutes"]),
        (3_600_000, &["h", "hr", "hour", "hours"]),
        (86_400_000, &["d", "day", "days"]),
        (604_800_000, &["w", "week", "weeks"]),
    ];
    for (ms, names) in units {
        for name in names {
            assert_eq!(parse_period_ms(name).unwrap(), ms, "{name}");
            assert_eq!(parse_period_ms(&format!(" 3 {} ", name.to_uppercase())).unwrap(), 3 * ms, "{name}");
            assert_eq!(rates(&format!("1/2{name}")), [(1, 2 * ms, 1)], "{name}");
        }
    }
}

#[test]
fn what_is_not_understood_is_quoted_with_an_example() {
    let cases = [
        ("", r#""""#),
        ("   ", "missing"),
        ("100", r#"expected "/" or "per""#),
        ("100/", "found nothing"),
        ("/minute", r#"found "/minute""#),
        ("abc/minute", r#"found "abc/minute""#),
        ("10/fortnight", r#""fortnight" is no unit"#),
        ("10/mo", r#""mo" is no unit"#),
        ("10/2", "a unit of time"),
        ("10//m", r#"found "/m""#),
        ("1 0/m", r#"found "0/m""#),
        ("-1/m", r#"found "-1/m""#),
        ("+1/m", r#"found "+1/m""#),
        ("1.5/m", r#"found ".5/m""#),
        ("1e3/m", r#"found "e3/m""#),
        ("1_000/m", r#"found "_000/m""#),
        ("1/-2m", r#"found "-2m""#),
        ("1/1.5m", r#"found ".5m""#),
        ("١٠/m", "found \"١٠/m\""),
        ("1/１m", "found \"１m\""),
        ("10/m\n", r#""\n" is not understood"#),
        ("10\t/m", r#"found "\t/m""#),
        ("10/m\0", r#""\0" is not understood"#),
        ("10\u{a0}/m", r#"found "\u{a0}/m""#),
        ("10/m 5", r#""5" is not understood"#),
        ("10/m burst", r#"after "burst""#),
        ("10/m burst x", r#"found "x""#),
        ("10/m burst -2", r#"found "-2""#),
        ("10/m burst 2 3", r#""3" is not understood"#),
        ("10/m bursts 2", r#""bursts 2" is not understood"#),
        ("18446744073709551616/m", r#""18446744073709551616" is too large"#),
        ("10/m burst 99999999999999999999999", "too large"),
        ("1/18446744073709551615w", "too long"),
        ("1/0m", "period is 0"),
        ("10/m;", "missing"),
        ("10/m,,5/s", "missing"),
        ("1,000/m", r#""1": expected"#),
    ];
    for (text, part) in cases {
        let message = refusal(parse_limit(text, TokenBucket));
        assert!(message.contains(part), "{text:?}: {message:?} lacks {part:?}");
        assert!(message.contains("100/minute"), "{text:?}: {message:?} has no example");
        assert!(!message.contains(char::is_control), "{text:?}: {message:?}");
    }
}

#[test]
fn a_rate_outside_the_bounds_is_named() {
    for (text, part) in [
        ("10/s; 0/m", r#"" 0/m": the rate is 0"#),
        ("1/10s burst 0", r#""1/10s burst 0": the burst is 0"#),
        ("1/11000d", "ten years"),
        ("1/3650d burst 11", "100 years"),
    ] {
        let message = refusal(parse_limit(text, TokenBucket));
        assert!(message.contains(part), "{text:?}: {message:?} lacks {part:?}");
    }
    for algorithm in [SlidingWindowLog, FixedWindowCounter] {
        assert!(refusal(parse_limit("100/m burst 200", algorithm)).contains("token_bucket"));
    }
    assert!(refusal(parse_limit("2000000/d", SlidingWindowLog)).contains("entries"));
}

#[test]
fn eight_rates_and_no_more() {
    assert_eq!(rates(&["1/s"; 8].join(";")).len(), 8);
    let message = refusal(parse_limit(&["1/s"; 9].join(","), TokenBucket));
    assert!(message.contains("9 rates") && message.contains("1 to 8"), "{message}");
}

#[test]
fn a_long_text_makes_no_long_message() {
    for text in ["x".repeat(100_000), "1".repeat(100_000), ";".repeat(100_000), format!("1/{}", "y".repeat(100_000))] {
        assert!(refusal(parse_limit(&text, TokenBucket)).len() < 400);
        assert!(refusal(parse_period_ms(&text)).len() < 400);
    }
}

#[test]
fn periods_that_are_refused() {
    for (text, part) in [
        ("", "found nothing"),
        ("60", "found nothing"),
        ("0s", "period is 0"),
        ("1.5h", r#"found ".5h""#),
        ("-1s", r#"found "-1s""#),
        ("1 fortnight", r#""fortnight""#),
        ("1m 30s", r#""30s" is not understood"#),
        ("99999999999999999999s", "too large"),
        ("18446744073709551615s", "too long"),
    ] {
        let message = refusal(parse_period_ms(text));
        assert!(message.contains(part) && message.contains("2 hours"), "{text:?}: {message:?}");
    }
}

#[test]
fn the_canonical_text() {
    for (text, canonical) in [
        ("100 per 60 s", "100/minute"),
        ("10/120m burst 20", "10/2h burst 20"),
        ("5/0250ms", "5/250ms"),
        ("1/1ms", "1/millisecond"),
        ("1/7d,1/8d", "1/week; 1/8d"),
        ("1/90s", "1/90s"),
        ("7/24h burst 7", "7/day"),
    ] {
        assert_eq!(parse_limit(text, TokenBucket).unwrap().to_string(), canonical);
    }
}

fn valid_rate(algorithm: Algorithm) -> impl Strategy<Value = Rate> {
    let per_ms = (wide(), prop::sample::select(vec![1, 1000, 60_000, 3_600_000, 86_400_000, 604_800_000]))
        .prop_map(|(count, unit)| count % 1000 * unit);
    (wide(), per_ms, prop::option::of(wide())).prop_filter_map("outside the bounds", move |(limit, per_ms, burst)| {
        let burst = burst.filter(|_| algorithm == TokenBucket);
        Rate::new(limit, per_ms, burst, algorithm).ok()
    })
}

fn valid_limit() -> impl Strategy<Value = (Algorithm, Limit)> {
    prop::sample::select(Algorithm::ALL.to_vec()).prop_flat_map(|algorithm| {
        prop::collection::vec(valid_rate(algorithm), 1..=8)
            .prop_map(move |rates| (algorithm, Limit::new(&rates).expect("has one to eight valid rates")))
    })
}

proptest! {
    #![proptest_config(seeded::config(3000))]

    #[test]
    fn the_canonical_text_parses_back((algorithm, limit) in valid_limit()) {
        let text = limit.to_string();
        prop_assert_eq!(parse_limit(&text, algorithm).unwrap(), limit);
        prop_assert_eq!(parse_limit(&text.to_uppercase().replace('/', " per "), algorithm).unwrap(), limit);
    }

    #[test]
    fn any_text_gives_a_valid_limit_or_a_printable_refusal(
        text in prop_oneof![any::<String>(), "[0-9 ]{0,4}(/|per| )?[0-9msMdhw １;,-]{0,12}(burst [0-9]{0,3})?"]
    ) {
        match parse_limit(&text, TokenBucket) {
            Ok(limit) => prop_assert!(limit.rates().iter().all(Rate::is_valid)),
            Err(Error::InvalidLimit(message)) => prop_assert!(!message.contains(char::is_control)),
            Err(other) => prop_assert!(false, "{:?}", other),
        }
        match parse_period_ms(&text) {
            Ok(ms) => prop_assert!(ms > 0),
            Err(Error::InvalidLimit(message)) => prop_assert!(!message.contains(char::is_control)),
            Err(other) => prop_assert!(false, "{:?}", other),
        }
    }
}
