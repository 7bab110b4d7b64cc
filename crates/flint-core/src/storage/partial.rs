//! Reading a file that the disk returns only in part.

use std::ops::Range;
use std::path::Path;

use super::File;
use crate::error::{Error, Result};

/// What the disk returns an error for is left out in pieces of this size.
const BLOCK: usize = 4096;

/// A file as far as the disk returns it.
pub(crate) struct Partial {
    /// The whole file, with zeros in the ranges that could not be read.
    pub(crate) bytes: Vec<u8>,
    pub(crate) unreadable: Vec<Range<usize>>,
}

/// Reads a file as far as the disk returns it.
///
/// # Errors
/// `Storage` when the file's length is unknown.
pub(crate) fn read_around_errors(file: &dyn File, path: &Path) -> Result<Partial> {
    let len = file.len().map_err(|error| Error::storage("cannot read", path, error))?;
    let (mut bytes, mut unreadable) = (vec![0; usize::try_from(len).unwrap_or(0)], Vec::new());
    if file.read_exact_at(&mut bytes, 0).is_ok() {
        return Ok(Partial { bytes, unreadable });
    }
    for (index, block) in bytes.chunks_mut(BLOCK).enumerate() {
        let at = index * BLOCK;
        if file.read_exact_at(block, at as u64).is_err() {
            block.fill(0);
            unreadable.push(at..at + block.len());
        }
    }
    Ok(Partial { bytes, unreadable })
}
