//! The power is cut at every operation of a short life, and what the disk may have kept is opened again: the state is the one
//! after some prefix of the calls, with everything in it that was promised to be there.

mod recovery_support;

use flint_core::Engine;
use flint_core::engine::{OnChange, Options, SyncMode};
use flint_core::storage::sim::{CrashPlan, SimDisk};
use recovery_support::script::{self, Moment};
use recovery_support::{
    START, clock_at, everything, goes_on, identify, open_at, options, plans, tokens, without_denials,
};

/// Cuts the power once more at every operation of the reopening; what is recovered then must be the same.
fn crash_while_opening(disk: &SimDisk, sync: SyncMode, moment: &Moment, what: &str) -> usize {
    let mut states = 0;
    for op in 0.. {
        let second = disk.kill();
        second.crash_at(op);
        let opened = open_at(&second, sync, moment.wall_ns);
        if !second.crashed() {
            break;
        }
        drop(opened);
        for plan in [CrashPlan::LoseUnsynced, CrashPlan::Random(op * 31 + 7)] {
            let what = format!("{what}, then at operation {op} of the opening with {plan:?}");
            let third = second.power_cut(plan);
            let engine = open_at(&third, sync, moment.wall_ns).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(without_denials(everything(&engine)), moment.statuses, "{what}");
            states += 1;
        }
    }
    states
}

#[expect(clippy::print_stdout, reason = "how much was tried belongs into the test's output")]
fn sweep(sync: SyncMode) {
    let rehearsal = script::rehearse(sync);
    let known = &rehearsal.moments;
    let (mut crashes, mut states, mut nested, mut lost) = (0, 0, 0, 0);
    for op in 0.. {
        let disk = SimDisk::new();
        disk.crash_at(op);
        let run = script::run(&disk, sync, Some(known));
        if run.finished && !disk.crashed() {
            break;
        }
        crashes += 1;
        for plan in plans(&disk, op, 3) {
            let what = format!("{sync:?}, power cut at operation {op}, {plan:?}");
            let after = disk.power_cut(plan);
            let index = identify(&after, sync, known, &run, run.durable, &what);
            lost += usize::from(index + 1 < run.moments.len());
            states += 1;
            if plan == CrashPlan::KeepAll || matches!(plan, CrashPlan::Random(seed) if seed % 3 == 0) {
                nested += crash_while_opening(&after, sync, &known[index], &what);
            }
            goes_on(&after, sync, &known[index], &what);
        }
    }
    println!("{sync:?}: {crashes} power cuts, {states} states, {nested} crashes while opening, {lost} lost a suffix");
    assert!(crashes >= 120, "{crashes}");
    assert!(states >= 700, "{states}");
    assert!(nested >= 2_000, "{nested}");
    assert_eq!(lost > 0, sync == SyncMode::Batch, "only batch mode loses calls that returned");
}

#[test]
fn at_every_operation_with_sync_always() {
    sweep(SyncMode::Always);
}

#[test]
fn at_every_operation_with_sync_batch() {
    sweep(SyncMode::Batch);
}

#[test]
fn a_batch_that_nobody_flushes_loses_at_most_a_segment() {
    let disk = SimDisk::new();
    let never = Options { flush_every_events: u64::MAX, ..options(SyncMode::Batch, &clock_at(START)) };
    let engine = Engine::open_in(disk.dir(), never).unwrap();
    engine.limit("k", &tokens("1000000/hour"), OnChange::Keep).unwrap();
    for made in 1..=2_000_u64 {
        engine.check("k", 1, None).unwrap();
        if made % 100 == 0 {
            let after = open_at(&disk.power_cut(CrashPlan::LoseUnsynced), SyncMode::Batch, START).unwrap();
            let kept = after.status("k").unwrap().map_or(0, |status| status.total_allowed);
            // 16 KiB of records of 64 bytes.
            assert!(made - kept <= 256, "{made} made, {kept} kept");
        }
    }
}

#[test]
fn a_closed_store_is_closed_after_a_power_cut_too() {
    for sync in [SyncMode::Always, SyncMode::Batch] {
        let disk = SimDisk::new();
        let engine = open_at(&disk, sync, START).unwrap();
        engine.limit("k", &tokens("2/hour"), OnChange::Keep).unwrap();
        for _ in 0..5 {
            engine.check("k", 1, None).unwrap();
        }
        let before = everything(&engine);
        engine.close().unwrap();
        let engine = open_at(&disk.power_cut(CrashPlan::LoseUnsynced), sync, START).unwrap();
        assert!(engine.recovery().clean, "{sync:?}");
        assert_eq!(everything(&engine), before, "{sync:?}: denials included");
    }
}
