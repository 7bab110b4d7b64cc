//! The body of a response. A large one is passed on in frames, so that hyper copies no more of it than the client is about to read, and
//! one that is made piece by piece is made as the client reads.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use flint_core::Engine;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::Semaphore;

use crate::budget::Reservation;
use crate::handlers::Pieces;

/// Most bytes of one frame.
const FRAME: usize = 16 * 1024;

/// A piece that was made, and what makes the next.
type Made = io::Result<(Bytes, Option<Box<dyn Pieces>>)>;

/// The body of a response.
pub(crate) struct AnswerBody {
    /// What is made already.
    ready: Bytes,
    more: More,
    reserved: Option<Reservation>,
}

/// What makes pieces: in a thread that takes a permit.
#[derive(Clone)]
pub(super) struct Maker {
    pub(super) engine: Arc<Engine>,
    pub(super) permits: Arc<Semaphore>,
}

/// What follows what is ready.
enum More {
    Nothing,
    Pieces(Box<dyn Pieces>, Maker),
    Making(Pin<Box<dyn Future<Output = Made> + Send>>, Maker),
}

impl AnswerBody {
    /// A whole body. `reserved` is released with it.
    pub(super) fn whole(body: Bytes, reserved: Option<Reservation>) -> Self {
        Self::opened(body, More::Nothing, reserved)
    }

    /// A body that begins with `first`.
    pub(super) fn in_pieces(first: Bytes, rest: Box<dyn Pieces>, maker: Maker, reserved: Option<Reservation>) -> Self {
        Self::opened(first, More::Pieces(rest, maker), reserved)
    }

    fn opened(ready: Bytes, more: More, reserved: Option<Reservation>) -> Self {
        if let Some(reserved) = &reserved {
            reserved.open();
        }
        Self { ready, more, reserved }
    }
}

/// Makes the next piece, in a thread.
async fn make(mut pieces: Box<dyn Pieces>, maker: Maker) -> Made {
    let Maker { engine, permits } = maker;
    let permit = permits.acquire_owned().await.map_err(io::Error::other)?;
    let made = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        let mut piece = Vec::new();
        let more = pieces.next(&engine, &mut piece).map_err(|problem| io::Error::other(problem.detail().to_owned()))?;
        Ok((Bytes::from(piece), more.then_some(pieces)))
    });
    made.await.map_err(io::Error::other)?
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        while this.ready.is_empty() {
            match std::mem::replace(&mut this.more, More::Nothing) {
                More::Nothing => return Poll::Ready(None),
                More::Pieces(pieces, maker) => {
                    this.more = More::Making(Box::pin(make(pieces, maker.clone())), maker);
                }
                More::Making(mut making, maker) => {
                    let Poll::Ready(made) = making.as_mut().poll(cx) else {
                        this.more = More::Making(making, maker);
                        return Poll::Pending;
                    };
                    let (piece, rest) = made?;
                    this.ready = piece;
                    if let Some(rest) = rest {
                        this.more = More::Pieces(rest, maker);
                    }
                }
            }
        }
        let frame = this.ready.split_to(this.ready.len().min(FRAME));
        if let Some(reserved) = &this.reserved {
            reserved.moved(frame.len());
        }
        Poll::Ready(Some(Ok(Frame::data(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.ready.is_empty() && matches!(self.more, More::Nothing)
    }

    fn size_hint(&self) -> SizeHint {
        match self.more {
            More::Nothing => SizeHint::with_exact(self.ready.len() as u64),
            _ => SizeHint::default(),
        }
    }
}
