//! A directory taken apart into fields that can be changed one by one, and put together again with every checksum right.

use flint_core::files::{self, FileKind};
use flint_core::log::frame;
use sha2::{Digest as _, Sha256};

use super::mutate::decimals;
use crate::directory::Files;

const HEADER_LEN: usize = 64;
const SEAL_LEN: usize = 64;
const BLOCK: usize = 4096;

/// A record. What is `None` is put in when it is written: the next sequence number, the checksum of the one before.
#[derive(Debug, Clone, Default)]
pub(super) struct Record {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) seq: Option<u64>,
    pub(super) prev_crc: Option<u32>,
    /// The low 24 bits count.
    pub(super) lag: u32,
    /// Engine time, then what the kind says. A multiple of eight bytes.
    pub(super) body: Vec<u8>,
    /// Whether its checksum is wrong.
    pub(super) torn: bool,
    /// Length in words, where it is not the true one.
    pub(super) words: Option<u32>,
}

/// What the seal says, where it is not the truth.
#[derive(Debug, Clone, Default)]
pub(super) struct Seal {
    pub(super) end_offset: Option<u64>,
    pub(super) last_seq: Option<u64>,
    pub(super) last_crc: Option<u32>,
    pub(super) wrong_sha256: bool,
    pub(super) torn: bool,
}

/// A segment.
#[derive(Debug, Clone, Default)]
pub(super) struct Segment {
    /// The number in its name, where it is not the first sequence number.
    pub(super) named: Option<u64>,
    pub(super) migrating: bool,
    pub(super) version: u32,
    pub(super) features: u64,
    pub(super) store_id: u64,
    pub(super) first_seq: Option<u64>,
    pub(super) prev_crc: Option<u32>,
    pub(super) segment_len: Option<u64>,
    /// Bytes 48 to 60 of the header.
    pub(super) reserved: u8,
    /// Whether the header is all zeros.
    pub(super) no_header: bool,
    pub(super) torn_header: bool,
    pub(super) records: Vec<Record>,
    /// Bytes behind the last record.
    pub(super) tail: Vec<u8>,
    pub(super) seal: Option<Seal>,
    /// Length of the file; more if the records need it.
    pub(super) len: usize,
    /// Bytes that the file has more or less than that.
    pub(super) cut: isize,
}

/// A snapshot.
#[derive(Debug, Clone, Default)]
pub(super) struct Snapshot {
    pub(super) named: u64,
    pub(super) lines: Vec<Vec<u8>>,
    /// Whether its SHA-256 is left as it is.
    pub(super) wrong_sha256: bool,
}

