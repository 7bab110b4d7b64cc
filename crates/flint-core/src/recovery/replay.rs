//! Applying records to the table. A record is never decided again: it carries the state that it led to.
//!
//! A snapshot is taken while checks go on, so that its entries are of different ages; each says which record it is current
//! to, and only later ones are applied to it.
//!
//! [`apply`] is shared with repair, which goes on where recovery refuses: what to do about each is the [`Target`]'s.

use hashbrown::HashMap;

use crate::error::{Error, Result};
use crate::files;
use crate::hooks::{self, Defect};
use crate::idempotency::{IdempotencyRecord, IdempotencyWindow};
use crate::image::{KeyImage, LastUse, RateChange, Source};
use crate::limit;
use crate::log::frame::Kind;
use crate::log::reader::Frame;
use crate::log::record::{AllowOp, ConfigureRef, GroupOp, GroupRef, Op, TotalsOp, decode};
use crate::storage::Dir;
use crate::table::{Slot, Table};
use crate::time::Anchor;

use super::bounds::{BEYOND, MAX_NUMBER};
use super::ids::IdMap;
use super::scan::TORN_COPY;

/// A record's place, number and time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) name: &'a str,
    pub(crate) offset: usize,
    pub(crate) seq: u64,
    pub(crate) now_ns: u64,
}

impl<'a> Place<'a> {
    pub(crate) fn of(name: &'a str, frame: &Frame<'_>) -> Self {
        Self { name, offset: frame.offset, seq: frame.seq, now_ns: frame.now_ns }
    }
}

/// What records change.
#[derive(Debug)]
pub(crate) struct Replayed {
    pub(crate) table: Table,
    pub(crate) idempotency: IdempotencyWindow,
    pub(crate) newest_ns: u64,
    pub(crate) anchor: Option<Anchor>,
}

impl Default for Replayed {
    fn default() -> Self {
        Self { table: Table::new(), idempotency: IdempotencyWindow::default(), newest_ns: 0, anchor: None }
    }
}

impl Replayed {
    /// The wall time at the newest engine time.
    pub(crate) fn wall_ns(&self) -> u64 {
        let newest_ns = self.newest_ns;
        let since = |anchor: Anchor| newest_ns.saturating_sub(anchor.engine_ns);
        self.anchor.map_or(newest_ns, |anchor| anchor.wall_ns.saturating_add(since(anchor)))
    }

    /// Starts at the time of a snapshot.
    pub(crate) fn anchored(&mut self, engine_ns: u64, wall_ns: u64) {
        self.anchor = Some(Anchor { engine_ns, wall_ns });
        self.newest_ns = self.newest_ns.max(engine_ns);
    }
}

/// What records are applied to.
pub(crate) trait Target {
    /// Why a record is refused.
    type Refusal;

    fn replayed(&mut self) -> &mut Replayed;

    /// The slot of a counter.
    fn slot(&self, id: u64) -> Option<Slot>;

