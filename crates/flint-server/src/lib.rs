//! The HTTP server over `flint-core`: a library that the binding starts. One thread runs an event loop; checks are decided there.
//!
//! Top to bottom:
//!
//! - `server`: accepts, ends, listens to signals; `listen`, `local`, `tls`: the sockets
//! - `service`: from a request to its answer; `gate`: who may ask; `connection`, `stream`: how long each may take
//! - `route`: which path does what; `openapi`: the same as a document
//! - `call`: what each route does with the engine; `asked`, `once`: what was asked; `durable`, `pool`: waiting
//! - `wire`, `problem`: what goes over the wire; `stats`, `report`: what is told to whoever runs it
//! - `start`, `token`, `named_file`: settings; `descriptors`: how many files may be open

mod asked;
mod call;
mod connection;
mod descriptors;
mod durable;
mod gate;
mod listen;
mod local;
mod named_file;
mod once;
mod openapi;
mod pool;
mod problem;
mod report;
mod route;
mod server;
mod service;
mod start;
mod stats;
mod stream;
mod tls;
mod token;
pub mod wire;

pub use report::{Level, LogFormat};
pub use server::{Server, Stop};
pub use start::{Bounds, MetricsText, Settings, StartError, TlsFiles};
pub use token::TokenSource;
