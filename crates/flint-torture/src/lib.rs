//! Evidence that Flint keeps what it promises: crash states, failing disks, killed processes, damaged files, random input.
//!
//! The tests of this crate run bounded parts of it and count what they did; `make soak` runs the same code for longer. It
//! builds `flint-core` with the feature `test-hooks`, which nothing that is shipped enables.

pub mod evidence;
