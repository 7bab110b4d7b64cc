//! Making the disk agree with what was accepted, before a writer's open returns. Everything here may be repeated after a
//! crash at any point.

use crate::error::{Error, Result};
use crate::files;
use crate::hooks::{self, Defect};
use crate::log::frame;
use crate::log::reader::{Step, Walker, has_nonzero};
use crate::log::segment::{self, SegmentHeader};
use crate::options::LogIo;
use crate::storage::partial::zeroed;
use crate::storage::{Dir, File, Mode};
use crate::sync::Arc;
use crate::writer::{Active, Full, Output, create_zeroed};

use super::open_with_path;
use super::scan::{Scan, Segment, Tail};

const ZEROS: [u8; 4096] = [0; 4096];

/// What the writer goes on with.
pub(crate) struct Repaired {
    pub(crate) active: Active,
    /// Full segments that were not sealed yet, oldest first.
    pub(crate) to_seal: Vec<Full>,
}

fn sync_dir(dir: &dyn Dir) -> Result<()> {
    dir.sync().map_err(|error| Error::storage("cannot sync", dir.path(), error))
}

/// Cuts a torn tail off and makes every accepted record durable.
pub(crate) fn repair(dir: &dyn Dir, scan: &Scan, snapshot_start: u64, log_io: LogIo) -> Result<Repaired> {
    if let Tail::Torn { doomed, .. } = &scan.tail {
        // Newest first, each durable before the next: whatever is left after a crash still follows from what is before it.
        let mut order: Vec<&String> = doomed.iter().rev().collect();
        if hooks::has(Defect::RemoveOldestFirst) {
            order.reverse();
        }
        for name in order {
            dir.remove(name).map_err(|error| Error::storage("cannot remove", dir.path().join(name), error))?;
            sync_dir(dir)?;
        }
    }
    let mut to_seal = Vec::new();
    let mut active = None;
    let last = scan.segments.len() - 1;
    for (index, segment) in scan.segments.iter().enumerate() {
        if segment.sealed && segment.last_seq <= snapshot_start {
            continue;
        }
        let file = open_with_path(dir, &segment.name, Mode::ReadWrite)?;
        if !segment.sealed {
            redirty(dir, segment, &*file, scan.durable_seq, index == last)?;
        }
        file.sync_data().map_err(|error| Error::storage("cannot sync", dir.path().join(&segment.name), error))?;
        if index == last {
            active = Some(activate(dir, segment, file, log_io)?);
        } else if !segment.sealed {
            to_seal.push(Full {
                file,
                name: segment.name.clone(),
                seed: segment.seed,
                len: segment.len,
                end_offset: segment.end_offset,
                last_seq: segment.last_seq,
                last_crc: segment.last_crc,
            });
        }
    }
    sync_dir(dir)?;
    let active = active.expect("the last segment is never sealed");
    Ok(Repaired { active, to_seal })
}

/// Writes the accepted records above the durable mark once more: after a failed fsync their pages may look clean and yet not
/// be on disk. Behind the last one, zeros: nothing of a cut tail may be taken for a record later.
fn redirty(dir: &dyn Dir, segment: &Segment, file: &dyn File, durable_seq: u64, last: bool) -> Result<()> {
    if segment.last_seq <= durable_seq && !last {
        return Ok(());
    }
    let path = || dir.path().join(&segment.name);
    let too_large = || Error::corrupt(path(), 0, "the segment is too large");
    let bytes = zeroed(segment.len).and_then(|mut bytes| segment.file.read_exact_at(&mut bytes, 0).map(|()| bytes));
    let bytes = bytes.map_err(|error| Error::storage("cannot read", path(), error))?;
    let write = |from: usize, data: &[u8]| {
        file.write_all_at(data, from as u64).map_err(|error| Error::storage("cannot write", path(), error))
    };
    let end = usize::try_from(segment.end_offset).map_err(|_| too_large())?;
    // The chain was verified by the scan; here the records are only counted off.
    let header = bytes.first_chunk().map(SegmentHeader::decode).and_then(Result::ok);
    let prev_crc = header.map_or(0, |header| header.prev_crc);
    let mut walker = Walker::new(&bytes, segment.seed, segment.first_seq, prev_crc);
    while let Step::Record(frame) = walker.next() {
        if frame.seq > durable_seq && !hooks::has(Defect::SkipRewrite) {
            write(frame.offset, &bytes[frame.offset..end])?;
            break;
        }
    }
    // The place of the seal included: what a power cut left there is no seal.
    if last && !hooks::has(Defect::KeepTornTail) && has_nonzero(&bytes, end, bytes.len()) {
        let mut at = end;
        while at < bytes.len() {
            // Up to the next page boundary, so that no page is written in two parts.
            let len = (ZEROS.len() - at % ZEROS.len()).min(bytes.len() - at);
            write(at, &ZEROS[..len])?;
            at += len;
        }
    }
    Ok(())
}

fn activate(dir: &dyn Dir, segment: &Segment, file: Arc<dyn File>, log_io: LogIo) -> Result<Active> {
    let path = || dir.path().join(&segment.name);
    let fits = |n: u64| usize::try_from(n).map_err(|_| Error::corrupt(path(), 0, "the segment is too large"));
    let len = fits(segment.len)?;
    let output = Output::new(file, len, log_io).map_err(|error| Error::storage("cannot map", path(), error))?;
    // What this version adds to the format is in no segment of an older one. The anchor of this session, which every format has,
    // still is, so that the next segment has another name even if this one has no record yet.
    let calls_end = if segment.version < files::SEGMENT_VERSION { 0 } else { len };
    let (name, pos) = (segment.name.clone(), fits(segment.end_offset)?);
    Ok(Active { output, name, seed: segment.seed, len, pos, calls_end })
}

/// Makes the first segment of a new store: complete and durable before it gets its name.
pub(crate) fn create(dir: &dyn Dir, store_id: u64, segment_bytes: usize, log_io: LogIo) -> Result<Active> {
    let name = files::segment_name(1);
    let path = || dir.path().join(&name);
    let file = create_zeroed(dir, files::SPARE, segment_bytes)?;
    let header = SegmentHeader {
        version: files::SEGMENT_VERSION,
        prev_crc: 0,
        features: files::SEGMENT_FEATURES,
        store_id,
        first_seq: 1,
        segment_len: segment_bytes as u64,
    };
    let made = file
        .write_all_at(&header.encode(), 0)
        .and_then(|()| file.sync_data())
        .and_then(|()| Output::new(file, segment_bytes, log_io))
        .and_then(|output| dir.rename(files::SPARE, &name).map(|()| output));
    let output = made.map_err(|error| {
        drop(dir.remove(files::SPARE));
        Error::storage("cannot create", path(), error)
    })?;
    sync_dir(dir)?;
    let seed = frame::seed(store_id, 1);
    Ok(Active { output, name, seed, len: segment_bytes, pos: segment::HEADER_LEN, calls_end: segment_bytes })
}
