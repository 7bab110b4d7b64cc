//! What a rate and a limit may be.

use flint_core::Error;
use flint_core::limit::Algorithm::{FixedWindowCounter, SlidingWindowLog, TokenBucket};
use flint_core::limit::{Algorithm, Limit, Rate};

const YEAR_MS: u64 = 31_536_000_000;

fn message<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    match result.expect_err("must be refused") {
        Error::InvalidLimit(message) | Error::InvalidCost(message) => message,
        other => panic!("{other:?}"),
    }
}

/// The rate is refused, the message holds each of `parts`, and `is_valid` agrees.
#[track_caller]
fn refuses(limit: u64, per_ms: u64, burst: Option<u64>, algorithm: Algorithm, parts: &[&str]) {
    let message = message(Rate::new(limit, per_ms, burst, algorithm));
    for part in parts {
        assert!(message.contains(part), "{message:?} lacks {part:?}");
    }
    assert!(!Rate::unchecked(limit, per_ms, burst.unwrap_or(limit), algorithm).is_valid());
}

#[track_caller]
fn accepts(limit: u64, per_ms: u64, burst: Option<u64>, algorithm: Algorithm) {
    let rate = Rate::new(limit, per_ms, burst, algorithm).expect("is within the bounds");
    assert!(rate.is_valid());
    assert_eq!(rate, Rate::unchecked(limit, per_ms, burst.unwrap_or(limit), algorithm));
}

#[test]
fn zero_is_refused_everywhere() {
    for algorithm in Algorithm::ALL {
        refuses(0, 1000, None, algorithm, &["rate is 0", "at least 1"]);
        refuses(0, 1000, Some(5), algorithm, &["rate is 0"]);
        refuses(5, 0, None, algorithm, &["period is 0", "at least 1 ms"]);
        refuses(5, 1000, Some(0), algorithm, &["burst is 0", "at least 1"]);
    }
}

#[test]
fn ten_years_are_the_longest_period() {
    for algorithm in Algorithm::ALL {
        accepts(1, 10 * YEAR_MS, None, algorithm);
        refuses(1, 10 * YEAR_MS + 1, None, algorithm, &["315360000001 ms", "at most 315360000000 ms", "ten years"]);
        refuses(1, u64::MAX, None, algorithm, &["ten years"]);
    }
}

#[test]
fn a_hundred_years_are_the_longest_refill() {
    accepts(1, 10 * YEAR_MS, Some(10), TokenBucket);
    refuses(1, 10 * YEAR_MS, Some(11), TokenBucket, &["burst of 11", "100 years"]);
    accepts(3, 1, Some(300 * YEAR_MS), TokenBucket);
    refuses(3, 1, Some(300 * YEAR_MS + 1), TokenBucket, &["100 years"]);
    refuses(1, 1000, Some(u64::MAX), TokenBucket, &["100 years"]);
    accepts(u64::MAX, 10 * YEAR_MS, Some(u64::MAX), TokenBucket);
    accepts(10, 1000, Some(1), TokenBucket);
}

#[test]
fn a_sliding_log_holds_at_most_a_million_entries() {
    accepts(1_000_000, YEAR_MS, None, SlidingWindowLog);
    accepts(u64::MAX, 1_000_000, None, SlidingWindowLog);
    refuses(1_000_001, 1_000_001, None, SlidingWindowLog, &["1000001 entries", "at most 1000000", "token_bucket"]);
    accepts(1_000_001, 1_000_001, None, FixedWindowCounter);
}

#[test]
fn windows_take_no_burst_but_their_limit() {
    for algorithm in [SlidingWindowLog, FixedWindowCounter] {
        accepts(100, 1000, Some(100), algorithm);
        refuses(100, 1000, Some(101), algorithm, &[algorithm.name(), "100", "101", "token_bucket"]);
        refuses(100, 1000, Some(99), algorithm, &["99"]);
    }
}

#[test]
fn the_accessors_tell_what_was_given() {
    let rate = Rate::new(100, 250, Some(20), TokenBucket).unwrap();
    assert_eq!((rate.limit(), rate.per_ms(), rate.per_ns(), rate.burst()), (100, 250, 250_000_000, 20));
    assert_eq!((rate.capacity(), rate.algorithm()), (20, TokenBucket));
    assert_eq!(Rate::unchecked(7, u64::MAX, 9, FixedWindowCounter).per_ns(), u64::MAX);
    assert_eq!(Rate::unchecked(7, 1, 9, FixedWindowCounter).capacity(), 7);
}

#[test]
fn algorithms_have_names_and_codes() {
    for (code, algorithm) in (0..).zip(Algorithm::ALL) {
        assert_eq!(Algorithm::from_code(code), Some(algorithm));
        assert_eq!(algorithm as u8, code);
        assert_eq!(Algorithm::parse(algorithm.name()).unwrap(), algorithm);
    }
    assert_eq!(Algorithm::from_code(3), None);
    let message = message(Algorithm::parse("leaky\n"));
    assert!(message.contains(r#""leaky\n""#) && message.contains("sliding_window_log"), "{message}");
}

#[test]
fn a_limit_has_one_to_eight_valid_rates() {
    let rate = Rate::new(5, 1000, None, TokenBucket).unwrap();
    let other = Rate::new(3, 1000, None, FixedWindowCounter).unwrap();
    assert_eq!(Limit::new(&[rate]).unwrap(), Limit::single(rate));
    assert_eq!(Limit::new(&[rate, other]).unwrap().rates(), [rate, other]);
    assert_eq!(Limit::new(&[rate; 8]).unwrap().rates().len(), 8);
    assert!(message(Limit::new(&[rate; 9])).contains("9 rates"));
    assert!(message(Limit::new(&[rate; 300])).contains("300 rates"));
    assert!(message(Limit::new(&[])).contains("1 to 8"));
    let broken = Rate::unchecked(5, 0, 5, TokenBucket);
    assert!(message(Limit::new(&[rate, broken])).contains("period is 0"));
}

#[test]
fn limits_are_equal_by_the_rates_in_use() {
    let rates = [1, 2].map(|limit| Rate::new(limit, 1000, None, TokenBucket).unwrap());
    let limit = Limit::new(&rates).unwrap();
    assert_eq!(limit, Limit::new(&rates).unwrap());
    assert_ne!(limit, Limit::single(rates[0]));
    assert_eq!(limit, Limit::new(&[rates[1], rates[0]]).unwrap(), "in any order");
    assert_ne!(limit, Limit::new(&[rates[0], rates[0]]).unwrap());
    assert_eq!(format!("{:?}", Limit::single(rates[0])).matches("Rate {").count(), 1);
}

#[test]
fn a_cost_is_one_to_the_smallest_capacity() {
    let small = Rate::new(100, 1000, Some(7), TokenBucket).unwrap();
    let large = Rate::new(50, 1000, None, SlidingWindowLog).unwrap();
    let limit = Limit::new(&[large, small]).unwrap();
    assert_eq!(limit.capacity(), 7);
    assert!(limit.check_cost(1).is_ok() && limit.check_cost(7).is_ok());
    for cost in [0, 8, u64::MAX] {
        let message = message(limit.check_cost(cost));
        assert!(
            message.contains(&cost.to_string()) && message.contains("from 1 to the limit's capacity of 7"),
            "{message}"
        );
    }
}
