//! Calls that concern the whole store: `flush`, `compact`, `doctor`, `counters`, and the records of its log.

use flint_core::engine::WaitPolicy;
use flint_core::{Engine, Error};
use flint_server::wire::counters::CountersAnswer;
use flint_server::wire::report::ReportAnswer;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use super::base::{Call, Job, Look, ParsedCall, Remote, Work, done, initializer};
use crate::client::decode;
use crate::client::request::Request;
use crate::results::reports;

/// flush().
#[pyclass(module = "flint._native", name = "_FlushCall", extends = ParsedCall, frozen)]
pub(crate) struct FlushCall;

/// compact().
#[pyclass(module = "flint._native", name = "_CompactCall", extends = ParsedCall, frozen)]
pub(crate) struct CompactCall;

/// doctor().
#[pyclass(module = "flint._native", name = "_DoctorCall", extends = ParsedCall, frozen)]
pub(crate) struct DoctorCall;

/// counters().
#[pyclass(module = "flint._native", name = "_CountersCall", extends = ParsedCall, frozen)]
pub(crate) struct CountersCall;

/// Records of a server's log above the sequence number `after`, at most `limit`: a tuple of them, as dicts, and of the newest number
/// among them.
#[pyclass(module = "flint._native", name = "_RecordsCall", extends = ParsedCall, frozen)]
pub(crate) struct RecordsCall(u64, u64);

/// A constructor without arguments.
macro_rules! of_nothing {
    ($($class:ident)*) => {$(
        #[pymethods]
        impl $class {
            #[new]
            fn new() -> PyClassInitializer<Self> {
                initializer(Self)
            }
        }
    )*};
}

of_nothing!(FlushCall CompactCall DoctorCall CountersCall);

#[pymethods]
impl RecordsCall {
    #[new]
    #[pyo3(signature = (after, limit, /))]
    fn new(after: u64, limit: u64) -> PyClassInitializer<Self> {
        initializer(Self(after, limit))
    }
}

impl Remote for FlushCall {
    type Output = u64;

    fn request(&self, _: Python<'_>) -> PyResult<Request> {
        Ok(Request::new("POST /v1/log/flush"))
    }

    fn decode(&self, _: &[u8]) -> Result<u64, String> {
        Ok(0)
    }

    fn result<'py>(&self, py: Python<'py>, _: u64) -> PyResult<Bound<'py, PyAny>> {
        Ok(done(py))
    }
}

/// A flush. The record that it waits for is the newest one.
pub(crate) struct Flush;

impl Work for Flush {
    type Output = u64;

    fn run(&self, engine: &Engine) -> flint_core::Result<u64> {
        engine.flush().map(|()| 0)
    }

    fn try_run(&self, engine: &Engine, wait: WaitPolicy) -> flint_core::Result<Option<u64>> {
        match wait {
            WaitPolicy::Never => Ok(None),
            WaitPolicy::Lock => engine.newest_seq().map(Some),
        }
    }

    /// In every sync mode.
    fn pending(&self, _: &Engine, seq: &u64) -> Option<u64> {
        Some(*seq)
    }
}

impl Call for FlushCall {
    type Work<'a> = Flush;

    fn work<'a>(&'a self, _: Python<'a>) -> PyResult<Flush> {
        Ok(Flush)
    }
}

impl Remote for CompactCall {
    type Output = ();

    fn request(&self, _: Python<'_>) -> PyResult<Request> {
        Ok(Request::new("POST /v1/log/compact"))
    }

    fn decode(&self, _: &[u8]) -> Result<(), String> {
        Ok(())
    }

    fn result<'py>(&self, py: Python<'py>, (): ()) -> PyResult<Bound<'py, PyAny>> {
        Ok(done(py))
    }
}

impl Call for CompactCall {
    type Work<'a> = Job<(), ()>;

    fn work<'a>(&'a self, _: Python<'a>) -> PyResult<Self::Work<'a>> {
        Ok(Job((), |engine, ()| engine.compact()))
    }
}

impl Remote for DoctorCall {
    type Output = ReportAnswer;

    fn request(&self, _: Python<'_>) -> PyResult<Request> {
        Ok(Request::new("GET /v1/doctor"))
    }

    fn decode(&self, body: &[u8]) -> Result<ReportAnswer, String> {
        decode::json(body)
    }

    fn result<'py>(&self, py: Python<'py>, report: ReportAnswer) -> PyResult<Bound<'py, PyAny>> {
        reports::report(py, &report).map(Bound::into_any)
    }
}

impl Call for DoctorCall {
    type Work<'a> = Job<(), ReportAnswer>;

    fn work<'a>(&'a self, _: Python<'a>) -> PyResult<Self::Work<'a>> {
        Ok(Job((), |engine, ()| engine.doctor().map(|report| ReportAnswer::from(&report))))
    }
}

impl Remote for CountersCall {
    type Output = CountersAnswer;

    fn request(&self, _: Python<'_>) -> PyResult<Request> {
        Ok(Request::new("GET /v1/counters"))
    }

    fn decode(&self, body: &[u8]) -> Result<CountersAnswer, String> {
        decode::json(body)
    }

    fn result<'py>(&self, py: Python<'py>, counters: CountersAnswer) -> PyResult<Bound<'py, PyAny>> {
        reports::counters(py, &counters).map(Bound::into_any)
    }
}

impl Call for CountersCall {
    type Work<'a> = Look<(), CountersAnswer>;

    fn work<'a>(&'a self, _: Python<'a>) -> PyResult<Self::Work<'a>> {
        Ok(Look(
            (),
            |engine, ()| {
                if engine.is_forked() { Err(Error::Forked) } else { Ok(CountersAnswer::from(&engine.counters())) }
            },
        ))
    }
}

impl Remote for RecordsCall {
    type Output = String;

    fn request(&self, _: Python<'_>) -> PyResult<Request> {
        let request = Request::new("GET /v1/log/records").with_query("after", &self.0.to_string());
        Ok(request.with_query("limit", &self.1.to_string()))
    }

    fn decode(&self, body: &[u8]) -> Result<String, String> {
        decode::text(body)
    }

    fn result<'py>(&self, py: Python<'py>, text: String) -> PyResult<Bound<'py, PyAny>> {
        let answer = py.import("json")?.call_method1("loads", (text,))?.cast_into::<PyDict>()?;
        let records = answer.as_any().get_item("records")?.cast_into::<PyList>()?;
        let newest: u64 = answer.as_any().get_item("newest")?.extract()?;
        (records, newest).into_pyobject(py).map(|pair| pair.into_any())
    }
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<FlushCall>()?;
    m.add_class::<CompactCall>()?;
    m.add_class::<DoctorCall>()?;
    m.add_class::<CountersCall>()?;
    m.add_class::<RecordsCall>()
}
