//! What a power cut may take of a batch, and what closing leaves. Every crash state of whole scenarios is in `flint-torture`.

use crate::support::recovery::{START, clock_at, everything, open_at, options, tokens};
use flint_core::Engine;
use flint_core::engine::{OnChange, Options, SyncMode};
use flint_core::testing::sim::{CrashPlan, SimDisk};

#[test]
fn a_batch_that_is_never_flushed_loses_at_most_a_segment() {
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
