//! A repaired copy of a directory that does not open. The original is only read: no lock, no new file, no changed byte.
//!
//! 1. `sources` finds every record that verifies, whatever is damaged around it, and the snapshots.
//! 2. `losses` says which record numbers are missing and where they were.
//! 3. `keys` applies what is left, from the newest intact snapshot on, and keeps account of what is in doubt; `past` keeps
//!    the history.
//! 4. The result becomes a store of its own with a new id, in today's format, and is opened and compared before anything is
//!    said of it.

mod keys;
mod losses;
mod past;
mod report;
mod sources;

use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::time::Duration;

use crate::bulk::{self, NewStore};
use crate::doctor;
use crate::error::{Error, Result};
use crate::files::{self, FileKind};
use crate::idempotency::{IdempotencyRecord, IdempotencyWindow};
use crate::image::KeyImage;
use crate::log::record::{IdempotencyOp, Op, decode};
use crate::migrate;
use crate::options::Options;
use crate::recovery::{self, Access, STORE_LINE, lost_store, stored_id};
use crate::storage::disk::{DiskDir, NewDir, holder, reject_unsupported_fs};
use crate::storage::{Dir, Mode};
use crate::sync;
use crate::time::Anchor;

use keys::Keys;
use losses::Losses;
use past::Past;
pub use report::{Dropped, KeyDoubt, Loss, Records, Salvage, UnknownId};
use sources::{Record, Snapshot, Sources};

/// A day. Times of an unverified header that differ by more are not believed.
const DAY_NS: u64 = 86_400 * 1_000_000_000;

/// How long a writer gets to finish what it is doing.
const PAUSE: Duration = Duration::from_millis(2);
const ATTEMPTS: u32 = 50;

/// A copy that is ready to be written.
pub(crate) struct Prepared {
    store_id: u64,
    images: Vec<KeyImage>,
    receipts: IdempotencyWindow,
    next_id: u64,
    past: Past,
    newest_ns: u64,
    wall_ns: u64,
    segment_bytes: usize,
    report: Salvage,
}

/// Reads what is left of the store in `dir`; `None` if it opens as it is.
///
/// # Errors
/// `Unsupported` when only a newer version can tell, and when nothing is left that could be copied; `Storage` when a file cannot
/// be opened.
pub(crate) fn prepare(dir: &dyn Dir) -> Result<Option<Prepared>> {
    let names = dir.list().map_err(|error| Error::storage("cannot list", dir.path(), error))?;
    let Some(problem) = problem(dir, &names)? else { return Ok(None) };
    let current =
        names.iter().any(|name| matches!(files::classify(name), FileKind::Segment(_) | FileKind::Snapshot(_)));
    if !current {
        return Err(match problem {
            Error::Corrupt { path, offset, detail } => Error::Unsupported {
                detail: format!(
                    "the directory of an older Flint is damaged at byte {offset}: {detail}; it cannot be repaired \
                     automatically, but its log is text with one event a line: docs/recovery.md says how to go on without a \
                     damaged line"
                ),
                path,
            },
            other => other,
        });
    }
    let sources = Sources::read(dir, &names)?;
    let mut prepared = gather(dir, &sources)?;
    prepared.report.problem = problem.to_string();
    if let Some(writer) = writer(dir) {
        prepared.report.notes.push(writer);
    }
    Ok(Some(prepared))
}

/// Why the directory does not open, if it does not.
fn problem(dir: &dyn Dir, names: &[String]) -> Result<Option<Error>> {
    let outcome = match migrate::unmigrated(dir, names) {
        Ok(Some(_)) => return Ok(None),
        Ok(None) => load(dir),
        Err(error) => Err(error),
    };
    match outcome {
        Ok(true) => Ok(None),
        Ok(false) if stored_id(dir).is_none() => Ok(None),
        Ok(false) => Err(match lost_store(dir) {
            Error::Corrupt { path, detail, .. } => {
                Error::Unsupported { path, detail: format!("it cannot be repaired, nothing is left: {detail}") }
            }
            other => other,
        }),
        Err(error @ (Error::Corrupt { .. } | Error::Storage { .. })) if !is_changing(&error) => Ok(Some(error)),
        Err(error) => Err(error),
    }
}

