//! Sliding window log: at most `limit` in any period, whenever it starts.
//!
//! The state is the sequence of consumptions, oldest first, those of one millisecond as one [`Run`], and the sum of their
//! costs; the caller keeps both and drops expired runs when it writes. An event's time is rounded up and now is rounded
//! down, so an event counts for the period and up to a millisecond more, never less: rounding can deny a moment too long
//! but never admits too much.

use super::{NEVER, NS_PER_MS, Verdict, saturated};
use crate::image::Run;
use crate::limit::Rate;

/// The millisecond that an event at `ns` is kept under.
#[inline]
pub const fn ceil_ms(ns: u64) -> u64 {
    ns.div_ceil(NS_PER_MS)
}

/// The millisecond that `ns` counts as when it is now.
#[inline]
pub const fn floor_ms(ns: u64) -> u64 {
    ns / NS_PER_MS
}

/// Whether the run of millisecond `run_ms` no longer counts.
#[inline]
pub fn is_expired(rate: &Rate, run_ms: u64, now_ns: u64) -> bool {
    floor_ms(now_ns).checked_sub(run_ms).is_some_and(|age_ms| age_ms >= rate.per_ms())
}

/// Nanoseconds from `now_ns` until the run of millisecond `run_ms` no longer counts: the first moment at which
/// [`is_expired`] holds.
#[inline]
fn expires_after_ns(rate: &Rate, run_ms: u64, now_ns: u64) -> u64 {
    let at_ns = (u128::from(run_ms) + u128::from(rate.per_ms())) * u128::from(NS_PER_MS);
    saturated(at_ns.saturating_sub(u128::from(now_ns)))
}

/// What the rate says to `cost` at `now`.
///
/// `total` is the sum of the costs of all `runs`, expired ones included; `runs` come oldest first; `newest` is the
/// millisecond of the last of them. Only expired runs and, for a denial, those that have to expire first are looked at.
#[inline]
pub fn decide(
    rate: &Rate,
    total: u64,
    runs: impl Iterator<Item = Run>,
    newest: Option<u64>,
    now: u64,
    cost: u64,
) -> Verdict {
    let mut runs = runs;
    let mut live = total;
    let mut oldest = None;
    for run in runs.by_ref() {
        if !is_expired(rate, run.ms, now) {
            oldest = Some(run);
            break;
        }
        live = live.saturating_sub(run.cost);
    }
    let reset_after = |newest_ms: Option<u64>| newest_ms.map_or(0, |ms| expires_after_ns(rate, ms, now));
    let available = rate.limit().saturating_sub(live);
    if cost <= available {
        let newest = if cost > 0 { newest.max(Some(ceil_ms(now))) } else { newest };
        return Verdict {
            allowed: true,
            remaining: available - cost,
            retry_after_ns: 0,
            reset_after_ns: reset_after(newest),
        };
    }
    let retry_after_ns = if cost > rate.limit() {
        NEVER
    } else {
        let mut missing = cost - available;
        let last_to_go = oldest.into_iter().chain(runs).find(|run| {
            missing = missing.saturating_sub(run.cost);
            missing == 0
        });
        reset_after(last_to_go.map(|run| run.ms).or(newest))
    };
    Verdict { allowed: false, remaining: available, retry_after_ns, reset_after_ns: reset_after(newest) }
}

/// How many runs at the front have expired at `now`, and the sum of the costs of the others. `total` is the sum of all.
#[inline]
pub fn live(rate: &Rate, total: u64, runs: impl Iterator<Item = Run>, now: u64) -> (usize, u64) {
    runs.take_while(|run| is_expired(rate, run.ms, now))
        .fold((0, total), |(expired, live), run| (expired + 1, live.saturating_sub(run.cost)))
}

/// The first run of a rate that takes the place of others, of which `used_tokens` were used; none if nothing was.
#[inline]
pub fn carried(rate: &Rate, used_tokens: u64, now: u64) -> Option<Run> {
    let cost = used_tokens.min(rate.capacity());
    (cost > 0).then_some(Run { ms: ceil_ms(now), cost })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::Algorithm;

    const MS: u64 = 1_000_000;

    fn rate(limit: u64, per_ms: u64) -> Rate {
        Rate::new(limit, per_ms, None, Algorithm::SlidingWindowLog).unwrap()
    }

    fn ask(rate: &Rate, runs: &[(u64, u64)], now: u64, cost: u64) -> Verdict {
        let total = runs.iter().map(|run| run.1).sum();
        let all = runs.iter().map(|&(ms, cost)| Run { ms, cost });
        decide(rate, total, all, runs.last().map(|run| run.0), now, cost)
    }

    #[test]
    fn a_run_counts_until_its_millisecond_is_a_period_ago() {
        let rate = rate(5, 10);
        assert!(!is_expired(&rate, 3, 13 * MS - 1));
        assert!(is_expired(&rate, 3, 13 * MS));
        assert!(!is_expired(&rate, 3, 0));
        assert_eq!((ceil_ms(0), ceil_ms(1), ceil_ms(MS), ceil_ms(MS + 1)), (0, 1, 1, 2));
        assert_eq!((floor_ms(MS - 1), floor_ms(MS)), (0, 1));
    }

    #[test]
    fn a_denial_waits_for_as_many_runs_as_the_cost_needs() {
        let rate = rate(5, 10);
        let runs = [(1, 9), (20, 2), (22, 2), (25, 1)];
        let now = 27 * MS + 7;
        let of = |cost| ask(&rate, &runs, now, cost);
        assert_eq!(of(0), Verdict { allowed: true, remaining: 0, retry_after_ns: 0, reset_after_ns: 8 * MS - 7 });
        let waits: Vec<_> = (1..=6).map(|cost| of(cost).retry_after_ns).collect();
        assert_eq!(waits, [3 * MS - 7, 3 * MS - 7, 5 * MS - 7, 5 * MS - 7, 8 * MS - 7, u64::MAX]);
        assert!(!ask(&rate, &runs, 30 * MS - 1, 2).allowed);
        assert_eq!(
            ask(&rate, &runs, 30 * MS, 2),
            Verdict { allowed: true, remaining: 0, retry_after_ns: 0, reset_after_ns: 10 * MS }
        );
    }

    #[test]
    fn an_allowance_looks_no_further_than_the_first_live_run() {
        let rate = rate(100, 10);
        let mut looked_at = 0;
        let runs = [(1, 3), (20, 2), (22, 2), (25, 1)].map(|(ms, cost)| Run { ms, cost });
        let verdict = decide(&rate, 8, runs.into_iter().inspect(|_| looked_at += 1), Some(25), 27 * MS, 1);
        assert_eq!((verdict.remaining, looked_at), (94, 2));
    }

    #[test]
    fn what_has_expired_is_forgotten() {
        let rate = rate(5, 10);
        assert_eq!(
            ask(&rate, &[(1, 5)], 11 * MS, 0),
            Verdict { allowed: true, remaining: 5, retry_after_ns: 0, reset_after_ns: 0 }
        );
        let runs = [(1, 2), (2, 1), (9, 2)].map(|(ms, cost)| Run { ms, cost });
        assert_eq!(live(&rate, 5, runs.into_iter(), 12 * MS), (2, 2));
        assert_eq!(live(&rate, 5, runs.into_iter(), 0), (0, 5));
    }

    #[test]
    fn what_is_carried_is_at_most_the_limit() {
        let rate = rate(5, 10);
        assert_eq!(carried(&rate, 9, MS + 1), Some(Run { ms: 2, cost: 5 }));
        assert_eq!(carried(&rate, 0, MS + 1), None);
    }
}
