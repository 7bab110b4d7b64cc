//! What each route does with the engine. A handler takes the engine and a parsed request, and knows nothing of HTTP.
//!
//! - `reply`: what a handler returns; `answer`: what one that scans returns; `executor`: where an operation is executed
//! - `check`: check, peek, deny, check-all
//! - `limits`: setting, reading, resetting, deleting
//! - `log`: flush, compact, records, doctor, history, top, counters

mod answer;
pub(crate) mod check;
mod executor;
pub(crate) mod limits;
pub(crate) mod log;
mod reply;

pub(crate) use answer::{Answer, Pieces};
pub(crate) use executor::Executor;
pub(crate) use reply::{HandlerResult, Reply, to_json};
