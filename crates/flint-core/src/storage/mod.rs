//! All file access. A directory is flat: names are plain file names, never paths.
//!
//! `disk` is the operating system; `memory` holds files that are only read; `closed` is what is left of a closed one; `crate::testing::sim` is a disk in memory that loses, tears and reorders what was not synced and
//! fails on command. Neither knows what the files mean. `fork` keeps a forked child away from its parent's files.

pub(crate) mod closed;
pub mod disk;
pub mod fork;
pub(crate) mod memory;
pub(crate) mod partial;

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How [`Dir::open`] treats the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Existing file, reading only.
    Read,
    /// Existing file, reading and writing.
    ReadWrite,
    /// New file, reading and writing; fails with `AlreadyExists`.
    CreateNew,
}

/// A directory.
pub trait Dir: Send + Sync {
    /// The path shown to people.
    fn path(&self) -> &Path;
    /// Opens or creates a file.
    fn open(&self, name: &str, mode: Mode) -> io::Result<Arc<dyn File>>;
    /// Names of everything but subdirectories, in no order. What is not a plain file is refused when it is opened.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Renames a file within the directory, replacing the target.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes creations, renames and removals durable.
    fn sync(&self) -> io::Result<()>;
    /// Opens a subdirectory; with `create`, makes it (mode 0700) if it is missing and syncs this directory.
    fn subdir(&self, name: &str, create: bool) -> io::Result<Arc<dyn Dir>>;
    /// Moves the file `name` into a subdirectory under the same name, replacing what is there; neither directory is synced.
    /// Sync the subdirectory first, then this directory: a power cut in between may leave the file under both.
    fn move_into(&self, name: &str, subdir: &str) -> io::Result<()>;
    /// Bytes that this process may still write to the file system, about.
    fn free_bytes(&self) -> io::Result<u64>;
    /// Takes the exclusive lock on the file `name` (created, mode 0600, if missing) without waiting and writes `content`,
    /// for a process that finds it locked, into it. The content can be read without the lock by opening the file.
    fn lock(&self, name: &str, content: &str) -> io::Result<Locked>;
    /// Why no writer may use the directory, such as permissions that let other users change its files, and what to do.
    fn risk(&self) -> io::Result<Option<String>> {
        Ok(None)
    }
    /// Gives back what the operating system holds for it. Every later operation fails.
    fn close(&self) {}
}

/// The answer of [`Dir::lock`].
pub enum Locked {
    /// The caller holds the lock until this is dropped.
    Guard(Box<dyn LockGuard>),
    /// This process holds it already.
    HeldHere {
        /// The directory, by the path that it was opened with.
        opened_as: PathBuf,
    },
    /// Another process holds it, or another copy of this library loaded into this one: `content` then names its own pid.
    HeldElsewhere {
        /// What the holder wrote, empty while it is still writing.
        content: String,
    },
}

/// Holding a directory's lock. Dropping it unlocks, except in a forked child, where it does nothing.
pub trait LockGuard: Send + Sync {
    /// Makes the lock file again, locked and with `content`, if its name is gone or leads to another file: the directory stays locked
    /// without it, but a process that looks for the file finds nothing. Returns whether it did.
    ///
    /// # Errors
    /// Those of making and locking it; `WouldBlock` while another process has locked the file that is there now.
    fn renew(&self, _content: &str) -> io::Result<bool> {
        Ok(false)
    }
}

/// What overwriting a part of a file may need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Overwrite {
    /// No new block, now or later: it cannot fail for lack of room.
    InPlace,
    /// Blocks for these ranges, which read as zeros and have none; the rest is overwritten in place.
    Holes(Vec<Range<u64>>),
    /// Perhaps new blocks, anywhere and each time.
    MayAllocate,
}

/// A file.
pub trait File: Send + Sync {
    /// Reads exactly `buf.len()` bytes at `offset`, or fails with `UnexpectedEof`.
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all of `data` at `offset`, extending the file as needed. After an error a part may have been written.
    fn write_all_at(&self, data: &[u8], offset: u64) -> io::Result<()>;
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file is empty.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Makes the content (also what was stored through a map) and the length durable: fdatasync, F_FULLFSYNC on macOS. Not
    /// the name: see [`Dir::sync`]. After an error the unwritten data counts as written, so that calling again proves
    /// nothing.
    fn sync_data(&self) -> io::Result<()>;
    /// What overwriting the first `len` bytes may need. What was written before must be synced.
    fn overwrite(&self, len: u64) -> io::Result<Overwrite>;
    /// Maps the first `len` bytes for storing. The file must already have that length, and [`File::overwrite`] must say
    /// [`Overwrite::InPlace`]: a store that needs a block that is not there kills the process.
    fn map(&self, len: usize) -> io::Result<Box<dyn Map>>;
}

/// A shared, writable mapping of a file's beginning. Stores survive the process, but not a power cut before a sync.
pub trait Map: Send {
    /// Copies `data` to `offset`. Panics when it does not fit.
    fn store(&mut self, offset: usize, data: &[u8]);
}
