//! `acquire` and `aacquire`: waiting for a limit in the engine's queue.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;
use std::time::Duration;

use flint_core::engine::{Answer, Arrival, Place, SyncMode};
use flint_core::{Engine, Error};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyInt};

use super::lifecycle::Limiter;
use super::{live, notices};
use crate::asyncio::places::answer_object;
use crate::asyncio::running::{finished, running_loop};
use crate::call::items::OwnedItem;
use crate::convert::shown;
use crate::errors::{OrRaise, invalid_argument, to_py};

/// How long a thread sleeps at most before it looks for signals: one that came just before it fell asleep did not wake it.
const LOOK_FOR_SIGNALS: Duration = Duration::from_secs(1);

/// The longest wait: 292 years, longer than for any limit, which every clock can count.
const LONGEST: Duration = Duration::from_nanos(i64::MAX as u64);

/// How long acquire() may wait: a number of seconds from 0 on.
pub(super) struct WaitTimeout(pub(super) Duration);

impl<'a, 'py> FromPyObject<'a, 'py> for WaitTimeout {
    type Error = PyErr;

    fn extract(value: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        let refused = || {
            let message =
                format!("timeout must be None or a number of seconds, 0 or more, such as 2.5, not {}", shown(value));
            invalid_argument(value.py(), message)
        };
        if value.is_instance_of::<PyBool>() {
            return Err(refused());
        }
        if value.is_instance_of::<PyInt>() {
            // Of any size.
            if value.lt(0)? {
                return Err(refused());
            }
            let seconds = value.extract::<u64>().map_or(LONGEST, Duration::from_secs);
            return Ok(Self(seconds.min(LONGEST)));
        }
        match value.cast::<PyFloat>().map(|number| number.value()) {
            // Rounded up, so that a wait of exactly that long is not refused.
            Ok(seconds) if seconds >= 0.0 && seconds.is_finite() => {
                let whole = Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST).min(LONGEST);
                let is_less = whole.as_secs_f64() < seconds && whole < LONGEST;
                Ok(Self(if is_less { whole + Duration::from_nanos(1) } else { whole }))
            }
            _ => Err(refused()),
        }
    }
}

const CANNOT_WAIT: &str = "nothing was consumed, because no socket to wake the waiting thread can be made for";

/// Wakes a thread that sleeps in a system call, which a signal ends as well.
#[derive(Default)]
struct ThreadBell {
    is_rung: AtomicBool,
    writer: OnceLock<UnixStream>,
}

impl Wake for ThreadBell {
    fn wake(self: Arc<Self>) {
        self.is_rung.store(true, Ordering::SeqCst);
        if let Some(mut writer) = self.writer.get() {
            // The reader is there as long as the thread waits.
            let _ = writer.write(&[1]);
        }
    }
}

