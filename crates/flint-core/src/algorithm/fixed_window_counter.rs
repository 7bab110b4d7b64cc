//! Fixed window counter: a window opens at the first consumption and takes up to `limit` until it ends, a period later.

use super::{NEVER, Verdict};
use crate::limit::Rate;

/// The window [`start_ns`, `start_ns` + period) and what was consumed in it. The default is no window.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// Engine time of the first consumption.
    pub start_ns: u64,
    /// Sum of the costs; 0 means that no window is open.
    pub used: u64,
}

/// What is used and how much of the window is left; both 0 when no window is open at `now`.
#[inline]
fn window_at(rate: &Rate, state: State, now: u64) -> (u64, u64) {
    let left = rate.per_ns().saturating_sub(now.saturating_sub(state.start_ns));
    if state.used == 0 || left == 0 { (0, 0) } else { (state.used, left) }
}

/// Sum of the costs in the window that is open at `now`.
#[inline]
pub fn used_at(rate: &Rate, state: State, now: u64) -> u64 {
    window_at(rate, state, now).0
}

/// What the rate says to `cost` at `now`.
#[inline]
pub fn decide(rate: &Rate, state: State, now: u64, cost: u64) -> Verdict {
    let (used, left) = window_at(rate, state, now);
    let available = rate.limit().saturating_sub(used);
    if cost > available {
        let retry_after_ns = if cost > rate.limit() { NEVER } else { left };
        return Verdict { allowed: false, remaining: available, retry_after_ns, reset_after_ns: left };
    }
    let opens = used == 0 && cost > 0;
    Verdict {
        allowed: true,
        remaining: available - cost,
        retry_after_ns: 0,
        reset_after_ns: if opens { rate.per_ns() } else { left },
    }
}

/// The state after `cost` was consumed at `now`, which [`decide`] allowed.
#[inline]
pub fn consume(rate: &Rate, state: State, now: u64, cost: u64) -> State {
    match used_at(rate, state, now) {
        0 => State { start_ns: now, used: cost },
        used => State { start_ns: state.start_ns, used: used.saturating_add(cost) },
    }
}

/// The first state of a rate that takes the place of others, of which `used_tokens` were used: its window starts at `now`.
#[inline]
pub fn carried(rate: &Rate, used_tokens: u64, now: u64) -> State {
    State { start_ns: now, used: used_tokens.min(rate.capacity()) }
}

/// Tokens that are used at `now`.
#[inline]
pub fn used_tokens_ceil(rate: &Rate, state: State, now: u64) -> u64 {
    used_at(rate, state, now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::Algorithm;

    const SECOND: u64 = 1_000_000_000;

    fn rate(limit: u64) -> Rate {
        Rate::new(limit, 1000, None, Algorithm::FixedWindowCounter).unwrap()
    }

    #[test]
    fn the_window_starts_at_the_first_consumption_and_ends_a_period_later() {
        let rate = rate(3);
        let state = consume(&rate, State::default(), 700, 2);
        assert_eq!(
            decide(&rate, state, 900, 1),
            Verdict { allowed: true, remaining: 0, retry_after_ns: 0, reset_after_ns: SECOND - 200 }
        );
        assert_eq!(
            decide(&rate, state, 900, 2),
            Verdict { allowed: false, remaining: 1, retry_after_ns: SECOND - 200, reset_after_ns: SECOND - 200 }
        );
        assert!(!decide(&rate, state, 699 + SECOND, 2).allowed);
        assert_eq!(
            decide(&rate, state, 700 + SECOND, 2),
            Verdict { allowed: true, remaining: 1, retry_after_ns: 0, reset_after_ns: SECOND }
        );
        assert_eq!(consume(&rate, state, 700 + SECOND, 2), State { start_ns: 700 + SECOND, used: 2 });
    }

    #[test]
    fn an_untouched_limit_is_whole_and_opens_no_window() {
        let verdict = decide(&rate(3), State::default(), 5, 0);
        assert_eq!(verdict, Verdict { allowed: true, remaining: 3, retry_after_ns: 0, reset_after_ns: 0 });
    }

    #[test]
    fn an_impossible_cost_is_never_allowed() {
        let verdict = decide(&rate(5), State::default(), 9, 6);
        assert_eq!(verdict, Verdict { allowed: false, remaining: 5, retry_after_ns: u64::MAX, reset_after_ns: 0 });
    }

    #[test]
    fn time_before_the_state_counts_as_none() {
        let state = State { start_ns: 5 * SECOND, used: 3 };
        let verdict = decide(&rate(3), state, 7, 1);
        assert_eq!(verdict, Verdict { allowed: false, remaining: 0, retry_after_ns: SECOND, reset_after_ns: SECOND });
    }

    #[test]
    fn what_is_carried_is_at_most_the_limit_for_a_whole_period() {
        let rate = rate(5);
        let state = carried(&rate, 9, 100);
        assert_eq!(state, State { start_ns: 100, used: 5 });
        assert_eq!(used_tokens_ceil(&rate, state, 99 + SECOND), 5);
        assert_eq!(used_tokens_ceil(&rate, state, 100 + SECOND), 0);
        assert_eq!(decide(&rate, carried(&rate, 0, 100), 200, 0).reset_after_ns, 0);
    }
}
