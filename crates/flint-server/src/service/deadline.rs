//! The time that a request may take, counted from its first byte.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::timeout;

use super::state::Service;
use crate::connection::Connection;

/// What is left of a request's time.
fn left(service: &Service, connection: &Connection) -> Duration {
    let spent = service.connections.now_ms().saturating_sub(connection.began_ms());
    Duration::from_millis(service.bounds.request_timeout_ms.saturating_sub(spent).max(1))
}

/// Runs `work` until it is done; `None` when the request's time is over first. Most work is done in its first poll and needs no timer.
pub(super) async fn within<T>(service: &Service, connection: &Connection, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    let first = std::future::poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx))).await;
    match first {
        Poll::Ready(done) => Some(done),
        Poll::Pending => timeout(left(service, connection), work).await.ok(),
    }
}
