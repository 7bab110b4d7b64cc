//! The engine of Flint: rate limits that survive crashes. No async runtime, no Python, no globals but the
//! registries that fork handling and locking need, no printing.
//!
//! Layers, top to bottom. A module uses only those on lines below its own, which a test enforces.
//!
//! - `engine`: the facade; opening, closing, background threads, listing
//! - `salvage`: a repaired copy of a damaged directory
//! - `doctor`, `dump`, `history`: looking at the files
//! - `compact`, `migrate`, `segments`: snapshots beside running checks; old formats brought forward; reading the log in order
//! - `recover`, `store`: from files to state; what the lock protects and the calls that decide
//! - `bulk`, `commit`, `writer`: a whole store written at once; group commit; the end of the log
//! - `legacy`, `log`, `snapshot`, `table`, `time`: codecs; all keys in memory; the engine's timeline
//! - `receipts`: remembered answers
//! - `outcome`: what checks answer
//! - `image`: the state of a key as plain data
//! - `testing`: the simulated disk, only in builds for tests
//! - `clock`, `limit`, `storage`: reading clocks; validated limits and keys; directories and files
//! - `algorithm`: pure decisions, one complete file per algorithm
//! - `chunked`, `stats`: an array that grows without moving; distributions of the engine's own figures
//! - `error`, `files`, `hooks`, `sync`: errors; every file name, magic and version; defects for tests; every lock and atomic

#![warn(clippy::unwrap_used)]

pub mod algorithm;
mod bulk;
mod chunked;
pub mod clock;
mod commit;
mod compact;
mod doctor;
pub mod dump;
pub mod engine;
pub mod error;
pub mod files;
mod history;
#[doc(hidden)]
pub mod hooks;
pub mod image;
pub mod legacy;
pub mod limit;
pub mod log;
mod migrate;
mod outcome;
pub mod receipts;
mod recover;
mod salvage;
mod segments;
pub mod snapshot;
mod stats;
pub mod storage;
mod store;
mod sync;
mod table;
#[cfg(feature = "testing")]
pub mod testing;
mod time;
mod writer;

pub use engine::Engine;
pub use error::{Error, Result};
pub use time::rfc3339;
