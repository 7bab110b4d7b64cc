//! The public calls over one data directory.
//!
//! - `backend`: what an engine works on: an open store, or a view that is only read
//! - `open`, `close`, `background`: the session and its threads
//! - `operation`: the calls that decide and write, each as one value; `check`, `configure`: the same as methods
//! - `durability`: waiting for the disk
//! - `inspect`: one key, its history, counters; `scan`, `listing`, `aggregate`: all keys
//! - `maintenance`: compaction, verification

mod aggregate;
mod backend;
mod background;
mod check;
mod close;
mod configure;
mod durability;
mod inspect;
mod listing;
mod maintenance;
mod open;
mod operation;
mod scan;
#[cfg(test)]
#[cfg(feature = "shuttle")]
mod shuttle_tests;

use std::path::Path;

use crate::error::Result;
use crate::storage::Dir;
use crate::sync::Arc;
use backend::Backend;

pub use crate::doctor::{Problem, Report};
pub use crate::history::Event;
pub use crate::idempotency::{CallId, IDEMPOTENCY_AGE_NS, MAX_IDEMPOTENCY_RECORDS, Repeatable};
pub use crate::image::EventKind;
pub use crate::item::{Item, OnChange};
pub use crate::options::{Options, SyncMode, WaitPolicy};
pub use crate::outcome::{MultiOutcome, Outcome, RateVerdicts};
pub use crate::recovery::Recovery;
pub use crate::repair::{Dropped, KeyDoubt, Loss, Records, RepairReport, UnknownId};
pub use crate::stats::{Counters, Distribution};
pub use crate::status::{Status, TopBy};
pub use crate::store::notices::{Notice, Severity};
#[cfg(feature = "testing")]
pub use crate::store::view::Scanned;
pub use aggregate::Aggregate;
pub use operation::{
    Check, CheckAll, CountDenial, Delete, Idempotent, MAX_ITEMS, MAX_SPECS, Operation, Reset, SetLimit, SetLimits,
};

/// A limiter over one data directory. `Send + Sync`: share it behind an `Arc`.
pub struct Engine {
    dir: Arc<dyn Dir>,
    backend: Backend,
    recovery: Recovery,
    recovery_ns: u64,
}

impl Engine {
    /// The data directory.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// What open found and did.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// Whether calls may be made: the storage works and the handle is open.
    ///
    /// # Errors
    /// `Stopped`, `Closed`, `Forked`.
    pub fn health(&self) -> Result<()> {
        self.backend.usable()
    }

    /// Whether `close` was called.
    pub fn is_closed(&self) -> bool {
        self.backend.is_closed()
    }

    /// Whether this process was forked from the one that opened the store. One atomic load.
    #[inline]
    pub fn is_forked(&self) -> bool {
        self.backend.is_forked()
    }

    /// Whether a background thread has left a notice. One atomic load.
    #[inline]
    pub fn has_notices(&self) -> bool {
        self.backend.store().is_some_and(|store| store.notices.any())
    }

    /// Takes the notices of background threads.
    pub fn take_notices(&self) -> Vec<Notice> {
        if self.is_forked() {
            return Vec::new();
        }
        self.backend.store().map(|store| store.notices.take()).unwrap_or_default()
    }
}
