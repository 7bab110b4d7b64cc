//! The sliding window log against a list of every token, and against its promise.

use crate::support::seeded;
use crate::support::seeded::wide;
use flint_core::algorithm::sliding_window_log::{self, ceil_ms};
use flint_core::algorithm::{Numbers, Rules, RunArena, Verdict};
use flint_core::limit::{Algorithm, Rate};
use proptest::prelude::*;

const MS: u64 = 1_000_000;

/// A log with an arena of its own.
#[derive(Debug, Default)]
struct Log {
    log: sliding_window_log::Log,
    runs: RunArena,
}

impl Log {
    /// A log of these runs: milliseconds, in order, and costs.
    fn of(list: &[(u64, u64)]) -> Option<Self> {
        let mut runs = RunArena::new();
        let numbers: Numbers = list.iter().flat_map(|&(ms, cost)| [ms, cost]).map(u128::from).collect();
        Some(Self { log: sliding_window_log::Log::import(&numbers, &mut runs).ok()?, runs })
    }

    fn list(&self) -> Vec<(u64, u64)> {
        self.log.runs(&self.runs).map(|run| (run.ms, run.cost)).collect()
    }

    fn decide(&self, rate: &Rate, now: u64, cost: u64) -> Verdict {
        self.log.decide(rate.quota(), &self.runs, now, cost)
    }

    fn live(&self, rate: &Rate, now: u64) -> u64 {
        self.log.used_tokens(rate.quota(), &self.runs, now)
    }

    fn consume(&mut self, rate: &Rate, now: u64, cost: u64) {
        self.log.consume(rate.quota(), &mut self.runs, now, cost);
    }
}

/// The moment, in nanoseconds, at which a token taken at `at` no longer counts.
fn gone_at(rate: &Rate, at: u64) -> u64 {
    (at.div_ceil(MS) + rate.per_ms()) * MS
}

fn valid_rate() -> impl Strategy<Value = Rate> {
    (wide(), wide()).prop_filter_map("outside the bounds", |(limit, per_ms)| {
        Rate::new(limit, per_ms % 315_360_000_001, None, Algorithm::SlidingWindowLog).ok()
    })
}

fn steps() -> impl Strategy<Value = Vec<(u64, u64)>> {
    let wait = prop_oneof![Just(0), 1u64..1000, 1u64..3 * MS, 1u64..40 * MS];
    prop::collection::vec((wait, 0u64..15), 1..80)
}

