//! Waiting for the disk without a thread: the engine wakes the task that waits.

use std::future::poll_fn;
use std::task::Poll;

use flint_core::{Engine, Result};

/// Returns when record `seq` is on disk.
///
/// # Errors
/// `Stopped` or `Closed`: it may or may not count after reopening.
pub(crate) async fn durable(engine: &Engine, seq: u64) -> Result<()> {
    poll_fn(|cx| match engine.poll_durable(seq) {
        Ok(true) => Poll::Ready(Ok(())),
        Ok(false) => match engine.wake_when_durable(cx.waker()) {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        },
        Err(error) => Poll::Ready(Err(error)),
    })
    .await
}
