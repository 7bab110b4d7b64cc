//! The stream of a Unix socket.
//!
//! Tokio's own always registers for writability. A Unix socket reports it each time the other end has read something, so that every
//! answer would wake the server once for nothing. This one registers only while it has something to write that did not fit.

use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

/// Most that is read at once: the buffer is cleared first, which no more than this should cost.
const READ: usize = 4096;

/// A connected Unix socket.
#[derive(Debug)]
pub(crate) struct UnixConnection {
    socket: AsyncFd<UnixStream>,
    /// The same socket, while there is no room to write to.
    full: Option<AsyncFd<UnixStream>>,
}

impl UnixConnection {
    /// Takes over a socket that does not block.
    ///
    /// # Errors
    /// Errors of the operating system.
    pub(crate) fn new(socket: UnixStream) -> io::Result<Self> {
        Ok(Self { socket: watched(socket, Interest::READABLE)?, full: None })
    }
}

impl AsRawFd for UnixConnection {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

#[expect(unsafe_code, reason = "a registration by one interest has no safe interface; see the SAFETY line")]
fn watched(socket: UnixStream, interest: Interest) -> io::Result<AsyncFd<UnixStream>> {
    // SAFETY: a UnixStream owns its descriptor, and gives the same one until it is dropped, which AsyncFd does after itself.
    let watched = unsafe { AsyncFd::register_with_interest(socket, interest) };
    watched.map_err(io::Error::from)
}

impl AsyncRead for UnixConnection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let room = buf.remaining().min(READ);
        loop {
            let mut readiness = ready!(self.socket.poll_read_ready(cx))?;
            let into = buf.initialize_unfilled_to(room);
            match readiness.try_io(|socket| socket.get_ref().read(into)) {
                Ok(Ok(read)) => {
                    if 0 < read && read < room {
                        // That was all; later bytes are reported again.
                        readiness.clear_ready();
                    }
                    buf.advance(read);
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }
}

impl AsyncWrite for UnixConnection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            if let Some(full) = &self.full {
                ready!(full.poll_write_ready(cx))?.clear_ready();
            }
            match self.socket.get_ref().write(buf) {
                Ok(written) => {
                    self.full = None;
                    return Poll::Ready(Ok(written));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.full.is_none() {
                        let same = self.socket.get_ref().try_clone()?;
                        self.full = Some(watched(same, Interest::WRITABLE)?);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.socket.get_ref().shutdown(std::net::Shutdown::Write))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::thread;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::runtime::{Builder, Runtime};

    use super::*;

    /// A runtime that counts how often it is woken.
    fn runtime() -> (Runtime, Arc<AtomicU32>) {
        let woken = Arc::new(AtomicU32::new(0));
        let count = woken.clone();
        let runtime = Builder::new_current_thread()
            .enable_io()
            .on_thread_unpark(move || {
                count.fetch_add(1, Ordering::SeqCst);
            })
            .build()
            .unwrap();
        (runtime, woken)
    }

    fn pair() -> (UnixStream, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (ours, theirs)
    }

    #[test]
    fn reading_an_answer_does_not_wake_the_server() {
        let (runtime, woken) = runtime();
        let (ours, mut theirs) = pair();
        let client = thread::spawn(move || {
            let mut answer = [0; 6];
            for _ in 0..10 {
                theirs.write_all(b"ask").unwrap();
                theirs.read_exact(&mut answer).unwrap();
                thread::sleep(Duration::from_millis(5));
            }
        });
        runtime.block_on(async {
            let mut stream = UnixConnection::new(ours).unwrap();
            let mut request = [0; 3];
            for _ in 0..10 {
                stream.read_exact(&mut request).await.unwrap();
                stream.write_all(b"answer").await.unwrap();
            }
            assert_eq!(stream.read(&mut request).await.unwrap(), 0);
        });
        client.join().unwrap();
        let woken = woken.load(Ordering::SeqCst);
        assert!(woken <= 11, "{woken} times for ten requests and the end");
    }

    #[test]
    fn what_does_not_fit_is_written_when_there_is_room() {
        let (runtime, _) = runtime();
        let (ours, mut theirs) = pair();
        let all: Vec<u8> = (0..3_000_000_u32).map(|number| number.to_le_bytes()[0]).collect();
        let expected = all.clone();
        let client = thread::spawn(move || {
            let mut received = Vec::new();
            thread::sleep(Duration::from_millis(20));
            theirs.read_to_end(&mut received).unwrap();
            received
        });
        runtime.block_on(async {
            let mut stream = UnixConnection::new(ours).unwrap();
            stream.write_all(&all).await.unwrap();
            assert!(stream.full.is_none(), "it is registered for reading only");
            stream.shutdown().await.unwrap();
        });
        assert_eq!(client.join().unwrap(), expected);
    }

    #[test]
    fn what_comes_in_pieces_and_all_at_once_is_read() {
        let (runtime, _) = runtime();
        let (ours, mut theirs) = pair();
        let sent: Vec<u8> = (0..100_000_u32).map(|number| number.to_le_bytes()[1]).collect();
        let all = sent.clone();
        let client = thread::spawn(move || {
            for piece in sent.chunks(7_777) {
                theirs.write_all(piece).unwrap();
            }
        });
        let mut received = Vec::new();
        runtime.block_on(async {
            let mut stream = UnixConnection::new(ours).unwrap();
            stream.read_to_end(&mut received).await.unwrap();
        });
        client.join().unwrap();
        assert_eq!(received, all);
    }

    #[test]
    fn the_other_end_may_go_away() {
        let (runtime, _) = runtime();
        let (ours, theirs) = pair();
        drop(theirs);
        runtime.block_on(async {
            let mut stream = UnixConnection::new(ours).unwrap();
            assert_eq!(stream.write_all(b"x").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        });
    }
}
