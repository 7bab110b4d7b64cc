//! The items of one call. Those of one key have a counter each if they come with limits of their own; where several come to the same
//! counter they are decided together, on the sum of their costs.

use hashbrown::{HashMap, HashSet};

use crate::error::{Error, Result};
use crate::item::Item;
use crate::table::Slot;

use super::view::{Part, View};

/// Up to this many keys are compared with each other; more of them through a set.
const FEW: usize = 8;

impl View {
    /// Resolves the items of a call, which were validated: none has both key and limit of another.
    pub(crate) fn resolve_all(&self, items: &[Item<'_>], now: u64) -> Result<Vec<Part>> {
        if !has_repeated_keys(items) {
            return items.iter().map(|item| self.resolve(item, now)).collect();
        }
        let heads: Vec<Option<Slot>> = items.iter().map(|item| self.table.find(item.key)).collect();
        let counters = items.iter().zip(&heads).map(|(item, head)| self.counter((*head)?, item.limit));
        let counters: Vec<Option<Slot>> = counters.collect();
        let mut costs: HashMap<Slot, u64> = HashMap::new();
        // A new counter takes the place of none that the call uses.
        let mut of_key: HashMap<&str, Vec<Option<Slot>>> = HashMap::new();
        for (item, counter) in items.iter().zip(&counters) {
            let Some(slot) = *counter else { continue };
            let cost = costs.entry(slot).or_insert(0);
            *cost = cost.saturating_add(item.cost);
            of_key.entry(item.key).or_default().push(Some(slot));
        }
        let mut decided: HashSet<Slot> = HashSet::new();
        let mut parts = Vec::with_capacity(items.len());
        for ((item, head), counter) in items.iter().zip(heads).zip(counters) {
            let mut part = match counter {
                Some(slot) => self.shared_part(slot, item, costs[&slot], now)?,
                None => self.new_part(head, item, of_key.get(item.key).map_or(&[], |others| others), now)?,
            };
            match counter {
                Some(slot) if !decided.insert(slot) => part.takes = None,
                Some(_) => {}
                None => of_key.entry(item.key).or_default().push(part.slot),
            }
            parts.push(part);
        }
        Ok(parts)
    }

    /// The part of an item whose counter takes `cost` from all items together.
    fn shared_part(&self, slot: Slot, item: &Item<'_>, cost: u64, now: u64) -> Result<Part> {
        self.valid_cost(slot, item.cost)?;
        let capacity = self.table.capacity(slot);
        if cost > capacity {
            return Err(Error::InvalidCost(format!(
                "the items of key {:?} come to one limit and cost {cost} together, which could never succeed: its capacity is \
                 {capacity}; split the call",
                item.key
            )));
        }
        self.known_part(slot, cost, now)
    }
}

fn has_repeated_keys(items: &[Item<'_>]) -> bool {
    if items.len() <= FEW {
        return (1..items.len()).any(|index| items[..index].iter().any(|other| other.key == items[index].key));
    }
    let mut seen = HashSet::with_capacity(items.len());
    !items.iter().all(|item| seen.insert(item.key))
}
