//! A whole directory taken apart.

use flint_core::files::{self, FileKind};

use super::checksums::{fix_old_line, fix_snapshot, inner_state, old_snapshot, sha256_hex};
use super::segment::{Segment, u32_at};
use super::text::rfind;
use crate::directory::Files;

/// A snapshot.
#[derive(Debug, Clone, Default)]
pub(crate) struct Snapshot {
    pub(crate) named: u64,
    pub(crate) lines: Vec<Vec<u8>>,
    /// Whether its SHA-256 is left as it is.
    pub(crate) wrong_sha256: bool,
}

/// A directory.
#[derive(Debug, Clone, Default)]
pub(crate) struct EditableDirectory {
    pub(crate) segments: Vec<Segment>,
    /// What the first segment names as the checksum of the record before it.
    pub(crate) first_prev_crc: u32,
    pub(crate) snapshots: Vec<Snapshot>,
    /// Lines of the log of an old release.
    pub(crate) old_log: Option<Vec<Vec<u8>>>,
    /// The JSON inside an old snapshot.
    pub(crate) old_state: Option<Vec<u8>>,
    /// Whether checksums in old files are left as they are.
    pub(crate) old_wrong: bool,
    /// Everything else.
    pub(crate) other: Files,
}

fn lines(bytes: &[u8]) -> Vec<Vec<u8>> {
    bytes.split_inclusive(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\n").unwrap_or(line).to_vec()).collect()
}

impl EditableDirectory {
    /// Takes a directory apart.
    pub(crate) fn read(files: &Files) -> Self {
        let mut editable = Self::default();
        for (name, bytes) in files {
            match files::classify(name) {
                FileKind::Segment(_) => editable.segments.push(Segment::read(bytes)),
                FileKind::MigratingSegment(_) => {
                    editable.segments.push(Segment { migrating: true, ..Segment::read(bytes) });
                }
                FileKind::Snapshot(named) => {
                    editable.snapshots.push(Snapshot { named, lines: lines(bytes), wrong_sha256: false });
                }
                FileKind::LegacyAof if !files::is_tombstone(bytes) => editable.old_log = Some(lines(bytes)),
                _ => drop(editable.other.insert(name.clone(), bytes.clone())),
            }
            if name == files::LEGACY_SNAPSHOT {
                editable.old_state = inner_state(bytes);
                editable.other.remove(name);
            }
        }
        if let Some(first) = editable.segments.first() {
            let name = match first.migrating {
                true => files::migrating_name(first.first_seq.unwrap_or(0)),
                false => files::segment_name(first.first_seq.unwrap_or(0)),
            };
            editable.first_prev_crc = files.get(&name).map_or(0, |bytes| u32_at(bytes, 12));
        }
        // The others follow from the one before.
        for segment in editable.segments.iter_mut().skip(1) {
            segment.first_seq = None;
        }
        editable
    }

    /// The same store under another id.
    pub(crate) fn with_id(mut self, id: u64) -> Self {
        let old = self.segments.first().map_or(0, |segment| segment.store_id);
        let of_old_release = self.old_log.is_some() || self.other.contains_key(files::LEGACY_AOF);
        if of_old_release {
            // Its id comes from the old log.
            return self;
        }
        for segment in &mut self.segments {
            segment.store_id = id;
        }
        let (old, new) = (format!("{old:016x}").into_bytes(), format!("{id:016x}").into_bytes());
        let texts = self.snapshots.iter_mut().flat_map(|snapshot| &mut snapshot.lines).chain(self.other.values_mut());
        for text in texts {
            if let Some(at) = rfind(text, &old) {
                text[at..at + 16].copy_from_slice(&new);
            }
        }
        // The first line of a lock is the pid of the process that wrote it.
        if let Some(lock) = self.other.get_mut(files::LOCK) {
            *lock = [b"1\nstore ", &new[..], b"\n"].concat();
        }
        self
    }

    /// The directory.
    pub(crate) fn write(&self) -> Files {
        let mut files = self.other.clone();
        let mut chain = (0, self.first_prev_crc);
        for segment in &self.segments {
            let (first_seq, bytes) = segment.write(&mut chain);
            let number = segment.named.unwrap_or(first_seq);
            let name = if segment.migrating { files::migrating_name(number) } else { files::segment_name(number) };
            files.insert(name, bytes);
        }
        for snapshot in &self.snapshots {
            let mut bytes: Vec<u8> = snapshot.lines.iter().flat_map(|line| [line, &b"\n"[..]].concat()).collect();
            if !snapshot.wrong_sha256 {
                fix_snapshot(&mut bytes);
            }
            files.insert(files::snapshot_name(snapshot.named), bytes);
        }
        if let Some(log) = &self.old_log {
            let line = |line: &Vec<u8>| if self.old_wrong { line.clone() } else { fix_old_line(line) };
            files.insert(
                files::LEGACY_AOF.to_owned(),
                log.iter().flat_map(|l| [line(l), b"\n".to_vec()].concat()).collect(),
            );
        }
        if let Some(state) = &self.old_state {
            let digits = if self.old_wrong { "0".repeat(64) } else { sha256_hex(state) };
            files.insert(files::LEGACY_SNAPSHOT.to_owned(), old_snapshot(state, &digits));
        }
        files
    }
}
