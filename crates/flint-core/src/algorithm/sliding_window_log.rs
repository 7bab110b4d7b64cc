//! Sliding window log: at most `limit` in any period, whenever it starts.
//!
//! The state is the sequence of consumptions, oldest first, those of one millisecond as one [`Run`], and the sum of their
//! costs. Expired runs are dropped when something is consumed. The time of a consumption is rounded up and now is rounded
//! down, so it counts for the period and up to a millisecond more, never less: rounding can deny a moment too long but never
//! admits too much.

use super::arithmetic::{NS_PER_MS, halves, saturated, whole};
use super::quota::Quota;
use super::rules::{Numbers, OldEntry, Refusal, Rules};
use super::run::Run;
use super::runs::{Iter, Queue, RunArena};
use super::verdict::{NEVER, Verdict};

/// Most runs that a log may come to hold: at most one per millisecond, and at most one per token.
const MAX_RUNS: u64 = 1_000_000;

/// The consumptions that still count, and expired ones before them. The default is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    queue: Queue,
}

impl Default for Log {
    fn default() -> Self {
        Self { queue: Queue::EMPTY }
    }
}

/// The millisecond under which a consumption at `ns` is kept.
#[inline]
pub const fn ceil_ms(ns: u64) -> u64 {
    ns.div_ceil(NS_PER_MS)
}

/// The millisecond that `ns` counts as when it is now.
#[inline]
const fn floor_ms(ns: u64) -> u64 {
    ns / NS_PER_MS
}

/// The newest millisecond whose runs no longer count at `now_ns`.
#[inline]
fn expired_until(quota: &Quota, now_ns: u64) -> Option<u64> {
    floor_ms(now_ns).checked_sub(quota.per_ms)
}

/// Nanoseconds from `now_ns` until the run of millisecond `run_ms` no longer counts: until [`expired_until`] reaches it.
#[inline]
fn expires_after_ns(quota: &Quota, run_ms: u64, now_ns: u64) -> u64 {
    let at_ns = (u128::from(run_ms) + u128::from(quota.per_ms)) * u128::from(NS_PER_MS);
    saturated(at_ns.saturating_sub(u128::from(now_ns)))
}

/// What a decision needs of the runs, expired ones included.
trait Past {
    /// The sum of all costs.
    fn total(&self) -> u64;

    fn newest_ms(&self) -> Option<u64>;

    /// The sum of the costs of the runs whose millisecond is `ms` or before.
    fn cost_until(&self, ms: u64) -> u64;

    /// The millisecond of the run with which the costs, added up from the oldest on, reach `cost`.
    fn reaches(&self, cost: u64) -> Option<u64>;
}

/// At most one run.
impl Past for Option<Run> {
    fn total(&self) -> u64 {
        self.map_or(0, |run| run.cost)
    }

    fn newest_ms(&self) -> Option<u64> {
        self.map(|run| run.ms)
    }

    fn cost_until(&self, ms: u64) -> u64 {
        self.filter(|run| run.ms <= ms).total()
    }

    fn reaches(&self, cost: u64) -> Option<u64> {
        self.filter(|run| run.cost >= cost).newest_ms()
    }
}

/// A queue and its arena.
impl Past for (&Queue, &RunArena) {
    #[inline]
    fn total(&self) -> u64 {
        self.0.total
    }

    #[inline]
    fn newest_ms(&self) -> Option<u64> {
        self.1.newest_ms(self.0)
    }

    #[inline]
    fn cost_until(&self, ms: u64) -> u64 {
        self.1.cost_until(self.0, ms)
    }

    fn reaches(&self, cost: u64) -> Option<u64> {
        self.1.reaches(self.0, cost)
    }
}

