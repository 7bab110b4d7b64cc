//! Calls that may be repeated, such as those whose answer was lost on the way: a repetition gets the first answer, and only the
//! first is charged, also across a restart.

use crate::error::Result;
use crate::receipts::Receipt;
use crate::store::core::Denied;

use super::{CallId, Engine, Item, MultiOutcome, Outcome, Patience, Repeatable, validate_items};

impl Engine {
    /// As [`Engine::try_check`], once: a call with the same id gets the first answer again, and nothing is taken or counted. That
    /// holds for [`MAX_RECEIPTS`](super::MAX_RECEIPTS) newer allowed calls of this kind, 32 MiB of their answers, and
    /// [`RECEIPT_AGE_NS`](super::RECEIPT_AGE_NS); what was denied is remembered for a quarter of that many and until the store is
    /// closed.
    ///
    /// # Errors
    /// As [`Engine::try_check`]; `CallMismatch` for an id that was used with another fingerprint.
    pub fn try_check_once(
        &self,
        item: &Item<'_>,
        call: &CallId,
        patience: Patience,
    ) -> Result<Option<Repeatable<Outcome>>> {
        self.writer("check")?.perform(patience, |core| core.check_once(item, call, Denied::Counts))
    }

    /// As [`Engine::try_acquire`], once. A denial is not remembered: whoever waits asks again.
    ///
    /// # Errors
    /// As [`Self::try_check_once`].
    pub fn try_acquire_once(
        &self,
        item: &Item<'_>,
        call: &CallId,
        patience: Patience,
    ) -> Result<Option<Repeatable<Outcome>>> {
        self.writer("acquire")?.perform(patience, |core| core.check_once(item, call, Denied::CountsNothing))
    }

    /// As [`Engine::try_check_all`], once.
    ///
    /// # Errors
    /// As [`Engine::try_check_all`] and [`Self::try_check_once`].
    pub fn try_check_all_once(
        &self,
        items: &[Item<'_>],
        call: &CallId,
        patience: Patience,
    ) -> Result<Option<Repeatable<MultiOutcome>>> {
        let shared = self.writer("check_all")?;
        validate_items(items)?;
        shared.perform(patience, |core| core.check_all_once(items, call))
    }

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
