//! Directories of releases 0.1 and 0.2, as those releases left them. Their logs know no durable mark and no close record: whatever
//! is damaged about the last line may be what a crash left of it.

use flint_core::doctor::examine_in;
use flint_core::engine::{Options, SyncMode};
use flint_core::files;
use flint_core::image::KeyImage;
use flint_core::testing::sim::SimDisk;
use flint_core::{Engine, Error, Result};

use super::oracle::{Tally, place};
use super::sweep::sweep;
use super::workload::options;
use crate::directory::{Files, disk_of, files_of};
use crate::old_release::{self, SAMPLES};

/// A clock from before the data: it then shows the newest time in the data.
const EARLY_NS: u64 = 1;

/// A directory of an old release, undamaged.
pub struct LegacySample {
    name: String,
    files: Files,
    /// Whether every line has a checksum: release 0.1 wrote none.
    checksums: bool,
    /// The states with the log cut after each line, and the lengths of those logs.
    prefixes: Vec<(usize, Vec<KeyImage>)>,
}

impl LegacySample {
    /// One of each: the samples of `tests/legacy-data`, and the small directory with a snapshot.
    pub fn all() -> Vec<Self> {
        let samples = SAMPLES.map(|name| Self::new(name, old_release::sample(name)));
        samples.into_iter().chain([Self::new("a small snapshot", old_release::small_snapshot())]).collect()
    }

    /// Whether it takes too long to try everything with it.
    pub fn is_large(&self) -> bool {
        self.files.values().any(|bytes| bytes.len() > 100_000)
    }

    /// Names it in failures.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// From the files of a data directory that opens.
    ///
    /// # Panics
    /// When it does not.
    pub fn new(name: &str, files: Files) -> Self {
        let log = &files[files::LEGACY_AOF];
        let ends = log.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
        let mut prefixes = Vec::new();
        for end in std::iter::once(0).chain(ends) {
            let mut cut = files.clone();
            cut.insert(files::LEGACY_AOF.to_owned(), log[..end].to_vec());
            // A snapshot needs the log that it includes.
            if let Ok(reader) = look(&disk_of(&cut)) {
                prefixes.push((end, reader.images().expect("an open store")));
            }
        }
        let checksums = log
            .split(|byte| *byte == b'\n')
            .next()
            .is_some_and(|line| line.windows(12).any(|window| window == b"\"checksum\":\""));
        assert!(look(&disk_of(&files)).is_ok(), "{name}");
        Self { name: name.to_owned(), files, checksums, prefixes }
    }

    fn last(&self) -> &[KeyImage] {
        self.prefixes.last().map_or(&[], |(_, images)| images)
    }

