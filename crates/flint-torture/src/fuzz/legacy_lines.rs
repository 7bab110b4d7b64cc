//! The files of releases 0.1 and 0.2: they are read into a state that can be carried on, or refused, and never changed.
//!
//! The first byte of an input says whether checksums are put right and whether there is a snapshot, whose state then comes
//! before a byte 0xff; what follows is the log.

use std::sync::Arc;

use flint_core::clock::ManualClock;
use flint_core::image::KeyImage;
use flint_core::legacy::{self, LegacyStore};
use flint_core::limit::Algorithm;
use flint_core::testing::sim::SimDisk;
use flint_core::{Engine, Error, files};

use super::editable::{fix_old_line, old_snapshot, sha256_hex};
use super::features::Features;
use super::stores::{self, LATER};
use crate::directory;

pub(super) const MAX_LEN: usize = 5_000;

const FIX: u8 = 1;
const SNAPSHOT: u8 = 2;
const END_OF_SNAPSHOT: u8 = 0xff;

pub(super) const WORDS: [&[u8]; 34] = [
    b"\"ALLOW\"",
    b"\"ALLOW_ALL\"",
    b"\"DENY\"",
    b"\"RESET\"",
    b"\"LIMIT_CONFIGURED\"",
    b"\"token_bucket\"",
    b"\"sliding_window_log\"",
    b"\"fixed_window_counter\"",
    b"\"per_seconds\":60,",
    b"\"per_millis\":1000,",
    b"\"cost\":4,",
    b"\"version\":1,",
    b"\"version\":2,",
    b"\"aof_offset\":0,",
    b"\"key\":\"b\",",
    b"\"key\":\"\",",
    b"\"tokens\":1e300",
    b"-0.0",
    b"1e-300",
    b"-5",
    b"null",
    b"[]",
    b"{}",
    b"2554-07-21T23:34:33Z",
    b"1970-01-01T00:00:00Z",
    b"2026-02-29T00:00:00Z",
    b"+23:59",
    b"\\ud83d\\ude00",
    b"\\u0000",
    b"\n",
    b"\0",
    b"\xff",
    b",\"checksum\":\"\"",
    b"{\"ts\":\"2026-01-01T00:00:15Z\",\"event\":{\"type\":\"LIMIT_CONFIGURED\",\"config\":{\"key\":\"b\",\"rate\":7,\"per_seconds\":1,\"algorithm\":\"sliding_window_log\"}}}\n",
];

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![vec![], vec![0], vec![1], vec![3, b'{', b'}', 0xff]];
    for editable in stores::all() {
        let Some(log) = &editable.old_log else { continue };
        for part in log.chunks(8).take(4) {
            seeds.push([&[FIX], part.join(&b'\n').as_slice(), b"\n"].concat());
        }
        if let Some(state) = &editable.old_state {
            seeds.push([&[FIX | SNAPSHOT], state.as_slice(), &[END_OF_SNAPSHOT], &log.join(&b'\n'), b"\n"].concat());
        }
    }
    seeds
}

