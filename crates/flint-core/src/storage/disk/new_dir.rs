//! A directory that is made for a copy: in place, or beside its place and moved there when it is complete.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::storage::Dir;

use super::dir::{DiskDir, sync_path};

/// Where a directory may be made: nothing is there, or an empty directory.
pub(crate) struct NewDir {
    path: PathBuf,
    existed: bool,
}

impl NewDir {
    /// Looks whether `path` can take the copy of `original`. The inner error says why not.
    pub(crate) fn check(original: &Path, path: &Path) -> io::Result<Result<Self, String>> {
        let original = fs::canonicalize(original)?;
        let shown = path.display();
        let existed = match fs::read_dir(path) {
            Ok(mut entries) => match entries.next() {
                None => true,
                Some(_) => return Ok(Err(format!("{shown} is not empty: name a directory that does not exist yet"))),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return Ok(Err(format!("{shown} is not a directory: name one that does not exist yet")));
            }
            Err(error) => return Err(error),
        };
        // What does not exist has no canonical form; the directory above it must.
        let above = if existed { Some(path) } else { path.parent() };
        let Some(above) = above else { return Ok(Err(format!("{shown} has no directory above it"))) };
        let real = match fs::canonicalize(above) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Err(format!("{} does not exist: make it first, or name another place", above.display())));
            }
            other => other?,
        };
        if real.starts_with(&original) {
            return Ok(Err(format!("{shown} is inside the directory that is to be copied: name a place outside")));
        }
        // A directory cannot be renamed to a symbolic link, so that one is followed here.
        let path = match path.file_name() {
            _ if existed => real,
            Some(name) => real.join(name),
            None => return Ok(Err(format!("{shown} does not name a directory that can be made"))),
        };
        Ok(Ok(Self { path, existed }))
    }

    /// Bytes that its file system has left for this process.
    pub(crate) fn free_bytes(&self) -> io::Result<u64> {
        let above = self.path.parent().unwrap_or(&self.path);
        let free = rustix::fs::statvfs(above)?;
        Ok(free.f_bavail.saturating_mul(free.f_frsize))
    }

    /// Makes a directory beside it, for a copy that gets its place with [`publish`](Self::publish). One that a killed process left
    /// there is used again: lock it before anything is written.
    pub(crate) fn stage(&self) -> io::Result<Staged> {
        let mut name = std::ffi::OsString::from(".");
        name.push(self.path.file_name().unwrap_or_default());
        name.push(".partial");
        let path = self.path.with_file_name(name);
        Ok(Staged { dir: DiskDir::open(&path, true)?, path, target: self.path.clone() })
    }

    /// Makes it, durably.
    pub(crate) fn create(&self) -> io::Result<Arc<dyn Dir>> {
        DiskDir::open(&self.path, true)
    }

    /// Takes it away again, if it was made here and is empty, best effort: the caller has an error to return already.
    pub(crate) fn give_back(&self) {
        if !self.existed {
            drop(fs::remove_dir(&self.path));
        }
    }

    /// The same with everything in it.
    pub(crate) fn discard(&self) {
        if let Ok(entries) = fs::read_dir(&self.path) {
            for entry in entries.flatten() {
                drop(fs::remove_file(entry.path()));
            }
        }
        self.give_back();
    }
}

/// A directory under a temporary name.
pub(crate) struct Staged {
    pub(crate) dir: Arc<dyn Dir>,
    path: PathBuf,
    target: PathBuf,
}

impl Staged {
    /// Gives the directory its name, durably. It replaces an empty directory and nothing else.
    pub(crate) fn publish(&self) -> io::Result<()> {
        fs::rename(&self.path, &self.target)?;
        sync_path(self.target.parent().unwrap_or(&self.target))
    }

    /// Removes the files in it, but not `kept`.
    pub(crate) fn clear(&self, kept: &str) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_name() != kept {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Removes it with everything in it, best effort: the caller has an error to return already.
    pub(crate) fn discard(&self) {
        if let Ok(entries) = fs::read_dir(&self.path) {
            for entry in entries.flatten() {
                drop(fs::remove_file(entry.path()));
            }
        }
        drop(fs::remove_dir(&self.path));
    }
}
