//! `check`, and the attempts of `acquire`.

use flint_core::engine::{Check, Outcome};
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::base::{Call, Decide, ParsedCall, Remote, Repetition, initializer};
use super::items::OwnedItem;
use super::limit::LimitArg;
use crate::client::body::Body;
use crate::client::decode;
use crate::client::request::Request;
use crate::convert::{Cost, Key};
use crate::results::check::CheckResult;

const ROUTE: &str = "POST /v1/check";

/// check().
#[pyclass(module = "flint._native", name = "_CheckCall", extends = ParsedCall, frozen, freelist = 64)]
pub(crate) struct CheckCall(OwnedItem);

/// One attempt of acquire(): a check whose denial is not counted, because the caller waits and tries again.
#[pyclass(module = "flint._native", name = "_AttemptCall", extends = ParsedCall, frozen, freelist = 64)]
pub(crate) struct AttemptCall(OwnedItem);

impl CheckCall {
    /// The call with these arguments.
    #[inline]
    pub(crate) fn parse(key: Key, cost: Cost, limit: Option<LimitArg>) -> Self {
        Self(OwnedItem::new(key, cost, limit))
    }
}

#[pymethods]
impl CheckCall {
    #[new]
    #[pyo3(signature = (key, cost, limit, /))]
    fn new(py: Python<'_>, key: Key, cost: Cost, limit: Option<LimitArg>) -> PyResult<PyClassInitializer<Self>> {
        key.text(py)?;
        Ok(initializer(Self::parse(key, cost, limit)))
    }

    /// The key.
    #[getter]
    fn key(&self, py: Python<'_>) -> Py<PyString> {
        self.0.key.object(py)
    }

    /// The cost.
    #[getter]
    fn cost(&self) -> u64 {
        self.0.cost
    }
}

#[pymethods]
impl AttemptCall {
    #[new]
    #[pyo3(signature = (key, cost, limit, /))]
    fn new(py: Python<'_>, key: Key, cost: Cost, limit: Option<LimitArg>) -> PyResult<PyClassInitializer<Self>> {
        key.text(py)?;
        Ok(initializer(Self(OwnedItem::new(key, cost, limit))))
    }

    /// The key.
    #[getter]
    fn key(&self, py: Python<'_>) -> Py<PyString> {
        self.0.key.object(py)
    }

    /// The cost.
    #[getter]
    fn cost(&self) -> u64 {
        self.0.cost
    }
}

impl Remote for CheckCall {
    type Output = Outcome;

    const REPETITION: Repetition = Repetition::Keyed;

    fn request(&self, py: Python<'_>) -> PyResult<Request> {
        let mut body = Body::default();
        self.0.write(py, &mut body)?;
        body.raw("}");
        Ok(Request::new(ROUTE).with_body(body))
    }

    fn decode(&self, body: &[u8]) -> Result<Outcome, String> {
        decode::outcome(body)
    }

    #[inline]
    fn result<'py>(&self, py: Python<'py>, outcome: Outcome) -> PyResult<Bound<'py, PyAny>> {
        CheckResult::wrap(py, self.0.key.object(py), outcome).map(Bound::into_any)
    }
}

impl Call for CheckCall {
    type Work<'a> = Decide<Check<'a>>;

    #[inline]
    fn work<'a>(&'a self, py: Python<'a>) -> PyResult<Self::Work<'a>> {
        Ok(Decide(Check::new(self.0.borrow(py)?)))
    }
}

impl Remote for AttemptCall {
    type Output = Outcome;

    const REPETITION: Repetition = Repetition::Keyed;

    fn request(&self, py: Python<'_>) -> PyResult<Request> {
        let mut body = Body::default();
        self.0.write(py, &mut body)?;
        body.raw(r#","count_denied":false}"#);
        Ok(Request::new(ROUTE).with_body(body))
    }

    fn decode(&self, body: &[u8]) -> Result<Outcome, String> {
        decode::outcome(body)
    }

    fn result<'py>(&self, py: Python<'py>, outcome: Outcome) -> PyResult<Bound<'py, PyAny>> {
        CheckResult::wrap(py, self.0.key.object(py), outcome).map(Bound::into_any)
    }
}

impl Call for AttemptCall {
    type Work<'a> = Decide<Check<'a>>;

    fn work<'a>(&'a self, py: Python<'a>) -> PyResult<Self::Work<'a>> {
        Ok(Decide(Check::attempt(self.0.borrow(py)?)))
    }
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<CheckCall>()?;
    m.add_class::<AttemptCall>()
}
