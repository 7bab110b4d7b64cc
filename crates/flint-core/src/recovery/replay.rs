//! Applying records to the table. A record is never decided again: it carries the state that it led to.
//!
//! A snapshot is taken beside running checks, so that its entries are of different ages; each says which record it is
//! current to, and only later ones are applied to it.

use hashbrown::HashMap;

use crate::error::{Error, Result};
use crate::files;
use crate::hooks::{self, Defect};
use crate::idempotency::{IdempotencyRecord, IdempotencyWindow};
use crate::image::{KeyImage, RateChange, Source};
use crate::log::frame::Kind;
use crate::log::reader::Frame;
use crate::log::record::{ConfigureRef, GroupRef, IdempotencyOp, Op, decode};
use crate::storage::Dir;
use crate::table::{Slot, Table};
use crate::time::Anchor;

use super::ids::IdMap;
use super::{BEYOND, MAX_NUMBER};

/// Where a record stands, for messages.
#[derive(Clone)]
struct Place {
    name: String,
    offset: u64,
}

/// The table while it is being filled.
pub(super) struct Replayer {
    table: Table,
    ids: IdMap,
    /// Records up to here are in the snapshot.
    start: u64,
    /// No entry of the snapshot is newer than this.
    end: u64,
    /// Keys that records speak of although the snapshot does not have them: they must have been deleted while it was taken,
    /// and the log must say so.
    missing: HashMap<u64, Place>,
    changes: Vec<RateChange>,
    receipts: IdempotencyWindow,
    pub(super) newest_ns: u64,
    pub(super) newest_anchor: Option<Anchor>,
    pub(super) records: u64,
    pub(super) history_events: u64,
    pub(super) clean: bool,
}

impl Replayer {
    pub(super) fn new() -> Self {
        Self {
            table: Table::new(),
            ids: IdMap::default(),
            start: 0,
            end: 0,
            missing: HashMap::new(),
            changes: Vec::new(),
            receipts: IdempotencyWindow::default(),
            newest_ns: 0,
            newest_anchor: None,
            records: 0,
            history_events: 0,
            clean: false,
        }
    }

