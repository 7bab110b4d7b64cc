//! Fixed window counter: a window opens at the first consumption and takes up to `limit` until it ends, a period later.

use super::arithmetic::{div_ceil, halves, whole};
use super::quota::Quota;
use super::rules::{Numbers, OldEntry, Refusal, Rules};
use super::runs::RunArena;
use super::verdict::{NEVER, Verdict};

/// The window [`start_ns`, `start_ns` + period) and what was consumed in it. The default is no window.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Engine time of the first consumption.
    pub start_ns: u64,
    /// Sum of the costs; 0 means that no window is open.
    pub used: u64,
}

impl Window {
    /// What is used and how much of the window is left; both 0 when no window is open at `now`.
    #[inline]
    fn at(self, quota: &Quota, now: u64) -> (u64, u64) {
        let left = quota.per_ns().saturating_sub(now.saturating_sub(self.start_ns));
        if self.used == 0 || left == 0 { (0, 0) } else { (self.used, left) }
    }

    /// The window once `cost` is consumed at `now`.
    #[inline]
    fn after(self, quota: &Quota, now: u64, cost: u64) -> Self {
        match self.at(quota, now) {
            (0, _) => Self { start_ns: now, used: cost },
            (used, _) => Self { start_ns: self.start_ns, used: used.saturating_add(cost) },
        }
    }
}

impl Rules for Window {
    const NAME: &'static str = "fixed_window_counter";

    fn problem(quota: &Quota) -> Option<String> {
        quota.burst_problem(Self::NAME)
    }

    #[inline]
    fn carried(quota: &Quota, used_tokens: u64, now: u64, _: &mut RunArena) -> Self {
        Self { start_ns: now, used: used_tokens.min(quota.limit) }
    }

    #[inline]
    fn decide(&self, quota: &Quota, _: &RunArena, now: u64, cost: u64) -> Verdict {
        let (used, left) = self.at(quota, now);
        let available = quota.limit.saturating_sub(used);
        if cost > available {
            let retry_after_ns = if cost > quota.limit { NEVER } else { left };
            return Verdict { allowed: false, remaining: available, retry_after_ns, reset_after_ns: left };
        }
        let opens = used == 0 && cost > 0;
        Verdict {
            allowed: true,
            remaining: available - cost,
            retry_after_ns: 0,
            reset_after_ns: if opens { quota.per_ns() } else { left },
        }
    }

    #[inline]
    fn consume(&mut self, quota: &Quota, _: &mut RunArena, now: u64, cost: u64) {
        *self = self.after(quota, now, cost);
    }

    fn earliest(&self, quota: &Quota, _: &RunArena, now: u64, total: u128) -> u64 {
        let (used, left) = self.at(quota, now);
        let rest = total.saturating_sub(u128::from(quota.limit.saturating_sub(used)));
        if rest == 0 {
            return 0;
        }
        // Without a window one opens now, for what is left of this sum.
        let first_ends = if used == 0 { quota.per_ns() } else { left };
        let windows = div_ceil(rest, quota.limit);
        first_ends.saturating_add((windows - 1).saturating_mul(quota.per_ns()))
    }

    fn used_tokens(&self, quota: &Quota, _: &RunArena, now: u64) -> u64 {
        self.at(quota, now).0
    }

    /// The window's start, then what is used.
    #[inline]
    fn after_image(&self) -> u128 {
        whole([self.start_ns, self.used])
    }

    #[inline]
    fn image_after(&self, quota: &Quota, _: &RunArena, now: u64, cost: u64) -> u128 {
        self.after(quota, now, cost).after_image()
    }

    #[inline]
    fn replay(&mut self, _: &Quota, _: &mut RunArena, image: u128, _: u64, _: u64) -> Result<(), Refusal> {
        let [start_ns, used] = halves(image);
        *self = Self { start_ns, used };
        Ok(())
    }

    fn remaining_after(quota: &Quota, image: u128) -> u64 {
        let [_, used] = halves(image);
        quota.limit.saturating_sub(used)
    }

    /// The window's start and what is used.
    fn export(&self, _: &RunArena, numbers: &mut Numbers) {
        numbers.extend([self.start_ns, self.used].map(u128::from));
    }

    fn accepts(numbers: &[u128]) -> bool {
        numbers.len() == 2 && numbers.iter().all(|&number| u64::try_from(number).is_ok())
    }

