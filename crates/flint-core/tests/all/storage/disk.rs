//! The real disk: modes, errors, locking, directories.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};

use crate::support::scratch::Scratch;
use flint_core::storage::disk::DiskDir;
use flint_core::storage::{Locked, Mode, Overwrite};

fn bits(path: &std::path::Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn missing_directories_are_made_private_only_when_asked() {
    let scratch = Scratch::new();
    let path = scratch.path().join("a/b/c");
    assert_eq!(DiskDir::open(&path, false).err().unwrap().kind(), io::ErrorKind::NotFound);
    assert!(!scratch.path().join("a").exists());
    for _ in 0..2 {
        assert_eq!(DiskDir::open(&path, true).unwrap().path(), path);
    }
    for made in ["a", "a/b", "a/b/c"] {
        assert_eq!(bits(&scratch.path().join(made)), 0o700, "{made}");
    }
    DiskDir::open(&path, false).unwrap();
}

#[test]
fn a_path_that_is_a_file_is_not_a_directory() {
    let scratch = Scratch::new();
    let file = scratch.path().join("file");
    fs::write(&file, b"").unwrap();
    for create in [false, true] {
        for path in [file.clone(), file.join("below")] {
            let error = DiskDir::open(&path, create).err().unwrap();
            assert_eq!(error.kind(), io::ErrorKind::NotADirectory, "{} {create}", path.display());
        }
    }
    assert_eq!(fs::read(&file).unwrap(), b"");
}

#[test]
fn files_read_write_map_and_sync() {
    let scratch = Scratch::new();
    let dir = DiskDir::open(scratch.path(), false).unwrap();
    let file = dir.open("a", Mode::CreateNew).unwrap();
    assert_eq!(bits(&scratch.path().join("a")), 0o600);
    assert!(file.is_empty().unwrap());
    file.write_all_at(&[0; 8192], 0).unwrap();
    file.sync_data().unwrap();
    dir.sync().unwrap();
    assert_eq!(file.len().unwrap(), 8192);

    assert_eq!(file.map(8193).err().unwrap().kind(), io::ErrorKind::InvalidInput);
    assert_eq!(file.map(0).err().unwrap().kind(), io::ErrorKind::InvalidInput);
    let mut map = file.map(8192).unwrap();
    map.store(4094, b"abcd");
    let mut seen = [0; 6];
    file.read_exact_at(&mut seen, 4093).unwrap();
    assert_eq!(&seen, b"\0abcd\0");
    file.sync_data().unwrap();
    drop(map);
    assert_eq!(&fs::read(scratch.path().join("a")).unwrap()[4094..4098], b"abcd");

    assert_eq!(file.read_exact_at(&mut seen, 8190).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    assert_eq!(dir.open("a", Mode::CreateNew).err().unwrap().kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(dir.open("b", Mode::ReadWrite).err().unwrap().kind(), io::ErrorKind::NotFound);
    let reader = dir.open("a", Mode::Read).unwrap();
    assert!(reader.write_all_at(b"x", 0).is_err());
    assert!(reader.map(4096).is_err());
    dir.open("a", Mode::ReadWrite).unwrap().write_all_at(b"x", 0).unwrap();
    reader.read_exact_at(&mut seen[..1], 0).unwrap();
    assert_eq!(seen[0], b'x');
}

#[test]
#[should_panic(expected = "out of range")]
fn a_store_beyond_the_mapping_panics() {
    let scratch = Scratch::new();
    let file = DiskDir::open(scratch.path(), false).unwrap().open("a", Mode::CreateNew).unwrap();
    file.write_all_at(&[0; 4096], 0).unwrap();
    file.map(4096).unwrap().store(4093, b"abcd");
}

#[test]
fn names_are_listed_renamed_removed_and_moved() {
    let scratch = Scratch::new();
    let dir = DiskDir::open(scratch.path(), false).unwrap();
    for name in ["a", "b", "c"] {
        dir.open(name, Mode::CreateNew).unwrap().write_all_at(name.as_bytes(), 0).unwrap();
    }
    assert_eq!(dir.subdir("legacy", false).err().unwrap().kind(), io::ErrorKind::NotFound);
    let legacy = dir.subdir("legacy", true).unwrap();
    dir.subdir("legacy", true).unwrap();
    assert_eq!(bits(&scratch.path().join("legacy")), 0o700);
    assert_eq!(legacy.path(), scratch.path().join("legacy"));
    symlink("a", scratch.path().join("link")).unwrap();
    symlink("nowhere", scratch.path().join("dangling")).unwrap();
    let list = || {
        let mut names = dir.list().unwrap();
        names.sort();
        names
    };
    // They are listed so that they are refused rather than overlooked.
    assert_eq!(list(), ["a", "b", "c", "dangling", "link"]);
    for name in ["link", "dangling"] {
        for mode in [Mode::Read, Mode::ReadWrite] {
            let error = dir.open(name, mode).err().unwrap();
            assert!(error.to_string().contains("symbolic link"), "{error}");
        }
        assert_eq!(dir.open(name, Mode::CreateNew).err().unwrap().kind(), io::ErrorKind::AlreadyExists);
        dir.remove(name).unwrap();
    }
    dir.rename("a", "b").unwrap();
    dir.move_into("c", "legacy").unwrap();
    assert_eq!(list(), ["b"]);
    assert_eq!(fs::read(scratch.path().join("b")).unwrap(), b"a");
    assert_eq!(legacy.list().unwrap(), ["c"]);
    legacy.sync().unwrap();
    assert_eq!(dir.remove("c").unwrap_err().kind(), io::ErrorKind::NotFound);
    assert!(dir.subdir("b", true).is_err());
}

#[test]
fn a_renamed_directory_stays_the_same_directory() {
    let scratch = Scratch::new();
    let path = scratch.path().join("data");
    let dir = DiskDir::open(&path, true).unwrap();
    fs::rename(&path, scratch.path().join("moved")).unwrap();
    dir.open("a", Mode::CreateNew).unwrap();
    assert!(scratch.path().join("moved/a").exists());
    assert!(!path.exists());
}

#[test]
fn the_lock_is_refused_to_a_second_holder_by_whatever_path() {
    let scratch = Scratch::new();
    let path = scratch.path().join("data");
    let dir = DiskDir::open(&path, true).unwrap();
    fs::write(path.join("flint.lock"), b"a longer content of a dead holder\n").unwrap();
    let Locked::Guard(guard) = dir.lock("flint.lock", "123\n").unwrap() else { panic!("free") };
    assert_eq!(fs::read(path.join("flint.lock")).unwrap(), b"123\n");
    symlink(&path, scratch.path().join("link")).unwrap();
    for other in [path.clone(), scratch.path().join("link")] {
        let again = DiskDir::open(&other, false).unwrap().lock("flint.lock", "456\n").unwrap();
        assert!(matches!(again, Locked::HeldHere { .. }));
    }
    assert_eq!(fs::read(path.join("flint.lock")).unwrap(), b"123\n", "a refused attempt changes nothing");
    drop(guard);
    let Locked::Guard(_guard) = dir.lock("flint.lock", "456\n").unwrap() else { panic!("unlocked") };
    assert_eq!(fs::read(path.join("flint.lock")).unwrap(), b"456\n");
}

#[test]
fn a_new_lock_file_is_private() {
    let scratch = Scratch::new();
    let dir = DiskDir::open(scratch.path(), false).unwrap();
    let _lock = dir.lock("flint.lock", "").unwrap();
    assert_eq!(bits(&scratch.path().join("flint.lock")), 0o600);
}

#[test]
fn a_foreign_holder_is_named() {
    let scratch = Scratch::new();
    let dir = DiskDir::open(scratch.path(), false).unwrap();
    let foreign = fs::File::create(scratch.path().join("flint.lock")).unwrap();
    fs::write(scratch.path().join("flint.lock"), "4711\n").unwrap();
    rustix::fs::flock(&foreign, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let Locked::HeldElsewhere { content } = dir.lock("flint.lock", "1\n").unwrap() else { panic!("held") };
    assert_eq!(content, "4711\n");
    drop(foreign);
    assert!(matches!(dir.lock("flint.lock", "1\n").unwrap(), Locked::Guard(_)));
}

#[test]
fn many_threads_get_one_lock() {
    let scratch = Scratch::new();
    let path = scratch.path();
    for round in 0..20 {
        let answers: Vec<Locked> = std::thread::scope(|scope| {
            let start = || DiskDir::open(path, false).unwrap().lock("flint.lock", "1\n").unwrap();
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let held = answers.iter().filter(|answer| matches!(answer, Locked::Guard(_))).count();
        let refused = answers.iter().filter(|answer| matches!(answer, Locked::HeldHere { .. })).count();
        assert_eq!((held, refused), (1, 7), "round {round}");
    }
}

#[test]
fn a_directory_is_locked_whatever_becomes_of_its_lock_file() {
    let scratch = Scratch::new();
    let path = scratch.path();
    let lock = path.join("flint.lock");
    let dir = DiskDir::open(path, false).unwrap();
    let Locked::Guard(guard) = dir.lock("flint.lock", "1\n").unwrap() else { panic!("free") };
    assert!(!guard.renew("1\n").unwrap());
    fs::remove_file(&lock).unwrap();
    assert!(matches!(DiskDir::open(path, false).unwrap().lock("flint.lock", "2\n").unwrap(), Locked::HeldHere { .. }));
    let again = fs::File::open(&lock).unwrap();
    let outsider = fs::File::open(path).unwrap();
    let attempt = || rustix::fs::flock(&outsider, rustix::fs::FlockOperation::NonBlockingLockExclusive);
    assert_eq!(attempt(), Err(rustix::io::Errno::WOULDBLOCK));

    // Another process has locked the file that is there now: the next round tries again.
    rustix::fs::flock(&again, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
    assert_eq!(guard.renew("1\n").unwrap_err().kind(), io::ErrorKind::WouldBlock);
    rustix::fs::flock(&again, rustix::fs::FlockOperation::Unlock).unwrap();
    assert!(guard.renew("1\n").unwrap());
    assert_eq!(fs::read(&lock).unwrap(), b"1\n");
    let attempt_on_file = rustix::fs::flock(&again, rustix::fs::FlockOperation::NonBlockingLockExclusive);
    assert_eq!(attempt_on_file, Err(rustix::io::Errno::WOULDBLOCK));

    fs::remove_file(&lock).unwrap();
    symlink(scratch.path().join("elsewhere"), &lock).unwrap();
    assert!(guard.renew("1\n").unwrap_err().to_string().contains("symbolic link"));
    assert!(!scratch.path().join("elsewhere").exists());
    drop(guard);
    assert_eq!(attempt(), Ok(()));
    fs::remove_file(&lock).unwrap();
    assert!(matches!(dir.lock("flint.lock", "1\n").unwrap(), Locked::HeldElsewhere { .. }), "the directory is locked");
    drop(outsider);
    assert!(matches!(dir.lock("flint.lock", "1\n").unwrap(), Locked::Guard(_)));
}

#[test]
fn a_closed_directory_has_no_descriptor() {
    let scratch = Scratch::new();
    let dir = DiskDir::open(scratch.path(), false).unwrap();
    dir.open("a", Mode::CreateNew).unwrap();
    dir.close();
    dir.close();
    for error in [dir.list().err(), dir.open("a", Mode::Read).err(), dir.sync().err(), dir.remove("a").err()] {
        assert!(error.unwrap().to_string().contains("closed"));
    }
    let open = fs::read_dir("/proc/self/fd").map_or(0, |descriptors| {
        descriptors
            .flatten()
            .filter(|entry| fs::read_link(entry.path()).is_ok_and(|path| path == scratch.path()))
            .count()
    });
    assert_eq!(open, 0);
}

/// What each file system says is tested on each of them by tests/python/system/test_file_systems.py.
#[test]
fn a_file_with_holes_is_not_overwritten_in_place_until_they_are_filled() {
    let scratch = Scratch::new();
    let dir = DiskDir::open(scratch.path(), false).unwrap();
    let file = dir.open("a", Mode::CreateNew).unwrap();
    for page in [0, 3, 9] {
        file.write_all_at(&[1; 4096], page * 4096).unwrap();
    }
    file.sync_data().unwrap();
    match file.overwrite(10 * 4096).unwrap() {
        Overwrite::Holes(holes) => {
            let bytes = holes.iter().map(|hole| hole.end - hole.start).sum::<u64>();
            assert_eq!((holes[0].start, bytes), (4096, 7 * 4096), "{holes:?}");
            for hole in holes {
                file.write_all_at(&vec![0; usize::try_from(hole.end - hole.start).unwrap()], hole.start).unwrap();
            }
            file.sync_data().unwrap();
            assert_eq!(file.overwrite(10 * 4096).unwrap(), Overwrite::InPlace);
            let Overwrite::Holes(behind) = file.overwrite(11 * 4096).unwrap() else {
                panic!("nothing is behind the end")
            };
            assert_eq!((behind.len(), behind[0].start, behind[0].end), (1, 10 * 4096, 11 * 4096));
        }
        other => assert_eq!(other, Overwrite::MayAllocate),
    }
    assert!(dir.free_bytes().unwrap() > 0);
}
