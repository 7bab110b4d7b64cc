//! A repaired copy of a directory that does not open. The original is only read: no lock, no new file, no changed byte.
//!
//! `sources` finds every record that verifies, and the snapshots. `losses` says which records are missing and where they were.
//! `keys` lets recovery apply what is left, from the newest intact snapshot on, and keeps account of what is in doubt; `past`
//! keeps the history. The result becomes a store with a new id, which is opened and compared before it is reported.

mod keys;
mod losses;
mod past;
mod report;
mod sources;

use std::cmp::Reverse;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;

use crate::bulk::{self, NewStore};
use crate::error::{Error, Result};
use crate::files::{self, FileKind};
use crate::lock_holder::Holder;
use crate::lock_text;
use crate::log::record::{Op, decode};
use crate::migrate;
use crate::options::Options;
use crate::recovery::replay::{self, Place};
use crate::recovery::{self, Access, lost_store};
use crate::storage::Dir;
use crate::storage::disk::{DiskDir, holder};
use crate::storage::partial::Partial;

use keys::Keys;
use losses::{Gap, Losses};
use past::Past;
pub use report::{Dropped, KeyDoubt, Loss, Records, RepairReport, UnknownId};
use sources::{Snapshot, Sources, irreparable};

/// What is left of the store in `dir`, for the copy; `None` if it opens as it is.
fn prepare(dir: &dyn Dir) -> Result<Option<(NewStore, RepairReport)>> {
    let names = dir.list().map_err(|error| Error::storage("cannot list", dir.path(), error))?;
    let opened = recovery::look(dir, || {
        Ok(migrate::view(dir)?.old.is_some() || recovery::load(dir, Access::Shared, true)?.is_some())
    });
    let problem = match opened {
        Ok(opens) if opens || lock_text::store_id(dir).is_none() => return Ok(None),
        Ok(_) => return Err(irreparable(dir, &format!(", nothing is left: {}", lost_store(dir)))),
        Err(problem @ Error::Corrupt { .. }) => problem,
        // An interruption says that a writer kept changing the directory.
        Err(Error::Storage { op, path, source }) if source.kind() != std::io::ErrorKind::Interrupted => {
            Error::Storage { op, path, source }
        }
        Err(error) => return Err(error),
    };
    if !names.iter().any(|name| matches!(files::classify(name), FileKind::Segment(_) | FileKind::Snapshot(_))) {
        let Error::Corrupt { path, offset, detail } = problem else { return Err(problem) };
        let detail = format!(
            "the directory of an older Flint is damaged at byte {offset}: {detail}; it cannot be repaired automatically, but \
             its log is text with one event a line: in a copy of the directory, remove the damaged line, and open the copy"
        );
        return Err(Error::Unsupported { path, detail });
    }
    let segments = names.iter().filter(|name| files::parse_segment_name(name).is_some());
    let contents =
        segments.map(|name| Ok((name.clone(), sources::read_segment(dir, name)?))).collect::<Result<Vec<_>>>()?;
    let (store, mut report) = gather(dir, &names, &contents)?;
    report.problem = problem.to_string();
    report.notes.extend(writer(dir));
    Ok(Some((store, report)))
}

/// A warning if a process has the directory locked, or the one that wrote to it last is alive.
fn writer(dir: &dyn Dir) -> Option<String> {
    let (pid, command) = match holder::identify(dir.path(), &lock_text::read(dir)?) {
        Holder::Process { pid, command: Some(command), .. } => (pid, command),
        Holder::Here { .. } => (std::process::id(), "this process".to_owned()),
        _ => return None,
    };
    Some(format!(
        "process {pid} ({command}) wrote to the directory last and is running: if it still has it open, what it writes from \
         now on is not in the copy"
    ))
}

