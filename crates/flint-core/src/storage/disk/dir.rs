//! The operating system's files. Names are resolved against the directory's descriptor, so that a directory that is renamed
//! while it is open stays the same directory.

use std::fs::File as StdFile;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, FileType, Mode as Bits, OFlags, fstat, mkdirat, openat, renameat, statat, unlinkat};
use rustix::io::Errno;

use crate::quote::shell_word;
use crate::storage::fork::ProcessFile;
use crate::storage::{Dir, File, Locked, Map, Mode, Overwrite};
use crate::sync::process::Mutex;

use super::durable::{sync_content, sync_directory};
use super::ownership::{self, DIR_BITS};
use super::{blocks, lock, map};

/// A directory of the operating system.
pub struct DiskDir {
    path: PathBuf,
    /// `None` once it was closed. Operations under way keep the descriptor until they end.
    handle: Mutex<Option<Arc<ProcessFile>>>,
}

impl DiskDir {
    /// Opens the directory at `path`, which should be absolute: it is what messages show. With `create`, missing directories
    /// are made (mode 0700) and their names made durable. A path that leads to a file is `NotADirectory`.
    pub fn open(path: &Path, create: bool) -> io::Result<Arc<dyn Dir>> {
        if create {
            make_directories(path)?;
        }
        let handle = ProcessFile::open(|| open_directory(CWD, path, OFlags::empty()))?;
        Ok(Arc::new(Self::new(path.to_path_buf(), handle)))
    }

    /// The directory that `handle` was opened on. `path` is what messages show.
    pub(super) fn adopt(path: &Path, handle: &StdFile) -> io::Result<Arc<dyn Dir>> {
        let handle = ProcessFile::open(|| handle.try_clone())?;
        Ok(Arc::new(Self::new(path.to_path_buf(), handle)))
    }

    fn new(path: PathBuf, handle: ProcessFile) -> Self {
        Self { path, handle: Mutex::new(Some(Arc::new(handle))) }
    }

    fn handle(&self) -> io::Result<Arc<ProcessFile>> {
        self.handle.lock().clone().ok_or_else(|| io::Error::other("the directory was closed"))
    }
}

/// Makes `path` and what is missing above it. After a crash at any point the next call makes up for syncs that did not
/// happen: at any time at most the newest directory's name is not durable, and that one is either `path` itself or the parent
/// of the directory that the next call makes first.
fn make_directories(path: &Path) -> io::Result<()> {
    let made = match make_directory(path) {
        Ok(()) => true,
        Err(Errno::EXIST) => false,
        Err(Errno::NOENT) => {
            let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) else {
                return Err(Errno::NOENT.into());
            };
            make_directories(parent)?;
            match make_directory(path) {
                Ok(()) | Err(Errno::EXIST) => true,
                Err(error) => return Err(error.into()),
            }
        }
        Err(error) => return Err(error.into()),
    };
    let dir = open_directory(CWD, path, OFlags::empty())?;
    sync_above(&dir, "..")?;
    if made {
        sync_above(&dir, "../..")?;
    }
    Ok(())
}

fn make_directory(path: &Path) -> Result<(), Errno> {
    let parent = path.parent().map(|parent| if parent.as_os_str().is_empty() { Path::new(".") } else { parent });
    // Not a new name: "..", or the root.
    let (Some(parent), Some(name)) = (parent, path.file_name()) else { return mkdirat(CWD, path, DIR_BITS) };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match openat(CWD, parent, flags, Bits::empty()) {
        Ok(parent) => ownership::create_directory(&StdFile::from(parent), name),
        // One that we may pass through but not read.
        Err(Errno::ACCESS) => mkdirat(CWD, path, DIR_BITS),
        Err(error) => Err(error),
    }
}

/// Syncs a directory above `dir`, found by descriptor because `path` may be a symbolic link. One that we may pass through but
/// not read cannot be synced for us by another process.
fn sync_above(dir: &StdFile, above: &str) -> io::Result<()> {
    match open_directory(dir, above, OFlags::empty()) {
        Ok(parent) => sync_directory(&parent),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        Err(error) => Err(error),
    }
}

pub(super) fn open_directory(at: impl AsFd, path: impl rustix::path::Arg, flags: OFlags) -> io::Result<StdFile> {
    let flags = flags | OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(StdFile::from(openat(at, path, flags, Bits::empty())?))
}

