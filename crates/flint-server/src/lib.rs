//! The HTTP server over `flint-core`: a library that the binding starts.

pub mod problem;
pub mod start;
pub mod token;
pub mod wire;
