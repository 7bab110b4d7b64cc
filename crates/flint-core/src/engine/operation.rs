//! The calls that decide and write, each as one value, and the two ways to execute them.

use crate::error::{Error, Result};
use crate::idempotency::{CallId, Repeatable};
use crate::item::{Item, OnChange};
use crate::limit::{Key, Limit};
use crate::options::WaitPolicy;
use crate::outcome::{MultiOutcome, Outcome};
use crate::store::core::{Core, Denials};
use crate::store::shared::Shared;
use crate::store::slices::is_one_slice;
use crate::writer::Blocked;

use super::Engine;

/// Most items of one multi-key check.
pub const MAX_ITEMS: usize = 1_000;
/// Most limits set by one call.
pub const MAX_SPECS: usize = 100_000;

/// One call that decides under the engine's lock and may append a record. [`Engine::run`] and [`Engine::try_run`] execute it.
pub trait Operation {
    /// What the call returns.
    type Output;

    /// The method of the public API, for error messages.
    fn name(&self) -> &'static str;

    /// Rejects arguments that no state of the store makes acceptable. Runs before the lock is taken.
    ///
    /// # Errors
    /// `InvalidArgument`, `InvalidKey`.
    fn validate(&self) -> Result<()> {
        Ok(())
    }

    /// Decides and appends, under the lock. Leaves everything unchanged when it fails, so that it can be executed again.
    #[doc(hidden)]
    fn apply(&self, core: &mut Core) -> Result<Self::Output, Blocked>;

    /// Executes it to the end, except for waiting until it is durable: at once, unless it is done in slices.
    #[doc(hidden)]
    #[inline]
    fn perform(&self, shared: &Shared) -> Result<Self::Output> {
        shared.perform(|core| self.apply(core))
    }

    /// Whether it takes the lock only once. Otherwise it is long.
    #[doc(hidden)]
    #[inline]
    fn is_short(&self) -> bool {
        true
    }

    /// The record that has to be durable before `output` may be acknowledged; 0 for none.
    fn seq(output: &Self::Output) -> u64;
}

/// Checks one key. Fails with `InvalidKey`, `InvalidCost`, `LimitNotFound`, or `InvalidLimit` (a limit of an old release beyond
/// today's bounds).
#[derive(Debug, Clone, Copy)]
pub struct Check<'a> {
    /// The key and what it is to take.
    pub item: Item<'a>,
    denials: Denials,
}

impl<'a> Check<'a> {
    /// A check whose denial is counted.
    #[inline]
    pub const fn new(item: Item<'a>) -> Self {
        Self { item, denials: Denials::Count }
    }

    /// One attempt of a caller that waits and tries again: a denial is not counted. See [`CountDenial`].
    #[inline]
    pub const fn attempt(item: Item<'a>) -> Self {
        Self { item, denials: Denials::Ignore }
    }
}

impl Operation for Check<'_> {
    type Output = Outcome;

    #[inline]
    fn name(&self) -> &'static str {
        match self.denials {
            Denials::Count => "check",
            Denials::Ignore => "acquire",
        }
    }

    #[inline]
    fn apply(&self, core: &mut Core) -> Result<Outcome, Blocked> {
        core.check(&self.item, self.denials)
    }

    #[inline]
    fn seq(outcome: &Outcome) -> u64 {
        outcome.seq
    }
}

/// Checks 1 to [`MAX_ITEMS`] keys, all or nothing. Items of one key have limits of their own; where these come to one counter, it decides
/// on the sum of their costs. Fails as [`Check`]; with `InvalidArgument` for no item or too many, `InvalidKey` for a key that appears
/// twice with the same limit, or without one.
#[derive(Debug, Clone, Copy)]
pub struct CheckAll<'a> {
    /// The keys.
    pub items: &'a [Item<'a>],
}

impl Operation for CheckAll<'_> {
    type Output = MultiOutcome;

    fn name(&self) -> &'static str {
        "check_all"
    }

    fn validate(&self) -> Result<()> {
        if self.items.is_empty() {
            return Err(Error::InvalidArgument(
                "items is empty: a check of several keys needs at least one, such as [\"user-42\"]".to_owned(),
            ));
        }
        if self.items.len() > MAX_ITEMS {
            return Err(Error::InvalidArgument(format!(
                "{} items in one call; at most {MAX_ITEMS} are accepted",
                self.items.len()
            )));
        }
        unique_items(self.items)
    }

    fn apply(&self, core: &mut Core) -> Result<MultiOutcome, Blocked> {
        core.check_all(self.items)
    }

    fn seq(outcome: &MultiOutcome) -> u64 {
        outcome.seq
    }
}

