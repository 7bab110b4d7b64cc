//! An answer as bytes: all of it, so that returning it again decides nothing. Numbers are LEB128 in their shortest form, so
//! that an answer has one form only. `docs/storage-format.md` has the layout.

use crate::algorithm::Verdict;
use crate::limit::{Algorithm, MAX_RATES, Rate, RateVerdict};
use crate::outcome::{MultiOutcome, Outcome, RateVerdicts};

/// First byte of the answer to a check of one key.
const ONE: u8 = 1;
/// First byte of the answer to a check of several.
const MULTI: u8 = 2;
/// Marks what was allowed, in the first byte of a key and of a rate.
const ALLOWED: u8 = 0x80;
/// The shortest answer of one key: its first byte, two numbers, and a rate of seven bytes.
const MIN_KEY_LEN: usize = 10;

/// An answer that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Of one key.
    One(Outcome),
    /// Of several.
    Multi(MultiOutcome),
}

impl Answer {
    /// Whether all that was asked for was allowed.
    pub const fn allowed(&self) -> bool {
        match self {
            Self::One(outcome) => outcome.allowed,
            Self::Multi(outcome) => outcome.allowed,
        }
    }
}

/// Appends the answer to a check of one key. Its record's number is not part of it.
pub fn push_one(buf: &mut Vec<u8>, outcome: &Outcome) {
    buf.push(ONE);
    push_key(buf, outcome);
}

/// Appends the answer to a check of several keys.
pub fn push_multi(buf: &mut Vec<u8>, outcome: &MultiOutcome) {
    buf.push(MULTI);
    push_number(buf, outcome.retry_after_ns);
    push_number(buf, outcome.items.len() as u64);
    for item in &outcome.items {
        push_key(buf, item);
    }
}

fn push_key(buf: &mut Vec<u8>, outcome: &Outcome) {
    let flag = |allowed| if allowed { ALLOWED } else { 0 };
    let rates = match &outcome.verdicts {
        RateVerdicts::One(_) => 1,
        RateVerdicts::Each(rates) => u8::try_from(rates.len()).expect("a limit has at most eight rates"),
    };
    buf.push(flag(outcome.allowed) | rates);
    push_number(buf, outcome.cost);
    push_number(buf, outcome.reset_at_wall_ns);
    let Outcome { allowed, limit, remaining, retry_after_ns, reset_after_ns, .. } = *outcome;
    let push_rate = |buf: &mut Vec<u8>, rate: &Rate, verdict: &Verdict| {
        buf.push(flag(verdict.allowed) | rate.algorithm().code());
        let Verdict { remaining, retry_after_ns, reset_after_ns, .. } = *verdict;
        for number in [rate.limit(), rate.per_ms(), rate.burst(), remaining, retry_after_ns, reset_after_ns] {
            push_number(buf, number);
        }
    };
    match &outcome.verdicts {
        RateVerdicts::One(rate) => {
            push_rate(buf, rate, &Verdict { allowed, remaining, retry_after_ns, reset_after_ns });
        }
        RateVerdicts::Each(rates) => {
            for number in [limit, remaining, retry_after_ns, reset_after_ns] {
                push_number(buf, number);
            }
            for RateVerdict { rate, verdict } in &**rates {
                push_rate(buf, rate, verdict);
            }
        }
    }
}

fn push_number(buf: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        buf.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    buf.push(number.to_le_bytes()[0]);
}

/// Whether it is the answer to a check of several keys.
pub fn is_multi(answer: &[u8]) -> bool {
    answer.first() == Some(&MULTI)
}

/// Reads the answer at the front of `bytes`, of a call that made record `seq`; also what follows it.
///
/// # Errors
/// What does not make sense. Any bytes may come in.
pub fn decode_answer(bytes: &[u8], seq: u64) -> Result<(Answer, &[u8]), &'static str> {
    let mut cursor = Cursor(bytes);
    let answer = match cursor.byte()? {
        ONE => Answer::One(cursor.key(seq)?),
        MULTI => Answer::Multi(cursor.multi(seq)?),
        _ => return Err("its answer is of an unknown form"),
    };
    Ok((answer, cursor.0))
}

struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn byte(&mut self) -> Result<u8, &'static str> {
        let (first, rest) = self.0.split_first().ok_or("its answer ends too early")?;
        self.0 = rest;
        Ok(*first)
    }

    fn number(&mut self) -> Result<u64, &'static str> {
        let mut number = 0_u64;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                break;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                if byte == 0 && shift > 0 {
                    break;
                }
                return Ok(number);
            }
        }
        Err("a number of its answer is too long")
    }

    fn multi(&mut self, seq: u64) -> Result<MultiOutcome, &'static str> {
        let retry_after_ns = self.number()?;
        let count = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        if count == 0 || count > self.0.len() / MIN_KEY_LEN {
            return Err("its answer is of no key or of too many");
        }
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(self.key(seq)?);
        }
        let denied = items.iter().position(|item| !item.allowed);
        Ok(MultiOutcome { allowed: denied.is_none(), denied, retry_after_ns, items, seq })
    }

    fn key(&mut self, seq: u64) -> Result<Outcome, &'static str> {
        let head = self.byte()?;
        let (allowed, count) = (head & ALLOWED != 0, usize::from(head & !ALLOWED));
        if count == 0 || count > MAX_RATES {
            return Err("its answer has no rate or too many");
        }
        let (cost, reset_at_wall_ns) = (self.number()?, self.number()?);
        let outcome = |limit, remaining, retry_after_ns, reset_after_ns, verdicts| Outcome {
            allowed,
            cost,
            limit,
            remaining,
            retry_after_ns,
            reset_after_ns,
            reset_at_wall_ns,
            verdicts,
            seq,
        };
        if count == 1 {
            let RateVerdict { rate, verdict } = self.rate()?;
            if verdict.allowed != allowed {
                return Err("its answer contradicts itself");
            }
            let Verdict { remaining, retry_after_ns, reset_after_ns, .. } = verdict;
            let verdicts = RateVerdicts::One(rate);
            return Ok(outcome(rate.limit(), remaining, retry_after_ns, reset_after_ns, verdicts));
        }
        let (limit, remaining, retry, reset) = (self.number()?, self.number()?, self.number()?, self.number()?);
        let rates = (0..count).map(|_| self.rate()).collect::<Result<Vec<_>, _>>()?;
        Ok(outcome(limit, remaining, retry, reset, RateVerdicts::Each(rates.into())))
    }

    fn rate(&mut self) -> Result<RateVerdict, &'static str> {
        let head = self.byte()?;
        let algorithm = Algorithm::from_code(head & !ALLOWED).ok_or("its answer has an unknown algorithm")?;
        let (limit, per_ms, burst) = (self.number()?, self.number()?, self.number()?);
        let rate = Rate::unchecked(limit, per_ms, burst, algorithm);
        if !rate.is_valid() {
            return Err("its answer has a limit that is out of bounds");
        }
        let (remaining, retry_after_ns, reset_after_ns) = (self.number()?, self.number()?, self.number()?);
        let allowed = head & ALLOWED != 0;
        Ok(RateVerdict { rate, verdict: Verdict { allowed, remaining, retry_after_ns, reset_after_ns } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(allowed: bool, limit: u64, remaining: u64) -> Outcome {
        Outcome {
            allowed,
            cost: 3,
            limit,
            remaining,
            retry_after_ns: if allowed { 0 } else { u64::MAX },
            reset_after_ns: 600_000_000,
            reset_at_wall_ns: 1_795_483_444_228_087_487,
            verdicts: RateVerdicts::One(Rate::new(limit, 60_000, None, Algorithm::TokenBucket).unwrap()),
            seq: 7,
        }
    }

    fn three() -> Outcome {
        let verdict = |rate: u64, allowed| RateVerdict {
            rate: Rate::new(10 * rate, 1_000 * rate, None, Algorithm::ALL[usize::try_from(rate - 1).unwrap()]).unwrap(),
            verdict: Verdict { allowed, remaining: rate, retry_after_ns: 1 << rate, reset_after_ns: 128 },
        };
        let rates = [verdict(1, true), verdict(2, false), verdict(3, true)];
        Outcome { limit: 20, remaining: 2, verdicts: RateVerdicts::Each(rates.into()), ..one(false, 1, 0) }
    }

    fn multi(items: Vec<Outcome>) -> MultiOutcome {
        let denied = items.iter().position(|item| !item.allowed);
        MultiOutcome { allowed: denied.is_none(), denied, retry_after_ns: 127, items, seq: 7 }
    }

    #[test]
    fn answers_round_trip() {
        for outcome in [one(true, 100, 97), one(false, u64::MAX, 0), three()] {
            let mut bytes = Vec::new();
            push_one(&mut bytes, &outcome);
            let len = bytes.len();
            bytes.extend([0, 1]);
            assert_eq!(decode_answer(&bytes, 7), Ok((Answer::One(outcome), &[0, 1][..])));
            assert!((0..len).all(|cut| decode_answer(&bytes[..cut], 7).is_err()), "every part is needed");
        }
        for outcome in [multi(vec![one(true, 1, 0); 1_000]), multi(vec![one(true, 100, 3), three(), one(false, 5, 1)])]
        {
            let mut bytes = Vec::new();
            push_multi(&mut bytes, &outcome);
            assert_eq!(decode_answer(&bytes, 7), Ok((Answer::Multi(outcome), &[][..])));
        }
    }

    #[test]
    fn the_usual_answer_is_short() {
        let mut bytes = Vec::new();
        push_one(&mut bytes, &one(true, 100, 97));
        let wall = [0xbf, 0xbd, 0xbd, 0xea, 0xdf, 0xd5, 0xb5, 0xf5, 0x18];
        let rate = [0x80, 100, 0xe0, 0xd4, 0x03, 100, 97, 0, 0x80, 0x8c, 0x8d, 0x9e, 0x02];
        assert_eq!(bytes, [&[1, 0x81, 3], &wall[..], &rate].concat());
        assert_eq!(bytes.len(), 25);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let mut good = Vec::new();
        push_one(&mut good, &one(true, 100, 97));
        let edited = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            decode_answer(&bytes, 7).map(drop)
        };
        assert_eq!(edited(0, 3), Err("its answer is of an unknown form"));
        assert_eq!(edited(1, 0x80), Err("its answer has no rate or too many"));
        assert_eq!(edited(1, 0x89), Err("its answer has no rate or too many"));
        assert_eq!(edited(1, 0x01), Err("its answer contradicts itself"));
        assert_eq!(edited(12, 0x83), Err("its answer has an unknown algorithm"));
        assert_eq!(edited(13, 0), Err("its answer has a limit that is out of bounds"));
        for (number, value) in [
            (vec![0x80, 0x00], None),
            (vec![0x00], Some(0)),
            (vec![0xff; 10], None),
            ([vec![0xff; 9], vec![0x01]].concat(), Some(u64::MAX)),
            ([vec![0xff; 9], vec![0x02]].concat(), None),
            ([vec![0xff; 9], vec![0x81, 0x00]].concat(), None),
        ] {
            assert_eq!(Cursor(&number).number().ok(), value, "{number:?}");
        }
        assert!(decode_answer(&[MULTI, 0, 0], 7).is_err());
        assert!(
            decode_answer(&[&[MULTI, 0, 200, 1][..], &[0; 300]].concat(), 7).is_err(),
            "more than there is room for"
        );
    }
}
