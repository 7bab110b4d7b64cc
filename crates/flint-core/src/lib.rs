//! The engine of Flint: rate limits that survive crashes. No async runtime, no Python, no globals but the fork registry, no
//! printing.
//!
//! Layers, top to bottom; a module uses only those below it: `engine`; `history`, `doctor`; `recover`, `compact`, `commit`;
//! `log`, `snapshot`, `legacy`; `table`; `algorithm`; `image`, `limit`; `clock`, `sync`, `error`; `storage`, `files`.

#![warn(clippy::unwrap_used)]

pub mod algorithm;
pub mod clock;
mod commit;
mod compact;
mod doctor;
mod dump;
pub mod engine;
pub mod error;
pub mod files;
mod history;
pub mod image;
pub mod legacy;
pub mod limit;
pub mod log;
mod migrate;
mod recover;
mod segments;
pub mod snapshot;
pub mod storage;
mod store;
mod sync;
mod table;
mod time;
mod writer;

pub use engine::Engine;
pub use error::{Error, Result};
