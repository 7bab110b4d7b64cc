//! The answer of a handler that scans: JSON, whole or made piece by piece while the client reads.

use std::vec::IntoIter;

use flint_core::engine::{Listing, Status, Top};
use flint_core::{Engine, Result};

use crate::problem::Problem;

/// About as many bytes has a piece.
const PIECE: usize = 64 * 1024;

/// Statuses that are read at a time, and the bytes of memory that they take where keys have some counters.
const STATUSES: usize = 32;
const STATUSES_BYTES: usize = 32 * 1024;

/// What a handler that scans returns.
pub(crate) enum Answer {
    /// JSON.
    Whole(Vec<u8>),
    /// JSON that is made when it is sent.
    Pieces(Box<dyn Pieces>),
}

/// An answer that is made piece by piece.
pub(crate) trait Pieces: Send {
    /// Appends the next piece to `into`. Returns whether there are more.
    ///
    /// # Errors
    /// Those of the engine, and as [`to_json`](super::reply::to_json).
    fn next(&mut self, engine: &Engine, into: &mut Vec<u8>) -> Result<bool, Problem>;

    /// The bytes of memory that it takes until it is sent, at most about.
    fn bytes(&self, engine: &Engine) -> usize;
}

/// The items of a list.
pub(super) trait Items: Send {
    /// One of them.
    type Item: Send;

    /// Adds the next items to `into`. Returns whether there may be more.
    ///
    /// # Errors
    /// Those of the engine.
    fn next(&mut self, engine: &Engine, into: &mut Vec<Self::Item>) -> Result<bool>;

    /// The bytes of memory that it takes until the last item is written, at most about.
    fn bytes(&self, engine: &Engine) -> usize;
}

/// Items that are in memory.
pub(super) struct Held<T> {
    items: Vec<T>,
    bytes: usize,
}

impl<T> Held<T> {
    /// `heap` returns the bytes that an item has on the heap.
    pub(super) fn new(items: Vec<T>, heap: impl Fn(&T) -> usize) -> Self {
        let bytes = items.capacity() * size_of::<T>() + items.iter().map(heap).sum::<usize>();
        Self { items, bytes }
    }
}

impl<T: Send> Items for Held<T> {
    type Item = T;

    fn next(&mut self, _: &Engine, into: &mut Vec<T>) -> Result<bool> {
        *into = std::mem::take(&mut self.items);
        Ok(false)
    }

    fn bytes(&self, _: &Engine) -> usize {
        self.bytes
    }
}

impl Items for Listing {
    type Item = Status;

    fn next(&mut self, engine: &Engine, into: &mut Vec<Status>) -> Result<bool> {
        Self::next(self, engine, STATUSES, into)
    }

    fn bytes(&self, engine: &Engine) -> usize {
        Self::bytes(self, engine.counters().keys) + STATUSES_BYTES
    }
}

impl Items for Top {
    type Item = Status;

    fn next(&mut self, engine: &Engine, into: &mut Vec<Status>) -> Result<bool> {
        Self::next(self, engine, STATUSES, into)
    }

    fn bytes(&self, _: &Engine) -> usize {
        Self::bytes(self) + STATUSES_BYTES
    }
}

/// A JSON object with one list, and what comes behind the list.
pub(super) struct List<S: Items> {
    /// What comes before the next item.
    before: String,
    source: S,
    /// What the source has returned and is not written yet.
    ready: IntoIter<S::Item>,
    more: bool,
    write: fn(&S::Item, &mut Vec<u8>) -> Result<(), Problem>,
    tail: String,
}

impl<S: Items + 'static> List<S> {
    /// `{"name":[…]tail}`.
    pub(super) fn answer(
        name: &str,
        source: S,
        tail: String,
        write: fn(&S::Item, &mut Vec<u8>) -> Result<(), Problem>,
    ) -> Answer {
        let before = format!("{{\"{name}\":[");
        Answer::Pieces(Box::new(Self { before, source, ready: Vec::new().into_iter(), more: true, write, tail }))
    }

    fn item(&mut self, engine: &Engine) -> Result<Option<S::Item>> {
        loop {
            if let Some(item) = self.ready.next() {
                return Ok(Some(item));
            }
            if !self.more {
                return Ok(None);
            }
            let mut ready = Vec::new();
            self.more = self.source.next(engine, &mut ready)?;
            self.ready = ready.into_iter();
        }
    }
}

impl<S: Items + 'static> Pieces for List<S> {
    fn next(&mut self, engine: &Engine, into: &mut Vec<u8>) -> Result<bool, Problem> {
        while into.len() < PIECE {
            let item = self.item(engine)?;
            into.extend_from_slice(self.before.as_bytes());
            let Some(item) = item else {
                // The comma behind the last item is none.
                if self.before == "," {
                    into.pop();
                }
                into.extend_from_slice(b"]");
                into.extend_from_slice(self.tail.as_bytes());
                into.extend_from_slice(b"}");
                return Ok(false);
            };
            (self.write)(&item, into)?;
            ",".clone_into(&mut self.before);
        }
        Ok(true)
    }

    fn bytes(&self, engine: &Engine) -> usize {
        self.source.bytes(engine) + PIECE
    }
}

#[cfg(test)]
mod tests {
    use flint_core::engine::Options;

    use super::super::reply::to_json;
    use super::*;

    fn whole(engine: &Engine, items: Vec<u64>) -> (String, usize) {
        let write = |item: &u64, into: &mut Vec<u8>| {
            into.extend_from_slice(&to_json(item)?);
            Ok(())
        };
        let source = Held::new(items, |_| 0);
        let Answer::Pieces(mut pieces) = List::answer("n", source, ",\"m\":1".to_owned(), write) else {
            panic!("it is made in pieces")
        };
        let (mut all, mut count) = (Vec::new(), 0);
        loop {
            let mut piece = Vec::new();
            let more = pieces.next(engine, &mut piece).unwrap();
            assert!(piece.len() < PIECE + 32);
            all.extend(piece);
            count += 1;
            if !more {
                return (String::from_utf8(all).unwrap(), count);
            }
        }
    }

    #[test]
    fn the_pieces_are_one_object() {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(&dir.path().join("data"), Options::default()).unwrap();
        assert_eq!(whole(&engine, vec![]), (r#"{"n":[],"m":1}"#.to_owned(), 1));
        assert_eq!(whole(&engine, vec![5]), (r#"{"n":[5],"m":1}"#.to_owned(), 1));
        for length in [10, 50_000, PIECE as u64] {
            let (text, count) = whole(&engine, (0..length).collect());
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(value["n"].as_array().unwrap().len() as u64, length);
            assert_eq!((value["n"][9].as_u64(), value["m"].as_u64()), (Some(9), Some(1)));
            assert_eq!(count > 1, text.len() > PIECE, "{count} pieces of {} bytes", text.len());
        }
    }
}
