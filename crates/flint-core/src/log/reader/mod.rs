//! Reading a segment's bytes: record by record, and, behind the last good record, what the rest proves.

mod area;
mod proof;
mod remains;
mod search;
mod span_crc;
mod walker;

pub use proof::{Proof, find_proof, has_nonzero, last_nonzero};
pub use remains::Remains;
pub use search::{Found, Search};
pub use walker::{Frame, Step, Walker};
