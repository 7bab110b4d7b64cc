//! What goes over the wire, in both directions: JSON, as types.
//!
//! - `request`: bodies of requests
//! - `limit`: a limit as JSON: text, an object, or a list of these
//! - `answer`: what the server answers, as the results' `to_dict()` says it
//! - `exact`: the same without rounding, for clients that build results from it
//! - `number`: times and waits as people read them

pub mod answer;
pub mod exact;
pub mod limit;
pub mod number;
pub mod request;
