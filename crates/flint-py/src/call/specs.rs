//! The arguments of `limit` and `limit_many`.

use flint_core::engine::{MAX_SPECS, OnChange};
use flint_core::limit::Limit;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyIterator, PyMapping};

use super::{choice, limit};
use crate::client::body::Body;
use crate::convert::{Key, shown};
use crate::errors::invalid_argument;

const EXAMPLE: &str = "a mapping of limit()'s arguments, such as {\"key\": \"user-42\", \"rate\": \"100/minute\"}";

/// A spec as the engine takes it.
pub(super) type Borrowed<'a> = (&'a str, &'a Limit, OnChange);

/// Specs that are parsed or dropped before another thread may have the interpreter lock: about a millisecond.
pub(super) const CHUNK: usize = 500;

/// Lets a thread that has waited for the interpreter lock for its switch interval have it.
pub(super) fn give_way(py: Python<'_>) {
    py.detach(|| ());
}

/// The specs of a call, in chunks: an event loop that parses them never moves those that it has, and goes on while they are dropped.
#[derive(Default)]
pub(super) struct Specs {
    chunks: Vec<Vec<Spec>>,
    len: usize,
}

impl Specs {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    fn push(&mut self, spec: Spec) {
        match self.chunks.last_mut().filter(|chunk| chunk.len() < CHUNK) {
            Some(chunk) => chunk.push(spec),
            None => self.chunks.push(vec![spec]),
        }
        self.len += 1;
    }

    /// The specs as the engine takes them.
    pub(super) fn borrow<'a>(&'a self, py: Python<'a>) -> PyResult<Vec<Borrowed<'a>>> {
        let mut borrowed = Vec::with_capacity(self.len);
        for spec in self.chunks.iter().flatten() {
            borrowed.push(spec.borrow(py)?);
        }
        Ok(borrowed)
    }
}

impl Drop for Specs {
    fn drop(&mut self) {
        if self.chunks.len() <= 1 {
            return;
        }
        Python::attach(|py| {
            while let Some(chunk) = self.chunks.pop() {
                drop(chunk);
                give_way(py);
            }
        });
    }
}

/// One call of `limit()`, owned.
pub(super) struct Spec {
    pub(super) key: Key,
    pub(super) limit: Limit,
    pub(super) on_change: OnChange,
}

impl Spec {
    /// The spec as the engine takes it.
    pub(super) fn borrow<'a>(&'a self, py: Python<'a>) -> PyResult<Borrowed<'a>> {
        Ok((self.key.text(py)?, &self.limit, self.on_change))
    }

    fn parse(spec: &Bound<'_, PyAny>, index: usize) -> PyResult<Self> {
        let py = spec.py();
        let Ok(mapping) = spec.cast::<PyMapping>() else {
            let given = shown(spec.as_borrowed());
            return Err(PyTypeError::new_err(format!("specs[{index}] must be {EXAMPLE}, not {given}")));
        };
        let (mut key, mut rate, mut per, mut algorithm, mut burst, mut change) = (None, None, None, None, None, None);
        for pair in mapping.items()? {
            let (name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = pair.extract()?;
            let slot = match name.extract::<&str>() {
                Ok("key") => &mut key,
                Ok("rate") => &mut rate,
                Ok("per") => &mut per,
                Ok("algorithm") => &mut algorithm,
                Ok("burst") => &mut burst,
                Ok("on_change") => &mut change,
                _ => {
                    let names = "key, rate, per, algorithm, burst and on_change";
                    let message =
                        format!("it has the unknown name {}; accepted are {names}", shown(name.as_borrowed()));
                    return Err(invalid_argument(py, message));
                }
            };
            // As in limit(), only these two have None for a default.
            *slot = if value.is_none() && (name.eq("per")? || name.eq("burst")?) { None } else { Some(value) };
        }
        let (Some(key), Some(rate)) = (key, rate) else {
            return Err(invalid_argument(
                py,
                "it needs key and rate, as in {\"key\": \"user-42\", \"rate\": \"100/minute\"}".to_owned(),
            ));
        };
        let key: Key = key.extract()?;
        key.text(py)?;
        Ok(Self {
            key,
            limit: limit::parse(&rate, per.as_ref(), algorithm.as_ref(), burst.as_ref())?,
            on_change: choice::on_change(change.as_ref())?,
        })
    }
}

/// Writes a spec as a JSON object.
pub(super) fn write_spec((key, limit, on_change): &Borrowed<'_>, body: &mut Body) {
    body.raw(r#"{"key":"#).text(key).raw(r#","rate":"#).limit(limit);
    match on_change {
        OnChange::Keep => body.raw("}"),
        OnChange::Reset => body.raw(r#","on_change":"reset"}"#),
    };
}

/// The iterator over the argument of limit_many().
pub(super) fn iterate<'py>(specs: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyIterator>> {
    if !(specs.hasattr("__iter__")? || specs.hasattr("__getitem__")?) {
        let given = shown(specs.as_borrowed());
        return Err(PyTypeError::new_err(format!("specs must be a list, each element {EXAMPLE}, not {given}")));
    }
    specs.try_iter()
}

/// Adds up to `count` specs of an iterator to `parsed`, and returns whether it has no more; an error names the one that is wrong.
pub(super) fn parse_some(specs: &Bound<'_, PyIterator>, parsed: &mut Specs, count: usize) -> PyResult<bool> {
    let py = specs.py();
    let mut iterator = specs.clone();
    for _ in 0..count {
        let Some(spec) = iterator.next() else { return Ok(true) };
        let index = parsed.len();
        if index == MAX_SPECS {
            let message =
                format!("specs has more than {MAX_SPECS} limits, the most of one call: make several calls of it");
            return Err(invalid_argument(py, message));
        }
        parsed.push(Spec::parse(&spec?, index).map_err(|error| located(py, index, error))?);
    }
    Ok(false)
}

/// The same error with the position in front of its message; errors of user code in between are left alone.
fn located(py: Python<'_>, index: usize, error: PyErr) -> PyErr {
    let is_ours = py
        .import("flint._errors")
        .and_then(|errors| errors.getattr("FlintError"))
        .is_ok_and(|base| error.matches(py, base).unwrap_or(false));
    if !is_ours {
        return error;
    }
    let message = format!("specs[{index}]: {}", error.value(py));
    match error.get_type(py).call1((message,)) {
        Ok(value) => PyErr::from_value(value),
        Err(failure) => failure,
    }
}
