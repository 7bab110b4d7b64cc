//! An engine on a simulated disk with a clock that stands still.

use std::sync::Arc;

use flint_core::Engine;
use flint_core::clock::ManualClock;
use flint_core::engine::{Item, Options, SyncMode};
use flint_core::limit::{Algorithm, Limit, parse_limit};
use flint_core::testing::sim::SimDisk;

pub(crate) const MS: u64 = 1_000_000;
pub(crate) const SECOND: u64 = 1_000 * MS;
pub(crate) const MINUTE: u64 = 60 * SECOND;
pub(crate) const HOUR: u64 = 60 * MINUTE;

/// Both modes, for what must not depend on them.
pub(crate) const MODES: [SyncMode; 2] = [SyncMode::Always, SyncMode::Batch];

/// A disk, a clock and how to open an engine on them.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) disk: SimDisk,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) options: Options,
}

impl World {
    pub(crate) fn new(sync: SyncMode) -> Self {
        let clock = Arc::new(ManualClock::new(1_700_000_000 * SECOND));
        let options = Options { sync, segment_bytes: 16 << 10, clock: clock.clone(), ..Options::default() };
        Self { disk: SimDisk::new(), clock, options }
    }

    pub(crate) fn open(&self) -> Engine {
        Engine::open_in(self.disk.dir(), self.options.clone()).unwrap()
    }

    /// Looks at the same directory, beside the writer.
    pub(crate) fn open_read_only(&self) -> Engine {
        let options = Options { read_only: true, ..self.options.clone() };
        Engine::open_in(self.disk.dir(), options).unwrap()
    }
}

pub(crate) fn limit(text: &str, algorithm: Algorithm) -> Limit {
    parse_limit(text, algorithm).unwrap()
}

/// A token bucket limit.
pub(crate) fn bucket(text: &str) -> Limit {
    limit(text, Algorithm::TokenBucket)
}

pub(crate) fn item(key: &str, cost: u64) -> Item<'_> {
    Item { key, cost, limit: None }
}
