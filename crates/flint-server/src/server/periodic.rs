//! What runs alongside the requests, as tasks of the same loop.

use std::sync::Arc;
use std::time::Duration;

use flint_core::engine::Severity;
use sd_notify::NotifyState;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::systemd::notify;
use crate::connection::SWEEP_EVERY;
use crate::log::Level;
use crate::memory;
use crate::service::Service;

/// Wakes the requests whose records are durable.
pub(super) async fn wake(service: Arc<Service>) {
    if let Err(error) = service.durability.wake_loop(&service.engine).await {
        service.log.write(Level::Error, &format!("requests are not woken by syncs any more: {error}"));
    }
}

/// Time between two returns of memory at least: they look at the whole heap.
const TRIM_EVERY: Duration = Duration::from_secs(1);

/// Drops connections that take too long, logs the engine's notices, and feeds systemd's watchdog as long as the loop turns.
pub(super) async fn sweep(service: Arc<Service>) {
    let mut every = interval(SWEEP_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let watchdog = sd_notify::watchdog_enabled().map(|limit| limit / 3);
    let mut fed = Instant::now();
    let mut trimmed = fed;
    loop {
        let now = every.tick().await;
        service.connections.sweep();
        for budget in [&service.bodies, &service.answers] {
            for connection in budget.slow(service.connections.now_ms()) {
                service.connections.drop_slow(&connection);
            }
        }
        if now.duration_since(trimmed) >= TRIM_EVERY && service.memory.is_due() {
            trimmed = now;
            tokio::task::spawn_blocking(memory::trim);
        }
        if service.engine.has_notices() {
            for notice in service.engine.take_notices() {
                let level = match notice.severity {
                    Severity::Warning => Level::Warning,
                    Severity::Error => Level::Error,
                };
                service.log.write(level, &notice.message);
            }
        }
        if watchdog.is_some_and(|every| now.duration_since(fed) >= every) {
            fed = now;
            notify(&[NotifyState::Watchdog], service.log);
        }
    }
}
