//! The history of the records that are left, as events that change no state any more.

use std::collections::BTreeSet;

use hashbrown::HashMap;

use crate::image::PastEvent;
use crate::log::record::Op;

/// Events in order, and the keys that were ever named.
#[derive(Default)]
pub(super) struct Past {
    pub(super) names: HashMap<u64, String>,
    pub(super) events: Vec<PastEvent>,
    /// Keys that an old release's history names.
    pub(super) migrated: BTreeSet<String>,
}

impl Past {
    pub(super) fn add(&mut self, op: &Op<'_>, now_ns: u64) {
        op.each_event(now_ns, &mut |event| {
            if let Some(key) = event.key {
                if event.id == 0 {
                    self.migrated.insert(key.to_owned());
                }
                self.names.insert(event.id, key.to_owned());
            }
            if let Some(key) = self.names.get(&event.id).cloned() {
                let (kind, at_ns, cost, count) = (event.kind, event.at_ns, event.cost, event.count);
                self.events.push(PastEvent { kind, key, at_ns, cost, count });
            }
        });
    }
}
