//! What a forked child inherits, with real forks. In a child only what the test needs runs, and it leaves by `_exit`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(unsafe_code, reason = "fork, waitpid and _exit have no safe interface")]
#![cfg(target_os = "linux")]

#[path = "all/support/scratch.rs"]
mod scratch;

use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use flint_core::storage::disk::DiskDir;
use flint_core::storage::{Dir, File, LockGuard, Locked, Mode, fork};
use scratch::Scratch;

/// Forks; the child runs `body` and exits with what it returns (a panic: 101).
fn child(body: impl FnOnce() -> i32) -> libc::pid_t {
    // SAFETY: the child runs `body` alone and never returns from here.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork failed");
    if pid == 0 {
        let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)).unwrap_or(101);
        // SAFETY: ends the child without running the parent's exit handlers.
        unsafe { libc::_exit(code) }
    }
    pid
}

fn exit_code(pid: libc::pid_t) -> i32 {
    let mut status = 0;
    // SAFETY: `status` is a valid place for the result.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!(waited, pid);
    assert!(libc::WIFEXITED(status), "the child was killed: {status}");
    libc::WEXITSTATUS(status)
}

/// Descriptors of this process that lead to files in or to the directory `path`.
fn descriptors_below(path: &Path) -> Vec<i32> {
    let mut found: Vec<i32> = fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| {
            let entry = entry.unwrap();
            let target = fs::read_link(entry.path()).ok()?;
            target.starts_with(path).then(|| entry.file_name().to_str().unwrap().parse().unwrap())
        })
        .collect();
    found.sort_unstable();
    found
}

fn is_open(fd: i32) -> bool {
    // SAFETY: asking about a number changes nothing, whatever it stands for.
    unsafe { libc::fcntl(fd, libc::F_GETFD) != -1 }
}

fn take(dir: &Arc<dyn Dir>) -> Box<dyn LockGuard> {
    match dir.lock("flint.lock", "1\n").unwrap() {
        Locked::Guard(guard) => guard,
        Locked::HeldHere { .. } => panic!("held here"),
        Locked::HeldElsewhere { content } => panic!("held by {content}"),
    }
}

struct Store {
    dir: Arc<dyn Dir>,
    file: Arc<dyn File>,
    _lock: Box<dyn LockGuard>,
}

fn store(path: &Path) -> Store {
    let dir = DiskDir::open(path, true).unwrap();
    let file = dir.open("segment", Mode::CreateNew).unwrap();
    file.write_all_at(&[0; 4096], 0).unwrap();
    let lock = take(&dir);
    Store { dir, file, _lock: lock }
}

#[test]
fn the_child_has_no_copies_and_the_parent_keeps_its_lock() {
    let scratch = Scratch::new();
    let store = store(scratch.path());
    let generation = fork::generation();
    let open = descriptors_below(scratch.path());
    assert_eq!(open.len(), 4, "directory, segment, lock file and lock of the directory");
    let pid = child(|| {
        if open.iter().any(|fd| is_open(*fd)) {
            return 1;
        }
        if fork::generation() == generation {
            return 2;
        }
        // The inherited handles say no rather than use a number that may stand for another file by now.
        let _taken: Vec<fs::File> = (0..4).map(|_| fs::File::open("/dev/null").unwrap()).collect();
        if store.file.sync_data().is_ok() || store.file.write_all_at(b"x", 0).is_ok() || store.dir.list().is_ok() {
            return 3;
        }
        // The parent holds the lock, this process does not.
        match DiskDir::open(scratch.path(), false).unwrap().lock("flint.lock", "2\n").unwrap() {
            Locked::HeldElsewhere { .. } => 0,
            Locked::HeldHere { .. } => 4,
            Locked::Guard(_) => 5,
        }
    });
    assert_eq!(exit_code(pid), 0);
    assert_eq!(fork::generation(), generation);
    store.file.sync_data().unwrap();
    let again = DiskDir::open(scratch.path(), false).unwrap().lock("flint.lock", "2\n").unwrap();
    assert!(matches!(again, Locked::HeldHere { .. }));
    assert_eq!(descriptors_below(scratch.path()), open);
}

#[test]
fn dropping_in_the_child_neither_unlocks_nor_closes_reused_numbers() {
    let scratch = Scratch::new();
    let mut store = Some(store(scratch.path()));
    let pid = child(|| {
        let taken: Vec<fs::File> = (0..8).map(|_| fs::File::open("/dev/null").unwrap()).collect();
        drop(store.take());
        if taken.iter().all(|file| is_open(file.as_raw_fd())) { 0 } else { 1 }
    });
    assert_eq!(exit_code(pid), 0);
    let foreign = fs::File::open(scratch.path().join("flint.lock")).unwrap();
    let attempt = rustix::fs::flock(&foreign, rustix::fs::FlockOperation::NonBlockingLockExclusive);
    assert_eq!(attempt, Err(rustix::io::Errno::WOULDBLOCK), "the parent's lock is gone");
    drop(store.take());
    rustix::fs::flock(&foreign, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
}

#[test]
fn the_lock_is_free_when_the_parent_dies_though_the_child_lives() {
    let scratch = Scratch::new();
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    // So that no orphan outlives a failing test for long.
    theirs.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // A process of its own opens the store, forks once more and dies without closing anything.
    let parent = child(|| {
        let _store = std::mem::ManuallyDrop::new(store(scratch.path()));
        let _grandchild = child(|| {
            let mut stream = &theirs;
            stream.write_all(b"!").unwrap();
            // Until the test lets go.
            i32::from(stream.read(&mut [0]).is_err())
        });
        let mut lived = [0];
        (&ours).read_exact(&mut lived).unwrap();
        0
    });
    assert_eq!(exit_code(parent), 0);
    let dir = DiskDir::open(scratch.path(), false).unwrap();
    let _guard = take(&dir);
    ours.write_all(b"!").unwrap();
}

#[test]
fn a_child_can_open_a_store_of_its_own() {
    let scratch = Scratch::new();
    let store_here = store(scratch.path());
    let path = scratch.path().join("own");
    let pid = child(|| {
        let own = store(&path);
        own.file.write_all_at(b"child", 0).unwrap();
        own.file.sync_data().unwrap();
        i32::from(!matches!(own.dir.lock("flint.lock", "").unwrap(), Locked::HeldHere { .. }))
    });
    assert_eq!(exit_code(pid), 0);
    assert!(fs::read(path.join("segment")).unwrap().starts_with(b"child"));
    take(&DiskDir::open(&path, false).unwrap());
    drop(store_here);
}

#[test]
fn no_child_is_born_with_an_unregistered_copy() {
    let scratch = Scratch::new();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (path, stop) = (scratch.path(), &stop);
        scope.spawn(move || {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let dir = DiskDir::open(path, false).unwrap();
                drop(take(&dir));
            }
        });
        let inherited: Vec<i32> =
            (0..200).map(|_| exit_code(child(|| i32::try_from(descriptors_below(path).len()).unwrap()))).collect();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(inherited, vec![0; 200]);
    });
}
