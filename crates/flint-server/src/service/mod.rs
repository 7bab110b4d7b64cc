//! From a request to its response.
//!
//! - `state`: what all requests share
//! - `deadline`: the time that a request may take; `panics`: caught, so that they end one request alone
//! - `body`: reading the body of a request; `answer_body`: that of a response; `response`: building a response
//! - `execute`: running a route's handler; `respond`: the whole of it, admission first

mod answer_body;
mod body;
mod deadline;
mod execute;
mod panics;
mod respond;
mod response;
mod state;

pub(crate) use respond::respond;
pub(crate) use state::Service;
