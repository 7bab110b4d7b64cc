//! `peek`, and the forecasts of `acquire`.

use flint_core::engine::{Outcome, RateVerdicts};
use flint_core::limit::Limit;
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::base::{Call, Look, ParsedCall, Remote, initializer};
use super::items::OwnedItem;
use super::limit::LimitArg;
use crate::client::body::Body;
use crate::client::decode;
use crate::client::request::Request;
use crate::convert::{Cost, Key};
use crate::results::check::CheckResult;

const ROUTE: &str = "POST /v1/peek";

/// peek().
#[pyclass(module = "flint._native", name = "_PeekCall", extends = ParsedCall, frozen)]
pub(crate) struct PeekCall(OwnedItem);

impl PeekCall {
    /// The call with these arguments.
    pub(crate) fn parse(key: Key, cost: Cost, limit: Option<LimitArg>) -> Self {
        Self(OwnedItem::new(key, cost, limit))
    }
}

/// How long acquire() would wait: a denied result that waits until the last of `costs` was taken, each in its turn, if nothing else
/// happened; without costs, as long as a check would wait.
#[pyclass(module = "flint._native", name = "_ForecastCall", extends = ParsedCall, frozen)]
pub(crate) struct ForecastCall {
    item: OwnedItem,
    costs: Option<Vec<u64>>,
}

#[pymethods]
impl PeekCall {
    #[new]
    #[pyo3(signature = (key, cost, limit, /))]
    fn new(py: Python<'_>, key: Key, cost: Cost, limit: Option<LimitArg>) -> PyResult<PyClassInitializer<Self>> {
        key.text(py)?;
        Ok(initializer(Self::parse(key, cost, limit)))
    }
}

#[pymethods]
impl ForecastCall {
    #[new]
    #[pyo3(signature = (key, cost, limit, costs, /))]
    fn new(
        py: Python<'_>,
        key: Key,
        cost: Cost,
        limit: Option<LimitArg>,
        costs: Option<Vec<u64>>,
    ) -> PyResult<PyClassInitializer<Self>> {
        key.text(py)?;
        Ok(initializer(Self { item: OwnedItem::new(key, cost, limit), costs }))
    }

    /// The key.
    #[getter]
    fn key(&self, py: Python<'_>) -> Py<PyString> {
        self.item.key.object(py)
    }

    /// The cost.
    #[getter]
    fn cost(&self) -> u64 {
        self.item.cost
    }
}

impl Remote for PeekCall {
    type Output = Outcome;

    fn request(&self, py: Python<'_>) -> PyResult<Request> {
        let mut body = Body::default();
        self.0.write(py, &mut body)?;
        body.raw("}");
        Ok(Request::new(ROUTE).with_body(body))
    }

    fn decode(&self, body: &[u8]) -> Result<Outcome, String> {
        decode::outcome(body)
    }

    fn result<'py>(&self, py: Python<'py>, outcome: Outcome) -> PyResult<Bound<'py, PyAny>> {
        CheckResult::wrap(py, self.0.key.object(py), outcome).map(Bound::into_any)
    }
}

impl Call for PeekCall {
    type Work<'a> = Look<(&'a str, u64, Option<&'a Limit>), Outcome>;

    fn work<'a>(&'a self, py: Python<'a>) -> PyResult<Self::Work<'a>> {
        let item = self.0.borrow(py)?;
        Ok(Look((item.key, item.cost, item.limit), |engine, (key, cost, limit)| engine.peek(key, *cost, *limit)))
    }
}

impl Remote for ForecastCall {
    type Output = Outcome;

    fn request(&self, py: Python<'_>) -> PyResult<Request> {
        let mut body = Body::default();
        self.item.write(py, &mut body)?;
        if let Some(costs) = &self.costs {
            body.raw(r#","costs":["#);
            for (index, cost) in costs.iter().enumerate() {
                body.separator(index).number(*cost);
            }
            body.raw("]");
        }
        body.raw("}");
        Ok(Request::new(ROUTE).with_body(body))
    }

    fn decode(&self, body: &[u8]) -> Result<Outcome, String> {
        decode::outcome(body).map(|outcome| Outcome { allowed: false, ..outcome })
    }

    fn result<'py>(&self, py: Python<'py>, outcome: Outcome) -> PyResult<Bound<'py, PyAny>> {
        CheckResult::wrap(py, self.item.key.object(py), outcome).map(Bound::into_any)
    }
}

/// The arguments of a forecast, borrowed.
type Queue<'a> = (&'a str, u64, Option<&'a Limit>, Option<&'a [u64]>);

impl Call for ForecastCall {
    type Work<'a> = Look<Queue<'a>, Outcome>;

    fn work<'a>(&'a self, py: Python<'a>) -> PyResult<Self::Work<'a>> {
        let item = self.item.borrow(py)?;
        Ok(Look((item.key, item.cost, item.limit, self.costs.as_deref()), |engine, (key, cost, limit, costs)| {
            let seen = engine.peek(key, *cost, *limit)?;
            let retry_after_ns = match costs {
                Some(costs) => engine.forecast(key, *limit, costs)?,
                None => seen.retry_after_ns,
            };
            // Each rate keeps what it said by itself.
            let verdicts = RateVerdicts::Each(seen.rates().into());
            Ok(Outcome { allowed: false, retry_after_ns, verdicts, ..seen })
        }))
    }
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<PeekCall>()?;
    m.add_class::<ForecastCall>()
}
