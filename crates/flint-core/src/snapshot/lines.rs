//! Reading what is left of a damaged snapshot, line by line. Nothing vouches for a line but its form.

use std::ops::Range;

use super::parse::Cursor;
use super::{Header, KNOWN_FEATURES, Trailer, VERSION};
use crate::image::KeyImage;

/// One line of a damaged snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    /// The first line.
    Header(Header),
    /// A key.
    Key(KeyImage),
    /// A remembered answer.
    Receipt,
    /// The last line.
    Trailer(Trailer),
    /// Not in the form that a writer produces.
    Unreadable(&'static str),
}

/// Calls `each` with every line and its bytes in the file, the line feed included.
pub(super) fn read_lines(bytes: &[u8], each: &mut dyn FnMut(Range<usize>, Line)) {
    let mut at = 0;
    // Where the first line cannot be read, the others may be of any version.
    let mut version = VERSION;
    for text in bytes.split_inclusive(|&byte| byte == b'\n') {
        each(at..at + text.len(), parse(text, at == 0, &mut version));
        at += text.len();
    }
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
        cursor.answer(&mut Vec::new()).map(|_| Line::Receipt)
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
