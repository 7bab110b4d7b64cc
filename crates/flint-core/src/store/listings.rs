//! Listings that are read in pages. A page is taken from a window: the smallest keys behind the end of the page before, collected
//! in one scan, sorted, and kept until the next page continues it. So a listing of n keys costs n / [`WINDOW_KEYS`] scans, however
//! small its pages are. Keys that are added behind a page are noted, and join the window before the next page.

use std::collections::VecDeque;

use crate::limit::MAX_KEY_BYTES;
use crate::table::{Slot, Table};

/// Most keys of the window of a page, and most bytes of their text: 5 MiB together.
const WINDOW_KEYS: usize = 1 << 16;
const WINDOW_BYTES: usize = 2 << 20;
/// Most bytes of text where the listing is not read in pages: its caller holds all statuses anyway.
const WHOLE_BYTES: usize = 4 << 20;
/// Most windows that are kept, and most bytes of them.
const MAX_WINDOWS: usize = 4;
const MAX_WINDOWS_BYTES: usize = 10 << 20;
/// How long a window is kept for the next page, nanoseconds of engine time.
const WINDOW_AGE_NS: u64 = 60_000_000_000;
/// Most new keys that are noted. A window that would need more is collected anew.
const MAX_CREATED: usize = 1 << 14;

/// Most keys of a window, and most bytes of their text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Most {
    pub(crate) keys: usize,
    bytes: usize,
}

impl Most {
    /// Of a window for a listing that may still return `left` keys.
    pub(crate) fn of(left: usize) -> Self {
        Self { keys: left.max(WINDOW_KEYS), bytes: if left > WINDOW_KEYS { WHOLE_BYTES } else { WINDOW_BYTES } }
    }

    /// What a scan collects before it drops all but the smallest: half as much again.
    const fn collected(self) -> Self {
        Self { keys: self.keys.saturating_add(self.keys / 2), bytes: self.bytes + self.bytes / 2 }
    }
}

/// Keys, each with the place where a scan found it.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    text: String,
    places: Vec<Place>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    /// The bytes of the key behind those that all keys start with, as far as they fit: what the sort compares first.
    order: u128,
    from: usize,
    len: u16,
    slot: Slot,
    /// The key's id, which a later key in the same slot does not have.
    id: u64,
}

impl Keys {
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// Makes room, so that [`Self::push`] allocates nothing under the engine's lock.
    pub(crate) fn reserve(&mut self, keys: usize, bytes: usize) {
        self.places.reserve(keys);
        self.text.reserve(bytes);
    }

    pub(crate) fn push(&mut self, key: &str, slot: Slot, id: u64) {
        let len = u16::try_from(key.len()).expect("a key has at most 512 bytes");
        self.places.push(Place { order: 0, from: self.text.len(), len, slot, id });
        self.text.push_str(key);
    }

    pub(crate) fn key(&self, index: usize) -> &str {
        text_of(&self.text, &self.places[index])
    }

    /// The slot of a key, if the key still exists.
    pub(crate) fn slot(&self, index: usize, table: &Table) -> Option<Slot> {
        let place = &self.places[index];
        match table.get(place.slot) {
            Some(entry) if entry.id == place.id => Some(place.slot),
            // It was deleted, and may have been added again.
            _ => table.find(self.key(index)),
        }
    }

    /// Puts the keys into byte order, each once.
    pub(crate) fn sort(&mut self) {
        let Self { text, places } = self;
        let Some(first) = places.first().map(|place| text_of(text, place).as_bytes()) else { return };
        let common = places.iter().fold(first.len(), |common, place| {
            let key = text_of(text, place).as_bytes();
            first[..common].iter().zip(key).take_while(|(a, b)| a == b).count()
        });
        for place in places.iter_mut() {
            let rest = &text.as_bytes()[place.from + common..place.from + usize::from(place.len)];
            let mut order = [0; 16];
            let len = rest.len().min(16);
            order[..len].copy_from_slice(&rest[..len]);
            place.order = u128::from_be_bytes(order);
        }
        places.sort_unstable_by(|a, b| a.order.cmp(&b.order).then_with(|| text_of(text, a).cmp(text_of(text, b))));
        places.dedup_by(|a, b| text_of(text, a) == text_of(text, b));
    }

    /// The first of the sorted keys that comes after `after`.
    pub(crate) fn behind(&self, after: &str) -> usize {
        self.places.partition_point(|place| text_of(&self.text, place) <= after)
    }

    /// The bytes of memory that they take.
    fn bytes(&self) -> usize {
        self.text.len() + self.places.len() * size_of::<Place>()
    }

    /// The bytes of memory that a scan of `keys` keys takes at most, for a listing that may still return `left`: what it collects, and
    /// the smallest of that.
    pub(crate) fn most_bytes(keys: usize, left: usize) -> usize {
        let most = Most::of(left);
        let text = keys.saturating_mul(MAX_KEY_BYTES).min(most.collected().bytes + most.bytes);
        text + keys.min(most.collected().keys).saturating_mul(size_of::<Place>())
    }

