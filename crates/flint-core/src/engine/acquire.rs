//! Waiting for a limit: a place in the engine's queue, and the thread that serves it.

use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::item::Item;
use crate::store::queues::Answer;
use crate::store::shared::Shared;
use crate::store::waiting::{Arrival as Arrived, Served};
use crate::sync::{Arc, Condvar, JoinHandle, Mutex, spawn_named};

use super::Engine;
use super::backend::Backend;

/// The longest sleep of the thread that serves the queues: while a machine is suspended its sleeps stand still, and the engine's
/// time does not.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);

/// How long the thread rests when the queues cannot be served and no waiter is the reason.
const RETRY: Duration = Duration::from_secs(1);

/// What is returned to a caller that may wait, on arrival.
#[derive(Debug)]
pub enum Arrival {
    /// It does not have to wait, or must not.
    Answered(Answer),
    /// It would have to wait and gave no waker: nothing has happened.
    WouldWait,
    /// It has joined the queue.
    Waits(Place),
}

/// A place in a queue. Dropping it gives it up; what its holder was admitted to meanwhile stays taken.
pub struct Place {
    shared: Arc<Shared>,
    ticket: u64,
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Place").field("ticket", &self.ticket).finish_non_exhaustive()
    }
}

impl Place {
    /// The answer, once; `None` while there is none. The waker that was given on arrival is woken when there is one.
    ///
    /// # Errors
    /// `LimitNotFound` for a key that was deleted, `InvalidCost` for a limit that is smaller now, `Storage`, `Stopped`, `Closed`,
    /// `Forked`.
    pub fn poll(&self) -> Result<Option<Answer>> {
        if self.shared.is_forked() {
            return Err(Error::Forked);
        }
        let mut core = self.shared.core.lock();
        match core.queues.take_answer(self.ticket) {
            Some(answer) => answer.map(Some),
            None if core.closed => Err(Error::Closed),
            None => {
                drop(core);
                self.shared.usable().map(|()| None)
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // In a forked child a thread that does not exist may hold the lock.
        if self.shared.is_forked() {
            return;
        }
        let rings = {
            let mut core = self.shared.core.lock();
            core.leave(self.ticket);
            core.queues.take_ring()
        };
        if rings {
            self.shared.queue.ring(false);
        }
    }
}

impl Engine {
    /// Takes what `item` asks for, or joins the queue of those that wait for its counter, in which the first is admitted as soon as its
    /// limit allows. A caller that would have to wait for longer than `timeout` gets that answer at once, which counts as a denial.
    /// `waker` is woken, once, when a place that was taken has its answer; without one, no place is taken. An admission is to be
    /// acknowledged only after a [`wait_durable`](Self::wait_durable) of its record, if [`must_wait`](Self::must_wait) says so.
    ///
    /// # Errors
    /// As a [`Check`](super::Check), and `Storage` where no thread could be started.
    pub fn arrive(&self, item: &Item<'_>, timeout: Option<Duration>, waker: Option<&Waker>) -> Result<Arrival> {
        self.writer("acquire")?;
        let Backend::Writer(writer) = &self.backend else { return Err(Error::Closed) };
        let timeout_ns = timeout.map(|timeout| u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX));
        match writer.shared.perform(|core| core.arrive(item, timeout_ns, waker))? {
            Arrived::Answered(answer) => Ok(Arrival::Answered(answer)),
            Arrived::WouldWait => Ok(Arrival::WouldWait),
            Arrived::Waits(ticket) => {
                let place = Place { shared: writer.shared.clone(), ticket };
                self.serve_queues()?;
                Ok(Arrival::Waits(place))
            }
        }
    }

    /// The same, waiting in the calling thread for the answer and for the disk.
    ///
    /// # Errors
    /// As [`Self::arrive`] and [`Place::poll`].
    pub fn acquire(&self, item: &Item<'_>, timeout: Option<Duration>) -> Result<Answer> {
        let bell = Arc::new(ThreadBell::default());
        let answer = match self.arrive(item, timeout, Some(&bell.clone().into()))? {
            Arrival::Answered(answer) => answer,
            Arrival::WouldWait => unreachable!("a waker was given"),
            Arrival::Waits(place) => loop {
                if let Some(answer) = place.poll()? {
                    break answer;
                }
                bell.wait();
            },
        };
        if let Answer::Admitted(outcome) = &answer
            && self.must_wait(outcome.seq)
        {
            self.wait_durable(outcome.seq)?;
        }
        Ok(answer)
    }

    /// How many callers wait for a key.
    ///
    /// # Errors
    /// `Stopped`, `Closed`, `Forked`, `ReadOnly`.
    pub fn waiting(&self, key: &str) -> Result<usize> {
        self.writer("waiting")?.perform(|core| Ok(core.queues.len_of(key)))
    }

    /// Sees to it that the queues are served: by a thread, which starts with the first waiter; where the clock is moved by hand,
    /// by the thread that moves it.
    fn serve_queues(&self) -> Result<()> {
        let Backend::Writer(writer) = &self.backend else { return Ok(()) };
        let mut held = writer.resources.lock();
        // Closing ends all waits.
        let Some(resources) = &mut *held else { return Ok(()) };
        if resources.serves_queues {
            return Ok(());
        }
        let shared = &writer.shared;
        let weak = Arc::downgrade(shared);
        let is_by_hand = shared.options.clock.on_advance(Box::new(move || {
            let Some(shared) = weak.upgrade().filter(|shared| !shared.is_closed()) else { return false };
            if !shared.is_forked() {
                serve(&shared);
            }
            true
        }));
        if shared.options.threads {
            let thread = spawn_server(shared.clone(), is_by_hand)
                .map_err(|error| Error::storage("cannot start a thread for", self.path(), error))?;
            resources.threads.push(thread);
        }
        resources.serves_queues = true;
        Ok(())
    }
}

/// Has a thread sleep until it is woken.
#[derive(Default)]
struct ThreadBell {
    is_rung: Mutex<bool>,
    rung: Condvar,
}

impl ThreadBell {
    fn wait(&self) {
        let mut is_rung = self.is_rung.lock();
        while !*is_rung {
            self.rung.wait(&mut is_rung);
        }
        *is_rung = false;
    }
}

impl Wake for ThreadBell {
    fn wake(self: Arc<Self>) {
        *self.is_rung.lock() = true;
        self.rung.notify_one();
    }
}

/// Serves the queues at the times that they name, and whenever it is rung.
fn spawn_server(shared: Arc<Shared>, is_by_hand: bool) -> std::io::Result<JoinHandle<()>> {
    spawn_named("flint-queue", move || {
        loop {
            let next = serve(&shared);
            let until =
                next.filter(|_| !is_by_hand).and_then(|next| Instant::now().checked_add(next.min(LONGEST_SLEEP)));
            let mut ring = shared.queue.state.lock();
            while !ring.work && !ring.shutdown {
                match until {
                    None => shared.queue.rung.wait(&mut ring),
                    Some(until) if shared.queue.rung.wait_until(&mut ring, until).timed_out() => break,
                    Some(_) => {}
                }
            }
            ring.work = false;
            if ring.shutdown {
                return;
            }
        }
    })
}

/// Answers every waiter that is due. Returns the time until the next one is; `None` if there is none, or the store has stopped.
pub(super) fn serve(shared: &Shared) -> Option<Duration> {
    loop {
        let mut woken = Vec::new();
        let served = shared.perform(|core| core.serve(&mut woken));
        woken.into_iter().for_each(Waker::wake);
        match served {
            Ok(Served::Partly) => shared.give_way(),
            Ok(Served::For(next_ns)) => return next_ns.map(Duration::from_nanos),
            Err(error) => match refuse(shared, error) {
                Some(true) => {}
                Some(false) => return Some(RETRY),
                None => return None,
            },
        }
    }
}

/// Answers the next waiter with the error for which it could not be served. Returns whether there was one; `None` when the store is
/// closed or has stopped, which ends all waits.
fn refuse(shared: &Shared, error: Error) -> Option<bool> {
    let mut woken = Vec::new();
    {
        let mut core = shared.core.lock();
        if !core.closed && shared.usable().is_ok() {
            core.refuse_next(error, &mut woken);
            drop(core);
            let refused = !woken.is_empty();
            woken.into_iter().for_each(Waker::wake);
            return Some(refused);
        }
    }
    end(shared);
    None
}

/// The store is closed or has stopped: the waiters find out why when they poll.
pub(super) fn end(shared: &Shared) {
    let woken = shared.core.lock().queues.end();
    woken.into_iter().for_each(Waker::wake);
}
