//! Whether the client of a request still waits for its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::problem::{Code, Problem};

/// Set when a request ends, also by its deadline or with its connection: what still works for it in a thread then stops.
#[derive(Debug, Default, Clone)]
pub(crate) struct Cancellation(Arc<AtomicBool>);

impl Cancellation {
    /// Whether the request has ended.
    ///
    /// # Errors
    /// `timeout`, which no client receives.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        if self.is_set() { Err(Problem::new(Code::Timeout, "the client is gone")) } else { Ok(()) }
    }

    /// Whether the request has ended.
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Sets it when dropped, which is when the request ends.
    pub(crate) fn on_drop(&self) -> CancelOnDrop {
        CancelOnDrop(self.clone())
    }
}

/// Cancels when dropped.
#[derive(Debug)]
pub(crate) struct CancelOnDrop(Cancellation);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}
