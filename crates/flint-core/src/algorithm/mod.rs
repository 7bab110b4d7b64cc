//! Decisions. Each algorithm is one file, complete: decisions, bounds, what the log and snapshots hold of its state, and what
//! a repaired or migrated store may assume. Pure functions on integers: no clock, no lock, no file.
//!
//! This file names the algorithms and is the only one that dispatches on them.

mod arithmetic;
pub mod fixed_window_counter;
mod long_log;
mod quota;
mod rules;
mod run;
mod runs;
pub mod sliding_window_log;
pub mod token_bucket;
mod verdict;

pub use quota::Quota;
pub use rules::{Numbers, OldEntry, Refusal, Rules};
pub use run::Run;
pub use runs::RunArena;
pub use verdict::Verdict;

use crate::error::{Error, Result};
use crate::quote::quoted;
use fixed_window_counter::Window;
use sliding_window_log::Log;
use token_bucket::Bucket;

/// How a rate counts. The discriminants are part of the file format.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Algorithm {
    /// Tokens come back continuously, up to a burst.
    #[default]
    TokenBucket = 0,
    /// At most `limit` in any period, whenever it starts.
    SlidingWindowLog = 1,
    /// At most `limit` in a window that starts at the first consumption.
    FixedWindowCounter = 2,
}

/// The state of one rate: fixed-size plain data. The runs of sliding logs are in the arena.
#[derive(Debug, Clone, Copy)]
pub enum State {
    /// See [`token_bucket`].
    TokenBucket(Bucket),
    /// See [`sliding_window_log`].
    SlidingWindowLog(Log),
    /// See [`fixed_window_counter`].
    FixedWindowCounter(Window),
}

/// Evaluates an expression for the algorithm of that value: `$Rules` is the type of its state, `$wrap` makes it a [`State`].
macro_rules! by_algorithm {
    ($algorithm:expr, $Rules:ident, $wrap:ident => $body:expr) => {
        match $algorithm {
            Algorithm::TokenBucket => {
                type $Rules = Bucket;
                let $wrap = State::TokenBucket;
                $body
            }
            Algorithm::SlidingWindowLog => {
                type $Rules = Log;
                let $wrap = State::SlidingWindowLog;
                $body
            }
            Algorithm::FixedWindowCounter => {
                type $Rules = Window;
                let $wrap = State::FixedWindowCounter;
                $body
            }
        }
    };
}

/// Evaluates an expression on the state inside.
macro_rules! by_state {
    ($state:expr, $inner:ident => $body:expr) => {
        match $state {
            State::TokenBucket($inner) => $body,
            State::SlidingWindowLog($inner) => $body,
            State::FixedWindowCounter($inner) => $body,
        }
    };
}

/// Bytes that a record keeps of one rate after an allowed check.
pub const AFTER_IMAGE_LEN: usize = 16;

/// The state of one rate right after an allowed check, as the log keeps it: 128 bits that its algorithm defines,
/// little-endian. Time and cost are the record's.
pub type AfterImage = [u8; AFTER_IMAGE_LEN];

impl Algorithm {
    /// Every algorithm, in order of its code.
    pub const ALL: [Self; 3] = [Self::TokenBucket, Self::SlidingWindowLog, Self::FixedWindowCounter];

