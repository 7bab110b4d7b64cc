//! From key to slot: a hash table split into many small ones by the hash's top bits. A small one doubles in microseconds,
//! so that growth is spread over the calls. The hash is keyed (SipHash with a random key), so that a client that chooses keys
//! cannot aim at one bucket.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

const SHARD_BITS: u32 = 10;
/// A table with room for no more does not shrink.
const FEW: usize = 64;

/// Slots by key; the keys themselves live elsewhere and are compared through a closure.
#[derive(Debug)]
pub(crate) struct Index {
    shards: Box<[HashTable<u32>]>,
    hasher: RandomState,
}

impl Index {
    pub(crate) fn new() -> Self {
        let shards = (0..1_usize << SHARD_BITS).map(|_| HashTable::new()).collect();
        Self { shards, hasher: RandomState::new() }
    }

    /// Makes room for `keys` keys in an empty index: growing step by step would hash each of them again several times.
    pub(crate) fn reserve(&mut self, keys: u64) {
        let each = usize::try_from(keys >> SHARD_BITS).unwrap_or(0);
        for shard in &mut self.shards {
            debug_assert!(shard.is_empty());
            shard.reserve(each, |_| unreachable!("an empty table has nothing to hash again"));
        }
    }

    #[inline]
    pub(crate) fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash_one(key)
    }

    const fn shard(hash: u64) -> usize {
        // hashbrown takes its bucket from the low bits and its tag from the top seven: the shard uses bits in between.
        ((hash >> 40) as usize) & ((1 << SHARD_BITS) - 1)
    }

    #[inline]
    pub(crate) fn find(&self, hash: u64, is_it: impl FnMut(&u32) -> bool) -> Option<u32> {
        self.shards[Self::shard(hash)].find(hash, is_it).copied()
    }

    /// Adds a slot whose key is not in the index; `key_of` returns the key of any slot in it.
    pub(crate) fn insert<'k>(&mut self, hash: u64, slot: u32, key_of: impl Fn(u32) -> &'k [u8]) {
        let hasher = &self.hasher;
        self.shards[Self::shard(hash)].insert_unique(hash, slot, |&other| hasher.hash_one(key_of(other)));
    }

    /// Removes a slot. Returns whether it was in the index. `key_of` returns the key of any other slot in it: a table of which little is
    /// left shrinks.
    pub(crate) fn remove<'k>(&mut self, hash: u64, slot: u32, key_of: impl Fn(u32) -> &'k [u8]) -> bool {
        let shard = &mut self.shards[Self::shard(hash)];
        let found = shard.find_entry(hash, |&other| other == slot);
        let is_found = found.map(hashbrown::hash_table::OccupiedEntry::remove).is_ok();
        if shard.capacity() > FEW && shard.len() < shard.capacity() / 4 {
            let hasher = &self.hasher;
            shard.shrink_to(shard.len() * 2, |&other| hasher.hash_one(key_of(other)));
        }
        is_found
    }

    /// Puts another slot of the same key in the place of one.
    pub(crate) fn replace(&mut self, hash: u64, slot: u32, other: u32) {
        if let Some(found) = self.shards[Self::shard(hash)].find_mut(hash, |&found| found == slot) {
            *found = other;
        }
    }

    /// Bytes of all tables, about: 4 and a tag for each place.
    #[cfg(feature = "testing")]
    pub(crate) fn bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.capacity() * 8 / 7 * 5).sum()
    }
}
