//! What goes over the wire, in both directions: JSON, as types. Each file has all forms of its subject.
//!
//! - `number`: times and waits as text and seconds
//! - `bounded`: a JSON value of bounded size
//! - `limit`: a limit as JSON: text, an object, or a list of these
//! - `cost`, `item`: parts of requests
//! - `request`: bodies of requests; `many`: the largest of them, limit by limit
//! - `exact`: the form of answers that clients build results from; the public one is that of the results' `to_dict()`
//! - `rate`, `check`, `status`, `event`: answers in both forms
//! - `report`, `counters`: answers that have one form

mod bounded;
pub mod check;
pub mod cost;
pub mod counters;
pub mod event;
pub mod exact;
pub mod item;
pub mod limit;
pub mod many;
pub mod number;
pub mod rate;
pub mod report;
pub mod request;
pub mod status;