impl Limiter {
    /// Waits until `item` is allowed, without the interpreter lock. A CheckResult, or why it would take too long.
    ///
    /// The place in the queue is given up when this returns, however it returns.
    pub(super) fn wait_for<'py>(
        &self,
        py: Python<'py>,
        item: &OwnedItem,
        timeout: Option<Duration>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let engine = self.engine()?;
        let answer = self.answer_for(py, engine, item, timeout)?;
        if let Answer::Admitted(outcome) = &answer
            && engine.must_wait(outcome.seq)
        {
            py.detach(|| engine.wait_durable(outcome.seq)).or_raise(py)?;
        }
        answer_object(py, item.key.object(py), answer)
    }

    fn answer_for(
        &self,
        py: Python<'_>,
        engine: &Engine,
        item: &OwnedItem,
        timeout: Option<Duration>,
    ) -> PyResult<Answer> {
        let borrowed = item.borrow(py)?;
        let arrived = py.detach(|| engine.arrive(&borrowed, timeout, None));
        notices::emit(py, engine);
        if let Arrival::Answered(answer) = arrived.or_raise(py)? {
            return Ok(answer);
        }
        let bell = Arc::new(ThreadBell::default());
        let cannot_wait = |error| to_py(py, &Error::storage(CANNOT_WAIT, engine.path(), error));
        let (reader, writer) = UnixStream::pair().map_err(cannot_wait)?;
        reader.set_read_timeout(Some(LOOK_FOR_SIGNALS)).map_err(cannot_wait)?;
        // A wake that is written before the reader looks stays in the socket.
        let _ = bell.writer.set(writer);
        let waker = bell.clone().into();
        match py.detach(|| engine.arrive(&borrowed, timeout, Some(&waker))).or_raise(py)? {
            Arrival::Answered(answer) => Ok(answer),
            Arrival::WouldWait => unreachable!("a waker was given"),
            Arrival::Waits(place) => sleep(py, &place, &bell, &reader),
        }
    }

    /// Begins to wait in the event loop that runs in this thread: what `wait_for` returns, or a future of it.
    pub(super) fn start_waiting<'py>(
        slf: &Bound<'py, Self>,
        item: OwnedItem,
        timeout: Option<Duration>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let open = slf.get().open()?;
        let engine = &*open.engine;
        if engine.is_closed() {
            return Err(to_py(py, &Error::Closed));
        }
        let mut event_loop = if open.sync == SyncMode::Always { Some(running_loop(py)?) } else { None };
        let mut waits = match &event_loop {
            Some(event_loop) => open.loops.of(event_loop, &open.engine)?,
            None => None,
        };
        let borrowed = item.borrow(py)?;
        let mut arrived = py.detach(|| engine.arrive(&borrowed, timeout, None)).or_raise(py)?;
        notices::emit(py, engine);
        if matches!(arrived, Arrival::WouldWait) {
            if event_loop.is_none() {
                let running = running_loop(py)?;
                waits = open.loops.of(&running, &open.engine)?;
                event_loop = Some(running);
            }
            let Some(waits) = &waits else { return Err(to_py(py, &closed_or_forked(engine))) };
            let waits = waits.bind(py).get();
            let (id, waker) = waits.waker_for_place();
            arrived = py.detach(|| engine.arrive(&borrowed, timeout, Some(&waker))).or_raise(py)?;
            if let (Arrival::Waits(_), Some(event_loop)) = (&arrived, &event_loop) {
                let Arrival::Waits(place) = arrived else { unreachable!("it was looked at") };
                return waits.future_of_place(event_loop, id, place, item.key.object(py));
            }
        }
        let Arrival::Answered(answer) = arrived else { unreachable!("a waker was given") };
        let seq = match &answer {
            Answer::Admitted(outcome) if engine.must_wait(outcome.seq) => Some(outcome.seq),
            _ => None,
        };
        let result = answer_object(py, item.key.object(py), answer)?;
        match (seq, event_loop, waits) {
            (Some(seq), Some(event_loop), Some(waits)) => {
                waits.bind(py).get().future(&event_loop, engine, seq, result.unbind())
            }
            (Some(seq), event_loop, _) => {
                // The limiter was closed since, and knows whether the record got to the disk.
                engine.wait_durable(seq).or_raise(py)?;
                finished(&event_loop.map_or_else(|| running_loop(py), Ok)?, &result)
            }
            (None, ..) => Ok(result),
        }
    }
}

fn closed_or_forked(engine: &Engine) -> Error {
    if engine.is_forked() { Error::Forked } else { Error::Closed }
}

/// Sleeps until the engine has an answer. A signal handler that raises ends it.
fn sleep(py: Python<'_>, place: &Place, bell: &ThreadBell, mut reader: &UnixStream) -> PyResult<Answer> {
    loop {
        match place.poll() {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => {}
            // A daemon thread, which the end of the process ends. Its traceback, written while the interpreter ends, could abort it.
            Err(Error::Closed) if live::is_exiting() => py.detach(|| {
                loop {
                    std::thread::park();
                }
            }),
            Err(error) => return Err(to_py(py, &error)),
        }
        let slept = py.detach(|| {
            if bell.is_rung.swap(false, Ordering::SeqCst) {
                return Ok(0);
            }
            reader.read(&mut [0; 8])
        });
        match slept {
            Ok(_) => {}
            Err(error)
                if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error.into()),
        }
        py.check_signals()?;
    }
}
