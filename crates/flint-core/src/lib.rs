//! The engine of Flint: rate limits that survive crashes. No async runtime, no Python, no globals but the
//! registries that fork handling and locking need, no printing.
//!
//! Layers, top to bottom. A module uses only those on lines below its own, which a test enforces.
//!
//! - `engine`: the public calls; opening, closing, background threads, scans
//! - `backup`, `repair`: a copy of a store that is in use; a repaired copy of a damaged directory
//! - `doctor`, `dump`, `history`: verifying the files; the log as JSON; what happened to a key
//! - `compact`, `migrate`, `segments`: snapshots while checks go on; old formats brought forward; reading the log in order
//! - `recovery`, `store`: from files to state; what the lock protects and the calls that decide
//! - `status`: what is shown of a key
//! - `bulk`, `commit`, `writer`: a whole store written at once; group commit; the end of the log
//! - `legacy`, `log`, `snapshot`, `table`, `time`: codecs; all keys in memory; the engine's timeline
//! - `idempotency`: the answers of idempotent calls
//! - `item`, `outcome`: what checks take and return
//! - `testing`: the simulated disk and the reference model, only in builds for tests
//! - `image`: the state of a key as plain data
//! - `lock_text`, `options`: what the lock file says; how a store is opened
//! - `clock`, `limit`, `storage`: reading clocks; validated limits and keys; directories and files
//! - `algorithm`: pure decisions, one complete file per algorithm
//! - `pool`: values at stable places
//! - `chunked`, `stats`: an array that grows without moving; the engine's own figures
//! - `error`, `hooks`, `memory`, `sync`: errors; defects for tests; the allocator; locks and atomics
//! - `lock_holder`: the process that has a directory locked, and what helps
//! - `files`, `quote`: file names, magics, versions; text as messages repeat it

#![warn(clippy::unwrap_used)]

pub mod algorithm;
pub mod backup;
mod bulk;
mod chunked;
pub mod clock;
mod commit;
mod compact;
pub mod doctor;
pub mod dump;
pub mod engine;
pub mod error;
pub mod files;
mod history;
#[doc(hidden)]
pub mod hooks;
pub mod idempotency;
pub mod image;
mod item;
pub mod legacy;
pub mod limit;
pub mod lock_holder;
mod lock_text;
pub mod log;
mod memory;
mod migrate;
mod options;
mod outcome;
mod pool;
mod quote;
mod recovery;
pub mod repair;
mod segments;
pub mod snapshot;
mod stats;
mod status;
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
