//! Short sequences of calls to a store, step by step. Without background threads a scenario makes the same disk operations in each run.

use flint_core::Result;
use flint_core::engine::{CallId, Check, CheckAll, Engine, Idempotent, Item, LogIo, OnChange};
use flint_core::limit::Algorithm;

use crate::directory::Files;
use crate::harness::limit;
use crate::old_release;
use crate::random::Random;

/// One step of a scenario.
#[derive(Debug, Clone)]
pub enum Step {
    /// `limit(key, text)`.
    Limit(String, &'static str, Algorithm, OnChange),
    /// One `limit_many` of so many keys whose names are so long, with this rate per hour.
    LimitMany {
        /// Number of keys.
        keys: usize,
        /// Bytes of a name.
        len: usize,
        /// Tokens per hour.
        rate: u64,
    },
    /// `check(key, cost)`.
    Check(String, u64),
    /// `check(key, cost, limit=text)`.
    CheckWith(String, u64, &'static str, Algorithm),
    /// `check_all` of keys and costs, with a limit given with the call for those that have none.
    CheckAll(Vec<(String, u64)>, Option<&'static str>),
    /// The call with this number, which may be repeated: `check(key, cost)`.
    CheckOnce(u64, String, u64, Option<&'static str>),
    /// The same with `check_all`.
    CheckAllOnce(u64, Vec<(String, u64)>, Option<&'static str>),
    /// `reset(key)`.
    Reset(String),
    /// `delete(key)`.
    Delete(String),
    /// `flush()`.
    Flush,
    /// What the background threads would do now.
    Turn,
    /// `compact()`, with these steps between its slices.
    Compact(Vec<Self>),
    /// Time passes: so many milliseconds.
    Wait(u64),
    /// The wall clock is set forward or back: seconds.
    StepWallClock(i64),
    /// `close()` and open again.
    Reopen,
    /// The process dies, and the next one opens.
    Die,
}

impl Step {
    /// Whether everything is on disk when it has returned, in both modes. Closing and opening are handled elsewhere.
    pub const fn syncs(&self) -> bool {
        matches!(self, Self::Flush | Self::Turn)
    }
}

/// A scenario with its name and the files that it starts with.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Names it in failures.
    pub name: String,
    /// Names and contents: a directory of an old release, or nothing.
    pub before: Vec<(String, Vec<u8>)>,
    /// Bytes of sealed segments that compaction keeps.
    pub history_bytes: u64,
    /// How records are written.
    pub log_io: LogIo,
    /// What happens.
    pub steps: Vec<Step>,
}

/// The keys of [`Step::LimitMany`].
fn many(keys: usize, len: usize) -> Vec<String> {
    (0..keys).map(|n| format!("{n:03}{}", "m".repeat(len.saturating_sub(3)))).collect()
}

/// The name of a call. One key and several are never the same call.
fn call_id(number: u64, kind: u8) -> CallId {
    let mut id = [kind; 16];
    id[..8].copy_from_slice(&number.to_le_bytes());
    CallId { id, fingerprint: [kind; 8] }
}

/// Makes the call that a step describes; steps that are no calls do nothing here.
///
/// # Errors
/// Those of the call.
pub fn call(engine: &Engine, step: &Step) -> Result<()> {
    match step {
        Step::Limit(key, text, algorithm, on_change) => engine.limit(key, &limit(text, *algorithm), *on_change),
        Step::LimitMany { keys, len, rate } => {
            let rate = limit(&format!("{rate}/hour"), Algorithm::TokenBucket);
            let keys = many(*keys, *len);
            let specs: Vec<_> = keys.iter().map(|key| (key.as_str(), rate, OnChange::Keep)).collect();
            engine.limit_many(&specs)
        }
        Step::Check(key, cost) => engine.check(key, *cost, None).map(drop),
        Step::CheckWith(key, cost, text, algorithm) => {
            engine.check(key, *cost, Some(&limit(text, *algorithm))).map(drop)
        }
        Step::CheckAll(items, given) => {
            let given = given.map(|text| limit(text, Algorithm::TokenBucket));
            let items: Vec<_> =
                items.iter().map(|(key, cost)| Item { key, cost: *cost, limit: given.as_ref() }).collect();
            engine.check_all(&items).map(drop)
        }
        Step::CheckOnce(number, key, cost, given) => {
            let given = given.map(|text| limit(text, Algorithm::TokenBucket));
            let item = Item { key, cost: *cost, limit: given.as_ref() };
            engine.run(&Idempotent { operation: Check::new(item), call: call_id(*number, 1) }).map(drop)
        }
        Step::CheckAllOnce(number, items, given) => {
            let given = given.map(|text| limit(text, Algorithm::TokenBucket));
            let items: Vec<_> =
                items.iter().map(|(key, cost)| Item { key, cost: *cost, limit: given.as_ref() }).collect();
            let operation = CheckAll { items: &items };
            engine.run(&Idempotent { operation, call: call_id(*number, 2) }).map(drop)
        }
        Step::Reset(key) => engine.reset(key),
        Step::Delete(key) => engine.delete(key),
        Step::Flush => engine.flush(),
        Step::Turn => engine.turn(),
        Step::Compact(_) => engine.compact(),
        Step::Wait(_) | Step::StepWallClock(_) | Step::Reopen | Step::Die => Ok(()),
    }
}

const BUCKET: Algorithm = Algorithm::TokenBucket;
const LOG: Algorithm = Algorithm::SlidingWindowLog;
const WINDOW: Algorithm = Algorithm::FixedWindowCounter;

fn checks(key: &str, cost: u64, times: usize) -> impl Iterator<Item = Step> {
    std::iter::repeat_n(Step::Check(key.to_owned(), cost), times)
}

fn once(number: u64, key: &str, cost: u64) -> Step {
    Step::CheckOnce(number, key.to_owned(), cost, None)
}

fn set(key: &str, text: &'static str, algorithm: Algorithm) -> Step {
    Step::Limit(key.to_owned(), text, algorithm, OnChange::Keep)
}

/// Every kind of call and every algorithm, a death, a clean end.
fn calls() -> Scenario {
    let mut steps = vec![set("bucket", "10/minute; 12/hour", BUCKET), set("log", "6/second; 9/minute", LOG)];
    steps.push(set("window", "5/second; 7/10s", WINDOW));
    steps.extend(checks("bucket", 3, 4));
    steps.extend(checks("log", 2, 4));
    steps.push(Step::Turn);
    steps.extend(checks("window", 4, 3));
    let all =
        || Step::CheckAll([("bucket", 1), ("log", 1), ("window", 1)].map(|(k, c)| (k.to_owned(), c)).to_vec(), None);
    steps.extend([all(), Step::Wait(1_500), all()]);
    steps.extend((0..3).map(|_| Step::CheckWith("given".to_owned(), 2, "4/minute", BUCKET)));
    steps.push(Step::CheckWith("given".to_owned(), 1, "9/minute", WINDOW));
    steps.push(Step::CheckAll(vec![("log".to_owned(), 1), ("fresh".to_owned(), 2)], Some("3/minute")));
    steps.extend([once(1, "window", 1), once(1, "window", 1), once(2, "log", 9)]);
    steps.push(Step::CheckOnce(3, "named".to_owned(), 2, Some("7/minute; 9/hour")));
    let all_once = || Step::CheckAllOnce(4, vec![("window".to_owned(), 1), ("named".to_owned(), 1)], Some("3/s"));
    steps.extend([Step::Wait(11_000), all_once(), all_once()]);
    steps.push(Step::Die);
    steps.extend([once(1, "window", 1), all_once(), once(5, "named", 1)]);
    steps.extend([Step::Reset("bucket".to_owned()), Step::Flush]);
    steps.extend(checks("bucket", 5, 2));
    steps.push(Step::StepWallClock(-7_200));
    steps.extend(checks("window", 1, 2));
    steps.extend([Step::Delete("log".to_owned()), set("log", "3/second", LOG)]);
    steps.extend(checks("log", 1, 2));
    steps.push(Step::Limit("bucket".to_owned(), "10/minute; 40/hour", BUCKET, OnChange::Reset));
    steps.push(Step::Reopen);
    steps.extend(checks("bucket", 1, 2));
    Scenario { name: "calls".to_owned(), before: Vec::new(), history_bytes: 64 << 20, log_io: LogIo::Auto, steps }
}

/// Segments fill, are sealed, and some of them are removed.
fn rotation() -> Scenario {
    let mut steps = vec![set("a", "1000/hour", BUCKET)];
    for n in 0..7 {
        steps.push(Step::LimitMany { keys: 8, len: 500, rate: 5 + n });
        steps.extend(checks("a", 1, 2));
        if n % 3 == 1 {
            steps.push(Step::Turn);
        }
    }
    steps.push(Step::Die);
    for n in 0..5 {
        steps.push(Step::LimitMany { keys: 8, len: 500, rate: 50 + n });
        steps.extend(checks("a", 1, 1));
    }
    steps.extend([Step::Turn, Step::Compact(Vec::new())]);
    steps.extend(checks("a", 1, 2));
    steps.push(Step::Reopen);
    steps.extend(checks("a", 1, 2));
    Scenario { name: "rotation".to_owned(), before: Vec::new(), history_bytes: 20 << 10, log_io: LogIo::Auto, steps }
}

/// A check that brings one of two limits, each with a counter of its own.
fn with(key: &str, cost: u64, first: bool) -> Step {
    let (text, algorithm) = if first { ("5/minute; 9/hour", BUCKET) } else { ("7/hour", WINDOW) };
    Step::CheckWith(key.to_owned(), cost, text, algorithm)
}

/// Snapshots come and go, with calls between their slices.
fn compaction() -> Scenario {
    let key = |n: usize| many(n + 1, 12).pop().expect("one more than none");
    // Counters of one key in both slices, and all of them in one.
    let mut steps: Vec<Step> = ["two", "replaced", "gone"].map(|key| with(key, 2, true)).to_vec();
    steps.extend([Step::LimitMany { keys: 80, len: 12, rate: 9 }, set("zz", "6/minute", LOG)]);
    steps.extend(["two", "replaced", "gone", "late"].map(|key| with(key, 1, false)));
    steps.extend(checks("zz", 1, 2));
    steps.extend([once(1, "zz", 1), once(2, &key(1), 1)]);
    steps.push(Step::Compact(vec![
        Step::Check(key(1), 2),
        once(1, "zz", 1),
        once(3, &key(1), 1),
        once(4, &key(79), 1),
        Step::Check(key(78), 3),
        Step::Delete(key(2)),
        Step::Delete(key(77)),
        Step::Check("zz".to_owned(), 1),
        set("new", "7/minute", WINDOW),
        with("two", 1, true),
        set("replaced", "20/hour", BUCKET),
        Step::Delete("gone".to_owned()),
        with("late", 1, true),
    ]));
    steps.extend(checks(&key(1), 1, 1));
    steps.extend(checks("new", 2, 2));
    steps.push(Step::Die);
    steps.extend([once(4, &key(79), 1), once(5, "new", 1)]);
    steps.push(Step::Compact(vec![
        Step::Check("new".to_owned(), 1),
        Step::Reset(key(70)),
        Step::Delete(key(3)),
        Step::Reset("two".to_owned()),
        with("two", 1, false),
    ]));
    steps.extend(checks("zz", 1, 3));
    steps.extend([Step::Compact(Vec::new()), Step::Turn, Step::Compact(Vec::new())]);
    steps.extend(checks("new", 1, 1));
    steps.push(Step::Reopen);
    steps.extend([once(1, "zz", 1), once(5, "new", 1)]);
    steps.extend([Step::Check(key(5), 1), Step::Compact(Vec::new())]);
    Scenario { name: "compaction".to_owned(), before: Vec::new(), history_bytes: 0, log_io: LogIo::Auto, steps }
}

/// A directory of an old release, its keys used from then on.
fn migration(name: &str, files: Files) -> Scenario {
    let mut steps = vec![set("new", "5/minute", BUCKET)];
    steps.extend(checks("new", 1, 2));
    steps.push(Step::Turn);
    steps.push(Step::Compact(Vec::new()));
    steps.extend(checks("new", 1, 1));
    Scenario {
        name: format!("migration of {name}"),
        before: files.into_iter().collect(),
        history_bytes: 64 << 20,
        log_io: LogIo::Auto,
        steps,
    }
}

/// The scenarios that cover every kind of call and of file operation.
pub fn all() -> Vec<Scenario> {
    let mut all = vec![calls(), rotation(), compaction(), written(calls()), written(rotation())];
    all.push(migration("a small snapshot", old_release::small_snapshot()));
    let samples = ["v0_1_log_only", "v0_2_snapshot_and_tail", "v0_2_torn_tail"];
    all.extend(samples.map(|name| migration(name, old_release::sample(name))));
    all
}

/// The same with writes in place of stores into a mapping.
fn written(scenario: Scenario) -> Scenario {
    Scenario { name: format!("{}, written", scenario.name), log_io: LogIo::Pwrite, ..scenario }
}

/// A random scenario.
pub fn random(seed: u64, length: usize) -> Scenario {
    let mut random = Random::new(seed);
    let history_bytes = *random.choose(&[0, 20 << 10, 64 << 20]);
    let log_io = if seed.is_multiple_of(2) { LogIo::Auto } else { LogIo::Pwrite };
    let steps = (0..length).map(|_| random_step(&mut random, true)).collect();
    Scenario { name: format!("random {seed}"), before: Vec::new(), history_bytes, log_io, steps }
}

fn random_step(random: &mut Random, outer: bool) -> Step {
    let keys = ["a", "b", "c", "d", "e"];
    let texts = ["5/second", "3/minute", "9/minute; 4/second", "20/hour", "2/250ms; 8/10s; 50/day"];
    let key = (*random.choose(&keys)).to_owned();
    let text = *random.choose(&texts);
    let algorithm = *random.choose(&[BUCKET, LOG, WINDOW]);
    let cost = 1 + random.below(3);
    match random.below(if outer { 40 } else { 26 }) {
        0..7 => Step::Check(key, cost),
        7..10 => Step::CheckOnce(random.below(12), key, cost, Some(text)),
        10..14 => Step::CheckWith(key, cost, text, algorithm),
        14..18 => {
            let other = (*random.choose(&keys)).to_owned();
            let mut items = vec![(key, 1)];
            if other != items[0].0 {
                items.push((other, 1));
            }
            if random.below(3) == 0 {
                Step::CheckAllOnce(random.below(6), items, Some(text))
            } else {
                Step::CheckAll(items, Some(text))
            }
        }
        18..22 => Step::Limit(key, text, algorithm, *random.choose(&[OnChange::Keep, OnChange::Reset])),
        22 => Step::Reset(key),
        23 => Step::Delete(key),
        24 => Step::Wait(random.below(3_000)),
        25 => Step::LimitMany { keys: 8, len: 500, rate: 1 + random.below(9) },
        26..30 => Step::LimitMany { keys: 6, len: 400, rate: 1 + random.below(9) },
        30..32 => Step::Flush,
        32..35 => Step::Turn,
        35..37 => Step::Compact((0..random.below(4)).map(|_| random_step(random, false)).collect()),
        37 => Step::StepWallClock(i64::try_from(random.below(7_200)).unwrap_or(0) - 3_600),
        38 => Step::Reopen,
        _ => Step::Die,
    }
}
