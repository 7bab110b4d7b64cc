//! `flint.Limit`, and everything that a limit can be made of.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use flint_core::limit::{Algorithm, Limit as CoreLimit, Rate as CoreRate, parse_limit, parse_period_ms};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString, PyTuple};

use crate::convert::{Arg, shown, unsigned};
use crate::errors::{OrRaise, invalid_limit};
use crate::results::rate::Rate;
use crate::time::{is_timedelta, timedelta_us};

/// A parsed limit: one to eight rates that are taken together or not at all. Frozen and reusable. Limits with the same rates are
/// equal, in any order.
///
/// Limit("100/minute"), Limit("10/second; 1000/day"), Limit("100/m burst 200"), Limit(100, "1m"), Limit(100, timedelta(minutes=1)),
/// Limit(100, 60). With an integer `rate`, `per` is text such as "1m" or "250ms", a timedelta, or whole seconds. A sequence of limits
/// joins their rates, which is how algorithms are mixed. `algorithm` is "token_bucket", "sliding_window_log" or
/// "fixed_window_counter"; `burst` is for the token bucket.
///
/// Raises InvalidLimit.
#[pyclass(module = "flint", name = "Limit", frozen)]
pub(crate) struct Limit(CoreLimit);

#[pymethods]
impl Limit {
    #[new]
    #[pyo3(
        signature = (rate, per = None, *, algorithm = Arg::Missing, burst = None),
        text_signature = "(rate, per=None, *, algorithm='token_bucket', burst=None)"
    )]
    fn new(
        rate: &Bound<'_, PyAny>,
        per: Option<&Bound<'_, PyAny>>,
        algorithm: Arg<'_>,
        burst: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        parse(rate, per, algorithm.get(), burst).map(Self)
    }

    /// The rates, in the order given.
    #[getter]
    fn rates<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        Rate::tuple(py, self.0.rates())
    }

    /// The highest cost that can ever succeed: the smallest burst over the rates.
    #[getter]
    fn capacity(&self) -> u64 {
        self.0.capacity()
    }

    fn __str__(&self) -> String {
        self.0.to_string()
    }

    fn __repr__(&self) -> String {
        let rates = self.0.rates();
        let one = |rates: &[CoreRate], text: String| match rates[0].algorithm() {
            Algorithm::TokenBucket => format!("Limit('{text}')"),
            other => format!("Limit('{text}', algorithm='{}')", other.name()),
        };
        if rates.iter().all(|rate| rate.algorithm() == rates[0].algorithm()) {
            return one(rates, self.0.to_string());
        }
        let each: Vec<String> =
            rates.iter().map(|rate| one(std::slice::from_ref(rate), CoreLimit::single(*rate).to_string())).collect();
        format!("Limit([{}])", each.join(", "))
    }

    fn __eq__(&self, other: &Self) -> bool {
        self.0 == other.0
    }

    fn __hash__(&self) -> u64 {
        BuildHasherDefault::<DefaultHasher>::default().hash_one(self.0)
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, (Bound<'py, PyTuple>,))> {
        Ok((py.import("flint._native")?.getattr("_limit_of")?, (self.rates(py)?,)))
    }

    fn __copy__<'py>(slf: &Bound<'py, Self>) -> Bound<'py, Self> {
        slf.clone()
    }

    fn __deepcopy__<'py>(slf: &Bound<'py, Self>, _memo: &Bound<'py, PyAny>) -> Bound<'py, Self> {
        slf.clone()
    }
}

/// The limit of these rates: what unpickling calls.
#[pyfunction]
fn _limit_of(py: Python<'_>, rates: Vec<Bound<'_, Rate>>) -> PyResult<Limit> {
    let rates: Vec<CoreRate> = rates.iter().map(|rate| rate.get().core()).collect();
    CoreLimit::new(&rates).or_raise(py).map(Limit)
}

/// A limit as the `limit=` of a call takes it: a `Limit`, or text that is parsed now.
pub(crate) enum LimitArg {
    Ready(Py<Limit>),
    Parsed(Box<CoreLimit>),
}

