//! What the proofs on the simulated disk share: when and how stores are opened there.

use std::sync::Arc;

use flint_core::clock::ManualClock;
use flint_core::engine::{CallId, Check, CheckAll, Engine, Idempotent, Item, Options, SyncMode};
use flint_core::image::KeyImage;
use flint_core::limit::{Algorithm, Limit, parse_limit};
use flint_core::receipts::{Answer, Receipt, decode_answer};
use flint_core::testing::sim::SimDisk;
use flint_core::{Error, Result};

/// When every story starts: nanoseconds since the Unix epoch.
pub const START: u64 = 1_700_000_000_000_000_000;
/// One second.
pub const SECOND: u64 = 1_000_000_000;
/// The smallest segments there are.
pub const SEGMENT_BYTES: u64 = 16 << 10;

/// Both modes.
pub const MODES: [SyncMode; 2] = [SyncMode::Always, SyncMode::Batch];

/// A store with small segments and no background threads, so that the same calls make the same operations.
pub fn options(sync: SyncMode, clock: &Arc<ManualClock>) -> Options {
    Options { sync, segment_bytes: SEGMENT_BYTES, clock: clock.clone(), threads: false, ..Options::default() }
}

/// A clock that shows `wall_ns`.
pub fn clock_at(wall_ns: u64) -> Arc<ManualClock> {
    Arc::new(ManualClock::new(wall_ns))
}

/// Opens what is on `disk`.
///
/// # Errors
/// What [`Engine::open_in`] says.
pub fn open(disk: &SimDisk, options: Options) -> Result<Engine> {
    Engine::open_in(disk.dir(), options)
}

/// The limit that `text` says.
///
/// # Panics
/// When it says none.
pub fn limit(text: &str, algorithm: Algorithm) -> Limit {
    parse_limit(text, algorithm).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// A remembered answer. Two are the same whatever the numbers of their records: an attempt to open may have written one more.
#[derive(Debug, Clone)]
pub struct Answered {
    call: CallId,
    seq: u64,
    at_ns: u64,
    answer: Vec<u8>,
}

impl PartialEq for Answered {
    fn eq(&self, other: &Self) -> bool {
        (self.call, self.at_ns, &self.answer) == (other.call, other.at_ns, &other.answer)
    }
}

impl Answered {
    fn is_alive(&self, now_ns: u64) -> bool {
        let Self { call, seq, at_ns, ref answer } = *self;
        !Receipt { call, seq, at_ns, answer }.is_expired(now_ns)
    }
}

/// Every key's state, which does not depend on the moment, and what is remembered of calls that may be repeated.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// The keys.
    pub images: Vec<KeyImage>,
    /// The answers, those included that are too old to be given.
    pub answered: Vec<Answered>,
    now_ns: u64,
}

impl State {
    /// That of an open store.
    ///
    /// # Errors
    /// `Stopped`, `Closed`.
    pub fn of(engine: &Engine) -> Result<Self> {
        let mut answered = Vec::new();
        let now_ns = engine.receipts(&mut |receipt| {
            let Receipt { call, seq, at_ns, answer } = *receipt;
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

/// Every remembered call is repeated: it is told what it was told, and nothing changes.
///
/// # Panics
/// When one is charged again or told something else, naming `what` led there.
pub fn repeats(engine: &Engine, what: &str) {
    let counted = || (engine.counters().allowed, engine.counters().denied);
    let (before, counts) = (state(engine), counted());
    // A repetition is answered before anybody looks at what it asks for.
    let item = Item { key: "nobody's", cost: 1, limit: None };
    for Answered { call, seq, answer, .. } in before.answered.iter().filter(|each| each.is_alive(before.now_ns)) {
        let (told, _) = decode_answer(answer, *seq).unwrap_or_else(|reason| panic!("{what}: {reason}"));
        let same = match told {
            Answer::One(told) => engine
                .run(&Idempotent { operation: Check::new(item), call: *call })
                .map(|again| again.repeated && again.answer == told),
            Answer::Multi(told) => engine
                .run(&Idempotent { operation: CheckAll { items: &[item] }, call: *call })
                .map(|again| again.repeated && again.answer == told),
        };
        assert!(matches!(same, Ok(true)), "{what}: {call:?} is not told what it was told before: {same:?}");
    }
    assert!(state(engine) == before && counted() == counts, "{what}: repeated calls changed something");
}

/// A recovered store is written, closed and opened `then`: the same.
///
/// # Panics
/// When it is not, naming `what` led there.
pub fn goes_on(disk: &SimDisk, engine: Engine, then: &Options, what: &str) {
    let given = limit("5/minute", Algorithm::TokenBucket);
    let check = |key: &str, with| match engine.check(key, 1, with) {
        Err(error) if !is_refusal(&error) => panic!("{what}: {error}"),
        _ => {}
    };
    repeats(&engine, what);
    for _ in 0..2 {
        check("one more", Some(&given));
        for image in state(&engine).images.iter().take(4) {
            check(&image.key, None);
        }
    }
    let before = state(&engine);
    engine.close().unwrap_or_else(|error| panic!("{what}: closing: {error}"));
    drop(engine);
    let engine = open(disk, then.clone()).unwrap_or_else(|error| panic!("{what}: once more: {error}"));
    assert!(engine.recovery().clean, "{what}: the end of a clean session was torn");
    assert!(state(&engine) == before, "{what}: other keys or answers after closing and opening again");
    repeats(&engine, what);
    if then.sync == SyncMode::Batch {
        // A clean end twice in a row; in the other mode the store is left as by a process that ends without saying so.
        engine.close().unwrap_or_else(|error| panic!("{what}: closing again: {error}"));
    }
}

/// Whether a call was refused for what was asked, which changes nothing, and not for what the disk did.
pub fn is_refusal(error: &Error) -> bool {
    matches!(
        error,
        Error::LimitNotFound { .. } | Error::InvalidCost { .. } | Error::InvalidLimit(_) | Error::InvalidArgument(_)
    )
}
