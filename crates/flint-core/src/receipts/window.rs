//! The newest answers, oldest first, and where each call's is. What is in a window follows from what was put into it and in
//! which order, so that replaying the log fills it as the calls did.
//!
//! Answers lie in chunks that never grow by much and never move, the index is split into small tables: no call pays for
//! moving what is there. Whoever puts in an answer drops what it pushes out, and a few of those that are too old; the others are
//! passed over until they are dropped.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use super::{CallId, MAX_DENIED, MAX_DENIED_BYTES, MAX_RECEIPT_BYTES, MAX_RECEIPTS, Receipt};

const SHARD_BITS: u32 = 8;
/// A chunk is full with this many answers, or with this many bytes of them.
const CHUNK_ENTRIES: usize = 1 << 10;
const CHUNK_BYTES: usize = 64 << 10;
/// How many answers that are too old one call drops at most.
const EXPIRED_EACH: usize = 8;

/// The remembered answers of one store.
#[derive(Debug)]
pub struct Receipts {
    allowed: Window,
    denied: Window,
}

impl Default for Receipts {
    fn default() -> Self {
        Self {
            allowed: Window::new(MAX_RECEIPTS, MAX_RECEIPT_BYTES),
            denied: Window::new(MAX_DENIED, MAX_DENIED_BYTES),
        }
    }
}

impl Receipts {
    /// The answer to the call with this id, if it is remembered at `now_ns`.
    pub fn find(&self, id: &[u8; 16], now_ns: u64) -> Option<Receipt<'_>> {
        [&self.allowed, &self.denied]
            .into_iter()
            .filter_map(|window| window.find(id))
            .find(|found| !found.is_expired(now_ns))
    }

    /// Remembers the answer of an allowed call, whose record is newer than those before.
    pub fn remember(&mut self, receipt: &Receipt<'_>) {
        self.allowed.push(receipt);
    }

    /// Remembers a denial, which no record holds.
    pub fn remember_denied(&mut self, receipt: &Receipt<'_>) {
        self.denied.push(receipt);
    }

    /// Calls `each` with at most `most` answers of allowed calls that are not too old at `now_ns`, in order, from the `from`th that
    /// was ever remembered on. Gives the place of the next; `None` at the end.
    pub fn slice(&self, from: u64, most: usize, now_ns: u64, each: &mut dyn FnMut(&Receipt<'_>)) -> Option<u64> {
        self.allowed.slice(from, most, &mut |receipt| {
            if !receipt.is_expired(now_ns) {
                each(receipt);
            }
        })
    }

    /// Calls `each` with every answer of an allowed call that is not too old at `now_ns`, in order.
    pub fn for_each(&self, now_ns: u64, each: &mut dyn FnMut(&Receipt<'_>)) {
        self.slice(0, usize::MAX, now_ns, each);
    }

    /// The engine time of the newest answer of an allowed call, 0 without one.
    pub fn newest_ns(&self) -> u64 {
        self.allowed.newest_ns
    }
}

#[derive(Debug)]
struct Entry {
    call: CallId,
    seq: u64,
    at_ns: u64,
    /// Where the answer starts in the chunk's bytes; it ends where the next one starts.
    from: usize,
}

#[derive(Debug)]
struct Chunk {
    /// The place of its first entry among all that were ever put in.
    first: u64,
    entries: Vec<Entry>,
    bytes: Vec<u8>,
}

impl Chunk {
    fn receipt(&self, index: usize) -> Receipt<'_> {
        let Entry { call, seq, at_ns, from } = self.entries[index];
        let to = self.entries.get(index + 1).map_or(self.bytes.len(), |next| next.from);
        Receipt { call, seq, at_ns, answer: &self.bytes[from..to] }
    }

    fn is_full(&self) -> bool {
        self.entries.len() == CHUNK_ENTRIES || self.bytes.len() >= CHUNK_BYTES
    }
}

/// Where an answer is: the number of its chunk among all that there ever were, and its place there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    chunk: u32,
    index: u32,
}

#[derive(Debug)]
struct Window {
    max_count: usize,
    max_bytes: usize,
    count: usize,
    bytes: usize,
    /// How many were ever put in.
    total: u64,
    newest_ns: u64,
    chunks: VecDeque<Chunk>,
    /// The oldest answer that is left; its chunk is the first.
    oldest: Place,
    /// Places by id. The hash is keyed, as that of keys is.
    shards: Box<[HashTable<Place>]>,
    hasher: RandomState,
}

impl Window {
    fn new(max_count: usize, max_bytes: usize) -> Self {
        Self {
            max_count,
            max_bytes,
            count: 0,
            bytes: 0,
            total: 0,
            newest_ns: 0,
            chunks: VecDeque::new(),
            oldest: Place { chunk: 0, index: 0 },
            shards: (0..1_usize << SHARD_BITS).map(|_| HashTable::new()).collect(),
            hasher: RandomState::new(),
        }
    }