/// The decision on `cost` at `now`.
#[inline]
fn decide(quota: &Quota, past: &impl Past, now: u64, cost: u64) -> Verdict {
    let expired = expired_until(quota, now).map_or(0, |ms| past.cost_until(ms));
    let newest = past.newest_ms();
    let reset_after = |newest_ms: Option<u64>| newest_ms.map_or(0, |ms| expires_after_ns(quota, ms, now));
    let available = quota.limit.saturating_sub(past.total() - expired);
    if cost <= available {
        let newest = if cost > 0 { newest.max(Some(ceil_ms(now))) } else { newest };
        return Verdict {
            allowed: true,
            remaining: available - cost,
            retry_after_ns: 0,
            reset_after_ns: reset_after(newest),
        };
    }
    let retry_after_ns = if cost > quota.limit {
        NEVER
    } else {
        reset_after(past.reaches(expired.saturating_add(cost - available)).or(newest))
    };
    Verdict { allowed: false, remaining: available, retry_after_ns, reset_after_ns: reset_after(newest) }
}

impl Log {
    /// The runs, oldest first.
    pub fn runs<'a>(&self, runs: &'a RunArena) -> Iter<'a> {
        runs.iter(&self.queue)
    }

    /// Drops the runs that have expired at `now`.
    #[inline]
    fn drop_expired(&mut self, quota: &Quota, runs: &mut RunArena, now: u64) {
        if let Some(until) = expired_until(quota, now) {
            runs.drop_while(&mut self.queue, |ms, _| ms <= until);
        }
    }

    /// Drops the oldest runs as long as the total stays at least `least`.
    fn drop_down_to(&mut self, least: u64, runs: &mut RunArena) {
        let surplus = self.queue.total.saturating_sub(least);
        runs.drop_while(&mut self.queue, |_, total| total <= surplus);
    }
}

impl Rules for Log {
    const NAME: &'static str = "sliding_window_log";

    fn problem(quota: &Quota) -> Option<String> {
        let Quota { limit, per_ms, .. } = *quota;
        quota.burst_problem(Self::NAME).or_else(|| {
            let most = limit.min(per_ms);
            (most > MAX_RUNS).then(|| {
                format!(
                    "sliding_window_log would keep up to {most} entries for {limit} per {per_ms} ms; the rate or the period \
                     in milliseconds must be at most {MAX_RUNS}; use fixed_window_counter or token_bucket for more"
                )
            })
        })
    }

    #[inline]
    fn carried(quota: &Quota, used_tokens: u64, now: u64, runs: &mut RunArena) -> Self {
        let mut queue = Queue::EMPTY;
        runs.push(&mut queue, ceil_ms(now), used_tokens.min(quota.limit));
        Self { queue }
    }

    /// An arena allocates a whole chunk for its first run, which no decision should cost.
    fn decide_carried(quota: &Quota, used_tokens: u64, now: u64, cost: u64) -> Verdict {
        let used = used_tokens.min(quota.limit);
        let run = (used > 0).then(|| Run { ms: ceil_ms(now), cost: used });
        decide(quota, &run, now, cost)
    }

    #[inline]
    fn decide(&self, quota: &Quota, runs: &RunArena, now: u64, cost: u64) -> Verdict {
        decide(quota, &(&self.queue, runs), now, cost)
    }

    #[inline]
    fn consume(&mut self, quota: &Quota, runs: &mut RunArena, now: u64, cost: u64) {
        self.drop_expired(quota, runs, now);
        runs.push(&mut self.queue, ceil_ms(now), cost);
    }

    fn earliest(&self, quota: &Quota, runs: &RunArena, now: u64, total: u128) -> u64 {
        let used = self.used_tokens(quota, runs, now);
        let free = quota.limit.saturating_sub(used);
        let rest = total.saturating_sub(u128::from(free));
        if rest == 0 || quota.limit == 0 {
            return 0;
        }
        // Each token comes back a period after it was taken, and is taken at once: so many whole rounds, and a part of one.
        let limit = u128::from(quota.limit);
        let rounds = u64::try_from((rest - 1) / limit).unwrap_or(u64::MAX);
        let part = u64::try_from((rest - 1) % limit).map_or(quota.limit, |part| part + 1);
        let of_part =
            if part > used { quota.per_ns() } else { self.decide(quota, runs, now, free + part).retry_after_ns };
        of_part.saturating_add(rounds.saturating_mul(quota.per_ns()))
    }