/// Whether there is a store that opens. Damage stays where it is: an error counts when it comes twice in a row, so that what a
/// writer is just doing is not taken for damage.
fn load(dir: &dyn Dir) -> Result<bool> {
    let mut last = String::new();
    for _ in 0..ATTEMPTS {
        match recovery::load(dir, Access::Shared, true) {
            Err(error @ (Error::Corrupt { .. } | Error::Storage { .. })) => {
                let text = error.to_string();
                if text == last && !is_changing(&error) {
                    return Err(error);
                }
                last = text;
                sync::sleep(PAUSE);
            }
            other => return other.map(|loaded| loaded.is_some()),
        }
    }
    recovery::load(dir, Access::Shared, true).map(|loaded| loaded.is_some())
}

/// Whether it only says that a writer is at work.
fn is_changing(error: &Error) -> bool {
    matches!(error, Error::Storage { source, .. } if source.kind() == std::io::ErrorKind::Interrupted)
}

/// A warning if the process that the lock file names is alive.
fn writer(dir: &dyn Dir) -> Option<String> {
    let file = dir.open(files::LOCK, Mode::Read).ok()?;
    let mut bytes = vec![0; usize::try_from(file.len().ok()?.min(256)).ok()?];
    file.read_exact_at(&mut bytes, 0).ok()?;
    let pid: u32 = std::str::from_utf8(&bytes).ok()?.lines().next()?.trim().parse().ok()?;
    let command = holder::command_line(pid)?;
    Some(format!(
        "process {pid} ({command}) wrote to the directory last and is running: if it still has it open, what it writes from \
         now on is not in the copy"
    ))
}

fn gather(dir: &dyn Dir, sources: &Sources) -> Result<Prepared> {
    let own = |snapshot: &&Snapshot| !snapshot.foreign;
    let base = sources.snapshots.iter().filter(own).rev().find(|snapshot| snapshot.damage.is_none());
    let covered = base.map_or(0, |base| base.start);
    // A snapshot that does not verify still tells how far the log went, if that is near what is there.
    let newest = sources.segments.iter().flat_map(|segment| &segment.records).map(|record| record.seq).max();
    let plausible = newest.unwrap_or(0).max(covered).saturating_add(1 << 20);
    let ends = sources.snapshots.iter().filter(own).filter_map(|snapshot| snapshot.trailer.as_ref());
    let reached = ends.map(|trailer| trailer.end).filter(|&end| end <= plausible).max().unwrap_or(0).max(covered);
    let mut losses = losses::account(dir, sources, covered, reached);
    let mut past = Past::default();
    let mut keys = Keys::new();
    let mut report = Salvage { records: losses.chosen.len() as u64, ..Salvage::default() };
    for snapshot in sources.snapshots.iter().filter(own) {
        snapshot.images.iter().for_each(|image| past.name(image.id, &image.key));
    }
    if let Some(base) = base {
        for image in &base.images {
            keys.import(image, base.start, false);
        }
        keys.reserve_ids(base.trailer.as_ref().map_or(1, |trailer| trailer.next_id));
        if let Some(header) = &base.header {
            keys.anchored(Anchor { engine_ns: header.engine_ns, wall_ns: header.wall_ns });
        }
    }
    let mut receipts = IdempotencyWindow::default();
    if let Some(base) = base {
        base.receipts.for_each(0, &mut |receipt| receipts.remember(receipt));
    }
    replay(dir, sources, covered, &mut losses, &mut keys, &mut past, &mut receipts);
    report.lost_keys = if base.is_some() {
        Vec::new()
    } else {
        past.migrated_keys().into_iter().filter(|key| !keys.knows(key)).map(str::to_owned).collect()
    };
    describe_snapshots(dir, sources, base, &mut losses);
    let (newest_ns, anchor) = (keys.newest_ns, keys.anchor);
    report.notes.append(&mut keys.notes);
    report.notes.append(&mut losses.notes);
    let finished = keys.finish();
    losses.dropped.sort_by(|a, b| {
        let first = |dropped: &Dropped| dropped.records.map_or(0, |records| records.first);
        (&a.path, a.from, first(a)).cmp(&(&b.path, b.from, first(b)))
    });
    report.dropped = losses.dropped;
    report.doubts = finished.doubts;
    report.unknown_ids = finished.unknown_ids;
    report.limits = finished.images.len() as u64;
    if finished.images.is_empty() && report.dropped.iter().any(|dropped| dropped.loss == Loss::State) {
        return Err(Error::Unsupported {
            path: dir.path().to_path_buf(),
            detail: "it cannot be repaired: no limit is left that could be copied".to_owned(),
        });
    }
    let wall_ns =
        anchor.map_or(newest_ns, |anchor| anchor.wall_ns.saturating_add(newest_ns.saturating_sub(anchor.engine_ns)));
    let sizes = sources.segments.iter().filter_map(|segment| segment.header.as_ref().ok());
    let size = sizes.map(|header| header.segment_len).min().unwrap_or(Options::default().segment_bytes);
    let segment_bytes = usize::try_from(size.clamp(16 << 10, 1 << 30)).unwrap_or(16 << 10);
    let (images, next_id) = (finished.images, finished.next_id);
    let store_id = RandomState::new().hash_one(std::process::id());
    Ok(Prepared { store_id, images, receipts, next_id, past, newest_ns, wall_ns, segment_bytes, report })
}

