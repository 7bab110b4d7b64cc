//! The public calls over one data directory.
//!
//! - `handle`: the type `Engine`; `backend`: what it works on, an open store or a view that is only read
//! - `open`, `close`, `background`: the session and its threads
//! - `operation`: the calls that decide and write, each as one value; `check`, `configure`: the same as methods
//! - `durability`, `acquire`: waiting for the disk, and for a limit
//! - `inspect`: one key, its history, counters; `scan`, `listing`, `top`, `aggregate`: all keys
//! - `maintenance`: compaction, copies, verification

mod acquire;
mod aggregate;
mod backend;
mod background;
mod check;
mod close;
mod configure;
mod durability;
mod handle;
mod inspect;
mod listing;
mod maintenance;
mod open;
mod operation;
mod scan;
#[cfg(test)]
#[cfg(feature = "shuttle")]
mod shuttle_tests;
mod top;

pub use crate::backup::BackupReport;
pub use crate::doctor::{Problem, Report};
pub use crate::history::Event;
pub use crate::idempotency::{CallId, IDEMPOTENCY_AGE_NS, MAX_IDEMPOTENCY_RECORDS, Repeatable};
pub use crate::image::EventKind;
pub use crate::item::{Item, OnChange};
pub use crate::options::{LogIo, Options, SyncMode, WaitPolicy};
pub use crate::outcome::{MultiOutcome, Outcome, RateVerdicts};
pub use crate::recovery::Recovery;
pub use crate::repair::{Dropped, KeyDoubt, Loss, Records, RepairReport, UnknownId};
pub use crate::stats::{Counters, Distribution};
pub use crate::status::{CounterStatus, Status, TopBy};
pub use crate::store::notices::{Notice, Severity};
pub use crate::store::queues::Answer;
pub use crate::store::slices::SLICE_RATES;
#[cfg(feature = "testing")]
pub use crate::store::view::Scanned;
pub use acquire::{Arrival, Place};
pub use aggregate::Aggregate;
pub use handle::Engine;
pub use listing::Listing;
pub use operation::{
    Check, CheckAll, CountDenial, Delete, Idempotent, MAX_ITEMS, MAX_SPECS, Operation, Reset, SetLimit, SetLimits,
};
pub use top::Top;
