//! The lock of a data directory: flock between processes, a registry within this one.
//!
//! Locked are the lock file, which names the holder, and the directory itself: a removed or replaced lock file lets no second
//! writer in.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FlockOperation, OFlags, flock, fstat, openat, statat};
use rustix::io::Errno;

use super::durable::{sync_content, sync_directory};
use super::ownership::{create_under, open_existing};
use crate::files;
use crate::storage::fork::{self, NoFork, ProcessFile};
use crate::storage::{LockGuard, Locked};
use crate::sync::process::Mutex;

/// Files and directories that this process has locked, each with the path that its directory was opened with. Locked only inside `fork::exclude`, so that it is free in every child.
static HELD: Mutex<Vec<(Identity, PathBuf)>> = Mutex::new(Vec::new());

/// A locked file or directory, whatever path leads to it, as held under a generation: what a child inherits does not count as held
/// by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    generation: u64,
}

impl Identity {
    fn of(file: &File) -> io::Result<Self> {
        let meta = file.metadata()?;
        Ok(Self { device: meta.dev(), inode: meta.ino(), generation: fork::generation() })
    }
}

/// A descriptor through which something is locked.
struct Locking {
    file: ProcessFile,
    identity: Identity,
}

impl Locking {
    fn adopt(file: File, identity: Identity, path: &Path, gate: &NoFork) -> Self {
        let file = ProcessFile::adopt(file, gate);
        debug_assert_eq!(file.generation(), identity.generation, "no fork can happen inside exclude");
        HELD.lock().push((identity, path.to_path_buf()));
        Self { file, identity }
    }
}

impl Drop for Locking {
    fn drop(&mut self) {
        let Ok(file) = self.file.file() else { return };
        fork::exclude(|_| {
            HELD.lock().retain(|(held, _)| *held != self.identity);
            // Explicitly, because a copy of the descriptor may live on in a child that was not made by `fork`. It cannot fail
            // on a valid descriptor, and closing comes next anyway.
            let _ = flock(file, FlockOperation::Unlock);
        });
    }
}

struct DiskLock {
    path: PathBuf,
    name: String,
    /// Replaced when the lock file was removed. First, because the directory keeps others out while it is released.
    file: Mutex<Locking>,
    dir: Locking,
}

impl LockGuard for DiskLock {
    fn renew(&self, content: &str) -> io::Result<bool> {
        let dir = self.dir.file.file()?;
        let mut held = self.file.lock();
        match statat(dir, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => {
                let own = fstat(held.file.file()?)?;
                if (found.st_dev, found.st_ino) == (own.st_dev, own.st_ino) {
                    return Ok(false);
                }
            }
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let new = fork::exclude(|gate| {
            let file = open_or_create(dir, &self.name)?;
            flock(&file, FlockOperation::NonBlockingLockExclusive)?;
            let identity = Identity::of(&file)?;
            io::Result::Ok(Locking::adopt(file, identity, &self.path, gate))
        })?;
        write_content(&new, content)?;
        // Its text names the store, which has to be known when everything else is lost.
        sync_content(new.file.file()?)?;
        sync_directory(dir)?;
        *held = new;
        Ok(true)
    }
}

enum Attempt {
    Taken(DiskLock),
    /// The file was replaced between opening and locking it.
    Stale,
    Refused(Locked),
}

/// Locks `dir`, which was opened with `path`, and the file `name` in it, which is made if it is missing, without waiting.
pub(super) fn lock(dir: &File, path: &Path, name: &str, content: &str) -> io::Result<Locked> {
    fork::install_handlers()?;
    loop {
        match attempt(dir, path, name)? {
            Attempt::Refused(answer) => return Ok(answer),
            Attempt::Stale => {}
            Attempt::Taken(lock) => {
                // The content is for a process that finds the directory locked, or nothing else in it; a full disk must
                // not keep a process from opening.
                let _ = write_content(&lock.file.lock(), content);
                return Ok(Locked::Guard(Box::new(lock)));
            }
        }
    }
}

/// Cut last, so that a write that fails leaves the old content.
fn write_content(lock: &Locking, content: &str) -> io::Result<()> {
    let file = lock.file.file()?;
    file.write_all_at(content.as_bytes(), 0)?;
    file.set_len(content.len() as u64)
}

fn open_or_create(dir: &File, name: &str) -> io::Result<File> {
    loop {
        match open_existing(dir, name, OFlags::RDWR) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
        match create_under(dir, name, files::LOCK_TMP) {
            // Another process was faster; or, for root in another user's directory, took the temporary name away.
            Err(error) if matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound) => {
                if fstat(dir)?.st_nlink == 0 {
                    return Err(error);
                }
            }
            other => return other,
        }
    }
}

fn attempt(dir: &File, path: &Path, name: &str) -> io::Result<Attempt> {
    fork::exclude(|gate| {
        let file = open_or_create(dir, name)?;
        // A description of its own: the lock ends with it, and not with the directory's other one.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = File::from(openat(dir, ".", flags, rustix::fs::Mode::empty())?);
        let identities = (Identity::of(&file)?, Identity::of(&dir)?);
        {
            let held = HELD.lock();
            if let Some((_, path)) = held.iter().find(|(held, _)| *held == identities.0 || *held == identities.1) {
                return Ok(Attempt::Refused(Locked::HeldHere { opened_as: path.clone() }));
            }
        }
        for descriptor in [&file, &dir] {
            match flock(descriptor, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => {
                    return Ok(Attempt::Refused(Locked::HeldElsewhere { content: read_content(&file) }));
                }
                Err(error) => return Err(error.into()),
            }
        }
        let now = statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW);
        let own = fstat(&file)?;
        if !now.is_ok_and(|now| (now.st_dev, now.st_ino) == (own.st_dev, own.st_ino)) {
            return Ok(Attempt::Stale);
        }
        let file = Mutex::new(Locking::adopt(file, identities.0, path, gate));
        let dir = Locking::adopt(dir, identities.1, path, gate);
        Ok(Attempt::Taken(DiskLock { path: path.to_path_buf(), name: name.to_owned(), file, dir }))
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
