//! The items of a multi-key check.

use flint_core::engine::{Item, MAX_ITEMS};
use flint_core::limit::Limit;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyMapping, PyString, PyTuple};

use crate::convert::{Cost, Key, shown};
use crate::errors::invalid_argument;
use crate::limit::LimitArg;

/// One item, owned: "key", ("key", cost) or {"key":, "cost":, "limit":}.
pub(crate) struct OwnedItem<'py> {
    pub(crate) key: Key<'py>,
    cost: Cost,
    /// Boxed: most items have none, and they are moved about.
    limit: Option<Box<Limit>>,
}

impl<'py> OwnedItem<'py> {
    fn parse(item: &Bound<'py, PyAny>) -> PyResult<Self> {
        if item.is_instance_of::<PyString>() {
            return Ok(Self { key: item.extract()?, cost: Cost(1), limit: None });
        }
        if let Ok(pair) = item.cast::<PyTuple>() {
            if pair.len() != 2 {
                let message = format!("an item that is a tuple is (key, cost), not {}", shown(item.as_borrowed()));
                return Err(invalid_argument(item.py(), message));
            }
            return Ok(Self { key: pair.get_item(0)?.extract()?, cost: pair.get_item(1)?.extract()?, limit: None });
        }
        match item.cast::<PyMapping>() {
            Ok(mapping) => Self::from_mapping(mapping),
            Err(_) => {
                let type_name = item.get_type().name()?;
                Err(PyTypeError::new_err(format!(
                    "an item is a key, (key, cost), or a mapping with key, cost and limit, not {type_name}"
                )))
            }
        }
    }

    fn from_mapping(mapping: &Bound<'py, PyMapping>) -> PyResult<Self> {
        let (mut key, mut cost, mut limit) = (None, Cost(1), None);
        for pair in mapping.items()? {
            let (name, value): (Bound<'py, PyAny>, Bound<'py, PyAny>) = pair.extract()?;
            match name.extract::<&str>() {
                Ok("key") => key = Some(value.extract()?),
                Ok("cost") => cost = value.extract()?,
                Ok("limit") if value.is_none() => limit = None,
                Ok("limit") => limit = Some(Box::new(*value.extract::<LimitArg<'_>>()?.core())),
                _ => {
                    let message = format!("an item has key, cost and limit, but no {}", shown(name.as_borrowed()));
                    return Err(invalid_argument(mapping.py(), message));
                }
            }
        }
        match key {
            Some(key) => Ok(Self { key, cost, limit }),
            None => Err(invalid_argument(mapping.py(), "an item that is a mapping needs a key".to_owned())),
        }
    }

    /// The item as the engine takes it.
    pub(crate) fn borrow(&self) -> PyResult<Item<'_>> {
        Ok(Item { key: self.key.text()?, cost: self.cost.0, limit: self.limit.as_deref() })
    }
}

/// Every item of the iterable `items`. An endless one is given up after the largest accepted number.
pub(crate) fn parse_items<'py>(items: &Bound<'py, PyAny>) -> PyResult<Vec<OwnedItem<'py>>> {
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
