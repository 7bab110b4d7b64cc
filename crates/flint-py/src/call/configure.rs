//! `limit` and `limit_many`.

use flint_core::Engine;
use flint_core::engine::{SetLimit, SetLimits, WaitPolicy};
use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyIterator;

use super::base::{Call, Change, ParsedCall, Remote, Work, done, initializer, pending};
use super::specs::{Borrowed, CHUNK, Spec, Specs, give_way, iterate, parse_some, write_spec};
use super::{choice, limit};
use crate::client::body::Body;
use crate::client::request::{LIMIT_MANY, Request};
use crate::convert::{Arg, Key};

/// limit().
#[pyclass(module = "flint._native", name = "_LimitCall", extends = ParsedCall, frozen)]
pub(crate) struct LimitCall(Spec);

impl LimitCall {
    /// The call with these arguments.
    pub(crate) fn parse(
        key: Key,
        rate: &Bound<'_, PyAny>,
        per: Option<&Bound<'_, PyAny>>,
        algorithm: &Arg<'_>,
        burst: Option<&Bound<'_, PyAny>>,
        on_change: &Arg<'_>,
    ) -> PyResult<Self> {
        let limit = limit::parse(rate, per, algorithm.get(), burst)?;
        let on_change = choice::on_change(on_change.get())?;
        key.text(rate.py())?;
        Ok(Self(Spec { key, limit, on_change }))
    }
}

/// limit_many().
#[pyclass(module = "flint._native", name = "_LimitManyCall", extends = ParsedCall, frozen)]
pub(crate) struct LimitManyCall(Specs);

impl LimitManyCall {
    /// The call with these arguments.
    pub(crate) fn parse(specs: &Bound<'_, PyAny>) -> PyResult<Self> {
        let mut parsed = Specs::default();
        let iterator = iterate(specs)?;
        while !parse_some(&iterator, &mut parsed, CHUNK)? {
            give_way(specs.py());
        }
        Ok(Self(parsed))
    }
}

#[pymethods]
impl LimitCall {
    #[new]
    #[pyo3(signature = (key, rate, per, burst, on_change, algorithm = Arg::Missing, /))]
    fn new(
        key: Key,
        rate: &Bound<'_, PyAny>,
        per: Option<&Bound<'_, PyAny>>,
        burst: Option<&Bound<'_, PyAny>>,
        on_change: Arg<'_>,
        algorithm: Arg<'_>,
    ) -> PyResult<PyClassInitializer<Self>> {
        Self::parse(key, rate, per, &algorithm, burst, &on_change).map(initializer)
    }
}

#[pymethods]
impl LimitManyCall {
    #[new]
    #[pyo3(signature = (specs, /))]
    fn new(specs: &Bound<'_, PyAny>) -> PyResult<PyClassInitializer<Self>> {
        Self::parse(specs).map(initializer)
    }
}

/// The arguments of limit_many(), parsed some at a time.
#[pyclass(module = "flint._native", name = "_Specs", frozen)]
pub(crate) struct Parser {
    iterator: Py<PyIterator>,
    parsed: Mutex<Specs>,
}

#[pymethods]
impl Parser {
    #[new]
    #[pyo3(signature = (specs, /))]
    fn new(specs: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self { iterator: iterate(specs)?.unbind(), parsed: Mutex::default() })
    }

    /// Parses up to `count` more. Returns the call when there are no more, else None.
    #[pyo3(signature = (count, /))]
    fn parse<'py>(&self, py: Python<'py>, count: usize) -> PyResult<Option<Bound<'py, LimitManyCall>>> {
        // Taken out meanwhile: the iterator may run any code.
        let mut parsed = std::mem::take(&mut *self.parsed.lock().unwrap_or_else(PoisonError::into_inner));
        if parse_some(self.iterator.bind(py), &mut parsed, count)? {
            return Bound::new(py, initializer(LimitManyCall(parsed))).map(Some);
        }
        *self.parsed.lock().unwrap_or_else(PoisonError::into_inner) = parsed;
        Ok(None)
    }
}

impl Remote for LimitCall {
    type Output = u64;

    fn request(&self, py: Python<'_>) -> PyResult<Request> {
        let mut body = Body::default();
        write_spec(&self.0.borrow(py)?, &mut body);
        Ok(Request::new("POST /v1/limits").with_body(body))
    }

    fn decode(&self, _: &[u8]) -> Result<u64, String> {
        Ok(0)
    }

    fn result<'py>(&self, py: Python<'py>, _: u64) -> PyResult<Bound<'py, PyAny>> {
        Ok(done(py))
    }
}

impl Call for LimitCall {
    type Work<'a> = Change<SetLimit<'a>>;

    fn work<'a>(&'a self, py: Python<'a>) -> PyResult<Self::Work<'a>> {
        let Spec { key, limit, on_change } = &self.0;
        Ok(Change(SetLimit { key: key.text(py)?, limit, on_change: *on_change }))
    }
}

impl Remote for LimitManyCall {
    type Output = u64;

    fn request(&self, py: Python<'_>) -> PyResult<Request> {
        let specs = self.0.borrow(py)?;
        let body = py.detach(|| {
            let mut body = Body::default();
            body.raw(r#"{"limits":["#);
            for (index, spec) in specs.iter().enumerate() {
                write_spec(spec, body.separator(index));
            }
            body.raw("]}");
            body
        });
        Ok(Request::new(LIMIT_MANY).with_body(body))
    }

    fn decode(&self, _: &[u8]) -> Result<u64, String> {
        Ok(0)
    }

    fn result<'py>(&self, py: Python<'py>, _: u64) -> PyResult<Bound<'py, PyAny>> {
        Ok(done(py))
    }
}

/// The specs as the engine takes them.
pub(crate) struct ChangeMany<'a>(Vec<Borrowed<'a>>);

/// More than these take long enough to run in a thread of their own.
const MANY: usize = 100;

impl Work for ChangeMany<'_> {
    type Output = u64;

    fn run(&self, engine: &Engine) -> flint_core::Result<u64> {
        engine.run(&SetLimits { specs: &self.0 })
    }

    fn try_run(&self, engine: &Engine, wait: WaitPolicy) -> flint_core::Result<Option<u64>> {
        engine.try_run(&SetLimits { specs: &self.0 }, wait)
    }

    fn pending(&self, engine: &Engine, seq: &u64) -> Option<u64> {
        pending(engine, *seq)
    }
}

impl Call for LimitManyCall {
    type Work<'a> = ChangeMany<'a>;

    fn work<'a>(&'a self, py: Python<'a>) -> PyResult<ChangeMany<'a>> {
        self.0.borrow(py).map(ChangeMany)
    }

    fn is_long(&self) -> bool {
        self.0.len() > MANY
    }
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<LimitCall>()?;
    m.add_class::<LimitManyCall>()?;
    m.add_class::<Parser>()
}
