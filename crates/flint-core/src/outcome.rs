//! What checks answer. Plain data; times shown to people are already wall-clock.

use std::sync::Arc;

use crate::algorithm::Verdict;
use crate::limit::{Rate, RateVerdict};

/// What each rate of a key says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RateVerdicts {
    /// The key has this rate alone: the answer is its verdict.
    One(Rate),
    /// Those of several rates, in their order.
    Each(Arc<[RateVerdict]>),
}

/// The answer to one check. With several rates it describes the one that binds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The decision.
    pub allowed: bool,
    /// The cost that was asked for.
    pub cost: u64,
    /// The binding rate's limit per period.
    pub limit: u64,
    /// What is left after this call.
    pub remaining: u64,
    /// Nanoseconds until the same call would be allowed; 0 when allowed.
    pub retry_after_ns: u64,
    /// Nanoseconds until the full limit is back.
    pub reset_after_ns: u64,
    /// The same as a wall-clock time, nanoseconds since the Unix epoch.
    pub reset_at_wall_ns: u64,
    /// Rate by rate.
    pub verdicts: RateVerdicts,
    /// Sequence number to wait for in `SyncMode::Always`; 0 when there is nothing to wait for.
    pub seq: u64,
}

impl Outcome {
    /// Each rate with what it says, in the order of the limit.
    pub fn rates(&self) -> Vec<RateVerdict> {
        match &self.verdicts {
            RateVerdicts::One(rate) => {
                let Self { allowed, remaining, retry_after_ns, reset_after_ns, .. } = *self;
                vec![RateVerdict {
                    rate: *rate,
                    verdict: Verdict { allowed, remaining, retry_after_ns, reset_after_ns },
                }]
            }
            RateVerdicts::Each(verdicts) => verdicts.to_vec(),
        }
    }
}

/// The answer to a multi-key check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MultiOutcome {
    /// Whether every item was allowed (and consumed).
    pub allowed: bool,
    /// Index of the first denied item.
    pub denied: Option<usize>,
    /// Nanoseconds until all items would pass together.
    pub retry_after_ns: u64,
    /// One outcome an item; `remaining` is the truth after the call.
    pub items: Vec<Outcome>,
    /// As in [`Outcome::seq`].
    pub seq: u64,
}
