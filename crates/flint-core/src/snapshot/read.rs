//! Reading a snapshot file.

use std::io;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::parse::{Cursor, Fault};
use super::{Header, KNOWN_FEATURES, MAX_LINE_BYTES, Trailer, VERSION};
use crate::error::{Error, Result};
use crate::hooks::{self, Defect};
use crate::idempotency::IdempotencyRecord;
use crate::image::KeyImage;
use crate::storage::File;

/// The first line is shorter.
const MAX_HEADER_BYTES: usize = CHUNK_BYTES;

/// Bytes read at a time; a longer line makes the buffer grow.
const CHUNK_BYTES: usize = 256 << 10;

/// The digits of the SHA-256 and what follows them, the same in every version: 64 digits, `"}` and a line feed.
const TAIL_BYTES: usize = 67;

/// What is between the first and the last line.
#[derive(Debug, Clone, Copy)]
pub enum Body<'a> {
    /// A key.
    Key(&'a KeyImage),
    /// A remembered answer.
    Idempotency(IdempotencyRecord<'a>),
}

/// Reads a whole snapshot and calls `each` for every key and then for every answer. The image passed is used again for the next
/// key.
///
/// The SHA-256 is known only at the end, so `each` sees lines before they are verified: on any error the caller must throw away
/// what it built. The check that ids and keys are unique is the caller's.
///
/// # Errors
/// `Corrupt` (with the byte) when the file is not exactly what a writer produced, `Unsupported` when it is intact but of a newer
/// format, `Storage` when it cannot be read, and whatever `each` returns.
pub fn read(file: &dyn File, path: &Path, each: &mut dyn FnMut(Body<'_>) -> Result<()>) -> Result<(Header, Trailer)> {
    let mut source = Source::open(file, path)?;
    let mut hash = Sha256::new();
    let mut header: Option<Header> = None;
    let mut version = VERSION;
    let mut image = KeyImage::default();
    let mut answer = Vec::new();
    let (mut keys, mut answers) = (0, 0);
    // Of the answers: the newest record and its time.
    let mut newest = (0, 0);
    let (mut max_id, mut max_seq) = (0, 0);
    while source.fill_lines()? {
        let lines = source.lines();
        let mut cursor = Cursor::new(lines);
        let refuse = |fault: Fault| source.corrupt(fault.at, fault.detail);
        // The version comes before the rest of the header: the form of every other field depends on it.
        if header.is_none() {
            let (found, features) = cursor.version_and_features().map_err(refuse)?;
            if !(1..=VERSION).contains(&found) || features & !KNOWN_FEATURES != 0 {
                return Err(newer(file, path, found, features));
            }
            version = found;
            let parsed = cursor.header().map_err(refuse)?;
            max_seq = parsed.start;
            header = Some(parsed);
        }
        // Keys first. A piece may end between any two lines, so each loop goes on in the next piece.
        while !cursor.is_at_end() && !cursor.is_at_trailer() && !cursor.is_at_answer() {
            if answers > 0 {
                return Err(source.corrupt(cursor.at(), "a key is behind an answer"));
            }
            cursor.image(version, &mut image).map_err(refuse)?;
            keys += 1;
            max_id = max_id.max(image.id);
            max_seq = max_seq.max(image.seq);
            each(Body::Key(&image))?;
        }
        // Then the remembered answers, oldest first, none of them newer than the start of the snapshot.
        while cursor.is_at_answer() {
            let at = cursor.at();
            let record = cursor.answer(&mut answer).map_err(refuse)?;
            let covered =
                header.as_ref().is_some_and(|header| record.seq <= header.start && record.at_ns <= header.engine_ns);
            if !covered || record.seq < newest.0 || record.at_ns < newest.1 {
                return Err(source.corrupt(at, "an answer is out of order"));
            }
            newest = (record.seq, record.at_ns);
            answers += 1;
            each(Body::Idempotency(record))?;
        }
        // No trailer yet: read the next piece.
        if cursor.is_at_end() {
            hash.update(lines);
            source.consume_lines();
            continue;
        }
        // The trailer ends the file, and its SHA-256 covers every byte before its own digits.
        let (trailer, digits_at) = cursor.trailer().map_err(refuse)?;
        if !cursor.is_at_end() || !source.lines_are_last() {
            return Err(source.corrupt(cursor.at(), "something follows the trailer"));
        }
        hash.update(&lines[..digits_at]);
        let digest: [u8; 32] = hash.finalize().into();
        if digest != trailer.sha256 && !hooks::has(Defect::SkipSnapshotChecksum) {
            return Err(Error::corrupt(path, 0, "the SHA-256 of the snapshot does not match its trailer"));
        }
        // Intact, but a writer would not have produced it: its counts and bounds have to agree with the lines.
        if (keys, answers) != (trailer.keys, trailer.answers) || max_id >= trailer.next_id || max_seq > trailer.end {
            return Err(source.corrupt(digits_at, "the trailer contradicts the lines before it"));
        }
        let Some(header) = header else { break };
        return Ok((header, trailer));
    }
    Err(Error::corrupt(path, source.len, "the snapshot ends without a trailer"))
}

/// Reads the header alone, which nothing verifies but its form.
///
/// # Errors
/// As [`read`].
pub fn read_header(file: &dyn File, path: &Path) -> Result<Header> {
    let mut source = Source::open(file, path)?;
    source.fill_lines()?;
    let mut cursor = Cursor::new(source.lines());
    let refuse = |fault: Fault| source.corrupt(fault.at, fault.detail);
    let (version, features) = cursor.version_and_features().map_err(refuse)?;
    if !(1..=VERSION).contains(&version) || features & !KNOWN_FEATURES != 0 {
        return Err(newer(file, path, version, features));
    }
    cursor.header().map_err(refuse)
}

/// The file, in pieces that end with a line feed.
struct Source<'a> {
    file: &'a dyn File,
    path: &'a Path,
    len: u64,
    /// Where `buf` starts in the file.
    offset: u64,
    buf: Vec<u8>,
    /// Length of the whole lines at the front of `buf`.
    lines: usize,
}

impl<'a> Source<'a> {
    fn open(file: &'a dyn File, path: &'a Path) -> Result<Self> {
        let len = file.len().map_err(|error| Error::storage("cannot measure", path, error))?;
        Ok(Self { file, path, len, offset: 0, buf: Vec::new(), lines: 0 })
    }

    fn next_offset(&self) -> u64 {
        self.offset + self.buf.len() as u64
    }

    /// Whether the current lines reach to the end of the file.
    fn lines_are_last(&self) -> bool {
        self.offset + self.lines as u64 == self.len
    }

    fn lines(&self) -> &[u8] {
        &self.buf[..self.lines]
    }

    fn consume_lines(&mut self) {
        self.offset += self.lines as u64;
        self.buf.drain(..self.lines);
        self.lines = 0;
    }

    /// Reads until there is at least one whole line; false at the end of the file.
    fn fill_lines(&mut self) -> Result<bool> {
        while self.lines == 0 {
            let left = self.len - self.next_offset();
            if left == 0 {
                if self.buf.is_empty() {
                    return Ok(false);
                }
                return Err(Error::corrupt(self.path, self.len, "the snapshot ends in the middle of a line"));
            }
            let old = self.buf.len();
            if old > MAX_LINE_BYTES || (self.offset == 0 && old >= MAX_HEADER_BYTES) {
                return Err(self.corrupt(0, "the line is longer than any that is written"));
            }
            let more = usize::try_from(left).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES));
            let room = self.buf.try_reserve(more).map_err(|_| io::ErrorKind::OutOfMemory.into());
            room.map_err(|error| Error::storage("cannot read", self.path, error))?;
            self.buf.resize(old + more, 0);
            self.file
                .read_exact_at(&mut self.buf[old..], self.offset + old as u64)
                .map_err(|error| Error::storage("cannot read", self.path, error))?;
            if let Some(last) = self.buf[old..].iter().rposition(|&byte| byte == b'\n') {
                self.lines = old + last + 1;
            } else if let Some(zero) = self.buf[old..].iter().position(|&byte| byte < b' ') {
                // Before more of it is read: a hole in a file may be of any length.
                return Err(self.corrupt(old + zero, "a control character in a line"));
            }
        }
        Ok(true)
    }

    fn corrupt(&self, at: usize, detail: &'static str) -> Error {
        Error::corrupt(self.path, self.offset + at as u64, detail)
    }
}

