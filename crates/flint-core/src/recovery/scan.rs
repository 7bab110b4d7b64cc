//! Walking the log: every segment's header, seal and records, the chain between them, and the verdict on its end.
//!
//! The tail rule: at the first invalid record, if any later valid record says that this one was on disk, something is
//! damaged; else it is what a crash leaves, and the log ends there.

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::files;
use crate::hooks::{self, Defect};
use crate::log::frame;
use crate::log::reader::{Frame, Step, Walker, find_proof, last_nonzero};
use crate::log::segment::{self, HeaderProblem, Seal, SegmentHeader};
use crate::storage::partial::zeroed;
use crate::storage::{Dir, File};
use crate::sync::Arc;

use super::bounds::{BEYOND, MAX_NUMBER};
use super::files::{Access, SegmentFile};

/// Added where damage looks as in a directory that was copied file by file while its writer went on: what was copied first lacks
/// what later files refer to.
pub(super) const TORN_COPY: &str = "; a directory that was copied file by file while an application wrote to it looks like this: \
                                    if this is such a torn copy, make another with `flint backup`";

/// `TORN_COPY` where records are not damaged, but absent.
const fn if_absent(reason: Option<&str>) -> &'static str {
    if reason.is_none() { TORN_COPY } else { "" }
}

/// A segment as it was found.
pub(crate) struct Segment {
    pub(crate) name: String,
    /// Its format version.
    pub(crate) version: u32,
    pub(crate) file: Arc<dyn File>,
    pub(crate) seed: u32,
    pub(crate) first_seq: u64,
    pub(crate) len: u64,
    /// Where its last record ends.
    pub(crate) end_offset: u64,
    pub(crate) last_seq: u64,
    pub(crate) last_crc: u32,
    pub(crate) sealed: bool,
}

/// The verdict on the log's end. The third one, corrupt, is an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tail {
    /// It ends with a whole record and nothing behind it.
    Clean,
    /// It ends with what a crash left: `bytes` behind the last good record, and these segments after it.
    Torn { bytes: u64, doomed: Vec<String> },
}

/// The log.
pub(crate) struct Scan {
    pub(crate) store_id: u64,
    /// Accepted segments, oldest first. The last one holds the log's end.
    pub(crate) segments: Vec<Segment>,
    pub(crate) last_seq: u64,
    pub(crate) last_crc: u32,
    /// Everything up to here is known to have been on disk.
    pub(crate) durable_seq: u64,
    /// Bytes of records behind the snapshot.
    pub(crate) replay_bytes: u64,
    /// Bytes of all segment files.
    pub(crate) log_bytes: u64,
    pub(crate) tail: Tail,
}

struct Header {
    header: SegmentHeader,
    len: u64,
    seal: Option<Seal>,
    seed: u32,
}

struct Scanner<'a> {
    dir: &'a dyn Dir,
    access: Access,
    thorough: bool,
    each: &'a mut dyn FnMut(&str, &Frame<'_>) -> Result<()>,
    /// Start and end of the snapshot.
    start: u64,
    end: u64,
    scan: Scan,
}