/// A directory.
#[derive(Debug, Clone, Default)]
pub(super) struct EditableDirectory {
    pub(super) segments: Vec<Segment>,
    /// What the first segment names as the checksum of the record before it.
    pub(super) first_prev_crc: u32,
    pub(super) snapshots: Vec<Snapshot>,
    /// Lines of the log of an old release.
    pub(super) old_log: Option<Vec<Vec<u8>>>,
    /// The JSON inside an old snapshot.
    pub(super) old_state: Option<Vec<u8>>,
    /// Whether checksums in old files are left as they are.
    pub(super) old_wrong: bool,
    /// Everything else.
    pub(super) other: Files,
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|word| word.try_into().ok()).map_or(0, u64::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|word| word.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn lines(bytes: &[u8]) -> Vec<Vec<u8>> {
    bytes.split_inclusive(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\n").unwrap_or(line).to_vec()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Where `part` occurs last.
pub(super) fn rfind(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).rposition(|window| window == part)
}

/// Puts the right SHA-256 into the trailer of a snapshot, if it has the form of one.
pub(super) fn fix_snapshot(bytes: &mut [u8]) {
    const FIELD: &[u8] = br#""sha256":""#;
    let Some(at) = rfind(bytes, FIELD).map(|at| at + FIELD.len()) else { return };
    if bytes.len() >= at + 64 {
        let digits = sha256_hex(&bytes[..at]);
        bytes[at..at + 64].copy_from_slice(digits.as_bytes());
    }
}

/// The line of an old log with the right checksum, if it has one.
pub(super) fn fix_old_line(line: &[u8]) -> Vec<u8> {
    const FIELD: &[u8] = br#","checksum":""#;
    let Some(at) = rfind(line, FIELD) else { return line.to_vec() };
    let body = [&line[..at], b"}"].concat();
    let digits = sha256_hex(&body);
    [&line[..at], FIELD, digits.as_bytes(), b"\"}"].concat()
}

/// An old snapshot around this state.
pub(super) fn old_snapshot(state: &[u8], checksum: &str) -> Vec<u8> {
    let mut out = format!("{{\"format_version\":1,\"checksum\":\"{checksum}\",\"snapshot\":\"").into_bytes();
    for &byte in state {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0..0x20 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.extend_from_slice(b"\"}\n");
    out
}

impl Record {
    fn read(bytes: &[u8]) -> Self {
        Self {
            kind: bytes[16],
            flags: bytes[20],
            lag: u32_at(bytes, 20) >> 8,
            body: bytes[24..].to_vec(),
            ..Self::default()
        }
    }

    fn write(&self, seed: u32, seq: u64, prev_crc: u32) -> (Vec<u8>, u32) {
        let mut bytes = vec![0; 24];
        bytes.extend_from_slice(&self.body);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        let words = self.words.unwrap_or_else(|| u32::try_from(bytes.len() / 8).unwrap_or(0));
        bytes[4..8].copy_from_slice(&prev_crc.to_le_bytes());
        bytes[8..16].copy_from_slice(&seq.to_le_bytes());
        bytes[16..20].copy_from_slice(&(u32::from(self.kind) | words << 8).to_le_bytes());
        bytes[20..24].copy_from_slice(&(u32::from(self.flags) | self.lag << 8).to_le_bytes());
        let crc = crc32c::crc32c_append(seed, &bytes[4..]) ^ u32::from(self.torn);
        bytes[..4].copy_from_slice(&crc.to_le_bytes());
        (bytes, crc)
    }
}

impl Segment {
    fn read(bytes: &[u8]) -> Self {
        let area = &bytes[..bytes.len().saturating_sub(SEAL_LEN)];
        let mut records = Vec::new();
        let mut at = HEADER_LEN;
        while let Some(rest) = area.get(at..) {
            let len = (u32_at(rest, 16) >> 8) as usize * 8;
            if len < 32 || len > rest.len() {
                break;
            }
            records.push(Record::read(&rest[..len]));
            at += len;
        }
        let sealed = bytes.len() >= SEAL_LEN && bytes[bytes.len() - SEAL_LEN..] != [0; SEAL_LEN];
        Self {
            version: u32_at(bytes, 8),
            features: u64_at(bytes, 16),
            store_id: u64_at(bytes, 24),
            first_seq: Some(u64_at(bytes, 32)),
            records,
            seal: sealed.then(Seal::default),
            len: bytes.len(),
            ..Self::default()
        }
    }

    /// Its bytes; `chain` is the last sequence number and checksum, before and after.
    fn write(&self, chain: &mut (u64, u32)) -> (u64, Vec<u8>) {
        let first_seq = self.first_seq.unwrap_or_else(|| chain.0.wrapping_add(1));
        let prev_crc = self.prev_crc.unwrap_or(chain.1);
        let seed = frame::seed(self.store_id, first_seq);
        let mut bytes = vec![0; HEADER_LEN];
        let (mut next_seq, mut crc) = (first_seq, prev_crc);
        for record in &self.records {
            let seq = record.seq.unwrap_or(next_seq);
            let (record, record_crc) = record.write(seed, seq, record.prev_crc.unwrap_or(crc));
            bytes.extend_from_slice(&record);
            (next_seq, crc) = (seq.wrapping_add(1), record_crc);
        }
        let end_offset = bytes.len();
        bytes.extend_from_slice(&self.tail);
        let len = self.len.max((bytes.len() + SEAL_LEN).next_multiple_of(BLOCK));
        bytes.resize(len, 0);
        let header = &mut bytes[..HEADER_LEN];
        header[..8].copy_from_slice(&files::SEGMENT_MAGIC);
        header[8..12].copy_from_slice(&self.version.to_le_bytes());
        header[12..16].copy_from_slice(&prev_crc.to_le_bytes());
        header[16..24].copy_from_slice(&self.features.to_le_bytes());
        header[24..32].copy_from_slice(&self.store_id.to_le_bytes());
        header[32..40].copy_from_slice(&first_seq.to_le_bytes());
        header[40..48].copy_from_slice(&self.segment_len.unwrap_or(len as u64).to_le_bytes());
        header[50] = self.reserved;
        let header_crc = crc32c::crc32c(&header[..60]) ^ u32::from(self.torn_header);
        header[60..].copy_from_slice(&header_crc.to_le_bytes());
        if self.no_header {
            header.fill(0);
        }
        if let Some(seal) = &self.seal {
            let sha256 = Sha256::digest(&bytes[..end_offset]);
            let out = &mut bytes[len - SEAL_LEN..];
            out[..8].copy_from_slice(&files::SEAL_MAGIC);
            out[8..16].copy_from_slice(&seal.end_offset.unwrap_or(end_offset as u64).to_le_bytes());
            out[16..24].copy_from_slice(&seal.last_seq.unwrap_or(next_seq.wrapping_sub(1)).to_le_bytes());
            out[24..56].copy_from_slice(&sha256);
            out[24] ^= u8::from(seal.wrong_sha256);
            out[56..60].copy_from_slice(&seal.last_crc.unwrap_or(crc).to_le_bytes());
            let seal_crc = crc32c::crc32c_append(seed, &out[..60]) ^ u32::from(seal.torn);
            out[60..].copy_from_slice(&seal_crc.to_le_bytes());
        }
        bytes.resize(bytes.len().saturating_add_signed(self.cut), 0);
        *chain = (next_seq.wrapping_sub(1), crc);
        (first_seq, bytes)
    }
}

impl EditableDirectory {
    /// Takes a directory apart.
    pub(super) fn read(files: &Files) -> Self {
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
    pub(super) fn with_id(mut self, id: u64) -> Self {
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
    pub(super) fn write(&self) -> Files {
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

/// The JSON text inside an old snapshot, which holds no escapes but those of quotes and backslashes.
pub(super) fn inner_state(bytes: &[u8]) -> Option<Vec<u8>> {
    const FIELD: &[u8] = br#""snapshot":"#;
    let at = rfind(bytes, FIELD)? + FIELD.len();
    let start = at + bytes[at..].iter().position(|&byte| byte == b'"')? + 1;
    let mut out = Vec::new();
    let mut rest = bytes[start..].iter();
    loop {
        match rest.next()? {
            b'"' => return Some(out),
            b'\\' => out.push(*rest.next()?),
            &byte => out.push(byte),
        }
    }
}

/// The decimal numbers of a text that fit 64 bits, with their places.
pub(super) fn decimals_of(text: &[u8]) -> Vec<(std::ops::Range<usize>, u64)> {
    let value = |range: &std::ops::Range<usize>| std::str::from_utf8(&text[range.clone()]).ok()?.parse().ok();
    decimals(text).into_iter().filter_map(|range| value(&range).map(|value| (range, value))).collect()
}

/// Puts another number in place of one of [`decimals_of`].
pub(super) fn set_decimal(text: &mut Vec<u8>, index: usize, value: u64) {
    if let Some((range, _)) = decimals_of(text).get(index) {
        text.splice(range.clone(), value.to_string().into_bytes());
    }
}