impl LimitArg {
    #[inline]
    pub(crate) fn core(&self) -> &CoreLimit {
        match self {
            Self::Ready(limit) => &limit.get().0,
            Self::Parsed(limit) => limit,
        }
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for LimitArg {
    type Error = PyErr;

    #[inline]
    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(limit) = object.cast::<Limit>() {
            return Ok(Self::Ready(limit.to_owned().unbind()));
        }
        match object.cast::<PyString>() {
            Ok(text) => parse_text(&text, Algorithm::TokenBucket).map(|limit| Self::Parsed(Box::new(limit))),
            Err(_) => {
                let type_name = object.get_type().name()?;
                Err(PyTypeError::new_err(format!(
                    "limit must be a flint.Limit or text such as '100/minute', not {type_name}"
                )))
            }
        }
    }
}

/// The limit that `flint.Limit` and `limit()` are given.
pub(crate) fn parse(
    rate: &Bound<'_, PyAny>,
    per: Option<&Bound<'_, PyAny>>,
    algorithm: Option<&Bound<'_, PyAny>>,
    burst: Option<&Bound<'_, PyAny>>,
) -> PyResult<CoreLimit> {
    let py = rate.py();
    let named = algorithm.map(algorithm_of).transpose()?;
    let default = named.unwrap_or(Algorithm::TokenBucket);
    let Some(per) = per else {
        return match rate.cast::<PyString>() {
            Ok(text) => {
                let limit = parse_text(text, default)?;
                match burst {
                    None => Ok(limit),
                    Some(burst) => limit.with_burst(integer("burst", burst)?).or_raise(py),
                }
            }
            Err(_) => joined(rate, named, burst),
        };
    };
    if rate.is_instance_of::<PyString>() || rate.is_instance_of::<Limit>() {
        let message = format!(
            "per was given with {}, which has the period in it; leave per out, as in '100/minute'",
            shown(rate.as_borrowed())
        );
        return Err(invalid_limit(py, message));
    }
    let limit = integer("rate", rate)?;
    let burst = burst.map(|burst| integer("burst", burst)).transpose()?;
    CoreRate::new(limit, period_ms(per)?, burst, default).map(CoreLimit::single).or_raise(py)
}

/// A `Limit`, or a sequence of limits and texts whose rates are joined.
fn joined(
    rate: &Bound<'_, PyAny>,
    algorithm: Option<Algorithm>,
    burst: Option<&Bound<'_, PyAny>>,
) -> PyResult<CoreLimit> {
    let py = rate.py();
    if let Ok(limit) = rate.cast::<Limit>() {
        if algorithm.is_some() || burst.is_some() {
            let message = "algorithm and burst are part of a flint.Limit and cannot be given with it";
            return Err(invalid_limit(py, message.to_owned()));
        }
        return Ok(limit.get().0);
    }
    if !(rate.is_instance_of::<PyTuple>() || rate.is_instance_of::<PyList>()) {
        let shown = shown(rate.as_borrowed());
        let message = match unsigned(rate.as_borrowed()) {
            Some(_) => format!("a rate of {shown} needs per, as in Limit({shown}, '1m')"),
            None => format!(
                "rate must be text such as '100/minute', a flint.Limit, or an integer from 1 to 2**64 - 1 with per, as in Limit(5, \
                 '1m'), not {shown}"
            ),
        };
        return Err(invalid_limit(py, message));
    }
    if burst.is_some() {
        return Err(invalid_limit(py, "burst cannot be given for several limits; write it in each".to_owned()));
    }
    let mut rates = Vec::new();
    for part in rate.try_iter()? {
        let part = part?;
        match (part.cast::<Limit>(), part.cast::<PyString>()) {
            (Ok(limit), _) => rates.extend_from_slice(limit.get().0.rates()),
            (_, Ok(text)) => {
                rates.extend_from_slice(parse_text(text, algorithm.unwrap_or(Algorithm::TokenBucket))?.rates())
            }
            _ => {
                let message =
                    format!("{} in a sequence of limits is neither a flint.Limit nor text", shown(part.as_borrowed()));
                return Err(invalid_limit(py, message));
            }
        }
    }
    CoreLimit::new(&rates).or_raise(py)
}

fn parse_text(text: &Bound<'_, PyString>, algorithm: Algorithm) -> PyResult<CoreLimit> {
    match text.to_str() {
        Ok(plain) => parse_limit(plain, algorithm).or_raise(text.py()),
        Err(_) => Err(invalid_limit(
            text.py(),
            "a lone surrogate is not part of any limit; write e.g. '100/minute'".to_owned(),
        )),
    }
}

fn algorithm_of(name: &Bound<'_, PyAny>) -> PyResult<Algorithm> {
    match name.cast::<PyString>().ok().and_then(|text| text.to_str().ok()) {
        Some(text) => Algorithm::parse(text).or_raise(name.py()),
        None => Err(invalid_limit(
            name.py(),
            format!("algorithm must be text such as 'token_bucket', not {}", shown(name.as_borrowed())),
        )),
    }
}

fn integer(name: &str, value: &Bound<'_, PyAny>) -> PyResult<u64> {
    unsigned(value.as_borrowed()).ok_or_else(|| {
        let message = format!("{name} must be an integer from 1 to 2**64 - 1, not {}", shown(value.as_borrowed()));
        invalid_limit(value.py(), message)
    })
}

/// `per` in milliseconds: text, a timedelta of whole milliseconds, or whole seconds.
fn period_ms(per: &Bound<'_, PyAny>) -> PyResult<u64> {
    let py = per.py();
    if let Ok(text) = per.cast::<PyString>() {
        return parse_period_ms(text.to_str().unwrap_or("\u{fffd}")).or_raise(py);
    }
    let ms = if is_timedelta(per)? {
        let us = timedelta_us(per)?;
        if us % 1000 == 0 { u64::try_from(us / 1000).ok() } else { None }
    } else {
        unsigned(per.as_borrowed()).and_then(|seconds| seconds.checked_mul(1000))
    };
    ms.ok_or_else(|| {
        let message = format!(
            "per must be text such as '1m' or '250ms', a timedelta of whole milliseconds, or whole seconds, not {}",
            shown(per.as_borrowed())
        );
        invalid_limit(py, message)
    })
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Limit>()?;
    m.add_function(wrap_pyfunction!(_limit_of, m)?)
}
