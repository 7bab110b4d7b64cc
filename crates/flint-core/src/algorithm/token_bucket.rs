//! Token bucket: tokens come back continuously at `limit` per period, up to `burst`.
//!
//! The state is what has been used, in units of token x period in nanoseconds: a token is `per_ns` units, and `limit` units
//! come back each nanosecond. Both are whole numbers, so refill is exact whatever the two are, and does not depend on how
//! often the bucket is looked at. A valid rate keeps every product below 2^127 and every duration below 2^63.

use super::arithmetic::{div_ceil, div_floor};
use super::quota::{Quota, YEAR_MS};
use super::rules::{Numbers, OldEntry, Refusal, Rules};
use super::runs::RunArena;
use super::verdict::{NEVER, Verdict};

/// Longest time from empty to full: a hundred years of 365 days, milliseconds. In nanoseconds it fits in 63 bits, and so does
/// every duration that a decision reports.
const MAX_FILL_MS: u64 = 100 * YEAR_MS;

/// What has been used. The default is a full bucket. Packed, because a u128 would align every table entry to 16 bytes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[repr(C, packed(8))]
pub struct Bucket {
    /// Units of token x nanosecond of period, 0 to burst x period.
    pub used: u128,
    /// Engine time for which `used` is correct.
    pub at_ns: u64,
}

/// Units that `tokens` tokens are.
#[inline]
fn units(quota: &Quota, tokens: u64) -> u128 {
    u128::from(tokens) * u128::from(quota.per_ns())
}

/// `units` of a period of `from` nanoseconds in those of a period of `to`, rounded down. A period of zero has no tokens to
/// keep.
fn rescaled(units: u128, from: u64, to: u64) -> u128 {
    let (from, to) = (u128::from(from), u128::from(to));
    let Some(whole) = units.checked_div(from) else { return 0 };
    whole.saturating_mul(to).saturating_add(units % from * to / from)
}

impl Bucket {
    /// Units that are used at `now`.
    #[inline]
    pub fn used_at(&self, quota: &Quota, now: u64) -> u128 {
        let elapsed = now.saturating_sub(self.at_ns);
        let used = self.used;
        used.saturating_sub(u128::from(elapsed) * u128::from(quota.limit))
    }
}

impl Rules for Bucket {
    const NAME: &'static str = "token_bucket";
    const TAKES_BURST: bool = true;

    fn problem(quota: &Quota) -> Option<String> {
        let Quota { limit, per_ms, burst } = *quota;
        (u128::from(burst) * u128::from(per_ms) > u128::from(limit) * u128::from(MAX_FILL_MS)).then(|| {
            format!(
                "a burst of {burst} would take over 100 years to come back at {limit} per {per_ms} ms; lower the burst, \
                 shorten the period or raise the rate until burst x period / rate is at most 100 years of 365 days"
            )
        })
    }

    #[inline]
    fn carried(quota: &Quota, used_tokens: u64, now: u64, _: &mut RunArena) -> Self {
        Self { used: units(quota, used_tokens.min(quota.burst)), at_ns: now }
    }

    #[inline]
    fn decide(&self, quota: &Quota, _: &RunArena, now: u64, cost: u64) -> Verdict {
        let capacity = units(quota, quota.burst);
        let used = self.used_at(quota, now);
        let wanted = used.saturating_add(units(quota, cost));
        let allowed = cost == 0 || wanted <= capacity;
        let after = if allowed { wanted } else { used };
        let retry_after_ns = if allowed {
            0
        } else if cost > quota.burst {
            NEVER
        } else {
            div_ceil(wanted - capacity, quota.limit)
        };
        Verdict {
            allowed,
            remaining: div_floor(capacity.saturating_sub(after), quota.per_ns()),
            retry_after_ns,
            reset_after_ns: div_ceil(after, quota.limit),
        }
    }

    #[inline]
    fn consume(&mut self, quota: &Quota, runs: &mut RunArena, now: u64, cost: u64) {
        *self = Self { used: self.image_after(quota, runs, now, cost), at_ns: now };
    }