/// An operation with the id of its call: a later call with the same id gets the first answer again, and nothing is consumed or
/// counted. That holds for [`MAX_IDEMPOTENCY_RECORDS`](super::MAX_IDEMPOTENCY_RECORDS) newer allowed calls with an id, 32 MiB of their answers, and
/// [`IDEMPOTENCY_AGE_NS`](super::IDEMPOTENCY_AGE_NS). Answers to denied calls are kept for a quarter of that many calls and until the store is
/// closed; the denial of an attempt is not kept. Fails as the operation, and with `CallMismatch` for an id that was used with another
/// fingerprint.
#[derive(Debug, Clone, Copy)]
pub struct Idempotent<O> {
    /// What is done once.
    pub operation: O,
    /// The id.
    pub call: CallId,
}

impl Operation for Idempotent<Check<'_>> {
    type Output = Repeatable<Outcome>;

    fn name(&self) -> &'static str {
        self.operation.name()
    }

    fn apply(&self, core: &mut Core) -> Result<Repeatable<Outcome>, Blocked> {
        core.check_idempotent(&self.operation.item, &self.call, self.operation.denials)
    }

    fn seq(output: &Repeatable<Outcome>) -> u64 {
        output.answer.seq
    }
}

impl Operation for Idempotent<CheckAll<'_>> {
    type Output = Repeatable<MultiOutcome>;

    fn name(&self) -> &'static str {
        self.operation.name()
    }

    fn validate(&self) -> Result<()> {
        self.operation.validate()
    }

    fn apply(&self, core: &mut Core) -> Result<Repeatable<MultiOutcome>, Blocked> {
        core.check_all_idempotent(self.operation.items, &self.call)
    }

    fn seq(output: &Repeatable<MultiOutcome>) -> u64 {
        output.answer.seq
    }
}

/// Counts one denial of a key whose caller gave up waiting. Does nothing for an unknown key.
#[derive(Debug, Clone, Copy)]
pub struct CountDenial<'a> {
    /// The key.
    pub key: &'a str,
    /// The cost of the call that was denied.
    pub cost: u64,
    /// The limit that came with it.
    pub limit: Option<&'a Limit>,
}

impl Operation for CountDenial<'_> {
    type Output = ();

    fn name(&self) -> &'static str {
        "acquire"
    }

    fn apply(&self, core: &mut Core) -> Result<(), Blocked> {
        core.count_abandoned(self.key, self.cost, self.limit);
        Ok(())
    }

    fn seq((): &()) -> u64 {
        0
    }
}

/// Sets a key's limit. The same limit again writes nothing. Fails with `InvalidKey`. Returns the record to wait for, as all below.
#[derive(Debug, Clone, Copy)]
pub struct SetLimit<'a> {
    /// The key.
    pub key: &'a str,
    /// Its new limit.
    pub limit: &'a Limit,
    /// What happens to consumption.
    pub on_change: OnChange,
}

impl Operation for SetLimit<'_> {
    type Output = u64;

    fn name(&self) -> &'static str {
        "limit"
    }

    fn validate(&self) -> Result<()> {
        Key::new(self.key).map(drop)
    }

    fn apply(&self, core: &mut Core) -> Result<u64, Blocked> {
        core.configure(&[(self.key, self.limit, self.on_change)], false)
    }

    fn seq(seq: &u64) -> u64 {
        *seq
    }
}

/// Sets up to [`MAX_SPECS`] limits: all of them or, if the arguments are wrong or the log has no room, none. Limits of up to
/// [`SLICE_RATES`](super::SLICE_RATES) rates together are one record. More of them are set in slices of so many, in the given order, with
/// other calls in between: when the process dies in the middle, the slices before that are set. Fails as [`SetLimit`]; with
/// `InvalidArgument` for too many, `InvalidKey` for a key that appears twice.
#[derive(Debug, Clone, Copy)]
pub struct SetLimits<'a> {
    /// Keys, limits, and what happens to consumption.
    pub specs: &'a [(&'a str, &'a Limit, OnChange)],
}

impl Operation for SetLimits<'_> {
    type Output = u64;

    fn name(&self) -> &'static str {
        "limit_many"
    }

    fn validate(&self) -> Result<()> {
        if self.specs.len() > MAX_SPECS {
            return Err(Error::InvalidArgument(format!(
                "{} limits in one call; at most {MAX_SPECS} are accepted",
                self.specs.len()
            )));
        }
        for (key, ..) in self.specs {
            Key::new(key)?;
        }
        unique(self.specs.iter().map(|(key, ..)| *key))
    }

    fn apply(&self, core: &mut Core) -> Result<u64, Blocked> {
        core.configure(self.specs, true)
    }

    fn perform(&self, shared: &Shared) -> Result<u64> {
        shared.set_limits(self.specs)
    }

    fn is_short(&self) -> bool {
        is_one_slice(self.specs)
    }

    fn seq(seq: &u64) -> u64 {
        *seq
    }
}

