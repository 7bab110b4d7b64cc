//! The signals that a server of its own process reacts to.

use std::io;

use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::systemd::notify;
use crate::log::Level;
use crate::service::Service;
use crate::tls::ReloadableAcceptor;

/// SIGTERM and SIGINT end the server, SIGHUP reads tokens and certificate again.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// From here on they do not end the process.
    ///
    /// # Errors
    /// Those of the operating system.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Returns when the server has to end: for a signal, or when `stopping` becomes true.
    pub(super) async fn wait_for_end(
        mut self,
        service: &Service,
        tls: Option<&ReloadableAcceptor>,
        stopping: &mut watch::Receiver<bool>,
    ) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = stopping.wait_for(|stop| *stop) => return,
                _ = self.hangup.recv() => reload(service, tls),
            }
        }
    }
}

fn reload(service: &Service, tls: Option<&ReloadableAcceptor>) {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        notify(&[NotifyState::Reloading, now], service.log);
    }
    match service.admission.reload() {
        Ok(()) => {
            service.connections.share(service.admission.has_several_tokens());
            service.log.write(Level::Info, "read the tokens again");
        }
        Err(error) => service.log.write(Level::Error, &format!("{error}; the tokens stay as they were")),
    }
    match tls.map(ReloadableAcceptor::reload) {
        None => {}
        Some(Ok(())) => {
            service.log.write(Level::Info, "read the certificate again");
            if let Some(warning) = tls.and_then(ReloadableAcceptor::warning) {
                service.log.write(Level::Warning, &warning);
            }
        }
        Some(Err(error)) => service.log.write(Level::Error, &format!("{error}; the certificate stays as it was")),
    }
    notify(&[NotifyState::Ready], service.log);
}
