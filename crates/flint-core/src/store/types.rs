//! What goes into and comes out of the engine's calls. Plain data; times shown to people are already wall-clock.

use std::path::PathBuf;
use std::sync::Arc;

use crate::clock::{Clock, SystemClock};
pub use crate::image::EventKind;
use crate::image::Origin;
use crate::limit::{Limit, Rate};
pub use crate::outcome::{MultiOutcome, Outcome, RateVerdicts};
pub use crate::receipts::{CallId, MAX_RECEIPTS, RECEIPT_AGE_NS};
pub use crate::stats::Distribution;

/// When a call's record is made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncMode {
    /// Before the call returns. Concurrent callers share one fdatasync. A power cut loses nothing acknowledged.
    Always,
    /// Within `flush_every_ms` or after `flush_every_events`, in the background. A killed process loses nothing; a power cut
    /// loses at most that last batch.
    Batch,
}

/// How a store is opened.
#[derive(Clone)]
pub struct Options {
    /// Durability of each call.
    pub sync: SyncMode,
    /// Batch mode: longest time between a call and its fsync, milliseconds, at least 1.
    pub flush_every_ms: u64,
    /// Batch mode: number of calls after which an fsync starts, at least 1.
    pub flush_every_events: u64,
    /// Look only: no lock, no thread, no change.
    pub read_only: bool,
    /// Bytes of sealed segments kept as history after compaction.
    pub history_bytes: u64,
    /// Size of a new segment, 16 KiB to 1 GiB, a multiple of 4 KiB.
    pub segment_bytes: u64,
    /// Source of time.
    pub clock: Arc<dyn Clock>,
    /// Whether threads sync, seal and compact in the background. Without them nothing happens between two calls except in
    /// `Engine::turn`, so that the same calls make the same operations every time. For tests.
    #[doc(hidden)]
    pub threads: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sync: SyncMode::Always,
            flush_every_ms: 100,
            flush_every_events: 100,
            read_only: false,
            history_bytes: 64 << 20,
            segment_bytes: 4 << 20,
            clock: Arc::new(SystemClock),
            threads: true,
        }
    }
}

/// What happens to consumption when a key's limit changes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum OnChange {
    /// Unchanged rates keep their state, new ones start with what was used.
    #[default]
    Keep,
    /// Every rate starts afresh.
    Reset,
}

/// One key's part in a check.
#[derive(Debug, Clone, Copy)]
pub struct Item<'a> {
    /// The key.
    pub key: &'a str,
    /// Tokens to take, at least 1.
    pub cost: u64,
    /// A limit given with the call; an explicitly configured one takes precedence.
    pub limit: Option<&'a Limit>,
}

/// How long a call that must not wait for the disk may wait at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitPolicy {
    /// It waits for nothing.
    Never,
    /// It waits for the engine's lock, which no thread holds during disk I/O.
    Lock,
}

/// The answer to a call that may be repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repeatable<T> {
    /// What the call is told, and was told the first time. Its `seq` is that of the first call, so that nobody is told of what
    /// is not on disk.
    pub answer: T,
    /// Whether it was asked before: nothing was taken or counted now.
    pub repeated: bool,
}

/// One key as `status`, `list` and `top` show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The key.
    pub key: String,
    /// Its rates.
    pub rates: Vec<Rate>,
    /// Index of the rate that binds: fewest remaining, ties to the first.
    pub binding: usize,
    /// Where the limit came from.
    pub origin: Origin,
    /// A limit of an old release that is outside today's bounds: checks raise InvalidLimit until it is redefined.
    pub out_of_bounds: bool,
    /// What is left.
    pub remaining: u64,
    /// Nanoseconds until a check of cost 1 would be allowed; 0 when it would be now.
    pub retry_after_ns: u64,
    /// When the full limit is back, nanoseconds since the Unix epoch.
    pub reset_at_wall_ns: u64,
    /// Allowed checks.
    pub total_allowed: u64,
    /// Denied checks.
    pub total_denied: u64,
    /// Cost of allowed checks.
    pub total_allowed_cost: u64,
    /// Cost of denied checks.
    pub total_denied_cost: u64,
    /// Wall-clock nanoseconds.
    pub last_allowed_at_ns: Option<u64>,
    /// Wall-clock nanoseconds.
    pub last_denied_at_ns: Option<u64>,
    /// Wall-clock nanoseconds.
    pub last_reset_at_ns: Option<u64>,
}

/// What `top` sorts by, largest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopBy {
    /// Number of allowed checks.
    Allowed,
    /// Number of denied checks.
    Denied,
    /// Cost of allowed checks.
    AllowedCost,
    /// Cost of denied checks.
    DeniedCost,
}

/// One event of a key's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// When, wall-clock nanoseconds since the Unix epoch; for aggregated denials the newest.
    pub at_wall_ns: u64,
    /// Cost; for aggregated denials the sum. 0 where there is none.
    pub cost: u64,
    /// Number of checks that this event stands for.
    pub count: u64,
    /// What was left afterwards, where the log tells.
    pub remaining: Option<u64>,
}

/// What open found and did.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// Whether the directory was new.
    pub created: bool,
    /// Whether the last session ended with close().
    pub clean: bool,
    /// Sequence number at which the snapshot starts, 0 without one.
    pub snapshot_seq: u64,
    /// Records replayed from the log.
    pub records: u64,
    /// Segments read.
    pub segments: u64,
    /// Bytes cut from a torn tail.
    pub cut_bytes: u64,
    /// The file that was cut and the offset.
    pub cut_at: Option<(PathBuf, u64)>,
    /// The release whose files were migrated ("0.1", "0.2").
    pub migrated_from: Option<&'static str>,
}

/// What doctor found.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Report {
    /// No problem.
    pub ok: bool,
    /// Number of configured keys.
    pub limits: u64,
    /// Number of history events in the files.
    pub history_events: u64,
    /// Size of all log segments (or of the old log), bytes.
    pub aof_bytes: u64,
    /// Whether a snapshot is present.
    pub snapshot_exists: bool,
    /// "current", "0.2", "0.1" or "none".
    pub format: &'static str,
    /// What is wrong, each with the file and offset.
    pub problems: Vec<Problem>,
    /// What is worth knowing but harms nobody, such as a torn tail that the next open cuts.
    pub notes: Vec<String>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file or directory.
    pub path: PathBuf,
    /// First byte that cannot be trusted.
    pub offset: u64,
    /// What and what to do.
    pub message: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at byte {}: {}", self.path.display(), self.offset, self.message)
    }
}

/// Severity of a [`Notice`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Something was repaired or put off.
    Warning,
    /// The engine stopped.
    Error,
}

/// Something a native thread has to say; the binding passes it to `logging` on the next call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// How bad.
    pub severity: Severity,
    /// The sentence.
    pub message: String,
}

/// Totals of the whole engine since open.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Counters {
    /// Configured keys now.
    pub keys: u64,
    /// Allowed checks.
    pub allowed: u64,
    /// Denied checks.
    pub denied: u64,
    /// Newest sequence number.
    pub seq: u64,
    /// Newest sequence number known to be durable.
    pub durable_seq: u64,
    /// Bytes of log appended.
    pub log_bytes: u64,
    /// fdatasync calls on segments.
    pub syncs: u64,
    /// Segment rotations.
    pub rotations: u64,
    /// Finished compactions.
    pub compactions: u64,
    /// How long opening took, nanoseconds.
    pub recovery_ns: u64,
    /// How long each sync of the log took, nanoseconds.
    pub sync_ns: Distribution,
    /// How many records each sync made durable.
    pub sync_records: Distribution,
}
