//! Giving back the memory of deleted keys, under the lock.

use super::core::Core;
use super::view::View;

/// Most keys with unsaved denials for which moving goes on: each slice looks at all of them.
const MOST_DIRTY: usize = 1024;

/// How it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settling {
    /// There is nothing more to do, or a scan goes on.
    Done,
    /// With another slice.
    More,
    /// When denial totals have been saved.
    AfterDenials,
}

impl Core {
    /// Does a slice of it.
    pub(crate) fn settle(&mut self) -> Settling {
        let Self { view, dirty, .. } = self;
        if self.closed || !view.wants_settling() {
            return Settling::Done;
        }
        if dirty.len() > MOST_DIRTY {
            return Settling::AfterDenials;
        }
        let View { table, listings, .. } = view;
        let mut moved = Vec::new();
        let more = table.settle(&mut moved);
        if !moved.is_empty() {
            listings.created().forget();
        }
        for dirty in dirty {
            for moved in &moved {
                if dirty.slot == moved.from {
                    dirty.slot = moved.to;
                }
            }
        }
        if more { Settling::More } else { Settling::Done }
    }
}
