//! Sockets that clients connect to: TCP, Unix, or passed by systemd.
//!
//! `listener`: a listening socket; `tcp`, `unix`, `activation`: where it comes from; `open`: all that the settings name;
//! `unix_connection`: the stream of a connected Unix socket.

mod activation;
mod listener;
mod open;
mod tcp;
mod unix;
mod unix_connection;

pub(crate) use listener::Listener;
pub(crate) use open::{examine, open};
pub(crate) use unix_connection::UnixConnection;
