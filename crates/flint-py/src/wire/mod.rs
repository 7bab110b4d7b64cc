//! What `flint.SharedLimiter` says and hears: requests as bytes, answers as results.
//!
//! - `codec`: requests, made of the same arguments that the embedded methods take
//! - `body`: their JSON
//! - `head`: the head of an answer
//! - `decode`: the body of an answer
//! - `line`: both over a connected socket, in the calling thread; the only part that touches one

mod body;
mod codec;
mod decode;
mod head;
mod line;

use pyo3::prelude::*;

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    codec::register(m)?;
    head::register(m)?;
    decode::register(m)?;
    line::register(m)
}
