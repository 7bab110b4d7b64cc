//! Reading what is left of a damaged snapshot, line by line. Nothing vouches for a line but its form.

use std::io;
use std::ops::Range;

use super::parse::Cursor;
use super::{Header, KNOWN_FEATURES, MAX_LINE_BYTES, Trailer, VERSION};
use crate::image::KeyImage;
use crate::storage::File;
use crate::storage::partial::{Lines, TextLine, append, each_piece};

/// One line of a damaged snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    /// The first line.
    Header(Header),
    /// A key.
    Key(KeyImage),
    /// A remembered answer.
    Idempotency,
    /// The last line.
    Trailer(Trailer),
    /// Not in the form that a writer produces.
    Unreadable(&'static str),
}

/// Calls `each` with every line and its bytes in the file, the line feed included. What the disk does not return is read as zeros.
///
/// # Errors
/// For lack of memory.
pub(super) fn read_lines(file: &dyn File, len: u64, each: &mut dyn FnMut(Range<usize>, Line)) -> io::Result<()> {
    let mut text = Vec::new();
    // Where the first line cannot be read, the others may be of any version.
    let mut version = VERSION;
    let mut lines = Lines::new(MAX_LINE_BYTES);
    let mut take = |range: Range<u64>, line: TextLine<'_>| -> io::Result<()> {
        let parsed = match line {
            TextLine::Skipped(_, reason) => Line::Unreadable(reason),
            TextLine::Whole(line) => {
                text.clear();
                append(&mut text, line)?;
                // Only the last line of a file may be without one.
                text.extend((range.end - range.start > line.len() as u64).then_some(b'\n'));
                parse(&text, range.start == 0, &mut version)
            }
        };
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        each(place(range.start)..place(range.end), parsed);
        Ok(())
    };
    let mut pushed = Ok(());
    each_piece(file, len, &mut Vec::new(), &mut |piece| {
        if pushed.is_ok() {
            pushed = lines.push(piece, &mut take);
        }
    });
    pushed.and_then(|()| lines.finish(&mut take))
}

fn parse(text: &[u8], first: bool, of: &mut u64) -> Line {
    let mut cursor = Cursor::new(text);
    let parsed = if first {
        cursor.version_and_features().and_then(|(version, features)| {
            let known = (1..=VERSION).contains(&version) && features & !KNOWN_FEATURES == 0;
            if known {
                *of = version;
            }
            cursor.header().map(|header| if known { Line::Header(header) } else { Line::Unreadable("unknown version") })
        })
    } else if cursor.is_at_trailer() {
        cursor.trailer().map(|(trailer, _)| Line::Trailer(trailer))
    } else if cursor.is_at_answer() {
        cursor.answer(&mut Vec::new()).map(|_| Line::Idempotency)
    } else {
        let mut image = KeyImage::default();
        cursor.image(*of, &mut image).map(|()| Line::Key(image))
    };
    match parsed {
        Ok(line) if cursor.is_at_end() => line,
        Ok(_) => Line::Unreadable("something follows the line"),
        Err(fault) => Line::Unreadable(fault.detail),
    }
}
