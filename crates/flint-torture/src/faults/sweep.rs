//! A fault at every operation of a scenario.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use flint_core::testing::sim::Fault;

use super::run::run;
use super::tally::Tally;
use crate::expected_states::ExpectedStates;
use crate::scenario::Scenario;

/// Goes through all operations of a executed scenario (or its reads), on two threads, and further until a fault strikes no more. What
/// cannot fail in this way, like a store into a mapping, is passed over.
///
/// # Panics
/// At the first broken promise, saying how to get there.
pub fn sweep(scenario: &Scenario, expected: &ExpectedStates, fault: Fault, sticky: bool, tally: &Tally) {
    let end = expected.disks.last().expect("a recording has an end");
    let without_faults = if fault == Fault::ReadFails { end.reads() } else { end.ops() };
    let (next, last) = (AtomicU64::new(0), AtomicU64::new(0));
    let work = || {
        loop {
            let op = next.fetch_add(1, Ordering::Relaxed);
            if fault == Fault::FsyncFails && !is_sync(expected, op) {
                // It would wait for the next sync, which has a turn of its own.
                continue;
            }
            if run(scenario, expected, fault, sticky, op, tally) {
                last.fetch_max(op, Ordering::Relaxed);
            } else if op >= without_faults {
                break;
            }
        }
    };
    thread::scope(|scope| {
        let other = scope.spawn(work);
        work();
        if let Err(panic) = other.join() {
            std::panic::resume_unwind(panic);
        }
    });
    let closing = expected.marks.iter().rev().nth(1).expect("opening and closing").ops;
    let last = last.into_inner();
    let reached = matches!(fault, Fault::MapFails | Fault::ReadFails) || last >= closing;
    assert!(
        reached,
        "scenario {:?}, {fault:?}: the last one was at operation {last}, close() began at {closing}",
        scenario.name
    );
}

/// Whether operation `op` of the executed scenario was a sync; those behind its end count as ones.
fn is_sync(expected: &ExpectedStates, op: u64) -> bool {
    let at = |op: u64| usize::try_from(op).ok().and_then(|op| expected.disks.get(op));
    let (Some(before), Some(after)) = (at(op), at(op + 1)) else { return true };
    after.syncs() > before.syncs()
}
