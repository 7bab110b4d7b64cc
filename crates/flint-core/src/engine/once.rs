//! The remembered answers of idempotent calls.

use crate::error::Result;
use crate::receipts::Receipt;

use super::Engine;

impl Engine {
    /// Calls `each` with every remembered answer of an allowed call, oldest first, also with those that are too old but still
    /// there. Gives the engine time.
    ///
    /// # Errors
    /// `Stopped`, `Closed`, `Forked`.
    #[doc(hidden)]
    pub fn receipts(&self, each: &mut dyn FnMut(&Receipt<'_>)) -> Result<u64> {
        self.with_view(|view| {
            let now = view.time.now();
            view.receipts.for_each(0, each);
            now
        })
    }
}
