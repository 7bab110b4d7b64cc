//! Reads the files that settings name: tokens, certificates, keys.

use std::fs::{Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

/// Reads a regular file of at most `most` bytes, with what it is. They are read again while the server runs, in its event loop: a
/// pipe without a writer must not block it.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn read(path: &Path, most: u64) -> Result<(Vec<u8>, Metadata), String> {
    let message = |error: io::Error| error.to_string();
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).expect("one of the lowest bits");
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(message)?;
    let metadata = file.metadata().map_err(message)?;
    if !metadata.is_file() {
        return Err("it is no regular file".to_owned());
    }
    let mut content = Vec::new();
    file.take(most + 1).read_to_end(&mut content).map_err(message)?;
    if content.len() as u64 > most {
        return Err(format!("it is larger than {most} bytes"));
    }
    Ok((content, metadata))
}

/// The owner of a file, if that is neither the user of this process nor root: another user could change it.
pub(crate) fn foreign_owner(metadata: &Metadata) -> Option<u32> {
    let own = rustix::process::geteuid().as_raw();
    Some(metadata.uid()).filter(|owner| *owner != own && *owner != 0)
}
