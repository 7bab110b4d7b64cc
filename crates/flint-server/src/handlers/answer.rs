//! The answer of a handler that scans: JSON, whole or made piece by piece while the client reads.

use std::vec::IntoIter;

use crate::problem::Problem;

/// About as many bytes has a piece.
const PIECE: usize = 64 * 1024;

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
    /// As [`to_json`](super::reply::to_json).
    fn next(&mut self, into: &mut Vec<u8>) -> Result<bool, Problem>;

    /// The bytes of memory that it takes until it is sent, about.
    fn bytes(&self) -> usize;
}

/// A JSON object with one list, and what comes behind the list.
pub(super) struct List<T> {
    /// What comes before the next item.
    before: String,
    items: IntoIter<T>,
    write: fn(&T, &mut Vec<u8>) -> Result<(), Problem>,
    tail: String,
    bytes: usize,
}

impl<T: Send + 'static> List<T> {
    /// `{"name":[…]tail}`. `heap` returns the bytes that an item has on the heap.
    pub(super) fn answer(
        name: &str,
        items: Vec<T>,
        tail: String,
        heap: impl Fn(&T) -> usize,
        write: fn(&T, &mut Vec<u8>) -> Result<(), Problem>,
    ) -> Answer {
        let bytes = items.capacity() * size_of::<T>() + items.iter().map(heap).sum::<usize>();
        let before = format!("{{\"{name}\":[");
        Answer::Pieces(Box::new(Self { before, items: items.into_iter(), write, tail, bytes }))
    }
}

impl<T: Send> Pieces for List<T> {
    fn next(&mut self, into: &mut Vec<u8>) -> Result<bool, Problem> {
        while into.len() < PIECE {
            into.extend_from_slice(self.before.as_bytes());
            let Some(item) = self.items.next() else {
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

    fn bytes(&self) -> usize {
        self.bytes + PIECE
    }
}

#[cfg(test)]
mod tests {
    use super::super::reply::to_json;
    use super::*;

    fn whole(items: Vec<u64>) -> (String, usize) {
        let write = |item: &u64, into: &mut Vec<u8>| {
            into.extend_from_slice(&to_json(item)?);
            Ok(())
        };
        let Answer::Pieces(mut pieces) = List::answer("n", items, ",\"m\":1".to_owned(), |_| 0, write) else {
            panic!("it is made in pieces")
        };
        let (mut all, mut count) = (Vec::new(), 0);
        loop {
            let mut piece = Vec::new();
            let more = pieces.next(&mut piece).unwrap();
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
        assert_eq!(whole(vec![]), (r#"{"n":[],"m":1}"#.to_owned(), 1));
        assert_eq!(whole(vec![5]), (r#"{"n":[5],"m":1}"#.to_owned(), 1));
        for length in [10, 50_000, PIECE as u64] {
            let (text, count) = whole((0..length).collect());
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(value["n"].as_array().unwrap().len() as u64, length);
            assert_eq!((value["n"][9].as_u64(), value["m"].as_u64()), (Some(9), Some(1)));
            assert_eq!(count > 1, text.len() > PIECE, "{count} pieces of {} bytes", text.len());
        }
    }
}
