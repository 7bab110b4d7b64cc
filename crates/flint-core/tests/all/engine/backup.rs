//! Copies of a store that is in use: on real files, each compared with what the engine held.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use flint_core::clock::ManualClock;
use flint_core::engine::{Event, OnChange, Options, Status, SyncMode};
use flint_core::{Engine, Error, backup, doctor};

use crate::support::engine::{MS, SECOND, bucket};
use crate::support::scratch::Scratch;

const KEYS: u64 = 10;

fn options(clock: Arc<ManualClock>) -> Options {
    Options { sync: SyncMode::Batch, segment_bytes: 16 << 10, history_bytes: 48 << 10, clock, ..Options::default() }
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(1_700_000_000 * SECOND))
}

fn copy_of(path: &Path, clock: &Arc<ManualClock>) -> Engine {
    Engine::open(path, Options { read_only: true, ..options(clock.clone()) }).unwrap()
}

/// Everything that can be seen of a store: totals of denials that only memory holds, too.
fn everything(engine: &Engine) -> (Vec<Status>, Vec<Vec<Event>>) {
    let all = engine.list(None, None, None).unwrap();
    let histories = all.iter().map(|status| engine.history(&status.key, 10_000).unwrap()).collect();
    (all, histories)
}

fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = entries.collect();
    names.sort();
    names
}

#[test]
fn a_copy_is_the_store_at_that_moment() {
    let (scratch, clock) = (Scratch::new(), clock());
    let data = scratch.path().join("data");
    let engine = Engine::open(&data, options(clock.clone())).unwrap();
    let mut copies = Vec::new();
    for round in 0..12_u64 {
        for step in 0..400 {
            clock.advance_ns(7 * MS);
            let key = format!("key:{}", (round * 31 + step) % 61);
            match step % 40 {
                0 => engine.limit(&key, &bucket("20/minute; 1000/day"), OnChange::Keep).unwrap(),
                13 => drop(engine.delete(&key)),
                27 => drop(engine.reset(&key)),
                _ => drop(engine.check(&key, 1 + step % 3, Some(&bucket("9/s burst 30"))).unwrap()),
            }
        }
        if round % 3 == 1 {
            engine.compact().unwrap();
        }
        let copy = scratch.path().join(format!("copy-{round}"));
        let seen = everything(&engine);
        // One through the engine, one beside it; the first one has written all denials.
        let report = engine.backup(&copy).unwrap();
        assert_eq!(report.seq, engine.counters().seq, "round {round}");
        let beside = scratch.path().join(format!("beside-{round}"));
        assert_eq!(backup::backup(&data, &beside).unwrap().seq, report.seq);
        copies.push((copy, seen.clone()));
        copies.push((beside, seen));
    }
    assert!(engine.counters().rotations > 10);
    engine.close().unwrap();
    for (copy, seen) in copies {
        let report = doctor::examine(&copy).unwrap();
        assert!(report.ok && report.notes.is_empty(), "{report:?}");
        let opened = copy_of(&copy, &clock);
        assert!(opened.recovery().clean, "{}", copy.display());
        // Waiting times depend on the clock, which went on.
        let (mut now, mut then) = (everything(&opened), seen);
        for status in now.0.iter_mut().chain(&mut then.0) {
            (status.whole.retry_after_ns, status.whole.reset_at_wall_ns, status.whole.remaining) = (0, 0, 0);
        }
        assert_eq!(now, then, "{}", copy.display());
        // It is a store like any other.
        let writer = Engine::open(&copy, options(clock.clone())).unwrap();
        writer.check("new", 1, Some(&bucket("1/day"))).unwrap();
        writer.close().unwrap();
        assert!(doctor::examine(&copy).unwrap().ok);
    }
}

