//! The end of the log: the active segment, the spare that follows it, and what is not yet synced. Used under the engine's
//! lock; nothing here waits for the disk except creating files, which callers do without the lock.

mod output;
mod prepare;

pub(crate) use output::Output;
use prepare::{FILL_BYTES, Spare};
pub(crate) use prepare::{SMALLEST_SPARE, create_reserve, create_some_spare, create_spare, create_zeroed};

use crate::error::{Error, Result};
use crate::files;
use crate::hooks::{self, Defect};
use crate::log::frame::{self, Head, Kind};
use crate::log::segment::{self, SegmentHeader};
use crate::storage::{Dir, File, Map};
use crate::sync::Arc;

const AREA_START: usize = segment::HEADER_LEN;
const OVERHEAD: usize = segment::HEADER_LEN + segment::SEAL_LEN;

/// Why a call cannot complete under the lock now. Nothing has changed.
#[derive(Debug)]
pub enum Blocked {
    /// A spare segment of at least this many bytes has to be made first.
    UntilSpare(usize),
    /// More than a segment is unsynced: sync first.
    UntilSync,
    /// The call fails.
    Failed(Error),
}

impl From<Error> for Blocked {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// A full segment on its way to being synced and sealed.
pub(crate) struct Full {
    pub(crate) file: Arc<dyn File>,
    pub(crate) name: String,
    pub(crate) seed: u32,
    pub(crate) len: u64,
    pub(crate) end_offset: u64,
    pub(crate) last_seq: u64,
    pub(crate) last_crc: u32,
}

/// The segment that is appended to.
pub(crate) struct Active {
    pub(crate) output: Output,
    pub(crate) name: String,
    pub(crate) seed: u32,
    pub(crate) len: usize,
    pub(crate) pos: usize,
    /// Calls may append up to here: to the end, or nowhere in a segment of an older format.
    pub(crate) calls_end: usize,
}

/// Where the log ends at one moment.
pub(crate) struct LogEnd {
    /// The active segment's first record, the seed of its checksums, and where its next record goes.
    pub(crate) first_seq: u64,
    pub(crate) seed: u32,
    pub(crate) offset: u64,
    /// The newest record and its checksum.
    pub(crate) seq: u64,
    pub(crate) crc: u32,
}

/// What one sync has to cover.
pub(crate) struct SyncJob {
    pub(crate) files: Vec<(String, Arc<dyn File>)>,
    pub(crate) directory: bool,
    pub(crate) seq: u64,
    end: u64,
    full: usize,
}

/// The end of the log.
pub(crate) struct LogWriter {
    dir: Arc<dyn Dir>,
    store_id: u64,
    segment_bytes: usize,
    active: Active,
    spare: Option<Spare>,
    /// Whether [`files::RESERVE`] is there. Without it calls begin no segment.
    reserved: bool,
    /// Full segments that are not synced yet, oldest first.
    full: Vec<Full>,
    /// Synced ones, for the background to seal.
    to_seal: Vec<Full>,
    /// Unmapping takes long, so the background does it.
    retired: Vec<Box<dyn Map>>,
    buf: Vec<u8>,
    seq: u64,
    crc: u32,
    durable_seq: u64,
    /// Bytes appended and bytes synced since open.
    end: u64,
    synced_end: u64,
    /// Half a segment is unsynced from here on, and no sync under way covers it: calls would have to wait soon.
    press_at: u64,
    rotations: u64,
}

impl LogWriter {
    /// Goes on after record `seq` with checksum `crc`, everything up to which is synced.
    pub(crate) fn new(
        dir: Arc<dyn Dir>,
        store_id: u64,
        segment_bytes: usize,
        active: Active,
        seq: u64,
        crc: u32,
        to_seal: Vec<Full>,
    ) -> Self {
        Self {
            dir,
            store_id,
            segment_bytes,
            active,
            spare: None,
            reserved: false,
            full: Vec::new(),
            to_seal,
            retired: Vec::new(),
            buf: Vec::with_capacity(256),
            seq,
            crc,
            durable_seq: seq,
            end: 0,
            synced_end: 0,
            press_at: segment_bytes as u64 / 2,
            rotations: 0,
        }
    }

    pub(crate) const fn store_id(&self) -> u64 {
        self.store_id
    }

    /// The newest record.
    pub(crate) const fn seq(&self) -> u64 {
        self.seq
    }

    /// The newest record known to be on disk.
    pub(crate) const fn durable_seq(&self) -> u64 {
        self.durable_seq
    }

    /// Bytes appended since open.
    pub(crate) const fn end(&self) -> u64 {
        self.end
    }

