//! Parts of workloads, each from a directory as an earlier part left it, and the points at which one can be cut short.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use flint_core::engine::SyncMode;
use flint_core::files;

use super::expected::{Expected, run_undisturbed};
use super::points::Points;
use super::process::{Files, Point, Scratch, Task, copy};
use super::recovered;
use super::report::Report;
use super::workload::{Workload, WorkloadKind};

/// Old stores that open.
const SAMPLES: [&str; 4] = ["v0_1_log_only", "v0_2_log_only", "v0_2_snapshot_and_tail", "v0_2_torn_tail"];

/// A part of a workload.
#[derive(Debug)]
pub struct Run {
    workload: Arc<Workload>,
    expected: Arc<Expected>,
    sync: SyncMode,
    from: usize,
    to: usize,
    dies: bool,
    /// The directory to begin with; `None`: there is none.
    base: Option<Arc<Scratch>>,
}

/// The data directory in it: two directories to be made where there is none.
pub fn data(scratch: &Scratch) -> PathBuf {
    scratch.path().join("flint").join("data")
}

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/legacy-data").join(name).join("data")
}

impl Run {
    /// Every kind in both modes.
    ///
    /// # Panics
    /// When an undisturbed workload fails.
    pub fn all(seed: u64) -> Vec<Self> {
        let mut all = Self::ordinary(seed);
        all.extend(Self::backlog(seed));
        all.extend(Self::migrations(seed));
        all
    }

    /// From nothing to a clean close; from there to a death; from there to a clean close.
    ///
    /// # Panics
    /// When an undisturbed workload fails.
    pub fn ordinary(seed: u64) -> Vec<Self> {
        let workload = Arc::new(Workload::new(WorkloadKind::Ordinary, seed));
        let expected = expected_of(&workload, None);
        let third = workload.steps.len() / 3;
        let mut runs: Vec<Self> = Vec::new();
        for sync in [SyncMode::Always, SyncMode::Batch] {
            let mut base = None;
            for part in 0..3 {
                let (workload, expected) = (workload.clone(), expected.clone());
                let run = Self {
                    workload,
                    expected,
                    sync,
                    from: part * third,
                    to: (part + 1) * third,
                    dies: part == 1,
                    base,
                };
                base = (part < 2).then(|| Arc::new(run.completed()));
                runs.push(run);
            }
        }
        runs
    }

    /// Calls during a compaction in the background.
    ///
    /// # Panics
    /// When an undisturbed workload fails.
    pub fn backlog(seed: u64) -> Vec<Self> {
        let workload = Arc::new(Workload::new(WorkloadKind::Backlog, seed));
        let expected = expected_of(&workload, None);
        let (prelude, to) = (workload.prelude(), workload.steps.len());
        let first = Self {
            workload: workload.clone(),
            expected: expected.clone(),
            sync: SyncMode::Batch,
            from: 0,
            to: prelude,
            dies: true,
            base: None,
        };
        let base = Arc::new(first.completed());
        let both = [SyncMode::Always, SyncMode::Batch].into_iter();
        both.map(|sync| Self {
            workload: workload.clone(),
            expected: expected.clone(),
            sync,
            from: prelude,
            to,
            dies: false,
            base: Some(base.clone()),
        })
        .collect()
    }

    /// Directories of old releases.
    ///
    /// # Panics
    /// When an undisturbed workload fails.
    pub fn migrations(seed: u64) -> Vec<Self> {
        let mut runs = Vec::new();
        for (index, name) in SAMPLES.into_iter().enumerate() {
            let workload = Arc::new(Workload::new(WorkloadKind::Migration(name.to_owned()), seed));
            let base = Arc::new(Scratch::new(false));
            copy(&sample(name), &data(&base));
            let expected = expected_of(&workload, Some(&data(&base)));
            let to = workload.steps.len();
            let sync = if index % 2 == 0 { SyncMode::Always } else { SyncMode::Batch };
            runs.push(Self { workload, expected, sync, from: 0, to, dies: false, base: Some(base) });
        }
        runs
    }

    /// What to call it.
    pub fn name(&self) -> String {
        format!("{} {:?} {}..{}", self.workload.kind.name(), self.sync, self.from, self.to)
    }

    /// What its worker does in `dir`.
    pub fn task<'a>(&'a self, dir: &'a Path) -> Task<'a> {
        Task { dir, sync: self.sync, workload: &self.workload, from: self.from, to: self.to, dies: self.dies }
    }

    /// What a process does that continues after a death.
    pub fn rest<'a>(&'a self, dir: &'a Path, from: usize, to: usize) -> Task<'a> {
        Task { from, to, dies: false, ..self.task(dir) }
    }

    /// A fresh copy of the directory to begin with.
    pub fn begin(&self, on_disk: bool) -> Scratch {
        let scratch = Scratch::new(on_disk);
        if let Some(base) = &self.base {
            copy(&data(base), &data(&scratch));
        }
        scratch
    }

    /// The directory after the whole run.
    fn completed(&self) -> Scratch {
        let scratch = self.begin(false);
        let ran = self.task(&data(&scratch)).undisturbed();
        let what = format!("{}, undisturbed", self.name());
        assert_eq!(recovered::steps_reported(&self.expected, self.from, &ran.reported, &what), self.to, "{what}");
        scratch
    }

