//! Sockets passed by systemd.

use std::path::Path;

use listenfd::ListenFd;

use super::listener::Listener;
use crate::error::StartError;

/// The sockets that systemd passed to this process.
pub(super) fn take() -> Result<Vec<Listener>, StartError> {
    let mut passed = ListenFd::from_env();
    let mut listeners = Vec::new();
    for index in 0..passed.len() {
        let wrong = |what: String| StartError::new(format!("socket {index} that systemd passed {what}"));
        if let Ok(Some(listener)) = passed.take_unix_listener(index) {
            listener.set_nonblocking(true).map_err(|error| wrong(error.to_string()))?;
            let address = listener.local_addr().map_err(|error| wrong(error.to_string()))?;
            let path = address.as_pathname().unwrap_or_else(|| Path::new("")).to_path_buf();
            listeners.push(Listener::Unix(listener, path, None));
        } else if let Ok(Some(listener)) = passed.take_tcp_listener(index) {
            listener.set_nonblocking(true).map_err(|error| wrong(error.to_string()))?;
            let address = listener.local_addr().map_err(|error| wrong(error.to_string()))?;
            listeners.push(Listener::Tcp(listener, address));
        } else {
            return Err(wrong("is neither a listening TCP nor a listening Unix socket".to_owned()));
        }
    }
    if listeners.is_empty() {
        return Err(StartError::new("systemd passed no socket: start this through its socket unit"));
    }
    Ok(listeners)
}
