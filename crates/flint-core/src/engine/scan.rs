//! A cursor over all keys, a slice at a time, so that checks never wait for long. The table may change between two slices: what is
//! collected is true key by key, a key that is deleted and added again may be visited twice, and one that is added may be missed.

use std::ops::Range;

use crate::error::Result;
use crate::store::view::{SlotsStay, View};
use crate::table::Slot;

use super::Engine;
#[cfg(feature = "testing")]
use super::Scanned;

/// Slots per slice: some microseconds under the lock.
pub(super) const SLICE: u32 = 256;

/// The place between two slices.
pub(super) struct Scan<'a> {
    engine: &'a Engine,
    next: Slot,
    /// From the first slice on.
    slots_stay: Option<SlotsStay>,
}

impl<'a> Scan<'a> {
    pub(super) const fn new(engine: &'a Engine) -> Self {
        Self { engine, next: 0, slots_stay: None }
    }

    /// Calls `see` with the next slots, under the lock; some of them may be free. Returns whether there are more.
    ///
    /// # Errors
    /// `Stopped`, `Closed`, `Forked`.
    pub(super) fn slice(&mut self, see: impl FnOnce(&mut View, Range<Slot>)) -> Result<bool> {
        let from = self.next;
        let more = self.engine.with_view(|view| {
            self.slots_stay.get_or_insert_with(|| view.begin_scan());
            let slots = view.table.slots();
            let until = slots.min(from + SLICE);
            #[cfg(feature = "testing")]
            view.scanned.add(until - from);
            view.counting_work(|view| {
                see(view, from..until);
                until - from
            });
            self.next = until;
            until < slots
        })?;
        self.engine.give_way();
        Ok(more)
    }

    /// Calls `see` with all slots, slice by slice.
    ///
    /// # Errors
    /// As [`Self::slice`].
    pub(super) fn run(mut self, mut see: impl FnMut(&mut View, Range<Slot>)) -> Result<()> {
        while self.slice(&mut see)? {}
        Ok(())
    }
}

#[cfg(feature = "testing")]
impl Engine {
    /// What the scans of all calls so far did.
    ///
    /// # Errors
    /// `Stopped`, `Closed`, `Forked`.
    pub fn scanned(&self) -> Result<Scanned> {
        self.with_view(|view| view.scanned)
    }

    /// Bytes that are held for all keys and their states.
    ///
    /// # Errors
    /// `Stopped`, `Closed`, `Forked`.
    pub fn held_bytes(&self) -> Result<usize> {
        self.with_view(|view| view.table.held_bytes())
    }

    /// Runs of sliding logs, and blocks of runs, that were visited so far.
    ///
    /// # Errors
    /// `Stopped`, `Closed`, `Forked`.
    pub fn visited_runs(&self) -> Result<u64> {
        self.with_view(|view| view.table.visited_runs())
    }
}
