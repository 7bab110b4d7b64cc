//! The answers and states of a workload that nothing disturbs.

use std::path::Path;

use flint_core::engine::SyncMode;

use super::session::{Session, resumed_ns};
use super::workload::Workload;
use crate::harness::State;

/// What an undisturbed workload shows.
#[derive(Debug)]
pub(super) struct Expected {
    /// The state after so many steps.
    pub(super) states: Vec<State>,
    /// The answer of each.
    pub(super) answers: Vec<String>,
}

/// Executes all of it, without threads, in the empty directory (or the old store) `path`.
///
/// # Panics
/// When anything fails.
pub(super) fn run_undisturbed(workload: &Workload, path: &Path) -> Expected {
    let mut session =
        Session::open(path, SyncMode::Batch, resumed_ns(0), false).expect("a directory that can be opened");
    let mut expected = Expected { states: vec![session.state()], answers: Vec::new() };
    for (n, step) in workload.steps.iter().enumerate() {
        expected.answers.push(session.execute(n, step));
        expected.states.push(session.state());
    }
    session.engine.close().expect("an undisturbed close");
    expected
}
