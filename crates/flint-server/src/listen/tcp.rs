//! TCP sockets.

use std::io;
use std::net::{SocketAddr, TcpListener};

use super::listener::Listener;
use crate::error::StartError;

/// Listens at an address; with port 0 the system chooses.
pub(super) fn bind(address: SocketAddr) -> Result<Listener, StartError> {
    let failed = |error: io::Error| {
        let remedy = match error.kind() {
            io::ErrorKind::AddrInUse => "; another server listens there: end it, or choose another port",
            io::ErrorKind::PermissionDenied => "; ports below 1024 need privileges",
            io::ErrorKind::AddrNotAvailable => "; this machine has no such address",
            _ => "",
        };
        StartError::system(format!("cannot listen on {address}: {error}{remedy}"))
    };
    let listener = TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(Listener::Tcp(listener, address))
}
