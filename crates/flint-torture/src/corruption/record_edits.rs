//! Records that are missing, repeated, or in the wrong place.

use flint_core::log::segment::SEAL_LEN;

use super::flips::{end_of, reach};
use super::oracle::{Allowed, ExpectedError, Oracle, Tally};
use super::sample::{Record, SampleStore};
use super::sweep::sweep;

/// One change to the records of a segment, named by their indices in the log.
#[derive(Debug, Clone, Copy)]
enum Edit {
    Remove(usize),
    Zero(usize),
    Duplicate(usize),
    Swap(usize, usize),
    /// The second takes the place of the first; they are of one length.
    Overwrite(usize, usize),
    /// The record of the other store in the same place.
    FromSibling(usize),
}

/// Removes, clears, repeats and swaps records, each with every other of its segment if that has at most `all_pairs` records,
/// else with its neighbour.
///
/// # Panics
/// When that makes a store what it must not be.
pub fn record_edits(sample: &SampleStore, all_pairs: usize) -> Tally {
    let records = &sample.records;
    let mut edits = Vec::new();
    for index in 0..records.len() {
        let file = &records[index].file;
        edits.extend([Edit::Remove(index), Edit::Zero(index), Edit::Duplicate(index)]);
        if sample.has_sibling() {
            edits.push(Edit::FromSibling(index));
        }
        let of_file = records.iter().filter(|record| record.file == *file).count();
        let within = if of_file <= all_pairs { of_file } else { 1 };
        for other in (index + 1..records.len()).take(within) {
            if records[other].file == *file {
                edits.push(Edit::Swap(index, other));
            }
            // Across segments too.
            if records[other].len == records[index].len {
                edits.extend([Edit::Overwrite(index, other), Edit::Overwrite(other, index)]);
            }
        }
    }
    let oracle = Oracle::new(sample);
    sweep(edits.len(), |index, tally| {
        let edit = edits[index];
        let Some((name, bytes, first)) = apply(sample, edit) else { return };
        let disk = sample.disk.kill();
        disk.write_file(&name, &bytes);
        let at = records.get(first).filter(|record| record.file == name);
        // A repetition at the log's end comes after it.
        let offset = at.map_or_else(|| end_of(sample, &name), |record| record.offset) as u64;
        // A record that keeps its content keeps its durable mark, wherever it is: only the first one out of place is lost.
        let reach = (!sample.closed).then(|| reach(sample, at.map(|_| first).as_slice()));
        let allowed = Allowed { expected: ExpectedError::File(&name, offset, offset), reach, other: None };
        oracle.check(&disk, allowed, tally, &|| format!("{edit:?}"));
    })
}

/// The edited segment and the index of the first record that is not where it was. `None` if there is no room for it.
fn apply(sample: &SampleStore, edit: Edit) -> Option<(String, Vec<u8>, usize)> {
    let records = &sample.records;
    let bytes_of = |record: &Record| sample.files[&record.file][record.offset..record.offset + record.len].to_vec();
    let (first, skipped, pieces) = match edit {
        Edit::Remove(at) => (at, 1, vec![]),
        Edit::Zero(at) => (at, 1, vec![vec![0; records[at].len]]),
        Edit::Duplicate(at) => (at, 1, vec![bytes_of(&records[at]); 2]),
        Edit::Overwrite(at, by) => (at, 1, vec![bytes_of(&records[by])]),
        Edit::FromSibling(at) => {
            let record = &records[at];
            let sibling = &sample.sibling[&record.file][record.offset..record.offset + record.len];
            (at, 1, vec![sibling.to_vec()])
        }
        Edit::Swap(a, b) => {
            let mut pieces: Vec<_> = records[a..=b].iter().map(bytes_of).collect();
            pieces.swap(0, b - a);
            (a, b - a + 1, pieces)
        }
    };
    let name = &records[first].file;
    let old = &sample.files[name];
    let (from, last) = (records[first].offset, &records[first + skipped - 1]);
    let end = records.iter().rev().find(|record| record.file == *name).map_or(from, |last| last.offset + last.len);
    let room = old.len() - SEAL_LEN;
    let mut bytes = old[..from].to_vec();
    bytes.extend(pieces.concat());
    bytes.extend_from_slice(&old[last.offset + last.len..end]);
    if bytes.len() > room {
        return None;
    }
    bytes.resize(room, 0);
    bytes.extend_from_slice(&old[room..]);
    let moved = if matches!(edit, Edit::Duplicate(_)) { first + 1 } else { first };
    Some((name.clone(), bytes, moved))
}
