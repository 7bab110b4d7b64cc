//! Reading bodies. Any bytes may come in; what does not make sense is refused, also where the checksum is right.

use super::op::{ConfigureRef, Denial, Denials, EVENT_KINDS, EventOp, GroupRef, IdempotencyOp, Malformed, Op, Purpose};
use crate::algorithm::AFTER_IMAGE_LEN;
use crate::idempotency::{CallId, decode_answer, is_multi};
use crate::image::{Origin, RateChange, Source};
use crate::limit::{Algorithm, MAX_RATES, Rate};
use crate::log::cursor::Cursor;
use crate::log::frame::{Kind, WORD};

/// Bytes of one rate in a Configure body.
pub(super) const RATE_LEN: usize = 5 * WORD;
/// Bytes of one key's totals in a Denials body.
pub(super) const DENIAL_LEN: usize = 6 * WORD;
/// Source code of a rate that starts afresh; every other code is the index of an old rate.
pub(super) const NEW_RATE: u8 = 0xff;
/// Origin code of [`Origin::Explicit`].
pub(super) const ORIGIN_EXPLICIT: u8 = 0;
/// Origin code of [`Origin::Call`].
pub(super) const ORIGIN_CALL: u8 = 1;

const PADDING: Malformed = "its padding is not zero";

/// Reads the body of a record of this kind, without the engine time.
///
/// # Errors
/// What does not make sense, to be reported as corruption: the checksum was right, so that nothing less than a faulty
/// writer can explain it.
#[inline]
pub fn decode(kind: Kind, body: &[u8]) -> Result<Op<'_>, Malformed> {
    match kind {
        Kind::Allow => decode_allow(body),
        Kind::Group => decode_group(body),
        _ => decode_rare(kind, body),
    }
}

#[inline]
fn decode_allow(body: &[u8]) -> Result<Op<'_>, Malformed> {
    let mut cursor = Cursor::new(body);
    let id = cursor.u64()?;
    let cost = cursor.u64()?;
    let images = cursor.rest();
    if images.is_empty() || !images.len().is_multiple_of(AFTER_IMAGE_LEN) || images.len() > MAX_RATES * AFTER_IMAGE_LEN
    {
        return Err("it has no, half or too many states");
    }
    Ok(Op::Allow { id, cost, images })
}

#[inline(never)]
fn decode_rare(kind: Kind, body: &[u8]) -> Result<Op<'_>, Malformed> {
    let mut cursor = Cursor::new(body);
    let op = match kind {
        Kind::Allow => return decode_allow(body),
        Kind::Group => return decode_group(body),
        Kind::Configure => return decode_configure(body),
        Kind::Event => return decode_event(body),
        Kind::Denials => return decode_denials(body),
        Kind::Reset => Op::Reset { id: cursor.u64()? },
        Kind::Delete => Op::Delete { id: cursor.u64()? },
        Kind::Anchor => Op::Anchor { wall_ns: cursor.u64()? },
        Kind::SnapshotMark => {
            let (start, end) = (cursor.u64()?, cursor.u64()?);
            if start > end {
                return Err("its snapshot starts after its end");
            }
            Op::SnapshotMark { start, end }
        }
        Kind::Close => Op::Close,
        Kind::Idempotency => return Err("a receipt stands alone"),
    };
    cursor.end()?;
    Ok(op)
}

fn decode_configure(body: &[u8]) -> Result<Op<'_>, Malformed> {
    let mut cursor = Cursor::new(body);
    let id = cursor.u64()?;
    let key_len = cursor.u16()?;
    let n_rates = usize::from(cursor.u8()?);
    let origin = match cursor.u8()? {
        ORIGIN_EXPLICIT => Origin::Explicit,
        ORIGIN_CALL => Origin::Call,
        _ => return Err("its limit has an unknown origin"),
    };
    if cursor.u32()? != 0 {
        return Err(PADDING);
    }
    if n_rates == 0 || n_rates > MAX_RATES {
        return Err("it has no rate or too many");
    }
    let rates = cursor.bytes(n_rates * RATE_LEN)?;
    for rate in rates.chunks_exact(RATE_LEN) {
        decode_rate(rate)?;
    }
    let key = padded_key(cursor, key_len)?;
    Ok(Op::Configure(ConfigureRef { id, key, origin, rates }))
}

pub(super) fn decode_rate(bytes: &[u8]) -> Result<RateChange, Malformed> {
    let mut cursor = Cursor::new(bytes);
    let (limit, per_ms, burst) = (cursor.u64()?, cursor.u64()?, cursor.u64()?);
    let algorithm = Algorithm::from_code(cursor.u8()?).ok_or("a rate's algorithm is unknown")?;
    let source = cursor.u8()?;
    if cursor.array::<6>()? != [0; 6] {
        return Err(PADDING);
    }
    let carried = cursor.u64()?;
    if limit == 0 || per_ms == 0 || burst == 0 {
        return Err("a rate's number is zero");
    }
    let source = match (source, carried) {
        (NEW_RATE, carried) => Source::New { carried },
        (index, 0) if usize::from(index) < MAX_RATES => Source::Kept(index),
        _ => return Err("a rate's state comes from nowhere"),
    };
    cursor.end()?;
    Ok(RateChange { rate: Rate::unchecked(limit, per_ms, burst, algorithm), source })
}

