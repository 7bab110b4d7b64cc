//! What opening a damaged store may lead to.

use std::collections::HashSet;
use std::ops::AddAssign;
use std::path::Path;
use std::sync::Mutex;

use flint_core::doctor::examine_in;
use flint_core::engine::{Item, Options};
use flint_core::files::{self, FileKind};
use flint_core::image::KeyImage;
use flint_core::limit::Algorithm;
use flint_core::testing::sim::SimDisk;
use flint_core::{Engine, Error};

use super::sample::SampleStore;
use super::workload::{limit, options};
use crate::directory::files_of;

/// How many cases ended how.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Refused, nothing changed.
    pub refused: u64,
    /// Opened with the identical state.
    pub identical: u64,
    /// Opened with an allowed earlier state.
    pub earlier: u64,
}

impl Tally {
    /// All cases.
    pub const fn cases(&self) -> u64 {
        self.refused + self.identical + self.earlier
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.refused += other.refused;
        self.identical += other.identical;
        self.earlier += other.earlier;
    }
}

/// Where a refusal has to point.
#[derive(Debug, Clone, Copy)]
pub(super) enum ExpectedError<'a> {
    /// Into this file, at one of these bytes; a sealed segment may also be refused as a whole, at byte 0, by its SHA-256.
    File(&'a str, u64, u64),
    /// At any file of the store, one that is missing, or the directory.
    Store,
    /// Nowhere: it has to open.
    None,
}

/// What is allowed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowed<'a> {
    pub(super) expected: ExpectedError<'a>,
    /// Records that must have survived, if the state may be an earlier one at all.
    pub(super) reach: Option<u64>,
    /// Another state that is as good, where the directory does not distinguish them.
    pub(super) other: Option<&'a [KeyImage]>,
}

/// Checks damaged copies of one sample. Remembers, by their files, the stores that were shown to keep working.
pub(super) struct Oracle<'a> {
    pub(super) sample: &'a SampleStore,
    going_on: Mutex<HashSet<u64>>,
}

impl<'a> Oracle<'a> {
    pub(super) fn new(sample: &'a SampleStore) -> Self {
        Self { sample, going_on: Mutex::default() }
    }

    /// Opens a damaged copy in every way. Panics if that is not `allowed`.
    pub(super) fn check(&self, disk: &SimDisk, allowed: Allowed<'_>, tally: &mut Tally, what: &dyn Fn() -> String) {
        let sample = self.sample;
        let fail = |detail: String| -> ! { panic!("{}, {}: {detail}", sample.name, what()) };
        let before = disk.kill();
        let ops = disk.ops();
        let report = examine_in(&*disk.dir()).unwrap_or_else(|error| fail(format!("the doctor: {error}")));
        let (looking, _) = options(sample.sync, 0, sample.wall_ns);
        let reader = Engine::open_in(disk.dir(), Options { read_only: true, ..looking });
        if disk.ops() != ops {
            fail("looking changed something".to_owned());
        }
        let writer = sample.open(disk);
        if report.ok != writer.is_ok() {
            fail(format!("the doctor says {report:?}, open {:?}", writer.err()));
        }
        if reader.is_ok() != writer.is_ok() {
            fail(format!("read-only says {:?}, open {:?}", reader.err(), writer.err()));
        }
        match writer {
            Err(error) => {
                self.refused(disk, &before, &error, allowed.expected).unwrap_or_else(|detail| fail(detail));
                let problem = report.problems.first().map(|problem| (problem.path.as_path(), problem.offset));
                if problem != place(&error) && !self.doctor_is_more_exact(problem, &error, allowed.expected) {
                    fail(format!("the doctor points to {problem:?}, open says {error}"));
                }
                tally.refused += 1;
            }
            Ok(engine) => {
                let images = engine.images().expect("an open store");
                if reader.is_ok_and(|reader| reader.images().expect("an open store") != images) {
                    fail("read-only opening shows another state".to_owned());
                }
                let identical = images == sample.last().images;
                if identical {
                    let whole = allowed.reach.is_none();
                    if whole && engine.list(None, None, None).expect("an open store") != sample.statuses {
                        fail("opened with other totals".to_owned());
                    }
                    tally.identical += 1;
                } else {
                    // Opening wrote one record, the anchor.
                    let reached = engine.counters().seq - 1;
                    self.earlier(&images, reached, allowed).unwrap_or_else(|detail| fail(detail));
                    tally.earlier += 1;
                }
                self.goes_on(disk, engine, &images).unwrap_or_else(|detail| fail(detail));
            }
        }
    }

    /// Opening a sealed segment refuses it as a whole; the doctor goes through its records and finds the damaged one.
    fn doctor_is_more_exact(&self, problem: Option<(&Path, u64)>, error: &Error, expected: ExpectedError<'_>) -> bool {
        let (Some((path, offset)), Some((blamed, 0))) = (problem, place(error)) else { return false };
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let damaged = match expected {
            ExpectedError::File(_, from, to) => (from..=to).contains(&offset),
            _ => true,
        };
        path == blamed && self.sample.is_sealed(name) && damaged
    }

