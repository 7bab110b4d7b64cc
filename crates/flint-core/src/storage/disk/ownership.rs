//! Which files and directories are trusted, and whose the new ones are.
//!
//! A store belongs to one user, the owner of its directory. A file counts only if it is a regular one with a single name that
//! belongs to that user or to root: anything else may be another user's, and then that user reads or chooses what this process writes.
//! Root may write another user's directory; what it makes there becomes that user's before it has its final name, so that the
//! user can open the store again whenever root's process ends.

use std::fs::File as StdFile;
use std::io;
use std::os::fd::AsFd;

use rustix::fs::{
    AtFlags, FileType, Mode as Bits, OFlags, RawMode, RenameFlags, Stat, fchown, fstat, mkdirat, openat, renameat_with,
    statat, unlinkat,
};
use rustix::io::Errno;
use rustix::process::{Gid, Uid, geteuid};

pub(super) const DIR_BITS: Bits = Bits::RWXU;
pub(super) const FILE_BITS: Bits = Bits::RUSR.union(Bits::WUSR);
pub(super) const OTHERS_WRITE: RawMode = 0o022;

/// A directory under a temporary name while its owner is changed.
const NEW_DIRECTORY: &str = ".flint-directory.tmp";

fn refused(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why.into())
}

/// Opens an existing file without following a link and without waiting, as opening a FIFO would.
pub(super) fn open_existing(dir: &StdFile, name: &str, flags: OFlags) -> io::Result<StdFile> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match openat(dir, name, flags, Bits::empty()) {
        Err(Errno::LOOP | Errno::MLINK) => {
            return Err(refused("it is a symbolic link, which is not followed here: put the file itself in its place"));
        }
        // Opening a socket fails so.
        Err(Errno::NXIO) => return Err(refused("it is not a regular file: move it away")),
        Err(Errno::ACCESS) => return Err(inaccessible(dir, name)),
        other => StdFile::from(other?),
    };
    check_file(&fstat(dir)?, &fstat(&file)?)?;
    Ok(file)
}

/// Whose file it is that cannot be opened, if that is not the user of this process.
fn inaccessible(dir: &StdFile, name: &str) -> io::Error {
    let owners = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).and_then(|file| Ok((file, fstat(dir)?)));
    let own = geteuid().as_raw();
    match owners {
        Ok((file, dir)) if file.st_uid != own && dir.st_uid == own => refused(format!(
            "it belongs to user {}, as after a run as that user, and this process runs as user {own}: give it back with `chown \
             {own}`",
            file.st_uid
        )),
        _ => Errno::ACCESS.into(),
    }
}

fn check_file(dir: &Stat, file: &Stat) -> io::Result<()> {
    let kind = FileType::from_raw_mode(file.st_mode);
    if kind != FileType::RegularFile {
        let what = match kind {
            FileType::Fifo => "a FIFO",
            FileType::Directory => "a directory",
            FileType::CharacterDevice | FileType::BlockDevice => "a device",
            _ => "something else",
        };
        return Err(refused(format!("it is {what}, not a regular file: move it away")));
    }
    // A file that was removed after it was opened has none.
    if file.st_nlink > 1 {
        return Err(refused(format!(
            "it has {} names (hard links), and what is written to it would change the file under all of them: replace it by a \
             copy of its own",
            file.st_nlink
        )));
    }
    check_owner(dir, file)
}

/// Whether something in the directory `dir` belongs to its owner, or to root.
pub(super) fn check_owner(dir: &Stat, entry: &Stat) -> io::Result<()> {
    if entry.st_uid == dir.st_uid || entry.st_uid == 0 {
        return Ok(());
    }
    Err(refused(format!(
        "it belongs to user {}, but the directory to user {}: move it away, or give it to the directory's owner with `chown {1}`",
        entry.st_uid, dir.st_uid
    )))
}

/// Why no writer may use a directory, and what to do.
pub(super) fn risk(dir: &StdFile, shown: &str) -> io::Result<Option<String>> {
    let stat = fstat(dir)?;
    if stat.st_mode & OTHERS_WRITE == 0 || !keeps_modes(dir) {
        return Ok(None);
    }
    Ok(Some(format!(
        "users other than its owner may write the directory (mode {:04o}), so that they could replace its files: run `chmod go-w \
         {shown}`, or use a new directory in it, which Flint makes with mode 0700",
        stat.st_mode & 0o7777
    )))
}

