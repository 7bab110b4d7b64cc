//! Notifications for systemd.

use sd_notify::NotifyState;

use crate::log::{Level, LogFormat};

/// Sends these, if systemd started the process with a socket for them.
pub(super) fn notify(states: &[NotifyState<'_>], log: LogFormat) {
    if let Err(error) = sd_notify::notify(states) {
        log.write(Level::Warning, &format!("systemd could not be notified: {error}"));
    }
}
