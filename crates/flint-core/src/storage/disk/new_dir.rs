//! A directory that is made for a copy: beside its place, under a temporary name, and moved there when it is complete.
//!
//! The directory above may be one that other users can write. So everything is done relative to descriptors, what is there
//! under the temporary name is used only if a killed copy left it, and its name is compared with its descriptor before it counts.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File as StdFile};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode as Bits, OFlags, RenameFlags, Stat, fchmod, fstat, lstat, mkdirat, renameat,
    renameat_with, statat, unlinkat,
};
use rustix::io::Errno;
use rustix::process::{Gid, Uid, geteuid};

use crate::files::{self, FileKind};
use crate::storage::{Dir, LockGuard, Locked, Mode};

use super::dir::{DiskDir, open_directory};
use super::durable::sync_directory;
use super::ownership::{self, DIR_BITS, OTHERS_WRITE};

/// Where a directory may be made: nothing is there, or an empty directory.
pub(crate) struct NewDir {
    path: PathBuf,
    /// The empty directory. The new one gets its owner, group and mode.
    replaced: Option<Stat>,
    /// Of the directory that is copied.
    original: Stat,
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
        let replaced = if existed { Some(lstat(&path)?) } else { None };
        if let (Some(replaced), Some(above)) = (&replaced, path.parent())
            && lstat(above)?.st_dev != replaced.st_dev
        {
            return Ok(Err(format!("{shown} is a mount point, which cannot be replaced: name a new directory in it")));
        }
        Ok(Ok(Self { path, replaced, original: lstat(&original)? }))
    }

    fn parent(&self) -> &Path {
        self.path.parent().unwrap_or(&self.path)
    }

    /// Bytes that its file system has left for this process.
    pub(crate) fn free_bytes(&self) -> io::Result<u64> {
        let free = rustix::fs::statvfs(self.parent())?;
        Ok(free.f_bavail.saturating_mul(free.f_frsize))
    }

    /// Makes the directory under a temporary name, for a copy that gets its place with [`publish`](Staged::publish), and locks it
    /// with `content` in its lock file, which keeps other copies out and belongs to the copy. What a killed process left under that
    /// name is used again; the inner error says why what is there may not be.
    pub(crate) fn stage(&self, content: &str) -> io::Result<Result<Staged, String>> {
        let parent = open_directory(CWD, self.parent(), OFlags::empty())?;
        let target = self.path.file_name().unwrap_or_default().to_owned();
        let mut name = OsString::from(".");
        name.push(&target);
        name.push(".partial");
        let path = self.path.with_file_name(&name);
        let made = match mkdirat(&parent, &name, DIR_BITS) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(error) => return Err(error.into()),
        };
        let handle = match open_directory(&parent, &name, OFlags::NOFOLLOW) {
            Ok(handle) => handle,
            Err(error) => return Ok(Err(in_the_way(&path, &format!("it cannot be used for the copy ({error})")))),
        };
        let owner = self.owner(&parent)?;
        if let Some(why) = why_not_ours(&handle, owner)? {
            return Ok(Err(in_the_way(&path, &why)));
        }
        if let Err(error) = self.prepare(&handle, owner) {
            if made {
                let _ = unlinkat(&parent, &name, AtFlags::REMOVEDIR);
            }
            return Err(error);
        }
        let dir = DiskDir::adopt(&path, &handle)?;
        let Locked::Guard(lock) = dir.lock(files::LOCK, content)? else { return Ok(Err(being_written(&path))) };
        let staged = Staged { dir, path, parent, name, target, handle, replaced: self.replaced, _lock: lock };
        // A copy that was under way when this one looked, and ended before it had the lock, has its place by now.
        if !staged.is_called(&staged.name)? {
            return Ok(Err(being_written(&staged.path)));
        }
        if let Some(why) = staged.clear()? {
            return Ok(Err(in_the_way(&staged.path, &why)));
        }
        // The content was written without a sync.
        staged.dir.open(files::LOCK, Mode::ReadWrite)?.sync_data()?;
        Ok(Ok(staged))
    }

    /// To which user and group root has to give it, or which the replaced one has; `None` where those of this process are right.
    fn owner(&self, parent: &StdFile) -> io::Result<Option<(Uid, Gid)>> {
        let of = |stat: &Stat| Some((Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid)));
        if let Some(replaced) = &self.replaced {
            return Ok(of(replaced));
        }
        let above = fstat(parent)?;
        Ok(if !geteuid().is_root() || !ownership::keeps_modes(parent) {
            None
        } else if above.st_uid != 0 && above.st_mode & OTHERS_WRITE == 0 {
            of(&above)
        } else if self.original.st_uid != 0 {
            of(&self.original)
        } else {
            None
        })
    }

    /// Gives the new directory its owner and mode, before anything is in it.
    fn prepare(&self, handle: &StdFile, owner: Option<(Uid, Gid)>) -> io::Result<()> {
        let stat = fstat(handle)?;
        ownership::give(
            handle,
            owner.filter(|&(user, group)| (user.as_raw(), group.as_raw()) != (stat.st_uid, stat.st_gid)),
        )?;
        let Some(replaced) = &self.replaced else { return Ok(()) };
        // No writer opens a directory that other users may write, and its owner has to write this one.
        let mode = Bits::from_raw_mode(replaced.st_mode & !OTHERS_WRITE).union(DIR_BITS);
        if ownership::keeps_modes(handle) && mode != Bits::from_raw_mode(fstat(handle)?.st_mode) {
            fchmod(handle, mode)?;
        }
        Ok(())
    }
}

