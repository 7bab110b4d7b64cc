//! Token bucket: tokens come back continuously at `limit` per period, up to `burst`.
//!
//! The state is what has been used, in units of token x period in nanoseconds: a token is `per_ns` units, and `limit` units
//! come back each nanosecond. Both are whole numbers, so refill is exact whatever the two are, and does not depend on how
//! often the bucket is looked at. A valid rate keeps every product below 2^127 and every duration below 2^63.

use super::{NEVER, Verdict, div_ceil, div_floor};
use crate::limit::Rate;

/// What has been used. The default is a full bucket.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// Units of token x nanosecond of period, 0 to burst x period.
    pub used: u128,
    /// Engine time for which `used` is correct.
    pub at_ns: u64,
}

/// Units that `tokens` tokens are.
#[inline]
fn units(rate: &Rate, tokens: u64) -> u128 {
    u128::from(tokens) * u128::from(rate.per_ns())
}

/// Units that are used at `now`.
#[inline]
pub fn used_at(rate: &Rate, state: State, now: u64) -> u128 {
    let elapsed = now.saturating_sub(state.at_ns);
    state.used.saturating_sub(u128::from(elapsed) * u128::from(rate.limit()))
}

/// What the rate says to `cost` at `now`.
#[inline]
pub fn decide(rate: &Rate, state: State, now: u64, cost: u64) -> Verdict {
    let capacity = units(rate, rate.capacity());
    let used = used_at(rate, state, now);
    let wanted = used.saturating_add(units(rate, cost));
    let allowed = cost == 0 || wanted <= capacity;
    let after = if allowed { wanted } else { used };
    let retry_after_ns = if allowed {
        0
    } else if cost > rate.capacity() {
        NEVER
    } else {
        div_ceil(wanted - capacity, rate.limit())
    };
    Verdict {
        allowed,
        remaining: div_floor(capacity.saturating_sub(after), rate.per_ns()),
        retry_after_ns,
        reset_after_ns: div_ceil(after, rate.limit()),
    }
}

/// The state after `cost` was consumed at `now`, which [`decide`] allowed.
#[inline]
pub fn consume(rate: &Rate, state: State, now: u64, cost: u64) -> State {
    State { used: used_at(rate, state, now).saturating_add(units(rate, cost)), at_ns: now }
}

/// The first state of a rate that takes the place of others, of which `used_tokens` were used.
#[inline]
pub fn carried(rate: &Rate, used_tokens: u64, now: u64) -> State {
    State { used: units(rate, used_tokens.min(rate.capacity())), at_ns: now }
}

/// Tokens that are used at `now`, a started one counted whole.
#[inline]
pub fn used_tokens_ceil(rate: &Rate, state: State, now: u64) -> u64 {
    div_ceil(used_at(rate, state, now), rate.per_ns())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::Algorithm;

    fn rate(limit: u64, per_ms: u64, burst: u64) -> Rate {
        Rate::new(limit, per_ms, Some(burst), Algorithm::TokenBucket).unwrap()
    }

    #[test]
    fn a_full_bucket_gives_its_burst_and_then_waits_for_whole_tokens() {
        // 3 tokens per 10 s: a token takes 3,333,333,333 1/3 ns.
        let rate = rate(3, 10_000, 5);
        let state = consume(&rate, State::default(), 0, 5);
        let denied = decide(&rate, state, 0, 1);
        assert_eq!(
            denied,
            Verdict { allowed: false, remaining: 0, retry_after_ns: 3_333_333_334, reset_after_ns: 16_666_666_667 }
        );
        assert!(!decide(&rate, state, 3_333_333_333, 1).allowed);
        assert!(decide(&rate, state, 3_333_333_334, 1).allowed);
        assert_eq!(decide(&rate, state, 10_000_000_000, 0).remaining, 3);
        assert_eq!(decide(&rate, state, 9_999_999_999, 0).remaining, 2);
        assert_eq!(decide(&rate, state, 16_666_666_667, 0).reset_after_ns, 0);
    }

    #[test]
    fn looking_often_gives_nothing_away() {
        let rate = rate(1, 7, 2);
        let mut state = consume(&rate, State::default(), 0, 2);
        for now in 1..7_000 {
            state = State { used: used_at(&rate, state, now * 1000), at_ns: now * 1000 };
            assert!(!decide(&rate, state, now * 1000, 1).allowed, "at {now} us");
        }
        assert!(decide(&rate, state, 7_000_000, 1).allowed);
    }

    #[test]
    fn an_impossible_cost_is_never_allowed() {
        let verdict = decide(&rate(5, 1000, 5), State::default(), 9, 6);
        assert_eq!(verdict, Verdict { allowed: false, remaining: 5, retry_after_ns: u64::MAX, reset_after_ns: 0 });
    }

    #[test]
    fn time_before_the_state_counts_as_none() {
        let rate = rate(5, 1000, 5);
        let state = consume(&rate, State::default(), 1_000_000_000, 2);
        assert_eq!(decide(&rate, state, 3, 0).remaining, 3);
        assert_eq!(used_tokens_ceil(&rate, state, 3), 2);
    }

    #[test]
    fn what_is_carried_is_at_most_the_capacity_and_rounds_up() {
        let rate = rate(5, 1000, 7);
        assert_eq!(used_tokens_ceil(&rate, carried(&rate, 100, 3), 3), 7);
        let state = carried(&rate, 6, 3);
        assert_eq!(decide(&rate, state, 3, 0).remaining, 1);
        assert_eq!(used_tokens_ceil(&rate, state, 4), 6);
        assert_eq!(used_tokens_ceil(&rate, state, 200_000_003), 5);
    }

    #[test]
    fn a_hundred_years_are_counted_to_the_nanosecond() {
        const YEARS_100_MS: u64 = 3_153_600_000_000;
        let rate = rate(1, YEARS_100_MS / 10, 10);
        let state = consume(&rate, State::default(), 5, 10);
        let verdict = decide(&rate, state, 5, 10);
        assert_eq!(verdict.retry_after_ns, YEARS_100_MS * 1_000_000);
        assert_eq!(verdict.reset_after_ns, YEARS_100_MS * 1_000_000);
        assert!(!decide(&rate, state, 4 + verdict.retry_after_ns, 10).allowed);
        assert!(decide(&rate, state, 5 + verdict.retry_after_ns, 10).allowed);
    }
}
