//! How bytes reach a segment: stores into a mapping, or writes.
//!
//! A store is twenty times as fast as a write, and cannot fail: where it would have to, the process is killed by SIGBUS. So a
//! segment is mapped only where overwriting it can need no new block.

use std::io;

use crate::error::out_of_space;
use crate::hooks::{self, Defect};
use crate::options::LogIo;
use crate::storage::closed::Closed;
use crate::storage::{File, Map, Overwrite};
use crate::sync::Arc;

const ZEROS: [u8; 4096] = [0; 4096];

/// A segment's file, open for records. Its length does not change.
pub(crate) struct Output {
    pub(crate) file: Arc<dyn File>,
    map: Option<Box<dyn Map>>,
    /// Up to here, from the offset of a write that failed, the file may hold a part of what was to be written.
    spoiled: usize,
}

impl Output {
    /// Opens a file of `len` bytes, all of them written and synced. Holes, as a sparse copy has them, are filled, if there is room.
    pub(crate) fn new(file: Arc<dyn File>, len: usize, log_io: LogIo) -> io::Result<Self> {
        let mut overwrite = file.overwrite(len as u64)?;
        if let Overwrite::Holes(holes) = &overwrite {
            overwrite = match fill(&*file, holes) {
                Ok(()) => file.overwrite(len as u64)?,
                Err(error) if out_of_space(&error) => Overwrite::MayAllocate,
                Err(error) => return Err(error),
            };
        }
        let map = match (log_io, overwrite) {
            (LogIo::Auto, Overwrite::InPlace) => Some(file.map(len)?),
            _ => None,
        };
        Ok(Self { file, map, spoiled: 0 })
    }

    /// Gives back the file and the mapping. What writes afterwards gets an error.
    pub(crate) fn close(&mut self) {
        (self.file, self.map) = (Arc::new(Closed), None);
    }

    /// Takes the mapping, when all is written: unmapping takes long.
    pub(crate) fn unmap(self) -> (Arc<dyn File>, Option<Box<dyn Map>>) {
        (self.file, self.map)
    }

    /// Puts `data` at `offset`, where nothing but zeros was, or what a failed write left. After an error nothing of it is
    /// there; the error of a write whose remains could not be removed says that the disk cannot be trusted.
    #[inline]
    pub(crate) fn put(&mut self, offset: usize, data: &mut Vec<u8>) -> io::Result<()> {
        match &mut self.map {
            Some(map) => {
                map.store(offset, data);
                Ok(())
            }
            None => self.write(offset, data),
        }
    }

    fn write(&mut self, offset: usize, data: &mut Vec<u8>) -> io::Result<()> {
        let len = data.len();
        // One write for both: what a longer record left behind this one must not outlive it.
        if self.spoiled > offset + len {
            data.resize(self.spoiled - offset, 0);
        }
        let written = self.file.write_all_at(data, offset as u64);
        data.truncate(len);
        match written {
            Ok(()) => {
                self.spoiled = 0;
                Ok(())
            }
            Err(error) => {
                self.spoiled = self.spoiled.max(offset + len);
                Err(self.unwritten(offset, data, error))
            }
        }
    }

    /// Removes what a failed write left from `offset` on, so that nothing but zeros is behind the last record.
    pub(crate) fn clear(&mut self, offset: usize) -> io::Result<()> {
        if self.spoiled > offset {
            self.file.write_all_at(&vec![0; self.spoiled - offset], offset as u64)?;
        }
        self.spoiled = 0;
        Ok(())
    }

    /// A write that found no room may have written a part, and what it did not write may be zeros anyway: then the record is there.
    /// The pages that took the part take zeros as well.
    fn unwritten(&self, offset: usize, data: &[u8], error: io::Error) -> io::Error {
        if !out_of_space(&error) || hooks::has(Defect::KeepFailedRecord) {
            return error;
        }
        let mut found = vec![0; data.len()];
        let is_there = |found: &mut [u8]| self.file.read_exact_at(found, offset as u64).map(|()| *found == *data);
        if !matches!(is_there(&mut found), Ok(false)) {
            let written = found.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
            // Whether it succeeds is seen below.
            drop(self.file.write_all_at(&vec![0; written], offset as u64));
            if !matches!(is_there(&mut found), Ok(false)) {
                return io::Error::other(format!("{error}; and what was written cannot be removed"));
            }
        }
        error
    }
}