    /// The slot of the counter that a record changes; `None` if the counter includes the record already, or if it is not there.
    fn due(&mut self, place: &Place<'_>, id: u64) -> Result<Option<Slot>, Self::Refusal>;

    /// Applies an allowed check, before which the record holds `nth` others.
    fn allow(&mut self, place: &Place<'_>, slot: Slot, op: &AllowOp<'_>, nth: u16) -> Result<(), Self::Refusal>;

    /// Applies a configuration unless the counter includes it; returns whether it did.
    fn configure(&mut self, place: &Place<'_>, op: &ConfigureRef<'_>) -> Result<bool, Self::Refusal>;

    /// A counter was reset.
    fn was_reset(&mut self, _place: &Place<'_>, _id: u64) {}

    /// A counter's totals were set.
    fn had_totals(&mut self, _place: &Place<'_>, _id: u64) {}

    /// A counter is to be removed from the table, or is not there.
    fn was_deleted(&mut self, id: u64, slot: Option<Slot>);

    /// A snapshot that starts at `start` was published.
    fn snapshot_mark(&mut self, _start: u64) -> Result<(), Self::Refusal> {
        Ok(())
    }

    /// A part of the history of a store that began with a snapshot.
    fn past_event(&mut self) -> Result<(), Self::Refusal> {
        Ok(())
    }
}

/// Applies one record.
#[inline]
pub(crate) fn apply<T: Target>(target: &mut T, place: &Place<'_>, op: &Op<'_>) -> Result<(), T::Refusal> {
    if let Op::Allow(op) = op {
        return match target.due(place, op.id)? {
            Some(slot) => target.allow(place, slot, op, 0),
            None => Ok(()),
        };
    }
    apply_rare(target, place, op)
}

fn apply_rare<T: Target>(target: &mut T, place: &Place<'_>, op: &Op<'_>) -> Result<(), T::Refusal> {
    match *op {
        Op::Allow(_) => return apply(target, place, op),
        Op::Configure(ref configure) => _ = target.configure(place, configure)?,
        Op::Reset { id } => reset(target, place, id)?,
        Op::Delete { id } => delete(target, place, id)?,
        Op::Denials(denials) => {
            for denial in denials {
                if let Some(slot) = target.due(place, denial.id)? {
                    let (denied, cost, last_ns) = (denial.denied, denial.denied_cost, denial.last_denied_ns);
                    target.replayed().table.replay_denials(slot, denied, cost, last_ns, place.seq);
                }
            }
        }
        Op::Group(ref group) => apply_group(target, place, group)?,
        Op::Anchor { wall_ns } => target.replayed().anchor = Some(Anchor { engine_ns: place.now_ns, wall_ns }),
        Op::SnapshotMark { start, .. } => target.snapshot_mark(start)?,
        Op::Close => {}
        Op::Event(_) => target.past_event()?,
    }
    Ok(())
}

fn reset<T: Target>(target: &mut T, place: &Place<'_>, id: u64) -> Result<(), T::Refusal> {
    if let Some(slot) = target.due(place, id)? {
        target.replayed().table.reset(slot, place.now_ns, place.seq);
        target.was_reset(place, id);
    }
    Ok(())
}

fn delete<T: Target>(target: &mut T, place: &Place<'_>, id: u64) -> Result<(), T::Refusal> {
    let slot = target.due(place, id)?;
    target.was_deleted(id, slot);
    Ok(())
}

/// An operation of a group may be about a counter that an operation before it in the same group created, so counters are compared
/// with the record's number as they were before the group.
fn apply_group<T: Target>(target: &mut T, place: &Place<'_>, group: &GroupRef<'_>) -> Result<(), T::Refusal> {
    let mut configured: Option<(u64, bool)> = None;
    let due = |target: &mut T, configured, id| match configured {
        Some((configured, applied)) if configured == id => Ok(target.slot(id).filter(|_| applied)),
        _ => target.due(place, id),
    };
    let mut nth = 0_u16;
    for op in group.ops() {
        match op {
            GroupOp::Configure(op) => configured = Some((op.id, target.configure(place, &op)?)),
            GroupOp::Allow(op) => {
                if let Some(slot) = due(target, configured, op.id)? {
                    target.allow(place, slot, &op, nth)?;
                }
                nth = nth.saturating_add(1);
            }
            GroupOp::Totals(TotalsOp { id, totals }) => {
                if let Some(slot) = due(target, configured, id)? {
                    target.replayed().table.replay_totals(slot, totals, place.seq);
                    target.had_totals(place, id);
                }
            }
            GroupOp::Reset { id } => reset(target, place, id)?,
            GroupOp::Delete { id } => delete(target, place, id)?,
            // Unlike a key, an answer in the snapshot is never newer than its start.
            GroupOp::Idempotency(op) => {
                let (call, answer) = (op.call, op.answer);
                target.replayed().idempotency.remember(&IdempotencyRecord {
                    call,
                    seq: place.seq,
                    at_ns: place.now_ns,
                    answer,
                });
            }
        }
    }
    Ok(())
}

/// The table while it is being filled.
pub(super) struct Replayer {
    pub(super) replayed: Replayed,
    ids: IdMap,
    /// Records up to here are in the snapshot.
    start: u64,
    /// No entry of the snapshot is newer than this.
    end: u64,
    /// Keys that records are about although the snapshot does not have them: they must have been deleted while it was taken,
    /// and the log must say so. Each with the file and byte of the first such record.
    missing: HashMap<u64, (String, u64)>,
    changes: Vec<RateChange>,
    pub(super) records: u64,
    pub(super) history_events: u64,
    pub(super) clean: bool,
}

impl Replayer {
    pub(super) fn new() -> Self {
        Self {
            replayed: Replayed::default(),
            ids: IdMap::default(),
            start: 0,
            end: 0,
            missing: HashMap::new(),
            changes: Vec::new(),
            records: 0,
            history_events: 0,
            clean: false,
        }
    }

    /// Adds a key of the snapshot.
    pub(super) fn import(&mut self, image: &KeyImage) -> Result<(), &'static str> {
        if self.ids.get(image.id).is_some() {
            return Err("its id occurs twice");
        }
        let slot = self.replayed.table.import(image)?;
        self.ids.insert(image.id, slot);
        Ok(())
    }

    /// The snapshot holds the records up to `start`, and of its entries none is newer than `end`.
    pub(super) fn cover(&mut self, start: u64, end: u64, next_id: u64) {
        (self.start, self.end) = (start, end);
        self.replayed.table.reserve_ids(next_id);
    }

    /// Applies one record, unless the snapshot holds it.
    #[inline]
    pub(super) fn apply(&mut self, dir: &dyn Dir, name: &str, frame: &Frame<'_>) -> Result<()> {
        self.apply_frame(name, frame).map_err(|reason| {
            Error::corrupt(
                dir.path().join(name),
                frame.offset as u64,
                format!("record {} cannot be applied: {reason}", frame.seq),
            )
        })
    }

    #[inline]
    fn apply_frame(&mut self, name: &str, frame: &Frame<'_>) -> Result<(), String> {
        let op = decode(frame.kind, frame.body)?;
        self.clean = frame.kind == Kind::Close;
        self.history_events += op.events();
        if frame.seq <= self.start {
            return Ok(());
        }
        if frame.now_ns < self.replayed.newest_ns && self.records > 0 {
            return Err("its time is before its predecessor's".to_owned());
        }
        self.replayed.newest_ns = self.replayed.newest_ns.max(frame.now_ns);
        self.records += 1;
        apply(self, &Place::of(name, frame), &op)
    }

    #[cold]
    fn missed(&mut self, place: &Place<'_>, id: u64) -> Result<(), String> {
        if place.seq > self.end {
            return Err(format!("it is about key id {id}, which does not exist"));
        }
        self.missing.entry(id).or_insert_with(|| (place.name.to_owned(), place.offset as u64));
        Ok(())
    }

    /// What was replayed, with the index of its keys.
    pub(super) fn finish(mut self, dir: &dyn Dir) -> Result<Replayed> {
        if let Some((id, (name, offset))) = self.missing.iter().min_by_key(|(id, _)| **id) {
            return Err(Error::corrupt(
                dir.path().join(name),
                *offset,
                format!("the record is about key id {id}, which is neither in the snapshot nor deleted later"),
            ));
        }
        self.replayed.table.build_index().map_err(|key| {
            let detail = format!("key {key:?} has counters after the replay that cannot all be of one key");
            Error::corrupt(dir.path(), 0, detail)
        })?;
        Ok(self.replayed)
    }
}

impl Target for Replayer {
    type Refusal = String;

    #[inline]
    fn replayed(&mut self) -> &mut Replayed {
        &mut self.replayed
    }

    #[inline]
    fn slot(&self, id: u64) -> Option<Slot> {
        self.ids.get(id)
    }

    /// A key that is not there was deleted while the snapshot was taken, or the log is damaged.
    #[inline]
    fn due(&mut self, place: &Place<'_>, id: u64) -> Result<Option<Slot>, String> {
        match self.ids.get(id) {
            Some(slot) if self.replayed.table.entry(slot).seq < place.seq || hooks::has(Defect::IgnoreSequence) => {
                Ok(Some(slot))
            }
            Some(_) => Ok(None),
            None => self.missed(place, id).map(|()| None),
        }
    }

    #[inline]
    fn allow(&mut self, place: &Place<'_>, slot: Slot, op: &AllowOp<'_>, nth: u16) -> Result<(), String> {
        let used = LastUse { seq: place.seq, nth };
        Ok(self.replayed.table.replay_allow(slot, place.now_ns, op.cost, op.images, used)?)
    }

    fn configure(&mut self, place: &Place<'_>, op: &ConfigureRef<'_>) -> Result<bool, String> {
        self.changes.clear();
        self.changes.extend(op.rates());
        if op.id > MAX_NUMBER {
            return Err(BEYOND.to_owned());
        }
        // Keys that only old releases accepted are in the snapshot, and no call gives them a limit.
        if limit::Key::new(op.key).is_err() {
            return Err("its key is empty or too long".to_owned());
        }
        // No call writes such a limit, and no snapshot could hold it as it is.
        if self.changes.iter().any(|change| !change.rate.is_valid()) {
            return Err("its limit is out of bounds".to_owned());
        }
        let is_kept = |change: &RateChange| matches!(change.source, Source::Kept(_));
        let slot = match self.ids.get(op.id) {
            Some(slot) if self.replayed.table.entry(slot).seq >= place.seq => return Ok(false),
            Some(slot) => Some(slot),
            // A new key has an id that was never assigned; any other is one that was deleted while the snapshot was taken.
            None if op.id >= self.replayed.table.next_id() || place.seq <= self.end => {
                if self.missing.contains_key(&op.id) || self.changes.iter().any(is_kept) {
                    self.missed(place, op.id)?;
                    return Ok(false);
                }
                None
            }
            None => {
                self.missed(place, op.id)?;
                return Ok(false);
            }
        };
        let (table, changes) = (&mut self.replayed.table, &self.changes);
        let slot = table.replay_configure(slot, op.id, op.key, op.origin, changes, place.now_ns, place.seq)?;
        self.ids.insert(op.id, slot);
        Ok(true)
    }

    fn was_deleted(&mut self, id: u64, slot: Option<Slot>) {
        if let Some(slot) = slot {
            self.replayed.table.replay_delete(slot);
            self.ids.remove(id);
        }
        self.missing.remove(&id);
    }

    fn snapshot_mark(&mut self, start: u64) -> Result<(), String> {
        if start > self.start && !hooks::has(Defect::ForgetSnapshotMark) {
            let name = files::snapshot_name(start);
            return Err(format!("it says that {name} was published, which is missing{TORN_COPY}"));
        }
        Ok(())
    }

    fn past_event(&mut self) -> Result<(), String> {
        Err("it is history of a migrated store, whose snapshot is missing".to_owned())
    }
}
