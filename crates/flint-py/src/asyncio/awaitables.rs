//! Futures that resolve when the disk has a record.
//!
//! A call that must be durable returns a future of its event loop. The engine makes the record durable in a thread of its own and
//! then writes one byte to a socket that the loop watches, which needs neither the GIL nor anything of Python. The loop wakes
//! up once, and resolves every future whose record is on disk.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, Weak};
use std::task::Waker;

use flint_core::engine::{Answer, Place};
use flint_core::{Engine, Error};
use pyo3::PyTraverseError;
use pyo3::exceptions::asyncio::InvalidStateError;
use pyo3::gc::PyVisit;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyWeakrefMethods, PyWeakrefReference};

use super::bell::{Bell, locked};
use super::places::{Answered, Places, answer_object};
use super::running::{refused, running_loop};
use crate::errors::{OrRaise, to_py};

const WAKE: &str = "nothing was decided, because no socket to wake the event loop can be made for";

fn sockets() -> io::Result<(UnixStream, UnixStream)> {
    let (reader, writer) = UnixStream::pair()?;
    reader.set_nonblocking(true)?;
    writer.set_nonblocking(true)?;
    Ok((reader, writer))
}

/// A future and what it is going to hold.
struct Pending {
    seq: u64,
    future: Py<PyAny>,
    result: Py<PyAny>,
}

/// The futures of one event loop. The loop calls it when its socket can be read.
#[pyclass(module = "flint._native", name = "_LoopWaits", frozen)]
pub(crate) struct LoopWaits {
    engine: Weak<Engine>,
    event_loop: Py<PyWeakrefReference>,
    socket: UnixStream,
    bell: Arc<Bell>,
    waker: Waker,
    /// In the order of the records: a loop makes one call after the other.
    pending: Mutex<VecDeque<Pending>>,
    /// What waits for a limit.
    places: Places,
}