/// Walks the segments, calling `each` for every record (those that the snapshot covers only if `thorough`, where a seal
/// vouches for them). `base` is the snapshot's store id, start and end.
pub(crate) fn scan(
    dir: &dyn Dir,
    segments: Vec<SegmentFile>,
    base: Option<(u64, u64, u64)>,
    access: Access,
    thorough: bool,
    each: &mut dyn FnMut(&str, &Frame<'_>) -> Result<()>,
) -> Result<Scan> {
    let (start, end) = base.map_or((0, 0), |(_, start, end)| (start, end));
    let missing =
        |first: u64, detail: String| Err(Error::corrupt(dir.path().join(files::segment_name(first)), 0, detail));
    // Records 1..=start may be gone, because the snapshot replaces them. All later ones have to be in segments.
    let Some(oldest) = segments.first().map(|segment| segment.first_seq) else {
        return missing(start + 1, "the snapshot needs this segment or an older one, and there is none".to_owned());
    };
    if oldest > start + 1 {
        return if base.is_none() {
            missing(
                1,
                format!(
                    "the log starts at record {oldest} and there is no snapshot: a snapshot or segments are missing{TORN_COPY}"
                ),
            )
        } else {
            missing(
                start + 1,
                format!(
                    "the snapshot ends with record {start} and the log starts at record {oldest}: segments are \
                     missing{TORN_COPY}"
                ),
            )
        };
    }
    // The snapshot was published after the log was durable through its end, so that much is known before a record is read.
    let scan = Scan {
        store_id: base.map_or(0, |(store_id, _, _)| store_id),
        segments: Vec::with_capacity(segments.len()),
        last_seq: oldest - 1,
        last_crc: 0,
        durable_seq: end,
        replay_bytes: 0,
        log_bytes: 0,
        tail: Tail::Clean,
    };
    let mut scanner = Scanner { dir, access, thorough, each, start, end, scan };
    scanner.run(segments, base.is_some())?;
    let scan = scanner.scan;
    // A log that ends before the snapshot's end has lost records that were durable: damage, never a torn tail.
    if scan.last_seq < end.max(start) && !hooks::has(Defect::IgnoreSnapshotEnd) {
        let segment = scan.segments.last().map_or_else(String::new, |segment| segment.name.clone());
        let offset = scan.segments.last().map_or(0, |segment| segment.end_offset);
        return Err(Error::corrupt(
            dir.path().join(segment),
            offset,
            format!(
                "the log ends with record {}, but the snapshot was published when it reached {end}{TORN_COPY}",
                scan.last_seq
            ),
        ));
    }
    Ok(scan)
}

impl Scanner<'_> {
    fn run(&mut self, segments: Vec<SegmentFile>, store_known: bool) -> Result<()> {
        let count = segments.len();
        let mut headers = Vec::with_capacity(count);
        for (index, segment) in segments.iter().enumerate() {
            let header = self.header(segment, index, store_known)?;
            self.scan.log_bytes += header.as_ref().map_or(0, |header| header.len);
            headers.push(header);
        }
        let mut segments = segments.into_iter().zip(headers).enumerate().peekable();
        while let Some((index, (file, header))) = segments.next() {
            let Some(header) = header else {
                // A rotation that a power cut undid half: nothing in it was acknowledged, unless something proves it.
                self.refuse_lost_segment(&file, index)?;
                let rest: Vec<_> = segments.map(|(_, rest)| rest).collect();
                self.refuse_proof_in(&rest, &file.name, 0, "")?;
                let doomed = std::iter::once(file.name).chain(rest.into_iter().map(|(file, _)| file.name)).collect();
                self.scan.tail = Tail::Torn { bytes: 0, doomed };
                return Ok(());
            };
            let chained = header.header.first_seq == self.scan.last_seq + 1
                && (index == 0 || header.header.prev_crc == self.scan.last_crc);
            if !chained {
                // Sealed and unsealed predecessors were compared with this header when they ended.
                let hint = if header.header.first_seq > self.scan.last_seq + 1 { TORN_COPY } else { "" };
                return Err(self.corrupt(&file.name, 0, format!("it does not follow the segment before it{hint}")));
            }
            if index == 0 {
                self.scan.last_crc = header.header.prev_crc;
            }
            let successor = segments.peek().and_then(|(_, (_, header))| header.as_ref()).map(|header| header.header);
            let last = index + 1 == count;
            if last && header.seal.is_some() {
                return Err(self.corrupt(
                    &files::segment_name(header.seal.as_ref().map_or(0, |seal| seal.last_seq.saturating_add(1))),
                    0,
                    format!("the segment before it is sealed, so this one existed, and it is missing{TORN_COPY}"),
                ));
            }
            let covered = header.seal.as_ref().is_some_and(|seal| seal.last_seq <= self.start);
            if covered && !self.thorough {
                self.skip(file, &header)?;
                continue;
            }
            let torn = self.walk(file, &header, successor.as_ref(), last)?;
            if let Some((bytes, hint)) = torn {
                let rest: Vec<_> = segments.map(|(_, rest)| rest).collect();
                let (name, offset) =
                    self.scan.segments.last().map(|cut| (cut.name.clone(), cut.end_offset)).unwrap_or_default();
                self.refuse_proof_in(&rest, &name, offset, hint)?;
                let doomed = rest.into_iter().map(|(file, _)| file.name).collect();
                self.scan.tail = Tail::Torn { bytes, doomed };
                return Ok(());
            }
        }
        Ok(())
    }

    fn corrupt(&self, name: &str, offset: u64, detail: impl Into<String>) -> Error {
        Error::corrupt(self.dir.path().join(name), offset, detail)
    }

    fn read(&self, file: &SegmentFile, buf: &mut [u8], offset: u64) -> Result<()> {
        file.file.read_exact_at(buf, offset).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => self.corrupt(&file.name, offset, "the file is too short"),
            _ => Error::storage("cannot read", self.dir.path().join(&file.name), error),
        })
    }

    fn read_whole(&self, file: &SegmentFile, len: u64) -> Result<Vec<u8>> {
        let path = || self.dir.path().join(&file.name);
        let mut bytes = zeroed(len).map_err(|error| Error::storage("cannot read", path(), error))?;
        self.read(file, &mut bytes, 0)?;
        Ok(bytes)
    }

    /// Header and seal of a segment; `None` if there is no whole header and need not be one.
    fn header(&mut self, file: &SegmentFile, index: usize, store_known: bool) -> Result<Option<Header>> {
        let len =
            file.file.len().map_err(|error| Error::storage("cannot read", self.dir.path().join(&file.name), error))?;
        let mut bytes = [0; segment::HEADER_LEN];
        self.read(file, &mut bytes, 0)?;
        let unsupported = |detail: String| {
            Err(Error::Unsupported { path: self.dir.path().join(&file.name), detail: detail + "; nothing was touched" })
        };
        let header = match SegmentHeader::decode(&bytes) {
            Ok(header) => header,
            // Zero, or whatever a sector holds that was on its way to the disk for the first time.
            Err(HeaderProblem::Zero | HeaderProblem::Corrupt(_)) if index > 0 => return Ok(None),
            Err(HeaderProblem::Zero) => return Err(self.corrupt(&file.name, 0, "the header is missing")),
            Err(HeaderProblem::Corrupt(reason)) => {
                return Err(self.corrupt(&file.name, 0, format!("the header: {reason}")));
            }
            Err(HeaderProblem::NewerVersion(version)) => {
                return unsupported(format!(
                    "written by a newer Flint (log format {version}, this one reads up to {}): use that version",
                    files::SEGMENT_VERSION
                ));
            }
            Err(HeaderProblem::UnknownFeatures(bits)) => {
                return unsupported(format!(
                    "uses features ({bits:#x}) that only a newer Flint knows: use that version"
                ));
            }
        };
        if header.first_seq != file.first_seq {
            return Err(self.corrupt(&file.name, 32, "the name does not agree with the header"));
        }
        if header.first_seq > MAX_NUMBER {
            return Err(self.corrupt(&file.name, 32, BEYOND));
        }
        if header.segment_len != len {
            return Err(self.corrupt(
                &file.name,
                len,
                format!("the file has {len} bytes instead of {}", header.segment_len),
            ));
        }
        if index == 0 && !store_known {
            self.scan.store_id = header.store_id;
        } else if header.store_id != self.scan.store_id {
            return Err(self.corrupt(&file.name, 24, "the file belongs to another store"));
        }
        let seed = frame::seed(header.store_id, header.first_seq);
        let mut bytes = [0; segment::SEAL_LEN];
        let seal_offset = segment::seal_offset(len);
        self.read(file, &mut bytes, seal_offset)?;
        // A seal that is not whole may be one that a power cut caught on its way to the disk. It says nothing then: the
        // records are verified one by one, as in any segment that is not sealed yet.
        let seal = Seal::decode(&bytes, seed).unwrap_or_default();
        Ok(Some(Header { header, len, seal, seed }))
    }

    /// Accepts a sealed segment that the snapshot covers by its SHA-256 alone.
    fn skip(&mut self, file: SegmentFile, header: &Header) -> Result<()> {
        let seal = header.seal.as_ref().expect("only sealed segments are skipped");
        if seal.end_offset > segment::seal_offset(header.len) {
            let offset = segment::seal_offset(header.len);
            return Err(self.corrupt(&file.name, offset, "the seal's end lies behind the room for records"));
        }
        let sha256 = segment::sha256_of(&*file.file, seal.end_offset)
            .map_err(|error| Error::storage("cannot read", self.dir.path().join(&file.name), error))?;
        if sha256 != seal.sha256 {
            return Err(self.corrupt(&file.name, 0, "the SHA-256 of the sealed segment does not match"));
        }
        self.accept(file, header, seal.end_offset, seal.last_seq, seal.last_crc);
        Ok(())
    }

    fn accept(&mut self, file: SegmentFile, header: &Header, end_offset: u64, last_seq: u64, last_crc: u32) {
        (self.scan.last_seq, self.scan.last_crc) = (last_seq, last_crc);
        let sealed = header.seal.is_some();
        if sealed {
            self.scan.durable_seq = self.scan.durable_seq.max(last_seq);
        }
        self.scan.segments.push(Segment {
            name: file.name,
            version: header.header.version,
            file: file.file,
            seed: header.seed,
            first_seq: file.first_seq,
            len: header.len,
            end_offset,
            last_seq,
            last_crc,
            sealed,
        });
    }

    /// Walks one segment. Returns the number of torn bytes if the log ends here torn, and what a proof of the contrary hints at.
    fn walk(
        &mut self,
        file: SegmentFile,
        header: &Header,
        successor: Option<&SegmentHeader>,
        last: bool,
    ) -> Result<Option<(u64, &'static str)>> {
        let len = usize::try_from(header.len).map_err(|_| self.corrupt(&file.name, 0, "the segment is too large"))?;
        let mut bytes = self.read_whole(&file, header.len)?;
        let (mut next_seq, mut crc) = (header.header.first_seq, self.scan.last_crc);
        let mut offset = segment::HEADER_LEN;
        // Reads records to the first that is missing or invalid. A file without a seal that another process may be writing is read
        // again from there until it does not change any more.
        let (stop, reason) = loop {
            let (stop, reason, progressed) = {
                let before = offset;
                let mut walker = Walker::resume(&bytes, header.seed, offset, next_seq, crc);
                let (stop, reason) = loop {
                    match walker.next() {
                        Step::Record(frame) => {
                            self.scan.durable_seq = self.scan.durable_seq.max(frame.durable_seq);
                            // The snapshot covers the others, so that replay does not apply them.
                            if frame.seq > self.start {
                                self.scan.replay_bytes += (walker.offset() - frame.offset) as u64;
                            }
                            crc = frame.crc;
                            (self.each)(&file.name, &frame)?;
                        }
                        Step::End { offset } => break (offset, None),
                        Step::Invalid { offset, reason } => break (offset, Some(reason)),
                        // The checksum holds, so this is no damage. Reading on without the record could restore quota.
                        Step::Unsupported { offset, kind } => {
                            return Err(Error::Unsupported {
                                path: self.dir.path().join(&file.name),
                                detail: format!(
                                    "the record at byte {offset} is of a kind ({kind}) that only a newer Flint knows: use \
                                     that version; nothing was touched"
                                ),
                            });
                        }
                    }
                };
                (offset, next_seq) = (stop, walker.next_seq());
                (stop, reason, stop > before)
            };
            // A writer may have appended since this part was read; what it wrote later follows by now.
            if self.access == Access::Shared
                && header.seal.is_none()
                && self.reread(&file, &mut bytes, stop, progressed)?
            {
                continue;
            }
            break (stop, reason);
        };
        let last_seq = next_seq - 1;
        // A sealed segment was durable to its end: it cannot have a torn tail.
        if let Some(seal) = &header.seal {
            self.check_seal(&file.name, &bytes, seal, stop, last_seq, crc)?;
            self.accept(file, header, stop as u64, last_seq, crc);
            return Ok(None);
        }
        // The next header continues exactly here: the segment is complete, and only its seal was not written yet.
        if successor.is_some_and(|next| next.first_seq == next_seq && next.prev_crc == crc) {
            self.accept(file, header, stop as u64, last_seq, crc);
            return Ok(None);
        }
        // The log seems to end here. A later record whose durable mark covers the missing one proves damage.
        if let Some(proof) = find_proof(&bytes, stop, header.seed, next_seq)
            && !hooks::has(Defect::IgnoreDurableMarks)
        {
            let what = reason.unwrap_or("the record is missing");
            return Err(self.corrupt(
                &file.name,
                stop as u64,
                format!(
                    "{what}, and record {} at byte {} says that record {next_seq} was on disk{}",
                    proof.seq,
                    proof.offset,
                    if_absent(reason)
                ),
            ));
        }
        // The snapshot proves the same: the log was durable through its end when it was published.
        if last_seq < self.end && !hooks::has(Defect::IgnoreSnapshotEnd) {
            let what = reason.unwrap_or("the record is missing");
            return Err(self.corrupt(
                &file.name,
                stop as u64,
                format!(
                    "{what}, and a snapshot was published when the log reached record {}{}",
                    self.end,
                    if_absent(reason)
                ),
            ));
        }
        // No proof: a crash cut the log here. It is torn if bytes are left behind the end, or if a later segment does not continue it.
        let area_end = len - segment::SEAL_LEN;
        let torn = last_nonzero(&bytes[stop..area_end]).map_or(0, |at| at as u64 + 1);
        self.accept(file, header, stop as u64, last_seq, crc);
        Ok((torn > 0 || (!last && successor.is_some())).then_some((torn, if_absent(reason))))
    }

    /// Reads the segment again from `stop`. Returns whether reading on may find more.
    fn reread(&self, file: &SegmentFile, bytes: &mut [u8], stop: usize, progressed: bool) -> Result<bool> {
        let fresh = {
            let path = || self.dir.path().join(&file.name);
            let room = zeroed((bytes.len() - stop) as u64);
            let mut fresh = room.map_err(|error| Error::storage("cannot read", path(), error))?;
            self.read(file, &mut fresh, stop as u64)?;
            fresh
        };
        let changed = fresh != bytes[stop..];
        bytes[stop..].copy_from_slice(&fresh);
        Ok(changed && (progressed || stop < bytes.len()))
    }

    fn check_seal(&self, name: &str, bytes: &[u8], seal: &Seal, stop: usize, last_seq: u64, crc: u32) -> Result<()> {
        if (stop as u64, last_seq, crc) != (seal.end_offset, seal.last_seq, seal.last_crc) {
            return Err(self.corrupt(
                name,
                stop as u64,
                format!(
                    "the records end with {last_seq}, but the seal names {} at byte {}",
                    seal.last_seq, seal.end_offset
                ),
            ));
        }
        if <[u8; 32]>::from(Sha256::digest(&bytes[..stop])) != seal.sha256 {
            return Err(self.corrupt(name, 0, "the SHA-256 of the sealed segment does not match"));
        }
        Ok(())
    }

    /// A segment without a header was being made when the power went, unless something says that it was complete.
    fn refuse_lost_segment(&self, file: &SegmentFile, index: usize) -> Result<()> {
        let lost =
            |detail: &str| Err(self.corrupt(&file.name, 0, format!("the header is missing or damaged, but {detail}")));
        if index > 0 && self.scan.segments.last().is_some_and(|segment| segment.sealed) {
            return lost("the segment before it is sealed");
        }
        if file.first_seq <= self.scan.last_seq {
            return lost("the segment before it holds records that its name claims");
        }
        let seed = frame::seed(self.scan.store_id, file.first_seq);
        if let Some(proof) = self.proof_in(file, seed)? {
            return lost(&format!("record {proof} says that it was on disk"));
        }
        Ok(())
    }

    /// A torn tail cannot have anything behind it that says that it was on disk.
    fn refuse_proof_in(
        &self,
        rest: &[(SegmentFile, Option<Header>)],
        name: &str,
        offset: u64,
        hint: &str,
    ) -> Result<()> {
        for (file, header) in rest {
            let seed = frame::seed(self.scan.store_id, file.first_seq);
            let sealed = header.as_ref().is_some_and(|header| header.seal.is_some());
            let proof = if sealed { Some(file.first_seq) } else { self.proof_in(file, seed)? };
            if let Some(proof) = proof {
                return Err(self.corrupt(
                    name,
                    offset,
                    format!(
                        "record {} is missing or damaged, and {} (record {proof}) says that it was on disk{hint}",
                        self.scan.last_seq + 1,
                        file.name
                    ),
                ));
            }
        }
        Ok(())
    }

    /// The first record in a segment that says that the record after the log's end was on disk.
    fn proof_in(&self, file: &SegmentFile, seed: u32) -> Result<Option<u64>> {
        let len =
            file.file.len().map_err(|error| Error::storage("cannot read", self.dir.path().join(&file.name), error))?;
        if len > segment::MAX_SEGMENT_LEN {
            return Err(self.corrupt(&file.name, 0, "the file is longer than any segment"));
        }
        let bytes = self.read_whole(file, len)?;
        Ok(find_proof(&bytes, 0, seed, self.scan.last_seq + 1).map(|proof| proof.seq))
    }
}
