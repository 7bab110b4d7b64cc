//! Accepts connections until it is stopped, then lets open requests finish.
//!
//! - `descriptors`: how many files the process may have open; `systemd`: notifications
//! - `accept`: from listening sockets to connections that are served; `signals`: ending and reloading; `periodic`: the sweep
//! - `lifecycle`: opening, running, ending

mod accept;
mod descriptors;
mod lifecycle;
mod periodic;
mod signals;
mod systemd;

pub use lifecycle::{Server, Stop};