fn gather(dir: &dyn Dir, names: &[String], contents: &[(String, Partial)]) -> Result<(NewStore, RepairReport)> {
    let sources = Sources::read(dir, names, contents)?;
    let own: Vec<&Snapshot> = sources.snapshots.iter().filter(|snapshot| !snapshot.foreign).collect();
    let base = own.iter().rev().find(|snapshot| snapshot.left.damage.is_none()).copied();
    let covered = base.map_or(0, |base| base.start);
    // A snapshot that does not verify still says how far the log went, if that is near what is there.
    let newest = sources.segments.iter().flat_map(|segment| &segment.left.records).map(|frame| frame.seq).max();
    let plausible = newest.unwrap_or(0).max(covered).saturating_add(1 << 20);
    let ends = own.iter().filter_map(|snapshot| snapshot.left.trailer.as_ref().map(|trailer| trailer.end));
    let reached = ends.filter(|&end| end <= plausible).max().unwrap_or(0).max(covered);
    let mut losses = Losses::find(dir, &sources, covered, reached);

    let (mut past, mut keys) = (Past::default(), Keys::new(base));
    past.names.extend(own.iter().flat_map(|snapshot| &snapshot.left.images).map(|image| (image.id, image.key.clone())));
    apply(&own, covered, &mut losses, &mut keys, &mut past);
    // Times of an unverified header that differ by over a day are not believed.
    for header in own.iter().filter_map(|snapshot| snapshot.left.header.as_ref()) {
        if keys.replayed.newest_ns == 0 && header.engine_ns.abs_diff(header.wall_ns) < 86_400 * 1_000_000_000 {
            keys.replayed.anchored(header.engine_ns.min(header.wall_ns), header.engine_ns.min(header.wall_ns));
        }
    }
    describe_snapshots(&sources, covered, &mut losses);

    past.migrated.retain(|key| base.is_none() && !keys.texts.contains_key(key));
    let (images, doubts, unknown_ids) = keys.finish();
    let Losses { chosen, mut dropped, mut notes, .. } = losses;
    if images.is_empty() && dropped.iter().any(|dropped| dropped.loss == Loss::State) {
        return Err(irreparable(dir, ": no limit is left that could be copied"));
    }
    dropped.sort_by_cached_key(|part| (part.path.clone(), part.from, part.records.map(|records| records.first)));
    notes.append(&mut keys.notes);
    let (records, limits) = (chosen.len() as u64, keys.texts.len() as u64);
    let lost_keys = past.migrated.into_iter().collect();
    let report =
        RepairReport { records, limits, dropped, doubts, unknown_ids, lost_keys, notes, ..RepairReport::default() };
    let sizes = sources.segments.iter().filter_map(|segment| segment.left.header.as_ref().ok());
    let size = sizes.map(|header| header.segment_len).min().unwrap_or(Options::default().segment_bytes);
    let store = NewStore {
        store_id: RandomState::new().hash_one(std::process::id()),
        segment_bytes: usize::try_from(size.clamp(16 << 10, 1 << 30)).unwrap_or(16 << 10),
        events: past.events,
        history_bytes: Options::default().history_bytes,
        images,
        next_id: keys.replayed.table.next_id(),
        engine_ns: keys.replayed.newest_ns,
        wall_ns: keys.replayed.wall_ns(),
        idempotency: keys.replayed.idempotency,
        migrated: None,
        marked: true,
    };
    Ok((store, report))
}

/// Applies the records in order, as far as they go.
fn apply(own: &[&Snapshot], covered: u64, losses: &mut Losses<'_>, keys: &mut Keys, past: &mut Past) {
    // What comes between two records, last first: gaps, and at their start the lines of damaged snapshots.
    let damaged = own.iter().rev().filter(|snapshot| snapshot.left.damage.is_some() && snapshot.start > covered);
    let (mut damaged, mut gaps): (Vec<_>, Vec<_>) = (damaged.collect(), losses.gaps.clone());
    gaps.sort_by_key(|gap| Reverse(gap.first));
    let mut catch_up = |keys: &mut Keys, seq: u64| loop {
        let until = damaged.last().map_or(u64::MAX, |snapshot| snapshot.start);
        if let Some(gap) = gaps.pop_if(|gap| gap.first < seq && gap.first <= until) {
            keys.skip(&gap);
        } else if let Some(snapshot) = damaged.pop_if(|snapshot| snapshot.start < seq) {
            keys.import_lines(snapshot);
        } else {
            break;
        }
    };
    let mut began = false;
    for (name, frame) in losses.chosen.clone() {
        let (seq, now_ns) = (frame.seq, frame.now_ns);
        let unknown = |new_keys| Gap { first: seq, last: seq, new_keys };
        catch_up(keys, seq);
        let op = match decode(frame.kind, frame.body) {
            Ok(op) => op,
            Err(reason) => {
                let loss = if seq > covered { Loss::State } else { Loss::History };
                let records = Some(Records { first: seq, last: Some(seq) });
                let reason = format!("the record is malformed: {reason}");
                losses.drop(name, frame.offset..frame.end(), records, loss, reason);
                if loss == Loss::State {
                    keys.skip(&unknown(frame.len() as u64));
                }
                continue;
            }
        };
        past.add(&op, now_ns);
        if seq > covered {
            keys.replayed.newest_ns = keys.replayed.newest_ns.max(now_ns);
            let Ok(()) = replay::apply(keys, &Place::of(name, &frame), &op);
            // The store began with a snapshot, in which anything may have been: a migrated store, or a repaired copy.
            if matches!(op, Op::Event(_)) || matches!(op, Op::SnapshotMark { start, .. } if start == seq) {
                keys.skip(&unknown(u64::MAX));
                losses.gaps.extend((!began).then(|| unknown(u64::MAX)));
                began = true;
            }
        }
    }
    catch_up(keys, u64::MAX);
    if began && own.is_empty() {
        losses.drop("", 0..0, None, Loss::State, "the snapshot that the store began with is missing");
    }
}