fn in_the_way(path: &Path, why: &str) -> String {
    format!(
        "a copy is written under the name {} first, and something else has that name: {why}; move it away, or name \
         another place for the copy",
        path.display()
    )
}

fn being_written(path: &Path) -> String {
    format!("another copy is being written as {}: wait for it, or name another place", path.display())
}

/// Why a directory is not one that a killed copy left, nor one that was just made. With `owner`, an empty one of this process's user
/// is about to be given away.
fn why_not_ours(handle: &StdFile, owner: Option<(Uid, Gid)>) -> io::Result<Option<String>> {
    let stat = fstat(handle)?;
    let own = geteuid();
    let entries = match entries(handle)? {
        Ok(entries) => entries,
        Err(why) => return Ok(Some(why)),
    };
    let user = owner.map_or(own, |(user, _)| user).as_raw();
    if !ownership::keeps_modes(handle) {
        return Ok(None);
    }
    if stat.st_uid != user && (stat.st_uid != own.as_raw() || !entries.is_empty()) {
        return Ok(Some(format!("it belongs to user {}, and the copy to user {user}", stat.st_uid)));
    }
    if stat.st_mode & OTHERS_WRITE != 0 {
        return Ok(Some(format!("users other than its owner may write it (mode {:04o})", stat.st_mode & 0o7777)));
    }
    Ok(None)
}

/// Names of the files in a directory that holds nothing but what a copy consists of; otherwise, what is no part of one.
fn entries(handle: &StdFile) -> io::Result<Result<Vec<String>, String>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(handle)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let stat = match statat(handle, name, AtFlags::SYMLINK_NOFOLLOW) {
            // Removed since, by a copy that is under way.
            Err(Errno::NOENT) => continue,
            other => other?,
        };
        let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        match name.to_str() {
            Ok(name) if regular && is_of_a_copy(files::classify(name)) => names.push(name.to_owned()),
            _ => return Ok(Err(format!("it contains {:?}, which no copy does", name.to_string_lossy()))),
        }
    }
    Ok(Ok(names))
}

/// Whether a copy, or a part of one, may contain it: no store in use is without other files.
const fn is_of_a_copy(kind: FileKind) -> bool {
    match kind {
        FileKind::Lock
        | FileKind::LockTmp
        | FileKind::Segment(_)
        | FileKind::MigratingSegment(_)
        | FileKind::Snapshot(_)
        | FileKind::SnapshotTmp
        | FileKind::LegacyAof => true,
        FileKind::Spare | FileKind::Reserve | FileKind::LegacySnapshot | FileKind::Foreign => false,
    }
}

/// A directory under a temporary name, locked.
pub(crate) struct Staged {
    pub(crate) dir: Arc<dyn Dir>,
    path: PathBuf,
    parent: StdFile,
    name: OsString,
    target: OsString,
    handle: StdFile,
    replaced: Option<Stat>,
    _lock: Box<dyn LockGuard>,
}

impl Staged {
    /// Whether this directory has the name `name`.
    fn is_called(&self, name: &OsStr) -> io::Result<bool> {
        has_name(&self.parent, name, &fstat(&self.handle)?)
    }

