//! Lengths, records, whole files.

use std::collections::{BTreeMap, BTreeSet};

use flint_core::files::{self, FileKind};
use flint_core::image::KeyImage;
use flint_core::log::segment::{HEADER_LEN, SEAL_LEN};

use super::flips::{allowed, end_of, reach};
use super::judge::{Allowed, Blame, Judge, Tally};
use super::specimen::{Record, Specimen};
use super::sweep::sweep;

type Files = BTreeMap<String, Vec<u8>>;

/// Cuts every file at every byte (or, of segments, at every `step`th and around the edges), and lengthens every file.
///
/// # Panics
/// When that makes a store what it must not be.
pub fn truncations(specimen: &Specimen, step: usize) -> Tally {
    let mut lengths = Vec::new();
    for (name, bytes) in &specimen.files {
        let is_segment = files::parse_segment_name(name).is_some();
        let edge = |len: usize| len <= HEADER_LEN + 8 || len + SEAL_LEN + 8 >= bytes.len();
        let wanted = |&len: &usize| !is_segment || len.is_multiple_of(step) || edge(len);
        lengths.extend((0..bytes.len()).filter(wanted).map(|len| (name, len, 0)));
        let more = [1, 8, 512, 4096].into_iter().flat_map(|more| [(more, 0), (more, 0xa5)]);
        lengths.extend(more.map(|(more, fill)| (name, bytes.len() + more, fill)));
    }
    let judge = Judge::new(specimen);
    sweep(lengths.len(), |index, tally| {
        let (name, len, fill) = lengths[index];
        let mut bytes = specimen.files[name].clone();
        bytes.resize(len, fill);
        let disk = specimen.disk.kill();
        disk.write_file(name, &bytes);
        let mut allowed = allowed(specimen, name, len);
        if let Blame::File(name, ..) = allowed.blame {
            // The length itself is wrong; a snapshot is verified line by line.
            let is_segment = files::parse_segment_name(name).is_some();
            let (from, to) = match len {
                0..HEADER_LEN if is_segment => (0, 0),
                _ => (if is_segment { len } else { 0 }, len),
            };
            allowed.blame = Blame::File(name, from as u64, to as u64);
        }
        judge.judge(&disk, allowed, tally, &|| format!("{name} of {len} bytes, filled with {fill}"));
    })
}

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
    FromTwin(usize),
}

