//! Every bit.

use flint_core::files::{self, FileKind};
use flint_core::log::segment::{HEADER_LEN, SEAL_LEN};
use flint_core::storage::{Dir, Mode};

use super::oracle::{Allowed, ExpectedError, Oracle, Tally};
use super::sample::SampleStore;
use super::sweep::sweep;

/// Which bits of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bits {
    /// All of them.
    All,
    /// All but most of the zeros behind the log's end: of those, the first and last bytes, and one bit of every fourth
    /// byte.
    NotAllZeros,
    /// All of every file that is not a segment. Of segments, the first and last bytes, and one bit of every fourth byte.
    FewOfSegments,
}

/// The bits to flip of each byte.
fn mask(bits: Bits, name: &str, bytes: &[u8], at: usize) -> u8 {
    // Zeros that nothing reads.
    if name == files::RESERVE {
        return if at.is_multiple_of(256) { 1 } else { 0 };
    }
    let one = if at.is_multiple_of(4) { 1 << (at / 4 % 8) } else { 0 };
    let edge = at < HEADER_LEN || at + SEAL_LEN >= bytes.len();
    if bits == Bits::All || edge || files::parse_segment_name(name).is_none() {
        return 0xff;
    }
    let near = at.saturating_sub(96);
    let used = bytes[near..bytes.len() - SEAL_LEN].iter().any(|&byte| byte != 0);
    if bits == Bits::NotAllZeros && used { 0xff } else { one }
}

/// Flips bits one by one.
///
/// # Panics
/// When a flip makes a store what it must not be.
pub fn bit_flips(sample: &SampleStore, bits: Bits) -> Tally {
    let mut places = Vec::new();
    for (name, bytes) in &sample.files {
        for at in 0..bytes.len() {
            let mask = mask(bits, name, bytes, at);
            places.extend((0..8).filter(|bit| mask >> bit & 1 == 1).map(|bit| (name.as_str(), at, bit)));
        }
    }
    let oracle = Oracle::new(sample);
    let mut tally = sweep(places.len(), |index, tally| {
        let (name, at, bit) = places[index];
        let disk = sample.disk.kill();
        flip(&*disk.dir(), name, at, bit);
        let allowed = allowed(sample, name, at);
        oracle.check(&disk, allowed, tally, &|| format!("bit {bit} of byte {at} of {name}"));
    });
    // Nothing reads what a migration kept of the old release.
    if let Ok(kept) = sample.disk.dir().subdir(files::LEGACY_DIR, false) {
        for name in kept.list().expect("a disk with power") {
            let len = kept.open(&name, Mode::Read).and_then(|file| file.len()).expect("a listed file");
            for at in (0..usize::try_from(len).unwrap_or(0)).step_by(64) {
                let disk = sample.disk.kill();
                flip(&*disk.dir().subdir(files::LEGACY_DIR, false).expect("a directory"), &name, at, at / 64 % 8);
                let allowed = Allowed { expected: ExpectedError::None, reach: None, other: None };
                oracle.check(&disk, allowed, &mut tally, &|| format!("byte {at} of legacy/{name}"));
            }
        }
    }
    tally
}

fn flip(dir: &dyn Dir, name: &str, at: usize, bit: usize) {
    let file = dir.open(name, Mode::ReadWrite).expect("a file of the store");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at as u64).expect("a good disk");
    file.write_all_at(&[byte[0] ^ 1 << bit], at as u64).expect("a good disk");
}

/// What damage to byte `at` of a file may lead to.
pub(super) fn allowed<'a>(sample: &SampleStore, name: &'a str, at: usize) -> Allowed<'a> {
    // Without its header a newest segment of which nothing is known is a rotation that was undone: its first record is gone.
    let at_record = at.max(HEADER_LEN);
    let damaged =
        sample.records.iter().position(|r| r.file == name && (r.offset..r.offset + r.len).contains(&at_record));
    let expected = match files::classify(name) {
        FileKind::Lock => ExpectedError::None,
        // A line is verified as a whole, and all of them by the SHA-256 at the end.
        FileKind::Snapshot(_) => ExpectedError::File(name, 0, sample.files[name].len() as u64),
        FileKind::Segment(_) => {
            let (from, to) = place(sample, name, at);
            ExpectedError::File(name, from as u64, to as u64)
        }
        _ => ExpectedError::File(name, 0, at as u64),
    };
    let reach = (!sample.closed).then(|| reach(sample, damaged.as_slice()));
    Allowed { expected, reach, other: None }
}

/// Where an error about byte `at` of a segment has to point: at the beginning of the record that it is in, at the header, or behind
/// the last record.
fn place(sample: &SampleStore, name: &str, at: usize) -> (usize, usize) {
    if at < HEADER_LEN {
        return (0, 0);
    }
    let mut records = sample.records.iter().filter(|record| record.file == name);
    match records.find(|record| (record.offset..record.offset + record.len).contains(&at)) {
        Some(record) => (record.offset, record.offset),
        None => (end_of(sample, name), at),
    }
}

/// Where the last record of a segment ends.
pub(super) fn end_of(sample: &SampleStore, name: &str) -> usize {
    let last = sample.records.iter().rfind(|record| record.file == name);
    last.map_or(HEADER_LEN, |record| record.offset + record.len)
}

/// The records that must survive when those with these indices are damaged: all before the first of them, and all that any
/// other record, or the snapshot, says were on disk.
pub(super) fn reach(sample: &SampleStore, damaged: &[usize]) -> u64 {
    let before = damaged.iter().min().map_or(sample.last_seq(), |&first| sample.records[first].seq - 1);
    let others = sample.records.iter().enumerate().filter(|(index, _)| !damaged.contains(index));
    let marked = others.map(|(_, record)| record.durable_seq).max().unwrap_or(0);
    before.max(marked).max(sample.snapshot_end)
}
