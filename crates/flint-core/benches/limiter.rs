//! What the engine's calls cost, on a real directory. `cargo bench -p flint-core --bench limiter [-- --quick]`.
//!
//! The directories are made under cargo's target directory, which is on the disk that is built on: a file system in memory
//! would make every sync free.

#![expect(clippy::unwrap_used, reason = "a benchmark that fails should stop")]

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use flint_core::Engine;
use flint_core::engine::{CallId, Check, Idempotent, Item, OnChange, Options, SyncMode};
use flint_core::limit::{Algorithm, Limit, parse_limit};
use tempfile::TempDir;

const MODES: [(&str, SyncMode); 2] = [("batch", SyncMode::Batch), ("always", SyncMode::Always)];
/// So much that no benchmark ever sees a denial, and a short period, so that a sliding log stays at its usual length.
const PLENTY: &str = "1000000000000/second";
/// Keys over which the events of the reopening and compaction benchmarks are spread.
const EVENT_KEYS: usize = 1_000;
const EVENTS: [usize; 3] = [1_000, 10_000, 1_000_000];

fn directory() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn open(path: &Path, sync: SyncMode) -> Engine {
    Engine::open(path, Options { sync, ..Options::default() }).unwrap()
}

fn plenty(algorithm: Algorithm) -> Limit {
    parse_limit(PLENTY, algorithm).unwrap()
}

/// One hot key: each algorithm, a cost above one, three rates together, and a denial.
fn check(c: &mut Criterion) {
    for (mode, sync) in MODES {
        let mut group = c.benchmark_group(format!("check/{mode}"));
        let dir = directory();
        let engine = open(dir.path(), sync);
        for algorithm in Algorithm::ALL {
            engine.limit(algorithm.name(), &plenty(algorithm), OnChange::Keep).unwrap();
            group.bench_function(algorithm.name(), |b| {
                b.iter(|| assert!(engine.check(black_box(algorithm.name()), 1, None).unwrap().allowed));
            });
        }
        let key = Algorithm::TokenBucket.name();
        group.bench_function("cost", |b| {
            let mut cost = 0;
            b.iter(|| {
                cost = cost % 1_000 + 1;
                assert!(engine.check(black_box(key), cost, None).unwrap().allowed);
            });
        });
        let three = parse_limit("1000000000000/s; 1000000000000/m; 1000000000000/h", Algorithm::TokenBucket).unwrap();
        engine.limit("three-rates", &three, OnChange::Keep).unwrap();
        group.bench_function("three_rates", |b| {
            b.iter(|| assert!(engine.check(black_box("three-rates"), 1, None).unwrap().allowed));
        });
        let once = parse_limit("1/day", Algorithm::TokenBucket).unwrap();
        engine.limit("denied", &once, OnChange::Keep).unwrap();
        assert!(engine.check("denied", 1, None).unwrap().allowed);
        group.bench_function("denied", |b| {
            b.iter(|| assert!(!engine.check(black_box("denied"), 1, None).unwrap().allowed));
        });
        group.finish();
    }
}

/// Three limits, all or nothing.
fn check_all(c: &mut Criterion) {
    let keys = ["user:42", "org:acme", "global"];
    let mut group = c.benchmark_group("check_all_3");
    for (mode, sync) in MODES {
        let dir = directory();
        let engine = open(dir.path(), sync);
        for (key, algorithm) in keys.into_iter().zip(Algorithm::ALL) {
            engine.limit(key, &plenty(algorithm), OnChange::Keep).unwrap();
        }
        let items = keys.map(|key| Item { key, cost: 1, limit: None });
        group.bench_function(mode, |b| {
            b.iter(|| assert!(engine.check_all(black_box(&items)).unwrap().allowed));
        });
    }
    group.finish();
}

/// A call that may be repeated, new each time and the same each time.
fn check_once(c: &mut Criterion) {
    let mut group = c.benchmark_group("check_once/batch");
    let dir = directory();
    let engine = open(dir.path(), SyncMode::Batch);
    engine.limit("key", &plenty(Algorithm::TokenBucket), OnChange::Keep).unwrap();
    let item = Item { key: "key", cost: 1, limit: None };
    let check = |number: u128| {
        let call = CallId { id: number.to_le_bytes(), fingerprint: [0; 8] };
        engine.run(&Idempotent { operation: Check::new(black_box(item)), call }).unwrap()
    };
    let mut number = 0;
    group.bench_function("first", |b| {
        b.iter(|| {
            number += 1;
            assert!(!check(number).repeated);
        });
    });
    group.bench_function("repeated", |b| {
        check(0);
        b.iter(|| assert!(check(0).repeated));
    });
    group.finish();
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("api:user-{i:06}")).collect()
}

