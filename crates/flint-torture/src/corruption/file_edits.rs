//! Files that are missing, exchanged, of another store or an earlier moment, and files that do not belong there.

use std::collections::BTreeSet;

use flint_core::files::{self, FileKind};
use flint_core::image::KeyImage;

use super::oracle::{Allowed, ExpectedError, Oracle, Tally};
use super::sample::SampleStore;
use super::sweep::sweep;
use crate::directory::Files;

/// A directory whose files were lost or exchanged.
struct Mixed<'a> {
    what: String,
    files: Files,
    expected: ExpectedError<'a>,
    reach: Option<u64>,
    other: Option<&'a [KeyImage]>,
}

/// Loses each file and each pair, puts files of another store or an earlier moment in their places, exchanges them, adds others.
///
/// # Panics
/// When that makes a store what it must not be.
pub fn file_edits(sample: &SampleStore) -> Tally {
    let mut cases = Vec::new();
    missing(sample, &mut cases);
    foreign(sample, &mut cases);
    exchanged(sample, &mut cases);
    stale(sample, &mut cases);
    strays(sample, &mut cases);
    let oracle = Oracle::new(sample);
    sweep(cases.len(), |index, tally| {
        let case = &cases[index];
        let disk = sample.disk.kill();
        for name in sample.files.keys().filter(|name| !case.files.contains_key(*name)) {
            disk.dir().remove(name).expect("a good disk");
        }
        for (name, bytes) in &case.files {
            if sample.files.get(name) != Some(bytes) {
                disk.write_file(name, bytes);
            }
        }
        let allowed = Allowed { expected: case.expected, reach: case.reach, other: case.other };
        oracle.check(&disk, allowed, tally, &|| case.what.clone());
    })
}

fn is_store_file(name: &str) -> bool {
    matches!(files::classify(name), FileKind::Segment(_) | FileKind::Snapshot(_))
}

/// What a crashed store must still reach when these files are not what they were.
fn left(sample: &SampleStore, touched: &BTreeSet<&str>) -> u64 {
    let first = sample.records.iter().position(|record| touched.contains(record.file.as_str()));
    let before = first.map_or(sample.last_seq(), |first| sample.records[first].seq - 1);
    let marks = sample.records.iter().filter(|record| !touched.contains(record.file.as_str()));
    let marked = marks.map(|record| record.durable_seq).max().unwrap_or(0);
    let has_snapshot = !touched.iter().any(|name| files::parse_snapshot_name(name).is_some());
    before.max(marked).max(if has_snapshot { sample.snapshot_end } else { 0 })
}

impl<'a> Mixed<'a> {
    /// The sample's files, of which `touched` become what `change` makes of them.
    fn new(sample: &'a SampleStore, what: String, touched: &[&str], change: impl FnOnce(&mut Files)) -> Self {
        let mut files = sample.files.clone();
        change(&mut files);
        let touched: BTreeSet<&str> = touched.iter().copied().collect();
        let reach = (!sample.closed).then(|| left(sample, &touched));
        let expected =
            if touched.iter().all(|name| *name == files::LOCK) { ExpectedError::None } else { ExpectedError::Store };
        Self { what, files, expected, reach, other: None }
    }
}

/// Every file and every pair of files.
fn pairs(sample: &SampleStore) -> Vec<Vec<&str>> {
    let names: Vec<&str> = sample.files.keys().map(String::as_str).collect();
    let mut all: Vec<Vec<&str>> = names.iter().map(|&name| vec![name]).collect();
    for (index, &name) in names.iter().enumerate() {
        all.extend(names[index + 1..].iter().map(|&other| vec![name, other]));
    }
    all
}

fn missing<'a>(sample: &'a SampleStore, cases: &mut Vec<Mixed<'a>>) {
    for names in pairs(sample) {
        let mut case = Mixed::new(sample, format!("without {names:?}"), &names, |files| {
            files.retain(|name, _| !names.contains(&name.as_str()));
        });
        // Nothing in an empty directory says that a store was in it.
        if case.files.is_empty() {
            case.other = Some(&[]);
        }
        cases.push(case);
    }
}

