//! Reading the records of a directory's segments in order, beside a writer too. It verifies what it reads but gives no
//! verdict: damage ends the reading, with an error only where more must follow.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::files;
use crate::log::frame;
use crate::log::reader::{Frame, Step, Walker};
use crate::log::segment::{self, SegmentHeader};
use crate::recover::list_segments;
use crate::storage::{Dir, File, Mode};
use crate::sync::{self, Arc};

/// How often a file may vanish under the reader before it gives up.
const ATTEMPTS: u32 = 50;

/// Opens every segment, so that none of them can vanish any more.
fn open_all(dir: &dyn Dir) -> Result<Vec<(String, Arc<dyn File>)>> {
    let mut attempt = 0;
    'again: loop {
        attempt += 1;
        let names = dir.list().map_err(|error| Error::storage("cannot list", dir.path(), error))?;
        let mut segments = Vec::new();
        for first_seq in list_segments(&names) {
            let name = files::segment_name(first_seq);
            match dir.open(&name, Mode::Read) {
                Ok(file) => segments.push((name, file)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && attempt < ATTEMPTS => {
                    sync::sleep(Duration::from_millis(1));
                    continue 'again;
                }
                Err(error) => return Err(Error::storage("cannot open", dir.path().join(&name), error)),
            }
        }
        return Ok(segments);
    }
}

/// Calls `each` for every record with a sequence number above `after`, in order, until it returns false. Gives the newest
/// sequence number seen, or `after` if there is none.
pub(crate) fn each_frame(dir: &dyn Dir, after: u64, each: &mut dyn FnMut(&str, &Frame<'_>) -> bool) -> Result<u64> {
    let segments = open_all(dir)?;
    let mut newest = after;
    for (index, (name, file)) in segments.iter().enumerate() {
        let next = segments.get(index + 1).and_then(|(name, _)| files::parse_segment_name(name));
        if next.is_some_and(|next| next <= after + 1) {
            continue;
        }
        let path = || dir.path().join(name);
        let len = file.len().map_err(|error| Error::storage("cannot read", path(), error))?;
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        file.read_exact_at(&mut bytes, 0).map_err(|error| Error::storage("cannot read", path(), error))?;
        let header = match bytes.first_chunk::<{ segment::HEADER_LEN }>().map(SegmentHeader::decode) {
            Some(Ok(header)) => header,
            _ if next.is_none() && index > 0 => break,
            _ => return Err(Error::corrupt(path(), 0, "the header is damaged")),
        };
        let seed = frame::seed(header.store_id, header.first_seq);
        let mut walker = Walker::new(&bytes, seed, header.first_seq, header.prev_crc);
        loop {
            match walker.next() {
                Step::Record(frame) => {
                    if frame.seq > after {
                        newest = frame.seq;
                        if !each(name, &frame) {
                            return Ok(newest);
                        }
                    }
                }
                Step::End { .. } => break,
                Step::Invalid { offset, reason } if next.is_some_and(|next| next > walker.next_seq()) => {
                    return Err(Error::corrupt(path(), offset as u64, reason));
                }
                Step::Invalid { .. } => break,
                Step::Unsupported { offset, kind } => {
                    return Err(Error::Unsupported {
                        path: path(),
                        detail: format!(
                            "the record at byte {offset} is of a kind ({kind}) that only a newer Flint knows"
                        ),
                    });
                }
            }
        }
    }
    Ok(newest)
}
