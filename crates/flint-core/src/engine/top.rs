//! The keys with the largest totals.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::vec::IntoIter;

use hashbrown::HashSet;

use crate::error::Result;
use crate::limit::MAX_KEY_BYTES;

use super::scan::{SLICE, Scan};
use super::{Engine, Status, TopBy};

/// The keys with the largest totals, largest first, ties in byte order, as one scan found them. Their statuses are read a slice at a
/// time; until then it holds the keys alone.
#[derive(Debug)]
pub struct Top {
    by: TopBy,
    keys: IntoIter<Box<str>>,
}

impl Top {
    /// Adds the statuses of the next keys to `into`, at most `most`; fewer, or none, where keys were deleted or reset. Returns whether
    /// there may be more.
    ///
    /// # Errors
    /// `Stopped`, `Closed`, `Forked`.
    pub fn next(&mut self, engine: &Engine, most: usize, into: &mut Vec<Status>) -> Result<bool> {
        let slice = self.keys.by_ref().take(most.min(SLICE as usize));
        engine.with_view(|view| {
            let statuses = slice.filter_map(|key| view.status(&key));
            into.extend(statuses.filter(|status| status.total(self.by) > 0));
        })?;
        engine.give_way();
        Ok(self.keys.len() > 0)
    }

    /// The bytes of memory that it takes, at most about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        Self::bytes_of(self.keys.len())
    }

    /// The bytes of memory that `keys` keys take, at most about, while they are searched for.
    #[must_use]
    pub const fn bytes_of(keys: usize) -> usize {
        keys.saturating_mul(MAX_KEY_BYTES + 2 * size_of::<(Reverse<u64>, Box<str>)>())
    }
}

impl Engine {
    /// Searches for the keys with the largest totals, at most `limit`; keys whose total is zero are left out.
    ///
    /// # Errors
    /// `Stopped`, `Closed`, `Forked`.
    pub fn find_top(&self, by: TopBy, limit: usize) -> Result<Top> {
        let mut largest: BinaryHeap<(Reverse<u64>, Box<str>)> = BinaryHeap::new();
        Scan::new(self).run(|view, slots| {
            for slot in slots.filter(|_| limit > 0) {
                if view.table.get(slot).is_none() || !view.table.represents_key(slot) {
                    continue;
                }
                let (total, key) = (view.total(slot, by), view.table.key(slot));
                if total == 0 {
                    continue;
                }
                if largest.len() == limit {
                    if largest.peek().is_none_or(|(least, last)| (Reverse(total), key) >= (*least, &**last)) {
                        continue;
                    }
                    largest.pop();
                }
                largest.push((Reverse(total), key.into()));
            }
        })?;
        let mut keys: Vec<Box<str>> = largest.into_sorted_vec().into_iter().map(|(_, key)| key).collect();
        // A key may have been visited twice.
        let mut seen = HashSet::with_capacity(keys.len());
        let first: Vec<bool> = keys.iter().map(|key| seen.insert(&**key)).collect();
        drop(seen);
        let mut first = first.into_iter();
        keys.retain(|_| first.next().unwrap_or(true));
        Ok(Top { by, keys: keys.into_iter() })
    }

    /// The statuses of the keys with the largest totals, largest first, ties in byte order; keys whose total is zero are left out.
    ///
    /// # Errors
    /// `Stopped`, `Closed`, `Forked`.
    pub fn top(&self, by: TopBy, limit: usize) -> Result<Vec<Status>> {
        let (mut top, mut all) = (self.find_top(by, limit)?, Vec::new());
        while top.next(self, usize::MAX, &mut all)? {}
        // Totals have grown since they were compared.
        all.sort_by(|a, b| b.total(by).cmp(&a.total(by)).then_with(|| a.key.cmp(&b.key)));
        Ok(all)
    }
}
