//! Where a handler's operation is executed.

use flint_core::engine::{CallId, Idempotent, Operation, Repeatable, WaitPolicy};
use flint_core::{Engine, Result};

/// Where an operation is executed, and so how long it may wait.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Executor {
    /// In the event loop: for the engine's lock, which no thread holds while the disk works.
    EventLoop,
    /// In a thread of the pool: for room in the log, too.
    Thread,
}

impl Executor {
    /// Executes an operation; `None` where it has to be executed in a thread. Then nothing changed.
    pub(crate) fn run<O: Operation>(self, engine: &Engine, operation: &O) -> Result<Option<O::Output>> {
        match self {
            Self::EventLoop => engine.try_run(operation, WaitPolicy::Lock),
            Self::Thread => engine.run(operation).map(Some),
        }
    }

    /// Executes an operation once for all calls with the same id; without an id, each time.
    pub(crate) fn run_once<O>(
        self,
        engine: &Engine,
        operation: O,
        call: Option<CallId>,
    ) -> Result<Option<Repeatable<O::Output>>>
    where
        O: Operation,
        Idempotent<O>: Operation<Output = Repeatable<O::Output>>,
    {
        match call {
            None => Ok(self.run(engine, &operation)?.map(|answer| Repeatable { answer, repeated: false })),
            Some(call) => self.run(engine, &Idempotent { operation, call }),
        }
    }
}
