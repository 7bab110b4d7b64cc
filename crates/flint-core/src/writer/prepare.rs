//! Files that are made before they are needed.

use crate::error::{Error, Result};
use crate::files;
use crate::options::LogIo;
use crate::storage::{Dir, File, Mode};
use crate::sync::Arc;

use super::output::Output;

/// Pages are zero-filled one by one: larger writes make the page cache use larger folios, and then one small store costs a
/// large write-back.
pub(super) const FILL_BYTES: usize = 4096;
/// The shortest segment that is made where there is no room for a longer one.
pub(crate) const SMALLEST_SPARE: u64 = 64 << 10;

/// A file that can become a segment: zero-filled and synced, under its temporary name.
pub(crate) struct Spare {
    pub(super) output: Output,
    pub(super) len: usize,
}

/// Makes a file of `len` zero bytes, written and synced, under the name `name`. Removes it again when that fails.
pub(crate) fn create_zeroed(dir: &dyn Dir, name: &str, len: usize) -> Result<Arc<dyn File>> {
    let path = || dir.path().join(name);
    let file = match dir.open(name, Mode::CreateNew) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            dir.remove(name).map_err(|error| Error::storage("cannot remove", path(), error))?;
            dir.open(name, Mode::CreateNew)
        }
        other => other,
    }
    .map_err(|error| Error::storage("cannot create", path(), error))?;
    let filled = (0..len).step_by(FILL_BYTES).try_for_each(|offset| {
        file.write_all_at(&[0; FILL_BYTES][..FILL_BYTES.min(len - offset)], offset as u64)
            .map_err(|error| Error::storage("cannot write", path(), error))
    });
    let synced = filled.and_then(|()| file.sync_data().map_err(|error| Error::storage("cannot sync", path(), error)));
    if let Err(error) = synced {
        // What was written so far would keep a full disk full. A file that stays is removed at the next open.
        drop(dir.remove(name));
        return Err(error);
    }
    Ok(file)
}

/// Makes the file that keeps room for a compaction.
pub(crate) fn create_reserve(dir: &dyn Dir, len: usize) -> Result<()> {
    create_zeroed(dir, files::RESERVE, len).map(drop)
}

/// Makes a spare segment of `len` bytes, where there is no room for it a shorter one, but not shorter than `least`. Takes as long as
/// the disk does: call it without the engine's lock.
pub(crate) fn create_some_spare(dir: &dyn Dir, len: usize, least: usize, log_io: LogIo) -> Result<Spare> {
    let mut len = len.max(least);
    let least = least.max(usize::try_from(SMALLEST_SPARE).unwrap_or(usize::MAX).min(len));
    loop {
        match create_spare(dir, len, log_io) {
            Err(error) if error.is_out_of_space() && len > least => {
                len = (len / 2).next_multiple_of(FILL_BYTES).max(least);
            }
            other => return other,
        }
    }
}

/// Makes a spare segment of `len` bytes. Takes as long as the disk does: call it without the engine's lock.
pub(crate) fn create_spare(dir: &dyn Dir, len: usize, log_io: LogIo) -> Result<Spare> {
    let file = create_zeroed(dir, files::SPARE, len)?;
    let output = Output::new(file, len, log_io).map_err(|error| {
        let error = Error::storage("cannot map", dir.path().join(files::SPARE), error);
        drop(dir.remove(files::SPARE));
        error
    })?;
    Ok(Spare { output, len })
}