fn foreign<'a>(sample: &'a SampleStore, cases: &mut Vec<Mixed<'a>>) {
    if !sample.has_sibling() {
        return;
    }
    let sibling = &sample.sibling;
    for names in pairs(sample).into_iter().filter(|names| names.iter().all(|name| sibling.contains_key(*name))) {
        let mut case = Mixed::new(sample, format!("{names:?} of another store"), &names, |files| {
            files.extend(names.iter().map(|name| ((*name).to_owned(), sibling[*name].clone())));
        });
        if sample.files.keys().filter(|name| is_store_file(name)).all(|name| names.contains(&name.as_str())) {
            case.other = Some(&sample.sibling_images);
        }
        cases.push(case);
    }
}

fn exchanged<'a>(sample: &'a SampleStore, cases: &mut Vec<Mixed<'a>>) {
    for names in pairs(sample) {
        let &[a, b] = names.as_slice() else { continue };
        cases.push(Mixed::new(sample, format!("{a} and {b} exchanged"), &names, |files| {
            files.insert(a.to_owned(), sample.files[b].clone());
            files.insert(b.to_owned(), sample.files[a].clone());
        }));
    }
}

fn stale<'a>(sample: &'a SampleStore, cases: &mut Vec<Mixed<'a>>) {
    let newest = sample.files.keys().rfind(|name| files::parse_snapshot_name(name).is_some());
    for (age, earlier) in sample.earlier.iter().enumerate() {
        for (name, bytes) in earlier.iter().filter(|(name, bytes)| sample.files.get(*name) != Some(bytes)) {
            if sample.files.contains_key(name) {
                let mut case = Mixed::new(sample, format!("{name} of moment {age}"), &[name], |files| {
                    files.insert(name.clone(), bytes.clone());
                });
                if name == sample.active() {
                    // What a power cut leaves, as far as the active segment goes. Everything else holds.
                    case.reach = Some(left(sample, &BTreeSet::from([name.as_str()])));
                }
                cases.push(case);
            } else if files::parse_snapshot_name(name).is_some()
                && let Some(newest) = newest
            {
                let mut added = Mixed::new(sample, format!("{name} of moment {age} as well"), &[], |files| {
                    files.insert(name.clone(), bytes.clone());
                });
                added.expected = ExpectedError::None;
                cases.push(added);
                cases.push(Mixed::new(sample, format!("{name} in place of {newest}"), &[newest], |files| {
                    files.remove(newest);
                    files.insert(name.clone(), bytes.clone());
                }));
                cases.push(Mixed::new(sample, format!("{name} as {newest}"), &[newest], |files| {
                    files.insert(newest.clone(), bytes.clone());
                }));
            }
        }
        // The newest snapshot with the whole log of an earlier moment.
        let is_segment = |name: &str| files::parse_segment_name(name).is_some();
        if let Some(newest) = newest
            && !earlier.contains_key(newest)
        {
            let touched = sample.segments();
            let mut case = Mixed::new(sample, format!("the log of moment {age} with {newest}"), &touched, |files| {
                files.retain(|name, _| !is_segment(name));
                let log = earlier.iter().filter(|(name, _)| is_segment(name));
                files.extend(log.map(|(name, bytes)| (name.clone(), bytes.clone())));
            });
            // The active segment with it: down to the snapshot's end that is what a power cut leaves.
            case.reach = Some(sample.snapshot_end);
            cases.push(case);
        }
    }
}

fn strays<'a>(sample: &'a SampleStore, cases: &mut Vec<Mixed<'a>>) {
    let last = sample.last_seq();
    let segment = &sample.files[sample.active()];
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
    let names = foreign.into_iter().chain(temporary).map(|name| (name.to_owned(), ExpectedError::None));
    for (name, expected) in names.chain(others.map(|name| (name, ExpectedError::Store))) {
        if sample.files.contains_key(&name) {
            continue;
        }
        for content in contents {
            let what = format!("{name} of {} bytes as well", content.len());
            let mut case = Mixed::new(sample, what, &[], |files| drop(files.insert(name.clone(), content.to_vec())));
            case.expected = expected;
            cases.push(case);
        }
    }
}
