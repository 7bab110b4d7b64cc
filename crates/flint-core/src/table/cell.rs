//! One rate with its state, as plain data. Dispatches to the pure algorithms.

use super::runs::{Queue, RunArena};
use crate::algorithm::{Verdict, fixed_window_counter, sliding_window_log, token_bucket};
use crate::image::{AfterImage, RateState, Run};
use crate::limit::{Algorithm, Rate};

#[derive(Debug, Clone, Copy)]
enum State {
    /// `used` is a u128 in two halves, low first, which keeps the entry at an alignment of eight.
    TokenBucket {
        used: [u64; 2],
        at_ns: u64,
    },
    FixedWindow(fixed_window_counter::State),
    SlidingLog(Queue),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Cell {
    rate: Rate,
    state: State,
}

#[expect(clippy::cast_possible_truncation, reason = "the halves of a u128")]
const fn halves(value: u128) -> [u64; 2] {
    [value as u64, (value >> 64) as u64]
}

fn whole(halves: [u64; 2]) -> u128 {
    u128::from(halves[0]) | u128::from(halves[1]) << 64
}

fn bucket(state: token_bucket::State) -> State {
    State::TokenBucket { used: halves(state.used), at_ns: state.at_ns }
}

impl Cell {
    /// A rate of which `used` tokens are taken, its window starting now.
    pub(crate) fn carried(rate: Rate, used: u64, now: u64, runs: &mut RunArena) -> Self {
        let state = match rate.algorithm() {
            Algorithm::TokenBucket => bucket(token_bucket::carried(&rate, used, now)),
            Algorithm::FixedWindowCounter => State::FixedWindow(fixed_window_counter::carried(&rate, used, now)),
            Algorithm::SlidingWindowLog => {
                let mut queue = Queue::EMPTY;
                let used = used.min(rate.capacity());
                if used > 0 {
                    runs.push(&mut queue, sliding_window_log::ceil_ms(now), used);
                }
                State::SlidingLog(queue)
            }
        };
        Self { rate, state }
    }

    /// The decision that a rate just configured with `used` tokens taken would make.
    pub(crate) fn decide_carried(rate: &Rate, used: u64, now: u64, cost: u64) -> Verdict {
        match rate.algorithm() {
            Algorithm::TokenBucket => token_bucket::decide(rate, token_bucket::carried(rate, used, now), now, cost),
            Algorithm::FixedWindowCounter => {
                fixed_window_counter::decide(rate, fixed_window_counter::carried(rate, used, now), now, cost)
            }
            Algorithm::SlidingWindowLog => {
                let used = used.min(rate.capacity());
                let run = (used > 0).then(|| Run { ms: sliding_window_log::ceil_ms(now), cost: used });
                sliding_window_log::decide(rate, used, run.into_iter(), run.map(|run| run.ms), now, cost)
            }
        }
    }

    pub(crate) const fn rate(&self) -> &Rate {
        &self.rate
    }

    /// The decision for `cost`; 0 only looks.
    #[inline]
    pub(crate) fn decide(&self, runs: &RunArena, now: u64, cost: u64) -> Verdict {
        match &self.state {
            State::TokenBucket { used, at_ns } => {
                token_bucket::decide(&self.rate, token_bucket::State { used: whole(*used), at_ns: *at_ns }, now, cost)
            }
            State::FixedWindow(state) => fixed_window_counter::decide(&self.rate, *state, now, cost),
            State::SlidingLog(queue) => {
                sliding_window_log::decide(&self.rate, queue.total, runs.iter(queue), runs.newest_ms(queue), now, cost)
            }
        }
    }

    /// Takes `cost`, which `decide` allowed at the same `now`.
    #[inline]
    pub(crate) fn consume(&mut self, runs: &mut RunArena, now: u64, cost: u64) {
        match &mut self.state {
            State::TokenBucket { used, at_ns } => {
                let state = token_bucket::State { used: whole(*used), at_ns: *at_ns };
                let state = token_bucket::consume(&self.rate, state, now, cost);
                (*used, *at_ns) = (halves(state.used), state.at_ns);
            }
            State::FixedWindow(state) => *state = fixed_window_counter::consume(&self.rate, *state, now, cost),
            State::SlidingLog(queue) => {
                let (expired, _) = sliding_window_log::live(&self.rate, queue.total, runs.iter(queue), now);
                runs.drop_oldest(queue, expired);
                runs.push(queue, sliding_window_log::ceil_ms(now), cost);
            }
        }
    }

