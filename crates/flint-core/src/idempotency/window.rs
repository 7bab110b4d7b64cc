//! The newest answers, oldest first, and where each call's is. What is in a window follows from what was put into it and in
//! which order, so that replaying the log fills it as the calls did.
//!
//! Answers lie in chunks that never grow by much and never move, the index is split into small tables: no call pays for
//! moving what is there. A call that adds an answer drops those that it displaces, and a few expired ones; other expired ones are
//! skipped until they are dropped.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use super::{CallId, IdempotencyRecord, MAX_DENIED, MAX_DENIED_BYTES, MAX_IDEMPOTENCY_BYTES, MAX_IDEMPOTENCY_RECORDS};

const SHARD_BITS: u32 = 8;
/// A chunk is full with this many answers, or with this many bytes of them.
const CHUNK_ENTRIES: usize = 1 << 10;
const CHUNK_BYTES: usize = 64 << 10;
/// How many answers that are too old one call drops at most.
const EXPIRED_EACH: usize = 8;

/// The remembered answers of one store.
#[derive(Debug)]
pub struct IdempotencyWindow {
    allowed: Window,
    denied: Window,
}

impl Default for IdempotencyWindow {
    fn default() -> Self {
        Self {
            allowed: Window::new(MAX_IDEMPOTENCY_RECORDS, MAX_IDEMPOTENCY_BYTES),
            denied: Window::new(MAX_DENIED, MAX_DENIED_BYTES),
        }
    }
}

