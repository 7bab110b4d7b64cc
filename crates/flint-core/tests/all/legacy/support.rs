//! What the tests of old formats share: directories, lines with good checksums, and figures as users see them.

use std::path::{Path, PathBuf};

use flint_core::Result;
use flint_core::algorithm::{RunArena, State};
use flint_core::image::KeyImage;
use flint_core::legacy::{self, LegacyStore};
use flint_core::testing::sim::SimDisk;
use sha2::{Digest, Sha256};

/// Reads a directory that holds these files, and sees to it that nothing is changed.
pub(crate) fn read_files<const N: usize>(files: [(&str, &[u8]); N]) -> Result<Option<LegacyStore>> {
    let disk = SimDisk::new();
    for (name, bytes) in files {
        disk.write_file(name, bytes);
    }
    let store = legacy::read(&*disk.dir());
    assert_eq!(disk.ops(), 0, "reading an old directory must not change it");
    store
}

/// One of the folders in tests/legacy-data.
pub(crate) fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/legacy-data").join(name)
}

/// The log of such a folder.
pub(crate) fn sample_log(name: &str) -> Vec<u8> {
    std::fs::read(sample(name).join("data/flint.aof")).unwrap()
}

/// Reads a directory that holds only this log.
pub(crate) fn read_log(log: &[u8]) -> Result<LegacyStore> {
    read_files([("flint.aof", log)]).map(Option::unwrap)
}

pub(crate) fn sha256_hex(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A line as release 0.2 wrote it, `second` seconds after the start of 2026.
pub(crate) fn line(second: u64, event: &str) -> String {
    let ts = stamp(second);
    let event = event.replace("AT", &format!("\"at\":\"{ts}\""));
    let body = format!("{{\"version\":1,\"ts\":\"{ts}\",\"event\":{event}");
    format!("{body},\"checksum\":\"{}\"}}\n", sha256_hex(&format!("{body}}}")))
}

/// A time stamp in the first hour of 2026.
pub(crate) fn stamp(second: u64) -> String {
    assert!(second < 3600);
    format!("2026-01-01T00:{:02}:{:02}.000000000Z", second / 60, second % 60)
}

/// The same as nanoseconds.
pub(crate) fn stamp_ns(second: u64) -> u64 {
    (1_767_225_600 + second) * 1_000_000_000
}

/// What a check of cost 0 would report.
pub(crate) fn remaining(image: &KeyImage, now: u64) -> u64 {
    let rate = &image.rates[0];
    let mut runs = RunArena::new();
    let state = State::import(rate.algorithm(), &image.states[0], &mut runs).unwrap();
    state.decide(rate.quota(), &runs, now, 0).remaining
}

/// The image of a key.
pub(crate) fn image<'a>(store: &'a LegacyStore, key: &str) -> &'a KeyImage {
    store.images.iter().find(|image| image.key == key).unwrap_or_else(|| panic!("no key {key:?}"))
}
