//! From a listening socket to connections that are served.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::connection::{Connection, TrackedStream};
use crate::listen::{Listener, UnixConnection};
use crate::log::Level;
use crate::problem::{Code, Problem};
use crate::service::{Service, respond};
use crate::tls::ReloadableAcceptor;

/// After an `accept` that failed for lack of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections of one socket until the server ends.
pub(super) async fn accept(
    listener: Listener,
    service: Arc<Service>,
    tls: Option<Arc<ReloadableAcceptor>>,
    mut stopping: watch::Receiver<bool>,
) {
    match listener {
        Listener::Tcp(socket, address) => {
            let socket = match TcpListener::from_std(socket) {
                Ok(socket) => socket,
                Err(error) => return service.log.write(Level::Error, &format!("cannot listen on {address}: {error}")),
            };
            while let Some(accepted) = next(socket.accept(), &mut stopping).await {
                let Some((stream, _)) = accepted_or_pause(accepted, &service).await else { continue };
                let _ = stream.set_nodelay(true);
                match &tls {
                    None => serve_plain(stream, false, service.clone(), stopping.clone()),
                    Some(tls) => serve_tls(tls.current(), stream, service.clone(), stopping.clone()),
                }
            }
        }
        Listener::Unix(socket, path, _file) => {
            let socket = match UnixListener::from_std(socket) {
                Ok(socket) => socket,
                Err(error) => {
                    return service.log.write(Level::Error, &format!("cannot listen on {}: {error}", path.display()));
                }
            };
            while let Some(accepted) = next(socket.accept(), &mut stopping).await {
                let Some((stream, _)) = accepted_or_pause(accepted, &service).await else { continue };
                match stream.into_std().and_then(UnixConnection::new) {
                    Ok(stream) => serve_plain(stream, true, service.clone(), stopping.clone()),
                    Err(error) => service.log.write(Level::Warning, &format!("cannot take a connection over: {error}")),
                }
            }
        }
    }
}

/// What `accept` returns; `None` when the server ends.
async fn next<T>(accept: impl Future<Output = T>, stopping: &mut watch::Receiver<bool>) -> Option<T> {
    tokio::select! {
        biased;
        _ = stopping.wait_for(|stop| *stop) => None,
        accepted = accept => Some(accepted),
    }
}

async fn accepted_or_pause<T>(accepted: io::Result<T>, service: &Service) -> Option<T> {
    match accepted {
        Ok(stream) => Some(stream),
        Err(error) => {
            if service.accept_failure.is_due() {
                let message = format!("cannot accept connections: {error}; logged once a minute");
                service.log.write(Level::Warning, &message);
            }
            // Most likely there are no descriptors left: they become free as connections end.
            sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

fn serve_plain<S>(stream: S, local: bool, service: Arc<Service>, stopping: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + AsRawFd + Send + Unpin + 'static,
{
    let Some(connection) = service.connections.admit() else {
        tokio::spawn(refuse(stream));
        return;
    };
    let admitted = connection.clone();
    let task = tokio::spawn(async move {
        let _registration = Registration { service: &service, connection: &connection };
        let socket = stream.as_raw_fd();
        converse(stream, socket, local, &service, &connection, stopping).await;
    });
    admitted.set_task(task.abort_handle());
}

fn serve_tls(acceptor: TlsAcceptor, stream: TcpStream, service: Arc<Service>, stopping: watch::Receiver<bool>) {
    // No response can be sent before the handshake.
    let Some(connection) = service.connections.admit() else { return };
    let admitted = connection.clone();
    let task = tokio::spawn(async move {
        let _registration = Registration { service: &service, connection: &connection };
        if let Ok(stream) = acceptor.accept(stream).await {
            let socket = stream.as_raw_fd();
            converse(stream, socket, false, &service, &connection, stopping).await;
        }
    });
    admitted.set_task(task.abort_handle());
}

/// Removes the connection from the table, also when its task is aborted.
struct Registration<'a> {
    service: &'a Service,
    connection: &'a Arc<Connection>,
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        self.service.connections.remove(self.connection);
    }
}

async fn converse<S>(
    stream: S,
    socket: RawFd,
    local: bool,
    service: &Arc<Service>,
    connection: &Arc<Connection>,
    mut stopping: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let stream = TokioIo::new(TrackedStream::new(stream, socket, connection.clone()));
    let answer = service_fn(|request| {
        let (service, connection) = (service.clone(), connection.clone());
        async move { Ok::<_, Infallible>(respond(&service, request, &connection, local).await) }
    });
    let bounds = &service.bounds;
    let conversation = http1::Builder::new()
        .header_read_timeout(None)
        // A client that has sent its request may send no more and is still answered. `connection` notices those that are gone.
        .half_close(true)
        .max_headers(bounds.headers)
        .max_header_size(bounds.head_bytes)
        .max_buf_size(bounds.head_bytes.max(8 * 1024) * 2)
        // Responses are written as they come. hyper collects those to pipelined requests without a bound: a client that sends
        // requests without end and reads nothing would fill the memory, and the refusal of a malformed head would stay in the
        // buffer.
        .writev(false)
        .serve_connection(stream, answer);
    let mut conversation = pin!(conversation);
    // An error concerns the client alone, which got a response where that was possible.
    tokio::select! {
        _ = conversation.as_mut() => return,
        _ = stopping.wait_for(|stop| *stop) => {}
    }
    conversation.as_mut().graceful_shutdown();
    let _ = conversation.await;
}

/// Answers that there is no room for the connection.
async fn refuse<S: AsyncWrite + Unpin>(mut stream: S) {
    let busy = Problem::new(Code::Busy, "too many connections are open; try again in a second").unrequested();
    let response = async {
        let _ = stream.write_all(&busy).await;
        let _ = stream.shutdown().await;
    };
    let _ = timeout(Duration::from_secs(1), response).await;
}
