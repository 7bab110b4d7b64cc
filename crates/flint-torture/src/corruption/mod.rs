//! Damage to stores at rest: every bit, every length, every record and every file of small stores.
//!
//! A store that was closed is refused, with the place named and nothing changed, or opens with the identical state. A crashed one may
//! also give an earlier state that it had, one that reaches the last durable mark and everything before the damage. The
//! doctor and read-only opening agree with opening every time, and a store that opens keeps working.
//!
//! What the files cannot tell, and the oracle therefore allows:
//!
//! - If every store file of a directory is another store's, or of an earlier moment, then that is the store. `flint.lock` says
//!   which store was made there, but a store is never refused for it: its content is not part of any promise.
//! - The active segment of an earlier moment is what a power cut leaves, down to the newest snapshot's end.
//! - The newest segment of a crashed store, missing while the one before it is not sealed, is a rotation that was undone.
//! - Release 0.1 wrote no checksums.

mod file_edits;
mod flips;
mod legacy_sample;
mod oracle;
mod record_edits;
mod sample;
mod sweep;
mod truncations;
mod workload;

use std::ops::AddAssign;

use crate::evidence;

pub use file_edits::file_edits;
pub use flips::{Bits, bit_flips};
pub use legacy_sample::{LegacySample, legacy_flips, legacy_truncations};
pub use oracle::Tally;
pub use record_edits::record_edits;
pub use sample::{Kind, SampleStore};
pub use truncations::truncations;

/// What was done to stores.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Bits flipped.
    pub bit_flips: Tally,
    /// Files shortened and lengthened.
    pub truncations: Tally,
    /// Records removed, cleared, repeated, swapped.
    pub record_edits: Tally,
    /// Files lost and exchanged.
    pub file_edits: Tally,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.bit_flips += other.bit_flips;
        self.truncations += other.truncations;
        self.record_edits += other.record_edits;
        self.file_edits += other.file_edits;
    }
}

impl Counts {
    /// Notes the counts as evidence.
    pub fn record(&self) {
        let all = [
            ("bit_flips", self.bit_flips),
            ("truncations", self.truncations),
            ("record_edits", self.record_edits),
            ("file_edits", self.file_edits),
        ];
        for (name, tally) in all.into_iter().filter(|(_, tally)| tally.cases() > 0) {
            evidence::record(name, tally.cases());
        }
    }
}

/// Everything to one store of each kind, with workloads that `seed` decides: some millions of cases.
///
/// # Panics
/// When damage makes a store what it must not be.
pub fn every_kind(seed: u64) -> Counts {
    let mut counts = Counts::default();
    for kind in Kind::ALL {
        let sample = SampleStore::new(kind, seed);
        counts += Counts {
            bit_flips: bit_flips(&sample, Bits::All),
            truncations: truncations(&sample, 1),
            record_edits: record_edits(&sample, usize::MAX),
            file_edits: file_edits(&sample),
        };
    }
    counts
}

/// Every bit and every length of directories of old releases; of the large one, a part.
///
/// # Panics
/// When damage makes a store what it must not be.
pub fn old_directories() -> Counts {
    let mut counts = Counts::default();
    for sample in LegacySample::all() {
        let step = if sample.is_large() { 61 } else { 1 };
        counts.bit_flips += legacy_flips(&sample, step);
        counts.truncations += legacy_truncations(&sample, step);
    }
    counts
}
