//! Callers that wait for a limit: a queue for each counter, first come first served. Only data; `waiting` decides.
//!
//! The number of a caller's ticket is its place in the order of arrival. To arrive, to leave and to be answered costs the logarithm
//! of the number of waiters.

use std::collections::BTreeSet;
use std::task::Waker;

use hashbrown::HashMap;

use crate::error::Result;
use crate::limit::Limit;
use crate::outcome::Outcome;
use crate::sync::Arc;

/// What is returned to a caller that waited.
#[derive(Debug)]
pub enum Answer {
    /// It has what it asked for. The record may still have to become durable.
    Admitted(Outcome),
    /// It would have to wait longer than it may: the denial that it gets, and the nanoseconds that it had left.
    TooLate {
        /// Denied, with the time that it would have to wait.
        outcome: Outcome,
        /// What was left of its timeout, nanoseconds.
        left_ns: u64,
    },
}

/// A caller that waits.
pub(crate) struct Waiter {
    pub(crate) key: Arc<str>,
    pub(crate) limit: Option<Limit>,
    pub(crate) cost: u64,
    /// Engine time.
    pub(crate) deadline_ns: Option<u64>,
    /// Woken once, when there is an answer.
    pub(crate) waker: Waker,
    counter: u64,
}

impl Waiter {
    pub(crate) fn new(key: &str, limit: Option<&Limit>, cost: u64, deadline_ns: Option<u64>, waker: Waker) -> Self {
        Self { key: key.into(), limit: limit.copied(), cost, deadline_ns, waker, counter: 0 }
    }

    /// The id of the counter for which it waits.
    pub(crate) const fn counter(&self) -> u64 {
        self.counter
    }
}

#[derive(Default)]
struct Queue {
    /// In the order of arrival. Never empty.
    tickets: BTreeSet<u64>,
    /// What all of them ask for.
    cost: u128,
    /// When the first may be admitted at the earliest, engine time.
    due_ns: u64,
    /// The counter was deleted with its key.
    is_deleted: bool,
}

/// All queues of a store.
#[derive(Default)]
pub(crate) struct Queues {
    /// By the id of the counter.
    queues: HashMap<u64, Queue>,
    /// The counters of each key that have a queue.
    of_key: HashMap<Arc<str>, Vec<u64>>,
    waiters: HashMap<u64, Waiter>,
    /// Answers that were not taken yet.
    answers: HashMap<u64, Result<Answer>>,
    /// `due_ns` and counter of each queue.
    due: BTreeSet<(u64, u64)>,
    /// Deadline and ticket of each waiter that has one.
    deadlines: BTreeSet<(u64, u64)>,
    /// Keys whose counters may have changed.
    changed: Vec<Arc<str>>,
    next_ticket: u64,
    /// There is something to do, or earlier than it was known.
    rings: bool,
}

impl Queues {
    /// How many callers wait for a key.
    pub(crate) fn len_of(&self, key: &str) -> usize {
        let counters = self.of_key.get(key).map(Vec::as_slice).unwrap_or_default();
        counters.iter().filter_map(|counter| self.queues.get(counter)).map(|queue| queue.tickets.len()).sum()
    }

    /// Whether the queues have to be served earlier than was known at the last call of this.
    #[inline]
    pub(crate) fn take_ring(&mut self) -> bool {
        std::mem::take(&mut self.rings)
    }

    /// The sum of the costs that are waited for at a counter; `None` if it has no queue.
    pub(crate) fn cost_ahead(&self, counter: u64) -> Option<u128> {
        self.queues.get(&counter).map(|queue| queue.cost)
    }

