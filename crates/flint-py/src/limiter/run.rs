//! Executing parsed calls: blocking, and for event loops.

use flint_core::engine::{SyncMode, WaitPolicy};
use flint_core::{Engine, Error};
use pyo3::PyClass;
use pyo3::intern;
use pyo3::prelude::*;

use super::lifecycle::Limiter;
use super::notices;
use crate::asyncio::running::{finished, in_executor, refused, running_loop};
use crate::call::base::{Call, ParsedCall, Work, initializer};
use crate::errors::{OrRaise, to_py};

const NO_THREAD: &str = "nothing was done, because no thread can be started for a call on";

impl Limiter {
    /// Executes `work` to the end.
    ///
    /// What is brief is decided with the interpreter lock held, which is safe because the engine gives up at once where it would
    /// have to wait.
    #[inline]
    pub(super) fn execute<W: Work>(&self, py: Python<'_>, work: &W) -> PyResult<W::Output> {
        let engine = self.engine()?;
        let executed = match try_now(work, engine) {
            Ok(Some(output)) => match work.pending(engine, &output) {
                Some(seq) => py.detach(|| engine.wait_durable(seq)).map(|()| output),
                None => Ok(output),
            },
            Ok(None) => py.detach(|| work.run(engine)),
            Err(error) => Err(error),
        };
        notices::emit(py, engine);
        executed.or_raise(py)
    }

    /// What `call` returns.
    pub(super) fn run<'py, C: Call>(&self, py: Python<'py>, call: &C) -> PyResult<Bound<'py, PyAny>> {
        let output = self.execute(py, &call.work(py)?)?;
        call.result(py, output)
    }

    /// Begins `call` in the event loop that runs in this thread, which waits for no disk: what it returns, or an awaitable of that.
    /// Never None: that comes as an awaitable, too.
    pub(super) fn start<'py, C: Call>(
        slf: &Bound<'py, Self>,
        object: &Bound<'py, PyAny>,
        call: &C,
    ) -> PyResult<Bound<'py, PyAny>> {
        match Self::begin(slf, call)? {
            Some(started) => Ok(started),
            None => Self::start_in_thread(slf, object),
        }
    }

    /// The same for a call that is no Python object yet.
    #[inline]
    pub(super) fn start_parsed<'py, C>(slf: &Bound<'py, Self>, call: C) -> PyResult<Bound<'py, PyAny>>
    where
        C: Call + PyClass<BaseType = ParsedCall>,
    {
        match Self::begin(slf, &call)? {
            Some(started) => Ok(started),
            None => Self::start_in_thread(slf, Bound::new(slf.py(), initializer(call))?.as_any()),
        }
    }

    /// A decision that is made is its result, or a future that the disk resolves. `None` for a call that would have to wait for the
    /// disk before it can decide, or takes long: nothing has happened.
    #[inline]
    fn begin<'py, C: Call>(slf: &Bound<'py, Self>, call: &C) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = slf.py();
        let open = slf.get().open()?;
        let engine = &*open.engine;
        if engine.is_closed() {
            // While the interpreter ends, there may be no loop and nothing to import any more.
            return Err(to_py(py, &Error::Closed));
        }
        // Before anything is decided: without a loop, or descriptors for it, there would be nothing to await.
        let event_loop = if open.sync == SyncMode::Always { Some(running_loop(py)?) } else { None };
        let waits = match &event_loop {
            Some(event_loop) => open.loops.of(event_loop, &open.engine)?,
            None => None,
        };
        let event_loop = || event_loop.map_or_else(|| running_loop(py), Ok);
        if call.is_long() {
            return Ok(None);
        }
        let work = call.work(py)?;
        let mut decided = try_now(&work, engine);
        if matches!(decided, Ok(None)) {
            decided = py.detach(|| work.try_run(engine, WaitPolicy::Lock));
        }
        notices::emit(py, engine);
        let Some(output) = decided.or_raise(py)? else { return Ok(None) };
        let pending = work.pending(engine, &output);
        let result = call.result(py, output)?;
        match pending {
            Some(seq) => {
                let event_loop = event_loop()?;
                // In batch mode only a flush waits, which decides nothing.
                let waits = waits.map_or_else(|| open.loops.of(&event_loop, &open.engine), |waits| Ok(Some(waits)))?;
                let Some(waits) = waits else {
                    // The limiter was closed since, and knows whether the record got to the disk.
                    engine.wait_durable(seq).or_raise(py)?;
                    return finished(&event_loop, &result).map(Some);
                };
                waits.bind(py).get().future(&event_loop, engine, seq, result.unbind()).map(Some)
            }
            None if result.is_none() => finished(&event_loop()?, &result).map(Some),
            None => Ok(Some(result)),
        }
    }

    /// Has a thread of the loop's default executor execute the call in `object`.
    #[cold]
    fn start_in_thread<'py>(slf: &Bound<'py, Self>, object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        Self::in_thread(slf, &slf.getattr(intern!(slf.py(), "_run"))?, object)
    }

    /// Has a thread of the loop's default executor call `function(argument)`.
    pub(super) fn in_thread<'py>(
        slf: &Bound<'py, Self>,
        function: &Bound<'py, PyAny>,
        argument: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let engine = slf.get().engine()?;
        if engine.is_closed() {
            return Err(to_py(py, &Error::Closed));
        }
        let started = running_loop(py).and_then(|event_loop| in_executor(&event_loop, function, argument));
        started.map_err(|error| refused(py, engine, NO_THREAD, error))
    }
}

/// Decides what is brief, if that is possible without waiting for anything.
#[inline]
fn try_now<W: Work>(work: &W, engine: &Engine) -> flint_core::Result<Option<W::Output>> {
    if W::BRIEF { work.try_run(engine, WaitPolicy::Never) } else { Ok(None) }
}