/// The error for a version or feature that is not known: an intact file is newer, any other is damaged.
fn newer(file: &dyn File, path: &Path, version: u64, features: u64) -> Error {
    match is_intact(file) {
        Ok(true) => Error::Unsupported {
            path: path.to_path_buf(),
            detail: format!(
                "written by a newer Flint (snapshot version {version}, features {features:#x}; this one reads up to \
                 version {VERSION}): upgrade flint-limiter"
            ),
        },
        Ok(false) => Error::corrupt(path, 0, "an unknown version, and the SHA-256 does not match"),
        Err(error) => Error::storage("cannot read", path, error),
    }
}

/// Whether the SHA-256 holds, whatever else the file says.
fn is_intact(file: &dyn File) -> io::Result<bool> {
    let Some(hashed) = file.len()?.checked_sub(TAIL_BYTES as u64) else { return Ok(false) };
    let mut hash = Sha256::new();
    let mut buf = vec![0; CHUNK_BYTES];
    let mut at = 0;
    while at < hashed {
        let more = usize::try_from(hashed - at).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES));
        file.read_exact_at(&mut buf[..more], at)?;
        hash.update(&buf[..more]);
        at += more as u64;
    }
    let mut tail = [0; TAIL_BYTES];
    file.read_exact_at(&mut tail, hashed)?;
    Ok(super::parse::sha256_tail(&tail) == Some(hash.finalize().into()))
}