impl LoopWaits {
    /// A new one, whose socket the loop watches.
    pub(super) fn watch<'py>(event_loop: &Bound<'py, PyAny>, engine: &Arc<Engine>) -> PyResult<Bound<'py, Self>> {
        let py = event_loop.py();
        let (socket, writer) = sockets().map_err(|error| to_py(py, &Error::storage(WAKE, engine.path(), error)))?;
        let fd = socket.as_raw_fd();
        let bell = Arc::new(Bell::new(writer));
        let waits = Bound::new(
            py,
            Self {
                engine: Arc::downgrade(engine),
                event_loop: PyWeakrefReference::new(event_loop)?.unbind(),
                socket,
                waker: bell.clone().into(),
                bell,
                pending: Mutex::new(VecDeque::new()),
                places: Places::default(),
            },
        )?;
        event_loop
            .call_method1(intern!(py, "add_reader"), (fd, &waits))
            .map_err(|error| refused(py, engine, WAKE, error))?;
        Ok(waits)
    }

    /// Resolves what is decided, now that the limiter is closed: at once if its loop runs in this thread or not at all, else as soon
    /// as the loop gets to it. Its sockets are closed then, because nothing refers to it any more.
    pub(super) fn end(&self, py: Python<'_>, object: &Py<Self>) {
        let at_once = match self.event_loop.bind(py).upgrade() {
            None => false,
            Some(event_loop) => {
                let runs = event_loop.call_method0(intern!(py, "is_running")).and_then(|runs| runs.is_truthy());
                let is_here = || running_loop(py).is_ok_and(|running| running.is(&event_loop));
                !self.is_over(py) && (!runs.unwrap_or(true) || is_here())
            }
        };
        if at_once {
            if let Err(error) = object.bind(py).call0() {
                error.write_unraisable(py, Some(object.bind(py)));
            }
        } else {
            self.bell.ring();
        }
    }

    /// Whether it belongs to this loop.
    pub(super) fn is_of(&self, event_loop: &Bound<'_, PyAny>) -> bool {
        self.event_loop.bind(event_loop.py()).upgrade().is_some_and(|own| own.is(event_loop))
    }

    /// Whether its loop was closed.
    pub(super) fn is_over(&self, py: Python<'_>) -> bool {
        match self.event_loop.bind(py).upgrade() {
            Some(event_loop) => {
                event_loop.call_method0(intern!(py, "is_closed")).and_then(|closed| closed.is_truthy()).unwrap_or(true)
            }
            None => true,
        }
    }

    /// A future that resolves to `result` when record `seq` is on disk.
    pub(crate) fn future<'py>(
        &self,
        event_loop: &Bound<'py, PyAny>,
        engine: &Engine,
        seq: u64,
        result: Py<PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = event_loop.py();
        let future = event_loop.call_method0(intern!(py, "create_future"))?;
        locked(&self.pending).push_back(Pending { seq, future: future.clone().unbind(), result });
        engine.wake_when_durable(&self.waker).or_raise(py)?;
        Ok(future)
    }

    /// The number of the next place in a queue, and what wakes the loop when it has an answer.
    pub(crate) fn waker_for_place(&self) -> (u64, Waker) {
        self.places.waker(&self.bell)
    }

    /// A future of what a place leads to.
    pub(crate) fn future_of_place<'py>(
        &self,
        event_loop: &Bound<'py, PyAny>,
        id: u64,
        place: Place,
        key: Py<PyString>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.places.future(event_loop, id, place, key)
    }

    /// Resolves the futures of places that have an answer; an admission whose record is not on disk yet waits for that.
    fn resolve_places(&self, py: Python<'_>) -> PyResult<()> {
        let mut waits_for_disk = false;
        for Answered { future, key, answer } in self.places.take_answered(py) {
            match answer {
                Ok(answer) => {
                    let seq = match &answer {
                        Answer::Admitted(outcome) => outcome.seq,
                        Answer::TooLate { .. } => 0,
                    };
                    let result = answer_object(py, key, answer)?.unbind();
                    if self.engine.upgrade().is_some_and(|engine| engine.must_wait(seq)) {
                        locked(&self.pending).push_back(Pending { seq, future, result });
                        waits_for_disk = true;
                    } else {
                        resolve(py, &future, Ok(result))?;
                    }
                }
                Err(error) => resolve(py, &future, Err(error))?,
            }
        }
        if waits_for_disk && let Some(engine) = self.engine.upgrade() {
            engine.wake_when_durable(&self.waker).or_raise(py)?;
        }
        Ok(())
    }

    /// Takes out what is decided by now: the futures, with an error for those whose record did not get to the disk.
    fn answered(&self) -> Vec<(Pending, Option<Error>)> {
        let engine = self.engine.upgrade();
        let mut pending = locked(&self.pending);
        let mut answered = Vec::new();
        while let Some(next) = pending.front() {
            let error = match &engine {
                // A caller that waits holds the limiter; with it gone the answer has no reader.
                None => Some(Error::Closed),
                Some(engine) => match engine.poll_durable(next.seq) {
                    Ok(false) => break,
                    Ok(true) => None,
                    Err(error) => Some(error),
                },
            };
            answered.extend(pending.pop_front().map(|next| (next, error)));
        }
        answered
    }

    fn has_ended(&self) -> bool {
        self.engine.upgrade().is_none_or(|engine| engine.is_closed())
            && locked(&self.pending).is_empty()
            && self.places.is_empty()
    }
}

#[pymethods]
impl LoopWaits {
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        let mut buffer = [0; 64];
        // Until nothing is left, or the socket would wake the loop again.
        while matches!((&self.socket).read(&mut buffer), Ok(read) if read == buffer.len()) {}
        self.resolve_places(py)?;
        for (Pending { future, result, .. }, error) in self.answered() {
            resolve(py, &future, error.map_or(Ok(result), Err))?;
        }
        if self.has_ended()
            && let Some(event_loop) = self.event_loop.bind(py).upgrade()
        {
            event_loop.call_method1(intern!(py, "remove_reader"), (self.socket.as_raw_fd(),))?;
        }
        Ok(())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.event_loop)?;
        if let Ok(pending) = self.pending.try_lock() {
            for Pending { future, result, .. } in &*pending {
                visit.call(future)?;
                visit.call(result)?;
            }
        }
        self.places.traverse(&visit)
    }
}

/// Gives a future its result, unless its task was cancelled: the decision remains.
fn resolve(py: Python<'_>, future: &Py<PyAny>, result: Result<Py<PyAny>, Error>) -> PyResult<()> {
    let resolved = match result {
        Ok(result) => future.call_method1(py, intern!(py, "set_result"), (result,)),
        Err(error) => future.call_method1(py, intern!(py, "set_exception"), (to_py(py, &error).into_value(py),)),
    };
    match resolved {
        Err(error) if error.is_instance_of::<InvalidStateError>(py) => Ok(()),
        other => other.map(drop),
    }
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<LoopWaits>()
}
