//! Going through all keys, a slice at a time, so that checks are never held up for long. The table may change between two
//! slices; what is listed is true key by key.

use std::collections::BinaryHeap;

use crate::error::Result;

use super::{Engine, Status, TopBy};

/// Keys per slice.
const SLICE: u32 = 256;

/// Calls `see` on every slot of the table that holds a key.
fn each_slot(engine: &Engine, mut see: impl FnMut(&crate::store::view::View, u32)) -> Result<()> {
    let mut next = 0;
    loop {
        let more = engine.with_view(|view| {
            let until = view.table.slots().min(next + SLICE);
            for slot in next..until {
                if view.table.get(slot).is_some() {
                    see(view, slot);
                }
            }
            next = until;
            next < view.table.slots()
        })?;
        if !more {
            return Ok(());
        }
    }
}

/// The status of these keys, in order, without those that are gone.
fn statuses(engine: &Engine, keys: &[String]) -> Result<Vec<Status>> {
    let mut all = Vec::with_capacity(keys.len());
    for slice in keys.chunks(SLICE as usize) {
        engine.with_view(|view| all.extend(slice.iter().filter_map(|key| view.status(key))))?;
    }
    Ok(all)
}

pub(super) fn list(engine: &Engine, prefix: &str, limit: Option<usize>, after: Option<&str>) -> Result<Vec<Status>> {
    let limit = limit.unwrap_or(usize::MAX);
    // The largest of the smallest keys is on top, to be pushed out by a smaller one.
    let mut smallest: BinaryHeap<String> = BinaryHeap::new();
    each_slot(engine, |view, slot| {
        let key = view.table.key(slot);
        if !key.starts_with(prefix) || after.is_some_and(|after| key <= after) {
            return;
        }
        if smallest.len() < limit {
            smallest.push(key.to_owned());
        } else if smallest.peek().is_some_and(|largest| key < largest.as_str()) {
            smallest.pop();
            smallest.push(key.to_owned());
        }
    })?;
    let mut keys = smallest.into_sorted_vec();
    // A key that was deleted and made again between two slices may have been met twice.
    keys.dedup();
    statuses(engine, &keys)
}

pub(super) fn top(engine: &Engine, by: TopBy, limit: usize) -> Result<Vec<Status>> {
    use std::cmp::Reverse;
    let mut largest: BinaryHeap<(Reverse<u64>, String)> = BinaryHeap::new();
    each_slot(engine, |view, slot| {
        let total = view.total(slot, by);
        if total == 0 || limit == 0 {
            return;
        }
        let key = view.table.key(slot);
        if largest.len() == limit {
            if largest.peek().is_none_or(|(least, last)| (Reverse(total), key) >= (*least, last.as_str())) {
                return;
            }
            largest.pop();
        }
        largest.push((Reverse(total), key.to_owned()));
    })?;
    let keys: Vec<String> = largest.into_sorted_vec().into_iter().map(|(_, key)| key).collect();
    statuses(engine, &keys)
}