    fn earliest(&self, quota: &Quota, _: &RunArena, now: u64, total: u128) -> u64 {
        let wanted = total.saturating_mul(u128::from(quota.per_ns())).saturating_add(self.used_at(quota, now));
        div_ceil(wanted.saturating_sub(units(quota, quota.burst)), quota.limit)
    }

    fn used_tokens(&self, quota: &Quota, _: &RunArena, now: u64) -> u64 {
        div_ceil(self.used_at(quota, now), quota.per_ns())
    }

    /// The used amount; its time is the record's.
    #[inline]
    fn after_image(&self) -> u128 {
        self.used
    }

    #[inline]
    fn image_after(&self, quota: &Quota, _: &RunArena, now: u64, cost: u64) -> u128 {
        self.used_at(quota, now).saturating_add(units(quota, cost))
    }

    #[inline]
    fn replay(&mut self, _: &Quota, _: &mut RunArena, image: u128, now: u64, _: u64) -> Result<(), Refusal> {
        *self = Self { used: image, at_ns: now };
        Ok(())
    }

    fn remaining_after(quota: &Quota, image: u128) -> u64 {
        quota.burst.saturating_sub(div_ceil(image, quota.per_ns().max(1)))
    }

    /// The used amount and its time.
    fn export(&self, _: &RunArena, numbers: &mut Numbers) {
        numbers.extend([self.used, u128::from(self.at_ns)]);
    }

    fn accepts(numbers: &[u128]) -> bool {
        matches!(numbers, [_, at_ns] if u64::try_from(*at_ns).is_ok())
    }

    fn import(numbers: &[u128], _: &mut RunArena) -> Result<Self, Refusal> {
        match *numbers {
            [used, at_ns] => u64::try_from(at_ns).ok().map(|at_ns| Self { used, at_ns }),
            _ => None,
        }
        .ok_or("the state is not that of a token bucket")
    }

    fn replay_behind_gap(&mut self, _: &Quota, _: &mut RunArena, image: u128, now: u64, _: u64) -> bool {
        *self = Self { used: image, at_ns: now };
        true
    }

    fn bound(&mut self, quota: &Quota, _: &mut RunArena, now: u64) {
        let Self { used, at_ns } = *self;
        *self = Self { used: used.min(units(quota, quota.burst)), at_ns: at_ns.min(now) };
    }

    const OLD_TABLE: Option<&'static str> = Some("buckets");

    /// Old releases kept the tokens left, as a decimal number. What is missing from a full bucket is exact but for one
    /// rounding, upwards: of whole tokens there are as many as they counted.
    fn import_old(quota: &Quota, entry: &dyn OldEntry, _: &mut RunArena) -> Result<(Self, u64), String> {
        let left = entry.product("tokens", quota.per_ns())?;
        let at_ns = entry.time("last_refill")?;
        let capacity = units(quota, quota.burst);
        Ok((Self { used: capacity - left.min(capacity), at_ns }, at_ns))
    }

    /// Old releases counted in floating point: they may have allowed what is a fraction of a token short.
    fn consume_old(&mut self, quota: &Quota, runs: &mut RunArena, now: u64, cost: u64) {
        self.consume(quota, runs, now, cost);
        let used = self.used;
        self.used = used.min(units(quota, quota.burst));
    }

