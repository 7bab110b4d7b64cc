//! What the engine's lock protects, and the calls that decide. Everything here runs under the lock: it reads the clock once,
//! decides on the table, reserves room in the log, appends the record, changes the table. In that order, so that a call
//! that cannot be written changes nothing and log order is decision order.

use crate::algorithm::{AFTER_IMAGE_LEN, AfterImage};
use crate::error::Result;
use crate::hooks::{self, Defect};
use crate::image::{LastUse, Origin};
use crate::item::Item;
use crate::limit::Limit;
use crate::log::frame::{Kind, MIN_RECORD_LEN};
use crate::log::record::{
    ConfigureOp, Denial, GroupWriter, IdempotencyOp, Purpose, push_allow, push_allow_one, push_anchor, push_configure,
    push_denials, push_idempotency, push_snapshot_mark,
};
use crate::outcome::{MultiOutcome, Outcome};
use crate::table::Slot;
use crate::table::plan::image_after_change;
use crate::writer::{Blocked, LogWriter};

use super::queues::Queues;
use super::view::{Part, View};

/// Keys per Denials record.
const DENIALS_PER_RECORD: usize = 64;
const DENIAL_LEN: usize = 48;
const DENIALS_LEN: usize = MIN_RECORD_LEN + 8;
const ANCHOR_LEN: usize = MIN_RECORD_LEN + 8;
const CLOSE_LEN: usize = MIN_RECORD_LEN;
const MARK_LEN: usize = MIN_RECORD_LEN + 16;

/// With less room than this a segment counts as full.
const FULL_LEN: usize = 1024;

/// What a denial does to the totals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denials {
    /// It is added to them.
    Count,
    /// It leaves them alone: the caller waits and tries again.
    Ignore,
}

/// A counter whose denial totals are newer than the log's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dirty {
    pub(super) slot: Slot,
    pub(super) id: u64,
    /// The totals that the log has.
    pub(super) denied: u64,
    pub(super) denied_cost: u64,
}

/// Everything under the lock.
pub struct Core {
    pub(crate) view: View,
    pub(crate) writer: LogWriter,
    pub(crate) closed: bool,
    /// The worker was rung for what is due; it clears this when it starts a round.
    pub(crate) worker_knows: bool,
    /// Records that are to become durable, since the last sync began; drives the flusher in batch mode.
    pub(crate) unsynced_events: u64,
    /// Room in the log that calls of several records have set aside; the others leave it.
    pub(super) held_room: usize,
    pub(crate) dirty: Vec<Dirty>,
    pub(crate) dirty_since_ns: u64,
    /// `writer.end()` as it was when the newest snapshot started; below zero by what was replayed at open.
    pub(crate) replay_from: i64,
    pub(crate) snapshot_start: u64,
    /// The record that says that it was published, if it was this session that wrote it.
    pub(crate) snapshot_mark: u64,
    /// Compaction is due when a replay would read more than this.
    pub(crate) compact_above: u64,
    /// The log is full, and there was no room for another segment: a compaction is due. Where that was noticed last.
    pub(crate) is_short: bool,
    pub(crate) short_at: Option<u64>,
    pub(crate) allowed: u64,
    pub(crate) denied: u64,
    /// The calls that wait for a limit.
    pub(crate) queues: Queues,
    /// Reused by multi-key calls.
    images: Vec<AfterImage>,
}

impl Core {
    pub(crate) fn new(view: View, writer: LogWriter) -> Self {
        Self {
            view,
            writer,
            closed: false,
            worker_knows: false,
            unsynced_events: 0,
            held_room: 0,
            dirty: Vec::new(),
            dirty_since_ns: 0,
            replay_from: 0,
            snapshot_start: 0,
            snapshot_mark: 0,
            compact_above: u64::MAX,
            is_short: false,
            short_at: None,
            allowed: 0,
            denied: 0,
            queues: Queues::default(),
            images: Vec::new(),
        }
    }