/// Applies the records in order. At the start of a damaged snapshot its lines come in, where records before are missing.
fn replay(
    dir: &dyn Dir,
    sources: &Sources,
    covered: u64,
    losses: &mut Losses,
    keys: &mut Keys,
    past: &mut Past,
    receipts: &mut IdempotencyWindow,
) {
    let is_usable = |snapshot: &&Snapshot| !snapshot.foreign && snapshot.damage.is_some() && snapshot.start > covered;
    let mut damaged: Vec<&Snapshot> = sources.snapshots.iter().filter(is_usable).collect();
    damaged.reverse();
    let mut gaps = losses.gaps.clone();
    gaps.sort_by_key(|gap| std::cmp::Reverse(gap.first));
    let mut catch_up = |keys: &mut Keys, seq: u64| {
        loop {
            let lines = damaged.last().filter(|snapshot| snapshot.start < seq).map(|snapshot| snapshot.start);
            let until = lines.unwrap_or(u64::MAX);
            while let Some(gap) = gaps.last().copied().filter(|gap| gap.first < seq && gap.first <= until) {
                keys.skip(&gap, gap.last.min(until));
                gaps.pop();
                if gap.last > until {
                    gaps.push(losses::Gap { first: until + 1, ..gap });
                }
            }
            let Some(snapshot) = damaged.pop_if(|snapshot| snapshot.start < seq) else { break };
            take_lines(snapshot, keys);
        }
    };
    let mut begun_with = 0;
    for chosen in &losses.chosen {
        let segment = &sources.segments[chosen.segment];
        let record = segment.records[chosen.record];
        let op = match decode(record.kind, record.body(segment)) {
            Ok(op) => op,
            Err(reason) => {
                losses.dropped.push(Dropped {
                    path: dir.path().join(&segment.name),
                    from: record.offset as u64,
                    to: record.end() as u64,
                    records: Some(Records { first: record.seq, last: Some(record.seq) }),
                    loss: if record.seq > covered { Loss::State } else { Loss::History },
                    reason: format!("the record is malformed: {reason}"),
                });
                if record.seq > covered {
                    catch_up(keys, record.seq);
                    let gap = losses::Gap { first: record.seq, last: record.seq, new_keys: record.len as u64 };
                    keys.skip(&gap, record.seq);
                }
                continue;
            }
        };
        past.see(&op, record.now_ns);
        if record.seq > covered {
            catch_up(keys, record.seq);
            keys.apply(&op, record.now_ns, record.seq);
            remember(&op, &record, receipts);
            if is_beginning(&op, record.seq) {
                begun_with = record.seq;
                keys.skip(&losses::Gap { first: record.seq, last: record.seq, new_keys: u64::MAX }, record.seq);
            }
        }
    }
    catch_up(keys, u64::MAX);
    let headers =
        sources.snapshots.iter().filter(|snapshot| !snapshot.foreign).filter_map(|snapshot| snapshot.header.as_ref());
    for header in headers.filter(|header| header.engine_ns.abs_diff(header.wall_ns) < DAY_NS) {
        if keys.newest_ns == 0 {
            let engine_ns = header.engine_ns.min(header.wall_ns);
            keys.anchored(Anchor { engine_ns, wall_ns: engine_ns });
        }
    }
    if begun_with > 0 {
        losses.gaps.push(losses::Gap { first: begun_with, last: begun_with, new_keys: u64::MAX });
        if !sources.snapshots.iter().any(|snapshot| !snapshot.foreign) {
            losses.dropped.push(Dropped {
                path: dir.path().to_path_buf(),
                from: 0,
                to: 0,
                records: None,
                loss: Loss::State,
                reason: "the snapshot that the store began with is missing".to_owned(),
            });
        }
    }
}

