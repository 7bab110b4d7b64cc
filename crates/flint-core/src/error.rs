//! Errors of the engine. Every message says what happened, where, and what to do about it.
//!
//! ```text
//! Error
//! ├── InvalidKey / InvalidLimit / InvalidCost / InvalidArgument   the caller's input; nothing was written
//! ├── LimitNotFound                                                check of a key without a limit
//! ├── CallMismatch                                                 a call's id was used for another call
//! ├── Storage                                                      the operating system refused a file operation
//! ├── NoRoom                                                       the disk is too full for it; nothing was written
//! ├── Stopped                                                      an earlier write or fsync failed: reopen
//! ├── Corrupt                                                      the files contradict themselves
//! ├── Unsupported                                                  newer format, mixed formats, unsupported file system
//! ├── Locked                                                       another writer holds the directory
//! ├── ReadOnly / Closed / Forked                                   this handle cannot do that (any more)
//! ```

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::lock_holder::{self, Holder};

/// The result of every fallible operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that an engine call can fail with.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The key is empty or too long.
    #[error("invalid key: {0}")]
    InvalidKey(String),
    /// The limit is outside what can be represented or is not understood.
    #[error("invalid limit: {0}")]
    InvalidLimit(String),
    /// The cost can never succeed.
    #[error("invalid cost: {0}")]
    InvalidCost(String),
    /// A setting or argument other than key, limit and cost.
    #[error("{0}")]
    InvalidArgument(String),
    /// No limit is configured for the key and none came with the call.
    #[error("no limit is configured for key {key:?}: set one with limit(), or pass limit= to a call that takes it")]
    LimitNotFound {
        /// The key that was asked for.
        key: String,
    },
    /// The id of a call that may be repeated was used for a call that asked for something else. Nothing changed.
    #[error("the idempotency key was used for another request before: use a new key for a new request")]
    CallMismatch,
    /// The operating system refused a file operation. The engine goes on.
    #[error("{op} {}: {source}", path.display())]
    Storage {
        /// What was attempted, as a verb phrase: "cannot open", "cannot sync".
        op: &'static str,
        /// The file or directory concerned.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// There is not enough room on the disk for a file. Nothing was written.
    #[error(
        "cannot write {}: No space left on device: it needs {needed_bytes} bytes, and {free_bytes} are free or can be made free; \
         free {} bytes and try again",
        path.display(), needed_bytes.saturating_sub(*free_bytes)
    )]
    NoRoom {
        /// The file.
        path: PathBuf,
        /// How much is needed.
        needed_bytes: u64,
        /// How much there is.
        free_bytes: u64,
    },
    /// A write or fsync failed earlier; what reached the disk is unknown until the directory is reopened.
    #[error("the limiter stopped because {op} {} failed: {message}; close it and open the directory again", path.display())]
    Stopped {
        /// What failed.
        op: &'static str,
        /// The file or directory concerned.
        path: PathBuf,
        /// The operating system's message.
        message: String,
        /// The operating system's error number, if there was one.
        errno: Option<i32>,
    },
    /// A file contradicts itself or its neighbours. Nothing was changed.
    #[error("{} is damaged at byte {offset}: {detail}; nothing was changed, run `flint doctor`", path.display())]
    Corrupt {
        /// The damaged (or missing) file.
        path: PathBuf,
        /// The first byte that cannot be trusted.
        offset: u64,
        /// What is wrong there.
        detail: String,
    },
    /// The directory holds something that this version must not touch.
    #[error("{}: {detail}", path.display())]
    Unsupported {
        /// The file or directory concerned.
        path: PathBuf,
        /// What it is and what to do.
        detail: String,
    },
    /// Another writer holds the directory.
    #[error("{}", lock_holder::message(path, holder, *waited))]
    Locked {
        /// The data directory.
        path: PathBuf,
        /// What is known of the holder.
        holder: Holder,
        /// How long the opener waited for it.
        waited: Duration,
    },
    /// A change was asked of a read-only handle.
    #[error("{op} needs to write, and {} was opened with read_only=True; open it with read_only=False for that", path.display())]
    ReadOnly {
        /// The operation.
        op: &'static str,
        /// The data directory.
        path: PathBuf,
    },
    /// The handle was closed.
    #[error("the limiter is closed: create a new one, or close it after its last call")]
    Closed,
    /// The process was forked after the handle was opened.
    #[error(
        "the limiter was opened before this process was forked; create it after the fork \
         (with gunicorn --preload: in post_fork, not at import)"
    )]
    Forked,
}

impl Error {
    /// Wraps an operating-system error with what was attempted and where.
    pub fn storage(op: &'static str, path: impl AsRef<Path>, source: io::Error) -> Self {
        Self::Storage { op, path: path.as_ref().to_path_buf(), source }
    }

    /// A contradiction in `path` at byte `offset`.
    pub fn corrupt(path: impl AsRef<Path>, offset: u64, detail: impl Into<String>) -> Self {
        Self::Corrupt { path: path.as_ref().to_path_buf(), offset, detail: detail.into() }
    }

    /// The operating system's error number, also where it was foreseen.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Storage { source, .. } => {
                let full = source.kind() == io::ErrorKind::StorageFull;
                source.raw_os_error().or_else(|| full.then_some(libc::ENOSPC))
            }
            Self::Stopped { errno, .. } => *errno,
            _ => None,
        }
    }

    /// Whether the operating system had nothing left to give (room, memory, descriptors), so that the same call may succeed
    /// later. It says nothing against what is on disk.
    pub fn is_out_of_resources(&self) -> bool {
        match self {
            Self::Storage { source, .. } => out_of_space(source) || out_of_memory(source),
            Self::NoRoom { .. } => true,
            _ => false,
        }
    }

    /// Whether the disk is merely full (or a quota or file size limit was met), so that writing may resume later.
    pub fn is_out_of_space(&self) -> bool {
        match self {
            Self::Storage { source, .. } => out_of_space(source),
            Self::NoRoom { .. } => true,
            _ => false,
        }
    }
}

/// Whether `error` means that there is no room, as opposed to a failing device.
pub fn out_of_space(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT | libc::EFBIG))
}

/// Whether `error` means that memory, mappings or descriptors ran out.
fn out_of_memory(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOMEM | libc::EAGAIN | libc::EMFILE | libc::ENFILE))
}
