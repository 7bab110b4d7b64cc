//! What tests may switch on inside the engine: deliberate defects, to show that the tests notice them, and death in the middle
//! of a store. Without the feature `test-hooks`, which nothing that is shipped enables, every answer is a constant.
//!
//! A defect is chosen by the environment variable `FLINT_DEFECT`; `make sabotage` goes through all of them.

/// Defines the defects with their names.
macro_rules! defects {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A deliberate defect.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Defect {
            $($(#[$doc])* $variant,)*
        }

        impl Defect {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The value of `FLINT_DEFECT` that chooses it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

defects! {
    /// The directory is not synced after a rotation.
    SkipDirectorySync = "skip-directory-sync",
    /// A full segment is not synced with its successor.
    SkipPredecessorSync = "skip-predecessor-sync",
    /// A snapshot gets its name before its content is durable.
    RenameBeforeSync = "rename-before-sync",
    /// A durable call returns without waiting for its sync.
    AcknowledgeBeforeSync = "acknowledge-before-sync",
    /// A torn tail is not overwritten with zeros.
    KeepTornTail = "keep-torn-tail",
    /// Accepted records behind the last durable mark are not written again.
    SkipRewrite = "skip-rewrite",
    /// A failed sync is tried again and believed.
    RetryFailedSync = "retry-failed-sync",
    /// The old snapshot goes before the new one has its name.
    DeleteBeforePublish = "delete-before-publish",
    /// A record's link to the one before it is not checked.
    IgnorePreviousRecord = "ignore-previous-record",
    /// Replay applies a record to a key that is already further.
    IgnoreSequence = "ignore-sequence",
    /// The allowed items of a denied multi-key check are consumed.
    CountDeniedItems = "count-denied-items",
    /// Decisions follow the wall clock.
    UseWallClock = "use-wall-clock",
    /// A snapshot is published before the log is durable through its end.
    SnapshotAheadOfLog = "snapshot-ahead-of-log",
    /// A full segment is sealed before its successor is durable.
    SealTooEarly = "seal-too-early",
    /// The table changes before room in the log was found.
    ChangeBeforeReserve = "change-before-reserve",
    /// The table changes although the record could not be written.
    ChangeBeforeWrite = "change-before-write",
    /// What a failed write left of a record stays.
    KeepFailedRecord = "keep-failed-record",
    /// The checksum of a snapshot is not verified.
    SkipSnapshotChecksum = "skip-snapshot-checksum",
    /// A missing snapshot goes unnoticed.
    ForgetSnapshotMark = "forget-snapshot-mark",
    /// Damage before the last durable mark is taken for a torn tail.
    IgnoreDurableMarks = "ignore-durable-marks",
    /// Segments behind a cut are removed oldest first.
    RemoveOldestFirst = "remove-oldest-first",
    /// The end of a snapshot is not compared with the end of the log.
    IgnoreSnapshotEnd = "ignore-snapshot-end",
    /// The last record of a session is not synced.
    SkipCloseSync = "skip-close-sync",
    /// flush() returns without syncing.
    SkipFlushSync = "skip-flush-sync",
    /// In batch mode nothing is synced in the background.
    NeverFlush = "never-flush",
    /// A batch that is full waits until its time is over.
    IgnoreFullBatch = "ignore-full-batch",
    /// A batch waits for twice its time.
    FlushLate = "flush-late",
    /// A deleted key's number is given to the next new key.
    ReuseKeyIds = "reuse-key-ids",
    /// Waiting times are a nanosecond short.
    RetryTooEarly = "retry-too-early",
    /// A caller that waits for the disk returns one record early.
    WakeOneEarly = "wake-one-early",
    /// A record is reported as durable to an event loop as soon as it is in the log.
    BelieveUnsynced = "believe-unsynced",
    /// A snapshot holds no remembered answers.
    ForgetAnswers = "forget-answers",
    /// A ninth limit of a key takes the place of a counter that is in use.
    DropUsedCounter = "drop-used-counter",
    /// A snapshot does not say which counter of a key was used last.
    ForgetLastUse = "forget-last-use",
    /// A reset wakes no caller that waits for a limit.
    LoseWakeAtReset = "lose-wake-at-reset",
    /// The answer to a call is written behind its record, in one of its own.
    AnswerApart = "answer-apart",
}

#[cfg(feature = "test-hooks")]
mod chosen {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::Defect;

    /// Whether this defect was chosen.
    pub(crate) fn has(defect: Defect) -> bool {
        static CHOSEN: OnceLock<Option<Defect>> = OnceLock::new();
        *CHOSEN.get_or_init(|| {
            let name = std::env::var("FLINT_DEFECT").ok()?;
            Some(*Defect::ALL.iter().find(|defect| defect.name() == name).expect("FLINT_DEFECT names a defect"))
        }) == Some(defect)
    }

    /// How much of a store of `len` bytes to do before dying in it; `None`: all of it, and live. `FLINT_KILL_AT_STORE=2n` is
    /// just before the nth store, `2n + 1` in the middle of it.
    pub(crate) fn dies_in_store(len: usize) -> Option<usize> {
        static AT: OnceLock<Option<u64>> = OnceLock::new();
        static STORES: AtomicU64 = AtomicU64::new(0);
        let at = (*AT.get_or_init(|| std::env::var("FLINT_KILL_AT_STORE").ok()?.parse().ok()))?;
        let store = STORES.fetch_add(1, Ordering::Relaxed);
        (store == at / 2).then_some(if at % 2 == 0 { 0 } else { len / 2 })
    }

    /// Dies as by `kill -9`.
    pub(crate) fn die() -> ! {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        std::process::abort()
    }
}

#[cfg(feature = "test-hooks")]
mod slices {
    use std::cell::RefCell;

    type Visitor = Box<dyn FnMut()>;

    thread_local! {
        static VISITOR: RefCell<Option<Visitor>> = const { RefCell::new(None) };
    }

    /// Lets `visit` run between two slices of every snapshot that this thread writes, and of every call that it makes in slices, with no
    /// lock held.
    pub fn visit_between_slices(visit: Option<Visitor>) {
        VISITOR.set(visit);
    }

    pub(crate) fn between_slices() {
        // Taken out meanwhile: what it calls may write a snapshot too.
        if let Some(mut visit) = VISITOR.take() {
            visit();
            VISITOR.set(Some(visit));
        }
    }
}

#[cfg(feature = "test-hooks")]
pub use slices::visit_between_slices;

#[cfg(feature = "test-hooks")]
pub(crate) use chosen::{die, dies_in_store, has};
#[cfg(feature = "test-hooks")]
pub(crate) use slices::between_slices;

/// Whether this defect was chosen: no.
#[cfg(not(feature = "test-hooks"))]
#[inline]
pub(crate) const fn has(_: Defect) -> bool {
    false
}