    fn earlier(&self, images: &[KeyImage], reached: u64, allowed: Allowed<'_>) -> Result<(), String> {
        if allowed.other == Some(images) {
            return Ok(());
        }
        let Some(reach) = allowed.reach else {
            return Err(format!("opened with another state, of record {reached}"));
        };
        if reached < reach {
            return Err(format!("opened with the state of record {reached}, but {reach} was promised"));
        }
        let moments = &self.sample.moments;
        let next = moments.partition_point(|moment| moment.seq <= reached);
        let exact = next > 0 && moments[next - 1].images == images;
        // A call may write a record that changes no state before the one that does.
        let between = next > 0 && moments[next - 1].seq < reached;
        if exact || (between && moments.get(next).is_some_and(|moment| moment.images == images)) {
            return Ok(());
        }
        Err(format!("opened with a state that the store never had, of record {reached}"))
    }

    fn refused(
        &self,
        disk: &SimDisk,
        before: &SimDisk,
        error: &Error,
        expected: ExpectedError<'_>,
    ) -> Result<(), String> {
        let known = |path: &Path| {
            let kind = path.file_name().and_then(|name| name.to_str()).map(files::classify);
            path == disk.dir().path() || kind.is_some_and(|kind| kind != FileKind::Foreign)
        };
        let pointed = match (expected, error) {
            (ExpectedError::None, _) => false,
            (ExpectedError::File(name, from, to), Error::Corrupt { path, offset, .. }) => {
                let whole = *offset == 0 && self.sample.is_sealed(name);
                path.ends_with(name) && ((from..=to).contains(offset) || whole)
            }
            // A damaged mark of a migration makes it an old log in the directory of a new store.
            (ExpectedError::File(files::LEGACY_AOF, ..) | ExpectedError::Store, Error::Unsupported { path, .. }) => {
                path == disk.dir().path()
            }
            (ExpectedError::Store, Error::Corrupt { path, .. }) => known(path),
            _ => false,
        };
        if !pointed {
            return Err(format!("refused, but it should point to {expected:?}: {error:?}"));
        }
        let (mut now, mut before) = (files_of(disk), files_of(before));
        let (lock, old_lock) = (now.remove(files::LOCK), before.remove(files::LOCK));
        if now != before {
            return Err("refused and changed".to_owned());
        }
        // The lock's first line is its holder's; which store was made here must not be forgotten.
        let store = |bytes: &Vec<u8>| {
            let text = String::from_utf8_lossy(bytes);
            text.lines().find(|line| line.starts_with("store ")).map(str::to_owned)
        };
        let (now, old) = (lock.as_ref().and_then(store), old_lock.as_ref().and_then(store));
        let whole = self.sample.files.get(files::LOCK).and_then(store);
        if old == whole && now != old { Err("refused and forgot which store it was".to_owned()) } else { Ok(()) }
    }

    /// Checks on old and new keys, closing, opening again. What follows from the same files is the same.
    fn goes_on(&self, disk: &SimDisk, engine: Engine, images: &[KeyImage]) -> Result<(), String> {
        let files = disk.fingerprint();
        if !self.going_on.lock().expect("no panic under it").insert(files) {
            return Ok(());
        }
        let failed = |what: &'static str| move |error: Error| format!("{what}: {error}");
        let given = limit("5/minute", Algorithm::TokenBucket);
        for image in images.iter().filter(|image| !image.out_of_bounds) {
            engine.check(&image.key, 1, None).map_err(failed("a check after opening"))?;
            engine.peek(&image.key, 1, None).map_err(failed("a look after opening"))?;
        }
        for cost in [2, 3, 4] {
            engine.check("new", cost, Some(&given)).map_err(failed("a new key"))?;
        }
        let items = ["new", "newer"].map(|key| Item { key, cost: 1, limit: Some(&given) });
        engine.check_all(&items).map_err(failed("new keys"))?;
        engine.history("new", 10).map_err(failed("history"))?;
        let after = engine.images().map_err(failed("looking"))?;
        engine.close().map_err(failed("closing"))?;
        drop(engine);
        let report = examine_in(&*disk.dir()).map_err(failed("the doctor"))?;
        if !report.ok {
            return Err(format!("the doctor after closing: {report:?}"));
        }
        let again = self.sample.open(disk).map_err(failed("opening again"))?;
        if again.images().map_err(failed("looking again"))? != after || !again.recovery().clean {
            return Err(format!("another state after closing and opening again: {:?}", again.recovery()));
        }
        Ok(())
    }
}

/// Where an error points.
pub(super) fn place(error: &Error) -> Option<(&Path, u64)> {
    match error {
        Error::Corrupt { path, offset, .. } => Some((path, *offset)),
        Error::Unsupported { path, .. } | Error::Storage { path, .. } => Some((path, 0)),
        _ => None,
    }
}
