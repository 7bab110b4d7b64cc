//! Calls that may be repeated: whoever repeats one gets the first answer, and is charged once.

use crate::error::{Error, Result};
use crate::hooks::{self, Defect};
use crate::idempotency::{Answer, CallId, IdempotencyRecord, Repeatable, decode_answer, push_multi, push_one};
use crate::item::Item;
use crate::log::record::{IdempotencyOp, Purpose};
use crate::outcome::{MultiOutcome, Outcome};
use crate::writer::Blocked;

use super::core::{Core, Denials};
use super::view::Part;

impl Core {
    /// What the call was told before, if that is remembered.
    fn repeat(&self, call: &CallId, now: u64) -> Result<Option<Answer>> {
        let Some(found) = self.view.idempotency.find(&call.id, now) else { return Ok(None) };
        if found.call != *call {
            return Err(Error::CallMismatch);
        }
        let (answer, _) = decode_answer(found.answer, found.seq).expect("written by this store, or verified when read");
        Ok(Some(answer))
    }

    /// Checks one key, unless the call was answered before.
    pub(crate) fn check_once(
        &mut self,
        item: &Item<'_>,
        call: &CallId,
        denials: Denials,
    ) -> Result<Repeatable<Outcome>, Blocked> {
        let now = self.view.time.now();
        match self.repeat(call, now)? {
            Some(Answer::One(answer)) => return Ok(Repeatable { answer, repeated: true }),
            Some(Answer::Multi(_)) => return Err(Error::CallMismatch.into()),
            None => {}
        }
        let part = self.view.resolve(item, now)?;
        let allowed = part.decision.verdict.allowed;
        let seq = if allowed { self.writer.seq() + 1 } else { 0 };
        let outcome = self.view.outcome(part.decision, part.verdicts.clone(), now, item.cost, seq);
        let mut answer = Vec::new();
        push_one(&mut answer, &outcome);
        if allowed {
            let purpose = if part.plan.is_some() { Purpose::CheckWithLimit } else { Purpose::Check };
            self.write_once(purpose, &[*item], &[part], now, &IdempotencyOp { call: *call, answer: &answer })?;
        } else if denials == Denials::Count {
            if let Some(slot) = part.slot {
                self.count_denied(slot, now, item.cost);
            }
            self.view.idempotency.remember_denied(&IdempotencyRecord {
                call: *call,
                seq: 0,
                at_ns: now,
                answer: &answer,
            });
        }
        Ok(Repeatable { answer: outcome, repeated: false })
    }

    /// Checks several keys, unless the call was answered before. The items were validated.
    pub(crate) fn check_all_once(
        &mut self,
        items: &[Item<'_>],
        call: &CallId,
    ) -> Result<Repeatable<MultiOutcome>, Blocked> {
        let now = self.view.time.now();
        match self.repeat(call, now)? {
            Some(Answer::Multi(answer)) => return Ok(Repeatable { answer, repeated: true }),
            Some(Answer::One(_)) => return Err(Error::CallMismatch.into()),
            None => {}
        }
        let parts = items.iter().map(|item| self.view.resolve(item, now)).collect::<Result<Vec<_>>>()?;
        let allowed = parts.iter().all(|part| part.decision.verdict.allowed);
        let seq = if allowed { self.writer.seq() + 1 } else { 0 };
        let outcome = self.tell_all(items, &parts, now, seq)?;
        let mut answer = Vec::new();
        push_multi(&mut answer, &outcome);
        if allowed {
            self.write_once(Purpose::CheckAll, items, &parts, now, &IdempotencyOp { call: *call, answer: &answer })?;
        } else {
            self.view.idempotency.remember_denied(&IdempotencyRecord {
                call: *call,
                seq: 0,
                at_ns: now,
                answer: &answer,
            });
        }
        Ok(Repeatable { answer: outcome, repeated: false })
    }

    /// Writes allowed items with what they were told as one record, so that one is never on disk without the other.
    fn write_once(
        &mut self,
        purpose: Purpose,
        items: &[Item<'_>],
        parts: &[Part],
        now: u64,
        receipt: &IdempotencyOp<'_>,
    ) -> Result<(), Blocked> {
        let seq = if hooks::has(Defect::ReceiptApart) {
            let seq = self.write_group(purpose, items, parts, now, None)?;
            self.write_group(purpose, &[], &[], now, Some(receipt))?;
            seq
        } else {
            self.write_group(purpose, items, parts, now, Some(receipt))?
        };
        let IdempotencyOp { call, answer } = *receipt;
        self.view.idempotency.remember(&IdempotencyRecord { call, seq, at_ns: now, answer });
        self.allowed += items.len() as u64;
        Ok(())
    }
}