    /// Whether they are so many that all but the smallest should be dropped.
    pub(crate) fn exceed(&self, most: Most) -> bool {
        let collected = most.collected();
        self.places.len() >= collected.keys || self.text.len() >= collected.bytes
    }

    /// Keeps the smallest keys, sorted: `most.keys` of them, or fewer whose text has at most `most.bytes` bytes, but one in any case.
    /// Returns whether they are fewer because of their bytes.
    pub(crate) fn keep_smallest(&mut self, most: Most) -> bool {
        self.sort();
        self.places.truncate(most.keys);
        let mut left = most.bytes;
        let fitting = self.places.iter().take_while(|place| {
            let rest = left.checked_sub(usize::from(place.len));
            left = rest.unwrap_or(0);
            rest.is_some()
        });
        let fitting = fitting.count().max(1);
        let cut = fitting < self.places.len();
        self.places.truncate(fitting);
        let mut text = String::with_capacity(self.places.iter().map(|place| usize::from(place.len)).sum());
        for place in &mut self.places {
            let from = text.len();
            text.push_str(text_of(&self.text, place));
            place.from = from;
        }
        self.text = text;
        self.places.shrink_to_fit();
        cut
    }
}

fn text_of<'a>(text: &'a str, place: &Place) -> &'a str {
    &text[place.from..place.from + usize::from(place.len)]
}

/// A part of the keys of a listing, in byte order.
#[derive(Debug)]
pub(crate) struct Window {
    pub(crate) prefix: String,
    pub(crate) keys: Keys,
    /// The first key that no page has had.
    pub(crate) next: usize,
    /// Whether no key of the listing comes behind the last of these.
    pub(crate) complete: bool,
    /// Where the notes of new keys start that the window lacks.
    pub(crate) created: u64,
}

impl Window {
    /// The bytes of memory that it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.keys.bytes()
    }
}

#[derive(Debug)]
struct Kept {
    window: Window,
    /// The last key of the page before.
    after: String,
    kept_ns: u64,
}

/// The windows that later pages may continue, and the keys that were added since.
#[derive(Debug, Default)]
pub(crate) struct Listings {
    kept: VecDeque<Kept>,
    created: Created,
}

/// New keys, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Created {
    /// Only a store that was listed notes them.
    noting: bool,
    /// The number of notes that were dropped.
    first: u64,
    notes: VecDeque<(Slot, u64)>,
}

impl Created {
    /// Notes a new key.
    #[inline]
    pub(crate) fn push(&mut self, slot: Slot, id: u64) {
        if self.noting {
            self.note(slot, id);
        }
    }

    #[cold]
    fn note(&mut self, slot: Slot, id: u64) {
        if self.notes.len() == MAX_CREATED {
            self.notes.pop_front();
            self.first += 1;
        }
        self.notes.push_back((slot, id));
    }

    /// Drops all notes, because keys have moved to other slots.
    pub(crate) fn forget(&mut self) {
        self.first = self.end();
        self.notes.clear();
    }

    fn end(&self) -> u64 {
        self.first + self.notes.len() as u64
    }
}

impl Listings {
    /// For the table's changes.
    pub(crate) fn created(&mut self) -> &mut Created {
        &mut self.created
    }

    /// Starts a window: from here on new keys are noted. Returns its `created`.
    pub(crate) fn begin(&mut self) -> u64 {
        self.created.noting = true;
        self.created.end()
    }

    /// Looks at up to `most` keys that were created since `window` was filled, and adds to it those that lie in `range`: behind one key
    /// and, where the window is not complete, before another. `None` when notes that it needs were dropped; else whether there are more.
    pub(crate) fn catch_up(
        &self,
        table: &Table,
        window: &mut Window,
        range: (&str, Option<&str>),
        most: usize,
    ) -> Option<bool> {
        let from = usize::try_from(window.created.checked_sub(self.created.first)?).ok()?;
        let (after, last) = range;
        for &(slot, id) in self.created.notes.iter().skip(from).take(most) {
            window.created += 1;
            let exists = table.get(slot).is_some_and(|entry| entry.id == id);
            let key = if exists { table.key(slot) } else { continue };
            if key.starts_with(&window.prefix) && key > after && last.is_none_or(|last| key < last) {
                window.keys.push(key, slot, id);
            }
        }
        Some(window.created < self.created.end())
    }

    /// Keeps a window for the page behind `after`, in place of one for the same page. Returns the windows that are dropped for it.
    pub(crate) fn keep(&mut self, window: Window, after: &str, now_ns: u64) -> Vec<Window> {
        let mut dropped = self.expire(now_ns);
        dropped.extend(self.take(&window.prefix, after));
        let mut bytes = window.bytes() + self.kept.iter().map(|kept| kept.window.bytes()).sum::<usize>();
        while self.kept.len() == MAX_WINDOWS || bytes > MAX_WINDOWS_BYTES {
            let Some(oldest) = self.kept.pop_front() else { break };
            bytes -= oldest.window.bytes();
            dropped.push(oldest.window);
        }
        self.kept.push_back(Kept { window, after: after.to_owned(), kept_ns: now_ns });
        dropped
    }

