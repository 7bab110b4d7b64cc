//! The scenarios of the engine, one behaviour a file, in one program: linking forty of them took longer than running them.
//! `cargo test -p flint-core recovery` runs one group of them, `cargo test -p flint-core engine::check` one file.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod algorithm;
mod architecture;
mod engine;
mod legacy;
mod limit;
mod log_codec;
mod recovery;
mod storage;
mod support;
mod touch_counts;
