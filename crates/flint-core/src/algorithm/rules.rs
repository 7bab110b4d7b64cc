//! What an algorithm has to define.

use super::quota::Quota;
use super::runs::RunArena;
use super::verdict::Verdict;

/// The state of one rate as plain numbers: what a snapshot lists for it. Each algorithm defines how many there are and what
/// they mean.
pub type Numbers = Vec<u128>;

/// Why a state cannot be used.
pub type Refusal = &'static str;

/// One algorithm, implemented by its state: fixed-size plain data, of which anything of variable length lives in the arena.
///
/// Every method is a pure function of its arguments. Times are engine nanoseconds; a time before the state's own counts as
/// no time passed. A cost is 0 (to look: always allowed) or at most the capacity. No input panics, not even a quota that is
/// out of bounds; for a valid one every figure is exact.
pub trait Rules: Copy {
    /// The name that users write and snapshots hold.
    const NAME: &'static str;
    /// Whether a rate may have a burst other than its limit. If so, the burst is the capacity.
    const TAKES_BURST: bool = false;

    /// What makes these numbers unusable for this algorithm, beyond what is refused for all.
    fn problem(quota: &Quota) -> Option<String>;

    /// The first state of a rate of which `used_tokens` are used, at most the capacity.
    fn carried(quota: &Quota, used_tokens: u64, now: u64, runs: &mut RunArena) -> Self;

    /// The decision that a rate of which `used_tokens` are used makes on `cost`, without a state of it.
    fn decide_carried(quota: &Quota, used_tokens: u64, now: u64, cost: u64) -> Verdict {
        let mut runs = RunArena::new();
        Self::carried(quota, used_tokens, now, &mut runs).decide(quota, &runs, now, cost)
    }

    /// The decision on `cost` at `now`.
    fn decide(&self, quota: &Quota, runs: &RunArena, now: u64, cost: u64) -> Verdict;

    /// Takes `cost`, which `decide` allowed at the same `now`.
    fn consume(&mut self, quota: &Quota, runs: &mut RunArena, now: u64, cost: u64);

    /// Nanoseconds from `now` until calls that ask for `total` in all can have been allowed one after the other, if nothing else is
    /// taken: never more than it takes, and less only where no call takes the rest of what is there.
    fn earliest(&self, quota: &Quota, runs: &RunArena, now: u64, total: u128) -> u64;

    /// Tokens that are used at `now`, a started one counted whole.
    fn used_tokens(&self, quota: &Quota, runs: &RunArena, now: u64) -> u64;

    /// Releases what the state holds in the arena.
    fn free(&mut self, _runs: &mut RunArena) {}

    /// A copy whose runs are in another arena, and how many runs and blocks of runs that took.
    fn copy(&self, _from: &RunArena, _into: &mut RunArena) -> (Self, usize) {
        (*self, 0)
    }

    /// Moves what the state holds in the arena away from the arena's end, if that makes the arena shorter.
    fn move_down(&mut self, _runs: &mut RunArena) {}

    /// What a log record holds of the state right after `consume`: 128 bits.
    fn after_image(&self) -> u128;

    /// What [`Self::after_image`] will be once `cost` is consumed at `now`.
    fn image_after(&self, quota: &Quota, runs: &RunArena, now: u64, cost: u64) -> u128;

    /// The same for a rate of which `used_tokens` are used, without a state of it.
    fn image_after_carried(quota: &Quota, used_tokens: u64, now: u64, cost: u64) -> u128 {
        let mut runs = RunArena::new();
        Self::carried(quota, used_tokens, now, &mut runs).image_after(quota, &runs, now, cost)
    }

    /// Replays the consumption of `cost` at `now`, after which the state was `image`.
    ///
    /// # Errors
    /// The state before does not lead to that image.
    fn replay(&mut self, quota: &Quota, runs: &mut RunArena, image: u128, now: u64, cost: u64) -> Result<(), Refusal>;

    /// Whole tokens left in the state that `image` describes, at the moment of its record.
    fn remaining_after(quota: &Quota, image: u128) -> u64;

    /// Appends the state as plain numbers.
    fn export(&self, runs: &RunArena, numbers: &mut Numbers);

    /// The most numbers that `export` produces for a rate within its bounds.
    const MAX_NUMBERS: usize = 2;

    /// Whether `export` could have produced as many numbers of this size.
    fn accepts(numbers: &[u128]) -> bool;

    /// The inverse of `export`.
    ///
    /// # Errors
    /// No state has these numbers; nothing is left in the arena then.
    fn import(numbers: &[u128], runs: &mut RunArena) -> Result<Self, Refusal>;

    /// Replays a consumption where records before it may be missing. What a missing record took counts as used. Returns
    /// whether the record alone says the whole state, so that it is exact again.
    fn replay_behind_gap(&mut self, quota: &Quota, runs: &mut RunArena, image: u128, now: u64, cost: u64) -> bool;

    /// Makes the state one that the rate could have reached by `now`, so that a line that nothing verifies, or the state of
    /// another limit, cannot deny or allow for centuries. Never more quota than before.
    fn bound(&mut self, quota: &Quota, runs: &mut RunArena, now: u64);

    /// The table of this algorithm's states in snapshots of releases 0.1 and 0.2; `None` if they did not have it.
    const OLD_TABLE: Option<&'static str> = None;

    /// A state of that table, and the newest time in it.
    ///
    /// # Errors
    /// The entry is not one that those releases wrote.
    fn import_old(_quota: &Quota, _entry: &dyn OldEntry, _runs: &mut RunArena) -> Result<(Self, u64), String> {
        Err("releases 0.1 and 0.2 did not have its algorithm".to_owned())
    }

    /// Takes what releases 0.1 and 0.2 allowed, whatever today's arithmetic says of it.
    fn consume_old(&mut self, quota: &Quota, runs: &mut RunArena, now: u64, cost: u64) {
        self.consume(quota, runs, now, cost);
    }

    /// What those releases kept of the state when the numbers of a rate changed and its algorithm did not.
    fn redefine_old(&mut self, _old: &Quota, _new: &Quota, _now: u64) {}
}

/// An entry of an old release's snapshot.
pub trait OldEntry {
    /// The whole part of the decimal number `field`, times `by`: 0 for a negative one, saturated for a huge one.
    ///
    /// # Errors
    /// No such number.
    fn product(&self, field: &str, by: u64) -> Result<u128, String>;

    /// The whole number `field`.
    ///
    /// # Errors
    /// No such number.
    fn number(&self, field: &str) -> Result<u64, String>;

    /// The time `field`, nanoseconds since the Unix epoch.
    ///
    /// # Errors
    /// No such time.
    fn time(&self, field: &str) -> Result<u64, String>;

    /// The entry as a list of times.
    ///
    /// # Errors
    /// It is anything else.
    fn times(&self) -> Result<Vec<u64>, String>;
}
