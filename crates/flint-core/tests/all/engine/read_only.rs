//! Looking at a directory while an application works in it: on real files, under load, many times.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use flint_core::Engine;
use flint_core::engine::{OnChange, Options, SyncMode};
use flint_core::limit::{Algorithm, Limit, parse_limit};
use flint_core::{doctor, dump};

/// A directory that is removed on drop.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("flint-{name}-{}", std::process::id()));
        drop(fs::remove_dir_all(&path));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Long enough for any machine; nothing is decided by how long it really takes.
const DEADLINE: Duration = Duration::from_secs(60);

fn writing(sync: SyncMode) -> Options {
    Options { sync, segment_bytes: 16 << 10, history_bytes: 32 << 10, ..Options::default() }
}

fn looking() -> Options {
    Options { read_only: true, ..Options::default() }
}

fn bucket(text: &str) -> Limit {
    parse_limit(text, Algorithm::TokenBucket).unwrap()
}

/// Name, inode, length, modification time and content of every file.
fn everything(path: &Path) -> BTreeMap<String, (u64, u64, i64, i64, Vec<u8>)> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        let meta = entry.metadata().unwrap();
        let content = if meta.is_file() { fs::read(entry.path()).unwrap() } else { Vec::new() };
        let name = entry.file_name().into_string().unwrap();
        files.insert(name, (meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec(), content));
    }
    files
}

/// A look from outside finds no torn tail, or it was a record in which the writer lost the CPU, for as long as the system likes: then
/// that very place is whole before long.
fn complete_look(path: &Path) {
    let torn = || {
        let report = doctor::examine(path).unwrap();
        assert!(report.ok, "{report:?}");
        report.notes.into_iter().find(|note| note.contains("torn"))
    };
    let Some(first) = torn() else { return };
    let deadline = Instant::now() + Duration::from_secs(10);
    while torn().is_some_and(|now| now == first) {
        assert!(Instant::now() < deadline, "no open completes it: {first}");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn looking_beside_a_busy_writer_never_finds_damage_and_sees_what_was_acknowledged() {
    for sync in [SyncMode::Batch, SyncMode::Always] {
        let scratch = Scratch::new("read-only");
        let engine = Engine::open(&scratch.0, writing(sync)).unwrap();
        engine.limit("k", &bucket("1000000000/day"), OnChange::Keep).unwrap();
        let acknowledged = AtomicU64::new(0);
        let done = AtomicBool::new(false);
        let mut looks = 0;
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut round = 0_u64;
                while !done.load(Ordering::Acquire) {
                    engine.check("k", 1, None).unwrap();
                    acknowledged.fetch_add(1, Ordering::SeqCst);
                    round += 1;
                    if round.is_multiple_of(50) {
                        let key = format!("key:{}", round % 400);
                        engine.check(&key, 1, Some(&bucket("9/day; 7/s"))).unwrap();
                        if round.is_multiple_of(350) {
                            engine.delete(&key).unwrap();
                        }
                    }
                }
            });
            scope.spawn(|| {
                while !done.load(Ordering::Acquire) {
                    engine.compact().unwrap();
                    thread::sleep(Duration::from_millis(1));
                }
            });
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                // The disk may be slow: the looks end when enough has changed under them.
                let (until, deadline) = (Instant::now() + Duration::from_secs(2), Instant::now() + DEADLINE);
                let changed = || engine.counters().rotations > 3 && engine.counters().compactions > 3;
                while Instant::now() < until || (looks < 20 || !changed()) && Instant::now() < deadline {
                    let before = acknowledged.load(Ordering::SeqCst);
                    let look = Engine::open(&scratch.0, looking()).unwrap();
                    let after = acknowledged.load(Ordering::SeqCst) + 1;
                    let seen = look.status("k").unwrap().unwrap().total_allowed;
                    assert!((before..=after).contains(&seen), "{before} <= {seen} <= {after}");
                    look.list(None, None, None).unwrap();
                    look.history("k", 100).unwrap();
                    let report = look.doctor().unwrap();
                    assert!(report.ok, "{report:?}");
                    complete_look(&scratch.0);
                    let mut last = 0;
                    dump::dump(&scratch.0, 0, &mut |record| {
                        assert!(last == 0 || record.seq == last + 1, "{} after {last}", record.seq);
                        last = record.seq;
                        true
                    })
                    .unwrap();
                    looks += 1;
                }
            }));
            done.store(true, Ordering::Release);
            if let Err(panic) = result {
                std::panic::resume_unwind(panic);
            }
        });
        assert!(looks >= 20, "only {looks} looks");
        assert!(engine.counters().rotations > 3 && engine.counters().compactions > 3);
        engine.close().unwrap();
    }
}

#[test]
fn looking_creates_and_changes_nothing() {
    let scratch = Scratch::new("unchanged");
    let engine = Engine::open(&scratch.0, writing(SyncMode::Always)).unwrap();
    engine.limit("k", &bucket("5/day"), OnChange::Keep).unwrap();
    engine.check("k", 2, None).unwrap();
    let look = || {
        let look = Engine::open(&scratch.0, looking()).unwrap();
        assert_eq!(look.status("k").unwrap().unwrap().remaining, 3);
        assert_eq!(look.history("k", 5).unwrap().len(), 2);
        assert!(look.doctor().unwrap().ok);
        look.close().unwrap();
        assert!(doctor::examine(&scratch.0).unwrap().ok);
        dump::dump(&scratch.0, 0, &mut |_| true).unwrap();
    };
    let before = everything(&scratch.0);
    look();
    assert_eq!(everything(&scratch.0), before, "beside its writer");
    engine.close().unwrap();
    let before = everything(&scratch.0);
    look();
    assert_eq!(everything(&scratch.0), before, "after it");
    let modes: Vec<u32> = fs::read_dir(&scratch.0)
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().permissions().mode() & 0o777)
        .collect();
    assert!(modes.iter().all(|mode| *mode == 0o600), "{modes:?}");
}

#[test]
fn an_empty_directory_stays_empty() {
    let scratch = Scratch::new("empty");
    let look = Engine::open(&scratch.0, looking()).unwrap();
    assert_eq!(look.list(None, None, None).unwrap(), []);
    assert_eq!(look.status("k").unwrap(), None);
    drop(look);
    assert!(everything(&scratch.0).is_empty());
}

#[test]
fn a_view_stays_as_it_was_when_it_was_opened_while_time_goes_on() {
    let scratch = Scratch::new("view");
    let engine = Engine::open(&scratch.0, writing(SyncMode::Always)).unwrap();
    engine.limit("k", &bucket("2/100ms"), OnChange::Keep).unwrap();
    engine.check("k", 2, None).unwrap();
    let look = Engine::open(&scratch.0, looking()).unwrap();
    engine.limit("later", &bucket("2/day"), OnChange::Keep).unwrap();
    assert_eq!(look.status("later").unwrap(), None);
    assert_eq!(look.status("k").unwrap().unwrap().total_allowed, 1);
    let deadline = Instant::now() + Duration::from_secs(20);
    while look.peek("k", 2, None).is_ok_and(|outcome| !outcome.allowed) {
        assert!(Instant::now() < deadline, "the bucket fills for a reader, too");
        thread::sleep(Duration::from_millis(5));
    }
}
