//! One simulated file: what programs see, what a power cut leaves, and the writes in between.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Unit;
use super::content::{Content, SECTOR};
use super::random::Random;

/// A write that is not durable, or the part of one that lies in one sector.
#[derive(Clone)]
struct Piece {
    /// Position of the write among all changes of the disk.
    order: u64,
    sector: usize,
    at: usize,
    data: Arc<[u8]>,
    /// The part of `data` that is meant.
    start: usize,
    len: usize,
    /// Whether the write had anything but zeros.
    content: bool,
    /// A sync failed after this write: the page counts as clean and is not written by later syncs.
    lost: bool,
}

impl Piece {
    fn offset(&self) -> usize {
        self.sector * SECTOR + self.at
    }

    fn apply(&self, content: &mut Content) {
        content.write(&self.data[self.start..self.start + self.len], self.offset());
    }
}

/// Invariants: `current` and `durable` differ in nothing but the sectors of `pieces` and their lengths; no file shrinks, so
/// `durable` is never the longer one.
#[derive(Clone, Default)]
pub(super) struct Node {
    pub(super) current: Content,
    durable: Content,
    pieces: Vec<Piece>,
    /// Sectors that were synced with something of a write that was not all zeros.
    used: Sectors,
}

/// A set of sectors.
#[derive(Clone, Default)]
struct Sectors(Vec<u64>);

impl Sectors {
    fn insert(&mut self, sector: usize) {
        let word = sector / 64;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (sector % 64);
    }

    fn contains(&self, sector: usize) -> bool {
        self.0.get(sector / 64).is_some_and(|word| word >> (sector % 64) & 1 == 1)
    }
}

