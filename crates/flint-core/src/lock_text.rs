//! What the lock file says: which process wrote to the directory last, and which store was made there. The lock does not depend on it.

use crate::files;
use crate::storage::disk::holder;
use crate::storage::{Dir, Mode};

/// More than any text has.
const MAX_BYTES: u64 = 256;

/// The text of this process as the writer of a store, whose id is known once it was made.
pub(crate) fn of_writer(store_id: Option<u64>) -> String {
    let store = store_id.map(|id| format!("{}{id:016x}\n", files::STORE_LINE)).unwrap_or_default();
    format!("{}\n{store}{}", std::process::id(), holder::own_lines())
}

/// The text of a copy, which no process has opened yet.
pub(crate) fn of_copy(store_id: u64) -> String {
    format!("0\n{}{store_id:016x}\n", files::STORE_LINE)
}

/// Adds the id of the store, best effort. The caller holds the lock.
pub(crate) fn write(dir: &dyn Dir, store_id: u64) {
    if let Ok(file) = dir.open(files::LOCK, Mode::ReadWrite) {
        drop(file.write_all_at(of_writer(Some(store_id)).as_bytes(), 0));
    }
}

/// The text.
pub(crate) fn read(dir: &dyn Dir) -> Option<String> {
    let file = dir.open(files::LOCK, Mode::Read).ok()?;
    let mut bytes = vec![0; usize::try_from(file.len().ok()?.min(MAX_BYTES)).ok()?];
    file.read_exact_at(&mut bytes, 0).ok()?;
    String::from_utf8(bytes).ok()
}

/// The id of the store that was made in this directory.
pub(crate) fn store_id(dir: &dyn Dir) -> Option<u64> {
    let id = |line: &str| u64::from_str_radix(line.strip_prefix(files::STORE_LINE)?, 16).ok();
    read(dir)?.lines().find_map(id)
}