    fn used_tokens(&self, quota: &Quota, runs: &RunArena, now: u64) -> u64 {
        self.queue.total - expired_until(quota, now).map_or(0, |ms| runs.cost_until(&self.queue, ms))
    }

    fn copy(&self, from: &RunArena, into: &mut RunArena) -> (Self, usize) {
        let (queue, work) = from.copy(&self.queue, into);
        (Self { queue }, work)
    }

    fn move_down(&mut self, runs: &mut RunArena) {
        runs.move_down(&mut self.queue);
    }

    fn free(&mut self, runs: &mut RunArena) {
        runs.clear(&mut self.queue);
    }

    /// The total, which only verifies what time and cost of the record lead to.
    #[inline]
    fn after_image(&self) -> u128 {
        whole([self.queue.total, 0])
    }

    #[inline]
    fn image_after(&self, quota: &Quota, runs: &RunArena, now: u64, cost: u64) -> u128 {
        whole([self.used_tokens(quota, runs, now).saturating_add(cost), 0])
    }

    /// See `decide_carried`. What is carried counts as used at `now`.
    fn image_after_carried(quota: &Quota, used_tokens: u64, _: u64, cost: u64) -> u128 {
        whole([used_tokens.min(quota.limit).saturating_add(cost), 0])
    }

    fn replay(&mut self, quota: &Quota, runs: &mut RunArena, image: u128, now: u64, cost: u64) -> Result<(), Refusal> {
        // What has expired no longer adds to the total: the next consumption may take the whole limit again.
        self.drop_expired(quota, runs, now);
        self.queue.total.checked_add(cost).ok_or("a sliding log's total overflows")?;
        runs.push(&mut self.queue, ceil_ms(now), cost);
        if image == self.after_image() { Ok(()) } else { Err("a sliding log's total differs from the record's") }
    }

    fn remaining_after(quota: &Quota, image: u128) -> u64 {
        let [total, _] = halves(image);
        quota.limit.saturating_sub(total)
    }

    /// Millisecond and cost of each run, oldest first.
    fn export(&self, runs: &RunArena, numbers: &mut Numbers) {
        numbers.extend(self.runs(runs).flat_map(|run| [run.ms, run.cost]).map(u128::from));
    }

    /// Expired runs go with the next consumption, which adds one.
    #[expect(clippy::cast_possible_truncation, reason = "a few million")]
    const MAX_NUMBERS: usize = 2 * (MAX_RUNS as usize + 1);

    fn accepts(numbers: &[u128]) -> bool {
        numbers.len().is_multiple_of(2) && numbers.iter().all(|&number| u64::try_from(number).is_ok())
    }

    fn import(numbers: &[u128], runs: &mut RunArena) -> Result<Self, Refusal> {
        if !Self::accepts(numbers) {
            return Err("the state is not that of a sliding log");
        }
        let mut queue = Queue::EMPTY;
        for &[ms, cost] in numbers.as_chunks().0 {
            let (ms, cost) = (saturated(ms), saturated(cost));
            let refusal = if runs.newest_ms(&queue).is_some_and(|newest| newest >= ms) || cost == 0 {
                "the runs of a sliding log are not in order"
            } else if queue.total.checked_add(cost).is_none() {
                "a sliding log's total overflows"
            } else {
                runs.push(&mut queue, ms, cost);
                continue;
            };
            runs.clear(&mut queue);
            return Err(refusal);
        }
        Ok(Self { queue })
    }

    /// A record adds to the runs before it, so that nothing it says makes them exact again.
    fn replay_behind_gap(&mut self, quota: &Quota, runs: &mut RunArena, image: u128, now: u64, cost: u64) -> bool {
        let [total, _] = halves(image);
        self.drop_expired(quota, runs, now);
        runs.push(&mut self.queue, ceil_ms(now), cost);
        // What a missing record took counts from now on: longer than it should, never shorter.
        let missing = total.saturating_sub(self.queue.total);
        runs.push(&mut self.queue, ceil_ms(now), missing);
        // A missing reset gave back what came before it.
        self.drop_down_to(total, runs);
        false
    }