    /// Adds a waiter at the end of a counter's queue. `due_ns` is when it may be admitted if it is the first.
    pub(crate) fn join(&mut self, counter: u64, waiter: Waiter, due_ns: u64) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        if let Some(deadline_ns) = waiter.deadline_ns {
            let earliest = self.deadlines.first().is_none_or(|&(first, _)| deadline_ns < first);
            self.rings |= earliest;
            self.deadlines.insert((deadline_ns, ticket));
        }
        self.waiters.insert(ticket, waiter);
        self.enqueue(counter, ticket, due_ns);
        ticket
    }

    /// Moves a waiter to the queue of another counter, to its place in the order of arrival.
    pub(crate) fn move_to(&mut self, ticket: u64, counter: u64) {
        self.dequeue(ticket);
        self.enqueue(counter, ticket, 0);
    }

    fn enqueue(&mut self, counter: u64, ticket: u64, due_ns: u64) {
        let Some(waiter) = self.waiters.get_mut(&ticket) else { return };
        waiter.counter = counter;
        let (key, cost) = (waiter.key.clone(), waiter.cost);
        let queue = self.queues.entry(counter).or_default();
        let is_first = queue.tickets.first().is_none_or(|&first| ticket < first);
        if queue.tickets.is_empty() {
            self.of_key.entry(key).or_default().push(counter);
        }
        queue.tickets.insert(ticket);
        queue.cost += u128::from(cost);
        if is_first {
            self.set_due(counter, due_ns);
        }
    }

    /// Takes a waiter out of its queue.
    fn dequeue(&mut self, ticket: u64) {
        let Some(waiter) = self.waiters.get(&ticket) else { return };
        let (counter, cost, key) = (waiter.counter, waiter.cost, waiter.key.clone());
        let Some(queue) = self.queues.get_mut(&counter) else { return };
        let was_first = queue.tickets.first() == Some(&ticket);
        queue.tickets.remove(&ticket);
        queue.cost -= u128::from(cost);
        if queue.tickets.is_empty() {
            self.due.remove(&(queue.due_ns, counter));
            self.queues.remove(&counter);
            if let Some(counters) = self.of_key.get_mut(&key) {
                counters.retain(|&other| other != counter);
                if counters.is_empty() {
                    self.of_key.remove(&key);
                }
            }
        } else if was_first {
            // Less may be asked for now.
            self.set_due(counter, 0);
        }
    }

    /// Removes a waiter, or the answer that it did not take.
    pub(crate) fn leave(&mut self, ticket: u64) -> Option<Waiter> {
        self.answers.remove(&ticket);
        self.dequeue(ticket);
        let waiter = self.waiters.remove(&ticket)?;
        if let Some(deadline_ns) = waiter.deadline_ns {
            self.deadlines.remove(&(deadline_ns, ticket));
        }
        Some(waiter)
    }

    /// Answers a waiter. Its waker is to be woken without the lock.
    pub(crate) fn answer(&mut self, ticket: u64, answer: Result<Answer>) -> Option<Waker> {
        let waiter = self.leave(ticket)?;
        self.answers.insert(ticket, answer);
        Some(waiter.waker)
    }

    pub(crate) fn take_answer(&mut self, ticket: u64) -> Option<Result<Answer>> {
        self.answers.remove(&ticket)
    }

    pub(crate) fn waiter(&self, ticket: u64) -> Option<&Waiter> {
        self.waiters.get(&ticket)
    }

    /// The first waiter for a counter.
    pub(crate) fn first(&self, counter: u64) -> Option<u64> {
        self.queues.get(&counter)?.tickets.first().copied()
    }

    /// What the waiters before this one ask for, of the first thousand.
    pub(crate) fn cost_before(&self, ticket: u64) -> u128 {
        const MOST: usize = 1_000;
        let queue = self.waiters.get(&ticket).and_then(|waiter| self.queues.get(&waiter.counter));
        let before = queue.into_iter().flat_map(|queue| queue.tickets.range(..ticket).take(MOST));
        before.filter_map(|ticket| self.waiters.get(ticket)).map(|waiter| u128::from(waiter.cost)).sum()
    }

    /// Says when the first waiter for a counter may be admitted at the earliest.
    pub(crate) fn set_due(&mut self, counter: u64, due_ns: u64) {
        let Some(queue) = self.queues.get_mut(&counter) else { return };
        self.rings |= self.due.first().is_none_or(|&(first, _)| due_ns < first);
        self.due.remove(&(queue.due_ns, counter));
        self.due.insert((due_ns, counter));
        queue.due_ns = due_ns;
    }

    /// The counter whose first waiter may be admitted by now.
    pub(crate) fn due_by(&self, now_ns: u64) -> Option<u64> {
        self.due.first().filter(|(due_ns, _)| *due_ns <= now_ns).map(|&(_, counter)| counter)
    }

    /// The waiter whose time is over.
    pub(crate) fn late_by(&self, now_ns: u64) -> Option<u64> {
        self.deadlines.first().filter(|(deadline_ns, _)| *deadline_ns <= now_ns).map(|&(_, ticket)| ticket)
    }

    /// When something is to be done next, engine time.
    pub(crate) fn next_ns(&self) -> Option<u64> {
        let of = |set: &BTreeSet<(u64, u64)>| set.first().map(|&(ns, _)| ns);
        of(&self.due).into_iter().chain(of(&self.deadlines)).min()
    }

    /// What the waiters for a key may have has changed.
    #[inline]
    pub(crate) fn touch(&mut self, key: &str) {
        if self.waiters.is_empty() {
            return;
        }
        if let Some((key, _)) = self.of_key.get_key_value(key)
            && !self.changed.contains(key)
        {
            self.changed.push(key.clone());
            self.rings = true;
        }
    }

    /// A key is about to be deleted, with its counters.
    pub(crate) fn delete(&mut self, key: &str) {
        for counter in self.counters_of(key) {
            if let Some(queue) = self.queues.get_mut(&counter) {
                queue.is_deleted = true;
            }
        }
        self.touch(key);
    }

    /// Whether a counter that has a queue was deleted with its key.
    pub(crate) fn is_deleted(&self, counter: u64) -> bool {
        self.queues.get(&counter).is_some_and(|queue| queue.is_deleted)
    }

    /// A key that was touched.
    pub(crate) fn touched(&self) -> Option<Arc<str>> {
        self.changed.last().cloned()
    }

    /// All waiters for the key that was touched last are where they belong.
    pub(crate) fn forget_touched(&mut self) {
        self.changed.pop();
    }

    /// The counters of a key that have a queue.
    pub(crate) fn counters_of(&self, key: &str) -> Vec<u64> {
        self.of_key.get(key).cloned().unwrap_or_default()
    }

    /// Ends all waits: the wakers, to be woken without the lock. There will be no answers.
    pub(crate) fn end(&mut self) -> Vec<Waker> {
        let ended = std::mem::take(self);
        self.next_ticket = ended.next_ticket;
        ended.waiters.into_values().map(|waiter| waiter.waker).collect()
    }
}
