//! The fixed window counter against a replay of every event.

use crate::support::seeded;
use crate::support::seeded::wide;
use flint_core::algorithm::fixed_window_counter::Window;
use flint_core::algorithm::{Rules, RunArena, Verdict};
use flint_core::limit::{Algorithm, Rate};
use proptest::prelude::*;

const MS: u64 = 1_000_000;

fn decide(rate: &Rate, window: Window, now: u64, cost: u64) -> Verdict {
    window.decide(rate.quota(), &RunArena::new(), now, cost)
}

fn consume(rate: &Rate, mut window: Window, now: u64, cost: u64) -> Window {
    window.consume(rate.quota(), &mut RunArena::new(), now, cost);
    window
}

fn used_tokens(rate: &Rate, window: Window, now: u64) -> u64 {
    window.used_tokens(rate.quota(), &RunArena::new(), now)
}

fn carried(rate: &Rate, used: u64, now: u64) -> Window {
    Window::carried(rate.quota(), used, now, &mut RunArena::new())
}

/// The window that is open at `now` after these consumptions: its end and its sum.
fn replayed(per_ns: u64, taken: &[(u64, u64)], now: u64) -> Option<(u64, u64)> {
    let mut window: Option<(u64, u64)> = None;
    for &(at, cost) in taken {
        window = match window {
            Some((end, sum)) if at < end => Some((end, sum + cost)),
            _ => Some((at + per_ns, cost)),
        };
    }
    window.filter(|&(end, _)| now < end)
}

proptest! {
    #![proptest_config(seeded::config(2000))]

    #[test]
    fn it_decides_as_a_replay_of_every_event_does(
        limit in 1u64..20,
        per_ms in 1u64..50,
        steps in prop::collection::vec((prop_oneof![Just(0), 1u64..30, 1u64..60 * MS], 0u64..25), 1..60),
    ) {
        let rate = Rate::new(limit, per_ms, None, Algorithm::FixedWindowCounter).unwrap();
        let mut taken = Vec::new();
        let mut state = Window::default();
        let mut now = 0;
        for (wait, cost) in steps {
            now += wait;
            let cost = cost.min(limit);
            let window = replayed(rate.per_ns(), &taken, now);
            let used = window.map_or(0, |(_, sum)| sum);
            let allowed = used + cost <= limit;
            if allowed && cost > 0 {
                taken.push((now, cost));
            }
            let after = replayed(rate.per_ns(), &taken, now);
            let left = |window: Option<(u64, u64)>| window.map_or(0, |(end, _)| end - now);
            let verdict = decide(&rate, state, now, cost);
            prop_assert_eq!(verdict, Verdict {
                allowed,
                remaining: limit - after.map_or(0, |(_, sum)| sum),
                retry_after_ns: if allowed { 0 } else { left(window) },
                reset_after_ns: left(after),
            });
            if allowed && cost > 0 {
                state = consume(&rate, state, now, cost);
            }
        }
    }

    #[test]
    fn waits_are_exact_for_every_valid_rate(
        limit in wide(), per_ms in 1u64..=315_360_000_000, used in wide(), at in wide(), wait in wide(), cost in wide(),
    ) {
        let rate = Rate::new(limit.max(1), per_ms, None, Algorithm::FixedWindowCounter).unwrap();
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
        }
        let after = if verdict.allowed { consume(&rate, state, now, cost) } else { state };
        let used = used_tokens(&rate, after, now);
        prop_assert_eq!(verdict.remaining + used, rate.capacity());
        let whole = now + verdict.reset_after_ns;
        prop_assert_eq!(used_tokens(&rate, after, whole), 0);
        prop_assert!(verdict.reset_after_ns == 0 || used_tokens(&rate, after, whole - 1) > 0);
    }

    #[test]
    fn nothing_panics_not_even_outside_the_bounds(
        limit in wide(), per_ms in wide(), start_ns in wide(), used in wide(), now in wide(), cost in wide()
    ) {
        let rate = Rate::unchecked(limit, per_ms, cost, Algorithm::FixedWindowCounter);
        let state = Window { start_ns, used };
        let verdict = decide(&rate, state, now, cost);
        prop_assert!(verdict.allowed || verdict.retry_after_ns > 0);
        prop_assert!(cost > 0 || verdict.allowed);
        consume(&rate, state, now, cost);
        carried(&rate, cost, now);
    }
}
