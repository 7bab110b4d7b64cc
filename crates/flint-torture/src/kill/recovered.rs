//! What has to be true of the directory that a killed process left.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use flint_core::Engine;
use flint_core::clock::ManualClock;
use flint_core::engine::{Options, SyncMode};

use crate::harness::{State, assert_repeatable};

use super::expected::Expected;
use super::session::{Session, options, resumed_ns};
use super::workload::Workload;

/// How many more steps are made after a recovery.
const MORE: usize = 8;

/// How many steps a worker that went on at `from` reported, each of them with the answer of an undisturbed workload.
///
/// # Panics
/// When it gave another answer.
pub(super) fn steps_reported(expected: &Expected, from: usize, reported: &[String], what: &str) -> usize {
    let answers = reported.iter().filter(|line| *line != "open" && *line != "closed");
    let mut done = from;
    for answer in answers {
        assert_eq!(*answer, expected.answers[done], "{what}: another answer than that of an undisturbed workload");
        done += 1;
    }
    done
}

/// Everything in a directory.
fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            all.extend(contents(&path));
        } else {
            all.insert(path.display().to_string(), fs::read(&path).expect("a file"));
        }
    }
    all
}

fn assert_sound(dir: &Path, what: &str) {
    let report = flint_core::doctor::examine(dir).unwrap_or_else(|error| panic!("{what}: doctor: {error}"));
    assert!(report.ok, "{what}: doctor: {:?}", report.problems);
}

/// Looks at what is there, which must change nothing, and returns the number of steps that it holds: those that were reported,
/// or one more.
///
/// # Panics
/// When it holds anything else.
pub(super) fn inspect(expected: &Expected, dir: &Path, reported: usize, what: &str) -> usize {
    if !dir.exists() {
        assert_eq!(reported, 0, "{what}: the directory is not there");
        return 0;
    }
    let before = contents(dir);
    assert_sound(dir, what);
    let clock = Arc::new(ManualClock::new(resumed_ns(reported)));
    let read_only = Options { read_only: true, ..options(SyncMode::Always, clock) };
    let engine = Engine::open(dir, read_only).unwrap_or_else(|error| panic!("{what}: read-only: {error}"));
    let seen = State::of(&engine).unwrap_or_else(|error| panic!("{what}: read-only: {error}"));
    assert!(contents(dir) == before, "{what}: looking changed a file");
    let holds = |done: &usize| expected.states.get(*done) == Some(&seen);
    [reported, reported + 1].into_iter().find(holds).unwrap_or_else(|| {
        let matching: Vec<usize> = (0..expected.states.len()).filter(holds).collect();
        panic!(
            "{what}: {reported} steps were reported, and the state is that after {matching:?}\n{}",
            difference(&seen, &expected.states[reported])
        )
    })
}

fn difference(seen: &State, expected: &State) -> String {
    let parted = seen.images.iter().zip(&expected.images).find(|(seen, expected)| seen != expected);
    let (keys, answers) = (seen.images.len(), &seen.answered);
    format!(
        "{keys} keys, {} expected; they part at {parted:?}; answers {answers:?}, {:?} expected",
        expected.images.len(),
        expected.answered
    )
}

fn assert_state(session: &Session, expected: &Expected, done: usize, what: &str) {
    let seen = session.state();
    assert!(
        seen == expected.states[done],
        "{what}: not the state after {done} steps: {}",
        difference(&seen, &expected.states[done])
    );
}

/// How a store continues after a recovery.
#[derive(Debug, Clone, Copy)]
pub(super) struct Continuation {
    /// The first session after the recovery ends before it wrote anything of its own.
    pub(super) idle_first: bool,
    /// To the end of its workload, not only some steps.
    pub(super) to_the_end: bool,
}

impl Continuation {
    /// Each kind now and then.
    pub(super) const fn of(index: usize) -> Self {
        Self { idle_first: (index / 2).is_multiple_of(2), to_the_end: index % 16 == 15 }
    }
}

/// The store continues after `done` steps: opened, written to, closed, opened again. Returns whether a torn tail was cut.
///
/// # Panics
/// When anything is not as in an undisturbed workload.
pub(super) fn check_continues(
    workload: &Workload,
    expected: &Expected,
    dir: &Path,
    sync: SyncMode,
    done: usize,
    continuation: Continuation,
    what: &str,
) -> bool {
    let open = |wall_ns: u64| Session::open(dir, sync, wall_ns, true).unwrap_or_else(|error| panic!("{what}: {error}"));
    let mut session = open(resumed_ns(done));
    assert_state(&session, expected, done, what);
    assert_repeatable(&session.engine, what);
    let torn = session.engine.recovery().cut_bytes > 0;
    if continuation.idle_first {
        session = closed_and_opened(session, &open, dir, what);
        assert_state(&session, expected, done, what);
    }
    let end = if continuation.to_the_end { workload.steps.len() } else { workload.steps.len().min(done + MORE) };
    for n in done..end {
        assert_eq!(session.execute(n, &workload.steps[n]), expected.answers[n], "{what}: after the recovery");
        assert_state(&session, expected, n + 1, what);
    }
    session = closed_and_opened(session, &open, dir, what);
    assert_state(&session, expected, end, what);
    session.engine.close().unwrap_or_else(|error| panic!("{what}: {error}"));
    torn
}

/// A clean end and a new beginning, at the same moment, which change nothing, not even denial totals.
fn closed_and_opened(session: Session, open: &dyn Fn(u64) -> Session, dir: &Path, what: &str) -> Session {
    let listed =
        |session: &Session| session.engine.list(None, None, None).unwrap_or_else(|error| panic!("{what}: {error}"));
    let (before, wall_ns) = (listed(&session), session.wall_ns());
    session.engine.close().unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_sound(dir, what);
    let session = open(wall_ns);
    let recovery = session.engine.recovery();
    assert!(recovery.clean, "{what}: it was closed after the recovery: {recovery:?}");
    assert!(listed(&session) == before, "{what}: closing and opening changed something");
    session
}