/// Which unsynced writes of a file a power cut leaves.
pub(super) enum Keep<'a> {
    None,
    All,
    /// Those before this position.
    Before(u64),
    Random(&'a mut Random),
    Garbage(&'a mut Random),
    /// All of these units, by number.
    Units(&'a [usize], Unit),
}

impl Node {
    /// A file that survives whatever comes.
    pub(super) fn durable(current: Content) -> Self {
        let mut used = Sectors::default();
        (0..current.len().div_ceil(SECTOR))
            .filter(|&sector| !current.is_zero(sector))
            .for_each(|sector| used.insert(sector));
        Self { durable: current.clone(), current, pieces: Vec::new(), used }
    }

    pub(super) fn write(&mut self, data: &[u8], offset: usize, order: u64) {
        if data.is_empty() {
            return;
        }
        self.current.write(data, offset);
        let shared: Arc<[u8]> = data.into();
        let content = data.iter().any(|byte| *byte != 0);
        let mut start = 0;
        while start < data.len() {
            let (sector, at) = ((offset + start) / SECTOR, (offset + start) % SECTOR);
            let len = (SECTOR - at).min(data.len() - start);
            self.pieces.push(Piece { order, sector, at, data: Arc::clone(&shared), start, len, content, lost: false });
            start += len;
        }
    }

    /// Makes durable every sector written since the last sync, with all that it shows now, and the length.
    pub(super) fn sync(&mut self) {
        self.durable.set_len(self.current.len());
        for piece in self.pieces.iter().filter(|piece| piece.content && !piece.lost) {
            self.used.insert(piece.sector);
        }
        if self.pieces.iter().any(|piece| piece.lost) {
            let mut dirty: Vec<usize> = self.pieces.iter().filter(|p| !p.lost).map(|p| p.sector).collect();
            dirty.sort_unstable();
            dirty.dedup();
            for sector in &dirty {
                self.durable.copy_sector(&self.current, *sector);
            }
            self.pieces.retain(|piece| dirty.binary_search(&piece.sector).is_err());
        } else {
            for piece in &self.pieces {
                self.durable.share_page(&self.current, piece.sector);
            }
            self.pieces.clear();
        }
    }

    /// A sync that fails writes nothing and forgets that there was something to write.
    pub(super) fn fail_sync(&mut self) {
        for piece in &mut self.pieces {
            piece.lost = true;
        }
    }

    /// Positions of the writes that a sync would still make durable.
    pub(super) fn unsynced(&self) -> impl Iterator<Item = u64> {
        self.pieces.iter().filter(|piece| !piece.lost).map(|piece| piece.order)
    }

    pub(super) fn durable_len(&self) -> usize {
        self.durable.len()
    }

    /// The file after a power cut.
    pub(super) fn after_power_cut(&self, keep: Keep<'_>) -> Self {
        let mut after = Self::durable(self.content_after_power_cut(keep));
        for (word, more) in self.used.0.iter().enumerate() {
            (0..64).filter(|bit| more >> bit & 1 == 1).for_each(|bit| after.used.insert(word * 64 + bit));
        }
        // What survived of a write may be zeros here and yet belong to it.
        for piece in self.pieces.iter().filter(|piece| piece.content) {
            after.used.insert(piece.sector);
        }
        after
    }

    fn content_after_power_cut(&self, keep: Keep<'_>) -> Content {
        let mut content = self.durable.clone();
        match keep {
            Keep::None => {}
            Keep::All => {
                let mut synced = self.clone();
                synced.sync();
                content = synced.durable;
            }
            Keep::Before(order) => self.keep_before(&mut content, order),
            Keep::Random(random) => self.keep_random(&mut content, random),
            Keep::Garbage(random) => {
                self.keep_random(&mut content, random);
                self.spoil(&mut content, random);
            }
            Keep::Units(units, unit) => self.keep_units(&mut content, units, unit),
        }
        content
    }

    /// Numbers of the units with writes that a sync would still make durable.
    pub(super) fn dirty(&self, unit: Unit) -> Vec<usize> {
        let writes = self.pieces.iter().filter(|piece| !piece.lost).map(|piece| piece.sector / unit.sectors());
        writes.collect::<BTreeSet<usize>>().into_iter().collect()
    }

    fn keep_units(&self, content: &mut Content, units: &[usize], unit: Unit) {
        let kept = |piece: &&Piece| units.binary_search(&(piece.sector / unit.sectors())).is_ok();
        let dirty: BTreeSet<usize> =
            self.pieces.iter().filter(|piece| !piece.lost).filter(kept).map(|piece| piece.sector).collect();
        for piece in self.pieces.iter().filter(|piece| dirty.contains(&piece.sector)) {
            piece.apply(content);
        }
    }

    /// A sector under way to the disk with its first content may hold anything.
    fn spoil(&self, content: &mut Content, random: &mut Random) {
        let dirty: BTreeSet<usize> = self.pieces.iter().map(|piece| piece.sector).collect();
        for sector in dirty {
            let start = sector * SECTOR;
            if self.used.contains(sector) || start >= content.len() || random.below(3) > 0 {
                continue;
            }
            let mut garbage = [0; SECTOR];
            for bytes in garbage.chunks_exact_mut(8) {
                bytes.copy_from_slice(&random.next().to_le_bytes());
            }
            content.write(&garbage[..SECTOR.min(content.len() - start)], start);
        }
    }

    /// A sector is written with all that it shows, what an earlier sync failed to write included.
    fn keep_before(&self, content: &mut Content, order: u64) {
        let early = || self.pieces.iter().filter(|piece| piece.order < order);
        let written: BTreeSet<usize> = early().filter(|piece| !piece.lost).map(|piece| piece.sector).collect();
        for piece in early().filter(|piece| written.contains(&piece.sector)) {
            piece.apply(content);
        }
    }

    /// Of each sector's writes a first part, independently of other sectors: none or all of them in most cases, otherwise as
    /// many as the sector held when it was written back by chance. The length may have stayed behind the data.
    fn keep_random(&self, content: &mut Content, random: &mut Random) {
        if self.pieces.is_empty() && self.current.len() == self.durable.len() {
            return;
        }
        let mut writes: BTreeMap<usize, usize> = BTreeMap::new();
        for piece in &self.pieces {
            *writes.entry(piece.sector).or_default() += 1;
        }
        let mut left = writes;
        for count in left.values_mut() {
            *count = match random.below(3) {
                0 => 0,
                1 => *count,
                _ => random.below(*count + 1),
            };
        }
        for piece in &self.pieces {
            let count = left.get_mut(&piece.sector).expect("every piece was counted");
            if *count > 0 {
                *count -= 1;
                piece.apply(content);
            }
        }
        let (old, new) = (self.durable.len(), self.current.len());
        content.set_len(match random.below(3) {
            0 => old,
            1 => new,
            _ => (old + random.below(new - old + 1)).next_multiple_of(SECTOR).min(new),
        });
    }
}
