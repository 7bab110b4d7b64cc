//! Reading files in pieces: what the disk returns of a damaged one, and lines of bounded length.

use std::io;
use std::ops::Range;
use std::path::Path;

use super::File;
use crate::error::{Error, Result};

/// What the disk returns an error for is left out in pieces of this size.
const BLOCK: usize = 4096;
/// Bytes per read.
pub(crate) const PIECE: usize = 256 << 10;

/// Room for `len` bytes; an error, where allocating would end the process.
pub(crate) fn zeroed(len: u64) -> io::Result<Vec<u8>> {
    let out_of_memory = || io::Error::from(io::ErrorKind::OutOfMemory);
    let len = usize::try_from(len).map_err(|_| out_of_memory())?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).map_err(|_| out_of_memory())?;
    bytes.resize(len, 0);
    Ok(bytes)
}

/// Adds `more` to `bytes`; an error, where allocating would end the process.
pub(crate) fn append(bytes: &mut Vec<u8>, more: &[u8]) -> io::Result<()> {
    bytes.try_reserve(more.len()).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
    bytes.extend_from_slice(more);
    Ok(())
}

/// A file as far as the disk returns it.
pub(crate) struct Partial {
    /// The whole file, with zeros in the ranges that could not be read.
    pub(crate) bytes: Vec<u8>,
    pub(crate) unreadable: Vec<Range<usize>>,
}

/// Reads a file of at most `most` bytes as far as the disk returns it; of a longer one, that much.
///
/// # Errors
/// `Storage` when the file's length is unknown.
pub(crate) fn read_around_errors(file: &dyn File, path: &Path, most: u64) -> Result<Partial> {
    let len = file.len().map_err(|error| Error::storage("cannot read", path, error))?.min(most);
    // Memory that is zero from the start: what stays zero takes none, however long a hole in the file is.
    let (mut bytes, mut unreadable) = (vec![0; usize::try_from(len).unwrap_or(0)], Vec::new());
    let mut at = 0;
    each_piece(file, len, &mut unreadable, &mut |piece| {
        if piece.iter().any(|&byte| byte != 0) {
            bytes[at..at + piece.len()].copy_from_slice(piece);
        }
        at += piece.len();
    });
    Ok(Partial { bytes, unreadable })
}

/// Calls `each` with the first `len` bytes in pieces, zeros in place of what cannot be read.
pub(crate) fn each_piece(file: &dyn File, len: u64, unreadable: &mut Vec<Range<usize>>, each: &mut dyn FnMut(&[u8])) {
    let mut piece = vec![0; usize::try_from(len).map_or(PIECE, |len| len.min(PIECE))];
    let mut offset = 0;
    while offset < len {
        let piece = &mut piece[..usize::try_from(len - offset).map_or(PIECE, |left| left.min(PIECE))];
        if file.read_exact_at(piece, offset).is_err() {
            for (index, block) in piece.chunks_mut(BLOCK).enumerate() {
                let at = offset + (index * BLOCK) as u64;
                if file.read_exact_at(block, at).is_err() {
                    block.fill(0);
                    let at = usize::try_from(at).unwrap_or(usize::MAX);
                    unreadable.push(at..at.saturating_add(block.len()));
                }
            }
        }
        each(piece);
        offset += piece.len() as u64;
    }
}

/// One line of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextLine<'a> {
    /// Its bytes, without the line feed.
    Whole(&'a [u8]),
    /// It was not kept, for a reason that says what it is: with its first byte.
    Skipped(u8, &'static str),
}

/// What is called with each line, and its bytes in the file.
pub(crate) type EachLine<'a, E> = dyn FnMut(Range<u64>, TextLine<'_>) -> Result<(), E> + 'a;

/// Splits a text that comes in pieces into lines. A line is kept only while it can be one of text and is not too long, so that
/// neither a hole in the file nor a file without line feeds takes memory.
pub(crate) struct Lines {
    most: usize,
    line: Vec<u8>,
    first: Option<u8>,
    skipped: Option<&'static str>,
    start: u64,
    at: u64,
}

