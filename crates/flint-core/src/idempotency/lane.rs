//! The answers to the calls of one caller, oldest first, and where each call's is.
//!
//! Answers lie in chunks that never grow by much and never move, the index is split into small tables: no call pays for
//! moving what is there.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use super::{CallId, IdempotencyRecord};

const SHARD_BITS: u32 = 8;
/// A chunk is full with this many answers, or with this many bytes of them.
const CHUNK_ENTRIES: usize = 1 << 10;
const CHUNK_BYTES: usize = 64 << 10;

#[derive(Debug)]
struct Entry {
    /// Its number among all answers of the window, which only grows.
    order: u64,
    call: CallId,
    seq: u64,
    at_ns: u64,
    /// Where the answer starts in the chunk's bytes; it ends where the next one starts.
    from: usize,
}

#[derive(Debug)]
struct Chunk {
    entries: Vec<Entry>,
    bytes: Vec<u8>,
}

impl Chunk {
    fn record(&self, index: usize) -> IdempotencyRecord<'_> {
        let Entry { call, seq, at_ns, from, .. } = self.entries[index];
        let to = self.entries.get(index + 1).map_or(self.bytes.len(), |next| next.from);
        IdempotencyRecord { call, seq, at_ns, answer: &self.bytes[from..to] }
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

/// The answers of one caller.
#[derive(Debug)]
pub(super) struct Lane {
    count: usize,
    bytes: usize,
    chunks: VecDeque<Chunk>,
    /// The oldest answer that is left; its chunk is the first.
    oldest: Place,
    /// Places by id. The hash is keyed, as that of keys is.
    shards: Box<[HashTable<Place>]>,
    hasher: RandomState,
}

impl Lane {
    pub(super) fn new() -> Self {
        Self {
            count: 0,
            bytes: 0,
            chunks: VecDeque::new(),
            oldest: Place { chunk: 0, index: 0 },
            shards: (0..1_usize << SHARD_BITS).map(|_| HashTable::new()).collect(),
            hasher: RandomState::new(),
        }
    }

    /// How many answers there are.
    pub(super) const fn count(&self) -> usize {
        self.count
    }

    /// The bytes of the answers.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    const fn shard(hash: u64) -> usize {
        // As in the table's index: bits that a hash table does not look at.
        ((hash >> 40) as usize) & ((1 << SHARD_BITS) - 1)
    }

    fn record(&self, place: Place) -> IdempotencyRecord<'_> {
        let chunk = place.chunk.wrapping_sub(self.oldest.chunk) as usize;
        self.chunks[chunk].record(place.index as usize)
    }

    /// The oldest answer.
    pub(super) fn oldest(&self) -> Option<IdempotencyRecord<'_>> {
        (self.count > 0).then(|| self.record(self.oldest))
    }

    /// The newest answer to the call with this id.
    pub(super) fn find(&self, id: &[u8; 16]) -> Option<IdempotencyRecord<'_>> {
        if self.count == 0 {
            return None;
        }
        let hash = self.hasher.hash_one(id);
        let place = self.shards[Self::shard(hash)].find(hash, |&place| self.record(place).call.id == *id)?;
        Some(self.record(*place))
    }

    /// Adds an answer, whose record is newer than those before. `order` is its number among all answers.
    pub(super) fn push(&mut self, order: u64, record: &IdempotencyRecord<'_>) {
        let place = self.append(order, record);
        (self.count, self.bytes) = (self.count + 1, self.bytes + record.answer.len());
        let (hash, shard) = self.shard_of(&record.call.id);
        let Self { chunks, oldest, hasher, .. } = self;
        let id_of = |place: &Place| {
            let chunk = place.chunk.wrapping_sub(oldest.chunk) as usize;
            chunks[chunk].entries[place.index as usize].call.id
        };
        let shard = &mut self.shards[shard];
        match shard.find_mut(hash, |other| id_of(other) == record.call.id) {
            // The older answer is too old to be given, or it would have been.
            Some(older) => *older = place,
            None => drop(shard.insert_unique(hash, place, |other| hasher.hash_one(id_of(other)))),
        }
    }

    fn shard_of(&self, id: &[u8; 16]) -> (u64, usize) {
        let hash = self.hasher.hash_one(id);
        (hash, Self::shard(hash))
    }

    fn append(&mut self, order: u64, record: &IdempotencyRecord<'_>) -> Place {
        if self.chunks.back().is_none_or(Chunk::is_full) {
            self.chunks.push_back(Chunk { entries: Vec::new(), bytes: Vec::new() });
        }
        let number = self.oldest.chunk.wrapping_add(small(self.chunks.len() - 1));
        let chunk = self.chunks.back_mut().expect("one was just added");
        let index = small(chunk.entries.len());
        let IdempotencyRecord { call, seq, at_ns, answer } = *record;
        chunk.entries.push(Entry { order, call, seq, at_ns, from: chunk.bytes.len() });
        chunk.bytes.extend_from_slice(answer);
        Place { chunk: number, index }
    }

    /// Drops the oldest answer. There is one.
    pub(super) fn drop_oldest(&mut self) {
        let (place, record) = (self.oldest, self.record(self.oldest));
        let (id, len) = (record.call.id, record.answer.len());
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

    /// The answers from number `order` on, in order, each with its number.
    pub(super) fn from(&self, order: u64) -> impl Iterator<Item = (u64, IdempotencyRecord<'_>)> {
        let before = |chunk: &Chunk| chunk.entries.last().is_some_and(|last| last.order < order);
        let first = self.chunks.partition_point(before);
        self.chunks.iter().enumerate().skip(first).flat_map(move |(number, chunk)| {
            let dropped = if number == 0 { self.oldest.index as usize } else { 0 };
            let skipped = chunk.entries.partition_point(|entry| entry.order < order).max(dropped);
            (skipped..chunk.entries.len()).map(|index| (chunk.entries[index].order, chunk.record(index)))
        })
    }

    #[cfg(test)]
    pub(super) fn chunks(&self) -> usize {
        self.chunks.len()
    }

    #[cfg(test)]
    pub(super) fn indexed(&self) -> usize {
        self.shards.iter().map(HashTable::len).sum()
    }
}

/// A number of chunks, or of entries of one: there are never 2^32 of them at a time.
fn small(number: usize) -> u32 {
    u32::try_from(number).expect("chunks and their entries are few")
}
