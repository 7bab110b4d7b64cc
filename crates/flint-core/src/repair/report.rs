//! What a repair did, and what it had to leave out.

use std::path::PathBuf;

/// What was found and done.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct RepairReport {
    /// Whether a copy was written; if not, the directory opens and there was nothing to repair.
    pub written: bool,
    /// Why the original does not open.
    pub problem: String,
    /// Keys in the copy.
    pub limits: u64,
    /// History events in the copy.
    pub history_events: u64,
    /// Records that were read and verified.
    pub records: u64,
    /// Parts of files that were not used, in order.
    pub dropped: Vec<Dropped>,
    /// Keys whose state in the copy may not be what it was, in order of their text.
    pub doubts: Vec<KeyDoubt>,
    /// Ids that records name and whose keys are not known any more, in order.
    pub unknown_ids: Vec<UnknownId>,
    /// Keys of which nothing but old history is left, in order.
    pub lost_keys: Vec<String>,
    /// What is worth knowing besides.
    pub notes: Vec<String>,
}

impl RepairReport {
    /// Whether the copy holds everything: every limit, state, total and event.
    pub fn is_complete(&self) -> bool {
        self.dropped.iter().all(|dropped| dropped.loss == Loss::Nothing)
            && self.doubts.is_empty()
            && self.unknown_ids.is_empty()
            && self.lost_keys.is_empty()
    }
}

/// A part of a file that was not used, or a file that is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// The file.
    pub path: PathBuf,
    /// The bytes, from the first to the one behind the last; empty where a file is missing.
    pub from: u64,
    /// See `from`.
    pub to: u64,
    /// The records that were there and exist nowhere else, if any.
    pub records: Option<Records>,
    /// What it costs.
    pub loss: Loss,
    /// What is wrong there.
    pub reason: String,
}

/// Record numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Records {
    /// The first.
    pub first: u64,
    /// The last; `None` at the end of the log, where nothing says how many there were.
    pub last: Option<u64>,
}

/// What a dropped part costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loss {
    /// It was not needed, or is in another place too.
    Nothing,
    /// Events of the history; no limit, state or total.
    History,
    /// Limits, consumption or totals.
    State,
}

impl Loss {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::History => "history",
            Self::State => "state",
        }
    }
}

/// A key that records which are missing may have been about. What is not in doubt is exactly as it was.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct KeyDoubt {
    /// The key.
    pub key: String,
    /// The limit may have been changed, or the key deleted.
    pub limit: bool,
    /// Consumption may be missing, or a reset.
    pub state: bool,
    /// The totals of allowed and denied checks may be too low.
    pub totals: bool,
    /// What was used is not known, so that the limit counts as used up from the last change of it.
    pub used_up: bool,
    /// Taken from a line of a snapshot whose checksum does not match.
    pub unverified: bool,
}

impl KeyDoubt {
    /// Adds the doubts about another counter of the key.
    pub(super) fn add(&mut self, other: &Self) {
        self.limit |= other.limit;
        self.state |= other.state;
        self.totals |= other.totals;
        self.used_up |= other.used_up;
        self.unverified |= other.unverified;
    }
}

/// A key without a name: its state is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownId {
    /// The id.
    pub id: u64,
    /// Operations on it that were left out.
    pub operations: u64,
}
