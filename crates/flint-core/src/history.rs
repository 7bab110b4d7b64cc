//! What happened to a key, read from the segments that are still there.

use std::collections::VecDeque;

use hashbrown::HashMap;

use crate::algorithm::AFTER_IMAGE_LEN;
use crate::error::Result;
use crate::image::EventKind;
use crate::limit::Rate;
use crate::log::reader::Frame;
use crate::log::record::{Denial, RecordEvent, decode};
use crate::segments::each_frame;
use crate::storage::Dir;
use crate::time::to_wall;

/// One event of a key's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// When, wall-clock nanoseconds since the Unix epoch; for aggregated denials the newest.
    pub at_wall_ns: u64,
    /// Cost; for aggregated denials the sum. 0 where there is none.
    pub cost: u64,
    /// Number of checks that this event represents.
    pub count: u64,
    /// What was left afterwards, where the log says it.
    pub remaining: Option<u64>,
    /// The limit that was set; empty for every other event, and where an old release's log was carried over.
    pub rates: Vec<Rate>,
}

/// Collects the newest events of one key.
struct Collector<'a> {
    key: &'a str,
    limit: usize,
    offset_ns: i64,
    /// The counters that the key has or had: it may have been deleted and made again.
    counters: HashMap<u64, Counter>,
    /// Each with the id of its counter.
    events: VecDeque<(u64, Event)>,
}

/// A counter at this point of the log.
struct Counter {
    /// Its rates, where known.
    rates: Vec<Rate>,
    /// They are those that it has now, and nothing in the log has confirmed yet that it had them then.
    assumed: bool,
}

impl Collector<'_> {
    /// Denials are written a while after they happened: each event goes where its time belongs.
    fn push(&mut self, id: u64, event: Event) {
        let later = self.events.iter().rev().take_while(|(_, other)| other.at_wall_ns > event.at_wall_ns).count();
        self.events.insert(self.events.len() - later, (id, event));
        if self.events.len() > self.limit {
            self.events.pop_front();
        }
    }

    fn push_denials(&mut self, denial: &Denial) {
        let event = Event {
            kind: EventKind::Deny,
            at_wall_ns: to_wall(denial.last_denied_ns, self.offset_ns),
            cost: denial.delta_cost,
            count: denial.delta,
            remaining: None,
            rates: Vec::new(),
        };
        self.push(denial.id, event);
    }

    fn see(&mut self, frame: &Frame<'_>) {
        if let Ok(op) = decode(frame.kind, frame.body) {
            op.each_event(frame.now_ns, &mut |event| self.see_event(event));
        }
    }

    fn see_event(&mut self, found: &RecordEvent<'_>) {
        if !found.key.map_or_else(|| self.counters.contains_key(&found.id), |key| key == self.key) {
            return;
        }
        if let Some(rates) = found.rates.clone() {
            let rates = rates.map(|change| change.rate).collect();
            let before = self.counters.insert(found.id, Counter { rates, assumed: false });
            if before.is_some_and(|counter| counter.assumed) {
                // The limit was changed: the log does not say under which one the checks before were counted.
                let of_counter = self.events.iter_mut().filter(|(id, _)| *id == found.id);
                of_counter.for_each(|(_, event)| event.remaining = None);
            }
        }
        let rates = self.counters.get(&found.id).map_or(&[][..], |counter| &counter.rates);
        let remaining = match found.kind {
            EventKind::Allow | EventKind::AllowAll => remaining(rates, found.images),
            EventKind::Reset if found.id != 0 => rates.iter().map(Rate::capacity).min(),
            _ => None,
        };
        let at_wall_ns = to_wall(found.at_ns, self.offset_ns);
        let rates = if found.rates.is_some() { rates.to_vec() } else { Vec::new() };
        let event = Event { kind: found.kind, at_wall_ns, cost: found.cost, count: found.count, remaining, rates };
        self.push(found.id, event);
    }
}

/// What an allowed check left: the least over the rates, where the log says which rates were in force.
fn remaining(rates: &[Rate], images: &[u8]) -> Option<u64> {
    let images = images.as_chunks::<AFTER_IMAGE_LEN>().0;
    if rates.is_empty() || rates.len() != images.len() {
        return None;
    }
    rates.iter().zip(images).map(|(rate, image)| rate.algorithm().remaining_after(rate.quota(), *image)).min()
}

/// A key as it is at the moment up to which its history is read.
pub(crate) struct Now {
    /// Its counters, each with id and rates; these are assumed for the time before the oldest record kept, unless the log says
    /// otherwise.
    pub(crate) counters: Vec<(u64, Vec<Rate>)>,
    /// Wall minus engine time.
    pub(crate) offset_ns: i64,
    /// The newest record; for a reader, the largest number.
    pub(crate) seq: u64,
    /// Denials that the log does not hold yet.
    pub(crate) unsaved: Vec<Denial>,
}

/// The newest `limit` events of a key, oldest first.
pub(crate) fn read(dir: &dyn Dir, key: &str, now: Now, limit: usize) -> Result<Vec<Event>> {
    let Now { counters, offset_ns, seq, unsaved } = now;
    let counters = counters.into_iter().map(|(id, rates)| (id, Counter { rates, assumed: true })).collect();
    let mut collector = Collector { key, limit, offset_ns, counters, events: VecDeque::new() };
    each_frame(dir, &mut |_, frame| {
        if frame.seq <= seq {
            collector.see(frame);
        }
        frame.seq < seq
    })?;
    unsaved.iter().for_each(|denial| collector.push_denials(denial));
    Ok(collector.events.into_iter().map(|(_, event)| event).collect())
}