    /// The name that users write.
    pub const fn name(self) -> &'static str {
        by_algorithm!(self, R, _wrap => R::NAME)
    }

    /// The algorithm of that name.
    ///
    /// # Errors
    /// `InvalidLimit` for any other text; the message lists the names.
    pub fn parse(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Error::InvalidLimit(format!("unknown algorithm {}; use one of {names}", quoted(name)))
        })
    }

    /// The code in files.
    #[inline]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The algorithm whose code is `code`, as read from a file.
    #[inline]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.code() == code)
    }

    /// Whether a rate may have a burst other than its limit. If so, the burst is its capacity.
    #[inline]
    pub const fn takes_burst(self) -> bool {
        by_algorithm!(self, R, _wrap => R::TAKES_BURST)
    }

    /// What makes these numbers unusable.
    pub fn problem(self, quota: &Quota) -> Option<String> {
        quota.problem().or_else(|| by_algorithm!(self, R, _wrap => R::problem(quota)))
    }

    /// Whole tokens left in the state that a record holds of a rate, at the moment of the record.
    pub fn remaining_after(self, quota: &Quota, image: AfterImage) -> u64 {
        by_algorithm!(self, R, _wrap => R::remaining_after(quota, u128::from_le_bytes(image)))
    }

    /// The decision that a rate of which `used` tokens are used makes on `cost`.
    pub fn decide_carried(self, quota: &Quota, used: u64, now: u64, cost: u64) -> Verdict {
        by_algorithm!(self, R, _wrap => R::decide_carried(quota, used, now, cost))
    }

    /// The most numbers that the state of a rate has.
    pub const fn max_numbers(self) -> usize {
        by_algorithm!(self, R, _wrap => R::MAX_NUMBERS)
    }

    /// What a log record holds of a rate of which `used` tokens are used, once `cost` is consumed at `now`.
    pub fn image_after_carried(self, quota: &Quota, used: u64, now: u64, cost: u64) -> AfterImage {
        by_algorithm!(self, R, _wrap => R::image_after_carried(quota, used, now, cost)).to_le_bytes()
    }

    /// Whether a snapshot may list these numbers for the state of a rate.
    pub fn accepts(self, numbers: &[u128]) -> bool {
        by_algorithm!(self, R, _wrap => R::accepts(numbers))
    }

    /// The table of its states in snapshots of releases 0.1 and 0.2; `None` if they did not have it.
    pub const fn old_table(self) -> Option<&'static str> {
        by_algorithm!(self, R, _wrap => R::OLD_TABLE)
    }
}

impl State {
    /// The state of a rate of which `used` tokens are used, at most the capacity.
    #[inline]
    pub fn carried(algorithm: Algorithm, quota: &Quota, used: u64, now: u64, runs: &mut RunArena) -> Self {
        by_algorithm!(algorithm, R, wrap => wrap(R::carried(quota, used, now, runs)))
    }

    /// The decision on `cost` at `now`; 0 only looks.
    #[inline]
    pub fn decide(&self, quota: &Quota, runs: &RunArena, now: u64, cost: u64) -> Verdict {
        by_state!(self, state => state.decide(quota, runs, now, cost))
    }

    /// Takes `cost`, which `decide` allowed at the same `now`.
    #[inline]
    pub fn consume(&mut self, quota: &Quota, runs: &mut RunArena, now: u64, cost: u64) {
        by_state!(self, state => state.consume(quota, runs, now, cost));
    }

    /// Nanoseconds from `now` until calls that ask for `total` in all can have been allowed, at the earliest.
    pub fn earliest(&self, quota: &Quota, runs: &RunArena, now: u64, total: u128) -> u64 {
        by_state!(self, state => state.earliest(quota, runs, now, total))
    }

    /// Tokens that are used at `now`, rounded up.
    pub fn used_tokens(&self, quota: &Quota, runs: &RunArena, now: u64) -> u64 {
        by_state!(self, state => state.used_tokens(quota, runs, now))
    }

    /// Releases what the state holds in the arena.
    pub fn free(&mut self, runs: &mut RunArena) {
        by_state!(self, state => state.free(runs));
    }

    /// A copy whose runs are in another arena, and how many runs and blocks of runs that took.
    pub fn copy(&self, from: &RunArena, into: &mut RunArena) -> (Self, usize) {
        let mut copy = *self;
        let work = by_state!(&mut copy, state => {
            let (state_there, work) = state.copy(from, into);
            *state = state_there;
            work
        });
        (copy, work)
    }

    /// Moves what the state holds in the arena away from the arena's end, if that makes the arena shorter.
    pub fn move_down(&mut self, runs: &mut RunArena) {
        by_state!(self, state => state.move_down(runs));
    }

    /// What a log record holds of the state right after `consume`.
    #[inline]
    pub fn after_image(&self) -> AfterImage {
        by_state!(self, state => state.after_image()).to_le_bytes()
    }

    /// What [`Self::after_image`] will be once `cost` is consumed at `now`.
    #[inline]
    pub fn image_after(&self, quota: &Quota, runs: &RunArena, now: u64, cost: u64) -> AfterImage {
        by_state!(self, state => state.image_after(quota, runs, now, cost)).to_le_bytes()
    }

    /// Replays an allowed check: sets the state that the record holds.
    ///
    /// # Errors
    /// The state before does not lead to that one.
    #[inline]
    pub fn replay(
        &mut self,
        quota: &Quota,
        runs: &mut RunArena,
        image: AfterImage,
        now: u64,
        cost: u64,
    ) -> Result<(), Refusal> {
        by_state!(self, state => state.replay(quota, runs, u128::from_le_bytes(image), now, cost))
    }

