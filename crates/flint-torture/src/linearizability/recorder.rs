//! Noting when calls begin and end.

use std::sync::atomic::{AtomicU64, Ordering};

/// One call as its caller saw it. Moments are numbers of one order: no two are equal.
#[derive(Debug, Clone)]
pub struct Call<O, A> {
    /// What was asked for.
    pub op: O,
    /// The moment just before the call.
    pub invoked: u64,
    /// The moment just after it.
    pub returned: u64,
    /// What it said.
    pub answer: A,
}

impl<O, A> Call<O, A> {
    /// Whether this call ended before the other began.
    pub const fn precedes(&self, other: &Self) -> bool {
        self.returned < other.invoked
    }
}

/// The moments of a history.
#[derive(Debug, Default)]
pub struct Recorder {
    moments: AtomicU64,
}

impl Recorder {
    /// The next moment. Every store before it is visible to the thread that gets a later one.
    pub fn moment(&self) -> u64 {
        self.moments.fetch_add(1, Ordering::SeqCst)
    }

    /// Runs `call` and notes when it began and ended.
    pub fn record<O, A>(&self, op: O, call: impl FnOnce(&O) -> A) -> Call<O, A> {
        let invoked = self.moment();
        let answer = call(&op);
        Call { invoked, returned: self.moment(), op, answer }
    }
}

/// How many pairs of calls were under way at the same time: without any, a history shows nothing.
pub fn overlaps<O, A>(calls: &[Call<O, A>]) -> u64 {
    let pairs = calls.iter().enumerate().flat_map(|(i, a)| calls[..i].iter().map(move |b| (a, b)));
    pairs.filter(|(a, b)| !a.precedes(b) && !b.precedes(a)).count() as u64
}
