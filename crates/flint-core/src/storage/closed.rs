//! What takes the place of a file that was closed while its owner lives on.

use std::io;

use super::{File, Map, Overwrite};

/// A file of which nothing is left.
pub(crate) struct Closed;

fn closed<T>() -> io::Result<T> {
    Err(io::Error::other("the file was closed"))
}

impl File for Closed {
    fn read_exact_at(&self, _buf: &mut [u8], _offset: u64) -> io::Result<()> {
        closed()
    }

    fn write_all_at(&self, _data: &[u8], _offset: u64) -> io::Result<()> {
        closed()
    }

    fn len(&self) -> io::Result<u64> {
        closed()
    }

    fn sync_data(&self) -> io::Result<()> {
        closed()
    }

    fn overwrite(&self, _len: u64) -> io::Result<Overwrite> {
        closed()
    }

    fn map(&self, _len: usize) -> io::Result<Box<dyn Map>> {
        closed()
    }
}