    /// Judges a damaged directory; the damage to the log starts at byte `from` and ends before `until`.
    fn check(&self, files: &Files, from: usize, until: usize, what: &str, tally: &mut Tally) {
        let fail = |detail: String| -> ! { panic!("{}, {what}: {detail}", self.name) };
        let disk = disk_of(files);
        let ops = disk.ops();
        let report = examine_in(&*disk.dir()).unwrap_or_else(|error| fail(format!("the doctor: {error}")));
        let reader = look(&disk);
        if disk.ops() != ops {
            fail("looking changed something".to_owned());
        }
        let writer = Engine::open_in(disk.dir(), options(SyncMode::Always, 64 << 20, EARLY_NS).0);
        if report.ok != writer.is_ok() || reader.is_ok() != writer.is_ok() {
            fail(format!("doctor {report:?}, read-only {:?}, open {:?}", reader.err(), writer.err()));
        }
        let engine = match writer {
            Err(error) => {
                let pointed = match &error {
                    Error::Corrupt { path, .. } | Error::Unsupported { path, .. } => {
                        path.ends_with(files::LEGACY_AOF) || path.ends_with(files::LEGACY_SNAPSHOT)
                    }
                    _ => false,
                };
                if !pointed || place(&error) != report.problems.first().map(|p| (p.path.as_path(), p.offset)) {
                    fail(format!("refused without its place: {error:?}, {report:?}"));
                }
                let mut now = files_of(&disk);
                now.remove(files::LOCK);
                if now.iter().any(|(name, bytes)| files.get(name) != Some(bytes)) || now.len() + 1 < files.len() {
                    fail("refused and changed".to_owned());
                }
                tally.refused += 1;
                return;
            }
            Ok(engine) => engine,
        };
        let images = engine.images().expect("an open store");
        if reader.is_ok_and(|reader| reader.images().expect("an open store") != images) {
            fail("read-only opening shows another state".to_owned());
        }
        if images == self.last() {
            tally.identical += 1;
        } else {
            let log = &self.files[files::LEGACY_AOF];
            // A damaged line feed joins two lines: the last two may then look like one that was cut off.
            let lines_behind = log.get(until..).unwrap_or_default().iter().filter(|byte| **byte == b'\n').count();
            let prefix = self.prefixes.iter().rfind(|(_, state)| *state == images);
            let kept = prefix.is_some_and(|_| {
                let needed = log[..from].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
                self.prefixes.iter().any(|(end, state)| *end >= needed && *state == images)
            });
            if self.checksums && (!kept || lines_behind > 1) {
                fail(format!("opened with another state, {lines_behind} whole lines behind the damage"));
            }
            tally.earlier += 1;
        }
        engine.close().unwrap_or_else(|error| fail(format!("closing: {error}")));
        drop(engine);
        let again = Engine::open_in(disk.dir(), options(SyncMode::Always, 64 << 20, EARLY_NS).0);
        match again.and_then(|again| again.images()) {
            Ok(again) if again == images => {}
            other => fail(format!("after closing and opening again: {other:?}")),
        }
    }
}

fn look(disk: &SimDisk) -> Result<Engine> {
    Engine::open_in(disk.dir(), Options { read_only: true, ..options(SyncMode::Always, 0, EARLY_NS).0 })
}

/// Flips every bit of each file or, if `step` is above 1, one bit of every `step`th byte.
///
/// # Panics
/// When a flip makes a store what it must not be.
pub fn legacy_flips(sample: &LegacySample, step: usize) -> Tally {
    let mut places = Vec::new();
    for (name, bytes) in &sample.files {
        let bits = |at: usize| if step == 1 { 0..8 } else { at / step % 8..at / step % 8 + 1 };
        places.extend((0..bytes.len()).step_by(step).flat_map(|at| bits(at).map(move |bit| (name, at, bit))));
    }
    sweep(places.len(), |index, tally| {
        let (name, at, bit) = places[index];
        let mut files = sample.files.clone();
        files.entry(name.clone()).and_modify(|bytes| bytes[at] ^= 1 << bit);
        let at_log = if name == files::LEGACY_AOF { at } else { sample.files[files::LEGACY_AOF].len() };
        sample.check(&files, at_log, at_log + 1, &format!("bit {bit} of byte {at} of {name}"), tally);
    })
}

/// Cuts each file at every `step`th byte.
///
/// # Panics
/// When that makes a store what it must not be.
pub fn legacy_truncations(sample: &LegacySample, step: usize) -> Tally {
    let mut lengths = Vec::new();
    for (name, bytes) in &sample.files {
        lengths.extend((0..bytes.len()).step_by(step).map(|len| (name, len)));
    }
    sweep(lengths.len(), |index, tally| {
        let (name, len) = lengths[index];
        let mut files = sample.files.clone();
        files.entry(name.clone()).and_modify(|bytes| bytes.truncate(len));
        let log = sample.files[files::LEGACY_AOF].len();
        let at_log = if name == files::LEGACY_AOF { len } else { log };
        sample.check(&files, at_log, log, &format!("{name} of {len} bytes"), tally);
    })
}