/// Reports what was not used of the snapshots.
fn describe_snapshots(sources: &Sources<'_>, covered: u64, losses: &mut Losses<'_>) {
    for Snapshot { name, start, foreign, left } in &sources.snapshots {
        let needed = *start > covered && losses.gaps.iter().any(|gap| gap.first <= *start);
        match &left.damage {
            _ if *foreign => losses.unneeded(name, 0..left.len, "the file belongs to another store"),
            None => {}
            Some(damage) if !needed => {
                losses.unneeded(name, 0..left.len, format!("{damage}; the log holds all that it held"))
            }
            Some(damage) => {
                if left.answers > 0 {
                    let what =
                        format!("{} remembered answer(s) were left out, because nothing verifies them", left.answers);
                    losses.notes.push(format!("{name}: {what}: a call of these that is repeated is charged again"));
                }
                let whole = [(0..0, "every line is whole, but none is verified")];
                let lines = if left.bad_lines.is_empty() { &whole[..] } else { &left.bad_lines };
                for (line, reason) in lines {
                    losses.drop(name, line.clone(), None, Loss::State, format!("{damage}: {reason}"));
                }
            }
        }
    }
}

/// Writes the copy into `output`, which was claimed, and opens it to see that it holds what it should.
fn write((store, report): (NewStore, RepairReport), output: &dyn Dir) -> Result<RepairReport> {
    bulk::write_store(output, &store)?;
    let copy = recovery::load(output, Access::Exclusive, true)?;
    match copy.filter(|copy| copy.holds(&store.images, &store.idempotency, store.engine_ns)) {
        Some(copy) => Ok(RepairReport { written: true, history_events: copy.history_events, ..report }),
        None => Err(Error::corrupt(output.path(), 0, "the copy does not read back as it was written")),
    }
}

/// Writes a repaired copy of the directory `path` to `output`, and says exactly what it lacks. `output` must not exist, or be
/// empty, and must not lie in `path`; the directory above it must exist. `path` is only read, and without its lock: while a
/// writer has it open the copy holds some moment of the work. If `path` opens as it is, nothing is written.
///
/// # Errors
/// `InvalidArgument` for such an `output`; `Unsupported` when nothing is left that could be copied or only a newer version can
/// tell; `Storage`. After an error there is no copy, not even a part of one.
pub fn repair(path: &Path, output: &Path) -> Result<RepairReport> {
    let dir = DiskDir::open(path, false).map_err(|error| Error::storage("cannot open", path, error))?;
    let place = bulk::check_place(path, output)?;
    let Some(prepared) = prepare(&*dir)? else { return Ok(RepairReport::default()) };
    let staged = bulk::stage(&place, output, prepared.0.store_id)?;
    let written = write(prepared, &*staged.dir).and_then(|report| bulk::publish(&staged, output).map(|()| report));
    written.inspect_err(|_| staged.discard())
}

/// The same in any directories, such as simulated ones. `output` must be empty; after an error it holds a part of a copy,
/// which no open accepts.
///
/// # Errors
/// As [`repair`].
pub fn repair_in(dir: &dyn Dir, output: &dyn Dir) -> Result<RepairReport> {
    let Some(prepared) = prepare(dir)? else { return Ok(RepairReport::default()) };
    bulk::claim(output, prepared.0.store_id)?;
    write(prepared, output)
}