    /// A bucket kept its tokens, up to the new burst.
    fn redefine_old(&mut self, old: &Quota, new: &Quota, now: u64) {
        let left = units(old, old.burst).saturating_sub(self.used_at(old, now));
        let used = units(new, new.burst).saturating_sub(rescaled(left, old.per_ns(), new.per_ns()));
        *self = Self { used, at_ns: now.max(self.at_ns) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(limit: u64, per_ms: u64, burst: u64) -> Quota {
        Quota { limit, per_ms, burst }
    }

    fn decide(quota: &Quota, bucket: Bucket, now: u64, cost: u64) -> Verdict {
        bucket.decide(quota, &RunArena::new(), now, cost)
    }

    fn consumed(quota: &Quota, mut bucket: Bucket, now: u64, cost: u64) -> Bucket {
        bucket.consume(quota, &mut RunArena::new(), now, cost);
        bucket
    }

    fn used_tokens(quota: &Quota, bucket: Bucket, now: u64) -> u64 {
        bucket.used_tokens(quota, &RunArena::new(), now)
    }

    fn carried(quota: &Quota, used: u64, now: u64) -> Bucket {
        Bucket::carried(quota, used, now, &mut RunArena::new())
    }

    #[test]
    fn a_full_bucket_gives_its_burst_and_then_waits_for_whole_tokens() {
        // 3 tokens per 10 s: a token takes 3,333,333,333 1/3 ns.
        let quota = quota(3, 10_000, 5);
        let bucket = consumed(&quota, Bucket::default(), 0, 5);
        let denied = decide(&quota, bucket, 0, 1);
        assert_eq!(
            denied,
            Verdict { allowed: false, remaining: 0, retry_after_ns: 3_333_333_334, reset_after_ns: 16_666_666_667 }
        );
        assert!(!decide(&quota, bucket, 3_333_333_333, 1).allowed);
        assert!(decide(&quota, bucket, 3_333_333_334, 1).allowed);
        assert_eq!(decide(&quota, bucket, 10_000_000_000, 0).remaining, 3);
        assert_eq!(decide(&quota, bucket, 9_999_999_999, 0).remaining, 2);
        assert_eq!(decide(&quota, bucket, 16_666_666_667, 0).reset_after_ns, 0);
    }

    #[test]
    fn looking_often_gives_nothing_away() {
        let quota = quota(1, 7, 2);
        let mut bucket = consumed(&quota, Bucket::default(), 0, 2);
        for now in 1..7_000 {
            bucket = Bucket { used: bucket.used_at(&quota, now * 1000), at_ns: now * 1000 };
            assert!(!decide(&quota, bucket, now * 1000, 1).allowed, "at {now} us");
        }
        assert!(decide(&quota, bucket, 7_000_000, 1).allowed);
    }

    #[test]
    fn an_impossible_cost_is_never_allowed() {
        let verdict = decide(&quota(5, 1000, 5), Bucket::default(), 9, 6);
        assert_eq!(verdict, Verdict { allowed: false, remaining: 5, retry_after_ns: u64::MAX, reset_after_ns: 0 });
    }

    #[test]
    fn time_before_the_state_counts_as_none() {
        let quota = quota(5, 1000, 5);
        let bucket = consumed(&quota, Bucket::default(), 1_000_000_000, 2);
        assert_eq!(decide(&quota, bucket, 3, 0).remaining, 3);
        assert_eq!(used_tokens(&quota, bucket, 3), 2);
    }

    #[test]
    fn what_is_carried_is_at_most_the_capacity_and_rounds_up() {
        let quota = quota(5, 1000, 7);
        assert_eq!(used_tokens(&quota, carried(&quota, 100, 3), 3), 7);
        let bucket = carried(&quota, 6, 3);
        assert_eq!(decide(&quota, bucket, 3, 0).remaining, 1);
        assert_eq!(used_tokens(&quota, bucket, 4), 6);
        assert_eq!(used_tokens(&quota, bucket, 200_000_003), 5);
    }

    #[test]
    fn a_hundred_years_are_counted_to_the_nanosecond() {
        let quota = quota(1, MAX_FILL_MS / 10, 10);
        let bucket = consumed(&quota, Bucket::default(), 5, 10);
        let verdict = decide(&quota, bucket, 5, 10);
        assert_eq!(verdict.retry_after_ns, MAX_FILL_MS * 1_000_000);
        assert_eq!(verdict.reset_after_ns, MAX_FILL_MS * 1_000_000);
        assert!(!decide(&quota, bucket, 4 + verdict.retry_after_ns, 10).allowed);
        assert!(decide(&quota, bucket, 5 + verdict.retry_after_ns, 10).allowed);
    }

    #[test]
    fn a_bound_bucket_is_at_most_empty_and_not_of_the_future() {
        let quota = quota(5, 1000, 7);
        let mut bucket = Bucket { used: u128::MAX, at_ns: 99 };
        bucket.bound(&quota, &mut RunArena::new(), 10);
        assert_eq!(bucket, Bucket { used: 7_000_000_000, at_ns: 10 });
        assert_eq!(Bucket::remaining_after(&quota, 1), 6);
    }
}