/// Removes, clears, repeats and swaps records, each with every other of its segment if that has at most `all_pairs` records,
/// else with its neighbour.
///
/// # Panics
/// When that makes a store what it must not be.
pub fn record_edits(specimen: &Specimen, all_pairs: usize) -> Tally {
    let records = &specimen.records;
    let mut edits = Vec::new();
    for index in 0..records.len() {
        let file = &records[index].file;
        edits.extend([Edit::Remove(index), Edit::Zero(index), Edit::Duplicate(index)]);
        if specimen.has_twin() {
            edits.push(Edit::FromTwin(index));
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
    let judge = Judge::new(specimen);
    sweep(edits.len(), |index, tally| {
        let edit = edits[index];
        let Some((name, bytes, first)) = apply(specimen, edit) else { return };
        let disk = specimen.disk.kill();
        disk.write_file(&name, &bytes);
        let at = records.get(first).filter(|record| record.file == name);
        // A repetition at the log's end stands behind it.
        let offset = at.map_or_else(|| end_of(specimen, &name), |record| record.offset) as u64;
        // A record that keeps its content keeps its word, wherever it stands: only the first one out of place is lost.
        let reach = (!specimen.closed).then(|| reach(specimen, at.map(|_| first).as_slice()));
        let allowed = Allowed { blame: Blame::File(&name, offset, offset), reach, other: None };
        judge.judge(&disk, allowed, tally, &|| format!("{edit:?}"));
    })
}

/// The edited segment and the index of the first record that is not where it was. `None` if there is no room for it.
fn apply(specimen: &Specimen, edit: Edit) -> Option<(String, Vec<u8>, usize)> {
    let records = &specimen.records;
    let bytes_of = |record: &Record| specimen.files[&record.file][record.offset..record.offset + record.len].to_vec();
    let (first, skipped, pieces) = match edit {
        Edit::Remove(at) => (at, 1, vec![]),
        Edit::Zero(at) => (at, 1, vec![vec![0; records[at].len]]),
        Edit::Duplicate(at) => (at, 1, vec![bytes_of(&records[at]); 2]),
        Edit::Overwrite(at, by) => (at, 1, vec![bytes_of(&records[by])]),
        Edit::FromTwin(at) => {
            let record = &records[at];
            let twin = &specimen.twin[&record.file][record.offset..record.offset + record.len];
            (at, 1, vec![twin.to_vec()])
        }
        Edit::Swap(a, b) => {
            let mut pieces: Vec<_> = records[a..=b].iter().map(bytes_of).collect();
            pieces.swap(0, b - a);
            (a, b - a + 1, pieces)
        }
    };
    let name = &records[first].file;
    let old = &specimen.files[name];
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

/// A directory whose files were lost or exchanged.
struct Mixed<'a> {
    what: String,
    files: Files,
    blame: Blame<'a>,
    reach: Option<u64>,
    other: Option<&'a [KeyImage]>,
}

/// Loses each file and each pair, puts files of another store or an earlier moment in their places, exchanges them, adds others.
///
/// # Panics
/// When that makes a store what it must not be.
pub fn file_edits(specimen: &Specimen) -> Tally {
    let mut cases = Vec::new();
    missing(specimen, &mut cases);
    foreign(specimen, &mut cases);
    exchanged(specimen, &mut cases);
    stale(specimen, &mut cases);
    strays(specimen, &mut cases);
    let judge = Judge::new(specimen);
    sweep(cases.len(), |index, tally| {
        let case = &cases[index];
        let disk = specimen.disk.kill();
        for name in specimen.files.keys().filter(|name| !case.files.contains_key(*name)) {
            disk.dir().remove(name).expect("a good disk");
        }
        for (name, bytes) in &case.files {
            if specimen.files.get(name) != Some(bytes) {
                disk.write_file(name, bytes);
            }
        }
        let allowed = Allowed { blame: case.blame, reach: case.reach, other: case.other };
        judge.judge(&disk, allowed, tally, &|| case.what.clone());
    })
}

fn is_store_file(name: &str) -> bool {
    matches!(files::classify(name), FileKind::Segment(_) | FileKind::Snapshot(_))
}

/// What a crashed store must still reach when these files are not what they were.
fn left(specimen: &Specimen, touched: &BTreeSet<&str>) -> u64 {
    let first = specimen.records.iter().position(|record| touched.contains(record.file.as_str()));
    let before = first.map_or(specimen.last_seq(), |first| specimen.records[first].seq - 1);
    let marks = specimen.records.iter().filter(|record| !touched.contains(record.file.as_str()));
    let marked = marks.map(|record| record.durable_seq).max().unwrap_or(0);
    let has_snapshot = !touched.iter().any(|name| files::parse_snapshot_name(name).is_some());
    before.max(marked).max(if has_snapshot { specimen.snapshot_end } else { 0 })
}

impl<'a> Mixed<'a> {
    /// The specimen's files, of which `touched` become what `change` makes of them.
    fn new(specimen: &'a Specimen, what: String, touched: &[&str], change: impl FnOnce(&mut Files)) -> Self {
        let mut files = specimen.files.clone();
        change(&mut files);
        let touched: BTreeSet<&str> = touched.iter().copied().collect();
        let reach = (!specimen.closed).then(|| left(specimen, &touched));
        let blame = if touched.iter().all(|name| *name == files::LOCK) { Blame::Nobody } else { Blame::Store };
        Self { what, files, blame, reach, other: None }
    }
}

/// Every file and every pair of files.
fn pairs(specimen: &Specimen) -> Vec<Vec<&str>> {
    let names: Vec<&str> = specimen.files.keys().map(String::as_str).collect();
    let mut all: Vec<Vec<&str>> = names.iter().map(|&name| vec![name]).collect();
    for (index, &name) in names.iter().enumerate() {
        all.extend(names[index + 1..].iter().map(|&other| vec![name, other]));
    }
    all
}

fn missing<'a>(specimen: &'a Specimen, cases: &mut Vec<Mixed<'a>>) {
    for names in pairs(specimen) {
        let mut case = Mixed::new(specimen, format!("without {names:?}"), &names, |files| {
            files.retain(|name, _| !names.contains(&name.as_str()));
        });
        // Of an empty directory nobody can say that a store was in it.
        if case.files.is_empty() {
            case.other = Some(&[]);
        }
        cases.push(case);
    }
}

fn foreign<'a>(specimen: &'a Specimen, cases: &mut Vec<Mixed<'a>>) {
    if !specimen.has_twin() {
        return;
    }
    let twin = &specimen.twin;
    for names in pairs(specimen).into_iter().filter(|names| names.iter().all(|name| twin.contains_key(*name))) {
        let mut case = Mixed::new(specimen, format!("{names:?} of another store"), &names, |files| {
            files.extend(names.iter().map(|name| ((*name).to_owned(), twin[*name].clone())));
        });
        if specimen.files.keys().filter(|name| is_store_file(name)).all(|name| names.contains(&name.as_str())) {
            case.other = Some(&specimen.twin_images);
        }
        cases.push(case);
    }
}

