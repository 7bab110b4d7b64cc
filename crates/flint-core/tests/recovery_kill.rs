//! The process dies at every operation of a short life. The page cache lives on, so that in either mode nothing that was
//! acknowledged may be missing; and what a dead process left unsynced is made durable by the next one before it answers.

mod recovery_support;

use flint_core::engine::SyncMode;
use flint_core::storage::sim::{CrashPlan, SimDisk};
use recovery_support::script;
use recovery_support::{everything, goes_on, identify, open_at, without_denials};

#[expect(clippy::print_stdout, reason = "how much was tried belongs into the test's output")]
fn sweep(sync: SyncMode) {
    let rehearsal = script::rehearse(sync);
    let known = &rehearsal.moments;
    let (mut kills, mut cuts) = (0, 0);
    for op in 0.. {
        let disk = SimDisk::new();
        disk.crash_at(op);
        let run = script::run(&disk, sync, Some(known));
        if run.finished && !disk.crashed() {
            break;
        }
        kills += 1;
        let what = format!("{sync:?}, killed at operation {op}");
        let index = identify(&disk.kill(), sync, known, &run, run.moments.len() - 1, &what);
        let moment = &known[index];
        // The power goes while the next process opens: only what was durable is promised, but the store has to open.
        for cut in 0.. {
            let next = disk.kill();
            next.crash_at(cut);
            let opened = open_at(&next, sync, moment.wall_ns);
            if !next.crashed() {
                // It is open: what it shows is durable.
                let seen = opened.map(|engine| without_denials(everything(&engine))).unwrap();
                let after = next.power_cut(CrashPlan::LoseUnsynced);
                let again = open_at(&after, sync, moment.wall_ns).unwrap_or_else(|error| panic!("{what}: {error}"));
                assert_eq!(without_denials(everything(&again)), seen, "{what}: shown by open and lost by a power cut");
                break;
            }
            drop(opened);
            for plan in [CrashPlan::LoseUnsynced, CrashPlan::Random(cut), CrashPlan::Random(op * 1_000 + cut)] {
                let what = format!("{what}, power cut at operation {cut} of the next opening, {plan:?}");
                identify(&next.power_cut(plan), sync, known, &run, run.durable, &what);
                cuts += 1;
            }
        }
        goes_on(&disk.kill(), sync, moment, &what);
    }
    println!("{sync:?}: {kills} kills, {cuts} power cuts while the next process opened");
    assert!(kills >= 120, "{kills}");
    assert!(cuts >= 2_500, "{cuts}");
}

#[test]
fn at_every_operation_with_sync_always() {
    sweep(SyncMode::Always);
}

#[test]
fn at_every_operation_with_sync_batch() {
    sweep(SyncMode::Batch);
}
