//! Every file name, magic number and format version, and nothing else: what the files hold is said in `log` and `snapshot`.

/// The lock file. It holds the writer's process id as text; it is never removed.
pub const LOCK: &str = "flint.lock";
/// The socket of a server in its data directory, as messages propose it.
pub const SOCKET: &str = "flint.sock";
/// The longest path of a Unix socket that a server can have: the system's bound, less the `.` and process number that are appended
/// until the socket has its mode.
pub const MAX_SOCKET_PATH_BYTES: usize = (if cfg!(target_os = "linux") { 107 } else { 103 }) - ".4194304".len();
/// The start of the lock file's line that names the store made in the directory, so that losing every other file is noticed.
pub const STORE_LINE: &str = "store ";
/// The start of the lock file's line with the PID namespace in which the writer has its process id.
pub const NAMESPACE_LINE: &str = "pid-namespace ";
/// The start of its line with the time at which that process started, in clock ticks since the system did.
pub const STARTED_LINE: &str = "started ";
/// A lock file that root makes in another user's directory, until it belongs to that user.
pub const LOCK_TMP: &str = "flint-lock.tmp";
/// A segment that is being prepared: zero-filled here, then renamed to its [`segment_name`].
pub const SPARE: &str = "flint-spare.tmp";
/// Room for a segment that only a compaction may use; it stays when the store is closed.
pub const RESERVE: &str = "flint-reserve.tmp";
/// A snapshot that is being written, then renamed to its [`snapshot_name`].
pub const SNAPSHOT_TMP: &str = "flint-snapshot.tmp";
/// Appended to a segment's name while a migration is not committed.
pub const MIGRATING_SUFFIX: &str = ".migrating";

/// The log of releases 0.1 and 0.2; after migration the [`TOMBSTONE`].
pub const LEGACY_AOF: &str = "flint.aof";
/// The snapshot of releases 0.1 and 0.2.
pub const LEGACY_SNAPSHOT: &str = "flint.snapshot";
/// Where the files of releases 0.1 and 0.2 rest after migration.
pub const LEGACY_DIR: &str = "legacy";

/// First eight bytes of a segment.
pub const SEGMENT_MAGIC: [u8; 8] = *b"FLINTSEG";
/// First eight bytes of a segment's seal.
pub const SEAL_MAGIC: [u8; 8] = *b"FLINTEND";
/// Version of the segment format. All versions up to it are read.
pub const SEGMENT_VERSION: u32 = 2;
/// Feature bits of segments that this version understands.
pub const SEGMENT_FEATURES: u64 = 0;
/// Value of `format` in a snapshot's first line.
pub const SNAPSHOT_FORMAT: &str = "flint-snapshot";
/// Version of the snapshot format. All versions up to it are read.
pub const SNAPSHOT_VERSION: u64 = 2;
/// Feature bits of snapshots that this version understands.
pub const SNAPSHOT_FEATURES: u64 = 0;

/// What a migrated directory holds as [`LEGACY_AOF`]. Release 0.2 forgives a last line that it cannot parse, hence several
/// lines, none of which is JSON.
pub const TOMBSTONE: &str = "\
This directory was migrated to the format of Flint 0.3, and Flint 0.2 must not open it.
The files that Flint 0.2 wrote are in the subdirectory legacy, unchanged.
To go back, stop the application, move them to an empty directory and open that one with Flint 0.2.
What was consumed since the migration is not in them.
";

const SEGMENT_SUFFIX: &str = ".aof";
const SNAPSHOT_SUFFIX: &str = ".snapshot";
const PREFIX: &str = "flint-";
/// Enough for every u64, so that names sort as their numbers do.
const DIGITS: usize = 20;

/// The kind of a file in the data directory, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// [`LOCK`].
    Lock,
    /// [`LOCK_TMP`].
    LockTmp,
    /// A log segment, with its first sequence number.
    Segment(u64),
    /// A segment of a migration that was not committed, with its first sequence number.
    MigratingSegment(u64),
    /// [`SPARE`].
    Spare,
    /// A snapshot, with the sequence number at which it starts.
    Snapshot(u64),
    /// [`RESERVE`].
    Reserve,
    /// [`SNAPSHOT_TMP`].
    SnapshotTmp,
    /// [`LEGACY_AOF`].
    LegacyAof,
    /// [`LEGACY_SNAPSHOT`].
    LegacySnapshot,
    /// Not Flint's.
    Foreign,
}

/// The kind of file that is called `name`. Near misses ("flint-1.aof") are foreign.
pub fn classify(name: &str) -> FileKind {
    match name {
        LOCK => FileKind::Lock,
        LOCK_TMP => FileKind::LockTmp,
        SPARE => FileKind::Spare,
        RESERVE => FileKind::Reserve,
        SNAPSHOT_TMP => FileKind::SnapshotTmp,
        LEGACY_AOF => FileKind::LegacyAof,
        LEGACY_SNAPSHOT => FileKind::LegacySnapshot,
        _ => parse_segment_name(name)
            .map(FileKind::Segment)
            .or_else(|| parse_snapshot_name(name).map(FileKind::Snapshot))
            .or_else(|| parse_migrating_name(name).map(FileKind::MigratingSegment))
            .unwrap_or(FileKind::Foreign),
    }
}

