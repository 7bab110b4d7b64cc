//! Reading the records of a directory's segments in order, beside a writer too. It verifies what it reads but gives no
//! verdict: damage ends the reading, with an error only where more must follow.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::files;
use crate::log::frame::{self, HEADER_LEN};
use crate::log::reader::{Frame, Step, Walker};
use crate::log::segment::{self, SegmentHeader};
use crate::recovery::list_segments;
use crate::storage::partial::zeroed;
use crate::storage::{Dir, File, Mode};
use crate::sync::{self, Arc};

/// How often a file may vanish under the reader before it gives up.
pub(crate) const ATTEMPTS: u32 = 50;
/// How long it waits then.
pub(crate) const PAUSE: Duration = Duration::from_millis(1);

/// A segment that was opened: it stays readable when it is removed.
struct Opened {
    first_seq: u64,
    name: String,
    file: Arc<dyn File>,
    /// How far it was read, if it was.
    place: Option<Place>,
}

/// A place between two records.
#[derive(Clone, Copy)]
struct Place {
    seed: u32,
    offset: usize,
    next_seq: u64,
    prev_crc: u32,
}

/// Reads on in the segments, from one look to the next. It costs next to nothing to look at a log that did not grow, and of what
/// was written since the last look only segments that were made and removed meanwhile are missed.
#[derive(Default)]
pub(crate) struct Reader {
    /// The newest record read.
    newest: u64,
    /// The segment that holds the next record, or held the last one.
    held: Option<Opened>,
}

impl Reader {
    /// Opens every segment from the held one on, so that none of them can vanish any more.
    fn open_all(&mut self, dir: &dyn Dir) -> Result<Vec<Opened>> {
        let mut held = self.held.take();
        let from = held.as_ref().map_or(0, |held| held.first_seq);
        let mut attempt = 0;
        'again: loop {
            attempt += 1;
            let names = dir.list().map_err(|error| Error::storage("cannot list", dir.path(), error))?;
            let mut segments = Vec::new();
            for first_seq in list_segments(&names).into_iter().filter(|&first_seq| first_seq >= from) {
                let name = files::segment_name(first_seq);
                match dir.open(&name, Mode::Read) {
                    Ok(file) => segments.push(Opened { first_seq, name, file, place: None }),
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound && attempt < ATTEMPTS => {
                        sync::sleep(PAUSE);
                        continue 'again;
                    }
                    Err(error) => return Err(Error::storage("cannot open", dir.path().join(&name), error)),
                }
            }
            match (held.take(), segments.first_mut()) {
                (Some(held), Some(first)) if held.first_seq == first.first_seq => first.place = held.place,
                // It was removed, and what was written to it after the last look is in nothing but the open file.
                (Some(held), _) => segments.insert(0, held),
                (None, _) => {}
            }
            return Ok(segments);
        }
    }

    /// Calls `each` for every record that it did not read yet, in order, until it returns false. Numbers are missing between two
    /// records where segments are.
    pub(crate) fn look(&mut self, dir: &dyn Dir, each: &mut dyn FnMut(&str, &Frame<'_>) -> bool) -> Result<()> {
        let mut segments = self.open_all(dir)?.into_iter().enumerate().peekable();
        while let Some((index, segment)) = segments.next() {
            let next = segments.peek().map(|(_, next)| next.first_seq);
            if next.is_some_and(|next| next <= self.newest.saturating_add(1)) {
                continue;
            }
            let held = self.held.insert(segment);
            if !held.read(dir, next, index > 0 || self.newest > 0, &mut self.newest, each)? {
                return Ok(());
            }
        }
        Ok(())
    }
}

impl Opened {
    /// Reads on up to the last record; false where `each` returned false. `next` is where the next segment starts.
    fn read(
        &mut self,
        dir: &dyn Dir,
        next: Option<u64>,
        has_predecessor: bool,
        newest: &mut u64,
        each: &mut dyn FnMut(&str, &Frame<'_>) -> bool,
    ) -> Result<bool> {
        let path = || dir.path().join(&self.name);
        let failed = |error| Error::storage("cannot read", path(), error);
        let len = self.file.len().map_err(failed)?;
        if len > segment::MAX_SEGMENT_LEN {
            return Err(Error::corrupt(path(), 0, "the file is longer than any segment"));
        }
        let len = usize::try_from(len).unwrap_or(0);
        // Read before, and still the last segment: zeros where the next record's header belongs mean that there is nothing new, and
        // the file need not be read whole.
        if let Some(place) = self.place
            && next.is_none()
        {
            let mut header = [0; HEADER_LEN];
            let room = len.saturating_sub(place.offset).min(HEADER_LEN);
            self.file.read_exact_at(&mut header[..room], place.offset as u64).map_err(failed)?;
            if header == [0; HEADER_LEN] {
                return Ok(true);
            }
        }
        let mut bytes = zeroed(len as u64).map_err(failed)?;
        self.file.read_exact_at(&mut bytes, 0).map_err(failed)?;
        // Go on behind the last record that was read. The first time, the header says where the chain of records starts.
        let (seed, mut walker) = if let Some(place) = self.place {
            (place.seed, Walker::resume(&bytes, place.seed, place.offset, place.next_seq, place.prev_crc))
        } else {
            let header = match bytes.first_chunk::<{ segment::HEADER_LEN }>().map(SegmentHeader::decode) {
                Some(Ok(header)) => header,
                // The writer may not have written the header of the newest segment yet.
                _ if next.is_none() && has_predecessor => return Ok(true),
                _ => return Err(Error::corrupt(path(), 0, "the header is damaged")),
            };
            let seed = frame::seed(header.store_id, header.first_seq);
            (seed, Walker::new(&bytes, seed, header.first_seq, header.prev_crc))
        };
        let more = loop {
            match walker.next() {
                Step::Record(frame) => {
                    // A segment that is opened again starts over: what was passed on before is skipped.
                    if frame.seq > *newest {
                        *newest = frame.seq;
                        if !each(&self.name, &frame) {
                            break false;
                        }
                    }
                }
                Step::End { .. } => break true,
                // Damage, if the next segment starts behind the missing records; else a write that is under way, or a torn tail.
                Step::Invalid { offset, reason } if next.is_some_and(|next| next > walker.next_seq()) => {
                    return Err(Error::corrupt(path(), offset as u64, reason));
                }
                Step::Invalid { .. } => break true,
                Step::Unsupported { offset, kind } => {
                    return Err(Error::Unsupported {
                        path: path(),
                        detail: format!(
                            "the record at byte {offset} is of a kind ({kind}) that only a newer Flint knows"
                        ),
                    });
                }
            }
        };
        self.place =
            Some(Place { seed, offset: walker.offset(), next_seq: walker.next_seq(), prev_crc: walker.prev_crc() });
        Ok(more)
    }
}

/// Calls `each` for every record, in order, until it returns false.
pub(crate) fn each_frame(dir: &dyn Dir, each: &mut dyn FnMut(&str, &Frame<'_>) -> bool) -> Result<()> {
    Reader::default().look(dir, each)
}