    /// Room that ordinary calls leave for denial totals, the last anchor and the close record.
    #[inline]
    fn keep(&self) -> usize {
        // Always one whole record: a key may be denied for the first time when the disk is already full.
        let totals = (self.dirty.len() * (DENIAL_LEN + 1)).max(DENIALS_PER_RECORD * DENIAL_LEN) + DENIALS_LEN;
        CLOSE_LEN + ANCHOR_LEN + MARK_LEN + totals.min(self.writer.segment_bytes() / 8)
    }

    #[inline]
    pub(super) fn reserve(&mut self, len: usize) -> Result<(), Blocked> {
        let keep = self.keep() + self.held_room;
        self.writer.reserve(len, keep)
    }

    /// Sets room aside for the records of one call.
    pub(super) fn hold_room(&mut self, len: usize) -> Result<(), Blocked> {
        let keep = self.keep() + self.held_room;
        self.writer.make_room(len, keep)?;
        self.held_room += len;
        Ok(())
    }

    /// Checks one key. A denial is counted, unless the caller waits and tries again.
    #[inline]
    pub(crate) fn check(&mut self, item: &Item<'_>, denials: Denials) -> Result<Outcome, Blocked> {
        let now = self.view.time.now();
        match self.view.table.find(item.key) {
            Some(slot) if !self.view.wants_other(slot, item.limit) => self.check_known(slot, now, item.cost, denials),
            _ => self.check_other(item, now, denials),
        }
    }

    #[inline]
    pub(super) fn check_known(
        &mut self,
        slot: Slot,
        now: u64,
        cost: u64,
        denials: Denials,
    ) -> Result<Outcome, Blocked> {
        self.view.valid_cost(slot, cost)?;
        let (decision, verdicts) = self.view.decide(slot, now, cost);
        if !decision.verdict.allowed {
            if denials == Denials::Count {
                self.count_denied(slot, now, cost);
            }
            return Ok(self.view.outcome(decision, verdicts, now, cost, 0));
        }
        let rates = usize::from(self.view.table.entry(slot).rates);
        if let Err(refusal) = self.reserve(MIN_RECORD_LEN + 16 + AFTER_IMAGE_LEN * rates) {
            if hooks::has(Defect::ChangeBeforeReserve) {
                self.view.table.consume(slot, now, cost, LastUse { seq: self.writer.seq() + 1, nth: 0 });
            }
            return Err(refusal);
        }
        let (table, images, id) = (&self.view.table, &mut self.images, self.view.table.entry(slot).id);
        let pushed = self.writer.push(Kind::Allow, now, |buf| {
            if rates == 1 {
                push_allow_one(buf, id, cost, table.image_after(slot, 0, now, cost));
            } else {
                images.clear();
                images.extend((0..rates).map(|rate| table.image_after(slot, rate, now, cost)));
                push_allow(buf, id, cost, images);
            }
        });
        if pushed.is_err() && hooks::has(Defect::ChangeBeforeWrite) {
            self.view.table.consume(slot, now, cost, LastUse { seq: self.writer.seq() + 1, nth: 0 });
        }
        let seq = pushed?;
        self.view.table.consume(slot, now, cost, LastUse { seq, nth: 0 });
        self.allowed += 1;
        self.unsynced_events += 1;
        Ok(self.view.outcome(decision, verdicts, now, cost, seq))
    }

    /// Checks a key on another counter than its most recently used one: one that it has, or a new one.
    #[cold]
    fn check_other(&mut self, item: &Item<'_>, now: u64, denials: Denials) -> Result<Outcome, Blocked> {
        let part = self.view.resolve(item, now)?;
        if let (Some(slot), None) = (part.slot, &part.plan) {
            return self.check_known(slot, now, item.cost, denials);
        }
        // A new counter has everything left.
        let (decision, verdicts) = (part.decision, part.verdicts.clone());
        let seq = self.write_group(Purpose::CheckWithLimit, &[*item], &[part], now, None)?;
        self.allowed += 1;
        Ok(self.view.outcome(decision, verdicts, now, item.cost, seq))
    }