#[test]
fn each_copy_beside_a_writer_is_a_prefix_of_its_calls() {
    for sync in [SyncMode::Batch, SyncMode::Always] {
        let scratch = Scratch::new();
        let data = scratch.path().join("data");
        let settings = Options { sync, segment_bytes: 16 << 10, history_bytes: 32 << 10, ..Options::default() };
        let engine = Engine::open(&data, settings).unwrap();
        for number in 0..KEYS {
            engine.limit(&format!("k{number}"), &bucket("1000000000/day"), OnChange::Keep).unwrap();
        }
        let (acknowledged, done) = (AtomicU64::new(0), AtomicBool::new(false));
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Acquire) {
                    let call = acknowledged.load(Ordering::SeqCst);
                    engine.check(&format!("k{}", call % KEYS), 1, None).unwrap();
                    acknowledged.store(call + 1, Ordering::SeqCst);
                }
            });
            scope.spawn(|| {
                while !done.load(Ordering::Acquire) {
                    engine.compact().unwrap();
                    thread::sleep(Duration::from_millis(1));
                }
            });
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let deadline = Instant::now() + Duration::from_secs(60);
                let changed = || engine.counters().rotations > 3 && engine.counters().compactions > 3;
                let mut round = 0;
                while round < 40 || !changed() && Instant::now() < deadline {
                    let copy = scratch.path().join(format!("copy-{round}"));
                    let before = acknowledged.load(Ordering::SeqCst);
                    if round % 2 == 0 {
                        engine.backup(&copy).unwrap();
                    } else {
                        backup::backup(&data, &copy).unwrap();
                    }
                    let after = acknowledged.load(Ordering::SeqCst) + 1;
                    check_prefix(&copy, before, after);
                    fs::remove_dir_all(&copy).unwrap();
                    round += 1;
                }
                assert!(changed(), "{:?}", engine.counters());
            }));
            done.store(true, Ordering::Release);
            if let Err(panic) = result {
                std::panic::resume_unwind(panic);
            }
        });
    }
}

/// The calls went round the keys: any number of first calls leaves one possible total for each key.
fn check_prefix(copy: &Path, before: u64, after: u64) {
    let report = doctor::examine(copy).unwrap();
    assert!(report.ok && report.notes.is_empty(), "{report:?}");
    let opened = Engine::open(copy, Options { read_only: true, ..Options::default() }).unwrap();
    let totals: Vec<u64> =
        (0..KEYS).map(|number| opened.status(&format!("k{number}")).unwrap().unwrap().total_allowed).collect();
    let calls: u64 = totals.iter().sum();
    assert!((before..=after).contains(&calls), "{before} <= {calls} <= {after}");
    let expected: Vec<u64> = (0..KEYS).map(|number| calls / KEYS + u64::from(number < calls % KEYS)).collect();
    assert_eq!(totals, expected);
}

#[test]
fn a_place_that_cannot_take_a_copy_is_refused_and_left_alone() {
    let scratch = Scratch::new();
    let data = scratch.path().join("data");
    let engine = Engine::open(&data, options(clock())).unwrap();
    let place = |name: &str| scratch.path().join(name);
    fs::create_dir(place("full")).unwrap();
    fs::write(place("full/theirs"), "x").unwrap();
    fs::write(place("file"), "x").unwrap();
    std::os::unix::fs::symlink("nowhere", place("link")).unwrap();
    let refused = ["full", "file", "link/", "none/copy", "data", "data/copy", "full/../data/copy"];
    let before = (names(scratch.path()), names(&data));
    for name in refused {
        for result in [engine.backup(&place(name)), backup::backup(&data, &place(name))] {
            let error = result.unwrap_err();
            assert!(matches!(error, Error::InvalidArgument(_) | Error::Storage { .. }), "{name}: {error:?}");
        }
    }
    assert_eq!((names(scratch.path()), names(&data)), before);
    assert_eq!(fs::read_to_string(place("full/theirs")).unwrap(), "x");
}

#[test]
fn an_empty_directory_and_one_behind_a_link_take_a_copy() {
    let scratch = Scratch::new();
    let data = scratch.path().join("data");
    let engine = Engine::open(&data, options(clock())).unwrap();
    let place = |name: &str| scratch.path().join(name);
    fs::create_dir(place("empty")).unwrap();
    fs::create_dir(place("real")).unwrap();
    std::os::unix::fs::symlink("real", place("link")).unwrap();
    // One that the group may write would be refused at open.
    fs::set_permissions(place("empty"), fs::Permissions::from_mode(0o750)).unwrap();
    fs::set_permissions(place("real"), fs::Permissions::from_mode(0o775)).unwrap();
    for (name, mode) in [("empty", 0o750), ("link", 0o755), ("new", 0o700), ("./dots/../other", 0o700)] {
        fs::create_dir_all(place("dots")).unwrap();
        engine.backup(&place(name)).unwrap();
        assert!(doctor::examine(&place(name)).unwrap().ok, "{name}");
        assert_eq!(fs::metadata(place(name)).unwrap().permissions().mode() & 0o777, mode, "{name}");
    }
    assert!(fs::symlink_metadata(place("link")).unwrap().is_symlink());
}

#[test]
fn what_a_killed_copy_left_behind_is_used_again() {
    let scratch = Scratch::new();
    let data = scratch.path().join("data");
    let engine = Engine::open(&data, options(clock())).unwrap();
    let left = scratch.path().join(".copy.partial");
    fs::create_dir(&left).unwrap();
    fs::write(left.join("flint-00000000000000000001.aof"), "half").unwrap();
    fs::write(left.join("flint.lock"), "0\n").unwrap();
    engine.backup(&scratch.path().join("copy")).unwrap();
    assert!(doctor::examine(&scratch.path().join("copy")).unwrap().ok);
    assert_eq!(names(scratch.path()), ["copy", "data"]);
}