/// The name of the segment whose first record has the sequence number `first_seq`.
pub fn segment_name(first_seq: u64) -> String {
    format!("{PREFIX}{first_seq:0DIGITS$}{SEGMENT_SUFFIX}")
}

/// The first sequence number in a segment's name; `None` for every other name.
pub fn parse_segment_name(name: &str) -> Option<u64> {
    parse_numbered(name, SEGMENT_SUFFIX).filter(|&first_seq| first_seq > 0)
}

/// The name of the snapshot that starts at the sequence number `start`.
pub fn snapshot_name(start: u64) -> String {
    format!("{PREFIX}{start:0DIGITS$}{SNAPSHOT_SUFFIX}")
}

/// The start in a snapshot's name; `None` for every other name.
pub fn parse_snapshot_name(name: &str) -> Option<u64> {
    parse_numbered(name, SNAPSHOT_SUFFIX)
}

/// The name of a segment while the migration that writes it is not committed.
pub fn migrating_name(first_seq: u64) -> String {
    segment_name(first_seq) + MIGRATING_SUFFIX
}

/// The first sequence number in the name of a migration's segment; `None` for every other name.
pub fn parse_migrating_name(name: &str) -> Option<u64> {
    parse_segment_name(name.strip_suffix(MIGRATING_SUFFIX)?)
}

/// Whether the content of [`LEGACY_AOF`] is what a migration left there. Only the first line counts, so that later versions
/// may say more below it.
pub fn is_tombstone(content: &[u8]) -> bool {
    let first_line = TOMBSTONE.split_inclusive('\n').next().unwrap_or(TOMBSTONE);
    content.starts_with(first_line.as_bytes())
}

fn parse_numbered(name: &str, suffix: &str) -> Option<u64> {
    let digits = name.strip_prefix(PREFIX)?.strip_suffix(suffix)?;
    if digits.len() != DIGITS || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_sort_as_their_numbers() {
        assert_eq!(segment_name(1), "flint-00000000000000000001.aof");
        assert_eq!(snapshot_name(420), "flint-00000000000000000420.snapshot");
        assert_eq!(migrating_name(7), "flint-00000000000000000007.aof.migrating");
        for seq in [1, 9, 10, 420, u64::MAX] {
            assert_eq!(classify(&segment_name(seq)), FileKind::Segment(seq));
            assert_eq!(classify(&snapshot_name(seq)), FileKind::Snapshot(seq));
            assert_eq!(classify(&migrating_name(seq)), FileKind::MigratingSegment(seq));
        }
        assert_eq!(classify(&snapshot_name(0)), FileKind::Snapshot(0));
        assert!(segment_name(9) < segment_name(10));
        assert!(segment_name(10) < segment_name(u64::MAX));
    }

    #[test]
    fn each_fixed_name_has_its_kind() {
        assert_eq!(classify("flint.lock"), FileKind::Lock);
        assert_eq!(classify("flint-lock.tmp"), FileKind::LockTmp);
        assert_eq!(classify("flint-spare.tmp"), FileKind::Spare);
        assert_eq!(classify("flint-reserve.tmp"), FileKind::Reserve);
        assert_eq!(classify("flint-snapshot.tmp"), FileKind::SnapshotTmp);
        assert_eq!(classify("flint.aof"), FileKind::LegacyAof);
        assert_eq!(classify("flint.snapshot"), FileKind::LegacySnapshot);
    }

    #[test]
    fn near_misses_are_foreign() {
        for name in [
            "",
            "flint-.aof",
            "flint-1.aof",
            "flint-0000000000000000000.aof",
            "flint-000000000000000000001.aof",
            "flint-00000000000000000000.aof",
            "flint-+0000000000000000001.aof",
            "flint-99999999999999999999.aof",
            "flint-00000000000000000001.aof~",
            "flint-00000000000000000001.AOF",
            "flint-00000000000000000001",
            "flint-00000000000000000001.snapshot.migrating",
            "Flint-00000000000000000001.aof",
            "flint-0000000000000000000١.aof",
            "flint.aof.migrating",
        ] {
            assert_eq!(classify(name), FileKind::Foreign, "{name:?}");
        }
    }

    #[test]
    fn the_tombstone_has_several_lines_and_none_is_json() {
        assert!(TOMBSTONE.ends_with('\n'));
        assert!(TOMBSTONE.lines().count() > 2);
        for line in TOMBSTONE.lines() {
            assert!(serde_json::from_str::<serde_json::Value>(line).is_err(), "{line}");
        }
        assert!(serde_json::from_str::<serde_json::Value>(TOMBSTONE).is_err());
        assert!(is_tombstone(TOMBSTONE.as_bytes()));
        assert!(!is_tombstone(b""));
        assert!(!is_tombstone(&TOMBSTONE.as_bytes()[..20]));
        assert!(!is_tombstone(b"{\"version\":1}\n"));
        let first_line = TOMBSTONE.find('\n').unwrap();
        for bit in 0..first_line * 8 {
            let mut flipped = TOMBSTONE.as_bytes().to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!is_tombstone(&flipped), "bit {bit}");
        }
    }
}
