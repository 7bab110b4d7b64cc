//! The files of a directory on the simulated disk as plain data.

use std::collections::BTreeMap;

use flint_core::testing::sim::SimDisk;

/// Names and contents of a directory's files.
pub type Files = BTreeMap<String, Vec<u8>>;

/// Every file of the disk's root directory.
///
/// # Panics
/// When the disk has no power or does not read a file.
pub fn files_of(disk: &SimDisk) -> Files {
    let names = disk.dir().list().expect("a disk with power");
    names.into_iter().map(|name| (name.clone(), disk.read_file(&name).expect("a listed file"))).collect()
}

/// A disk with these files.
pub fn disk_of(files: &Files) -> SimDisk {
    let disk = SimDisk::new();
    for (name, bytes) in files {
        disk.write_file(name, bytes);
    }
    disk
}
