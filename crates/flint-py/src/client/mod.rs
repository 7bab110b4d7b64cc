//! What `flint.SharedLimiter` sends and receives: requests as bytes, answers as results.
//!
//! - `body`: the JSON of requests
//! - `request`: one request, before it is bytes
//! - `head`, `decode`: head and body of an answer
//! - `encode`: any parsed call as bytes, and its result from an answer
//! - `line`: both over a connected socket, in the calling thread; the only part that uses one

pub(crate) mod body;
pub(crate) mod decode;
mod encode;
mod head;
mod line;
pub(crate) mod request;

use pyo3::prelude::*;

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    encode::register(m)?;
    head::register(m)?;
    line::register(m)
}
