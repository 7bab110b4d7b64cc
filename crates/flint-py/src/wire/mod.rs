//! What `flint.SharedLimiter` says and hears: requests as bytes, answers as results. No socket is touched here.
//!
//! - `codec`: requests, made of the same arguments that the embedded methods take
//! - `body`: their JSON
//! - `head`: the head of an answer
//! - `decode`: the body of an answer

mod body;
mod codec;
mod decode;
mod head;

use pyo3::prelude::*;

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    codec::register(m)?;
    head::register(m)?;
    decode::register(m)
}