    /// How many steps the directory of a worker with these reports holds.
    ///
    /// # Panics
    /// When it holds something else.
    pub fn inspect(&self, dir: &Path, reported: &[String], what: &str) -> usize {
        let reported = recovered::steps_reported(&self.expected, self.from, reported, what);
        recovered::inspect(&self.expected, dir, reported, what)
    }

    /// Every store into the mapping, before it and in the middle of it.
    ///
    /// # Panics
    /// When the worker fails.
    pub fn store_points(&self) -> Points {
        let dies = |at: u64| {
            let scratch = self.begin(false);
            self.task(&data(&scratch)).killed_at(&Point::Store(at)).killed
        };
        // The number of stores, by halving.
        let (mut some, mut none) = (0, 1_024);
        while none - some > 1 {
            let middle = u64::midpoint(some, none);
            if dies(2 * middle) { some = middle } else { none = middle }
        }
        Points((0..2 * none).map(Point::Store).collect())
    }

    /// System calls, at most `most` points of each kind with each kind of file, before and after.
    ///
    /// # Panics
    /// When the worker fails.
    pub fn call_points(&self, most: usize) -> Points {
        let count = |files: &Files| {
            let scratch = self.begin(false);
            self.task(&data(&scratch)).count_calls(files)
        };
        Points::at_calls(count, most)
    }

    /// Kills a worker at each of the points and judges what it left, two at a time. `nested` says for the point with this
    /// index how many second deaths to try there.
    ///
    /// # Panics
    /// When something is missing, does not open or does not continue.
    pub fn kill_all(&self, points: &Points, nested: &(dyn Fn(usize) -> Option<usize> + Sync)) -> Report {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut report = Report::default();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(point) = points.0.get(index) else { return report };
                report.add(&self.kill(index, point, nested(index)));
            }
        };
        std::thread::scope(|scope| {
            let workers = [scope.spawn(work), scope.spawn(work)];
            let mut report = Report::default();
            for worker in workers {
                report.add(&worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            report
        })
    }

    fn kill(&self, index: usize, point: &Point, nested: Option<usize>) -> Report {
        let what = format!("{} (seed {}), killed at {point:?}", self.name(), self.workload.seed);
        let mut report = Report::default();
        // Death is the same everywhere; a few on the usual file system, where syncing takes its time.
        let scratch = self.begin(index % 8 == 7);
        let dir = data(&scratch);
        let ran = self.task(&dir).killed_at(point);
        let reported = recovered::steps_reported(&self.expected, self.from, &ran.reported, &what);
        if !ran.killed {
            assert_eq!(reported, self.to, "{what}");
            report.missed = 1;
            return report;
        }
        match point {
            Point::Store(_) => report.stores = 1,
            Point::Call { name, .. } => {
                report.calls = 1;
                report.in_background = u64::from(ran.in_background);
                report.by_call.insert(name.clone(), 1);
            }
        }
        let done = recovered::inspect(&self.expected, &dir, reported, &what);
        if let Some(count) = nested {
            self.kill_again(&dir, done, matches!(point, Point::Call { .. }), count, &what, &mut report);
        }
        report.torn += u64::from(self.check_continues(&dir, done, index, &what));
        report
    }

    /// Kills the next process too, at up to `count` points while it recovers and makes a few steps, each in a copy.
    fn kill_again(&self, corpse: &Path, done: usize, at_calls: bool, count: usize, what: &str, report: &mut Report) {
        let fresh = || {
            let scratch = Scratch::new(false);
            if corpse.exists() {
                copy(corpse, &data(&scratch));
            }
            scratch
        };
        let to = self.workload.steps.len().min(done + 3);
        let points = if at_calls {
            let calls = |files: &Files| {
                let scratch = fresh();
                self.rest(&data(&scratch), done, to).count_calls(files)
            };
            Points::at_calls(calls, 3).spread(count)
        } else {
            Points((0..count as u64).map(Point::Store).collect())
        };
        for (index, point) in points.0.iter().enumerate() {
            let what = format!("{what}, and again at {point:?}");
            let scratch = fresh();
            let dir = data(&scratch);
            let ran = self.rest(&dir, done, to).killed_at(point);
            let reported = recovered::steps_reported(&self.expected, done, &ran.reported, &what);
            if !ran.killed {
                report.missed += 1;
                continue;
            }
            report.nested += 1;
            let done = recovered::inspect(&self.expected, &dir, reported, &what);
            report.torn += u64::from(self.check_continues(&dir, done, index, &what));
        }
    }

    fn check_continues(&self, dir: &Path, done: usize, index: usize, what: &str) -> bool {
        let torn = recovered::check_continues(
            &self.workload,
            &self.expected,
            dir,
            self.sync,
            done,
            recovered::Continuation::of(index),
            what,
        );
        if let WorkloadKind::Migration(name) = &self.workload.kind {
            self.assert_old_files_kept(name, dir, what);
        }
        torn
    }

    fn assert_old_files_kept(&self, name: &str, dir: &Path, what: &str) {
        for file in [files::LEGACY_AOF, files::LEGACY_SNAPSHOT] {
            let old = std::fs::read(sample(name).join(file)).ok();
            let kept = std::fs::read(dir.join(files::LEGACY_DIR).join(file)).ok();
            assert!(old == kept, "{what}: {file} of the old release");
        }
    }
}

fn expected_of(workload: &Workload, base: Option<&Path>) -> Arc<Expected> {
    let scratch = Scratch::new(false);
    if let Some(base) = base {
        copy(base, &data(&scratch));
    }
    Arc::new(run_undisturbed(workload, &data(&scratch)))
}