    /// Replays an allowed check where records before it may be missing. Returns whether the state is exact again.
    pub fn replay_behind_gap(
        &mut self,
        quota: &Quota,
        runs: &mut RunArena,
        image: AfterImage,
        now: u64,
        cost: u64,
    ) -> bool {
        by_state!(self, state => state.replay_behind_gap(quota, runs, u128::from_le_bytes(image), now, cost))
    }

    /// Makes the state one that the rate could have reached by `now`, with no more quota than before.
    pub fn bound(&mut self, quota: &Quota, runs: &mut RunArena, now: u64) {
        by_state!(self, state => state.bound(quota, runs, now));
    }

    /// Appends the state as plain numbers.
    pub fn export(&self, runs: &RunArena, numbers: &mut Numbers) {
        by_state!(self, state => state.export(runs, numbers));
    }

    /// The inverse of `export`.
    ///
    /// # Errors
    /// No state of this algorithm has these numbers.
    pub fn import(algorithm: Algorithm, numbers: &[u128], runs: &mut RunArena) -> Result<Self, Refusal> {
        by_algorithm!(algorithm, R, wrap => R::import(numbers, runs).map(wrap))
    }

    /// A state of an old release's snapshot, and the newest time in it.
    ///
    /// # Errors
    /// The entry is not one that those releases wrote.
    pub fn import_old(
        algorithm: Algorithm,
        quota: &Quota,
        entry: &dyn OldEntry,
        runs: &mut RunArena,
    ) -> Result<(Self, u64), String> {
        by_algorithm!(algorithm, R, wrap => R::import_old(quota, entry, runs).map(|(state, ns)| (wrap(state), ns)))
    }

    /// Takes what an old release allowed, whatever today's arithmetic says of it.
    pub fn consume_old(&mut self, quota: &Quota, runs: &mut RunArena, now: u64, cost: u64) {
        by_state!(self, state => state.consume_old(quota, runs, now, cost));
    }

    /// What an old release kept of the state when the numbers of a rate changed and its algorithm did not.
    pub fn redefine_old(&mut self, old: &Quota, new: &Quota, now: u64) {
        by_state!(self, state => state.redefine_old(old, new, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_takes_no_more_than_32_bytes_and_aligns_to_eight() {
        assert_eq!((size_of::<State>(), align_of::<State>()), (32, 8));
    }

    #[test]
    fn every_algorithm_is_found_by_its_name_and_its_code() {
        for (code, algorithm) in (0..).zip(Algorithm::ALL) {
            assert_eq!(algorithm.code(), code);
            assert_eq!(Algorithm::from_code(code), Some(algorithm));
            assert_eq!(Algorithm::parse(algorithm.name()).unwrap(), algorithm);
        }
        assert_eq!(Algorithm::from_code(3), None);
        let error = Algorithm::parse("leaky").unwrap_err().to_string();
        assert!(error.contains("token_bucket, sliding_window_log, fixed_window_counter"), "{error}");
    }

    /// Every state survives its plain form, and a state without what it used is as carried with nothing used.
    #[test]
    fn every_state_comes_back_from_its_numbers() {
        let quota = Quota { limit: 10, per_ms: 1000, burst: 10 };
        for algorithm in Algorithm::ALL {
            let mut runs = RunArena::new();
            let mut state = State::carried(algorithm, &quota, 3, 5_000_000, &mut runs);
            let carried = algorithm.image_after_carried(&quota, 3, 5_000_000, 4);
            assert_eq!(carried, state.image_after(&quota, &runs, 5_000_000, 4));
            let image = state.image_after(&quota, &runs, 7_000_000, 4);
            state.consume(&quota, &mut runs, 7_000_000, 4);
            assert_eq!(image, state.after_image());
            let mut numbers = Numbers::new();
            state.export(&runs, &mut numbers);
            assert!(algorithm.accepts(&numbers));
            let copy = State::import(algorithm, &numbers, &mut runs).unwrap();
            assert_eq!(copy.decide(&quota, &runs, 7_000_000, 2), state.decide(&quota, &runs, 7_000_000, 2));
            assert_eq!(copy.after_image(), state.after_image());
            assert_eq!(algorithm.remaining_after(&quota, state.after_image()), 3, "{}", algorithm.name());
            numbers.push(1);
            assert!(!algorithm.accepts(&numbers));
            assert!(State::import(algorithm, &numbers, &mut runs).is_err());
        }
    }
}
