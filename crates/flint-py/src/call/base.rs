//! What a parsed call is, and what the engine does for it.

use flint_core::Engine;
use flint_core::engine::{Operation, WaitPolicy};
use pyo3::PyClass;
use pyo3::prelude::*;
use pyo3::types::PyBool;

use crate::client::request::Request;

/// Base of the classes of parsed calls, which `Limiter._run` and `Limiter._start` execute, and `_Codec` encodes and decodes.
#[pyclass(module = "flint._native", name = "_Call", subclass, frozen)]
pub(crate) struct ParsedCall;

/// A call that can be sent to a server.
pub(crate) trait Remote: Sync {
    /// What the engine returns, and what the answer of a server is decoded into.
    type Output: Send;

    /// What happens when a request is sent again.
    const REPETITION: Repetition = Repetition::Harmless;

    /// The call as an HTTP request.
    fn request(&self, py: Python<'_>) -> PyResult<Request>;

    /// The body of a server's answer.
    ///
    /// # Errors
    /// What is wrong with it.
    fn decode(&self, body: &[u8]) -> Result<Self::Output, String>;

    /// What the call returns in Python.
    fn result<'py>(&self, py: Python<'py>, output: Self::Output) -> PyResult<Bound<'py, PyAny>>;
}

/// What happens when a request is sent again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repetition {
    /// It changes nothing, or nothing more.
    Harmless,
    /// The server recognises it by its idempotency key.
    Keyed,
    /// It would count twice.
    Counts,
}

/// A call that the engine of this process can execute.
pub(crate) trait Call: Remote {
    /// What the engine does.
    type Work<'a>: Work<Output = Self::Output>
    where
        Self: 'a;

    /// The call without anything of Python.
    fn work<'a>(&'a self, py: Python<'a>) -> PyResult<Self::Work<'a>>;

    /// Whether even `work` takes so long that an event loop leaves it to a thread.
    #[inline]
    fn is_long(&self) -> bool {
        false
    }
}

/// What the engine does for a call. Needs no interpreter lock.
pub(crate) trait Work: Sync {
    /// What it returns.
    type Output: Send;

    /// Whether deciding takes so little time that the interpreter lock is kept meanwhile.
    const BRIEF: bool = false;

    /// Executes it to the end: waits for the disk where that is necessary.
    fn run(&self, engine: &Engine) -> flint_core::Result<Self::Output>;

    /// Executes it as far as `wait` allows; `None` if it would have to wait longer, or takes long: then nothing changed.
    fn try_run(&self, engine: &Engine, wait: WaitPolicy) -> flint_core::Result<Option<Self::Output>>;

    /// After `try_run`: the record that has to be durable before `output` may be acknowledged.
    #[inline]
    fn pending(&self, engine: &Engine, output: &Self::Output) -> Option<u64> {
        let _ = (engine, output);
        None
    }
}

/// A decision.
pub(crate) struct Decide<O>(pub(crate) O);

impl<O: Operation<Output: Send> + Sync> Work for Decide<O> {
    type Output = O::Output;

    const BRIEF: bool = true;

    #[inline]
    fn run(&self, engine: &Engine) -> flint_core::Result<O::Output> {
        engine.run(&self.0)
    }

    #[inline]
    fn try_run(&self, engine: &Engine, wait: WaitPolicy) -> flint_core::Result<Option<O::Output>> {
        engine.try_run(&self.0, wait)
    }

    #[inline]
    fn pending(&self, engine: &Engine, output: &O::Output) -> Option<u64> {
        pending(engine, O::seq(output))
    }
}

/// A change of limits or keys.
pub(crate) struct Change<O>(pub(crate) O);

impl<O: Operation<Output: Send> + Sync> Work for Change<O> {
    type Output = O::Output;

    fn run(&self, engine: &Engine) -> flint_core::Result<O::Output> {
        engine.run(&self.0)
    }

    fn try_run(&self, engine: &Engine, wait: WaitPolicy) -> flint_core::Result<Option<O::Output>> {
        engine.try_run(&self.0, wait)
    }

    fn pending(&self, engine: &Engine, output: &O::Output) -> Option<u64> {
        pending(engine, O::seq(output))
    }
}

/// The record to wait for, if the sync mode says so.
#[inline]
pub(super) fn pending(engine: &Engine, seq: u64) -> Option<u64> {
    engine.must_wait(seq).then_some(seq)
}

/// A function of the engine, with its arguments.
type Function<A, T> = fn(&Engine, &A) -> flint_core::Result<T>;

/// A look at memory under the engine's lock, which is held for moments only.
pub(crate) struct Look<A, T>(pub(crate) A, pub(crate) Function<A, T>);

impl<A: Sync, T: Send> Work for Look<A, T> {
    type Output = T;

    fn run(&self, engine: &Engine) -> flint_core::Result<T> {
        (self.1)(engine, &self.0)
    }

    fn try_run(&self, engine: &Engine, wait: WaitPolicy) -> flint_core::Result<Option<T>> {
        match wait {
            WaitPolicy::Never => Ok(None),
            WaitPolicy::Lock => self.run(engine).map(Some),
        }
    }
}

/// Something that takes long: it visits all keys, or reads files. Event loops have it run in a thread.
pub(crate) struct Job<A, T>(pub(crate) A, pub(crate) Function<A, T>);

impl<A: Sync, T: Send> Work for Job<A, T> {
    type Output = T;

    fn run(&self, engine: &Engine) -> flint_core::Result<T> {
        (self.1)(engine, &self.0)
    }

    fn try_run(&self, _: &Engine, _: WaitPolicy) -> flint_core::Result<Option<T>> {
        Ok(None)
    }
}

/// The result of calls that only say that they are done: True.
pub(super) fn done(py: Python<'_>) -> Bound<'_, PyAny> {
    PyBool::new(py, true).to_owned().into_any()
}

/// A call as the base of its class.
pub(crate) fn initializer<T: PyClass<BaseType = ParsedCall>>(call: T) -> PyClassInitializer<T> {
    PyClassInitializer::from(ParsedCall).add_subclass(call)
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<ParsedCall>()
}
