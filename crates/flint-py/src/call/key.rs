//! Calls that concern one key: `reset`, `delete`, `status`, and the denial of an `acquire` that gave up.

use flint_core::engine::{CountDenial, Delete, Item, Reset, Status};
use pyo3::prelude::*;

use super::base::{Call, Change, Look, ParsedCall, Remote, Repetition, done, initializer};
use super::items::OwnedItem;
use super::limit::LimitArg;
use crate::client::body::Body;
use crate::client::decode;
use crate::client::request::Request;
use crate::convert::{Cost, Key};
use crate::results::status::LimitStatus;

/// reset().
#[pyclass(module = "flint._native", name = "_ResetCall", extends = ParsedCall, frozen)]
pub(crate) struct ResetCall(Key);

/// delete().
#[pyclass(module = "flint._native", name = "_DeleteCall", extends = ParsedCall, frozen)]
pub(crate) struct DeleteCall(Key);

/// status().
#[pyclass(module = "flint._native", name = "_StatusCall", extends = ParsedCall, frozen)]
pub(crate) struct StatusCall(Key);

/// Counts the denial of an acquire() that gave up.
#[pyclass(module = "flint._native", name = "_DenyCall", extends = ParsedCall, frozen)]
pub(crate) struct DenyCall(OwnedItem);

/// A constructor that takes the key, for methods and classes of Python.
macro_rules! of_key {
    ($($class:ident)*) => {$(
        impl $class {
            /// The call with this argument.
            pub(crate) fn parse(py: Python<'_>, key: Key) -> PyResult<Self> {
                key.text(py)?;
                Ok(Self(key))
            }
        }

        #[pymethods]
        impl $class {
            #[new]
            #[pyo3(signature = (key, /))]
            fn new(py: Python<'_>, key: Key) -> PyResult<PyClassInitializer<Self>> {
                Self::parse(py, key).map(initializer)
            }
        }
    )*};
}

of_key!(ResetCall DeleteCall StatusCall);

#[pymethods]
impl DenyCall {
    #[new]
    #[pyo3(signature = (key, cost, limit, /))]
    fn new(py: Python<'_>, key: Key, cost: Cost, limit: Option<LimitArg>) -> PyResult<PyClassInitializer<Self>> {
        key.text(py)?;
        Ok(initializer(Self(OwnedItem::new(key, cost, limit))))
    }
}

impl Remote for ResetCall {
    type Output = u64;

    fn request(&self, py: Python<'_>) -> PyResult<Request> {
        let mut body = Body::default();
        body.raw(r#"{"key":"#).text(self.0.text(py)?).raw("}");
        Ok(Request::new("POST /v1/reset").with_body(body))
    }

    fn decode(&self, _: &[u8]) -> Result<u64, String> {
        Ok(0)
    }

    fn result<'py>(&self, py: Python<'py>, _: u64) -> PyResult<Bound<'py, PyAny>> {
        Ok(done(py))
    }
}

impl Call for ResetCall {
    type Work<'a> = Change<Reset<'a>>;

    fn work<'a>(&'a self, py: Python<'a>) -> PyResult<Self::Work<'a>> {
        Ok(Change(Reset { key: self.0.text(py)? }))
    }
}

impl Remote for DeleteCall {
    type Output = u64;

    fn request(&self, py: Python<'_>) -> PyResult<Request> {
        Ok(Request::new("DELETE /v1/limits").with_query("key", self.0.text(py)?))
    }

    fn decode(&self, _: &[u8]) -> Result<u64, String> {
        Ok(0)
    }

    fn result<'py>(&self, py: Python<'py>, _: u64) -> PyResult<Bound<'py, PyAny>> {
        Ok(done(py))
    }
}

impl Call for DeleteCall {
    type Work<'a> = Change<Delete<'a>>;

    fn work<'a>(&'a self, py: Python<'a>) -> PyResult<Self::Work<'a>> {
        Ok(Change(Delete { key: self.0.text(py)? }))
    }
}

impl Remote for StatusCall {
    type Output = Option<Status>;

    fn request(&self, py: Python<'_>) -> PyResult<Request> {
        Ok(Request::new("GET /v1/limits").with_query("key", self.0.text(py)?))
    }

    fn decode(&self, body: &[u8]) -> Result<Option<Status>, String> {
        decode::statuses(body).map(|found| found.into_iter().next())
    }

    fn result<'py>(&self, py: Python<'py>, status: Option<Status>) -> PyResult<Bound<'py, PyAny>> {
        match status {
            Some(status) => LimitStatus::wrap(py, status).map(Bound::into_any),
            None => Ok(py.None().into_bound(py)),
        }
    }
}

impl Call for StatusCall {
    type Work<'a> = Look<&'a str, Option<Status>>;

    fn work<'a>(&'a self, py: Python<'a>) -> PyResult<Self::Work<'a>> {
        Ok(Look(self.0.text(py)?, |engine, key| engine.status(key)))
    }
}

impl Remote for DenyCall {
    type Output = ();

    const REPETITION: Repetition = Repetition::Counts;

    fn request(&self, py: Python<'_>) -> PyResult<Request> {
        let mut body = Body::default();
        self.0.write(py, &mut body)?;
        body.raw("}");
        Ok(Request::new("POST /v1/deny").with_body(body))
    }

    fn decode(&self, _: &[u8]) -> Result<(), String> {
        Ok(())
    }

    fn result<'py>(&self, py: Python<'py>, (): ()) -> PyResult<Bound<'py, PyAny>> {
        Ok(done(py))
    }
}

impl Call for DenyCall {
    type Work<'a> = Change<CountDenial<'a>>;

    fn work<'a>(&'a self, py: Python<'a>) -> PyResult<Self::Work<'a>> {
        let Item { key, cost, limit } = self.0.borrow(py)?;
        Ok(Change(CountDenial { key, cost, limit }))
    }
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<ResetCall>()?;
    m.add_class::<DeleteCall>()?;
    m.add_class::<StatusCall>()?;
    m.add_class::<DenyCall>()
}
