//! Making a file's content, or the names in a directory, durable.

use std::fs::File as StdFile;
use std::io;

#[cfg(not(target_vendor = "apple"))]
pub(super) fn sync_directory(dir: &StdFile) -> io::Result<()> {
    Ok(rustix::fs::fsync(dir)?)
}

#[cfg(not(target_vendor = "apple"))]
pub(super) fn sync_content(file: &StdFile) -> io::Result<()> {
    Ok(rustix::fs::fdatasync(file)?)
}

/// fsync leaves the data in the drive's cache there; only F_FULLFSYNC asks for durability.
#[cfg(target_vendor = "apple")]
pub(super) fn sync_directory(dir: &StdFile) -> io::Result<()> {
    Ok(rustix::fs::fcntl_fullfsync(dir)?)
}

#[cfg(target_vendor = "apple")]
pub(super) fn sync_content(file: &StdFile) -> io::Result<()> {
    Ok(rustix::fs::fcntl_fullfsync(file)?)
}
