//! Time across restarts, history across compactions, and snapshots taken beside running calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::recovery::{
    SECOND, START, assert_same, clock_at, everything, limit, options, tokens, without_denials,
};
use flint_core::clock::{Clock, ManualClock};
use flint_core::engine::{Item, OnChange, Options, SyncMode};
use flint_core::limit::Algorithm;
use flint_core::testing::sim::{CrashPlan, SimDisk};
use flint_core::{Engine, Error, files};

const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const YEAR: u64 = 365 * 24 * HOUR;

/// A session that starts when the wall clock says `wall_ns`.
fn session(disk: &SimDisk, wall_ns: u64) -> (Engine, Arc<ManualClock>) {
    let clock = clock_at(wall_ns);
    (Engine::open_in(disk.dir(), options(SyncMode::Always, &clock)).unwrap(), clock)
}

/// Takes whatever is left of "k".
fn take_all(engine: &Engine) -> u64 {
    let mut taken = 0;
    while engine.check("k", 1, None).unwrap().allowed {
        taken += 1;
    }
    taken
}

fn each_algorithm(test: impl Fn(&SimDisk)) {
    for algorithm in Algorithm::ALL {
        let disk = SimDisk::new();
        let (engine, _) = session(&disk, START);
        engine.limit("k", &limit("10/hour", algorithm), OnChange::Keep).unwrap();
        assert_eq!(take_all(&engine), 10);
        engine.close().unwrap();
        test(&disk);
    }
}

#[test]
fn a_wall_clock_that_goes_back_gives_nothing() {
    each_algorithm(|disk| {
        for wall in [START - MINUTE, START - YEAR, START - 2 * YEAR, 0] {
            let (engine, clock) = session(disk, wall);
            assert_eq!(take_all(&engine), 0);
            clock.advance_ns(MINUTE);
            drop(engine);
        }
        // The minutes that passed while it was running count.
        let (engine, clock) = session(disk, 0);
        clock.advance_ns(HOUR);
        assert_eq!(take_all(&engine), 10);
    });
}

#[test]
fn time_that_passed_between_sessions_counts_once() {
    each_algorithm(|disk| {
        let (engine, _) = session(disk, START + 59 * MINUTE + 59 * SECOND);
        assert!(take_all(&engine) < 10);
        drop(engine);
        let (engine, _) = session(disk, START + HOUR + 1);
        drop(engine);
        for _ in 0..3 {
            // Opening again and again does not count the same hour again.
            let (engine, _) = session(disk, START + HOUR + SECOND);
            drop(engine);
        }
        let (engine, _) = session(disk, START + HOUR + 2 * SECOND);
        let taken = take_all(&engine);
        assert!((1..=10).contains(&taken), "{taken}");
        drop(engine);
        let (engine, _) = session(disk, START + HOUR + 2 * SECOND);
        assert_eq!(take_all(&engine), 0);
    });
}

#[test]
fn a_clock_that_was_ahead_and_is_put_right_harms_no_key() {
    each_algorithm(|disk| {
        // At most one window is given away.
        let (engine, _) = session(disk, START + 20 * YEAR);
        assert_eq!(take_all(&engine), 10);
        engine.close().unwrap();
        let (engine, clock) = session(disk, START + MINUTE);
        assert_eq!(take_all(&engine), 0);
        clock.advance_ns(HOUR);
        assert_eq!(take_all(&engine), 10, "time goes on at once, not in twenty years");
        let status = engine.status("k").unwrap().unwrap();
        assert_eq!(status.last_allowed_at_ns, Some(clock.wall_ns()), "people see the wall clock");
        engine.close().unwrap();
        let (engine, _) = session(disk, clock.wall_ns() + HOUR);
        assert_eq!(take_all(&engine), 10, "also across the next restart");
    });
}

