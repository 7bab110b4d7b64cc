//! Memory mapping of the active segment.
#![expect(unsafe_code, reason = "a mapping is sound only as long as no process shortens the file; see the SAFETY line")]

use std::fs::File;
use std::io;

use memmap2::{MmapMut, MmapOptions};

use crate::storage::Map;

/// A shared mapping. A forked child inherits it; unmapping there touches only the child's address space.
struct Mapping(MmapMut);

/// Maps the first `len` bytes of `file`.
pub(super) fn map(file: &File, len: usize) -> io::Result<Box<dyn Map>> {
    let have = file.metadata()?.len();
    if len == 0 || (len as u64) > have {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("cannot map {len} bytes of a file of {have} bytes"),
        ));
    }
    // SAFETY: the file is at least `len` bytes long and no code of this crate shortens a file; the directory's lock keeps
    // other writers out. The bytes are only ever stored to, never lent out as a reference that outlives `store`.
    let mapping = unsafe { MmapOptions::new().len(len).map_mut(file)? };
    Ok(Box::new(Mapping(mapping)))
}

impl Map for Mapping {
    #[inline]
    fn store(&mut self, offset: usize, data: &[u8]) {
        #[cfg(feature = "test-hooks")]
        if let Some(part) = crate::hooks::dies_in_store(data.len()) {
            self.0[offset..offset + part].copy_from_slice(&data[..part]);
            crate::hooks::die();
        }
        self.0[offset..offset + data.len()].copy_from_slice(data);
    }
}
