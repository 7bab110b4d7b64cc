//! The parsers that are fuzzed.

use super::features::Features;
use super::{directories, grammar, legacy_lines, records, snapshot_lines};

/// What is fuzzed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Record frames and bodies, segment headers and seals.
    Records,
    /// The snapshot file.
    Snapshot,
    /// Log and snapshot of releases 0.1 and 0.2.
    Legacy,
    /// Rates, periods and keys as text.
    Grammar,
    /// Whole directories with their checksums put right.
    Directories,
}

impl Target {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Records, Self::Snapshot, Self::Legacy, Self::Grammar, Self::Directories];

    /// Its name: that of its folder in the corpus, and behind `fuzz_` that of its count.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Records => "records",
            Self::Snapshot => "snapshot",
            Self::Legacy => "legacy",
            Self::Grammar => "grammar",
            Self::Directories => "directories",
        }
    }

    /// The name under which its inputs are counted.
    pub fn evidence(self) -> String {
        format!("fuzz_{}", self.name())
    }

    pub(super) fn seeds(self) -> Vec<Vec<u8>> {
        match self {
            Self::Records => records::seeds(),
            Self::Snapshot => snapshot_lines::seeds(),
            Self::Legacy => legacy_lines::seeds(),
            Self::Grammar => grammar::seeds(),
            Self::Directories => directories::seeds(),
        }
    }

    pub(super) const fn max_len(self) -> usize {
        match self {
            Self::Records => records::MAX_LEN,
            Self::Snapshot => snapshot_lines::MAX_LEN,
            Self::Legacy => legacy_lines::MAX_LEN,
            Self::Grammar => grammar::MAX_LEN,
            Self::Directories => directories::MAX_LEN,
        }
    }

    pub(super) fn words(self) -> &'static [&'static [u8]] {
        match self {
            Self::Records => &records::WORDS,
            Self::Snapshot => &snapshot_lines::WORDS,
            Self::Legacy => &legacy_lines::WORDS,
            Self::Grammar => &grammar::WORDS,
            Self::Directories => &[],
        }
    }

    /// Memory that an input of `len` bytes may take at most. An engine has tables, segments of 16 KiB and, on a simulated
    /// disk, the files themselves; a script makes far more files than it has bytes.
    pub(super) const fn max_memory(self, len: usize) -> usize {
        match self {
            Self::Records | Self::Grammar => (256 << 10) + 64 * len,
            Self::Snapshot => (1 << 20) + 64 * len,
            Self::Legacy => (8 << 20) + 256 * len,
            Self::Directories => 32 << 20,
        }
    }

    pub(super) fn execute(self, input: &[u8], features: &mut Features) {
        match self {
            Self::Records => records::execute(input, features),
            Self::Snapshot => snapshot_lines::execute(input, features),
            Self::Legacy => legacy_lines::execute(input, features),
            Self::Grammar => grammar::execute(input, features),
            Self::Directories => directories::execute(input, features),
        }
    }
}
