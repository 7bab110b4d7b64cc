//! How a store is opened, and how long its calls wait.

use std::time::Duration;

use crate::clock::{Clock, SystemClock};
use crate::sync::Arc;

/// When a call's record is made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncMode {
    /// Before the call returns. Concurrent callers share one fdatasync. A power cut loses nothing acknowledged.
    Always,
    /// Within `flush_every_ms` or after `flush_every_events`, in the background. A killed process loses nothing; a power cut
    /// loses at most that last batch.
    Batch,
}

/// How records are written into the active segment.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum LogIo {
    /// Through a mapping where a store into it can need no new block, otherwise with pwrite.
    #[default]
    Auto,
    /// With pwrite everywhere.
    Pwrite,
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
    /// How long opening waits for a lock that another writer holds. An opener never waits in the operating system, so that it can
    /// give up at any time.
    pub lock_timeout: Duration,
    /// Asked between two attempts to take the lock: whether to give up at once.
    pub interrupted: Option<Arc<dyn Fn() -> bool + Send + Sync>>,
    /// How records are written.
    pub log_io: LogIo,
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
            lock_timeout: Duration::ZERO,
            interrupted: None,
            log_io: LogIo::Auto,
            clock: Arc::new(SystemClock),
            threads: true,
        }
    }
}

/// How long a call that must not wait for the disk may wait at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitPolicy {
    /// It waits for nothing.
    Never,
    /// It waits for the engine's lock, which no thread holds during disk I/O.
    Lock,
}