fn assert_plain(name: &str) {
    debug_assert!(!name.is_empty() && !name.contains('/') && name != "." && name != "..", "{name:?} is a path");
}

impl Dir for DiskDir {
    fn path(&self) -> &Path {
        &self.path
    }

    fn open(&self, name: &str, mode: Mode) -> io::Result<Arc<dyn File>> {
        assert_plain(name);
        let handle = self.handle()?;
        let dir = handle.file()?;
        let file = match mode {
            Mode::Read => DiskFile::Reading(ownership::open_existing(dir, name, OFlags::RDONLY)?),
            Mode::ReadWrite => {
                DiskFile::Writing(ProcessFile::open(|| ownership::open_existing(dir, name, OFlags::RDWR))?)
            }
            Mode::CreateNew => DiskFile::Writing(ProcessFile::open(|| ownership::create_new(dir, name))?),
        };
        Ok(Arc::new(file))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let handle = self.handle()?;
        let dir = handle.file()?;
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(dir)? {
            let entry = entry?;
            let is_directory = match entry.file_type() {
                FileType::Unknown => statat(dir, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)
                    .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory),
                known => known == FileType::Directory,
            };
            // No file of ours has a name that is not UTF-8.
            if let (false, Ok(name)) = (is_directory, entry.file_name().to_str()) {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        assert_plain(from);
        assert_plain(to);
        let handle = self.handle()?;
        let dir = handle.file()?;
        Ok(renameat(dir, from, dir, to)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        assert_plain(name);
        Ok(unlinkat(self.handle()?.file()?, name, AtFlags::empty())?)
    }

    fn sync(&self) -> io::Result<()> {
        sync_directory(self.handle()?.file()?)
    }

    fn subdir(&self, name: &str, create: bool) -> io::Result<Arc<dyn Dir>> {
        assert_plain(name);
        let handle = self.handle()?;
        let parent = handle.file()?;
        if create {
            match ownership::create_directory(parent, name.as_ref()) {
                Ok(()) | Err(Errno::EXIST) => sync_directory(parent)?,
                Err(error) => return Err(error.into()),
            }
        }
        let subdir = ProcessFile::open(|| open_subdirectory(parent, name))?;
        Ok(Arc::new(Self::new(self.path.join(name), subdir)))
    }

    fn move_into(&self, name: &str, subdir: &str) -> io::Result<()> {
        assert_plain(name);
        assert_plain(subdir);
        let handle = self.handle()?;
        let dir = handle.file()?;
        Ok(renameat(dir, name, open_subdirectory(dir, subdir)?, name)?)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let info = rustix::fs::fstatvfs(self.handle()?.file()?)?;
        // What is kept back for root.
        let blocks = if rustix::process::geteuid().is_root() { info.f_bfree } else { info.f_bavail };
        Ok(blocks.saturating_mul(info.f_frsize))
    }

    fn lock(&self, name: &str, content: &str) -> io::Result<Locked> {
        assert_plain(name);
        lock::lock(self.handle()?.file()?, &self.path, name, content)
    }

    fn risk(&self) -> io::Result<Option<String>> {
        ownership::risk(self.handle()?.file()?, &shell_word(&self.path))
    }

    fn close(&self) {
        drop(self.handle.lock().take());
    }
}

/// A directory in `parent` itself, not one that a link leads to.
fn open_subdirectory(parent: &StdFile, name: &str) -> io::Result<StdFile> {
    let subdir = open_directory(parent, name, OFlags::NOFOLLOW)?;
    ownership::check_owner(&fstat(parent)?, &fstat(&subdir)?)?;
    Ok(subdir)
}

/// A file of the operating system. One that is only read may be used by a forked child too.
enum DiskFile {
    Reading(StdFile),
    Writing(ProcessFile),
}

impl DiskFile {
    fn file(&self) -> io::Result<&StdFile> {
        match self {
            Self::Reading(file) => Ok(file),
            Self::Writing(file) => file.file(),
        }
    }
}

impl File for DiskFile {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.file()?.read_exact_at(buf, offset)
    }

    fn write_all_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.file()?.write_all_at(data, offset)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file()?.metadata()?.len())
    }

    fn sync_data(&self) -> io::Result<()> {
        sync_content(self.file()?)
    }

    fn overwrite(&self, len: u64) -> io::Result<Overwrite> {
        blocks::overwrite(self.file()?, len)
    }

    fn map(&self, len: usize) -> io::Result<Box<dyn Map>> {
        map::map(self.file()?, len)
    }
}
