//! A connected socket, used in the calling thread without the interpreter lock.

use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pyo3::exceptions::{PyOSError, PyTimeoutError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use rustix::buffer::{Buffer, spare_capacity};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::head;
use crate::call::base::{ParsedCall, Remote};
use crate::call::dispatch::dispatch;

/// Most that is received at once, and first of an answer: that to a check is far smaller.
const CHUNK: usize = 64 * 1024;
const FIRST_CHUNK: usize = 4 * 1024;

/// The socket's timeout is left alone while it is longer than what remains by at most this part of it.
const SLACK: u64 = 50;

/// A socket in blocking mode, which the caller keeps open during a call. At most one call uses it at a time.
#[pyclass(module = "flint._native", name = "_Line", frozen)]
pub(super) struct Line {
    descriptor: RawFd,
    /// The timeout that the socket has.
    armed_ns: AtomicU64,
}

/// Why nothing was received.
enum Failure {
    Late,
    System(Errno),
    /// A signal arrived; Python may have a handler for it.
    Signal,
}

/// What was received.
enum Received<T> {
    /// A successful answer, whole and by itself, on a connection that stays.
    Answer(T),
    /// Anything else, for the exchange to examine.
    Bytes(Vec<u8>),
}

impl Line {
    #[expect(unsafe_code, reason = "the descriptor is Python's; see the SAFETY line")]
    fn socket(&self) -> BorrowedFd<'_> {
        // SAFETY: the pool gives a connection to one call at a time, and closes none that is at work.
        unsafe { BorrowedFd::borrow_raw(self.descriptor) }
    }

    /// Has the socket wait no longer than until `end`, but for the slack.
    fn arm(&self, end: Instant) -> Result<(), Failure> {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Failure::Late);
        }
        let left_ns = u64::try_from(left.as_nanos()).unwrap_or(u64::MAX);
        let armed_ns = self.armed_ns.load(Ordering::Relaxed);
        if armed_ns < left_ns || armed_ns - left_ns > left_ns / SLACK {
            for which in [Timeout::Recv, Timeout::Send] {
                set_socket_timeout(self.socket(), which, Some(left)).map_err(Failure::System)?;
            }
            self.armed_ns.store(left_ns, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Sends what is left of a request.
    fn send(&self, unsent: &mut &[u8], end: Instant) -> Result<(), Failure> {
        while !unsent.is_empty() {
            self.arm(end)?;
            let sent = send(self.socket(), unsent, SendFlags::NOSIGNAL).map_err(failure)?;
            *unsent = &unsent[sent..];
        }
        Ok(())
    }

    /// Receives what is there, as soon as something is.
    fn receive<B: Buffer<u8>>(&self, buffer: B, end: Instant) -> Result<B::Output, Failure> {
        self.arm(end)?;
        recv(self.socket(), buffer, RecvFlags::empty()).map(|(received, _)| received).map_err(failure)
    }

    fn exchange<'py, C: Remote>(
        &self,
        py: Python<'py>,
        request: &[u8],
        call: &C,
        seconds: f64,
    ) -> PyResult<Bound<'py, PyAny>> {
        let end = Instant::now() + duration(seconds);
        let mut unsent = request;
        let received = self.wait(py, || {
            self.send(&mut unsent, end)?;
            let mut buffer = [const { MaybeUninit::uninit() }; FIRST_CHUNK];
            let (received, _) = self.receive(&mut buffer[..], end)?;
            let received: &[u8] = received;
            Ok(answer(call, received).map_or_else(|| Received::Bytes(received.to_vec()), Received::Answer))
        })?;
        match received {
            Received::Answer(output) => call.result(py, output),
            Received::Bytes(bytes) => Ok(PyBytes::new(py, &bytes).into_any()),
        }
    }

    /// Does `work` without the interpreter lock, again after each signal that Python does not make an exception of.
    fn wait<T: Send>(&self, py: Python<'_>, mut work: impl FnMut() -> Result<T, Failure> + Send) -> PyResult<T> {
        loop {
            match py.detach(&mut work) {
                Ok(done) => return Ok(done),
                Err(Failure::Signal) => py.check_signals()?,
                Err(Failure::Late) => return Err(PyTimeoutError::new_err("the timeout of the call is over")),
                Err(Failure::System(errno)) => return Err(os_error(py, errno)),
            }
        }
    }
}

fn failure(errno: Errno) -> Failure {
    match errno {
        Errno::INTR => Failure::Signal,
        // The socket blocks: its timeout is over.
        Errno::AGAIN => Failure::Late,
        errno => Failure::System(errno),
    }
}

/// As the standard library raises it: with the number, of the subclass that belongs to it.
#[cold]
fn os_error(py: Python<'_>, errno: Errno) -> PyErr {
    let number = errno.raw_os_error();
    let text = py.import("os").and_then(|os| os.getattr("strerror")?.call1((number,))?.extract::<String>());
    text.map_or_else(|failure| failure, |text| PyOSError::new_err((number, text)))
}

/// What the call returns, where `data` is a successful answer and nothing else.
fn answer<C: Remote>(call: &C, data: &[u8]) -> Option<C::Output> {
    let head = head::parse(data).ok()??;
    let whole = i64::try_from(data.len() - head.start) == Ok(head.length);
    let plain = head.status == 200 && head.stays && whole && head.content_type?.ends_with("json");
    if plain { call.decode(&data[head.start..]).ok() } else { None }
}

#[pymethods]
impl Line {
    /// descriptor: of a socket in blocking mode.
    #[new]
    fn new(descriptor: RawFd) -> Self {
        Self { descriptor, armed_ns: AtomicU64::new(0) }
    }

    /// Sends `data`, all of it, and returns what is received next: b"" at the end of the connection.
    ///
    /// Raises OSError, and TimeoutError after `seconds`.
    #[pyo3(signature = (data, seconds, /))]
    fn talk<'py>(&self, py: Python<'py>, data: &[u8], seconds: f64) -> PyResult<Bound<'py, PyBytes>> {
        let end = Instant::now() + duration(seconds);
        let mut unsent = data;
        let received = self.wait(py, || {
            self.send(&mut unsent, end)?;
            let mut buffer = Vec::with_capacity(CHUNK);
            self.receive(spare_capacity(&mut buffer), end)?;
            Ok(buffer)
        })?;
        Ok(PyBytes::new(py, &received))
    }

    /// Sends `request`, that of `call`, and returns its result; or whatever else was received, as talk() does.
    #[pyo3(signature = (request, call, seconds, /))]
    fn call<'py>(
        &self,
        py: Python<'py>,
        request: &[u8],
        call: &Bound<'py, ParsedCall>,
        seconds: f64,
    ) -> PyResult<Bound<'py, PyAny>> {
        dispatch!(remote call, call => self.exchange(py, request, call.get(), seconds))
    }
}

fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Line>()
}
