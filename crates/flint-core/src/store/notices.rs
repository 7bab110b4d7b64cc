//! Sentences that background threads leave for the next call, which passes them on.

use crate::sync::{AtomicBool, Mutex, Ordering};

/// At most this many unread notices are kept.
const MAX_NOTICES: usize = 100;

/// Severity of a [`Notice`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Something was repaired or put off.
    Warning,
    /// The engine stopped.
    Error,
}

/// Something that a background thread reports; the binding passes it to `logging` on the next call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// How bad.
    pub severity: Severity,
    /// The sentence.
    pub message: String,
}

/// The unread notices of one store.
#[derive(Default)]
pub(crate) struct Notices {
    unread: Mutex<Vec<Notice>>,
    any: AtomicBool,
}

impl Notices {
    pub(crate) fn push(&self, severity: Severity, message: String) {
        let mut unread = self.unread.lock();
        if unread.len() < MAX_NOTICES {
            unread.push(Notice { severity, message });
        }
        self.any.store(true, Ordering::Release);
    }

    /// One atomic load.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    pub(crate) fn take(&self) -> Vec<Notice> {
        let mut unread = self.unread.lock();
        self.any.store(false, Ordering::Release);
        std::mem::take(&mut unread)
    }
}
