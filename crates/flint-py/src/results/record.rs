//! The base of all result classes: frozen attributes that are a `Mapping` too.

use pyo3::basic::CompareOp;
use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyIterator, PyString, PyTuple, PyType};

/// Frozen fields, read as attributes (`r.allowed`) or as a mapping (`r["allowed"]`, `dict(r)`).
///
/// A subclass names in `_fields` what the mapping shows, and in `_state` the attributes that its constructor takes, in order.
#[pyclass(module = "flint._native", name = "Record", subclass, frozen)]
pub(crate) struct Record;

/// A tuple of names, for `_fields` and `_state`. Rust writes those that are keywords with `r#` in front.
pub(super) fn names<'py, 'a>(py: Python<'py>, names: impl Iterator<Item = &'a str>) -> PyResult<Bound<'py, PyTuple>> {
    let names: Vec<_> = names.map(|name| PyString::intern(py, name.strip_prefix("r#").unwrap_or(name))).collect();
    PyTuple::new(py, names)
}

fn fields<'py>(slf: &Bound<'py, Record>) -> PyResult<Bound<'py, PyTuple>> {
    Ok(slf.getattr("_fields")?.cast_into()?)
}

fn state<'py>(slf: &Bound<'py, Record>) -> PyResult<Bound<'py, PyTuple>> {
    let names = slf.getattr("_state")?.cast_into::<PyTuple>()?;
    let values = names.iter().map(|name| slf.getattr(name.cast::<PyString>()?)).collect::<PyResult<Vec<_>>>()?;
    PyTuple::new(slf.py(), values)
}

/// The field called `name`, or None when there is no such field.
fn field<'py>(slf: &Bound<'py, Record>, name: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    match name.cast::<PyString>() {
        Ok(name) if fields(slf)?.contains(name)? => slf.getattr(name).map(Some),
        _ => Ok(None),
    }
}

fn as_dict<'py>(slf: &Bound<'py, Record>) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(slf.py());
    for name in fields(slf)? {
        dict.set_item(&name, slf.getattr(name.cast::<PyString>()?)?)?;
    }
    Ok(dict)
}

/// `value` in terms of what `json.dumps` accepts.
fn json_ready<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = value.py();
    if let Ok(record) = value.cast::<Record>() {
        return Ok(to_json_dict(record)?.into_any());
    }
    if let Ok(tuple) = value.cast::<PyTuple>() {
        let items = tuple.iter().map(|item| json_ready(&item)).collect::<PyResult<Vec<_>>>()?;
        return items.into_pyobject(py);
    }
    if value.is_instance(&py.import("datetime")?.getattr("datetime")?)? {
        let iso: String = value.call_method1("isoformat", ("T", "microseconds"))?.extract()?;
        return Ok(iso.replace("+00:00", "Z").into_pyobject(py)?.into_any());
    }
    Ok(value.clone())
}

fn to_json_dict<'py>(slf: &Bound<'py, Record>) -> PyResult<Bound<'py, PyDict>> {
    let dict = as_dict(slf)?;
    let ready = PyDict::new(slf.py());
    for (name, value) in dict {
        ready.set_item(name, json_ready(&value)?)?;
    }
    Ok(ready)
}

#[pymethods]
impl Record {
    fn __getitem__<'py>(slf: &Bound<'py, Self>, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        field(slf, key)?.ok_or_else(|| PyKeyError::new_err(key.clone().unbind()))
    }

    fn __len__(slf: &Bound<'_, Self>) -> PyResult<usize> {
        Ok(fields(slf)?.len())
    }

    fn __iter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyIterator>> {
        fields(slf)?.try_iter()
    }

    fn __contains__(slf: &Bound<'_, Self>, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        Ok(key.is_instance_of::<PyString>() && fields(slf)?.contains(key)?)
    }

    /// The value of the field, or `default` where there is no such field.
    #[pyo3(signature = (key, default = None, /))]
    fn get<'py>(
        slf: &Bound<'py, Self>,
        key: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        Ok(field(slf, key)?.or(default))
    }

    /// The names of the fields.
    fn keys<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        as_dict(slf)?.call_method0("keys")
    }

    /// The values of the fields.
    fn values<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        as_dict(slf)?.call_method0("values")
    }

    /// The fields as pairs of name and value.
    fn items<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        as_dict(slf)?.call_method0("items")
    }

    /// The fields as a dict that `json.dumps` accepts: times are RFC 3339 text ending in Z, tuples are lists.
    fn to_dict<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyDict>> {
        to_json_dict(slf)
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let mut shown: Vec<String> = as_dict(slf)?
            .iter()
            .map(|(name, value)| Ok(format!("{}={}", name.str()?.to_str()?, value.repr()?.to_str()?)))
            .collect::<PyResult<_>>()?;
        // No field of the mapping, and shown only where it is set.
        if slf.getattr_opt("degraded")?.is_some_and(|degraded| degraded.is_truthy().unwrap_or(false)) {
            shown.push("degraded=True".to_owned());
        }
        Ok(format!("{}({})", slf.get_type().name()?, shown.join(", ")))
    }

    fn __richcmp__<'py>(
        slf: &Bound<'py, Self>,
        other: &Bound<'py, PyAny>,
        op: CompareOp,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let (CompareOp::Eq | CompareOp::Ne) = op else {
            return Ok(py.NotImplemented().into_bound(py));
        };
        let Some(other) = other.cast::<Self>().ok().filter(|other| other.get_type().is(slf.get_type())) else {
            return Ok(py.NotImplemented().into_bound(py));
        };
        let equal = state(slf)?.eq(state(other)?)?;
        Ok(PyBool::new(py, equal == matches!(op, CompareOp::Eq)).to_owned().into_any())
    }

    fn __hash__(slf: &Bound<'_, Self>) -> PyResult<isize> {
        state(slf)?.hash()
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyType>, Bound<'py, PyTuple>)> {
        Ok((slf.get_type(), state(slf)?))
    }

    fn __copy__<'py>(slf: &Bound<'py, Self>) -> Bound<'py, Self> {
        slf.clone()
    }

    fn __deepcopy__<'py>(slf: &Bound<'py, Self>, _memo: &Bound<'py, PyAny>) -> Bound<'py, Self> {
        slf.clone()
    }
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Record>()?;
    let mapping = m.py().import("collections.abc")?.getattr("Mapping")?;
    mapping.call_method1("register", (m.py().get_type::<Record>(),))?;
    Ok(())
}