/// Whether the file system keeps the mode of each file. On others all have the one that the mount was given, whatever is set.
#[cfg(target_os = "linux")]
pub(super) fn keeps_modes(dir: &StdFile) -> bool {
    /// `f_type` of FAT, exFAT, NTFS (two drivers), 9P (drives of Windows under WSL) and VirtualBox's shared folders.
    const WITHOUT: [u32; 6] = [0x4d44, 0x2011_BAB0, 0x5346_544E, 0x7366_746E, 0x0102_1997, 0x786F_4256];
    let kind =
        rustix::fs::fstatfs(dir).map_or(0, |info| u32::try_from(i128::from(info.f_type) & 0xFFFF_FFFF).unwrap_or(0));
    !WITHOUT.contains(&kind)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn keeps_modes(_dir: &StdFile) -> bool {
    true
}

/// The user and group to which root has to give what it makes in `dir`; `None` where it is the right one's from the start.
fn new_owner(dir: &Stat) -> Option<(Uid, Gid)> {
    (dir.st_uid != geteuid().as_raw()).then(|| (Uid::from_raw(dir.st_uid), Gid::from_raw(dir.st_gid)))
}

pub(super) fn give(entry: impl AsFd, to: Option<(Uid, Gid)>) -> io::Result<()> {
    let Some((user, group)) = to else { return Ok(()) };
    fchown(entry, Some(user), Some(group)).map_err(|error| {
        let error = io::Error::from(error);
        io::Error::new(
            error.kind(),
            format!("it cannot be given to user {}, the owner of the directory: {error}", user.as_raw()),
        )
    })
}

/// Removes what was made, best effort: the caller has an error to return already.
fn discard(dir: &StdFile, name: &str, flags: AtFlags) {
    let _ = unlinkat(dir, name, flags);
}

/// Makes a file, which belongs to the directory's owner when this returns. Its name should be a temporary one: see [`create_under`].
pub(super) fn create_new(dir: &StdFile, name: &str) -> io::Result<StdFile> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = StdFile::from(openat(dir, name, flags, FILE_BITS)?);
    give(&file, new_owner(&fstat(dir)?)).inspect_err(|_| discard(dir, name, AtFlags::empty()))?;
    Ok(file)
}

/// The same for a file whose name is never a temporary one: until it belongs to the right user it is called `temporary`.
pub(super) fn create_under(dir: &StdFile, name: &str, temporary: &str) -> io::Result<StdFile> {
    if new_owner(&fstat(dir)?).is_none() {
        return create_new(dir, name);
    }
    let file = match create_new(dir, temporary) {
        // Left by a process that was killed.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            unlinkat(dir, temporary, AtFlags::empty())?;
            create_new(dir, temporary)?
        }
        other => other?,
    };
    renameat_with(dir, temporary, dir, name, RenameFlags::NOREPLACE)
        .inspect_err(|_| discard(dir, temporary, AtFlags::empty()))?;
    Ok(file)
}

/// Makes a directory, private. Root's belongs to the owner of `parent` if only that user can write `parent`.
pub(super) fn create_directory(parent: &StdFile, name: &std::ffi::OsStr) -> Result<(), Errno> {
    let above = fstat(parent)?;
    let owner = new_owner(&above).filter(|_| geteuid().is_root() && above.st_mode & OTHERS_WRITE == 0);
    if owner.is_none() {
        return mkdirat(parent, name, DIR_BITS);
    }
    if statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
        return Err(Errno::EXIST);
    }
    discard(parent, NEW_DIRECTORY, AtFlags::REMOVEDIR);
    mkdirat(parent, NEW_DIRECTORY, DIR_BITS)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = openat(parent, NEW_DIRECTORY, flags, Bits::empty()).and_then(|dir| {
        let (user, group) = owner.unzip();
        fchown(&dir, user, group)?;
        renameat_with(parent, NEW_DIRECTORY, parent, name, RenameFlags::NOREPLACE)
    });
    made.inspect_err(|_| discard(parent, NEW_DIRECTORY, AtFlags::REMOVEDIR))
}
