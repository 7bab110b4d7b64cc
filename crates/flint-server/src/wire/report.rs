//! What examining a data directory found.

use std::borrow::Cow;

use flint_core::engine::Report;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What examining the data directory found.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Report")]
pub struct ReportAnswer {
    /// No problem.
    pub ok: bool,
    /// Number of keys.
    pub limits: u64,
    /// Number of history events in the files.
    pub history_events: u64,
    /// Size of the log, bytes.
    pub aof_bytes: u64,
    /// Whether there is a snapshot.
    pub snapshot_exists: bool,
    /// `current`, `0.2`, `0.1` or `none`.
    pub format: Cow<'static, str>,
    /// What is wrong, each with file and offset.
    pub problems: Vec<String>,
    /// What is worth knowing but is no problem.
    pub notes: Vec<String>,
}

impl From<&Report> for ReportAnswer {
    fn from(report: &Report) -> Self {
        Self {
            ok: report.ok,
            limits: report.limits,
            history_events: report.history_events,
            aof_bytes: report.aof_bytes,
            snapshot_exists: report.snapshot_exists,
            format: Cow::Borrowed(report.format),
            problems: report.problems.iter().map(ToString::to_string).collect(),
            notes: report.notes.clone(),
        }
    }
}
