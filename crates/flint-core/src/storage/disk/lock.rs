//! The lock of a data directory: flock between processes, a registry within this one.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};

use rustix::fs::{FlockOperation, flock};

use crate::storage::fork::{self, ProcessFile};
use crate::storage::{LockGuard, Locked};
use crate::sync::process::Mutex;

/// Lock files that this process holds. Locked only inside `fork::exclude`, so that it is free in every child.
static HELD: Mutex<Vec<Identity>> = Mutex::new(Vec::new());

/// A lock file, whatever path leads to it, as held under a generation: what a child inherits does not count as held by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    generation: u64,
}

struct DiskLock {
    file: ProcessFile,
    identity: Identity,
}

impl LockGuard for DiskLock {}

impl Drop for DiskLock {
    fn drop(&mut self) {
        let Ok(file) = self.file.file() else { return };
        fork::exclude(|_| {
            HELD.lock().retain(|held| *held != self.identity);
            // Explicitly, because a copy of the descriptor may live on in a child that was not made by `fork`. It cannot fail
            // on a valid descriptor, and closing comes next anyway.
            let _ = flock(file, FlockOperation::Unlock);
        });
    }
}

enum Attempt {
    Taken(DiskLock),
    /// The file was replaced between opening and locking it.
    Stale,
    Refused(Locked),
}

/// `open` opens the lock file by name (creating it if missing, never truncating it).
pub(super) fn lock(open: impl Fn() -> io::Result<File>, content: &str) -> io::Result<Locked> {
    fork::install_handlers()?;
    loop {
        match attempt(&open)? {
            Attempt::Refused(answer) => return Ok(answer),
            Attempt::Stale => {}
            Attempt::Taken(lock) => {
                let file = lock.file.file()?;
                // The content is for a process that finds the directory locked, or nothing else in it; a full disk must
                // not keep a process from opening. Cut last, so that a write that fails leaves the old content.
                let _ = file.write_all_at(content.as_bytes(), 0).and_then(|()| file.set_len(content.len() as u64));
                return Ok(Locked::Guard(Box::new(lock)));
            }
        }
    }
}

fn attempt(open: &impl Fn() -> io::Result<File>) -> io::Result<Attempt> {
    fork::exclude(|gate| {
        let file = open()?;
        let meta = file.metadata()?;
        let identity = Identity { device: meta.dev(), inode: meta.ino(), generation: fork::generation() };
        let mut held = HELD.lock();
        if held.contains(&identity) {
            return Ok(Attempt::Refused(Locked::HeldHere));
        }
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Ok(Attempt::Refused(Locked::HeldElsewhere { content: read_content(&file) }));
            }
            Err(error) => return Err(error.into()),
        }
        let now = open()?.metadata()?;
        if (now.dev(), now.ino()) != (identity.device, identity.inode) {
            return Ok(Attempt::Stale);
        }
        let file = ProcessFile::adopt(file, gate);
        debug_assert_eq!(file.generation(), identity.generation, "no fork can happen inside exclude");
        held.push(identity);
        Ok(Attempt::Taken(DiskLock { file, identity }))
    })
}

/// At most 4 KiB of what the holder wrote; empty when it cannot be read.
fn read_content(file: &File) -> String {
    let mut bytes = Vec::new();
    match file.take(4096).read_to_end(&mut bytes) {
        Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => String::new(),
    }
}
