//! Going through all keys, a slice at a time, so that checks are never held up for long. The table may change between two
//! slices; what is listed is true key by key.

use std::collections::BinaryHeap;

use hashbrown::HashSet;

use crate::error::Result;
use crate::image::KeyImage;

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

/// The smallest `limit` keys that start with `prefix` and come after `after`, in order.
fn smallest(engine: &Engine, prefix: &str, limit: usize, after: Option<&str>) -> Result<Vec<String>> {
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
    Ok(smallest.into_sorted_vec())
}

pub(super) fn list(engine: &Engine, prefix: &str, limit: Option<usize>, after: Option<&str>) -> Result<Vec<Status>> {
    let limit = limit.unwrap_or(usize::MAX);
    let mut all: Vec<Status> = Vec::new();
    let mut after = after.map(str::to_owned);
    loop {
        let wanted = limit - all.len();
        let mut keys = smallest(engine, prefix, wanted, after.as_deref())?;
        let more = keys.len() == wanted;
        // A key that was deleted and made again between two slices may have been met twice.
        keys.dedup();
        all.extend(statuses(engine, &keys)?);
        // Keys that vanished leave places for later ones, so that a page that is not full is the last.
        match keys.pop() {
            Some(last) if more && all.len() < limit => after = Some(last),
            _ => return Ok(all),
        }
    }
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
    let mut keys: Vec<String> = largest.into_sorted_vec().into_iter().map(|(_, key)| key).collect();
    // As in `list`, a key may have been met twice; and totals went on since they were compared.
    let mut seen = HashSet::with_capacity(keys.len());
    keys.retain(|key| seen.insert(key.clone()));
    let mut all = statuses(engine, &keys)?;
    all.retain(|status| total(status, by) > 0);
    all.sort_by(|a, b| total(b, by).cmp(&total(a, by)).then_with(|| a.key.cmp(&b.key)));
    Ok(all)
}

/// Every key's image in the order of keys, without denial totals and the numbers of records that carried only those.
#[cfg(feature = "testing")]
pub(super) fn images(engine: &Engine) -> Result<Vec<KeyImage>> {
    let mut all = Vec::new();
    each_slot(engine, |view, slot| {
        let mut image = KeyImage::default();
        view.table.export(slot, &mut image);
        image.seq = 0;
        (image.totals.denied, image.totals.denied_cost, image.totals.last_denied_ns) = (0, 0, 0);
        all.push(image);
    })?;
    all.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(all)
}

/// What `top` sorts by.
const fn total(status: &Status, by: TopBy) -> u64 {
    match by {
        TopBy::Allowed => status.total_allowed,
        TopBy::Denied => status.total_denied,
        TopBy::AllowedCost => status.total_allowed_cost,
        TopBy::DeniedCost => status.total_denied_cost,
    }
}
