//! Machinery of the tests, which nothing that is shipped contains (feature `testing`): a simulated disk, and the reference model of a
//! limiter.

pub mod model;
pub mod sim;
