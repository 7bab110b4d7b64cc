//! Machinery of the tests, which nothing that is shipped contains (feature `testing`): a simulated disk.

pub mod sim;
