//! The HTTP server over `flint-core`: a library that the binding starts. One thread runs an event loop; checks are decided there.
//!
//! In order of layers; a module uses only those above it:
//!
//! - `error`, `log`: why a server does not start; one line per event on standard error
//! - `config_file`: the files that settings name
//! - `problem`, `wire`: errors, bodies and answers as JSON
//! - `auth`: tokens and what they allow; the decision on a request by its token, `Origin` and `Host`
//! - `settings`: what a server is started with, and the bounds on what clients may do
//! - `cancellation`: whether a request's client still waits
//! - `parsed_request`, `idempotency`: a request apart from HTTP, and the id of its call
//! - `handlers`: what each route does with the engine
//! - `routes`, `openapi`: the table of routes, and the same as a document
//! - `blocking_pool`, `durability`: waiting in threads, and for the disk without one
//! - `connection`: phases, deadlines and eviction of open connections
//! - `memory`: giving memory back to the operating system
//! - `budget`: bounds on bytes of bodies and answers in memory
//! - `metrics`: counts of responses and connections
//! - `service`: from a request to its response
//! - `tls`, `listen`: sockets
//! - `server`: accepts connections, reacts to signals, ends

mod auth;
mod blocking_pool;
mod budget;
mod cancellation;
mod config_file;
mod connection;
mod durability;
mod error;
mod handlers;
mod idempotency;
mod listen;
mod log;
mod memory;
mod metrics;
mod openapi;
mod parsed_request;
mod problem;
mod routes;
mod server;
mod service;
mod settings;
mod tls;
pub mod wire;

pub use auth::TokenSource;
pub use error::StartError;
pub use log::{Level, LogFormat};
pub use server::{Server, Stop};
pub use settings::{Bounds, MetricsText, Settings, TlsFiles};