    /// The after-image for the log, taken just after `consume`.
    #[inline]
    pub(crate) fn image(&self) -> AfterImage {
        let [low, high] = match &self.state {
            State::TokenBucket { used, .. } => *used,
            State::FixedWindow(state) => [state.start_ns, state.used],
            State::SlidingLog(queue) => [queue.total, 0],
        };
        (u128::from(low) | u128::from(high) << 64).to_le_bytes()
    }

    /// Replays an allowed check: sets the state that the record holds.
    pub(crate) fn apply_image(
        &mut self,
        runs: &mut RunArena,
        image: AfterImage,
        now: u64,
        cost: u64,
    ) -> Result<(), &'static str> {
        let value = halves(u128::from_le_bytes(image));
        match &mut self.state {
            State::TokenBucket { used, at_ns } => (*used, *at_ns) = (value, now),
            State::FixedWindow(state) => {
                *state = fixed_window_counter::State { start_ns: value[0], used: value[1] };
            }
            State::SlidingLog(queue) => {
                let (expired, live) = sliding_window_log::live(&self.rate, queue.total, runs.iter(queue), now);
                // What has expired no longer adds to the total: the next consumption may take the whole limit again.
                live.checked_add(cost).ok_or("a sliding log's total overflows")?;
                runs.drop_oldest(queue, expired);
                runs.push(queue, sliding_window_log::ceil_ms(now), cost);
                if value != [queue.total, 0] {
                    return Err("a sliding log's total differs from the record's");
                }
            }
        }
        Ok(())
    }

    /// Tokens in use, rounded up.
    pub(crate) fn used_tokens(&self, runs: &RunArena, now: u64) -> u64 {
        match &self.state {
            State::TokenBucket { used, at_ns } => token_bucket::used_tokens_ceil(
                &self.rate,
                token_bucket::State { used: whole(*used), at_ns: *at_ns },
                now,
            ),
            State::FixedWindow(state) => fixed_window_counter::used_tokens_ceil(&self.rate, *state, now),
            State::SlidingLog(queue) => sliding_window_log::live(&self.rate, queue.total, runs.iter(queue), now).1,
        }
    }

    /// Gives back what the state holds outside the cell.
    pub(crate) fn free(&mut self, runs: &mut RunArena) {
        if let State::SlidingLog(queue) = &mut self.state {
            runs.clear(queue);
        }
    }

    /// The state as plain data.
    pub(crate) fn export(&self, runs: &RunArena) -> RateState {
        match &self.state {
            State::TokenBucket { used, at_ns } => RateState::TokenBucket { used: whole(*used), at_ns: *at_ns },
            State::FixedWindow(state) => RateState::FixedWindow { start_ns: state.start_ns, used: state.used },
            State::SlidingLog(queue) => RateState::SlidingLog { runs: runs.iter(queue).collect() },
        }
    }

    /// The inverse of `export`; fails when rate and state do not belong together.
    pub(crate) fn import(rate: Rate, state: &RateState, runs: &mut RunArena) -> Result<Self, &'static str> {
        let state = match (rate.algorithm(), state) {
            (Algorithm::TokenBucket, RateState::TokenBucket { used, at_ns }) => {
                State::TokenBucket { used: halves(*used), at_ns: *at_ns }
            }
            (Algorithm::FixedWindowCounter, RateState::FixedWindow { start_ns, used }) => {
                State::FixedWindow(fixed_window_counter::State { start_ns: *start_ns, used: *used })
            }
            (Algorithm::SlidingWindowLog, RateState::SlidingLog { runs: list }) => {
                let mut queue = Queue::EMPTY;
                for run in list {
                    if runs.newest_ms(&queue).is_some_and(|newest| newest >= run.ms) || run.cost == 0 {
                        runs.clear(&mut queue);
                        return Err("the runs of a sliding log are not in order");
                    }
                    if queue.total.checked_add(run.cost).is_none() {
                        runs.clear(&mut queue);
                        return Err("a sliding log's total overflows");
                    }
                    runs.push(&mut queue, run.ms, run.cost);
                }
                State::SlidingLog(queue)
            }
            _ => return Err("the state does not belong to the algorithm"),
        };
        Ok(Self { rate, state })
    }
}
