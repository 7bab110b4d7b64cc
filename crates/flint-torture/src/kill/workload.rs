//! What a worker process does, call by call. The kind, the seed and the number of the step decide everything, also the time: a
//! process that continues at step `n` returns the answers and leaves the state of an undisturbed one.

use flint_core::engine::OnChange;
use flint_core::limit::{Algorithm, Limit, parse_limit};

use crate::random::Random;

/// Steps of the ordinary workload.
const ORDINARY: usize = 132;
/// Steps after the log has become long enough for a compaction in the background.
const BACKLOG: usize = 26;
/// Calls that make the log that long, with so many keys each.
const FILLING: usize = 14;
const FILLING_KEYS: usize = 600;

/// What kind of workload it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkloadKind {
    /// Every kind of call, from nothing, with rotations, compactions and sessions.
    Ordinary,
    /// A log so long that the background compacts it while calls continue.
    Backlog,
    /// A directory of an old release, named as in `tests/legacy-data`.
    Migration(String),
}

impl WorkloadKind {
    /// As the worker's argument.
    pub fn name(&self) -> &str {
        match self {
            Self::Ordinary => "ordinary",
            Self::Backlog => "backlog",
            Self::Migration(sample) => sample,
        }
    }

    /// The opposite of `name`.
    pub fn parse(name: &str) -> Self {
        match name {
            "ordinary" => Self::Ordinary,
            "backlog" => Self::Backlog,
            sample => Self::Migration(sample.to_owned()),
        }
    }
}

/// One call.
#[derive(Debug, Clone)]
pub enum Step {
    /// One key.
    Check(String, u64, Option<Limit>),
    /// The key at this place of the list.
    CheckNth(usize),
    /// Several keys.
    CheckAll(Vec<(String, u64, Option<Limit>)>),
    /// One key, once: the call with this number. A denial is not remembered, which would make a difference to the next process.
    Once(u64, String, u64, Option<Limit>),
    /// One limit.
    Limit(String, Limit, OnChange),
    /// Several limits.
    LimitMany(Vec<(String, Limit, OnChange)>),
    /// Back to full.
    Reset(String),
    /// Forgotten.
    Delete(String),
    /// Everything durable.
    Flush,
    /// A snapshot by the caller.
    Compact,
    /// Waits until the background has published one.
    AwaitSnapshot,
    /// Close and open.
    Reopen,
}

/// The steps of one workload.
#[derive(Debug, Clone)]
pub struct Workload {
    /// What kind.
    pub kind: WorkloadKind,
    /// Where the numbers come from.
    pub seed: u64,
    /// In order.
    pub steps: Vec<Step>,
}

fn limit(text: &str, algorithm: Algorithm) -> Limit {
    parse_limit(text, algorithm).expect("a valid limit")
}

fn any_limit(random: &mut Random) -> Limit {
    let rates =
        ["10/minute; 12/hour", "6/second; 9/minute", "5/second", "7/10s burst 9", "40/hour; 20/minute", "3/250ms"];
    let algorithm = *random.choose(&Algorithm::ALL);
    let text = random.choose(&rates);
    // Only the token bucket has a burst of its own.
    parse_limit(text, algorithm).unwrap_or_else(|_| limit(text, Algorithm::TokenBucket))
}

const KEYS: [&str; 4] = ["bucket", "log", "window", "gone"];
const GIVEN: [&str; 3] = ["given:0", "given:1", "given:2"];

fn first_limits() -> Step {
    let keep = |key: &str, limit| (key.to_owned(), limit, OnChange::Keep);
    Step::LimitMany(vec![
        keep("bucket", limit("10/minute; 12/hour", Algorithm::TokenBucket)),
        keep("log", limit("6/second; 9/minute", Algorithm::SlidingWindowLog)),
        keep("window", limit("5/second; 7/10s", Algorithm::FixedWindowCounter)),
        keep("gone", limit("3/second", Algorithm::TokenBucket)),
    ])
}

/// A record so long that a few of them fill a segment of 16 KiB.
fn long_record(n: usize) -> Step {
    let rate = limit(&format!("{}/hour", 5 + n), Algorithm::TokenBucket);
    Step::LimitMany((0..8).map(|key| (format!("{key}{}", "x".repeat(500)), rate, OnChange::Keep)).collect())
}

fn random_step(random: &mut Random) -> Step {
    match random.below(100) {
        0..38 => Step::Check((*random.choose(&KEYS)).to_owned(), 1 + random.below(4), None),
        38..50 => {
            let given = if random.below(3) == 0 { Some(any_limit(random)) } else { None };
            let keys: &[&str] = if given.is_some() { &GIVEN } else { &KEYS };
            Step::Once(random.below(16), (*random.choose(keys)).to_owned(), 1 + random.below(3), given)
        }
        50..58 => Step::Check((*random.choose(&GIVEN)).to_owned(), 1 + random.below(3), Some(any_limit(random))),
        58..72 => {
            let given = any_limit(random);
            let mut items: Vec<_> =
                KEYS[..3].iter().map(|key| ((*key).to_owned(), 1 + random.below(2), None)).collect();
            items.push(((*random.choose(&GIVEN)).to_owned(), 1, Some(given)));
            Step::CheckAll(items)
        }
        72..80 => {
            let change = *random.choose(&[OnChange::Keep, OnChange::Reset]);
            Step::Limit((*random.choose(&KEYS)).to_owned(), any_limit(random), change)
        }
        80..86 => first_limits(),
        86..92 => Step::Reset((*random.choose(&KEYS)).to_owned()),
        // One of those that every check_all needs goes rarely: until it is back, nothing else happens.
        92..99 => Step::Delete((*random.choose(&["gone", "given:0", "given:1"])).to_owned()),
        _ => Step::Delete((*random.choose(&KEYS)).to_owned()),
    }
}

impl Workload {
    /// The steps of a kind.
    pub fn new(kind: WorkloadKind, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let steps = match &kind {
            WorkloadKind::Ordinary => (0..ORDINARY)
                .map(|n| match n {
                    0 => first_limits(),
                    _ if n % 6 == 2 => long_record(n),
                    _ if n % 26 == 21 => Step::Compact,
                    _ if n % 38 == 33 => Step::Reopen,
                    _ if n % 19 == 16 => Step::Flush,
                    _ => random_step(&mut random),
                })
                .collect(),
            WorkloadKind::Backlog => {
                let filling = (0..FILLING).map(|n| {
                    let rate = limit(&format!("{}/day", 50 + n), Algorithm::TokenBucket);
                    let key = |key: usize| format!("{key:03}{}", "y".repeat(480));
                    Step::LimitMany((0..FILLING_KEYS).map(|n| (key(n), rate, OnChange::Keep)).collect())
                });
                let rest = (0..BACKLOG).map(|n| match n {
                    0 => first_limits(),
                    16 => Step::AwaitSnapshot,
                    _ if n % 5 == 3 => long_record(n),
                    _ => random_step(&mut random),
                });
                filling.chain(rest).collect()
            }
            WorkloadKind::Migration(_) => {
                let nth = (0..6).map(|n| Step::CheckNth(n * 3));
                let rest = [first_limits(), long_record(0)].into_iter().chain((0..4).map(|_| random_step(&mut random)));
                nth.chain(rest).chain([Step::Compact, Step::CheckNth(1), Step::Reopen, Step::CheckNth(2)]).collect()
            }
        };
        Self { kind, seed, steps }
    }

    /// Where the interesting part begins: what is before only makes the directory.
    pub fn prelude(&self) -> usize {
        if self.kind == WorkloadKind::Backlog { FILLING } else { 0 }
    }
}
