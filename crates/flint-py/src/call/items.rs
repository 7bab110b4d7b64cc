//! The items of checks.

use flint_core::engine::{Item, MAX_ITEMS};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyMapping, PyString, PyTuple};

use super::limit::LimitArg;
use crate::client::body::Body;
use crate::convert::{Cost, Key, shown};
use crate::errors::invalid_argument;

/// One item, owned.
pub(crate) struct OwnedItem {
    pub(crate) key: Key,
    pub(crate) cost: u64,
    limit: Option<LimitArg>,
}

impl OwnedItem {
    #[inline]
    pub(crate) fn new(key: Key, cost: Cost, limit: Option<LimitArg>) -> Self {
        Self { key, cost: cost.0, limit }
    }

    /// The item as the engine takes it.
    #[inline]
    pub(crate) fn borrow<'a>(&'a self, py: Python<'a>) -> PyResult<Item<'a>> {
        Ok(Item { key: self.key.text(py)?, cost: self.cost, limit: self.limit.as_ref().map(LimitArg::core) })
    }

    /// Writes the item as the beginning of a JSON object, without its closing brace.
    pub(super) fn write(&self, py: Python<'_>, body: &mut Body) -> PyResult<()> {
        body.raw(r#"{"key":"#).text(self.key.text(py)?).cost(self.cost);
        if let Some(limit) = &self.limit {
            body.raw(r#","limit":"#).limit(limit.core());
        }
        Ok(())
    }

    /// Whether it has the default cost and no limit.
    pub(super) fn is_plain(&self) -> bool {
        self.cost == 1 && self.limit.is_none()
    }

    /// "key", ("key", cost) or {"key":, "cost":, "limit":}.
    fn parse(item: &Bound<'_, PyAny>) -> PyResult<Self> {
        if item.is_instance_of::<PyString>() {
            return Ok(Self::new(item.extract()?, Cost(1), None));
        }
        if let Ok(pair) = item.cast::<PyTuple>() {
            if pair.len() != 2 {
                let message = format!("an item that is a tuple is (key, cost), not {}", shown(item.as_borrowed()));
                return Err(invalid_argument(item.py(), message));
            }
            return Ok(Self::new(pair.get_item(0)?.extract()?, pair.get_item(1)?.extract()?, None));
        }
        match item.cast::<PyMapping>() {
            Ok(mapping) => Self::from_mapping(mapping),
            Err(_) => {
                let given = shown(item.as_borrowed());
                Err(PyTypeError::new_err(format!(
                    "an item is a key, (key, cost), or a mapping with key, cost and limit, as in {{\"key\": \"user-42\", \"cost\": \
                     2}}, not {given}"
                )))
            }
        }
    }

    fn from_mapping(mapping: &Bound<'_, PyMapping>) -> PyResult<Self> {
        let (mut key, mut cost, mut limit) = (None, Cost(1), None);
        for pair in mapping.items()? {
            let (name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = pair.extract()?;
            match name.extract::<&str>() {
                Ok("key") => key = Some(value.extract()?),
                Ok("cost") => cost = value.extract()?,
                Ok("limit") if value.is_none() => limit = None,
                Ok("limit") => limit = Some(value.extract()?),
                _ => {
                    let message = format!(
                        "an item has the unknown name {}; accepted are key, cost and limit, as in \
                         {{\"key\": \"user-42\", \"cost\": 2}}",
                        shown(name.as_borrowed())
                    );
                    return Err(invalid_argument(mapping.py(), message));
                }
            }
        }
        match key {
            Some(key) => Ok(Self::new(key, cost, limit)),
            None => Err(invalid_argument(
                mapping.py(),
                "an item that is a mapping needs a key, as in {\"key\": \"user-42\"}".to_owned(),
            )),
        }
    }
}

/// Every item of the iterable `items`. No more than the largest accepted number are read.
pub(super) fn parse_items(items: &Bound<'_, PyAny>) -> PyResult<Vec<OwnedItem>> {
    let single =
        items.is_instance_of::<PyString>() || items.is_instance_of::<PyBytes>() || items.is_instance_of::<PyDict>();
    if single || !items.hasattr("__iter__")? {
        let type_name = items.get_type().name()?;
        return Err(PyTypeError::new_err(format!("items must be a list of items, not a single {type_name}")));
    }
    let count = items.cast::<PyList>().map_or(0, |list| list.len());
    let mut parsed = Vec::with_capacity(count.min(MAX_ITEMS));
    for item in items.try_iter()? {
        if parsed.len() == MAX_ITEMS {
            let message = format!("a check takes 1 to {MAX_ITEMS} items, and more were given");
            return Err(invalid_argument(items.py(), message));
        }
        parsed.push(OwnedItem::parse(&item?)?);
    }
    Ok(parsed)
}