/// Gives a key its full limit back. Totals stay. Fails with `LimitNotFound`.
#[derive(Debug, Clone, Copy)]
pub struct Reset<'a> {
    /// The key.
    pub key: &'a str,
}

impl Operation for Reset<'_> {
    type Output = u64;

    fn name(&self) -> &'static str {
        "reset"
    }

    fn apply(&self, core: &mut Core) -> Result<u64, Blocked> {
        core.reset(self.key)
    }

    fn seq(seq: &u64) -> u64 {
        *seq
    }
}

/// Removes a key: limit, state and totals. Fails with `LimitNotFound`.
#[derive(Debug, Clone, Copy)]
pub struct Delete<'a> {
    /// The key.
    pub key: &'a str,
}

impl Operation for Delete<'_> {
    type Output = u64;

    fn name(&self) -> &'static str {
        "delete"
    }

    fn apply(&self, core: &mut Core) -> Result<u64, Blocked> {
        core.delete(self.key)
    }

    fn seq(seq: &u64) -> u64 {
        *seq
    }
}

impl Engine {
    /// Executes an operation: waits for the lock, for room in the log, and in `SyncMode::Always` until the record is durable.
    ///
    /// # Errors
    /// As the operation; `Storage` (no room: nothing changed, or a failed sync: the record may or may not count after reopening),
    /// `Stopped`, `Closed`, `Forked`, `ReadOnly`.
    #[inline]
    pub fn run<O: Operation>(&self, operation: &O) -> Result<O::Output> {
        let shared = self.writer(operation.name())?;
        operation.validate()?;
        let output = operation.perform(shared)?;
        let seq = O::seq(&output);
        if shared.must_wait(seq) {
            shared.wait_durable(seq)?;
        }
        Ok(output)
    }

    /// Executes an operation as far as `wait` allows, and never waits for the disk. `None` if it would have to wait longer, or is done in
    /// slices: then nothing changed. The caller acknowledges the output only after a [`wait_durable`](Self::wait_durable) of its sequence number, if
    /// [`must_wait`](Self::must_wait) says so.
    ///
    /// # Errors
    /// As the operation; `Storage`, `Stopped`, `Closed`, `Forked`, `ReadOnly`.
    #[inline]
    pub fn try_run<O: Operation>(&self, operation: &O, wait: WaitPolicy) -> Result<Option<O::Output>> {
        let shared = self.writer(operation.name())?;
        operation.validate()?;
        if !operation.is_short() {
            return Ok(None);
        }
        shared.try_perform(wait, |core| operation.apply(core))
    }
}

/// Of one key, items must have different limits.
fn unique_items(items: &[Item<'_>]) -> Result<()> {
    let same = |a: &Item<'_>, b: &Item<'_>| a.key == b.key && a.limit == b.limit;
    let twice = |of: &[&Item<'_>]| (1..of.len()).find(|&at| of[..at].iter().any(|other| same(other, of[at])));
    let mut order: Vec<&Item<'_>> = items.iter().collect();
    order.sort_by_key(|item| item.key);
    let mut of_keys = order.chunk_by(|a, b| a.key == b.key);
    let Some(item) = of_keys.find_map(|of_key| twice(of_key).map(|at| of_key[at])) else { return Ok(()) };
    let which = if item.limit.is_some() { "the same limit" } else { "no limit of its own" };
    Err(Error::InvalidKey(format!(
        "{:?} appears twice with {which} in one call; give each key and limit once, with the sum of the costs",
        item.key
    )))
}

/// Few keys are compared with each other, many through a set.
fn unique<'a>(keys: impl ExactSizeIterator<Item = &'a str> + Clone) -> Result<()> {
    let twice = if keys.len() <= 8 {
        keys.clone()
            .enumerate()
            .find(|(index, key)| keys.clone().take(*index).any(|other| other == *key))
            .map(|(_, key)| key)
    } else {
        let mut seen = hashbrown::HashSet::with_capacity(keys.len());
        keys.clone().find(|key| !seen.insert(*key))
    };
    match twice {
        Some(key) => Err(Error::InvalidKey(format!("{key:?} appears twice in one call; give each key once"))),
        None => Ok(()),
    }
}