impl Lines {
    /// `most` is the length of the longest line.
    pub(crate) const fn new(most: usize) -> Self {
        Self { most, line: Vec::new(), first: None, skipped: None, start: 0, at: 0 }
    }

    /// Adds a piece; calls `each` with the bytes in the file, line feed included, of every line that ends in it.
    pub(crate) fn push<E: From<io::Error>>(&mut self, piece: &[u8], each: &mut EachLine<'_, E>) -> Result<(), E> {
        for part in piece.split_inclusive(|&byte| byte == b'\n') {
            let (text, ends) = part.strip_suffix(b"\n").map_or((part, false), |text| (text, true));
            self.at += part.len() as u64;
            self.first = self.first.or(text.first().copied());
            if self.line.len() + text.len() > self.most {
                self.skipped = self.skipped.or(Some("the line is longer than any that is written"));
            } else if !ends && text.contains(&0) {
                self.skipped = self.skipped.or(Some("the line holds zeros"));
            }
            if self.skipped.is_some() {
                self.line = Vec::new();
            } else {
                append(&mut self.line, text)?;
            }
            if ends {
                self.end(each)?;
            }
        }
        Ok(())
    }

    /// The text has ended: calls `each` with a last line that no line feed ends.
    pub(crate) fn finish<E>(mut self, each: &mut EachLine<'_, E>) -> Result<(), E> {
        if self.at > self.start { self.end(each) } else { Ok(()) }
    }

    fn end<E>(&mut self, each: &mut EachLine<'_, E>) -> Result<(), E> {
        let line = match self.skipped.take() {
            None => TextLine::Whole(&self.line),
            Some(reason) => TextLine::Skipped(self.first.unwrap_or(0), reason),
        };
        each(self.start..self.at, line)?;
        (self.start, self.first) = (self.at, None);
        self.line.clear();
        Ok(())
    }
}

#[cfg(all(test, not(feature = "shuttle")))]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]], most: usize) -> Vec<(Range<u64>, String)> {
        let mut found = Vec::new();
        let mut each = |range, line: TextLine<'_>| {
            let text = match line {
                TextLine::Whole(text) => String::from_utf8_lossy(text).into_owned(),
                TextLine::Skipped(first, reason) => format!("{first} {reason}"),
            };
            found.push((range, text));
            io::Result::Ok(())
        };
        let mut lines = Lines::new(most);
        let pushed = pieces.iter().try_for_each(|piece| lines.push(piece, &mut each));
        assert!(pushed.and_then(|()| lines.finish(&mut each)).is_ok());
        found
    }

    #[test]
    fn lines_are_put_together_from_pieces() {
        let found = lines(&[b"one\ntw", b"o\n", b"", b"\nfour"], 100);
        let expected = [(0..4, "one"), (4..8, "two"), (8..9, ""), (9..13, "four")];
        assert_eq!(found, expected.map(|(range, text)| (range, text.to_owned())));
        assert_eq!(lines(&[b"one\n"], 100).len(), 1);
        assert_eq!(lines(&[], 100), []);
    }

    #[test]
    fn what_can_be_no_line_is_not_kept() {
        let found = lines(&[b"{ab", b"cd\nab\n", b"\0\0", b"\0\nok"], 4);
        let expected = [
            (0..6, "123 the line is longer than any that is written"),
            (6..9, "ab"),
            (9..13, "0 the line holds zeros"),
            (13..15, "ok"),
        ];
        assert_eq!(found, expected.map(|(range, text)| (range, text.to_owned())));
        let mut lines = Lines::new(1 << 30);
        for _ in 0..1_000 {
            assert!(lines.push(&[0; 4096], &mut |_, _| io::Result::Ok(())).is_ok());
        }
        assert_eq!(lines.line.capacity(), 0);
    }
}