fn decode_denials(body: &[u8]) -> Result<Op<'_>, Malformed> {
    let mut cursor = Cursor::new(body);
    let count = cursor.u64()?;
    let denials = cursor.rest();
    if !denials.len().is_multiple_of(DENIAL_LEN) || (denials.len() / DENIAL_LEN) as u64 != count {
        return Err("its count does not fit its length");
    }
    Ok(Op::Denials(Denials(denials)))
}

pub(super) fn decode_denial(bytes: &[u8]) -> Result<Denial, Malformed> {
    let mut cursor = Cursor::new(bytes);
    Ok(Denial {
        id: cursor.u64()?,
        denied: cursor.u64()?,
        denied_cost: cursor.u64()?,
        last_denied_ns: cursor.u64()?,
        delta: cursor.u64()?,
        delta_cost: cursor.u64()?,
    })
}

fn decode_group(body: &[u8]) -> Result<Op<'_>, Malformed> {
    let mut cursor = Cursor::new(body);
    let count = cursor.u32()?;
    let purpose = match cursor.u32()? {
        1 => Purpose::LimitMany,
        2 => Purpose::CheckAll,
        3 => Purpose::CheckWithLimit,
        4 => Purpose::Check,
        _ => return Err("its purpose is unknown"),
    };
    let ops = cursor.rest();
    let mut cursor = Cursor::new(ops);
    let mut found = 0;
    let mut has_receipt = false;
    while !cursor.is_empty() {
        if has_receipt {
            return Err("something follows its receipt");
        }
        if let Op::Idempotency(receipt) = decode_group_op(&mut cursor)? {
            has_receipt = true;
            if purpose == Purpose::LimitMany || is_multi(receipt.answer) != (purpose == Purpose::CheckAll) {
                return Err("its receipt is of another call");
            }
        }
        found += 1;
    }
    if found != count {
        return Err("its count does not fit its operations");
    }
    Ok(Op::Group(GroupRef { purpose, count, has_receipt, ops }))
}

#[inline]
pub(super) fn decode_group_op<'a>(cursor: &mut Cursor<'a>) -> Result<Op<'a>, Malformed> {
    let kind_and_words = cursor.u32()?;
    if cursor.u32()? != 0 {
        return Err(PADDING);
    }
    let body = cursor.bytes((kind_and_words >> 8) as usize * WORD)?;
    let [code, ..] = kind_and_words.to_le_bytes();
    match Kind::from_code(code) {
        Some(Kind::Allow) => decode_allow(body),
        Some(Kind::Configure) => decode_configure(body),
        Some(Kind::Idempotency) => decode_receipt(body),
        _ => Err("it groups an operation that cannot be grouped"),
    }
}

fn decode_receipt(body: &[u8]) -> Result<Op<'_>, Malformed> {
    let mut cursor = Cursor::new(body);
    let call = CallId { id: cursor.array()?, fingerprint: cursor.array()? };
    let padded = cursor.rest();
    let (answer, padding) = decode_answer(padded, 0)?;
    if padding.len() >= WORD || padding.iter().any(|&byte| byte != 0) {
        return Err(PADDING);
    }
    if !answer.allowed() {
        return Err("its receipt is of a denied call");
    }
    Ok(Op::Idempotency(IdempotencyOp { call, answer: &padded[..padded.len() - padding.len()] }))
}

fn decode_event(body: &[u8]) -> Result<Op<'_>, Malformed> {
    let mut cursor = Cursor::new(body);
    let kind = cursor.u8()?;
    let zero = cursor.u8()?;
    let key_len = cursor.u16()?;
    if zero != 0 || cursor.u32()? != 0 {
        return Err(PADDING);
    }
    if kind >= EVENT_KINDS {
        return Err("its event is unknown");
    }
    let (cost, count) = (cursor.u64()?, cursor.u64()?);
    let key = padded_key(cursor, key_len)?;
    Ok(Op::Event(EventOp { kind, key, cost, count }))
}

/// The key at the end of a body, padded with zeros.
fn padded_key(mut cursor: Cursor<'_>, len: u16) -> Result<&str, Malformed> {
    let len = usize::from(len);
    let key = std::str::from_utf8(cursor.bytes(len)?).map_err(|_| "its key is not UTF-8")?;
    if cursor.bytes(len.next_multiple_of(WORD) - len)?.iter().any(|&byte| byte != 0) {
        return Err(PADDING);
    }
    cursor.end()?;
    Ok(key)
}
