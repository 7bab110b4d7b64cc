//! One rate with its state.

use crate::algorithm::{AfterImage, Numbers, Refusal, RunArena, State, Verdict};
use crate::limit::Rate;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Cell {
    rate: Rate,
    state: State,
}

impl Cell {
    /// A rate of which `used` tokens are used.
    pub(crate) fn carried(rate: Rate, used: u64, now: u64, runs: &mut RunArena) -> Self {
        Self { rate, state: State::carried(rate.algorithm(), rate.quota(), used, now, runs) }
    }

    pub(crate) const fn rate(&self) -> &Rate {
        &self.rate
    }

    /// The decision on `cost`; 0 only looks.
    #[inline]
    pub(crate) fn decide(&self, runs: &RunArena, now: u64, cost: u64) -> Verdict {
        self.state.decide(self.rate.quota(), runs, now, cost)
    }

    /// Nanoseconds from `now` until calls that ask for `total` in all can have been allowed, at the earliest.
    pub(crate) fn earliest(&self, runs: &RunArena, total: u128, now: u64) -> u64 {
        self.state.earliest(self.rate.quota(), runs, now, total)
    }

    /// Takes `cost`, which `decide` allowed at the same `now`.
    #[inline]
    pub(crate) fn consume(&mut self, runs: &mut RunArena, now: u64, cost: u64) {
        self.state.consume(self.rate.quota(), runs, now, cost);
    }

    /// What the log's record holds of the state once `cost` is consumed.
    #[inline]
    pub(crate) fn image_after(&self, runs: &RunArena, now: u64, cost: u64) -> AfterImage {
        self.state.image_after(self.rate.quota(), runs, now, cost)
    }

    /// Replays an allowed check: sets the state that the record holds.
    #[inline]
    pub(crate) fn replay(
        &mut self,
        runs: &mut RunArena,
        image: AfterImage,
        now: u64,
        cost: u64,
    ) -> Result<(), Refusal> {
        self.state.replay(self.rate.quota(), runs, image, now, cost)
    }

    /// Replays an allowed check where records before it may be missing. Returns whether the state is exact again.
    pub(crate) fn replay_behind_gap(&mut self, runs: &mut RunArena, image: AfterImage, now: u64, cost: u64) -> bool {
        self.state.replay_behind_gap(self.rate.quota(), runs, image, now, cost)
    }

    /// Makes the state one that the rate could have reached by `now`, with no more quota than before.
    pub(crate) fn bound(&mut self, runs: &mut RunArena, now: u64) {
        self.state.bound(self.rate.quota(), runs, now);
    }

    /// Tokens that are used, rounded up.
    pub(crate) fn used_tokens(&self, runs: &RunArena, now: u64) -> u64 {
        self.state.used_tokens(self.rate.quota(), runs, now)
    }

    /// Releases what the state holds outside the cell.
    pub(crate) fn free(&mut self, runs: &mut RunArena) {
        self.state.free(runs);
    }

    /// A copy whose runs are in another arena, and how many runs and blocks of runs that took.
    pub(crate) fn copy(&self, from: &RunArena, into: &mut RunArena) -> (Self, usize) {
        let (state, work) = self.state.copy(from, into);
        (Self { state, ..*self }, work)
    }

    /// Moves what the state holds outside the cell away from the end of the arena, if that makes it shorter.
    pub(crate) fn move_down(&mut self, runs: &mut RunArena) {
        self.state.move_down(runs);
    }

    /// Appends the state as plain numbers.
    pub(crate) fn export(&self, runs: &RunArena, numbers: &mut Numbers) {
        self.state.export(runs, numbers);
    }

    /// The inverse of `export`; fails when rate and state do not belong together.
    pub(crate) fn import(rate: Rate, numbers: &[u128], runs: &mut RunArena) -> Result<Self, Refusal> {
        Ok(Self { rate, state: State::import(rate.algorithm(), numbers, runs)? })
    }
}
