//! The state of a store, in a form that two stores can be compared by.

use flint_core::Result;
use flint_core::engine::{CallId, Engine};
use flint_core::idempotency::IdempotencyRecord;
use flint_core::image::KeyImage;

/// A remembered answer. Two are the same whatever the numbers of their records: an attempt to open may have written one more.
#[derive(Debug, Clone)]
pub struct Answered {
    pub(super) call: CallId,
    pub(super) seq: u64,
    at_ns: u64,
    pub(super) answer: Vec<u8>,
}

impl PartialEq for Answered {
    fn eq(&self, other: &Self) -> bool {
        (self.call, self.at_ns, &self.answer) == (other.call, other.at_ns, &other.answer)
    }
}

impl Answered {
    pub(super) fn is_alive(&self, now_ns: u64) -> bool {
        let Self { call, seq, at_ns, ref answer } = *self;
        !IdempotencyRecord { call, seq, at_ns, answer }.is_expired(now_ns)
    }
}

/// Every key's state, which does not depend on the moment, and what is remembered of calls that may be repeated.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// The keys.
    pub images: Vec<KeyImage>,
    /// The answers, those included that are too old to be given.
    pub answered: Vec<Answered>,
    /// Engine time.
    pub now_ns: u64,
}

impl State {
    /// That of an open store.
    ///
    /// # Errors
    /// `Stopped`, `Closed`.
    pub fn of(engine: &Engine) -> Result<Self> {
        let mut answered = Vec::new();
        let now_ns = engine.idempotency_records(&mut |record| {
            let IdempotencyRecord { call, seq, at_ns, answer } = *record;
            answered.push(Answered { call, seq, at_ns, answer: answer.to_vec() });
        })?;
        Ok(Self { images: engine.images()?, answered, now_ns })
    }
}

/// The same keys, and the same answers as of the earlier moment: what is too old may be gone or not.
impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        let now_ns = self.now_ns.min(other.now_ns);
        let alive = |state: &Self| -> Vec<_> {
            state.answered.iter().filter(|answered| answered.is_alive(now_ns)).cloned().collect()
        };
        self.images == other.images && alive(self) == alive(other)
    }
}

/// The state of a store that has to be open.
///
/// # Panics
/// When it is not.
pub fn state(engine: &Engine) -> State {
    State::of(engine).expect("the store is open")
}
