//! Keys in order: all of them, a page, or those with the largest totals.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use hashbrown::HashSet;

use crate::error::Result;
#[cfg(feature = "testing")]
use crate::image::{KeyImage, LastUse};
use crate::limit::MAX_KEY_BYTES;
use crate::store::listings::{Keys, WINDOW_BYTES, WINDOW_KEYS, Window};
use crate::table::Slot;

use super::scan::{SLICE, Scan};
use super::{Engine, Status, TopBy};

impl Engine {
    /// Keys in byte order that start with `prefix` and come after `after`, at most `limit`. Keys that exist throughout the call are
    /// listed exactly once. A call whose `after` is the last key of an earlier one continues that listing without a scan of its own.
    ///
    /// # Errors
    /// `Stopped`, `Closed`, `Forked`.
    pub fn list(&self, prefix: Option<&str>, limit: Option<usize>, after: Option<&str>) -> Result<Vec<Status>> {
        let prefix = prefix.unwrap_or_default();
        let limit = limit.unwrap_or(usize::MAX);
        let mut all = Vec::new();
        if limit == 0 {
            self.with_view(|_| ())?;
            return Ok(all);
        }
        let mut after = after.map(str::to_owned);
        let mut window = match &after {
            Some(after) => self.continued(prefix, after)?,
            None => None,
        };
        loop {
            let mut current = match window.take() {
                Some(window) => window,
                None => self.window(prefix, after.as_deref(), WINDOW_KEYS.max(limit - all.len()))?,
            };
            self.take_statuses(&mut current, limit, &mut all)?;
            if all.len() == limit {
                self.keep(current, &all)?;
                return Ok(all);
            }
            if current.complete {
                return Ok(all);
            }
            // Keys that were deleted leave room for later ones, so that a page that is not full is the last.
            after = current.keys.len().checked_sub(1).map(|last| current.keys.key(last).to_owned());
        }
    }

    /// The window that was kept for the page behind `after`, with the keys that were added to its range since.
    fn continued(&self, prefix: &str, after: &str) -> Result<Option<Window>> {
        let Some(mut window) = self.with_view(|view| view.listings.take(prefix, after))? else { return Ok(None) };
        let known = window.keys.len();
        let last = (!window.complete).then(|| window.keys.key(known - 1).to_owned());
        loop {
            window.keys.reserve(SLICE as usize, SLICE as usize * MAX_KEY_BYTES);
            let more = self.with_view(|view| {
                let range = (after, last.as_deref());
                view.listings.catch_up(&view.table, &mut window, range, SLICE as usize)
            })?;
            match more {
                None => return Ok(None),
                Some(true) => {}
                Some(false) => break,
            }
        }
        if window.keys.len() > known {
            window.keys.sort();
            window.next = window.keys.behind(after);
        }
        Ok(Some(window))
    }

    /// The smallest `count` keys that start with `prefix` and come after `after`.
    fn window(&self, prefix: &str, after: Option<&str>, count: usize) -> Result<Window> {
        let created = self.with_view(|view| view.listings.begin())?;
        let mut keys = Keys::default();
        let mut largest: Option<String> = None;
        let mut scan = Scan::new(self);
        let mut more = true;
        while more {
            keys.reserve(SLICE as usize, SLICE as usize * MAX_KEY_BYTES);
            more = scan.slice(|view, slots| {
                for slot in slots {
                    let Some(entry) = view.table.get(slot) else { continue };
                    let key = view.table.key(slot);
                    let listed = key.starts_with(prefix)
                        && after.is_none_or(|after| key > after)
                        && largest.as_deref().is_none_or(|largest| key < largest);
                    if listed {
                        keys.push(key, slot, entry.id);
                    }
                }
            })?;
            if keys.len() >= count.saturating_mul(2) || keys.bytes() >= 2 * WINDOW_BYTES {
                // A key with several counters was found once for each of them.
                let cut = keys.keep_smallest(count, WINDOW_BYTES);
                if cut || keys.len() == count {
                    largest = Some(keys.key(keys.len() - 1).to_owned());
                }
            }
        }
        keys.sort();
        let complete = largest.is_none() && keys.len() <= count;
        if !complete {
            keys.keep_smallest(count, WINDOW_BYTES);
        }
        Ok(Window { prefix: prefix.to_owned(), keys, next: 0, complete, created })
    }

