//! Waiting for a background thread. A defect that keeps it from its work makes a test fail, and not hang.

use std::time::{Duration, Instant};

/// Long enough for any machine; nothing is decided by how long it really takes.
const LONGEST: Duration = Duration::from_secs(30);

/// Returns when `is_so`.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONGEST;
    while !is_so() {
        assert!(Instant::now() < deadline, "after {LONGEST:?} it is not so that {what}");
        std::thread::yield_now();
    }
}