    /// Takes the window that the page behind `after` continues.
    pub(crate) fn take(&mut self, prefix: &str, after: &str) -> Option<Window> {
        let index = self.kept.iter().position(|kept| kept.window.prefix == prefix && kept.after == after)?;
        self.kept.remove(index).map(|kept| kept.window)
    }

    /// Takes out the windows that were kept for too long.
    pub(crate) fn expire(&mut self, now_ns: u64) -> Vec<Window> {
        let mut expired = Vec::new();
        while self.kept.front().is_some_and(|kept| now_ns.saturating_sub(kept.kept_ns) > WINDOW_AGE_NS) {
            expired.extend(self.kept.pop_front().map(|kept| kept.window));
        }
        expired
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sorted_by_their_bytes_and_come_once() {
        let mut keys = Keys::default();
        let names =
            ["user:b", "user:a\0", "user:a", "user:", "user:b", "user:aaaaaaaaaaaaaaaaaab", "user:aaaaaaaaaaaaaaaaaaa"];
        for name in names {
            keys.push(name, 0, 1);
        }
        keys.sort();
        let sorted: Vec<&str> = (0..keys.len()).map(|index| keys.key(index)).collect();
        let mut expected = names.to_vec();
        expected.sort_unstable();
        expected.dedup();
        assert_eq!(sorted, expected);
        let most = |keys, bytes| Most { keys, bytes };
        assert!(keys.keep_smallest(most(3, 11)));
        assert_eq!((keys.len(), keys.key(0), keys.key(1), keys.text.len()), (2, "user:", "user:a", 11));
        assert!(!keys.keep_smallest(most(2, 11)) && keys.keep_smallest(most(2, 3)));
        assert_eq!((keys.len(), keys.key(0)), (1, "user:"), "one in any case");
    }

    #[test]
    fn few_windows_are_kept_and_none_for_long() {
        let window = |prefix: &str| Window {
            prefix: prefix.to_owned(),
            keys: Keys::default(),
            next: 0,
            complete: true,
            created: 0,
        };
        let mut listings = Listings::default();
        for _ in 0..2 {
            assert!(listings.keep(window("same"), "k", 0).len() < 2);
        }
        assert_eq!(listings.kept.len(), 1, "one for the same page");
        assert!(listings.take("same", "k").is_some());
        for number in 0..MAX_WINDOWS + 2 {
            listings.keep(window(&number.to_string()), "k", number as u64);
        }
        assert!(listings.take("0", "k").is_none() && listings.take("1", "k").is_none());
        assert!(listings.take("2", "other").is_none());
        assert!(listings.take("2", "k").is_some() && listings.take("2", "k").is_none());
        assert_eq!(listings.expire(WINDOW_AGE_NS + 4).len(), 1);
        assert_eq!(listings.kept.len(), 2);
    }

    #[test]
    fn the_windows_that_are_kept_are_bounded_in_bytes() {
        let mut listings = Listings::default();
        for number in 0..MAX_WINDOWS {
            let mut keys = Keys::default();
            keys.push("k", 0, 1);
            keys.text.push_str(&" ".repeat(MAX_WINDOWS_BYTES / 3));
            listings.keep(Window { prefix: number.to_string(), keys, next: 0, complete: true, created: 0 }, "k", 0);
        }
        let prefixes: Vec<&str> = listings.kept.iter().map(|kept| kept.window.prefix.as_str()).collect();
        assert_eq!(prefixes, ["2", "3"]);
    }

    #[test]
    fn notes_of_new_keys_are_bounded() {
        let mut listings = Listings::default();
        listings.created().push(1, 1);
        assert_eq!(listings.begin(), 0, "a store that was never listed notes nothing");
        let mut table = Table::new();
        let rates = crate::limit::parse_limit("1/day", crate::limit::Algorithm::TokenBucket).unwrap();
        let plan = crate::table::plan::fresh(rates.rates());
        let slot = table.configure(None, 1, "key", crate::image::Origin::Explicit, &plan, 1, 1);
        let window = Window { prefix: String::new(), keys: Keys::default(), next: 0, complete: true, created: 0 };
        let mut catching_up = window;
        for _ in 0..MAX_CREATED {
            listings.created().push(slot, 1);
        }
        let most = MAX_CREATED - 1;
        assert_eq!(listings.catch_up(&table, &mut catching_up, ("", None), most), Some(true));
        assert_eq!(listings.catch_up(&table, &mut catching_up, ("", None), most), Some(false));
        catching_up.keys.sort();
        assert_eq!((catching_up.keys.len(), catching_up.keys.key(0)), (1, "key"));
        catching_up.created = 0;
        listings.created().push(slot, 1);
        assert_eq!(listings.catch_up(&table, &mut catching_up, ("", None), most), None, "one was dropped");
    }
}
