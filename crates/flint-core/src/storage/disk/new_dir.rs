//! A directory that is made for one purpose and goes away with it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::storage::Dir;

use super::dir::DiskDir;

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
            return Ok(Err(format!("{shown} is inside the directory that is to be repaired: name a place outside")));
        }
        Ok(Ok(Self { path: path.to_path_buf(), existed }))
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
