//! Keys in byte order: all of them, or a page.

use crate::error::Result;
#[cfg(feature = "testing")]
use crate::image::{KeyImage, LastUse};
use crate::limit::MAX_KEY_BYTES;
use crate::store::listings::{Keys, Most, Window};
use crate::table::Slot;

use super::scan::{SLICE, Scan};
use super::{Engine, Status};

/// Keys in byte order, read a slice at a time. Between two slices it holds one window of keys and no statuses.
#[derive(Debug)]
pub struct Listing {
    prefix: String,
    /// The key behind which the next window starts.
    after: Option<String>,
    /// Keys that it may still return.
    left: usize,
    /// The last key that it returned.
    last: Option<String>,
    next: Next,
}

#[derive(Debug)]
enum Next {
    /// The window that the page before left, or else a new one.
    Continued,
    /// A new window.
    Collected,
    Window(Window),
    Nothing,
}

impl Listing {
    /// Keys that start with `prefix` and come after `after`, at most `limit`.
    #[must_use]
    pub fn new(prefix: Option<&str>, limit: Option<usize>, after: Option<&str>) -> Self {
        Self {
            prefix: prefix.unwrap_or_default().to_owned(),
            after: after.map(str::to_owned),
            left: limit.unwrap_or(usize::MAX),
            last: None,
            next: Next::Continued,
        }
    }

    /// Adds the statuses of the next keys to `into`, at most `most`; fewer, or none, where keys were deleted. Returns whether there may
    /// be more.
    ///
    /// # Errors
    /// `Stopped`, `Closed`, `Forked`; then the listing is over.
    pub fn next(&mut self, engine: &Engine, most: usize, into: &mut Vec<Status>) -> Result<bool> {
        let known = into.len();
        let kept = match (std::mem::replace(&mut self.next, Next::Nothing), &self.after) {
            (Next::Nothing, _) => return Ok(false),
            (Next::Window(window), _) => Some(window),
            (Next::Continued, Some(after)) => engine.continued(&self.prefix, after)?,
            (Next::Continued | Next::Collected, _) => None,
        };
        if self.left == 0 {
            engine.with_view(|_| ())?;
            return Ok(false);
        }
        let mut window = match kept {
            Some(window) => window,
            None => engine.window(&self.prefix, self.after.as_deref(), self.left)?,
        };
        engine.take_statuses(&mut window, self.left.min(most), into)?;
        self.left -= into.len() - known;
        if let Some(last) = into[known..].last() {
            self.last = Some(last.key.clone());
        }
        if self.left == 0 {
            engine.keep(window, self.last.as_deref())?;
            return Ok(false);
        }
        if window.next < window.keys.len() {
            self.next = Next::Window(window);
            return Ok(true);
        }
        if window.complete {
            return Ok(false);
        }
        // Keys that were deleted leave room for later ones, so that a page that is not full is the last.
        self.after = window.keys.len().checked_sub(1).map(|last| window.keys.key(last).to_owned());
        self.next = Next::Collected;
        Ok(true)
    }

    /// The bytes of memory that it takes from here on, at most about, in a store with `keys` keys.
    #[must_use]
    pub fn bytes(&self, keys: u64) -> usize {
        match &self.next {
            Next::Nothing => 0,
            Next::Window(window) if window.complete || window.keys.len() - window.next >= self.left => window.bytes(),
            _ => Keys::most_bytes(usize::try_from(keys).unwrap_or(usize::MAX), self.left),
        }
    }
}

impl Engine {
    /// Keys in byte order that start with `prefix` and come after `after`, at most `limit`. Keys that exist throughout the call are
    /// listed exactly once. A call whose `after` is the last key of an earlier one continues that listing without a scan of its own.
    ///
    /// # Errors
    /// `Stopped`, `Closed`, `Forked`.
    pub fn list(&self, prefix: Option<&str>, limit: Option<usize>, after: Option<&str>) -> Result<Vec<Status>> {
        let (mut listing, mut all) = (Listing::new(prefix, limit, after), Vec::new());
        while listing.next(self, usize::MAX, &mut all)? {}
        Ok(all)
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

    /// The smallest keys that start with `prefix` and come after `after`, for a listing that may still return `left` keys.
    fn window(&self, prefix: &str, after: Option<&str>, left: usize) -> Result<Window> {
        let created = self.with_view(|view| view.listings.begin())?;
        let most = Most::of(left);
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
            if keys.exceed(most) {
                // A key with several counters was found once for each of them.
                let cut = keys.keep_smallest(most);
                if cut || keys.len() == most.keys {
                    largest = Some(keys.key(keys.len() - 1).to_owned());
                }
            }
        }
        keys.sort();
        let complete = largest.is_none() && keys.len() <= most.keys;
        if !complete {
            keys.keep_smallest(most);
        }
        Ok(Window { prefix: prefix.to_owned(), keys, next: 0, complete, created })
    }

    /// Adds to `all` the statuses of a slice of the window's next keys, at most `most`, without those that are gone.
    fn take_statuses(&self, window: &mut Window, most: usize, all: &mut Vec<Status>) -> Result<()> {
        let until = window.keys.len().min(window.next.saturating_add(most.min(SLICE as usize)));
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
        Ok(())
    }

    /// Keeps what is left of a window for the page behind `last`, if that page needs no scan with it.
    fn keep(&self, window: Window, last: Option<&str>) -> Result<()> {
        let Some(last) = last else { return Ok(()) };
        if window.next == window.keys.len() && !window.complete {
            return Ok(());
        }
        // Dropped without the lock.
        drop(self.with_view(|view| {
            let now = view.time.now();
            view.listings.keep(window, last, now)
        })?);
        Ok(())
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
