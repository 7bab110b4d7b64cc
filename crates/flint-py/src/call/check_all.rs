//! `check_all`.

use flint_core::Engine;
use flint_core::engine::{CheckAll, Item, MultiOutcome, WaitPolicy};
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::base::{Call, ParsedCall, Remote, Repetition, Work, initializer, pending};
use super::items::{OwnedItem, parse_items};
use crate::client::body::Body;
use crate::client::decode;
use crate::client::request::Request;
use crate::results::check::MultiCheckResult;

/// check_all().
#[pyclass(module = "flint._native", name = "_CheckAllCall", extends = ParsedCall, frozen, freelist = 16)]
pub(crate) struct CheckAllCall(Vec<OwnedItem>);

impl CheckAllCall {
    /// The call with these arguments.
    pub(crate) fn parse(items: &Bound<'_, PyAny>) -> PyResult<Self> {
        parse_items(items).map(Self)
    }
}

#[pymethods]
impl CheckAllCall {
    #[new]
    #[pyo3(signature = (items, /))]
    fn new(items: &Bound<'_, PyAny>) -> PyResult<PyClassInitializer<Self>> {
        Self::parse(items).map(initializer)
    }

    /// The key of each item.
    #[getter]
    fn keys(&self, py: Python<'_>) -> Vec<Py<PyString>> {
        self.0.iter().map(|item| item.key.object(py)).collect()
    }

    /// The cost of each item.
    #[getter]
    fn costs(&self) -> Vec<u64> {
        self.0.iter().map(|item| item.cost).collect()
    }
}

impl Remote for CheckAllCall {
    type Output = MultiOutcome;

    const REPETITION: Repetition = Repetition::Keyed;

    fn request(&self, py: Python<'_>) -> PyResult<Request> {
        let mut body = Body::default();
        body.raw(r#"{"items":["#);
        for (index, item) in self.0.iter().enumerate() {
            body.separator(index);
            if item.is_plain() {
                body.text(item.key.text(py)?);
            } else {
                item.write(py, &mut body)?;
                body.raw("}");
            }
        }
        body.raw("]}");
        Ok(Request::new("POST /v1/check-all").with_body(body))
    }

    fn decode(&self, body: &[u8]) -> Result<MultiOutcome, String> {
        decode::multi_outcome(body, self.0.len())
    }

    fn result<'py>(&self, py: Python<'py>, outcome: MultiOutcome) -> PyResult<Bound<'py, PyAny>> {
        MultiCheckResult::wrap(py, self.keys(py), outcome).map(Bound::into_any)
    }
}

/// The items as the engine takes them.
pub(crate) struct DecideAll<'a>(Vec<Item<'a>>);

impl Work for DecideAll<'_> {
    type Output = MultiOutcome;

    const BRIEF: bool = true;

    fn run(&self, engine: &Engine) -> flint_core::Result<MultiOutcome> {
        engine.run(&CheckAll { items: &self.0 })
    }

    fn try_run(&self, engine: &Engine, wait: WaitPolicy) -> flint_core::Result<Option<MultiOutcome>> {
        engine.try_run(&CheckAll { items: &self.0 }, wait)
    }

    fn pending(&self, engine: &Engine, outcome: &MultiOutcome) -> Option<u64> {
        pending(engine, outcome.seq)
    }
}

impl Call for CheckAllCall {
    type Work<'a> = DecideAll<'a>;

    fn work<'a>(&'a self, py: Python<'a>) -> PyResult<DecideAll<'a>> {
        self.0.iter().map(|item| item.borrow(py)).collect::<PyResult<_>>().map(DecideAll)
    }
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<CheckAllCall>()
}