fn exchanged<'a>(specimen: &'a Specimen, cases: &mut Vec<Mixed<'a>>) {
    for names in pairs(specimen) {
        let &[a, b] = names.as_slice() else { continue };
        cases.push(Mixed::new(specimen, format!("{a} and {b} exchanged"), &names, |files| {
            files.insert(a.to_owned(), specimen.files[b].clone());
            files.insert(b.to_owned(), specimen.files[a].clone());
        }));
    }
}

fn stale<'a>(specimen: &'a Specimen, cases: &mut Vec<Mixed<'a>>) {
    let newest = specimen.files.keys().rfind(|name| files::parse_snapshot_name(name).is_some());
    for (age, earlier) in specimen.earlier.iter().enumerate() {
        for (name, bytes) in earlier.iter().filter(|(name, bytes)| specimen.files.get(*name) != Some(bytes)) {
            if specimen.files.contains_key(name) {
                let mut case = Mixed::new(specimen, format!("{name} of moment {age}"), &[name], |files| {
                    files.insert(name.clone(), bytes.clone());
                });
                if name == specimen.active() {
                    // What a power cut leaves, as far as the active segment goes. Everything else holds.
                    case.reach = Some(left(specimen, &BTreeSet::from([name.as_str()])));
                }
                cases.push(case);
            } else if files::parse_snapshot_name(name).is_some()
                && let Some(newest) = newest
            {
                let mut beside = Mixed::new(specimen, format!("{name} of moment {age} as well"), &[], |files| {
                    files.insert(name.clone(), bytes.clone());
                });
                beside.blame = Blame::Nobody;
                cases.push(beside);
                cases.push(Mixed::new(specimen, format!("{name} in place of {newest}"), &[newest], |files| {
                    files.remove(newest);
                    files.insert(name.clone(), bytes.clone());
                }));
                cases.push(Mixed::new(specimen, format!("{name} as {newest}"), &[newest], |files| {
                    files.insert(newest.clone(), bytes.clone());
                }));
            }
        }
        // The newest snapshot with the whole log of an earlier moment.
        let is_segment = |name: &str| files::parse_segment_name(name).is_some();
        if let Some(newest) = newest
            && !earlier.contains_key(newest)
        {
            let touched = specimen.segments();
            let mut case = Mixed::new(specimen, format!("the log of moment {age} with {newest}"), &touched, |files| {
                files.retain(|name, _| !is_segment(name));
                let log = earlier.iter().filter(|(name, _)| is_segment(name));
                files.extend(log.map(|(name, bytes)| (name.clone(), bytes.clone())));
            });
            // The active segment with it: down to the snapshot's end that is what a power cut leaves.
            case.reach = Some(specimen.snapshot_end);
            cases.push(case);
        }
    }
}

fn strays<'a>(specimen: &'a Specimen, cases: &mut Vec<Mixed<'a>>) {
    let last = specimen.last_seq();
    let segment = &specimen.files[specimen.active()];
    let contents: [&[u8]; 4] = [b"", b"not Flint's\n", &[0; 16 << 10], segment];
    let foreign = ["notes.txt", "flint-1.aof", "flint.aof.bak", "flint-00000000000000000001.aof~", "flint.lock.old"];
    let temporary = [files::SPARE, files::SNAPSHOT_TMP];
    let others = [
        files::segment_name(last + 1),
        files::segment_name(last + 1000),
        files::segment_name(2),
        files::snapshot_name(last + 1),
        files::snapshot_name(last + 1000),
        files::snapshot_name(0),
        files::migrating_name(1),
        files::migrating_name(last + 1),
        files::LEGACY_AOF.to_owned(),
        files::LEGACY_SNAPSHOT.to_owned(),
    ];
    let names = foreign.into_iter().chain(temporary).map(|name| (name.to_owned(), Blame::Nobody));
    for (name, blame) in names.chain(others.map(|name| (name, Blame::Store))) {
        if specimen.files.contains_key(&name) {
            continue;
        }
        for content in contents {
            let what = format!("{name} of {} bytes as well", content.len());
            let mut case = Mixed::new(specimen, what, &[], |files| drop(files.insert(name.clone(), content.to_vec())));
            case.blame = blame;
            cases.push(case);
        }
    }
}