    /// Adds a key of the snapshot.
    pub(super) fn import(&mut self, image: &KeyImage) -> Result<(), &'static str> {
        if self.ids.get(image.id).is_some() {
            return Err("its id stands twice");
        }
        let slot = self.table.import(image)?;
        self.ids.insert(image.id, slot);
        Ok(())
    }

    /// Adds an answer that the snapshot remembers: of a record up to its start.
    pub(super) fn remember(&mut self, receipt: &IdempotencyRecord<'_>) {
        self.receipts.remember(receipt);
    }

    /// The snapshot holds the records up to `start`, and of its entries none is newer than `end`.
    pub(super) fn cover(&mut self, start: u64, end: u64, next_id: u64) {
        (self.start, self.end) = (start, end);
        self.table.reserve_ids(next_id);
    }

    pub(super) fn anchor(&mut self, anchor: Anchor) {
        self.newest_anchor = Some(anchor);
        self.newest_ns = self.newest_ns.max(anchor.engine_ns);
    }

    /// Applies one record, unless the snapshot holds it.
    #[inline]
    pub(super) fn apply(&mut self, dir: &dyn Dir, name: &str, frame: &Frame<'_>) -> Result<()> {
        self.apply_inner(name, frame).map_err(|reason| {
            Error::corrupt(
                dir.path().join(name),
                frame.offset as u64,
                format!("record {} cannot be applied: {reason}", frame.seq),
            )
        })
    }

    #[inline]
    fn apply_inner(&mut self, name: &str, frame: &Frame<'_>) -> Result<(), String> {
        let op = decode(frame.kind, frame.body)?;
        self.clean = frame.kind == Kind::Close;
        if frame.seq <= self.start {
            self.history_events += events(&op);
            return Ok(());
        }
        if frame.now_ns < self.newest_ns && self.records > 0 {
            return Err("its time is before its predecessor's".to_owned());
        }
        self.newest_ns = self.newest_ns.max(frame.now_ns);
        self.records += 1;
        if let Op::Allow { id, cost, images } = op {
            self.history_events += 1;
            return self.allow(name, frame, id, cost, images);
        }
        self.history_events += events(&op);
        self.apply_rare(name, frame, &op)
    }

    #[inline]
    fn allow(&mut self, name: &str, frame: &Frame<'_>, id: u64, cost: u64, images: &[u8]) -> Result<(), String> {
        if let Some(slot) = self.due(name, frame, id)? {
            self.table.replay_allow(slot, frame.now_ns, cost, images, frame.seq)?;
        }
        Ok(())
    }

    fn apply_rare(&mut self, name: &str, frame: &Frame<'_>, op: &Op<'_>) -> Result<(), String> {
        let (now, seq) = (frame.now_ns, frame.seq);
        match *op {
            Op::Allow { id, cost, images } => self.allow(name, frame, id, cost, images)?,
            Op::Configure(ref configure) => self.configure(name, frame, configure)?,
            Op::Reset { id } => {
                if let Some(slot) = self.due(name, frame, id)? {
                    self.table.reset(slot, now, seq);
                }
            }
            Op::Delete { id } => {
                if let Some(slot) = self.due(name, frame, id)? {
                    self.table.replay_delete(slot);
                    self.ids.remove(id);
                }
                self.missing.remove(&id);
            }
            Op::Denials(denials) => {
                for denial in denials {
                    if let Some(slot) = self.due(name, frame, denial.id)? {
                        self.table.replay_denials(slot, denial.denied, denial.denied_cost, denial.last_denied_ns, seq);
                    }
                }
            }
            Op::Group(ref group) => self.group(name, frame, group)?,
            Op::Anchor { wall_ns } => self.newest_anchor = Some(Anchor { engine_ns: now, wall_ns }),
            Op::SnapshotMark { start, .. } => {
                if start > self.start && !hooks::has(Defect::ForgetSnapshotMark) {
                    return Err(format!(
                        "it says that {} was published, which is missing",
                        files::snapshot_name(start)
                    ));
                }
            }
            Op::Close => {}
            Op::Event(_) => return Err("it is history of a migrated store, whose snapshot is missing".to_owned()),
            Op::Idempotency(_) => return Err("a receipt stands alone".to_owned()),
        }
        Ok(())
    }

    /// An operation of a group may speak of a key that an operation before it in the same group created, so entries are
    /// compared with the record's number as they were before the group.
    fn group(&mut self, name: &str, frame: &Frame<'_>, group: &GroupRef<'_>) -> Result<(), String> {
        let mut configured: Option<(u64, bool)> = None;
        for op in group.ops() {
            match op {
                Op::Configure(ref configure) => {
                    let applied = self.configure_applied(name, frame, configure)?;
                    configured = Some((configure.id, applied));
                }
                Op::Allow { id, cost, images } => {
                    let applied = match configured {
                        Some((configured_id, applied)) if configured_id == id => {
                            if applied {
                                self.ids.get(id)
                            } else {
                                None
                            }
                        }
                        _ => self.due(name, frame, id)?,
                    };
                    if let Some(slot) = applied {
                        self.table.replay_allow(slot, frame.now_ns, cost, images, frame.seq)?;
                    }
                }
                // Unlike a key, an answer in the snapshot is never newer than its start.
                Op::Idempotency(IdempotencyOp { call, answer }) => {
                    self.receipts.remember(&IdempotencyRecord { call, seq: frame.seq, at_ns: frame.now_ns, answer });
                }
                _ => return Err("it groups an operation that cannot be grouped".to_owned()),
            }
        }
        Ok(())
    }

    fn configure(&mut self, name: &str, frame: &Frame<'_>, op: &ConfigureRef<'_>) -> Result<(), String> {
        self.configure_applied(name, frame, op).map(drop)
    }

    /// Applies a configuration unless the entry includes it; tells whether it did.
    fn configure_applied(&mut self, name: &str, frame: &Frame<'_>, op: &ConfigureRef<'_>) -> Result<bool, String> {
        self.changes.clear();
        self.changes.extend(op.rates());
        if op.id > MAX_NUMBER {
            return Err(BEYOND.to_owned());
        }
        // No call writes such a limit, and no snapshot could hold it as it is.
        if self.changes.iter().any(|change| !change.rate.is_valid()) {
            return Err("its limit is out of bounds".to_owned());
        }
        let slot = match self.ids.get(op.id) {
            Some(slot) if self.table.entry(slot).seq >= frame.seq => return Ok(false),
            Some(slot) => Some(slot),
            // A new key has an id that was never given out; any other is one that was deleted while the snapshot was taken.
            None if op.id >= self.table.next_id() || frame.seq <= self.end => {
                if self.missing.contains_key(&op.id) || self.changes.iter().any(is_kept) {
                    self.missed(name, frame, op.id)?;
                    return Ok(false);
                }
                None
            }
            None => {
                self.missed(name, frame, op.id)?;
                return Ok(false);
            }
        };
        let changes = std::mem::take(&mut self.changes);
        let slot = self.table.replay_configure(slot, op.id, op.key, op.origin, &changes, frame.now_ns, frame.seq)?;
        self.changes = changes;
        self.ids.insert(op.id, slot);
        Ok(true)
    }

    /// The slot of the key that a record changes; `None` if the snapshot's entry includes the record already, or if the key
    /// was deleted while the snapshot was taken.
    #[inline]
    fn due(&mut self, name: &str, frame: &Frame<'_>, id: u64) -> Result<Option<Slot>, String> {
        match self.ids.get(id) {
            Some(slot) if self.table.entry(slot).seq < frame.seq || hooks::has(Defect::IgnoreSequence) => {
                Ok(Some(slot))
            }
            Some(_) => Ok(None),
            None => self.missed(name, frame, id).map(|()| None),
        }
    }

    #[cold]
    fn missed(&mut self, name: &str, frame: &Frame<'_>, id: u64) -> Result<(), String> {
        if frame.seq > self.end {
            return Err(format!("it speaks of key id {id}, which does not exist"));
        }
        self.missing.entry(id).or_insert_with(|| Place { name: name.to_owned(), offset: frame.offset as u64 });
        Ok(())
    }

    /// The finished table and what is remembered.
    pub(super) fn finish(mut self, dir: &dyn Dir) -> Result<(Table, IdempotencyWindow)> {
        if let Some((id, place)) = self.missing.iter().min_by_key(|(id, _)| **id) {
            return Err(Error::corrupt(
                dir.path().join(&place.name),
                place.offset,
                format!("the record speaks of key id {id}, which is neither in the snapshot nor deleted later"),
            ));
        }
        self.table
            .build_index()
            .map_err(|key| Error::corrupt(dir.path(), 0, format!("key {key:?} exists twice after the replay")))?;
        Ok((self.table, self.receipts))
    }
}

fn is_kept(change: &RateChange) -> bool {
    matches!(change.source, Source::Kept(_))
}

/// How many history events a record holds.
fn events(op: &Op<'_>) -> u64 {
    match op {
        Op::Denials(denials) => denials.len() as u64,
        Op::Group(group) => u64::from(group.count) - u64::from(group.has_receipt),
        Op::Anchor { .. } | Op::SnapshotMark { .. } | Op::Close | Op::Idempotency(_) => 0,
        Op::Allow { .. } | Op::Configure(_) | Op::Reset { .. } | Op::Delete { .. } | Op::Event(_) => 1,
    }
}
