//! The token bucket against a bucket of fractions, and at the edges of what a rate may be.

use crate::support::seeded;
use crate::support::seeded::wide;
use flint_core::algorithm::token_bucket::Bucket;
use flint_core::algorithm::{Rules, RunArena, Verdict};
use flint_core::limit::{Algorithm, Rate};
use proptest::prelude::*;

fn decide(rate: &Rate, bucket: Bucket, now: u64, cost: u64) -> Verdict {
    bucket.decide(rate.quota(), &RunArena::new(), now, cost)
}

fn consume(rate: &Rate, mut bucket: Bucket, now: u64, cost: u64) -> Bucket {
    bucket.consume(rate.quota(), &mut RunArena::new(), now, cost);
    bucket
}

fn used_tokens(rate: &Rate, bucket: Bucket, now: u64) -> u64 {
    bucket.used_tokens(rate.quota(), &RunArena::new(), now)
}

fn carried(rate: &Rate, used: u64, now: u64) -> Bucket {
    Bucket::carried(rate.quota(), used, now, &mut RunArena::new())
}

/// A non-negative fraction in lowest terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fraction {
    over: u128,
    under: u128,
}

impl Fraction {
    fn new(over: u128, under: u128) -> Self {
        let (mut a, mut b) = (over, under);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        Self { over: over / a, under: under / a }
    }

    fn plus(self, other: Self) -> Self {
        Self::new(self.over * other.under + other.over * self.under, self.under * other.under)
    }

    fn minus(self, other: Self) -> Self {
        Self::new(self.over * other.under - other.over * self.under, self.under * other.under)
    }

    fn divided_by(self, other: Self) -> Self {
        Self::new(self.over * other.under, self.under * other.over)
    }

    fn at_least(self, other: Self) -> bool {
        self.over * other.under >= other.over * self.under
    }
}

/// A bucket as a textbook has it: tokens, not what has been used.
struct Naive {
    burst: Fraction,
    tokens: Fraction,
    per_nanosecond: Fraction,
    now: u64,
}

impl Naive {
    fn new(rate: &Rate) -> Self {
        let burst = Fraction::new(rate.burst().into(), 1);
        let per_nanosecond = Fraction::new(rate.limit().into(), u128::from(rate.per_ms()) * 1_000_000);
        Self { burst, tokens: burst, per_nanosecond, now: 0 }
    }

    fn refill(&mut self, now: u64) {
        let elapsed = u128::from(now - self.now);
        let sum = self.tokens.plus(Fraction::new(elapsed * self.per_nanosecond.over, self.per_nanosecond.under));
        self.tokens = if sum.at_least(self.burst) { self.burst } else { sum };
        self.now = now;
    }

    fn wait_for(&self, tokens: Fraction) -> u64 {
        let wait = tokens.minus(self.tokens).divided_by(self.per_nanosecond);
        u64::try_from(wait.over.div_ceil(wait.under)).expect("fits in 64 bits")
    }
}

fn small_rate() -> impl Strategy<Value = Rate> {
    (1u64..50, 1u64..10_000, 1u64..80).prop_map(|(limit, per_ms, burst)| {
        Rate::new(limit, per_ms, Some(burst), Algorithm::TokenBucket).expect("is within the bounds")
    })
}

fn valid_rate() -> impl Strategy<Value = Rate> {
    (wide(), wide(), wide()).prop_filter_map("outside the bounds", |(limit, per_ms, burst)| {
        Rate::new(limit, per_ms % 315_360_000_001, Some(burst), Algorithm::TokenBucket).ok()
    })
}

/// What to do next: nanoseconds to wait, and a cost.
fn steps() -> impl Strategy<Value = Vec<(u64, u64)>> {
    let wait = prop_oneof![Just(0), 1u64..1000, 1u64..10_000_000, 1u64..20_000_000_000];
    prop::collection::vec((wait, 0u64..90), 1..40)
}

