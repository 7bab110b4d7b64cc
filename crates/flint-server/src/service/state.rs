//! What all requests share.

use std::sync::Arc;

use flint_core::Engine;
use tokio::sync::Semaphore;

use crate::auth::Admission;
use crate::blocking_pool::BlockingPool;
use crate::budget::Budget;
use crate::connection::Connections;
use crate::durability::DurabilityWaiters;
use crate::log::{LogFormat, OncePerMinute};
use crate::memory::Memory;
use crate::metrics::ServerMetrics;
use crate::settings::{Bounds, MetricsText};

/// What every request is served with.
pub(crate) struct Service {
    /// The limiter.
    pub(crate) engine: Arc<Engine>,
    /// Accepted tokens and hosts.
    pub(crate) admission: Admission,
    /// Bounds on what clients may do.
    pub(crate) bounds: Bounds,
    /// Requests that wait for a sync.
    pub(crate) durability: DurabilityWaiters,
    /// Threads.
    pub(crate) pool: BlockingPool,
    /// Counts of responses.
    pub(crate) metrics: ServerMetrics,
    /// Open connections.
    pub(crate) connections: Connections,
    /// The text of `/metrics` about the limiter.
    pub(crate) limiter_metrics: Option<MetricsText>,
    /// How log lines are written.
    pub(crate) log: LogFormat,
    /// One request that sets many limits at a time.
    pub(crate) bulk: Arc<Semaphore>,
    /// Large bodies that arrive.
    pub(crate) bodies: Budget,
    /// Large answers.
    pub(crate) answers: Budget,
    /// Threads that make the pieces of answers.
    pub(crate) makers: Arc<Semaphore>,
    /// What was freed.
    pub(crate) memory: Memory,
    /// Limits the log line on connections that cannot be accepted.
    pub(crate) accept_failure: OncePerMinute,
    /// Limits the log line on calls that the storage refuses.
    pub(crate) storage_failure: OncePerMinute,
}
