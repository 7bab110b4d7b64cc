//! What runs alongside the requests, as tasks of the same loop.

use std::sync::Arc;

use flint_core::engine::Severity;
use sd_notify::NotifyState;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::systemd::notify;
use crate::connection::SWEEP_EVERY;
use crate::log::Level;
use crate::service::Service;

/// Wakes the requests whose records are durable.
pub(super) async fn wake(service: Arc<Service>) {
    if let Err(error) = service.durability.wake_loop(&service.engine).await {
        service.log.write(Level::Error, &format!("requests are not woken by syncs any more: {error}"));
    }
}

/// Drops connections that take too long, logs the engine's notices, and feeds systemd's watchdog as long as the loop turns.
pub(super) async fn sweep(service: Arc<Service>) {
    let mut every = interval(SWEEP_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let watchdog = sd_notify::watchdog_enabled().map(|limit| limit / 3);
    let mut fed = Instant::now();
    loop {
        let now = every.tick().await;
        service.connections.sweep();
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
