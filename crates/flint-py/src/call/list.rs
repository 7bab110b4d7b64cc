//! Calls that return several things: `list`, `top` and `history`.

use flint_core::engine::{Event as CoreEvent, Status, TopBy};
use flint_server::wire::status::MAX_PAGE;
use pyo3::prelude::*;

use super::base::{Call, Job, ParsedCall, Remote, initializer};
use super::choice;
use crate::client::decode;
use crate::client::request::Request;
use crate::convert::{Arg, Count, Key};
use crate::results::event::Event;
use crate::results::status::LimitStatus;

/// list(). A server answers with at most one page; `rest` is the call for what follows.
#[pyclass(module = "flint._native", name = "_ListCall", extends = ParsedCall, frozen)]
pub(crate) struct ListCall {
    prefix: Option<Key>,
    limit: Option<usize>,
    after: Option<Key>,
}

impl ListCall {
    /// The call with these arguments.
    pub(crate) fn parse(
        py: Python<'_>,
        prefix: Option<Key>,
        limit: Option<Count>,
        after: Option<Key>,
    ) -> PyResult<Self> {
        for key in [&prefix, &after].into_iter().flatten() {
            key.text(py)?;
        }
        Ok(Self { prefix, limit: limit.map(|count| count.0), after })
    }

    fn page(&self) -> usize {
        let most = usize::try_from(MAX_PAGE).unwrap_or(usize::MAX);
        self.limit.map_or(most, |limit| limit.min(most))
    }
}

/// top().
#[pyclass(module = "flint._native", name = "_TopCall", extends = ParsedCall, frozen)]
pub(crate) struct TopCall(TopBy, usize);

impl TopCall {
    /// The call with these arguments.
    pub(crate) fn parse(by: &Arg<'_>, limit: Count) -> PyResult<Self> {
        Ok(Self(choice::top_by(by.get())?, limit.0))
    }
}

/// history().
#[pyclass(module = "flint._native", name = "_HistoryCall", extends = ParsedCall, frozen)]
pub(crate) struct HistoryCall(Key, usize);

impl HistoryCall {
    /// The call with these arguments.
    pub(crate) fn parse(py: Python<'_>, key: Key, limit: Count) -> PyResult<Self> {
        key.text(py)?;
        Ok(Self(key, limit.0))
    }
}

#[pymethods]
impl ListCall {
    #[new]
    #[pyo3(signature = (prefix, limit, after, /))]
    fn new(
        py: Python<'_>,
        prefix: Option<Key>,
        limit: Option<Count>,
        after: Option<Key>,
    ) -> PyResult<PyClassInitializer<Self>> {
        Self::parse(py, prefix, limit, after).map(initializer)
    }

    /// The call for what follows `page`, a server's answer to this one; None when nothing does.
    #[pyo3(signature = (page, /))]
    fn rest<'py>(&self, py: Python<'py>, page: Vec<Bound<'py, LimitStatus>>) -> PyResult<Option<Bound<'py, Self>>> {
        let left = self.limit.map(|limit| limit.saturating_sub(page.len()));
        let Some(last) = page.last().filter(|_| page.len() >= self.page() && left != Some(0)) else { return Ok(None) };
        let prefix = self.prefix.as_ref().map(|prefix| Key::of(prefix.object(py)));
        let after = Some(Key::of(last.get().key_object(py)));
        Bound::new(py, initializer(Self { prefix, limit: left, after })).map(Some)
    }
}

#[pymethods]
impl TopCall {
    #[new]
    #[pyo3(signature = (by, limit, /))]
    fn new(by: Arg<'_>, limit: Count) -> PyResult<PyClassInitializer<Self>> {
        Self::parse(&by, limit).map(initializer)
    }
}

#[pymethods]
impl HistoryCall {
    #[new]
    #[pyo3(signature = (key, limit, /))]
    fn new(py: Python<'_>, key: Key, limit: Count) -> PyResult<PyClassInitializer<Self>> {
        Self::parse(py, key, limit).map(initializer)
    }
}

impl Remote for ListCall {
    type Output = Vec<Status>;

    fn request(&self, py: Python<'_>) -> PyResult<Request> {
        let mut request = Request::new("GET /v1/limits").with_query("limit", &self.page().to_string());
        for (name, key) in [("prefix", &self.prefix), ("after", &self.after)] {
            if let Some(key) = key {
                request = request.with_query(name, key.text(py)?);
            }
        }
        Ok(request)
    }

    fn decode(&self, body: &[u8]) -> Result<Vec<Status>, String> {
        decode::statuses(body)
    }

    fn result<'py>(&self, py: Python<'py>, statuses: Vec<Status>) -> PyResult<Bound<'py, PyAny>> {
        LimitStatus::all(py, statuses)?.into_pyobject(py)
    }
}

/// The arguments of a list, borrowed.
type Selection<'a> = (Option<&'a str>, Option<usize>, Option<&'a str>);

impl Call for ListCall {
    type Work<'a> = Job<Selection<'a>, Vec<Status>>;

    fn work<'a>(&'a self, py: Python<'a>) -> PyResult<Self::Work<'a>> {
        let prefix = self.prefix.as_ref().map(|prefix| prefix.text(py)).transpose()?;
        let after = self.after.as_ref().map(|after| after.text(py)).transpose()?;
        Ok(Job((prefix, self.limit, after), |engine, (prefix, limit, after)| engine.list(*prefix, *limit, *after)))
    }
}

impl Remote for TopCall {
    type Output = Vec<Status>;

    fn request(&self, _: Python<'_>) -> PyResult<Request> {
        let request = Request::new("GET /v1/top").with_query("by", choice::top_by_name(self.0));
        Ok(request.with_query("limit", &self.1.to_string()))
    }

    fn decode(&self, body: &[u8]) -> Result<Vec<Status>, String> {
        decode::statuses(body)
    }

    fn result<'py>(&self, py: Python<'py>, statuses: Vec<Status>) -> PyResult<Bound<'py, PyAny>> {
        LimitStatus::all(py, statuses)?.into_pyobject(py)
    }
}

impl Call for TopCall {
    type Work<'a> = Job<(TopBy, usize), Vec<Status>>;

    fn work<'a>(&'a self, _: Python<'a>) -> PyResult<Self::Work<'a>> {
        Ok(Job((self.0, self.1), |engine, (by, limit)| engine.top(*by, *limit)))
    }
}

impl Remote for HistoryCall {
    type Output = Vec<CoreEvent>;

    fn request(&self, py: Python<'_>) -> PyResult<Request> {
        let request = Request::new("GET /v1/history").with_query("key", self.0.text(py)?);
        Ok(request.with_query("limit", &self.1.to_string()))
    }

    fn decode(&self, body: &[u8]) -> Result<Vec<CoreEvent>, String> {
        decode::events(body)
    }

    fn result<'py>(&self, py: Python<'py>, events: Vec<CoreEvent>) -> PyResult<Bound<'py, PyAny>> {
        Event::all(py, events)?.into_pyobject(py)
    }
}

impl Call for HistoryCall {
    type Work<'a> = Job<(&'a str, usize), Vec<CoreEvent>>;

    fn work<'a>(&'a self, py: Python<'a>) -> PyResult<Self::Work<'a>> {
        Ok(Job((self.0.text(py)?, self.1), |engine, (key, limit)| engine.history(key, *limit)))
    }
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<ListCall>()?;
    m.add_class::<TopCall>()?;
    m.add_class::<HistoryCall>()
}
