//! The stream of a connection, which notes when bytes are received and when the client does not read, and completes the
//! responses of hyper.

use std::borrow::Cow;
use std::io;
use std::os::fd::RawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::head::completed;
use super::state::Connection;

/// A stream that reports to its connection.
pub(crate) struct TrackedStream<S> {
    stream: S,
    connection: Arc<Connection>,
    /// What hyper takes for written and is not: the end of its output, with more headers.
    unsent: Vec<u8>,
}

impl<S> Drop for TrackedStream<S> {
    fn drop(&mut self) {
        // Before the descriptor is closed, and may be given to another file.
        self.connection.set_socket(None);
    }
}

impl<S> TrackedStream<S> {
    /// `stream` is that of `socket`.
    pub(crate) fn new(stream: S, socket: RawFd, connection: Arc<Connection>) -> Self {
        connection.set_socket(Some(socket));
        Self { stream, connection, unsent: Vec::new() }
    }

    fn note<T>(&self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_pending() {
            self.connection.write_blocked();
        } else {
            self.connection.write_unblocked();
        }
        written
    }
}

impl<S: AsyncWrite + Unpin> TrackedStream<S> {
    /// Writes what is unsent.
    fn poll_unsent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            let written = Pin::new(&mut self.stream).poll_write(cx, &self.unsent);
            let count = ready!(self.note(written))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unsent.drain(..count);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TrackedStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.connection.bytes_received();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TrackedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_unsent(cx))?;
        if let Cow::Owned(completed) = completed(buf) {
            // hyper writes nothing behind this, and flushes it.
            self.unsent = completed;
            return Poll::Ready(Ok(buf.len()));
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.note(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_unsent(cx))?;
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.note(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_unsent(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
