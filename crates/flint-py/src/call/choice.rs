//! Arguments that are one of a few names.

use flint_core::engine::{OnChange, TopBy};
use pyo3::prelude::*;

use crate::convert::choice;

const ON_CHANGE: [(&str, OnChange); 2] = [("keep", OnChange::Keep), ("reset", OnChange::Reset)];

const TOP_BY: [(&str, TopBy); 4] = [
    ("allowed", TopBy::Allowed),
    ("denied", TopBy::Denied),
    ("allowed_cost", TopBy::AllowedCost),
    ("denied_cost", TopBy::DeniedCost),
];

/// `on_change` as the engine takes it.
pub(super) fn on_change(value: Option<&Bound<'_, PyAny>>) -> PyResult<OnChange> {
    value.map_or(Ok(OnChange::Keep), |value| choice("on_change", value, &ON_CHANGE))
}

/// `by` as the engine takes it.
pub(super) fn top_by(value: Option<&Bound<'_, PyAny>>) -> PyResult<TopBy> {
    value.map_or(Ok(TopBy::Denied), |value| choice("by", value, &TOP_BY))
}

/// The name of a choice of `top_by`.
pub(super) fn top_by_name(by: TopBy) -> &'static str {
    TOP_BY.iter().find(|(_, choice)| *choice == by).map_or("denied", |(name, _)| name)
}