    const fn shard(hash: u64) -> usize {
        // As in the table's index: bits that a hash table does not look at.
        ((hash >> 40) as usize) & ((1 << SHARD_BITS) - 1)
    }

    fn receipt(&self, place: Place) -> Receipt<'_> {
        let chunk = place.chunk.wrapping_sub(self.oldest.chunk) as usize;
        self.chunks[chunk].receipt(place.index as usize)
    }

    fn find(&self, id: &[u8; 16]) -> Option<Receipt<'_>> {
        if self.count == 0 {
            return None;
        }
        let hash = self.hasher.hash_one(id);
        let place = self.shards[Self::shard(hash)].find(hash, |&place| self.receipt(place).call.id == *id)?;
        Some(self.receipt(*place))
    }

    fn push(&mut self, receipt: &Receipt<'_>) {
        for _ in 0..EXPIRED_EACH {
            if self.count == 0 || !self.receipt(self.oldest).is_expired(receipt.at_ns) {
                break;
            }
            self.drop_oldest();
        }
        let len = receipt.answer.len();
        while self.count > 0 && (self.count >= self.max_count || self.bytes + len > self.max_bytes) {
            self.drop_oldest();
        }
        let place = self.append(receipt);
        (self.count, self.bytes, self.newest_ns) = (self.count + 1, self.bytes + len, receipt.at_ns);
        let (hash, shard) = self.shard_of(&receipt.call.id);
        let Self { chunks, oldest, hasher, .. } = self;
        let id_of = |place: &Place| {
            let chunk = place.chunk.wrapping_sub(oldest.chunk) as usize;
            chunks[chunk].entries[place.index as usize].call.id
        };
        let shard = &mut self.shards[shard];
        match shard.find_mut(hash, |other| id_of(other) == receipt.call.id) {
            // The older answer is too old to be given, or it would have been.
            Some(older) => *older = place,
            None => drop(shard.insert_unique(hash, place, |other| hasher.hash_one(id_of(other)))),
        }
    }

    fn shard_of(&self, id: &[u8; 16]) -> (u64, usize) {
        let hash = self.hasher.hash_one(id);
        (hash, Self::shard(hash))
    }

    fn append(&mut self, receipt: &Receipt<'_>) -> Place {
        if self.chunks.back().is_none_or(Chunk::is_full) {
            self.chunks.push_back(Chunk { first: self.total, entries: Vec::new(), bytes: Vec::new() });
        }
        let number = self.oldest.chunk.wrapping_add(small(self.chunks.len() - 1));
        let chunk = self.chunks.back_mut().expect("one was just added");
        let index = small(chunk.entries.len());
        let Receipt { call, seq, at_ns, answer } = *receipt;
        chunk.entries.push(Entry { call, seq, at_ns, from: chunk.bytes.len() });
        chunk.bytes.extend_from_slice(answer);
        self.total += 1;
        Place { chunk: number, index }
    }

    fn drop_oldest(&mut self) {
        let (place, receipt) = (self.oldest, self.receipt(self.oldest));
        let (id, len) = (receipt.call.id, receipt.answer.len());
        let (hash, shard) = self.shard_of(&id);
        if let Ok(found) = self.shards[shard].find_entry(hash, |&other| other == place) {
            found.remove();
        }
        (self.count, self.bytes) = (self.count - 1, self.bytes - len);
        self.oldest.index += 1;
        let first = &self.chunks[0];
        if self.oldest.index as usize == first.entries.len() && first.is_full() {
            self.chunks.pop_front();
            self.oldest = Place { chunk: place.chunk.wrapping_add(1), index: 0 };
        }
    }

    fn slice(&self, from: u64, most: usize, each: &mut dyn FnMut(&Receipt<'_>)) -> Option<u64> {
        let oldest = self.chunks.front()?.first + u64::from(self.oldest.index);
        let mut next = from.max(oldest);
        let at = self.chunks.partition_point(|chunk| chunk.first <= next).checked_sub(1)?;
        let mut left = most;
        for chunk in self.chunks.iter().skip(at) {
            let skipped = usize::try_from(next - chunk.first).unwrap_or(usize::MAX);
            for index in skipped..chunk.entries.len() {
                if left == 0 {
                    return Some(next);
                }
                each(&chunk.receipt(index));
                (left, next) = (left - 1, next + 1);
            }
        }
        None
    }
}

/// A number of chunks, or of entries of one: there are never 2^32 of them at a time.
fn small(number: usize) -> u32 {
    u32::try_from(number).expect("chunks and their entries are few")
}
