//! The history of the records that are left, as events that change no state any more.

use hashbrown::HashMap;

use crate::bulk::PastEvent;
use crate::image::EventKind;
use crate::log::record::{Op, Purpose};

struct Event {
    kind: EventKind,
    key: usize,
    at_ns: u64,
    cost: u64,
    count: u64,
}

/// Events in order, and the texts of all keys that were ever named.
#[derive(Default)]
pub(super) struct Past {
    texts: Vec<String>,
    index: HashMap<String, usize>,
    by_id: HashMap<u64, usize>,
    events: Vec<Event>,
    /// Keys that an old release's history names.
    migrated: Vec<usize>,
}

impl Past {
    fn text(&mut self, text: &str) -> usize {
        if let Some(&index) = self.index.get(text) {
            return index;
        }
        self.texts.push(text.to_owned());
        self.index.insert(text.to_owned(), self.texts.len() - 1);
        self.texts.len() - 1
    }

    pub(super) fn name(&mut self, id: u64, text: &str) {
        let index = self.text(text);
        self.by_id.insert(id, index);
    }

    fn push(&mut self, kind: EventKind, id: u64, at_ns: u64, cost: u64, count: u64) {
        if let Some(&key) = self.by_id.get(&id) {
            self.events.push(Event { kind, key, at_ns, cost, count });
        }
    }

    pub(super) fn see(&mut self, op: &Op<'_>, at_ns: u64) {
        let Op::Group(group) = op else { return self.see_op(op, EventKind::Allow, at_ns) };
        let allow = if group.purpose == Purpose::CheckAll { EventKind::AllowAll } else { EventKind::Allow };
        for op in group.ops() {
            self.see_op(&op, allow, at_ns);
        }
    }

    fn see_op(&mut self, op: &Op<'_>, allow: EventKind, at_ns: u64) {
        match *op {
            Op::Allow { id, cost, .. } => self.push(allow, id, at_ns, cost, 1),
            Op::Configure(configure) => {
                self.name(configure.id, configure.key);
                self.push(EventKind::LimitConfigured, configure.id, at_ns, 0, 1);
            }
            Op::Reset { id } => self.push(EventKind::Reset, id, at_ns, 0, 1),
            Op::Delete { id } => self.push(EventKind::LimitDeleted, id, at_ns, 0, 1),
            Op::Denials(denials) => {
                for denial in denials {
                    self.push(EventKind::Deny, denial.id, denial.last_denied_ns, denial.delta_cost, denial.delta);
                }
            }
            Op::Event(event) => {
                let key = self.text(event.key);
                self.migrated.push(key);
                let kind = EventKind::ALL[usize::from(event.kind)];
                self.events.push(Event { kind, key, at_ns, cost: event.cost, count: event.count });
            }
            Op::Group(_) | Op::Anchor { .. } | Op::SnapshotMark { .. } | Op::Close | Op::Idempotency(_) => {}
        }
    }

    pub(super) fn events(&self) -> Vec<PastEvent<'_>> {
        let event = |event: &Event| (event.kind, event.key, event.at_ns, event.cost, event.count);
        self.events
            .iter()
            .map(event)
            .map(|(kind, key, at_ns, cost, count)| PastEvent { kind, key: &self.texts[key], at_ns, cost, count })
            .collect()
    }

    /// Keys of an old release's history, in order.
    pub(super) fn migrated_keys(&self) -> Vec<&str> {
        let mut keys: Vec<&str> = self.migrated.iter().map(|&key| self.texts[key].as_str()).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }
}
