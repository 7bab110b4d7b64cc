//! Waiting for a limit, under the lock: which callers join a queue, which are admitted, and which would wait too long.
//!
//! Only the first waiter for a counter is admitted, as soon as its limit allows; the next is decided at once and not after the sync
//! of that record, so that all waiters that are admitted at one moment share a sync. Calls that do not wait are decided as ever: they do
//! not queue. The thread that serves the queues calls [`Core::serve`] when it is rung, and at the time that the last call named.

use std::task::Waker;

use crate::error::Error;
use crate::hooks::{self, Defect};
use crate::image::Origin;
use crate::item::Item;
use crate::outcome::Outcome;
use crate::table::Slot;
use crate::writer::{self, Blocked};

use super::core::{Core, Denials};
use super::queues::{Answer, Waiter};

/// Waiters that are answered or moved under one hold of the lock: some tens of microseconds.
const SLICE: u32 = 64;

/// What is returned to a caller that may wait, on arrival.
pub(crate) enum Arrival {
    /// It does not have to wait, or must not.
    Answered(Answer),
    /// It would have to wait and gave no waker: nothing has happened.
    WouldWait,
    /// It has joined a queue; the number of its ticket.
    Waits(u64),
}

/// How far the queues were served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Served {
    /// Call again: there is more to do.
    Partly,
    /// Everything that is due. Nanoseconds until something is due again.
    For(Option<u64>),
}

impl Core {
    /// A caller that waits for at most `timeout_ns`. A wait that would take longer is refused at once.
    pub(crate) fn arrive(
        &mut self,
        item: &Item<'_>,
        timeout_ns: Option<u64>,
        waker: Option<&Waker>,
    ) -> Result<Arrival, Blocked> {
        let now = self.view.time.now();
        let slot = self.view.table.find(item.key).and_then(|head| self.view.counter(head, item.limit));
        let ahead = slot.and_then(|slot| {
            let ahead = self.queues.cost_ahead(self.view.table.entry(slot).id)?;
            Some((slot, ahead))
        });
        let (denied, due_ns) = match ahead {
            Some((slot, ahead)) => {
                self.view.valid_cost(slot, item.cost)?;
                let wait_ns = self.view.table.earliest(slot, ahead + u128::from(item.cost), now);
                (self.outcome_with_wait(slot, item.cost, wait_ns, now), 0)
            }
            None => {
                let outcome = self.check(item, Denials::Ignore)?;
                if outcome.allowed {
                    return Ok(Arrival::Answered(Answer::Admitted(outcome)));
                }
                let due_ns = now.saturating_add(outcome.retry_after_ns);
                (outcome, due_ns)
            }
        };
        if let Some(left_ns) = timeout_ns
            && denied.retry_after_ns > left_ns
        {
            self.count_abandoned(item.key, item.cost, item.limit);
            return Ok(Arrival::Answered(Answer::TooLate { outcome: denied, left_ns }));
        }
        let Some(waker) = waker else { return Ok(Arrival::WouldWait) };
        // What is denied has a counter.
        let slot = self.view.table.find(item.key).and_then(|head| self.view.counter(head, item.limit));
        let Some(slot) = slot else { return Err(Error::LimitNotFound { key: item.key.to_owned() }.into()) };
        let deadline_ns = timeout_ns.map(|timeout_ns| now.saturating_add(timeout_ns));
        let waiter = Waiter::new(item.key, item.limit, item.cost, deadline_ns, waker.clone());
        Ok(Arrival::Waits(self.queues.join(self.view.table.entry(slot).id, waiter, due_ns)))
    }

    /// The denial of a caller that would have to wait for `wait_ns`.
    fn outcome_with_wait(&mut self, slot: Slot, cost: u64, wait_ns: u64, now: u64) -> Outcome {
        let (decision, verdicts) = self.view.decide(slot, now, 0);
        let outcome = self.view.outcome(decision, verdicts, now, cost, 0);
        Outcome { allowed: false, retry_after_ns: wait_ns, ..outcome }
    }

    /// Answers every waiter that is due, as many as one hold of the lock may take. `woken` gets their wakers.
    pub(crate) fn serve(&mut self, woken: &mut Vec<Waker>) -> Result<Served, Blocked> {
        let now = self.view.time.now();
        let mut left = SLICE;
        // No waiter is admitted before all are where they belong: the order is that of arrival.
        while let Some(key) = self.queues.touched() {
            if !self.regroup(&key, &mut left, woken)? {
                return Ok(Served::Partly);
            }
            self.queues.forget_touched();
        }
        while let Some(counter) = self.queues.due_by(now) {
            if left == 0 {
                return Ok(Served::Partly);
            }
            left -= 1;
            self.serve_first(counter, now, woken)?;
        }
        while let Some(ticket) = self.queues.late_by(now) {
            if left == 0 {
                return Ok(Served::Partly);
            }
            left -= 1;
            self.give_up(ticket, now, woken);
        }
        // What was rung for is done.
        self.queues.take_ring();
        Ok(Served::For(self.queues.next_ns().map(|next_ns| next_ns.saturating_sub(now))))
    }

    /// The counter with this id, if its key still has it.
    fn counter_with(&self, key: &str, id: u64) -> Option<Slot> {
        let head = self.view.table.find(key)?;
        self.view.table.counters(head).find(|&slot| self.view.table.entry(slot).id == id)
    }