/// Gives the holes blocks, of zeros as they are read already.
fn fill(file: &dyn File, holes: &[std::ops::Range<u64>]) -> io::Result<()> {
    for hole in holes {
        let mut at = hole.start;
        while at < hole.end {
            let len = ZEROS.len().min(usize::try_from(hole.end - at).unwrap_or(usize::MAX));
            file.write_all_at(&ZEROS[..len], at)?;
            at += len as u64;
        }
    }
    file.sync_data()
}

#[cfg(all(test, not(feature = "shuttle")))]
mod tests {
    use super::*;
    use crate::storage::Mode;
    use crate::testing::sim::{Fault, SimDisk};

    const LEN: usize = 8192;

    /// A file of zeros on a simulated disk, and its output.
    fn output(log_io: LogIo) -> (SimDisk, Output) {
        let disk = SimDisk::new();
        disk.write_file("a", &[0; LEN]);
        let file = disk.dir().open("a", Mode::ReadWrite).expect("it was just written");
        (disk, Output::new(file, LEN, log_io).expect("the disk does not fail"))
    }

    fn content(disk: &SimDisk, range: std::ops::Range<usize>) -> Vec<u8> {
        disk.read_file("a").expect("it was written")[range].to_vec()
    }

    #[test]
    fn stores_and_writes_leave_the_same() {
        for log_io in [LogIo::Auto, LogIo::Pwrite] {
            let (disk, mut output) = output(log_io);
            assert_eq!(output.map.is_some(), log_io == LogIo::Auto);
            output.put(4094, &mut vec![1, 2, 3, 4]).unwrap();
            assert_eq!(content(&disk, 4093..4099), [0, 1, 2, 3, 4, 0]);
        }
    }

    #[test]
    fn what_may_need_new_blocks_is_not_mapped() {
        let disk = SimDisk::new();
        disk.set_copy_on_write(true);
        disk.write_file("a", &[0; LEN]);
        let file = disk.dir().open("a", Mode::ReadWrite).unwrap();
        let mut output = Output::new(file, LEN, LogIo::Auto).unwrap();
        disk.set_full(true);
        assert_eq!(output.put(0, &mut vec![1; 8]).unwrap_err().raw_os_error(), Some(libc::ENOSPC));
        disk.set_full(false);
        output.put(0, &mut vec![1; 8]).unwrap();
    }

    #[test]
    fn a_record_whose_unwritten_rest_is_zeros_is_removed() {
        let (disk, mut output) = output(LogIo::Pwrite);
        let mut record = [[7; 32], [0; 32]].concat();
        disk.set_fail(disk.ops(), Fault::ShortWrite, false);
        assert!(out_of_space(&output.put(64, &mut record).unwrap_err()));
        assert_eq!(content(&disk, 64..128), [0; 64], "the record is there although its write failed");
        // The same where the disk keeps failing: then it cannot be trusted.
        disk.set_fail(disk.ops(), Fault::ShortWrite, true);
        let error = output.put(64, &mut record).unwrap_err();
        assert_eq!(out_of_space(&error), content(&disk, 64..128) != record, "{error}");
    }

    #[test]
    fn what_a_failed_write_left_goes_with_the_next_one() {
        for rotates in [false, true] {
            let (disk, mut output) = output(LogIo::Pwrite);
            disk.set_fail(disk.ops(), Fault::ShortWrite, false);
            output.put(64, &mut vec![7; 64]).unwrap_err();
            assert_eq!(content(&disk, 64..128), [[7; 32], [0; 32]].concat());
            let mut record = vec![1; 8];
            if rotates {
                output.clear(64).unwrap();
                assert_eq!(content(&disk, 64..128), [0; 64]);
            } else {
                output.put(64, &mut record).unwrap();
                assert_eq!(record, [1; 8]);
                assert_eq!(content(&disk, 64..128), [vec![1; 8], vec![0; 56]].concat());
            }
            // Once is enough.
            let before = disk.ops();
            output.clear(72).unwrap();
            assert_eq!(disk.ops(), before);
        }
    }
}