    fn import(numbers: &[u128], _: &mut RunArena) -> Result<Self, Refusal> {
        let &[start_ns, used] = numbers else { return Err("the state is not that of a fixed window") };
        match (u64::try_from(start_ns), u64::try_from(used)) {
            (Ok(start_ns), Ok(used)) => Ok(Self { start_ns, used }),
            _ => Err("a fixed window's number is over 64 bits"),
        }
    }

    fn replay_behind_gap(&mut self, _: &Quota, _: &mut RunArena, image: u128, _: u64, _: u64) -> bool {
        let [start_ns, used] = halves(image);
        *self = Self { start_ns, used };
        true
    }

    fn bound(&mut self, quota: &Quota, _: &mut RunArena, now: u64) {
        *self = Self { start_ns: self.start_ns.min(now), used: self.used.min(quota.limit) };
    }

    const OLD_TABLE: Option<&'static str> = Some("fixed_windows");

    fn import_old(_: &Quota, entry: &dyn OldEntry, _: &mut RunArena) -> Result<(Self, u64), String> {
        let start_ns = entry.time("window_start")?;
        Ok((Self { start_ns, used: entry.number("count")? }, start_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn quota(limit: u64) -> Quota {
        Quota { limit, per_ms: 1000, burst: limit }
    }

    fn decide(quota: &Quota, window: Window, now: u64, cost: u64) -> Verdict {
        window.decide(quota, &RunArena::new(), now, cost)
    }

    fn consumed(quota: &Quota, mut window: Window, now: u64, cost: u64) -> Window {
        window.consume(quota, &mut RunArena::new(), now, cost);
        window
    }

    #[test]
    fn the_window_starts_at_the_first_consumption_and_ends_a_period_later() {
        let quota = quota(3);
        let window = consumed(&quota, Window::default(), 700, 2);
        assert_eq!(
            decide(&quota, window, 900, 1),
            Verdict { allowed: true, remaining: 0, retry_after_ns: 0, reset_after_ns: SECOND - 200 }
        );
        assert_eq!(
            decide(&quota, window, 900, 2),
            Verdict { allowed: false, remaining: 1, retry_after_ns: SECOND - 200, reset_after_ns: SECOND - 200 }
        );
        assert!(!decide(&quota, window, 699 + SECOND, 2).allowed);
        assert_eq!(
            decide(&quota, window, 700 + SECOND, 2),
            Verdict { allowed: true, remaining: 1, retry_after_ns: 0, reset_after_ns: SECOND }
        );
        assert_eq!(consumed(&quota, window, 700 + SECOND, 2), Window { start_ns: 700 + SECOND, used: 2 });
    }

    #[test]
    fn an_untouched_limit_is_whole_and_opens_no_window() {
        let verdict = decide(&quota(3), Window::default(), 5, 0);
        assert_eq!(verdict, Verdict { allowed: true, remaining: 3, retry_after_ns: 0, reset_after_ns: 0 });
    }

    #[test]
    fn an_impossible_cost_is_never_allowed() {
        let verdict = decide(&quota(5), Window::default(), 9, 6);
        assert_eq!(verdict, Verdict { allowed: false, remaining: 5, retry_after_ns: u64::MAX, reset_after_ns: 0 });
    }

    #[test]
    fn time_before_the_state_counts_as_none() {
        let window = Window { start_ns: 5 * SECOND, used: 3 };
        let verdict = decide(&quota(3), window, 7, 1);
        assert_eq!(verdict, Verdict { allowed: false, remaining: 0, retry_after_ns: SECOND, reset_after_ns: SECOND });
    }

    #[test]
    fn what_is_carried_is_at_most_the_limit_for_a_whole_period() {
        let (quota, mut runs) = (quota(5), RunArena::new());
        let window = Window::carried(&quota, 9, 100, &mut runs);
        assert_eq!(window, Window { start_ns: 100, used: 5 });
        assert_eq!(window.used_tokens(&quota, &runs, 99 + SECOND), 5);
        assert_eq!(window.used_tokens(&quota, &runs, 100 + SECOND), 0);
        assert_eq!(decide(&quota, Window::carried(&quota, 0, 100, &mut runs), 200, 0).reset_after_ns, 0);
    }
}
