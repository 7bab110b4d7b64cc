//! What each route does with the engine. Every function takes the engine and what was asked, and knows nothing of HTTP.
//!
//! - `check`: check, peek, deny, check-all
//! - `limits`: setting, reading, resetting, deleting
//! - `log`: flush, compact, records, doctor, history, top, counters

pub(crate) mod check;
pub(crate) mod limits;
pub(crate) mod log;

use flint_core::engine::{Operation, WaitPolicy};
use flint_core::{Engine, Result as CoreResult};
use serde::Serialize;

use crate::asked::to_json;
use crate::problem::Problem;

/// An answer, and what has to be on disk before it may be given.
#[derive(Debug)]
pub(crate) struct Decided {
    /// JSON.
    pub(crate) body: Vec<u8>,
    /// The record to wait for.
    pub(crate) seq: u64,
    /// Whether it is waited for in `SyncMode::Batch`, too.
    pub(crate) always: bool,
    /// Whether this is the answer of an earlier call with the same name.
    pub(crate) repeated: bool,
}

impl Decided {
    fn new(answer: &impl Serialize, seq: u64) -> Result<Self, Problem> {
        Ok(Self { body: to_json(answer)?, seq, always: false, repeated: false })
    }
}

/// Where an operation is executed, and so how long it may wait.
#[derive(Clone, Copy)]
pub(crate) enum Executor {
    /// In the event loop, which never waits for the disk.
    Loop(WaitPolicy),
    /// In a thread.
    Thread,
}

impl Executor {
    /// `None` where only a thread can go on.
    pub(crate) fn run<O: Operation>(self, engine: &Engine, operation: &O) -> CoreResult<Option<O::Output>> {
        match self {
            Self::Loop(wait) => engine.try_run(operation, wait),
            Self::Thread => engine.run(operation).map(Some),
        }
    }
}

/// What a call gives that could be decided; `None` where only a thread can go on.
pub(crate) type Decision = Result<Option<Decided>, Problem>;
