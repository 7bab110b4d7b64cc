//! Every storage operation of short stories fails once, and from then on.

use std::sync::atomic::Ordering;

use flint_torture::evidence::record;
use flint_torture::faults::{FAULTS, Tally, sweep};
use flint_torture::ledger::tell;
use flint_torture::stage::MODES;
use flint_torture::story;

#[test]
fn a_fault_at_any_operation_breaks_no_promise() {
    let tally = Tally::default();
    for story in story::all() {
        // Migrating the large sample takes some milliseconds each time, and its operations are those of the others.
        if story.before.iter().any(|(_, bytes)| bytes.len() > 100_000) {
            continue;
        }
        for sync in MODES {
            let ledger = tell(&story, sync);
            for fault in FAULTS {
                for sticky in [false, true] {
                    let before = tally.struck.load(Ordering::Relaxed);
                    sweep(&story, &ledger, fault, sticky, &tally);
                    let struck = tally.struck.load(Ordering::Relaxed) - before;
                    assert!(struck > 5, "{fault:?} struck {struck} times in {:?}", story.name);
                }
            }
        }
    }
    for (name, count, least) in [
        ("faults", &tally.struck, 4_000),
        ("faults_resumed", &tally.resumed, 500),
        ("faults_stopped", &tally.stopped, 500),
        ("faults_at_open", &tally.reopened, 500),
    ] {
        let count = count.load(Ordering::Relaxed);
        record(name, count);
        assert!(count >= least, "{name}: {count}");
    }
}
