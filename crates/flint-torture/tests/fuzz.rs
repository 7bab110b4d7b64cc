//! Every input of the corpus, then a short run of new ones, for each target. `make soak` does the same for longer.

use flint_torture::evidence;
use flint_torture::fuzz::{self, Budget, Counting, Target};
use flint_torture::random::Random;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs a target for so many new inputs and counts them.
fn fuzz(target: Target, inputs: u64) {
    assert!(fuzz::is_counted(), "memory is not counted");
    let report = fuzz::run_for(target, Budget::Inputs(inputs), Random::seed());
    assert!(report.executions >= inputs, "{report:?}");
    assert!(report.features >= 20, "hardly anything was reached: {report:?}");
    evidence::record(&target.evidence(), report.executions);
}

#[test]
fn records() {
    fuzz(Target::Records, 40_000);
}

#[test]
fn snapshot_lines() {
    fuzz(Target::Snapshot, 60_000);
}

#[test]
fn lines_of_old_releases() {
    fuzz(Target::Legacy, 12_000);
}

#[test]
fn rate_grammar() {
    fuzz(Target::Grammar, 60_000);
}

#[test]
fn directories_with_right_checksums() {
    fuzz(Target::Directories, 5_000);
}

/// The corpus stays what it is for: small, and free of failures that were not mended.
#[test]
fn the_corpus_is_there_and_bounded() {
    for target in Target::ALL {
        let report = fuzz::replay(target);
        assert!(report.executions >= 20, "{}: {report:?}", target.name());
        assert!(report.executions <= 220, "{}: {report:?}", target.name());
    }
}
