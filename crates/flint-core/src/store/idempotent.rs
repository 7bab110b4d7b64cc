//! Idempotent calls: a repeated call gets the first answer, and only the first is charged.

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
    /// The answer to an earlier call with the same id, if it is kept.
    fn repeat(&self, call: &CallId, now: u64) -> Result<Option<Answer>> {
        let Some(found) = self.view.idempotency.find(&call.id, now) else { return Ok(None) };
        if found.call != *call {
            return Err(Error::CallMismatch);
        }
        let (answer, _) = decode_answer(found.answer, found.seq).expect("written by this store, or verified when read");
        Ok(Some(answer))
    }

    /// Checks one key, unless the call was answered before.
    pub(crate) fn check_idempotent(
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
            self.write_with_answer(purpose, &[*item], &[part], now, &IdempotencyOp { call: *call, answer: &answer })?;
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
    pub(crate) fn check_all_idempotent(
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
        let parts = self.view.resolve_all(items, now)?;
        let allowed = parts.iter().all(|part| part.decision.verdict.allowed);
        let seq = if allowed { self.writer.seq() + 1 } else { 0 };
        let outcome = self.multi_outcome(items, &parts, now, seq)?;
        let mut answer = Vec::new();
        push_multi(&mut answer, &outcome);
        if allowed {
            self.write_with_answer(
                Purpose::CheckAll,
                items,
                &parts,
                now,
                &IdempotencyOp { call: *call, answer: &answer },
            )?;
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

    /// Writes allowed items and their answer as one record, so that one is never on disk without the other.
    fn write_with_answer(
        &mut self,
        purpose: Purpose,
        items: &[Item<'_>],
        parts: &[Part],
        now: u64,
        answered: &IdempotencyOp<'_>,
    ) -> Result<(), Blocked> {
        let seq = if hooks::has(Defect::AnswerApart) {
            let seq = self.write_group(purpose, items, parts, now, None)?;
            self.write_group(purpose, &[], &[], now, Some(answered))?;
            seq
        } else {
            self.write_group(purpose, items, parts, now, Some(answered))?
        };
        let IdempotencyOp { call, answer } = *answered;
        self.view.idempotency.remember(&IdempotencyRecord { call, seq, at_ns: now, answer });
        self.allowed += items.len() as u64;
        Ok(())
    }
}