    /// Where the log ends now.
    pub(crate) fn log_end(&self) -> LogEnd {
        LogEnd {
            first_seq: files::parse_segment_name(&self.active.name).unwrap_or(0),
            seed: self.active.seed,
            offset: self.active.pos as u64,
            seq: self.seq,
            crc: self.crc,
        }
    }

    pub(crate) const fn rotations(&self) -> u64 {
        self.rotations
    }

    pub(crate) const fn segment_bytes(&self) -> usize {
        self.segment_bytes
    }

    /// Makes sure that a record of `len` bytes can be pushed, with `keep` bytes left over for what must always fit.
    #[inline]
    pub(crate) fn reserve(&mut self, len: usize, keep: usize) -> Result<(), Blocked> {
        let unsynced = self.end - self.synced_end;
        if unsynced > 0 && unsynced + len as u64 > self.segment_bytes.max(self.active.len) as u64 {
            return Err(Blocked::UntilSync);
        }
        self.make_room(len, keep)
    }

    /// The same for records that are pushed later, one by one.
    #[inline]
    pub(crate) fn make_room(&mut self, len: usize, keep: usize) -> Result<(), Blocked> {
        if self.active.pos + len + keep + segment::SEAL_LEN <= self.active.calls_end {
            return Ok(());
        }
        self.rotate(len + keep, self.reserved)
    }

    /// The same without keeping anything back: for the close record and the denial totals, which `keep` was for.
    pub(crate) fn reserve_last(&mut self, len: usize) -> Result<(), Blocked> {
        if self.active.pos + len + segment::SEAL_LEN <= self.active.len { Ok(()) } else { self.rotate(len, true) }
    }

    #[cold]
    fn rotate(&mut self, len: usize, may_begin: bool) -> Result<(), Blocked> {
        let needed = (len + OVERHEAD).next_multiple_of(FILL_BYTES);
        if len + OVERHEAD > frame::MAX_RECORD_LEN {
            return Err(Error::InvalidArgument("the call is too large to be written as one record".to_owned()).into());
        }
        // Nothing may follow the last record of a full segment, not even what a failed write left there.
        if let Err(error) = self.active.output.clear(self.active.pos) {
            return Err(Error::storage("cannot write", self.dir.path().join(&self.active.name), error).into());
        }
        // The worker makes the next file, so that no call creates one under the lock.
        let Some(mut spare) = self.spare.take_if(|spare| may_begin && spare.len >= needed) else {
            return Err(Blocked::UntilSpare(needed));
        };
        // The header links the segment to the last record of this one: recovery verifies the chain across files.
        let first_seq = self.seq + 1;
        let name = files::segment_name(first_seq);
        let header = SegmentHeader {
            version: files::SEGMENT_VERSION,
            prev_crc: self.crc,
            features: files::SEGMENT_FEATURES,
            store_id: self.store_id,
            first_seq,
            segment_len: spare.len as u64,
        };
        // The header before the name. After an error the spare waits for the next attempt, and the active segment is as it was.
        let spare_path = || self.dir.path().join(files::SPARE);
        if let Err(error) = spare.output.put(0, &mut header.encode().to_vec()) {
            self.spare = Some(spare);
            return Err(Error::storage("cannot write", spare_path(), error).into());
        }
        if let Err(error) = self.dir.rename(files::SPARE, &name) {
            // The next attempt writes another header over this one.
            drop(spare.output.put(0, &mut vec![0; segment::HEADER_LEN]));
            self.spare = Some(spare);
            return Err(Error::storage("cannot rename", spare_path(), error).into());
        }
        // From here on nothing fails. The old file is sealed only once a sync covered it, its successor and the directory.
        let next = Active {
            output: spare.output,
            name,
            seed: frame::seed(self.store_id, first_seq),
            len: spare.len,
            pos: AREA_START,
            calls_end: spare.len,
        };
        let old = std::mem::replace(&mut self.active, next);
        let (file, map) = old.output.unmap();
        self.retired.extend(map);
        self.full.push(Full {
            file,
            name: old.name,
            seed: old.seed,
            len: old.len as u64,
            end_offset: old.pos as u64,
            last_seq: self.seq,
            last_crc: self.crc,
        });
        self.rotations += 1;
        if hooks::has(Defect::SealTooEarly) {
            self.to_seal.append(&mut self.full);
        }
        Ok(())
    }