/// Keeps what a call that may be repeated was told.
fn remember(op: &Op<'_>, record: &Record, receipts: &mut IdempotencyWindow) {
    let Op::Group(group) = op else { return };
    if !group.has_receipt {
        return;
    }
    for op in group.ops() {
        if let Op::Idempotency(IdempotencyOp { call, answer }) = op {
            receipts.remember(&IdempotencyRecord { call, seq: record.seq, at_ns: record.now_ns, answer });
        }
    }
}

/// Whether a record says that the store began with a snapshot, so that the log alone does not hold its state: that of a
/// migrated store and that of a repaired copy.
fn is_beginning(op: &Op<'_>, seq: u64) -> bool {
    match op {
        Op::Event(_) => true,
        Op::SnapshotMark { start, .. } => *start == seq,
        _ => false,
    }
}

fn take_lines(snapshot: &Snapshot, keys: &mut Keys) {
    if !keys.is_incomplete() {
        return;
    }
    let taken = snapshot.images.iter().filter(|image| keys.import(image, snapshot.start, true)).count();
    keys.notes.push(format!(
        "{}: {taken} key(s) were taken from lines that nothing verifies, because records before it are missing",
        snapshot.name
    ));
}

fn describe_snapshots(dir: &dyn Dir, sources: &Sources, base: Option<&Snapshot>, losses: &mut Losses) {
    let covered = base.map_or(0, |base| base.start);
    for snapshot in &sources.snapshots {
        let mut dropped = |from: u64, to: u64, loss, reason: String| {
            let path = dir.path().join(&snapshot.name);
            losses.dropped.push(Dropped { path, from, to, records: None, loss, reason });
        };
        let Some(damage) = &snapshot.damage else {
            if snapshot.foreign {
                dropped(0, snapshot.len, Loss::Nothing, "the file belongs to another store".to_owned());
            } else if files::parse_snapshot_name(&snapshot.name) != Some(snapshot.start) {
                losses.notes.push(format!(
                    "{} is under a wrong name: its header says that it starts at record {}",
                    snapshot.name, snapshot.start
                ));
            }
            continue;
        };
        let missing = losses.gaps.iter().any(|gap| gap.first <= snapshot.start);
        if snapshot.foreign || snapshot.start <= covered || !missing {
            let why = if snapshot.foreign { "it belongs to another store" } else { "the log holds all that it held" };
            dropped(0, snapshot.len, Loss::Nothing, format!("{damage}; it was not needed: {why}"));
            continue;
        }
        if snapshot.unverified_receipts > 0 {
            losses.notes.push(format!(
                "{}: {} remembered answer(s) were left out, because nothing verifies them: whoever repeats such a call \
                 is charged again",
                snapshot.name, snapshot.unverified_receipts
            ));
        }
        for (line, reason) in &snapshot.bad_lines {
            dropped(line.start as u64, line.end as u64, Loss::State, format!("the line cannot be read: {reason}"));
        }
        if snapshot.bad_lines.is_empty() {
            dropped(0, 0, Loss::State, format!("{damage}: every line is whole, but none is verified"));
        }
    }
}

impl Prepared {
    /// Makes the lock file, which names the copy's store. Whoever made it owns the directory.
    ///
    /// # Errors
    /// `Storage`; nothing is left then.
    pub(crate) fn claim(&self, output: &dyn Dir) -> Result<()> {
        let cannot_create = bulk::storage_error(output, "cannot create", files::LOCK);
        let file = output.open(files::LOCK, Mode::CreateNew).map_err(cannot_create)?;
        let line = format!("0\n{STORE_LINE}{:016x}\n", self.store_id);
        let written = file.write_all_at(line.as_bytes(), 0).and_then(|()| file.sync_data());
        written.and_then(|()| output.sync()).map_err(|error| {
            drop(output.remove(files::LOCK));
            bulk::storage_error(output, "cannot write", files::LOCK)(error)
        })
    }