    fn bound(&mut self, quota: &Quota, runs: &mut RunArena, now: u64) {
        let newest = ceil_ms(now);
        let until = expired_until(quota, now);
        let live = self.runs(runs).filter(|run| until.is_none_or(|until| run.ms > until));
        let mut kept: Vec<Run> = live.map(|run| Run { ms: run.ms.min(newest), ..run }).collect();
        runs.clear(&mut self.queue);
        // More than the limit is left by a redefinition or a damaged line. The oldest make no difference: when they expire,
        // those that follow still fill the limit.
        let mut room = quota.limit;
        for run in kept.iter_mut().rev() {
            run.cost = run.cost.min(room);
            room -= run.cost;
        }
        for run in kept {
            runs.push(&mut self.queue, run.ms, run.cost);
        }
    }

    const OLD_TABLE: Option<&'static str> = Some("sliding_windows");

    fn import_old(_: &Quota, entry: &dyn OldEntry, runs: &mut RunArena) -> Result<(Self, u64), String> {
        let (mut log, mut newest_ns) = (Self::default(), 0);
        for at_ns in entry.times()? {
            newest_ns = at_ns.max(newest_ns);
            runs.push(&mut log.queue, ceil_ms(at_ns), 1);
        }
        Ok((log, newest_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = NS_PER_MS;

    fn quota(limit: u64, per_ms: u64) -> Quota {
        Quota { limit, per_ms, burst: limit }
    }

    /// A log of these runs: millisecond and cost.
    fn log(list: &[(u64, u64)]) -> (Log, RunArena) {
        let mut runs = RunArena::new();
        let numbers: Numbers = list.iter().flat_map(|&(ms, cost)| [ms, cost]).map(u128::from).collect();
        (Log::import(&numbers, &mut runs).unwrap(), runs)
    }

    fn ask(quota: &Quota, list: &[(u64, u64)], now: u64, cost: u64) -> Verdict {
        let (log, runs) = log(list);
        Rules::decide(&log, quota, &runs, now, cost)
    }

    fn is_expired(quota: &Quota, run_ms: u64, now: u64) -> bool {
        expired_until(quota, now).is_some_and(|until| run_ms <= until)
    }

    fn list(log: &Log, runs: &RunArena) -> Vec<(u64, u64)> {
        log.runs(runs).map(|run| (run.ms, run.cost)).collect()
    }

    #[test]
    fn a_run_counts_until_its_millisecond_is_a_period_ago() {
        let quota = quota(5, 10);
        assert!(!is_expired(&quota, 3, 13 * MS - 1));
        assert!(is_expired(&quota, 3, 13 * MS));
        assert!(!is_expired(&quota, 3, 0));
        assert_eq!((ceil_ms(0), ceil_ms(1), ceil_ms(MS), ceil_ms(MS + 1)), (0, 1, 1, 2));
        assert_eq!((floor_ms(MS - 1), floor_ms(MS)), (0, 1));
    }

    #[test]
    fn a_denial_waits_for_as_many_runs_as_the_cost_needs() {
        let quota = quota(5, 10);
        let runs = [(1, 9), (20, 2), (22, 2), (25, 1)];
        let now = 27 * MS + 7;
        let of = |cost| ask(&quota, &runs, now, cost);
        assert_eq!(of(0), Verdict { allowed: true, remaining: 0, retry_after_ns: 0, reset_after_ns: 8 * MS - 7 });
        let waits: Vec<_> = (1..=6).map(|cost| of(cost).retry_after_ns).collect();
        assert_eq!(waits, [3 * MS - 7, 3 * MS - 7, 5 * MS - 7, 5 * MS - 7, 8 * MS - 7, u64::MAX]);
        assert!(!ask(&quota, &runs, 30 * MS - 1, 2).allowed);
        assert_eq!(
            ask(&quota, &runs, 30 * MS, 2),
            Verdict { allowed: true, remaining: 0, retry_after_ns: 0, reset_after_ns: 10 * MS }
        );
    }

    #[cfg(feature = "testing")]
    #[test]
    fn a_decision_reads_few_runs_of_however_many() {
        let quota = quota(1_000_000, 1_000_000);
        let all: Vec<(u64, u64)> = (1..=1_000_000).map(|ms| (ms, 1)).collect();
        let (full, mut runs) = log(&all);
        let after = |cost: u64, now: u64, runs: &RunArena| {
            let before = runs.visited();
            let verdict = Rules::decide(&full, &quota, runs, now * MS, cost);
            assert!(runs.visited() - before < 200, "{} runs", runs.visited() - before);
            verdict
        };
        // Half of them have expired.
        assert_eq!(after(0, 1_500_000, &runs).remaining, 500_000);
        assert_eq!(after(500_001, 1_500_000, &runs).retry_after_ns, MS);
        assert_eq!(after(1_000_000, 1_500_000, &runs).retry_after_ns, 500_000 * MS);
        let (before, mut full) = (runs.visited(), full);
        assert_eq!(full.used_tokens(&quota, &runs, 1_500_000 * MS), 500_000);
        full.consume(&quota, &mut runs, 1_500_000 * MS, 7);
        let mut other = RunArena::new();
        assert_eq!(Rules::copy(&full, &runs, &mut other).0.used_tokens(&quota, &other, 1_500_000 * MS), 500_007);
        full.free(&mut runs);
        assert!(runs.visited() - before < 5_000, "{} runs and blocks", runs.visited() - before);
    }

    #[test]
    fn what_has_expired_is_forgotten() {
        let quota = quota(5, 10);
        assert_eq!(
            ask(&quota, &[(1, 5)], 11 * MS, 0),
            Verdict { allowed: true, remaining: 5, retry_after_ns: 0, reset_after_ns: 0 }
        );
        let (mut log, mut runs) = log(&[(1, 2), (2, 1), (9, 2)]);
        assert_eq!((log.used_tokens(&quota, &runs, 12 * MS), log.used_tokens(&quota, &runs, 0)), (2, 5));
        log.consume(&quota, &mut runs, 12 * MS, 1);
        assert_eq!(list(&log, &runs), [(9, 2), (12, 1)]);
    }

    #[test]
    fn what_is_carried_is_at_most_the_limit() {
        let (quota, mut runs) = (quota(5, 10), RunArena::new());
        let carried = Log::carried(&quota, 9, MS + 1, &mut runs);
        assert_eq!(list(&carried, &runs), [(2, 5)]);
        assert_eq!(Log::carried(&quota, 0, MS + 1, &mut runs), Log::default());
    }

    #[test]
    fn what_missing_records_took_counts_from_the_next_record_on() {
        let quota = quota(100, 10);
        let (mut behind, mut runs) = log(&[(1, 2), (8, 3)]);
        // The record says 9 after it took 1: the 3 of a missing record make up the difference.
        assert!(!behind.replay_behind_gap(&quota, &mut runs, 9, 9 * MS, 1));
        assert_eq!(list(&behind, &runs), [(1, 2), (8, 3), (9, 4)]);
        // It says 1 after it took 1: a missing reset gave back all that was before.
        behind.replay_behind_gap(&quota, &mut runs, 1, 10 * MS, 1);
        assert_eq!(list(&behind, &runs), [(10, 1)]);
    }

    #[test]
    fn a_bound_log_holds_the_limit_at_most_and_nothing_of_the_future() {
        let quota = quota(5, 10);
        let (mut bound, mut runs) = log(&[(1, 9), (13, 2), (14, 3), (15, 1), (99, 1)]);
        bound.bound(&quota, &mut runs, 15 * MS);
        assert_eq!(list(&bound, &runs), [(14, 3), (15, 2)]);
    }
}