    /// Adds to `all` the statuses of the window's next keys, without those that are gone, until there are `limit`.
    fn take_statuses(&self, window: &mut Window, limit: usize, all: &mut Vec<Status>) -> Result<()> {
        while all.len() < limit && window.next < window.keys.len() {
            let until = window.keys.len().min(window.next.saturating_add((limit - all.len()).min(SLICE as usize)));
            all.reserve(until - window.next);
            self.with_view(|view| {
                let moment = view.moment();
                // Finding all slots first reads their entries, which are far apart, at the same time.
                let slots = (window.next..until).filter_map(|index| window.keys.slot(index, &view.table));
                let slots: Vec<Slot> = slots.collect();
                all.extend(slots.into_iter().map(|slot| view.status_at(slot, moment)));
            })?;
            window.next = until;
            self.give_way();
        }
        Ok(())
    }

    /// Keeps what is left of a window for the next page, if the next page needs no scan with it.
    fn keep(&self, window: Window, page: &[Status]) -> Result<()> {
        let Some(last) = page.last() else { return Ok(()) };
        if window.next == window.keys.len() && !window.complete {
            return Ok(());
        }
        // Dropped without the lock.
        drop(self.with_view(|view| {
            let now = view.time.now();
            view.listings.keep(window, &last.key, now)
        })?);
        Ok(())
    }

    /// The keys with the largest totals, largest first, ties in byte order; keys whose total is zero are left out.
    ///
    /// # Errors
    /// `Stopped`, `Closed`, `Forked`.
    pub fn top(&self, by: TopBy, limit: usize) -> Result<Vec<Status>> {
        let mut largest: BinaryHeap<(Reverse<u64>, String)> = BinaryHeap::new();
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
                    if largest.peek().is_none_or(|(least, last)| (Reverse(total), key) >= (*least, last.as_str())) {
                        continue;
                    }
                    largest.pop();
                }
                largest.push((Reverse(total), key.to_owned()));
            }
        })?;
        let mut keys: Vec<String> = largest.into_sorted_vec().into_iter().map(|(_, key)| key).collect();
        // A key may have been visited twice.
        let mut seen = HashSet::with_capacity(keys.len());
        keys.retain(|key| seen.insert(key.clone()));
        let mut all = Vec::with_capacity(keys.len());
        for slice in keys.chunks(SLICE as usize) {
            self.with_view(|view| all.extend(slice.iter().filter_map(|key| view.status(key))))?;
            self.give_way();
        }
        // Totals have grown since they were compared.
        all.retain(|status| status.total(by) > 0);
        all.sort_by(|a, b| b.total(by).cmp(&a.total(by)).then_with(|| a.key.cmp(&b.key)));
        Ok(all)
    }

    /// Every counter with its whole state, in byte order of the keys, as a snapshot would hold it: the same at any moment, unlike a
    /// status. Denial totals and the numbers of records are left out, because a crash may lose those that hold only denials; of the
    /// records that used the counters of a key, their order remains.
    ///
    /// # Errors
    /// `Closed`, `Forked`.
    #[cfg(feature = "testing")]
    pub fn images(&self) -> Result<Vec<KeyImage>> {
        let mut all = Vec::new();
        Scan::new(self).run(|view, slots| {
            for slot in slots.filter(|slot| view.table.get(*slot).is_some()) {
                let mut image = KeyImage::default();
                view.table.export(slot, &mut image);
                image.seq = 0;
                (image.totals.denied, image.totals.denied_cost, image.totals.last_denied_ns) = (0, 0, 0);
                all.push(image);
            }
        })?;
        all.sort_by(|a, b| a.key.cmp(&b.key).then(a.id.cmp(&b.id)));
        for of_key in all.chunk_by_mut(|a, b| a.key == b.key) {
            let uses: Vec<LastUse> = of_key.iter().map(|image| image.used).collect();
            for image in of_key {
                let older = uses.iter().filter(|used| **used < image.used).count();
                image.used = LastUse { seq: older as u64, nth: 0 };
            }
        }
        Ok(all)
    }
}