    /// Admits the first waiter for a counter, or says when to try again.
    fn serve_first(&mut self, counter: u64, now: u64, woken: &mut Vec<Waker>) -> Result<(), Blocked> {
        let Some(ticket) = self.queues.first(counter) else { return Ok(()) };
        let Some(waiter) = self.queues.waiter(ticket) else { return Ok(()) };
        let (key, cost, deadline_ns) = (waiter.key.clone(), waiter.cost, waiter.deadline_ns);
        let Some(slot) = self.counter_with(&key, counter) else {
            // A call with another limit has taken its place, which it may once all of it is back.
            self.queues.touch(&key);
            return Ok(());
        };
        let decided = match self.check_known(slot, now, cost, Denials::Ignore) {
            Err(Blocked::Failed(error)) if !writer::is_fatal(&error) => Err(error),
            other => Ok(other?),
        };
        let answer = match decided {
            Ok(outcome) if outcome.allowed => Ok(Answer::Admitted(outcome)),
            Ok(outcome) => {
                let due_ns = now.saturating_add(outcome.retry_after_ns);
                let left_ns = deadline_ns.map(|deadline_ns| deadline_ns.saturating_sub(now));
                match left_ns.filter(|&left_ns| outcome.retry_after_ns > left_ns) {
                    Some(left_ns) => {
                        self.count_denied(slot, now, cost);
                        Ok(Answer::TooLate { outcome, left_ns })
                    }
                    None => {
                        self.queues.set_due(counter, due_ns);
                        return Ok(());
                    }
                }
            }
            Err(error) => Err(error),
        };
        woken.extend(self.queues.answer(ticket, answer));
        Ok(())
    }

    /// Tells a waiter that is not the first that its time is over.
    fn give_up(&mut self, ticket: u64, now: u64, woken: &mut Vec<Waker>) {
        let Some(waiter) = self.queues.waiter(ticket) else { return };
        let (key, cost, counter) = (waiter.key.clone(), waiter.cost, waiter.counter());
        let Some(slot) = self.counter_with(&key, counter) else {
            self.queues.touch(&key);
            return;
        };
        let total = self.queues.cost_before(ticket) + u128::from(cost);
        let wait_ns = self.view.table.earliest(slot, total, now);
        let outcome = self.outcome_with_wait(slot, cost, wait_ns, now);
        self.count_denied(slot, now, cost);
        woken.extend(self.queues.answer(ticket, Ok(Answer::TooLate { outcome, left_ns: 0 })));
    }

    /// Puts the waiters for a key into the queues of the counters that it has now, and has those looked at. Returns whether it got
    /// through. What no state of the key allows any more is answered.
    fn regroup(&mut self, key: &str, left: &mut u32, woken: &mut Vec<Waker>) -> Result<bool, Blocked> {
        for counter in self.queues.counters_of(key) {
            if !self.is_displaced(key, counter) {
                if !hooks::has(Defect::LoseWakeAtReset) {
                    self.queues.set_due(counter, 0);
                }
                continue;
            }
            while let Some(ticket) = self.queues.first(counter) {
                if *left == 0 {
                    return Ok(false);
                }
                *left -= 1;
                self.place_again(ticket, woken)?;
            }
        }
        Ok(true)
    }

    /// Whether the key does not have this counter any more, or an explicit limit took its place.
    fn is_displaced(&self, key: &str, counter: u64) -> bool {
        let overrules = |head: Slot| {
            let entry = self.view.table.entry(head);
            entry.origin == Origin::Explicit && entry.id != counter
        };
        self.view.table.find(key).is_none_or(overrules) || self.counter_with(key, counter).is_none()
    }

    /// Answers the waiter that is to be served next with the error for which it cannot be: there is no room for its record.
    pub(crate) fn refuse_next(&mut self, error: Error, woken: &mut Vec<Waker>) {
        let now = self.view.time.now();
        let displaced = self.queues.touched().and_then(|key| {
            let mut counters = self.queues.counters_of(&key).into_iter();
            counters.find(|&counter| self.is_displaced(&key, counter))
        });
        if let Some(ticket) = displaced.or(self.queues.due_by(now)).and_then(|counter| self.queues.first(counter)) {
            woken.extend(self.queues.answer(ticket, Err(error)));
        }
    }

    /// Has a waiter wait for the counter that its call would decide on now.
    fn place_again(&mut self, ticket: u64, woken: &mut Vec<Waker>) -> Result<(), Blocked> {
        let Some(waiter) = self.queues.waiter(ticket) else { return Ok(()) };
        let (key, limit, cost) = (waiter.key.clone(), waiter.limit, waiter.cost);
        if limit.is_none() && self.queues.is_deleted(waiter.counter()) {
            // Whatever the key has become since.
            let deleted = Error::LimitNotFound { key: key.to_string() };
            woken.extend(self.queues.answer(ticket, Err(deleted)));
            return Ok(());
        }
        let slot = self.view.table.find(&key).and_then(|head| self.view.counter(head, limit.as_ref()));
        if let Some(slot) = slot {
            let id = self.view.table.entry(slot).id;
            match self.view.valid_cost(slot, cost) {
                Ok(()) => self.queues.move_to(ticket, id),
                Err(error) => woken.extend(self.queues.answer(ticket, Err(error))),
            }
            return Ok(());
        }
        // Its limit has no counter any more: a new one allows what the limit allows at all.
        let item = Item { key: &key, cost, limit: limit.as_ref() };
        let answer = match self.check(&item, Denials::Ignore) {
            Err(Blocked::Failed(error)) if !writer::is_fatal(&error) => Err(error),
            other => Ok(Answer::Admitted(other?)),
        };
        woken.extend(self.queues.answer(ticket, answer));
        Ok(())
    }

    /// A waiter leaves, or does not need its answer any more. What it was admitted to stays taken.
    pub(crate) fn leave(&mut self, ticket: u64) {
        self.queues.leave(ticket);
    }
}