proptest! {
    #![proptest_config(seeded::config(2000))]

    #[test]
    fn it_decides_as_a_bucket_of_fractions_does(rate in small_rate(), steps in steps()) {
        let mut naive = Naive::new(&rate);
        let mut state = Bucket::default();
        let mut now = 0;
        for (wait, cost) in steps {
            now += wait;
            naive.refill(now);
            let cost = cost.min(rate.burst());
            let wanted = Fraction::new(cost.into(), 1);
            let verdict = decide(&rate, state, now, cost);
            prop_assert_eq!(verdict.allowed, naive.tokens.at_least(wanted));
            if verdict.allowed {
                naive.tokens = naive.tokens.minus(wanted);
                state = consume(&rate, state, now, cost);
                prop_assert_eq!(verdict.retry_after_ns, 0);
            } else {
                prop_assert_eq!(verdict.retry_after_ns, naive.wait_for(wanted));
            }
            prop_assert_eq!(u128::from(verdict.remaining), naive.tokens.over / naive.tokens.under);
            prop_assert_eq!(verdict.reset_after_ns, naive.wait_for(naive.burst));
            let used = naive.burst.minus(naive.tokens);
            prop_assert_eq!(u128::from(used_tokens(&rate, state, now)), used.over.div_ceil(used.under));
        }
    }

    #[test]
    fn no_interval_sees_more_than_the_burst_and_the_refill(rate in small_rate(), steps in steps()) {
        let mut state = Bucket::default();
        let mut now = 0;
        let mut taken = Vec::new();
        for (wait, cost) in steps {
            now += wait;
            if decide(&rate, state, now, cost).allowed {
                state = consume(&rate, state, now, cost);
                taken.push((now, cost));
            }
        }
        for first in 0..taken.len() {
            let mut sum = 0;
            for &(at, cost) in &taken[first..] {
                sum += u128::from(cost);
                let refill = u128::from(at - taken[first].0) * u128::from(rate.limit());
                prop_assert!(
                    sum * u128::from(rate.per_ns()) <= u128::from(rate.burst()) * u128::from(rate.per_ns()) + refill
                );
            }
        }
    }

    #[test]
    fn waits_are_exact_for_every_valid_rate(rate in valid_rate(), used in wide(), at in wide(), wait in wide(), cost in wide()) {
        let at = at >> 1;
        let state = carried(&rate, used, at);
        let now = at.saturating_add(wait >> 2);
        let cost = cost % rate.capacity() + 1;
        let verdict = decide(&rate, state, now, cost);
        if !verdict.allowed {
            let then = now + verdict.retry_after_ns;
            prop_assert!(verdict.retry_after_ns > 0);
            prop_assert!(!decide(&rate, state, then - 1, cost).allowed);
            prop_assert!(decide(&rate, state, then, cost).allowed);
            prop_assert!(verdict.remaining < cost);
        }
        let after = if verdict.allowed { consume(&rate, state, now, cost) } else { state };
        prop_assert_eq!(decide(&rate, after, now, 0).remaining, verdict.remaining);
        let whole = now + verdict.reset_after_ns;
        prop_assert_eq!(after.used_at(rate.quota(), whole), 0);
        prop_assert!(verdict.reset_after_ns == 0 || after.used_at(rate.quota(), whole - 1) > 0);
        prop_assert!(verdict.reset_after_ns <= 3_153_600_000_000 * 1_000_000);
        prop_assert_eq!(verdict.remaining + used_tokens(&rate, after, now), rate.capacity());
    }

    #[test]
    fn nothing_panics_not_even_outside_the_bounds(
        numbers in (wide(), wide(), wide()), used in any::<u128>(), at in wide(), now in wide(), cost in wide()
    ) {
        let rate = Rate::unchecked(numbers.0, numbers.1, numbers.2, Algorithm::TokenBucket);
        let state = Bucket { used, at_ns: at };
        let verdict = decide(&rate, state, now, cost);
        prop_assert!(verdict.allowed || verdict.retry_after_ns > 0);
        prop_assert!(cost > 0 || verdict.allowed);
        consume(&rate, state, now, cost);
        carried(&rate, cost, now);
        used_tokens(&rate, state, now);
    }
}

#[test]
fn seven_a_second_come_back_one_by_one() {
    let rate = Rate::new(7, 1000, None, Algorithm::TokenBucket).unwrap();
    let state = consume(&rate, Bucket::default(), 0, 7);
    for tokens in 1..=7u64 {
        // The first whole nanosecond at or after tokens/7 s.
        let at = (tokens * 1_000_000_000).div_ceil(7);
        assert_eq!(decide(&rate, state, 0, tokens).retry_after_ns, at);
        assert_eq!(decide(&rate, state, at - 1, 0).remaining, tokens - 1);
        assert_eq!(decide(&rate, state, at, 0).remaining, tokens);
    }
}

#[test]
fn taking_each_token_as_it_comes_loses_none_to_rounding() {
    // 3 tokens per 10 s from an empty bucket: waiting exactly as long as each denial says gives 3000 tokens in 10,000 s.
    let rate = Rate::new(3, 10_000, Some(1), Algorithm::TokenBucket).unwrap();
    let mut state = consume(&rate, Bucket::default(), 0, 1);
    let mut now = 0;
    for _ in 0..3000 {
        now += decide(&rate, state, now, 1).retry_after_ns;
        state = consume(&rate, state, now, 1);
    }
    // A burst of one cannot hold the fraction of a nanosecond by which each wait is rounded up.
    assert!((10_000_000_000_000..10_000_000_003_000).contains(&now), "{now}");

    let rate = Rate::new(3, 10_000, Some(2), Algorithm::TokenBucket).unwrap();
    let mut state = consume(&rate, Bucket::default(), 0, 2);
    let mut now = 0;
    for _ in 0..3000 {
        now += decide(&rate, state, now, 1).retry_after_ns;
        state = consume(&rate, state, now, 1);
    }
    assert_eq!(now, 10_000_000_000_000);
}

#[test]
fn the_largest_valid_numbers_stay_exact() {
    let rate = Rate::new(u64::MAX, 315_360_000_000, None, Algorithm::TokenBucket).unwrap();
    let state = consume(&rate, Bucket::default(), 0, u64::MAX);
    assert_eq!(decide(&rate, state, 0, 0).remaining, 0);
    let verdict = decide(&rate, state, 0, u64::MAX);
    assert_eq!(verdict.retry_after_ns, 315_360_000_000_000_000);
    assert!(!decide(&rate, state, verdict.retry_after_ns - 1, u64::MAX).allowed);
    assert!(decide(&rate, state, verdict.retry_after_ns, u64::MAX).allowed);
    assert_eq!(decide(&rate, state, u64::MAX, 0).remaining, u64::MAX);
}
