//! Requests as bytes: head and body in one piece, ready to be sent and to be sent again.

use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use flint_server::Bounds;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::body::Body;
use super::request::{LIMIT_MANY, Request};
use crate::call::base::{ParsedCall, Remote, Repetition};
use crate::call::dispatch::dispatch;
use crate::errors::{invalid_argument, prepare};

/// A body that takes a noticeable time, bytes.
const LARGE: usize = 64 * 1024;

/// Makes the requests of one client.
///
/// headers: what every request begins with, each line ending in CRLF. seed: 16 random bytes.
#[pyclass(module = "flint._native", name = "_Codec", frozen)]
pub(super) struct Codec {
    headers: Vec<u8>,
    /// With `count` it makes keys that no other client uses; replaced after a fork.
    seed: Mutex<u128>,
    count: AtomicU64,
}

impl Codec {
    /// The bytes of `request`; a `keyed` one carries a fresh idempotency key. A body that no server would take is rejected here.
    fn bytes<'py>(&self, py: Python<'py>, request: &Request, keyed: bool) -> PyResult<Bound<'py, PyBytes>> {
        let Request { target, body } = request;
        let content = body.as_ref().map_or(&[][..], Body::bytes);
        let bounds = Bounds::default();
        let most = if target == LIMIT_MANY { bounds.many_body_bytes } else { bounds.body_bytes };
        if content.len() > most {
            let message = format!(
                "the call takes {} bytes of JSON, and a server accepts {most} at a time: make several calls of it",
                content.len()
            );
            return Err(invalid_argument(py, message));
        }
        let mut bytes = Vec::with_capacity(target.len() + self.headers.len() + content.len() + 192);
        bytes.extend_from_slice(target.as_bytes());
        bytes.extend_from_slice(b" HTTP/1.1\r\n");
        bytes.extend_from_slice(&self.headers);
        if keyed {
            let seed = *self.seed.lock().expect("nothing panics with the seed locked");
            let count = self.count.fetch_add(1, Ordering::Relaxed);
            write!(bytes, "Idempotency-Key: {seed:032x}-{count:x}\r\n").expect("memory is written to");
        }
        if body.is_some() {
            write!(bytes, "Content-Type: application/json\r\nContent-Length: {}\r\n", content.len())
                .expect("memory is written to");
        } else if !target.starts_with("GET") {
            bytes.extend_from_slice(b"Content-Length: 0\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(content);
        Ok(PyBytes::new(py, &bytes))
    }
}

fn is_keyed<C: Remote>(_: &C) -> bool {
    C::REPETITION == Repetition::Keyed
}

fn is_repeatable<C: Remote>(_: &C) -> bool {
    C::REPETITION != Repetition::Counts
}

#[pymethods]
impl Codec {
    #[new]
    fn new(py: Python<'_>, headers: Vec<u8>, seed: [u8; 16]) -> PyResult<Self> {
        prepare(py)?;
        Ok(Self { headers, seed: Mutex::new(u128::from_ne_bytes(seed)), count: AtomicU64::new(0) })
    }

    /// The bytes of the call's request. Checks get an idempotency key, a new one each time.
    ///
    /// Raises InvalidArgument for a call that is too large for a server.
    #[pyo3(signature = (call, /))]
    fn encode<'py>(&self, py: Python<'py>, call: &Bound<'py, ParsedCall>) -> PyResult<Bound<'py, PyBytes>> {
        dispatch!(remote call, call => {
            let call = call.get();
            self.bytes(py, &call.request(py)?, is_keyed(call))
        })
    }

    /// The result of `call`, from the body of a server's answer, which begins at `start` of `data`.
    ///
    /// Raises ValueError for a body that is none of a Flint server of this version.
    #[pyo3(signature = (call, data, start, /))]
    fn decode<'py>(
        &self,
        py: Python<'py>,
        call: &Bound<'py, ParsedCall>,
        data: &Bound<'py, PyBytes>,
        start: usize,
    ) -> PyResult<Bound<'py, PyAny>> {
        dispatch!(remote call, call => {
            let call = call.get();
            let body = data.as_bytes().get(start..).unwrap_or_default();
            // To release the interpreter lock and take it again costs as much as to decode a small body.
            let decoded = if body.len() < LARGE { call.decode(body) } else { py.detach(|| call.decode(body)) };
            call.result(py, decoded.map_err(PyValueError::new_err)?)
        })
    }

    /// Whether the request of `call` may be sent again when the answer was lost: only a counted denial may not.
    #[pyo3(signature = (call, /))]
    fn is_repeatable(&self, call: &Bound<'_, ParsedCall>) -> PyResult<bool> {
        dispatch!(remote call, call => Ok(is_repeatable(call.get())))
    }

    /// Idempotency keys start with other random bytes from here on: after a fork.
    #[pyo3(signature = (seed, /))]
    fn reseed(&self, seed: [u8; 16]) {
        *self.seed.lock().expect("nothing panics with the seed locked") = u128::from_ne_bytes(seed);
    }
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Codec>()
}