    /// Gives the directory its name, durably. It replaces the empty directory that was there and nothing else.
    pub(crate) fn publish(&self) -> io::Result<()> {
        let moved =
            || io::Error::other(format!("{} was moved or replaced while the copy was written", self.path.display()));
        if !self.is_called(&self.name)? {
            return Err(moved());
        }
        if let Some(replaced) = &self.replaced {
            if !has_name(&self.parent, &self.target, replaced)? {
                return Err(io::Error::other("the empty directory there was replaced while the copy was written"));
            }
            renameat(&self.parent, &self.name, &self.parent, &self.target)?;
        } else {
            match renameat_with(&self.parent, &self.name, &self.parent, &self.target, RenameFlags::NOREPLACE) {
                // Not on every file system.
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                    renameat(&self.parent, &self.name, &self.parent, &self.target)?;
                }
                other => other?,
            }
        }
        if !self.is_called(&self.target)? {
            return Err(moved());
        }
        sync_directory(&self.parent)
    }

    /// Removes the files in it, but not the lock file. What is no part of a copy is returned, and nothing removed.
    fn clear(&self) -> io::Result<Option<String>> {
        let names = match entries(&self.handle)? {
            Ok(names) => names,
            Err(why) => return Ok(Some(why)),
        };
        for name in names.iter().filter(|name| *name != files::LOCK) {
            unlinkat(&self.handle, name, AtFlags::empty())?;
        }
        Ok(None)
    }

    /// Removes it with its files, best effort: the caller has an error to return already.
    pub(crate) fn discard(&self) {
        // Not what was published.
        if self.is_called(&self.name).is_ok_and(|called| called) && self.clear().is_ok_and(|left| left.is_none()) {
            let _ = unlinkat(&self.handle, files::LOCK, AtFlags::empty());
            let _ = unlinkat(&self.parent, &self.name, AtFlags::REMOVEDIR);
        }
    }
}

/// Whether `name` in `dir` is the directory that `stat` describes.
fn has_name(dir: &StdFile, name: &OsStr, stat: &Stat) -> io::Result<bool> {
    match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => Ok((found.st_dev, found.st_ino) == (stat.st_dev, stat.st_ino)),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(all(test, not(feature = "shuttle")))]
mod tests {
    use super::*;

    fn staged(above: &Path) -> Staged {
        let original = above.join("original");
        assert!(fs::create_dir_all(&original).is_ok());
        let Ok(Ok(place)) = NewDir::check(&original, &above.join("copy")) else { panic!("there is a place") };
        let Ok(Ok(staged)) = place.stage("0\n") else { panic!("it can be made") };
        assert!(staged.dir.open(&files::segment_name(1), Mode::CreateNew).is_ok());
        staged
    }

    #[test]
    fn a_directory_that_was_replaced_is_neither_published_nor_removed() {
        let scratch = tempfile::tempdir().unwrap();
        let (above, segment) = (scratch.path(), files::segment_name(1));
        let copy = staged(above);
        fs::rename(above.join(".copy.partial"), above.join("away")).unwrap();
        fs::create_dir(above.join(".copy.partial")).unwrap();
        fs::write(above.join(".copy.partial").join(&segment), "theirs").unwrap();
        assert!(copy.publish().unwrap_err().to_string().contains("moved or replaced"));
        copy.discard();
        assert_eq!(fs::read(above.join(".copy.partial").join(&segment)).unwrap(), b"theirs");
        assert!(!above.join("copy").exists());
    }

    #[test]
    fn what_came_to_the_place_meanwhile_is_not_replaced() {
        let scratch = tempfile::tempdir().unwrap();
        let above = scratch.path();
        let copy = staged(above);
        fs::create_dir(above.join("copy")).unwrap();
        assert_eq!(copy.publish().unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        copy.discard();
        assert!(!above.join(".copy.partial").exists());
        // An empty directory that was there is replaced, but not another one that has its name by then.
        let copy = staged(above);
        fs::rename(above.join("copy"), above.join("old")).unwrap();
        fs::create_dir(above.join("copy")).unwrap();
        assert!(copy.publish().unwrap_err().to_string().contains("was replaced"));
        assert_eq!(fs::read_dir(above.join("copy")).unwrap().count(), 0);
    }

    #[test]
    fn what_was_published_is_not_discarded() {
        let scratch = tempfile::tempdir().unwrap();
        let above = scratch.path();
        let copy = staged(above);
        copy.publish().unwrap();
        copy.discard();
        assert!(above.join("copy").join(files::segment_name(1)).exists());
    }
}