    /// Writes the copy into `output`, which was claimed, and opens it to see that it holds what it should. The snapshot's
    /// rename is the commit point: before it, `output` is refused by every open, because its lock file names a store of
    /// which the rest is missing. After an error the caller removes what is there.
    ///
    /// # Errors
    /// `Storage`; `Corrupt` when the copy does not read back as it was written.
    pub(crate) fn write(self, output: &dyn Dir) -> Result<Salvage> {
        let store_id = self.store_id;
        let events = self.past.events();
        let store = NewStore {
            store_id,
            segment_bytes: self.segment_bytes,
            events: &events,
            history_bytes: Options::default().history_bytes,
            images: &self.images,
            receipts: &self.receipts,
            next_id: self.next_id,
            engine_ns: self.newest_ns,
            wall_ns: self.wall_ns,
            migrated: None,
            marked: true,
        };
        let start = bulk::write_segments(output, &store)?;
        bulk::sync_dir(output)?;
        let names = output.list().map_err(|error| Error::storage("cannot list", output.path(), error))?;
        bulk::name_segments(output, &names)?;
        bulk::sync_dir(output)?;
        bulk::write_snapshot(output, &store, start)?;
        let found = verify(output, &self.images, &self.receipts, self.newest_ns)?;
        let mut report = self.report;
        report.written = true;
        report.history_events = found;
        Ok(report)
    }
}

/// Reads the copy as an open would and compares every key and every answer that is not too old at `now_ns`. Gives the number of
/// events in its history.
fn verify(output: &dyn Dir, images: &[KeyImage], receipts: &IdempotencyWindow, now_ns: u64) -> Result<u64> {
    let differs = |what: &str| Error::corrupt(output.path(), 0, format!("the copy {what}"));
    let report = doctor::examine_in(output)?;
    if let Some(problem) = report.problems.first() {
        return Err(differs(&format!("does not verify: {}", problem.message)));
    }
    let loaded = recovery::load(output, Access::Exclusive, true)?.ok_or_else(|| differs("is empty"))?;
    let mut found = KeyImage::default();
    for image in images {
        let slot = loaded.table.find(&image.key).ok_or_else(|| differs(&format!("lacks key {:?}", image.key)))?;
        loaded.table.export(slot, &mut found);
        if found != *image {
            return Err(differs(&format!("has another state of key {:?}", image.key)));
        }
    }
    if loaded.table.len() != images.len() as u64 {
        return Err(differs("has other keys"));
    }
    let told = |receipts: &IdempotencyWindow| {
        let mut all = Vec::new();
        receipts.for_each(now_ns, &mut |receipt| all.push((receipt.call, receipt.at_ns, receipt.answer.to_vec())));
        all
    };
    if told(&loaded.idempotency) != told(receipts) {
        return Err(differs("remembers other answers"));
    }
    Ok(report.history_events)
}

/// Writes a repaired copy of the directory `path` to `output`, and says exactly what it lacks. `output` must not exist, or be
/// empty, and must not lie in `path`; the directory above it must exist. `path` is only read, and without its lock: beside a
/// live writer the copy holds some moment of the work. If `path` opens as it is, nothing is written.
///
/// # Errors
/// `InvalidArgument` for such an `output`; `Unsupported` when nothing is left that could be copied or only a newer version can
/// tell; `Storage`. After an error there is no copy, not even a part of one.
pub fn salvage(path: &Path, output: &Path) -> Result<Salvage> {
    let dir = DiskDir::open(path, false).map_err(|error| Error::storage("cannot open", path, error))?;
    let place = NewDir::check(path, output)
        .map_err(|error| Error::storage("cannot write", output, error))?
        .map_err(Error::InvalidArgument)?;
    let Some(prepared) = prepare(&*dir)? else { return Ok(Salvage::default()) };
    reject_unsupported_fs(output).map_err(|detail| Error::Unsupported { path: output.to_path_buf(), detail })?;
    let cannot_create = |error| Error::storage("cannot create", output, error);
    let copy = place.create().map_err(cannot_create)?;
    prepared.claim(&*copy).inspect_err(|_| place.give_back())?;
    prepared.write(&*copy).inspect_err(|_| place.discard())
}

/// The same in any directories, such as simulated ones. `output` must be empty; after an error it holds a part of a copy,
/// which no open accepts.
///
/// # Errors
/// As [`salvage`].
pub fn salvage_in(dir: &dyn Dir, output: &dyn Dir) -> Result<Salvage> {
    let Some(prepared) = prepare(dir)? else { return Ok(Salvage::default()) };
    prepared.claim(output)?;
    prepared.write(output)
}
