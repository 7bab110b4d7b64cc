//! What happened to a key, read from the segments that are still there.

use std::collections::VecDeque;

use hashbrown::HashSet;

use crate::error::Result;
use crate::image::EventKind;
use crate::limit::{Algorithm, Rate};
use crate::log::after_image::IMAGE_LEN;
use crate::log::reader::Frame;
use crate::log::record::{Op, Purpose, decode};
use crate::segments::each_frame;
use crate::storage::Dir;
use crate::store::types::Event;
use crate::time::to_wall;

/// Collects the newest events of one key.
struct Collector<'a> {
    key: &'a str,
    limit: usize,
    offset_ns: i64,
    /// Ids that the key has or had: it may have been deleted and made again.
    ids: HashSet<u64>,
    /// The rates that the key has at this point of the log, where known.
    rates: Vec<Rate>,
    events: VecDeque<Event>,
}

impl Collector<'_> {
    fn push(&mut self, event: Event) {
        if self.events.len() == self.limit {
            self.events.pop_front();
        }
        if self.limit > 0 {
            self.events.push_back(event);
        }
    }

    fn see(&mut self, frame: &Frame<'_>) {
        let Ok(op) = decode(frame.kind, frame.body) else { return };
        let Op::Group(group) = op else {
            self.see_op(frame.now_ns, EventKind::Allow, &op);
            return;
        };
        let allow = if group.purpose == Purpose::CheckAll { EventKind::AllowAll } else { EventKind::Allow };
        for op in group.ops() {
            self.see_op(frame.now_ns, allow, &op);
        }
    }

    fn see_op(&mut self, now_ns: u64, allow: EventKind, op: &Op<'_>) {
        let at_wall_ns = to_wall(now_ns, self.offset_ns);
        let event = |kind| Event { kind, at_wall_ns, cost: 0, count: 1, remaining: None };
        match *op {
            Op::Allow { id, cost, images } if self.ids.contains(&id) => {
                let remaining = remaining(&self.rates, images);
                self.push(Event { cost, remaining, ..event(allow) });
            }
            Op::Configure(configure) if configure.key == self.key => {
                self.ids.insert(configure.id);
                self.rates = configure.rates().map(|change| change.rate).collect();
                self.push(event(EventKind::LimitConfigured));
            }
            Op::Reset { id } if self.ids.contains(&id) => {
                let remaining = self.rates.iter().map(Rate::capacity).min();
                self.push(Event { remaining, ..event(EventKind::Reset) });
            }
            Op::Delete { id } if self.ids.contains(&id) => self.push(event(EventKind::LimitDeleted)),
            Op::Denials(denials) => {
                for denial in denials.filter(|denial| self.ids.contains(&denial.id)).collect::<Vec<_>>() {
                    self.push(Event {
                        at_wall_ns: to_wall(denial.last_denied_ns, self.offset_ns),
                        cost: denial.delta_cost,
                        count: denial.delta,
                        ..event(EventKind::Deny)
                    });
                }
            }
            Op::Event(old) if old.key == self.key => {
                let kind = EventKind::ALL[usize::from(old.kind)];
                self.push(Event { cost: old.cost, count: old.count, ..event(kind) });
            }
            _ => {}
        }
    }
}

/// What an allowed check left: the least over the rates, where the log tells which rates were in force.
fn remaining(rates: &[Rate], images: &[u8]) -> Option<u64> {
    let images = images.as_chunks::<IMAGE_LEN>().0;
    if rates.is_empty() || rates.len() != images.len() {
        return None;
    }
    let left = |(rate, image): (&Rate, &[u8; IMAGE_LEN])| {
        let value = u128::from_le_bytes(*image);
        let used = match rate.algorithm() {
            Algorithm::TokenBucket => value.div_ceil(u128::from(rate.per_ns().max(1))),
            Algorithm::FixedWindowCounter => value >> 64,
            Algorithm::SlidingWindowLog => value & u128::from(u64::MAX),
        };
        u64::try_from(u128::from(rate.capacity()).saturating_sub(used)).unwrap_or(u64::MAX)
    };
    rates.iter().zip(images).map(left).min()
}

/// The newest `limit` events of a key, oldest first. `id` and `rates` are the key's as they are now, if it exists; they
/// stand for the time before the oldest event kept, unless the log says otherwise.
pub(crate) fn read(
    dir: &dyn Dir,
    key: &str,
    id: Option<u64>,
    rates: Vec<Rate>,
    limit: usize,
    offset_ns: i64,
) -> Result<Vec<Event>> {
    let events = VecDeque::new();
    let mut collector = Collector { key, limit, offset_ns, ids: id.into_iter().collect(), rates, events };
    each_frame(dir, 0, &mut |_, frame| {
        collector.see(frame);
        true
    })?;
    Ok(collector.events.into())
}