    /// Appends the record whose body `fill` writes. Its length was reserved. Gives its sequence number. After an error, which a
    /// mapped segment never returns, the log is as it was.
    #[inline]
    pub(crate) fn push(&mut self, kind: Kind, now: u64, fill: impl FnOnce(&mut Vec<u8>)) -> Result<u64> {
        let seq = self.seq + 1;
        frame::begin(&mut self.buf, now);
        fill(&mut self.buf);
        let head = Head { seq, prev_crc: self.crc, durable_seq: self.durable_seq, kind, flags: 0 };
        let crc = frame::finish(&mut self.buf, self.active.seed, &head);
        assert!(self.active.pos + self.buf.len() + segment::SEAL_LEN <= self.active.len, "the record was reserved");
        if let Err(error) = self.active.output.put(self.active.pos, &mut self.buf) {
            return Err(Error::storage("cannot write", self.dir.path().join(&self.active.name), error));
        }
        self.crc = crc;
        self.active.pos += self.buf.len();
        self.end += self.buf.len() as u64;
        self.seq = seq;
        if self.buf.capacity() > 1 << 20 {
            self.buf = Vec::with_capacity(256);
        }
        Ok(seq)
    }

    /// What has to be synced so that everything appended so far is durable; `None` if it is already.
    pub(crate) fn begin_sync(&mut self) -> Option<SyncJob> {
        if self.durable_seq == self.seq {
            return None;
        }
        let mut files: Vec<_> = self.full.iter().map(|full| (full.name.clone(), full.file.clone())).collect();
        if hooks::has(Defect::SkipPredecessorSync) {
            files.clear();
        }
        self.press_at = self.end + self.segment_bytes as u64 / 2;
        files.push((self.active.name.clone(), self.active.output.file.clone()));
        Some(SyncJob { files, directory: !self.full.is_empty(), seq: self.seq, end: self.end, full: self.full.len() })
    }

    /// Whether so much is unsynced that a sync should begin at once. True once for each sync.
    #[inline]
    pub(crate) fn presses(&mut self) -> bool {
        let presses = self.end >= self.press_at;
        if presses {
            self.press_at = u64::MAX;
        }
        presses
    }

    /// The job is done: what it covered is durable, and the full segments among it may be sealed, because their successor
    /// and its directory entry are durable too.
    pub(crate) fn finish_sync(&mut self, job: &SyncJob) {
        self.durable_seq = self.durable_seq.max(job.seq);
        self.synced_end = self.synced_end.max(job.end);
        self.to_seal.extend(self.full.drain(..job.full.min(self.full.len())));
    }

    /// Bytes left for calls in the active segment.
    pub(crate) const fn calls_room(&self) -> usize {
        self.active.calls_end.saturating_sub(segment::SEAL_LEN + self.active.pos)
    }

    /// Bytes left in it for the records that end a session as well.
    pub(crate) const fn room(&self) -> usize {
        self.active.len - segment::SEAL_LEN - self.active.pos
    }

    /// Whether the next segment should be made now, so that no call has to wait for it: a quarter of this one is used. A
    /// short session makes none.
    #[inline]
    pub(crate) const fn needs_spare(&self) -> bool {
        (self.spare.is_none() || !self.reserved) && self.active.pos > self.active.len / 4
    }

    pub(crate) fn has_spare_of(&self, len: usize) -> bool {
        self.spare.as_ref().is_some_and(|spare| spare.len >= len)
    }

    pub(crate) const fn is_reserved(&self) -> bool {
        self.reserved
    }

    pub(crate) const fn set_reserved(&mut self, reserved: bool) {
        self.reserved = reserved;
    }

    /// Bytes of the spare and of the reserve.
    pub(crate) fn prepared_bytes(&self) -> (u64, u64) {
        (
            self.spare.as_ref().map_or(0, |spare| spare.len as u64),
            if self.reserved { self.segment_bytes as u64 } else { 0 },
        )
    }

    /// Goes on in the spare, however much room is left.
    pub(crate) fn leave(&mut self) -> Result<(), Blocked> {
        self.rotate(0, true)
    }

    pub(crate) fn set_spare(&mut self, spare: Spare) {
        self.spare = Some(spare);
    }

    /// Takes the spare away, so that a larger one can be made under the same name.
    pub(crate) fn take_spare(&mut self) -> Option<Spare> {
        self.spare.take()
    }

    /// Gives back all files and mappings: the last step of a session, after which nothing is appended.
    pub(crate) fn release(&mut self) {
        self.active.output.close();
        self.spare = None;
        self.full.clear();
        self.to_seal.clear();
        self.retired.clear();
    }

    pub(crate) fn has_chores(&self) -> bool {
        !self.to_seal.is_empty() || !self.retired.is_empty()
    }

    pub(crate) fn take_to_seal(&mut self) -> Vec<Full> {
        std::mem::take(&mut self.to_seal)
    }

    pub(crate) fn take_retired(&mut self) -> Vec<Box<dyn Map>> {
        std::mem::take(&mut self.retired)
    }
}

/// Whether the engine has to stop after this error of a write: everything but a lack of room, memory or descriptors says that the disk cannot be
/// trusted.
pub(crate) fn is_fatal(error: &Error) -> bool {
    matches!(error, Error::Storage { .. }) && !error.is_out_of_resources()
}
