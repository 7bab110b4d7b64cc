//! Tasks and event loops that wait for the disk without a thread of their own: one list, and one wake-up each per sync.

use std::task::Waker;

use crate::sync::{Condvar, Mutex};

/// The list and its doorbell.
#[derive(Default)]
pub(crate) struct Wakers {
    state: Mutex<State>,
    rung: Condvar,
}

#[derive(Default)]
struct State {
    /// At most one for each event loop or task that waits.
    waiting: Vec<Waker>,
    /// The thread that serves the list has to end; what is still waiting is for `end`.
    shutdown: bool,
    /// The store is closed: nothing will become durable any more.
    ended: bool,
}

impl Wakers {
    /// Has `waker` woken, once, when everything appended so far is durable or cannot become so. It may be woken for
    /// nothing, and polls again.
    pub(crate) fn add(&self, waker: &Waker) {
        let mut state = self.state.lock();
        if state.ended {
            drop(state);
            waker.wake_by_ref();
            return;
        }
        if !state.waiting.iter().any(|other| other.will_wake(waker)) {
            state.waiting.push(waker.clone());
            self.rung.notify_one();
        }
    }

    /// Waits until there is a waker and takes the list; `None` when the thread has to end.
    pub(crate) fn wait(&self) -> Option<Vec<Waker>> {
        let mut state = self.state.lock();
        loop {
            if state.shutdown {
                return None;
            }
            if !state.waiting.is_empty() {
                return Some(std::mem::take(&mut state.waiting));
            }
            self.rung.wait(&mut state);
        }
    }

    /// Takes the list without waiting.
    pub(crate) fn take(&self) -> Vec<Waker> {
        std::mem::take(&mut self.state.lock().waiting)
    }

    /// Ends the thread that serves the list.
    pub(crate) fn shutdown(&self) {
        self.state.lock().shutdown = true;
        self.rung.notify_all();
    }

    /// The store is closed: all waiters, and all that come later, are woken at once.
    pub(crate) fn end(&self) {
        let waiting = {
            let mut state = self.state.lock();
            state.ended = true;
            std::mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }
}