/// Everything below `path`: the content of files, where links lead.
fn contents(path: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for name in names(path) {
        let entry = path.join(&name);
        let meta = fs::symlink_metadata(&entry).unwrap();
        if meta.is_dir() {
            found.extend(contents(&entry).into_iter().map(|(inner, what)| (format!("{name}/{inner}"), what)));
            found.push((name, format!("mode {:o}", meta.permissions().mode())));
        } else if meta.is_symlink() {
            found.push((name, fs::read_link(&entry).unwrap().display().to_string()));
        } else {
            found.push((name, String::from_utf8_lossy(&fs::read(&entry).unwrap()).into_owned()));
        }
    }
    found
}

#[test]
fn what_no_copy_left_under_its_temporary_name_stays() {
    let scratch = Scratch::new();
    let data = scratch.path().join("data");
    let engine = Engine::open(&data, options(clock())).unwrap();
    let left = scratch.path().join("place/.copy.partial");
    let segment = left.join("flint-00000000000000000001.aof");
    let victim = scratch.path().join("victim");
    fs::create_dir(&victim).unwrap();
    fs::write(victim.join("flint-00000000000000000001.aof"), "precious").unwrap();
    let make: [(&str, &dyn Fn()); 6] = [
        ("a file that is not Flint's", &|| fs::write(left.join("thesis.txt"), "years").unwrap()),
        ("a directory", &|| fs::create_dir(left.join("chapter")).unwrap()),
        ("a link", &|| std::os::unix::fs::symlink("../../victim/flint.lock", left.join("flint.lock")).unwrap()),
        ("a link under the name", &|| {
            fs::remove_dir(&left).unwrap();
            std::os::unix::fs::symlink("../victim", &left).unwrap();
        }),
        ("a store", &|| fs::write(left.join("flint-reserve.tmp"), "").unwrap()),
        ("open to the group", &|| fs::set_permissions(&left, fs::Permissions::from_mode(0o770)).unwrap()),
    ];
    for (what, make) in make {
        fs::create_dir_all(&left).unwrap();
        fs::write(&segment, "half").unwrap();
        if what.ends_with("under the name") {
            fs::remove_file(&segment).unwrap();
        }
        make();
        let before = (contents(&scratch.path().join("place")), contents(&victim));
        let copy = scratch.path().join("place/copy");
        for result in [engine.backup(&copy), backup::backup(&data, &copy)] {
            let error = result.unwrap_err();
            assert!(
                matches!(&error, Error::InvalidArgument(text) if text.contains(".copy.partial")),
                "{what}: {error}"
            );
        }
        assert_eq!((contents(&scratch.path().join("place")), contents(&victim)), before, "{what}");
        fs::remove_dir_all(scratch.path().join("place")).unwrap();
    }
}

#[test]
fn damage_to_a_copy_at_rest_is_found() {
    let (scratch, clock) = (Scratch::new(), clock());
    let engine = Engine::open(&scratch.path().join("data"), options(clock.clone())).unwrap();
    for _ in 0..20 {
        engine.check("k", 1, Some(&bucket("100/day"))).unwrap();
    }
    let copy = scratch.path().join("copy");
    engine.backup(&copy).unwrap();
    let file = copy.join("flint-00000000000000000001.aof");
    let bytes = fs::read(&file).unwrap();
    let used = bytes.iter().rposition(|&byte| byte != 0).unwrap();
    // A torn tail would be cut silently: the close record tells it from damage.
    for at in (64..used - 40).step_by(3) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        fs::write(&file, &flipped).unwrap();
        let opened = Engine::open(&copy, Options { read_only: true, ..options(clock.clone()) });
        assert!(matches!(opened, Err(Error::Corrupt { .. })), "byte {at} of {used}");
    }
}

#[test]
fn what_is_no_store_is_not_copied() {
    let scratch = Scratch::new();
    let (empty, copy) = (scratch.path().join("empty"), scratch.path().join("copy"));
    fs::create_dir(&empty).unwrap();
    assert!(matches!(backup::backup(&empty, &copy), Err(Error::Unsupported { .. })));
    assert!(matches!(backup::backup(&scratch.path().join("none"), &copy), Err(Error::Storage { .. })));
    let engine = Engine::open(&scratch.path().join("data"), options(clock())).unwrap();
    engine.close().unwrap();
    assert!(matches!(engine.backup(&copy), Err(Error::Closed)));
    assert_eq!(names(scratch.path()), ["data", "empty"]);
}