#[test]
fn a_step_while_running_changes_nothing_and_is_anchored_at_the_next_flush() {
    each_algorithm(|disk| {
        for (step, kill) in [(5 * HOUR, false), (5 * HOUR, true), (0, false), (0, true)] {
            let disk = disk.kill();
            let (engine, clock) = session(&disk, START + MINUTE);
            take_all(&engine);
            let wall = if step > 0 { START + step } else { START - 5 * HOUR };
            clock.set_wall_ns(wall);
            assert_eq!(take_all(&engine), 0);
            // Something to flush; the anchor goes with it.
            engine.limit("other", &tokens("5/minute"), OnChange::Keep).unwrap();
            engine.flush().unwrap();
            let disk = if kill { disk.kill() } else { disk };
            if !kill {
                engine.close().unwrap();
            }
            let (engine, _) = session(&disk, wall);
            assert_eq!(take_all(&engine), 0, "step {step}, kill {kill}: nothing passed but the step");
            drop(engine);
            let (engine, _) = session(&disk, wall + HOUR);
            assert_eq!(take_all(&engine), 10, "step {step}, kill {kill}");
        }
    });
}

#[test]
fn a_snapshot_pairs_the_clocks_as_the_log_does() {
    let disk = SimDisk::new();
    let (engine, clock) = session(&disk, START);
    engine.limit("k", &tokens("10/hour"), OnChange::Keep).unwrap();
    assert_eq!(take_all(&engine), 10);
    // A second's step needs no anchor, and neither does the step back: only the snapshot saw the clock in between.
    clock.set_wall_ns(START + SECOND);
    engine.compact().unwrap();
    clock.set_wall_ns(START - 1);
    engine.flush().unwrap();
    let (engine, _) = session(&disk.kill(), START + HOUR / 10);
    assert_eq!(take_all(&engine), 1, "a tenth of an hour passed, as the log's anchor tells");
}

#[test]
fn time_survives_a_power_cut_and_never_goes_back() {
    let disk = SimDisk::new();
    let (engine, clock) = session(&disk, START);
    engine.limit("k", &tokens("10/hour"), OnChange::Keep).unwrap();
    let mut seen = 0;
    let mut disk = disk.kill();
    drop(engine);
    for round in 0..20 {
        let wall = clock.wall_ns() + if round % 3 == 0 { 0 } else { round * MINUTE } - (round % 4) * 5 * MINUTE;
        let (engine, clock) = session(&disk, wall);
        clock.advance_ns(SECOND);
        let outcome = engine.check("k", 1, None).unwrap();
        let events = engine.history("k", 1_000).unwrap();
        assert!(events.len() >= seen, "history is kept");
        seen = events.len();
        assert!(outcome.remaining <= 10);
        disk = disk.power_cut(CrashPlan::LoseUnsynced);
    }
}

/// Segments of the disk.
fn segments(disk: &SimDisk) -> Vec<u64> {
    disk.dir().list().unwrap().iter().filter_map(|name| files::parse_segment_name(name)).collect()
}

#[test]
fn history_is_kept_within_its_bound_and_its_gaps_are_noticed() {
    let disk = SimDisk::new();
    let clock = clock_at(START);
    let with = |history_bytes| Options { history_bytes, ..options(SyncMode::Batch, &clock) };
    let engine = Engine::open_in(disk.dir(), with(48 << 10)).unwrap();
    engine.limit("k", &tokens("1000000/hour"), OnChange::Keep).unwrap();
    while engine.counters().rotations < 10 {
        engine.check("k", 1, None).unwrap();
    }
    assert_eq!(segments(&disk).len(), 11);
    engine.flush().unwrap();
    engine.compact().unwrap();
    assert_eq!(segments(&disk).len(), 4, "three of 16 KiB and the active one");
    let events = engine.history("k", 100_000).unwrap().len();
    // Three segments of 254 records at most, less the room that is kept for denial totals and the close record.
    assert!((600..1_000).contains(&events), "{events}");
    let before = everything(&engine);
    engine.close().unwrap();

    // The oldest may go, one in the middle may not.
    let oldest_gone = disk.kill();
    let names = segments(&disk);
    oldest_gone.dir().remove(&files::segment_name(names[0])).unwrap();
    let engine = Engine::open_in(oldest_gone.dir(), with(48 << 10)).unwrap();
    assert_eq!(everything(&engine), before);
    drop(engine);
    let gap = disk.kill();
    gap.dir().remove(&files::segment_name(names[1])).unwrap();
    assert!(matches!(Engine::open_in(gap.dir(), with(48 << 10)), Err(Error::Corrupt { .. })));

    // A smaller bound takes effect at the next compaction.
    let engine = Engine::open_in(disk.dir(), with(0)).unwrap();
    engine.check("k", 1, None).unwrap();
    engine.compact().unwrap();
    assert_eq!(segments(&disk).len(), 1);
    let before = without_denials(everything(&engine));
    drop(engine);
    let engine = Engine::open_in(disk.power_cut(CrashPlan::LoseUnsynced).dir(), with(0)).unwrap();
    assert_eq!(without_denials(everything(&engine)), before);
}

