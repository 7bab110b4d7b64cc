//! Sums over all keys, for metrics.

use flint_core::engine::Aggregate;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::errors::OrRaise;
use crate::limiter::Limiter;
use crate::results::rate::Rate;

/// Sums over all keys of a limiter, one tuple for each combination of algorithms: the label `algorithm`, the rates that all limits
/// have in common, rate and per_millis likewise (None where limits differ), the number of keys, the fewest remaining tokens, the
/// latest reset in nanoseconds, and the totals of allowed and denied checks and of their costs.
#[pyfunction]
#[pyo3(signature = (limiter, /))]
fn _aggregates<'py>(py: Python<'py>, limiter: &Bound<'py, Limiter>) -> PyResult<Vec<Bound<'py, PyTuple>>> {
    let engine = limiter.get().shared_engine()?;
    let all = py.detach(|| engine.aggregate()).or_raise(py)?;
    all.iter().map(|aggregate| tuple(py, aggregate)).collect()
}

fn tuple<'py>(py: Python<'py>, aggregate: &Aggregate) -> PyResult<Bound<'py, PyTuple>> {
    let names: Vec<&str> = aggregate.algorithms.iter().map(|algorithm| algorithm.name()).collect();
    let rates = aggregate.rates.as_deref().map(|rates| Rate::tuple(py, rates)).transpose()?;
    (
        names.join(","),
        rates,
        aggregate.limit,
        aggregate.per_ms,
        aggregate.keys,
        aggregate.remaining,
        aggregate.reset_at_wall_ns,
        aggregate.total_allowed,
        aggregate.total_denied,
        aggregate.total_allowed_cost,
        aggregate.total_denied_cost,
    )
        .into_pyobject(py)
}

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(_aggregates, m)?)
}