/// New keys in an empty store, one call each or one call for all.
fn configure(c: &mut Criterion) {
    for count in [1_000_usize, 10_000] {
        let names = names(count);
        let limit = plenty(Algorithm::TokenBucket);
        let specs: Vec<_> = names.iter().map(|name| (name.as_str(), limit, OnChange::Keep)).collect();
        let mut group = c.benchmark_group(format!("configure/{count}"));
        group.sample_size(10).throughput(Throughput::Elements(count as u64));
        for (mode, sync) in MODES {
            let empty = || {
                let dir = directory();
                let engine = open(dir.path(), sync);
                (engine, dir)
            };
            group.bench_function(BenchmarkId::new("one_by_one", mode), |b| {
                b.iter_batched(
                    empty,
                    |(engine, dir)| {
                        for (key, limit, on_change) in &specs {
                            engine.limit(key, limit, *on_change).unwrap();
                        }
                        (engine, dir)
                    },
                    BatchSize::PerIteration,
                );
            });
            group.bench_function(BenchmarkId::new("limit_many", mode), |b| {
                b.iter_batched(
                    empty,
                    |(engine, dir)| {
                        engine.limit_many(&specs).unwrap();
                        (engine, dir)
                    },
                    BatchSize::PerIteration,
                );
            });
        }
        group.finish();
    }
}

/// A closed directory whose log holds this many allowed checks.
///
/// A store compacts by itself long before a million. With `whole` the name of the temporary snapshot is taken by a
/// directory meanwhile, so that no snapshot is made and the next open replays every event.
fn events(count: usize, whole: bool) -> TempDir {
    let dir = directory();
    let engine = open(dir.path(), SyncMode::Batch);
    let obstacle = dir.path().join("flint-snapshot.tmp");
    if whole {
        fs::create_dir(&obstacle).unwrap();
    }
    let limit = plenty(Algorithm::TokenBucket);
    let names = names(EVENT_KEYS.min(count));
    let specs: Vec<_> = names.iter().map(|name| (name.as_str(), limit, OnChange::Keep)).collect();
    engine.limit_many(&specs).unwrap();
    for event in 0..count {
        engine.check(&names[event % names.len()], 1, None).unwrap();
    }
    engine.close().unwrap();
    if whole {
        fs::remove_dir(&obstacle).unwrap();
        assert_eq!(engine.counters().compactions, 0);
    }
    dir
}

/// A copy to open: opening writes to the newest segment and to the lock file, everything else is shared by hard links.
fn copy(from: &Path) -> TempDir {
    let to = directory();
    let mut names: Vec<_> = fs::read_dir(from).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    let newest = names.iter().rfind(|name| Path::new(name).extension().is_some_and(|ext| ext == "aof")).cloned();
    for name in names {
        let written = Some(&name) == newest.as_ref() || Path::new(&name).extension().is_some_and(|ext| ext == "lock");
        if written {
            fs::copy(from.join(&name), to.path().join(&name)).unwrap();
        } else {
            fs::hard_link(from.join(&name), to.path().join(&name)).unwrap();
        }
    }
    to
}

/// Opening for writing, until the first check could be made: as the store compacted itself, and with the whole log to
/// replay.
fn reopen(c: &mut Criterion) {
    let mut group = c.benchmark_group("reopen");
    group.sample_size(10).measurement_time(Duration::from_secs(5));
    for count in EVENTS {
        for (what, whole) in [("as_it_was_left", false), ("whole_log", true)] {
            let store = events(count, whole);
            group.bench_function(BenchmarkId::new(what, count), |b| {
                b.iter_batched(
                    || copy(store.path()),
                    |dir| {
                        let engine = open(dir.path(), SyncMode::Always);
                        (engine, dir)
                    },
                    BatchSize::PerIteration,
                );
            });
        }
    }
    group.finish();
}

/// Writing a snapshot for a log that has none. After a million events opening starts the same compaction in the background;
/// then the call waits for that one.
fn compact(c: &mut Criterion) {
    let mut group = c.benchmark_group("compact");
    group.sample_size(10).measurement_time(Duration::from_secs(5));
    for count in EVENTS {
        let store = events(count, true);
        for (mode, sync) in MODES {
            group.bench_function(BenchmarkId::new(mode, count), |b| {
                b.iter_batched(
                    || {
                        let dir = copy(store.path());
                        let engine = open(dir.path(), sync);
                        (engine, dir)
                    },
                    |(engine, dir)| {
                        engine.compact().unwrap();
                        (engine, dir)
                    },
                    BatchSize::PerIteration,
                );
            });
        }
    }
    group.finish();
}

fn main() {
    let mut c = Criterion::default().configure_from_args();
    for benchmark in [check, check_all, check_once, configure, reopen, compact] {
        benchmark(&mut c);
    }
    c.final_summary();
}