/// First and last record of the newest snapshot.
fn newest_span(disk: &SimDisk) -> (u64, u64) {
    let names = disk.dir().list().unwrap();
    let start = names.iter().filter_map(|name| files::parse_snapshot_name(name)).max().unwrap();
    let text = String::from_utf8(disk.read_file(&files::snapshot_name(start)).unwrap()).unwrap();
    let trailer: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    (start, trailer["end"].as_u64().unwrap())
}

#[test]
#[expect(clippy::print_stdout, reason = "how much was tried belongs into the test's output")]
fn a_snapshot_beside_running_calls_and_the_log_behind_it_give_the_live_state() {
    let (mut overlapping, mut rounds) = (0, 0_u64);
    while overlapping < 60 && rounds < 1_000 {
        rounds += 1;
        let disk = SimDisk::new();
        let clock = clock_at(START);
        let options = Options { history_bytes: 0, ..options(SyncMode::Batch, &clock) };
        let engine = Engine::open_in(disk.dir(), options.clone()).unwrap();
        let keys: Vec<String> = (0..2_000).map(|n| format!("key-{n}")).collect();
        let rate = limit("50/minute; 70/hour", Algorithm::SlidingWindowLog);
        let specs: Vec<_> = keys.iter().map(|key| (key.as_str(), rate, OnChange::Keep)).collect();
        engine.limit_many(&specs).unwrap();
        let started = AtomicBool::new(false);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut n = rounds;
                while !done.load(Ordering::Acquire) {
                    n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let at = |shift: u32| keys[usize::try_from(n >> shift).unwrap() % keys.len()].as_str();
                    let (key, other) = (at(33), at(20));
                    let given = tokens("20/minute");
                    match n >> 60 {
                        0..2 => drop(engine.delete(key)),
                        2..4 => engine
                            .limit(key, &tokens(&format!("{}/minute", 5 + (n >> 50) % 9)), OnChange::Keep)
                            .unwrap(),
                        4 => drop(engine.reset(key)),
                        5..7 if key != other => {
                            let item = |key| Item { key, cost: 2, limit: Some(&given) };
                            drop(engine.check_all(&[item(key), item(other)]).unwrap());
                        }
                        _ => drop(engine.check(key, 1, Some(&given)).unwrap()),
                    }
                    started.store(true, Ordering::Release);
                }
            });
            while !started.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
            for _ in 0..3 {
                // Here, and not beside the snapshot: the two readings of this clock do not move as one.
                clock.advance_ns(1_000_000);
                engine.compact().unwrap();
                let (start, end) = newest_span(&disk);
                overlapping += u64::from(end > start);
            }
            done.store(true, Ordering::Release);
        });
        let live = without_denials(everything(&engine));
        let killed = disk.kill();
        engine.flush().unwrap();
        let cut = disk.power_cut(CrashPlan::LoseUnsynced);
        for (after, what) in [(killed, "killed"), (cut, "power cut")] {
            let engine =
                Engine::open_in(after.dir(), options.clone()).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_same(&without_denials(everything(&engine)), &live, &format!("round {rounds}, {what}"));
        }
    }
    println!("{rounds} rounds, {overlapping} snapshots with calls between their slices");
    assert!(overlapping >= 20, "{overlapping} of {rounds} rounds");
}