pub(super) fn execute(input: &[u8], features: &mut Features) {
    let Some((&flags, rest)) = input.split_first() else { return };
    let fix = flags & FIX != 0;
    let (state, log) = match rest.iter().position(|&byte| byte == END_OF_SNAPSHOT) {
        Some(at) if flags & SNAPSHOT != 0 => (Some(&rest[..at]), &rest[at + 1..]),
        _ => (None, rest),
    };
    let disk = SimDisk::new();
    if let Some(state) = state {
        let digits = if fix { sha256_hex(state) } else { "0".repeat(64) };
        disk.write_file(files::LEGACY_SNAPSHOT, &old_snapshot(state, &digits));
    }
    let log = if fix {
        log.split(|&byte| byte == b'\n').map(fix_old_line).collect::<Vec<_>>().join(&b'\n')
    } else {
        log.to_vec()
    };
    disk.write_file(files::LEGACY_AOF, &log);
    let before = directory::files_of(&disk);
    let result = legacy::read(&*disk.dir());
    assert_eq!(disk.ops(), 0, "reading changes nothing");
    let clock = Arc::new(ManualClock::new(LATER));
    match result {
        Ok(None) => features.note("read", "nothing"),
        Ok(Some(store)) => {
            judge(&store, log.len(), features);
            let engine = match Engine::open_in(disk.dir(), stores::options(&clock)) {
                Ok(engine) => engine,
                Err(error) => panic!("it can be read and not be migrated: {error}"),
            };
            assert_eq!(engine.recovery().migrated_from, Some(store.release));
            let migrated = engine.images().expect("an open store");
            same(&store.images, &migrated);
            engine.close().expect("a good disk");
            let again = Engine::open_in(disk.dir(), stores::options(&clock)).expect("a store that was closed opens");
            assert_eq!(again.images().expect("an open store"), migrated);
        }
        Err(error @ (Error::Corrupt { .. } | Error::Unsupported { .. })) => {
            features.note("refused", &error);
            let refused = Engine::open_in(disk.dir(), stores::options(&clock));
            assert!(refused.is_err(), "it cannot be read and was migrated");
            let mut after = directory::files_of(&disk);
            after.remove(files::LOCK);
            assert!(after == before, "refused and changed");
        }
        Err(error) => panic!("another kind of error: {error:?}"),
    }
}

/// The store is one that today's release could have reached.
fn judge(store: &LegacyStore, log_len: usize, features: &mut Features) {
    assert_eq!(store.aof_bytes, log_len as u64);
    assert!(store.torn_tail.is_none_or(|at| at < log_len as u64));
    assert!(store.events.is_sorted_by_key(|event| event.at_ns), "time goes back");
    assert!(store.events.iter().all(|event| event.count == 1 && event.at_ns <= store.newest_ns));
    features.note("read", format_args!("{} {}", store.release, store.torn_tail.is_some()));
    features.count("events", store.events.len() as u64);
    features.count("images", store.images.len() as u64);
    for event in &store.events {
        features.note("event", event.kind.name());
    }
    for (image, id) in store.images.iter().zip(1..) {
        assert_eq!((image.id, image.seq, image.rates.len(), image.states.len()), (id, 1, 1, 1));
        let rate = &image.rates[0];
        features.note("rate", format_args!("{} {}", rate.algorithm().name(), image.out_of_bounds));
        let numbers = &image.states[0];
        assert!(rate.algorithm().accepts(numbers), "{image:?}");
        match rate.algorithm() {
            Algorithm::TokenBucket => {
                assert!(numbers[0] <= u128::from(rate.capacity()) * u128::from(rate.per_ns()), "{image:?}");
            }
            Algorithm::FixedWindowCounter => assert!(numbers[1] <= u128::from(rate.limit()), "{image:?}"),
            Algorithm::SlidingWindowLog => {
                let (runs, _) = numbers.as_chunks::<2>();
                assert!(runs.is_sorted_by(|a, b| a[0] < b[0]) && runs.iter().all(|run| run[1] > 0), "{image:?}");
                assert!(runs.iter().map(|run| run[1]).sum::<u128>() <= u128::from(rate.limit()), "{image:?}");
                features.count("runs", runs.len() as u64);
            }
        }
    }
}

/// Migration carries every key over as it was read.
fn same(old: &[KeyImage], migrated: &[KeyImage]) {
    let mut old: Vec<_> = old.iter().collect();
    old.sort_by(|a, b| a.key.cmp(&b.key));
    assert_eq!(old.len(), migrated.len());
    for (old, new) in old.iter().zip(migrated) {
        assert_eq!((&old.key, old.id, &old.rates, &old.states), (&new.key, new.id, &new.rates, &new.states));
        assert_eq!((old.out_of_bounds, old.totals.allowed), (new.out_of_bounds, new.totals.allowed));
    }
}