proptest! {
    #![proptest_config(seeded::config(2000))]

    #[test]
    fn it_decides_as_a_list_of_every_token_does(limit in 1u64..20, per_ms in 1u64..50, steps in steps()) {
        let rate = Rate::new(limit, per_ms, None, Algorithm::SlidingWindowLog).unwrap();
        let mut log = Log::default();
        // The end of each token's time, of all that were ever taken.
        let mut ends: Vec<u64> = Vec::new();
        let mut now = 0;
        for (wait, cost) in steps {
            now += wait;
            let cost = cost.min(limit);
            let count = |ends: &[u64], at: u64| u64::try_from(ends.iter().filter(|&&end| at < end).count()).unwrap();
            let allowed = count(&ends, now) + cost <= limit;
            let verdict = log.decide(&rate, now, cost);
            prop_assert_eq!(verdict.allowed, allowed);
            let retry_after_ns = if allowed {
                0
            } else {
                let mut moments = ends.clone();
                moments.sort_unstable();
                moments.into_iter().find(|&at| at > now && count(&ends, at) + cost <= limit).unwrap() - now
            };
            prop_assert_eq!(verdict.retry_after_ns, retry_after_ns);
            if allowed && cost > 0 {
                log.consume(&rate, now, cost);
                ends.extend((0..cost).map(|_| gone_at(&rate, now)));
            }
            prop_assert_eq!(verdict.remaining, limit - count(&ends, now));
            prop_assert_eq!(log.live(&rate, now), count(&ends, now));
            let newest = ends.iter().copied().max().unwrap_or(0);
            prop_assert_eq!(verdict.reset_after_ns, newest.saturating_sub(now));
        }
    }

    #[test]
    fn no_period_sees_more_than_the_limit(limit in 1u64..20, per_ms in 1u64..50, steps in steps()) {
        let rate = Rate::new(limit, per_ms, None, Algorithm::SlidingWindowLog).unwrap();
        let mut log = Log::default();
        let mut taken: Vec<(u64, u64)> = Vec::new();
        let mut now = 0;
        for (wait, cost) in steps {
            now += wait;
            let period = |from: u64| {
                taken.iter().filter(|&&(at, _)| at >= from).map(|&(_, cost)| cost).sum::<u64>()
            };
            let verdict = log.decide(&rate, now, cost.max(1));
            if verdict.allowed {
                // Any period that ends just after now; consumptions at its very start are a whole period ago.
                let longest = (now + 1).saturating_sub(rate.per_ns());
                prop_assert!(period(longest) + cost.max(1) <= limit);
                log.consume(&rate, now, cost.max(1));
                taken.push((now, cost.max(1)));
            } else if cost.max(1) <= limit {
                // Rounding costs less than a millisecond.
                prop_assert!(period((now + 1).saturating_sub(rate.per_ns() + MS)) + cost.max(1) > limit);
            }
        }
    }

    #[test]
    fn waits_are_exact_for_every_valid_rate(
        rate in valid_rate(), costs in prop::collection::vec((wide(), wide()), 0..6), now in wide(), cost in wide(),
    ) {
        let now = now >> 1;
        let mut ms = ceil_ms(now).saturating_sub(rate.per_ms());
        let (mut list, mut left) = (Vec::new(), rate.limit());
        for (part, step) in costs {
            ms += step % (rate.per_ms() / 4 + 1);
            if ms > ceil_ms(now) || left == 0 || list.last().is_some_and(|&(newest, _)| newest == ms) {
                continue;
            }
            let cost = part % left + 1;
            left -= cost;
            list.push((ms, cost));
        }
        let mut log = Log::of(&list).unwrap();
        let cost = cost % rate.capacity() + 1;
        let verdict = log.decide(&rate, now, cost);
        if !verdict.allowed {
            let then = now + verdict.retry_after_ns;
            prop_assert!(verdict.retry_after_ns > 0);
            prop_assert!(!log.decide(&rate, then - 1, cost).allowed);
            prop_assert!(log.decide(&rate, then, cost).allowed);
        } else {
            log.consume(&rate, now, cost);
        }
        prop_assert_eq!(verdict.remaining, rate.limit() - log.live(&rate, now));
        let whole = now + verdict.reset_after_ns;
        prop_assert_eq!(log.live(&rate, whole), 0);
        prop_assert!(verdict.reset_after_ns == 0 || log.live(&rate, whole - 1) > 0);
    }

    #[test]
    fn nothing_panics_not_even_outside_the_bounds(
        limit in wide(), per_ms in wide(), runs in prop::collection::vec((wide(), wide()), 0..6), now in wide(),
        image in any::<u128>(), cost in wide(),
    ) {
        let rate = Rate::unchecked(limit, per_ms, cost, Algorithm::SlidingWindowLog);
        let mut runs: Vec<_> = runs.into_iter().filter(|&(_, cost)| cost > 0).collect();
        runs.sort_unstable();
        runs.dedup_by_key(|&mut (ms, _)| ms);
        let Some(mut log) = Log::of(&runs) else { return Ok(()) };
        let verdict = log.decide(&rate, now, cost);
        prop_assert!(cost > 0 || verdict.allowed);
        log.live(&rate, now);
        log.log.replay_behind_gap(rate.quota(), &mut log.runs, image, now, cost);
        log.consume(&rate, now, cost);
        log.log.bound(rate.quota(), &mut log.runs, now);
        prop_assert!(log.live(&rate, now) <= limit);
        let carried = sliding_window_log::Log::carried(rate.quota(), cost, now, &mut log.runs);
        let again = sliding_window_log::Log::decide_carried(rate.quota(), cost, now, cost);
        prop_assert_eq!(carried.decide(rate.quota(), &log.runs, now, cost), again);
    }
}

#[test]
fn a_large_cost_is_one_run() {
    let rate = Rate::new(50_000_000, 60_000, None, Algorithm::SlidingWindowLog).unwrap();
    let mut log = Log::default();
    log.consume(&rate, 5, 50_000_000);
    assert_eq!(log.list(), [(1, 50_000_000)]);
    assert_eq!(log.decide(&rate, 10, 1).retry_after_ns, 60_001 * MS - 10);
}

#[test]
fn waits_go_on_beyond_the_end_of_64_bit_time() {
    let rate = Rate::new(1, 315_360_000_000, None, Algorithm::SlidingWindowLog).unwrap();
    let mut log = Log::default();
    log.consume(&rate, u64::MAX, 1);
    let verdict = log.decide(&rate, u64::MAX, 1);
    let rounding = u64::from(1_000_000 - u32::try_from(u64::MAX % MS).unwrap());
    assert_eq!(verdict.retry_after_ns, 315_360_000_000 * MS + rounding);
}
