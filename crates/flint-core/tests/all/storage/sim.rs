//! The simulated disk keeps its word: what survives, what is lost, and how it fails.

use std::io;
use std::sync::Arc;

use flint_core::storage::{Dir, File, Locked, Mode};
use flint_core::testing::sim::{CrashPlan, Fault, PowerCut, SimDisk};

fn create(dir: &Arc<dyn Dir>, name: &str, data: &[u8]) -> Arc<dyn File> {
    let file = dir.open(name, Mode::CreateNew).unwrap();
    file.write_all_at(data, 0).unwrap();
    file
}

/// A file whose content and name are durable.
fn settle(dir: &Arc<dyn Dir>, name: &str, data: &[u8]) -> Arc<dyn File> {
    let file = create(dir, name, data);
    file.sync_data().unwrap();
    dir.sync().unwrap();
    file
}

fn read(file: &Arc<dyn File>) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

fn names(disk: &SimDisk) -> Vec<String> {
    disk.dir().list().unwrap()
}

fn code(result: io::Result<()>) -> Option<i32> {
    result.unwrap_err().raw_os_error()
}

#[test]
fn files_read_back_and_modes_are_respected() {
    let disk = SimDisk::new();
    let dir = disk.dir();
    let file = create(&dir, "a", b"hello");
    file.write_all_at(b"!", 9).unwrap();
    assert_eq!(read(&file), b"hello\0\0\0\0!");
    assert!(!file.is_empty().unwrap());
    let mut beyond = [0; 2];
    assert_eq!(file.read_exact_at(&mut beyond, 9).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    assert_eq!(dir.open("a", Mode::CreateNew).err().unwrap().kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(dir.open("b", Mode::Read).err().unwrap().kind(), io::ErrorKind::NotFound);
    assert!(dir.open("a", Mode::Read).unwrap().write_all_at(b"x", 0).is_err());
    dir.open("a", Mode::ReadWrite).unwrap().write_all_at(b"J", 0).unwrap();
    assert_eq!(disk.read_file("a").unwrap(), b"Jello\0\0\0\0!");
    dir.rename("a", "b").unwrap();
    assert_eq!(names(&disk), ["b"]);
    assert_eq!(read(&file), b"Jello\0\0\0\0!", "an open file outlives its name");
    dir.remove("b").unwrap();
    assert!(names(&disk).is_empty());
    assert_eq!(dir.remove("b").unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[test]
fn content_and_name_become_durable_separately() {
    let disk = SimDisk::new();
    let dir = disk.dir();
    let file = create(&dir, "a", b"data");
    file.sync_data().unwrap();
    assert!(names(&disk.power_cut(CrashPlan::LoseUnsynced)).is_empty(), "the name was not synced");

    let disk = SimDisk::new();
    let dir = disk.dir();
    let file = create(&dir, "a", b"data");
    dir.sync().unwrap();
    let after = disk.power_cut(CrashPlan::LoseUnsynced);
    assert_eq!(after.read_file("a").unwrap(), b"", "the content was not synced");
    assert_eq!(disk.power_cut(CrashPlan::KeepAll).read_file("a").unwrap(), b"data");
    file.sync_data().unwrap();
    assert_eq!(disk.power_cut(CrashPlan::LoseUnsynced).read_file("a").unwrap(), b"data");
}

#[test]
fn what_survived_a_power_cut_is_durable_and_apart_from_the_old_disk() {
    let disk = SimDisk::new();
    settle(&disk.dir(), "a", b"data");
    let after = disk.power_cut(CrashPlan::LoseUnsynced);
    disk.dir().open("a", Mode::ReadWrite).unwrap().write_all_at(b"DATA", 0).unwrap();
    assert_eq!(after.unsynced(), 0);
    assert_eq!(after.ops(), 0);
    assert_eq!(after.power_cut(CrashPlan::LoseUnsynced).read_file("a").unwrap(), b"data");
}

#[test]
fn renames_and_removals_wait_for_the_directory() {
    let disk = SimDisk::new();
    let dir = disk.dir();
    settle(&dir, "tmp", b"new");
    settle(&dir, "final", b"old");
    settle(&dir, "gone", b"x");
    dir.rename("tmp", "final").unwrap();
    dir.remove("gone").unwrap();
    let lost = disk.power_cut(CrashPlan::LoseUnsynced);
    assert_eq!(names(&lost), ["final", "gone", "tmp"]);
    assert_eq!(lost.read_file("final").unwrap(), b"old");
    dir.sync().unwrap();
    let kept = disk.power_cut(CrashPlan::LoseUnsynced);
    assert_eq!(names(&kept), ["final"]);
    assert_eq!(kept.read_file("final").unwrap(), b"new");
}

#[test]
fn stores_through_a_map_are_seen_at_once_and_lost_unless_synced() {
    let disk = SimDisk::new();
    let dir = disk.dir();
    let file = settle(&dir, "a", &[0; 8192]);
    assert!(file.map(8193).is_err());
    let mut map = file.map(8192).unwrap();
    let before = disk.ops();
    map.store(4094, b"abcd");
    assert_eq!(disk.ops(), before + 1);
    assert_eq!(&read(&file)[4094..4098], b"abcd");
    assert_eq!(disk.power_cut(CrashPlan::LoseUnsynced).read_file("a").unwrap(), vec![0; 8192]);
    file.sync_data().unwrap();
    assert_eq!(&disk.power_cut(CrashPlan::LoseUnsynced).read_file("a").unwrap()[4094..4098], b"abcd");
}

#[test]
fn random_power_cuts_tear_between_sectors_but_never_within() {
    let disk = SimDisk::new();
    let dir = disk.dir();
    let file = settle(&dir, "a", &[1; 2048]);
    file.write_all_at(&[2; 2048], 0).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..500 {
        let after = disk.power_cut(CrashPlan::Random(seed)).read_file("a").unwrap();
        assert_eq!(after.len(), 2048);
        let sectors: Vec<u8> = after
            .chunks(512)
            .map(|sector| {
                assert!(sector.iter().all(|byte| *byte == sector[0]), "torn within a sector, seed {seed}");
                sector[0]
            })
            .collect();
        seen.insert(sectors);
        let again = disk.power_cut(CrashPlan::Random(seed)).read_file("a").unwrap();
        assert_eq!(after, again, "seed {seed} is not deterministic");
    }
    assert_eq!(seen.len(), 16, "all combinations of four sectors");
}

#[test]
fn a_sector_written_often_may_survive_in_any_of_its_states() {
    let disk = SimDisk::new();
    let dir = disk.dir();
    let file = settle(&dir, "a", &[0; 512]);
    for i in 0..4u8 {
        file.write_all_at(&[i + 1; 64], u64::from(i) * 64).unwrap();
    }
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..500 {
        let after = disk.power_cut(CrashPlan::Random(seed)).read_file("a").unwrap();
        let records: Vec<u8> = after.chunks(64).map(|record| record[0]).take(4).collect();
        let n = records.iter().take_while(|byte| **byte != 0).count();
        assert!(records[n..].iter().all(|byte| *byte == 0), "{records:?} is not a first part, seed {seed}");
        seen.insert(n);
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
}

#[test]
fn random_lengths_stay_between_old_and_new() {
    let disk = SimDisk::new();
    let dir = disk.dir();
    let file = settle(&dir, "a", &[1; 1000]);
    file.write_all_at(&[2; 2000], 1000).unwrap();
    let mut lengths = std::collections::BTreeSet::new();
    for seed in 0..500 {
        let after = disk.power_cut(CrashPlan::Random(seed)).read_file("a").unwrap();
        assert!((1000..=3000).contains(&after.len()), "{} bytes, seed {seed}", after.len());
        assert_eq!(after[..1000], [1; 1000], "seed {seed}");
        lengths.insert(after.len());
    }
    assert!(lengths.contains(&1000) && lengths.contains(&3000) && lengths.len() > 2, "{lengths:?}");
}

#[test]
fn random_directory_operations_are_independent_but_ordered_for_each_name() {
    let disk = SimDisk::new();
    let dir = disk.dir();
    settle(&dir, "old", b"");
    create(&dir, "tmp", b"");
    dir.rename("tmp", "final").unwrap();
    dir.remove("old").unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..200 {
        seen.insert(names(&disk.power_cut(CrashPlan::Random(seed))).join(" "));
    }
    let expected = ["", "final", "final old", "old", "old tmp", "tmp"];
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn a_name_replaced_twice_is_never_replaced_by_the_second_alone() {
    let disk = SimDisk::new();
    let dir = disk.dir();
    settle(&dir, "one", b"1");
    settle(&dir, "two", b"2");
    dir.rename("one", "final").unwrap();
    dir.rename("two", "final").unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let after = disk.power_cut(CrashPlan::Random(seed));
        seen.insert((names(&after).join(" "), after.read_file("final")));
    }
    let expected = [("final", Some(b"2".to_vec())), ("final two", Some(b"1".to_vec())), ("one two", None)]
        .map(|(names, content)| (names.to_owned(), content));
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn keep_prefix_walks_through_the_changes_in_order() {
    let disk = SimDisk::new();
    let dir = disk.dir();
    let a = settle(&dir, "a", &[0; 4]);
    a.write_all_at(b"1", 0).unwrap();
    create(&dir, "b", b"x");
    a.write_all_at(b"2", 1).unwrap();
    assert_eq!(disk.unsynced(), 4);
    let states: Vec<_> = (0..=5)
        .map(|n| {
            let after = disk.power_cut(CrashPlan::KeepPrefix(n));
            (after.read_file("a").unwrap(), after.read_file("b"))
        })
        .collect();
    let expected: [(&[u8], Option<&[u8]>); 6] = [
        (b"\0\0\0\0", None),
        (b"1\0\0\0", None),
        (b"1\0\0\0", Some(b"")),
        (b"1\0\0\0", Some(b"x")),
        (b"12\0\0", Some(b"x")),
        (b"12\0\0", Some(b"x")),
    ];
    for (n, ((a, b), (expected_a, expected_b))) in states.iter().zip(expected).enumerate() {
        assert_eq!((a.as_slice(), b.as_deref()), (expected_a, expected_b), "prefix of {n}");
    }
}

#[test]
fn a_failed_sync_marks_the_data_clean_until_it_is_written_again() {
    let disk = SimDisk::new();
    let dir = disk.dir();
    let file = settle(&dir, "a", &[0; 1024]);
    file.write_all_at(b"first", 0).unwrap();
    file.write_all_at(b"other", 512).unwrap();
    disk.set_fail(disk.ops(), Fault::FsyncFails, false);
    assert_eq!(code(file.sync_data()), Some(libc::EIO));
    assert!(disk.clear_fail());
    assert_eq!(&read(&file)[..5], b"first", "still visible");
    file.sync_data().unwrap();
    for plan in [CrashPlan::LoseUnsynced, CrashPlan::KeepAll, CrashPlan::KeepPrefix(99)] {
        assert_eq!(disk.power_cut(plan).read_file("a").unwrap(), vec![0; 1024], "{plan:?}");
    }
    let survives = (0..100).any(|seed| disk.power_cut(CrashPlan::Random(seed)).read_file("a").unwrap()[0] == b'f');
    assert!(survives, "the device may have written it all the same");

    file.write_all_at(b"F", 0).unwrap();
    let mut rewritten = vec![0; 1024];
    rewritten[..5].copy_from_slice(b"First");
    assert_eq!(disk.power_cut(CrashPlan::KeepAll).read_file("a").unwrap(), rewritten);
    assert_eq!(disk.power_cut(CrashPlan::KeepPrefix(1)).read_file("a").unwrap(), rewritten);
    file.sync_data().unwrap();
    assert_eq!(disk.power_cut(CrashPlan::LoseUnsynced).read_file("a").unwrap(), rewritten);
    for seed in 0..100 {
        let after = disk.power_cut(CrashPlan::Random(seed)).read_file("a").unwrap();
        assert_eq!(after[..512], rewritten[..512], "an old write came back over a synced one, seed {seed}");
    }
}

#[test]
fn a_failed_directory_sync_leaves_the_names_in_doubt() {
    let disk = SimDisk::new();
    let dir = disk.dir();
    create(&dir, "a", b"").sync_data().unwrap();
    disk.set_fail(disk.ops(), Fault::Eio, false);
    assert_eq!(code(dir.sync()), Some(libc::EIO));
    assert!(names(&disk.power_cut(CrashPlan::LoseUnsynced)).is_empty());
    dir.sync().unwrap();
    assert_eq!(names(&disk.power_cut(CrashPlan::LoseUnsynced)), ["a"]);
}

#[test]
fn faults_strike_once_or_for_good_and_change_nothing() {
    let disk = SimDisk::new();
    let dir = disk.dir();
    let file = settle(&dir, "a", b"old");
    disk.set_fail(disk.ops() + 1, Fault::Enospc, false);
    file.write_all_at(b"one", 0).unwrap();
    assert_eq!(code(file.write_all_at(b"two", 0)), Some(libc::ENOSPC));
    assert_eq!(read(&file), b"one");
    file.write_all_at(b"two", 0).unwrap();
    assert!(disk.clear_fail());

    disk.set_fail(disk.ops(), Fault::Edquot, true);
    for _ in 0..2 {
        assert_eq!(dir.open("b", Mode::CreateNew).err().unwrap().raw_os_error(), Some(libc::EDQUOT));
        assert_eq!(code(dir.rename("a", "c")), Some(libc::EDQUOT));
    }
    assert_eq!(names(&disk), ["a"]);
    disk.clear_fail();

    disk.set_fail(disk.ops() + 100, Fault::Eio, false);
    dir.sync().unwrap();
    assert!(!disk.clear_fail(), "it never struck");
}

#[test]
fn fsync_faults_wait_for_a_sync_and_short_writes_write_half() {
    let disk = SimDisk::new();
    let dir = disk.dir();
    let file = settle(&dir, "a", b"....");
    disk.set_fail(disk.ops(), Fault::FsyncFails, false);
    file.write_all_at(b"x", 0).unwrap();
    dir.rename("a", "b").unwrap();
    assert_eq!(code(file.sync_data()), Some(libc::EIO));
    file.sync_data().unwrap();

    disk.set_fail(disk.ops(), Fault::ShortWrite, false);
    assert_eq!(code(file.write_all_at(b"abcd", 0)), Some(libc::ENOSPC));
    assert_eq!(read(&file), b"ab..");
}

#[test]
fn stores_never_fail_but_are_counted() {
    let disk = SimDisk::new();
    let file = settle(&disk.dir(), "a", b"....");
    let mut map = file.map(4).unwrap();
    disk.set_fail(disk.ops(), Fault::Eio, true);
    map.store(0, b"x");
    assert_eq!(read(&file), b"x...");
    assert!(file.write_all_at(b"y", 0).is_err());
}

#[test]
fn a_full_disk_refuses_only_what_needs_room() {
    let disk = SimDisk::new();
    let dir = disk.dir();
    let file = settle(&dir, "a", b"1234");
    disk.set_full(true);
    assert_eq!(dir.open("b", Mode::CreateNew).err().unwrap().raw_os_error(), Some(libc::ENOSPC));
    assert_eq!(code(file.write_all_at(b"56", 3)), Some(libc::ENOSPC));
    assert!(dir.subdir("d", true).is_err());
    file.write_all_at(b"0", 3).unwrap();
    file.sync_data().unwrap();
    dir.rename("a", "c").unwrap();
    disk.set_full(false);
    file.write_all_at(b"56", 3).unwrap();
    assert_eq!(read(&file), b"12356");
}

#[test]
fn from_the_power_cut_on_everything_fails() {
    let disk = SimDisk::new();
    let dir = disk.dir();
    let file = settle(&dir, "a", b"old");
    let mut map = file.map(3).unwrap();
    disk.crash_at(disk.ops() + 1);
    file.write_all_at(b"new", 0).unwrap();
    assert!(!disk.crashed());
    assert!(PowerCut::is(&file.write_all_at(b"NEW", 0).unwrap_err()));
    assert!(disk.crashed());
    assert!(PowerCut::is(&file.sync_data().unwrap_err()));
    assert!(PowerCut::is(&file.read_exact_at(&mut [0], 0).unwrap_err()));
    assert!(PowerCut::is(&dir.list().unwrap_err()));
    assert!(PowerCut::is(&dir.lock("l", "").err().unwrap()));
    assert!(!PowerCut::is(&io::Error::other("something else")));
    map.store(0, b"xxx");
    assert_eq!(disk.power_cut(CrashPlan::KeepAll).read_file("a").unwrap(), b"new");
    assert_eq!(disk.power_cut(CrashPlan::LoseUnsynced).read_file("a").unwrap(), b"old");
}

#[test]
fn a_power_cut_at_each_operation_of_a_scenario_is_reached() {
    let scenario = |disk: &SimDisk| -> io::Result<()> {
        let dir = disk.dir();
        let file = dir.open("tmp", Mode::CreateNew)?;
        file.write_all_at(&[1; 4096], 0)?;
        file.map(4096)?.store(5, b"record");
        file.sync_data()?;
        dir.rename("tmp", "final")?;
        dir.subdir("legacy", true)?;
        dir.sync()
    };
    let whole = SimDisk::new();
    scenario(&whole).unwrap();
    assert_eq!(whole.ops(), 9);
    for op in 0..whole.ops() {
        let disk = SimDisk::new();
        disk.crash_at(op);
        let result = scenario(&disk);
        assert!(PowerCut::is(&result.unwrap_err()), "operation {op}");
        assert_eq!(disk.ops(), op);
    }
}

#[test]
fn a_killed_process_leaves_the_page_cache_but_not_the_lock() {
    let disk = SimDisk::new();
    let dir = disk.dir();
    settle(&dir, "a", b"old").write_all_at(b"new", 0).unwrap();
    let Locked::Guard(_guard) = dir.lock("lock", "1\n").unwrap() else { panic!("free") };
    disk.set_fail(0, Fault::Eio, true);
    disk.crash_at(disk.ops());
    assert!(dir.sync().is_err());
    let next = disk.kill();
    assert_eq!(next.read_file("a").unwrap(), b"new");
    assert!(matches!(next.dir().lock("lock", "2\n").unwrap(), Locked::Guard(_)));
    assert_eq!(next.power_cut(CrashPlan::LoseUnsynced).read_file("a").unwrap(), b"old", "still not durable");
    next.dir().open("a", Mode::ReadWrite).unwrap().sync_data().unwrap();
    assert_eq!(next.power_cut(CrashPlan::LoseUnsynced).read_file("a").unwrap(), b"new");
}

#[test]
fn locks_exclude_each_other_and_die_with_the_power() {
    let disk = SimDisk::new();
    let dir = disk.dir();
    let Locked::Guard(guard) = dir.lock("lock", "7\n").unwrap() else { panic!("free") };
    assert_eq!(disk.read_file("lock").unwrap(), b"7\n");
    assert!(matches!(disk.clone().dir().lock("lock", "8\n").unwrap(), Locked::HeldHere { .. }));
    assert!(matches!(disk.power_cut(CrashPlan::KeepAll).dir().lock("lock", "9\n").unwrap(), Locked::Guard(_)));
    drop(guard);
    let Locked::Guard(guard) = dir.lock("lock", "8").unwrap() else { panic!("unlocked") };
    assert_eq!(disk.read_file("lock").unwrap(), b"8");
    drop(guard);
    disk.lock_elsewhere("lock", Some("4711\n"));
    let Locked::HeldElsewhere { content } = dir.lock("lock", "8").unwrap() else { panic!("held elsewhere") };
    assert_eq!(content, "4711\n");
    disk.lock_elsewhere("lock", None);
    assert!(matches!(dir.lock("lock", "8").unwrap(), Locked::Guard(_)));
}

#[test]
fn subdirectories_and_moves() {
    let disk = SimDisk::new();
    let dir = disk.dir();
    assert_eq!(dir.subdir("legacy", false).err().unwrap().kind(), io::ErrorKind::NotFound);
    let legacy = dir.subdir("legacy", true).unwrap();
    assert_eq!(legacy.path(), dir.path().join("legacy"));
    settle(&dir, "a", b"data");
    assert_eq!(names(&disk), ["a"], "subdirectories are not listed");
    assert!(dir.move_into("a", "nowhere").is_err());
    dir.move_into("a", "legacy").unwrap();
    assert_eq!(legacy.list().unwrap(), ["a"]);

    let places = |after: SimDisk| {
        let root = after.read_file("a").is_some();
        (root, after.dir().subdir("legacy", false).unwrap().list().unwrap() == ["a"])
    };
    assert_eq!(places(disk.power_cut(CrashPlan::LoseUnsynced)), (true, false));
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..100 {
        seen.insert(places(disk.power_cut(CrashPlan::Random(seed))));
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [(false, true), (true, false), (true, true)]);
    let source_first = disk.kill();
    source_first.dir().sync().unwrap();
    assert_eq!(places(source_first.power_cut(CrashPlan::LoseUnsynced)), (false, true));
    legacy.sync().unwrap();
    assert_eq!(places(disk.power_cut(CrashPlan::LoseUnsynced)), (true, true));
    dir.sync().unwrap();
    assert_eq!(places(disk.power_cut(CrashPlan::LoseUnsynced)), (false, true));
    let moved = disk.power_cut(CrashPlan::LoseUnsynced).dir().subdir("legacy", false).unwrap();
    assert_eq!(read(&moved.open("a", Mode::Read).unwrap()), b"data");
}

#[test]
fn planted_files_are_durable_and_dump_tells_what_is_not() {
    let disk = SimDisk::new();
    let dir = disk.dir();
    create(&dir, "a", b"x");
    disk.write_file("a", b"planted");
    assert_eq!(disk.power_cut(CrashPlan::LoseUnsynced).read_file("a").unwrap(), b"planted");
    create(&dir, "b", b"123");
    let dump = disk.dump();
    assert!(dump.contains("a: 7 bytes, 7 durable, 0 sector writes pending"), "{dump}");
    assert!(dump.contains("b (name not durable): 3 bytes, 0 durable, 1 sector writes pending"), "{dump}");
}