    /// Counts a denial that was not counted when it was decided: the caller waited and gave up.
    pub(crate) fn count_abandoned(&mut self, key: &str, cost: u64, limit: Option<&Limit>) {
        let now = self.view.time.now();
        let head = self.view.table.find(key);
        if let Some(slot) = head.and_then(|head| self.view.counter(head, limit)) {
            self.count_denied(slot, now, cost);
        }
    }

    pub(super) fn count_denied(&mut self, slot: Slot, now: u64, cost: u64) {
        self.denied += 1;
        if let Some((denied, denied_cost)) = self.view.table.count_denied(slot, now, cost) {
            if self.dirty.is_empty() {
                self.dirty_since_ns = now;
            }
            self.dirty.push(Dirty { slot, id: self.view.table.entry(slot).id, denied, denied_cost });
        }
    }

    /// Checks several keys, all or nothing. The items were validated: no duplicates, 1 to 1,000.
    pub(crate) fn check_all(&mut self, items: &[Item<'_>]) -> Result<MultiOutcome, Blocked> {
        let now = self.view.time.now();
        let parts = self.view.resolve_all(items, now)?;
        let denied = parts.iter().position(|part| !part.decision.verdict.allowed);
        let seq = match denied {
            None => {
                let seq = self.write_group(Purpose::CheckAll, items, &parts, now, None)?;
                self.allowed += items.len() as u64;
                seq
            }
            Some(_) => 0,
        };
        self.multi_outcome(items, &parts, now, seq)
    }

    /// The answer to a check of several keys, which made record `seq` if all were allowed. Counts the denied ones.
    pub(super) fn multi_outcome(
        &mut self,
        items: &[Item<'_>],
        parts: &[Part],
        now: u64,
        seq: u64,
    ) -> Result<MultiOutcome, Blocked> {
        let denied = parts.iter().position(|part| !part.decision.verdict.allowed);
        let mut retry_after_ns = 0;
        let mut outcomes = Vec::with_capacity(items.len());
        for (item, part) in items.iter().zip(parts) {
            let (mut decision, mut verdicts) = (part.decision, part.verdicts.clone());
            if !decision.verdict.allowed {
                retry_after_ns = retry_after_ns.max(decision.verdict.retry_after_ns);
                if let Some(slot) = part.slot {
                    self.count_denied(slot, now, item.cost);
                }
            } else if denied.is_some() && hooks::has(Defect::CountDeniedItems) {
                self.write_group(Purpose::CheckAll, &[*item], std::slice::from_ref(part), now, None)?;
            } else if denied.is_some() {
                // Nothing was consumed: report what is there, not what would have been left.
                (decision, verdicts) = self.view.look(part, now);
            }
            outcomes.push(self.view.outcome(decision, verdicts, now, item.cost, seq));
        }
        Ok(MultiOutcome { allowed: denied.is_none(), denied, retry_after_ns, items: outcomes, seq })
    }

    /// Applies and writes allowed items as one record, with their answer where the call has an id.
    pub(super) fn write_group(
        &mut self,
        purpose: Purpose,
        items: &[Item<'_>],
        parts: &[Part],
        now: u64,
        answered: Option<&IdempotencyOp<'_>>,
    ) -> Result<u64, Blocked> {
        // The length first: room is reserved before anything changes, so that a call that finds none leaves no trace.
        let mut len =
            MIN_RECORD_LEN + 8 + answered.map_or(0, |answered| 32 + answered.answer.len().next_multiple_of(8));
        for (item, part) in items.iter().zip(parts) {
            let rates = match (&part.plan, part.slot) {
                (Some(plan), _) => {
                    len += 8 + configure_len(item.key, plan.len());
                    plan.len()
                }
                (None, Some(slot)) => usize::from(self.view.table.entry(slot).rates),
                (None, None) => unreachable!("an unknown key without a limit was refused"),
            };
            len += 8 + 16 + AFTER_IMAGE_LEN * rates;
        }
        self.reserve(len)?;
        // The record next, with the state that each counter is going to have. The table changes only once the record is in the log.
        let Self { view: View { table, listings, .. }, writer, images, .. } = self;
        let seq = writer.push(Kind::Group, now, |buf| {
            let mut group = GroupWriter::begin(buf, purpose);
            let mut next_id = table.next_id();
            for (item, part) in items.iter().zip(parts) {
                // The cost of items that share a counter is taken with the first of them.
                let Some(cost) = part.takes else { continue };
                let id = part.slot.map_or_else(|| take_id(&mut next_id), |slot| table.entry(slot).id);
                images.clear();
                match (&part.plan, part.slot) {
                    // New rates apply before the cost is taken, so the after-images are those of the new rates.
                    (Some(plan), _) => {
                        let op = ConfigureOp { id, key: item.key, origin: Origin::Call, rates: plan };
                        group.op(buf, Kind::Configure, |buf| push_configure(buf, &op));
                        images.extend(plan.iter().map(|change| image_after_change(change, now, cost)));
                    }
                    (None, Some(slot)) => {
                        let rates = 0..usize::from(table.entry(slot).rates);
                        images.extend(rates.map(|rate| table.image_after(slot, rate, now, cost)));
                    }
                    (None, None) => unreachable!("an unknown key without a limit was refused"),
                }
                group.op(buf, Kind::Allow, |buf| push_allow(buf, id, cost, images));
            }
            // In the same record as the cost: after a crash there are both or neither.
            if let Some(answered) = answered {
                group.op(buf, Kind::Idempotency, |buf| push_idempotency(buf, answered));
            }
            group.finish(buf);
        })?;
        // The table last. The items are visited in the same order as above, so that new keys get the ids that the record names.
        let mut next_id = table.next_id();
        let mut used = LastUse { seq, nth: 0 };
        for (item, part) in items.iter().zip(parts) {
            let Some(cost) = part.takes else { continue };
            let slot = match (&part.plan, part.slot) {
                (Some(plan), known) => {
                    let id = known.map_or_else(|| take_id(&mut next_id), |slot| table.entry(slot).id);
                    let keys = table.len();
                    let slot = table.configure(known, id, item.key, Origin::Call, plan, now, seq);
                    if table.len() > keys {
                        listings.created().push(slot, id);
                    }
                    slot
                }
                (None, Some(slot)) => slot,
                (None, None) => unreachable!("an unknown key without a limit was refused"),
            };
            table.consume(slot, now, cost, used);
            used.nth = used.nth.saturating_add(1);
        }
        self.unsynced_events += 1;
        Ok(seq)
    }

    /// Writes the denial totals of up to one record's worth of keys. Gives whether some are left.
    pub(crate) fn save_denials(&mut self) -> Result<bool, Blocked> {
        // What fits in the room kept for this goes there; only then a new segment is asked for.
        let fits = self.writer.room().saturating_sub(DENIALS_LEN + MARK_LEN + ANCHOR_LEN + CLOSE_LEN) / DENIAL_LEN;
        let most = if fits == 0 { DENIALS_PER_RECORD } else { fits.min(DENIALS_PER_RECORD) };
        let count = self.dirty.len().min(most);
        let from = self.dirty.len() - count;
        let denials: Vec<(Slot, Denial)> = self.dirty[from..].iter().filter_map(|dirty| self.denial(dirty)).collect();
        if denials.is_empty() {
            self.dirty.truncate(from);
            return Ok(from > 0);
        }
        let now = self.view.time.now();
        self.writer.reserve_last(DENIALS_LEN + DENIAL_LEN * denials.len() + MARK_LEN + ANCHOR_LEN + CLOSE_LEN)?;
        let plain: Vec<Denial> = denials.iter().map(|(_, denial)| *denial).collect();
        let seq = self.writer.push(Kind::Denials, now, |buf| push_denials(buf, &plain))?;
        for (slot, _) in denials {
            self.view.table.mark_denials_saved(slot, seq);
        }
        self.dirty.truncate(from);
        self.dirty_since_ns = now;
        Ok(from > 0)
    }

    /// The totals of a dirty key, unless it was deleted meanwhile.
    fn denial(&self, dirty: &Dirty) -> Option<(Slot, Denial)> {
        let entry = self.view.table.get(dirty.slot).filter(|entry| entry.id == dirty.id)?;
        let denial = Denial {
            id: entry.id,
            denied: entry.totals.denied,
            denied_cost: entry.totals.denied_cost,
            last_denied_ns: entry.totals.last_denied_ns,
            delta: entry.totals.denied - dirty.denied,
            delta_cost: entry.totals.denied_cost - dirty.denied_cost,
        };
        Some((dirty.slot, denial))
    }

    /// Denials of a key that the log does not hold yet.
    pub(crate) fn unsaved_denials(&self, head: Slot) -> Vec<Denial> {
        let counters: Vec<Slot> = self.view.table.counters(head).collect();
        let of_key = self.dirty.iter().filter(|dirty| counters.contains(&dirty.slot));
        of_key.filter_map(|dirty| self.denial(dirty)).map(|(_, denial)| denial).collect()
    }

    /// Writes the pairing of engine and wall time, if it moved or if `always`.
    pub(crate) fn save_anchor(&mut self, always: bool) -> Result<(), Blocked> {
        let anchor = match self.view.time.due_anchor() {
            Some(anchor) => anchor,
            None if always => self.view.time.anchor(),
            None => return Ok(()),
        };
        self.writer.reserve_last(ANCHOR_LEN + CLOSE_LEN)?;
        self.writer.push(Kind::Anchor, anchor.engine_ns, |buf| push_anchor(buf, anchor.wall_ns))?;
        self.view.time.anchored(anchor);
        Ok(())
    }

    /// Notes in the log that a snapshot was published.
    pub(crate) fn save_snapshot_mark(&mut self, start: u64, end: u64) -> Result<u64, Blocked> {
        let now = self.view.time.now();
        self.writer.reserve_last(MARK_LEN + ANCHOR_LEN + CLOSE_LEN)?;
        Ok(self.writer.push(Kind::SnapshotMark, now, |buf| push_snapshot_mark(buf, start, end))?)
    }

    /// The last record of a session; everything before it is synced.
    pub(crate) fn save_close(&mut self) -> Result<(), Blocked> {
        let now = self.view.time.now();
        self.writer.reserve_last(CLOSE_LEN)?;
        self.writer.push(Kind::Close, now, |_| ())?;
        Ok(())
    }

    /// Whether the log holds nothing behind the newest snapshot but the mark that it was published.
    pub(crate) fn unchanged_since_snapshot(&self) -> bool {
        let seq = self.writer.seq();
        seq > 0 && (seq == self.snapshot_start || (seq == self.snapshot_mark && seq == self.snapshot_start + 1))
    }

    /// Whether the active segment has no room for calls any more.
    pub(crate) fn is_full(&self) -> bool {
        self.writer.calls_room() < self.keep() + FULL_LEN
    }

    /// Bytes of log that the next open would replay.
    pub(crate) fn replay_bytes(&self) -> u64 {
        self.writer.end().saturating_add_signed(-self.replay_from)
    }
}

/// The id of the next new counter.
pub(super) fn take_id(next_id: &mut u64) -> u64 {
    let id = *next_id;
    *next_id = id.saturating_add(1);
    id
}

/// Bytes of a configuration.
pub(super) fn configure_len(key: &str, rates: usize) -> usize {
    16 + 40 * rates + key.len().next_multiple_of(8)
}