impl IdempotencyWindow {
    /// The answer to the call with this id, if it is remembered at `now_ns`.
    pub fn find(&self, id: &[u8; 16], now_ns: u64) -> Option<IdempotencyRecord<'_>> {
        [&self.allowed, &self.denied]
            .into_iter()
            .filter_map(|window| window.find(id))
            .find(|found| !found.is_expired(now_ns))
    }

    /// Remembers the answer of an allowed call, whose record is newer than those before.
    pub fn remember(&mut self, record: &IdempotencyRecord<'_>) {
        self.allowed.push(record);
    }

    /// Remembers a denial, which no record holds.
    pub fn remember_denied(&mut self, record: &IdempotencyRecord<'_>) {
        self.denied.push(record);
    }

    /// Calls `each` with at most `most` answers of allowed calls that are not too old at `now_ns`, in order, from the `from`th that
    /// was ever remembered on. Gives the place of the next; `None` at the end.
    pub fn slice(
        &self,
        from: u64,
        most: usize,
        now_ns: u64,
        each: &mut dyn FnMut(&IdempotencyRecord<'_>),
    ) -> Option<u64> {
        self.allowed.slice(from, most, &mut |record| {
            if !record.is_expired(now_ns) {
                each(record);
            }
        })
    }

    /// Calls `each` with every answer of an allowed call that is not too old at `now_ns`, in order.
    pub fn for_each(&self, now_ns: u64, each: &mut dyn FnMut(&IdempotencyRecord<'_>)) {
        self.slice(0, usize::MAX, now_ns, each);
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
    fn record(&self, index: usize) -> IdempotencyRecord<'_> {
        let Entry { call, seq, at_ns, from } = self.entries[index];
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

#[derive(Debug)]
struct Window {
    max_count: usize,
    max_bytes: usize,
    count: usize,
    bytes: usize,
    /// How many were ever put in.
    total: u64,
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

    fn record(&self, place: Place) -> IdempotencyRecord<'_> {
        let chunk = place.chunk.wrapping_sub(self.oldest.chunk) as usize;
        self.chunks[chunk].record(place.index as usize)
    }

    fn find(&self, id: &[u8; 16]) -> Option<IdempotencyRecord<'_>> {
        if self.count == 0 {
            return None;
        }
        let hash = self.hasher.hash_one(id);
        let place = self.shards[Self::shard(hash)].find(hash, |&place| self.record(place).call.id == *id)?;
        Some(self.record(*place))
    }

    fn push(&mut self, record: &IdempotencyRecord<'_>) {
        for _ in 0..EXPIRED_EACH {
            if self.count == 0 || !self.record(self.oldest).is_expired(record.at_ns) {
                break;
            }
            self.drop_oldest();
        }
        let len = record.answer.len();
        while self.count > 0 && (self.count >= self.max_count || self.bytes + len > self.max_bytes) {
            self.drop_oldest();
        }
        let place = self.append(record);
        (self.count, self.bytes) = (self.count + 1, self.bytes + len);
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

    fn append(&mut self, record: &IdempotencyRecord<'_>) -> Place {
        if self.chunks.back().is_none_or(Chunk::is_full) {
            self.chunks.push_back(Chunk { first: self.total, entries: Vec::new(), bytes: Vec::new() });
        }
        let number = self.oldest.chunk.wrapping_add(small(self.chunks.len() - 1));
        let chunk = self.chunks.back_mut().expect("one was just added");
        let index = small(chunk.entries.len());
        let IdempotencyRecord { call, seq, at_ns, answer } = *record;
        chunk.entries.push(Entry { call, seq, at_ns, from: chunk.bytes.len() });
        chunk.bytes.extend_from_slice(answer);
        self.total += 1;
        Place { chunk: number, index }
    }

    fn drop_oldest(&mut self) {
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

    fn slice(&self, from: u64, most: usize, each: &mut dyn FnMut(&IdempotencyRecord<'_>)) -> Option<u64> {
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
                each(&chunk.record(index));
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

#[cfg(test)]
mod tests {
    use super::super::{IDEMPOTENCY_AGE_NS, IdempotencyRecord};
    use super::*;

    fn id(number: u64) -> [u8; 16] {
        let mut id = [7; 16];
        id[..8].copy_from_slice(&number.to_le_bytes());
        id
    }

    fn push(window: &mut Window, number: u64, at_ns: u64, len: usize) {
        let call = CallId { id: id(number), fingerprint: number.to_le_bytes() };
        let byte = number.to_le_bytes()[0];
        window.push(&IdempotencyRecord { call, seq: number, at_ns, answer: &vec![byte; len] });
    }

    fn found(window: &Window, number: u64) -> Option<usize> {
        window.find(&id(number)).map(|record| {
            assert_eq!((record.seq, record.call.fingerprint), (number, number.to_le_bytes()));
            let byte = number.to_le_bytes()[0];
            assert!(record.answer.iter().all(|&other| other == byte), "the answer of another call");
            record.answer.len()
        })
    }

    fn numbers(window: &Window, from: u64, most: usize) -> (Vec<u64>, Option<u64>) {
        let mut all = Vec::new();
        let next = window.slice(from, most, &mut |record| all.push(record.seq));
        (all, next)
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many() {
        let mut window = Window::new(3_000, usize::MAX);
        for number in 0..10_000 {
            push(&mut window, number, number, 5 + usize::try_from(number % 50).unwrap());
            let gone = number.checked_sub(3_000);
            assert!(gone.is_none_or(|gone| found(&window, gone).is_none()));
            let oldest = (number + 1).saturating_sub(3_000);
            assert_eq!(found(&window, oldest), Some(5 + usize::try_from(oldest % 50).unwrap()));
        }
        assert_eq!(numbers(&window, 0, usize::MAX), ((7_000..10_000).collect(), None));
        assert_eq!(window.shards.iter().map(HashTable::len).sum::<usize>(), 3_000, "nothing is left behind");
        assert!(window.chunks.len() <= 4, "{} chunks", window.chunks.len());
    }

    #[test]
    fn the_oldest_go_when_they_take_too_much_room() {
        let mut window = Window::new(usize::MAX, 1_000_000);
        let len = |number: u64| usize::try_from(number % 7).unwrap() * 30_000 + 1;
        for number in 0..500 {
            push(&mut window, number, 0, len(number));
            let (left, _) = numbers(&window, 0, usize::MAX);
            let bytes = |from: u64| (from..=number).map(len).sum::<usize>();
            assert!(bytes(left[0]) <= 1_000_000 && (left[0] == 0 || bytes(left[0] - 1) > 1_000_000));
            assert_eq!((window.bytes, window.count), (bytes(left[0]), left.len()));
            assert_eq!(left, (left[0]..=number).collect::<Vec<_>>());
        }
        push(&mut window, 999, 0, 1_000_001);
        assert_eq!(numbers(&window, 0, usize::MAX).0, [999], "the newest stays, whatever its size");
    }

    #[test]
    fn what_is_too_old_goes_a_few_at_a_time() {
        let mut window = Window::new(usize::MAX, usize::MAX);
        for number in 0..5_000 {
            push(&mut window, number, number, 30);
        }
        let late = IDEMPOTENCY_AGE_NS + 5_000;
        for number in 5_000..5_700 {
            let before = window.count;
            push(&mut window, number, late, 30);
            assert!(before + 1 - window.count <= EXPIRED_EACH, "no call drops more");
        }
        assert_eq!(window.count, 700);
        for number in 5_700..6_000 {
            push(&mut window, number, late, 30);
        }
        assert_eq!(numbers(&window, 0, usize::MAX).0, (5_000..6_000).collect::<Vec<_>>());
        push(&mut window, 6_000, late + IDEMPOTENCY_AGE_NS, 30);
        assert_eq!(window.count, 1_001, "at the last moment they are still there");
        for number in 6_001..6_200 {
            push(&mut window, number, late + IDEMPOTENCY_AGE_NS + 1, 30);
        }
        assert_eq!(window.count, 200);
        // Also when nothing is left at all.
        push(&mut window, 7_000, u64::MAX, 30);
        for _ in 0..40 {
            push(&mut window, 7_000, u64::MAX, 30);
        }
        assert_eq!((found(&window, 7_000), window.count), (Some(30), 41));
        assert_eq!(window.shards.iter().map(HashTable::len).sum::<usize>(), 1);
    }

    #[test]
    fn slices_go_through_all_of_them() {
        let mut window = Window::new(5_000, usize::MAX);
        assert_eq!(numbers(&window, 0, 10), (Vec::new(), None));
        for number in 0..7_777 {
            push(&mut window, number, number, 20);
        }
        let (mut all, mut next) = (Vec::new(), Some(0));
        while let Some(from) = next {
            let (some, then) = numbers(&window, from, 64);
            assert!(some.len() <= 64);
            all.extend(some);
            // During a scan old ones go and new ones come.
            push(&mut window, 7_777 + all.len() as u64, 8_000, 20);
            next = then.filter(|_| all.len() < 4_000);
        }
        assert_eq!(all.first(), Some(&2_777));
        assert!(all.windows(2).all(|pair| pair[0] < pair[1]), "in order, none twice");
    }

    #[test]
    fn an_old_answer_makes_room_for_the_new_one_of_the_same_call() {
        let mut window = IdempotencyWindow::default();
        let record = |seq, at_ns| IdempotencyRecord {
            call: CallId { id: [1; 16], fingerprint: [2; 8] },
            seq,
            at_ns,
            answer: &[9],
        };
        window.remember(&record(1, 0));
        assert_eq!(window.find(&[1; 16], IDEMPOTENCY_AGE_NS).map(|found| found.seq), Some(1));
        assert_eq!(window.find(&[1; 16], IDEMPOTENCY_AGE_NS + 1), None);
        // It is denied then, and that is what counts although the old answer is still there.
        window.remember_denied(&record(0, IDEMPOTENCY_AGE_NS + 1));
        assert_eq!(window.find(&[1; 16], IDEMPOTENCY_AGE_NS + 1).map(|found| found.seq), Some(0));
        window.remember(&record(7, 3 * IDEMPOTENCY_AGE_NS));
        assert_eq!(window.find(&[1; 16], 3 * IDEMPOTENCY_AGE_NS).map(|found| found.seq), Some(7));
        let mut all = Vec::new();
        window.for_each(3 * IDEMPOTENCY_AGE_NS, &mut |found| all.push(found.seq));
        assert_eq!(all, [7]);
    }
}
