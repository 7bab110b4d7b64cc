//! Kind Configure: a limit was set or changed.

use std::slice::ChunksExact;

use super::body::{PADDING, key_len, padded_key, push_padded, push_words};
use crate::algorithm::Algorithm;
use crate::image::{Origin, RateChange, Source};
use crate::limit::{MAX_RATES, Rate};
use crate::log::cursor::{Cursor, Malformed};
use crate::log::frame::WORD;

/// Bytes of one rate.
const RATE_LEN: usize = 5 * WORD;
/// Source code of a rate that starts afresh; every other code is the index of an old rate.
const NEW_RATE: u8 = 0xff;
/// Origin code of [`Origin::Explicit`].
const ORIGIN_EXPLICIT: u8 = 0;
/// Origin code of [`Origin::Call`].
const ORIGIN_CALL: u8 = 1;

/// A configuration to be written.
#[derive(Debug, Clone, Copy)]
pub struct ConfigureOp<'a> {
    /// The key's id.
    pub id: u64,
    /// The key.
    pub key: &'a str,
    /// Where the limit came from.
    pub origin: Origin,
    /// One to eight rates.
    pub rates: &'a [RateChange],
}

/// A configuration that was read.
#[derive(Debug, Clone, Copy)]
pub struct ConfigureRef<'a> {
    /// The key's id.
    pub id: u64,
    /// The key.
    pub key: &'a str,
    /// Where the limit came from.
    pub origin: Origin,
    rates: &'a [u8],
}

impl<'a> ConfigureRef<'a> {
    /// The rates, one to eight.
    pub fn rates(&self) -> Changes<'a> {
        Changes(self.rates.chunks_exact(RATE_LEN))
    }
}

/// The rates of a [`ConfigureRef`].
#[derive(Debug, Clone)]
pub struct Changes<'a>(ChunksExact<'a, u8>);

impl Iterator for Changes<'_> {
    type Item = RateChange;

    fn next(&mut self) -> Option<RateChange> {
        // `decode` has read every rate once: the error cannot happen.
        decode_rate(self.0.next()?).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for Changes<'_> {}

pub(super) fn decode(body: &[u8]) -> Result<ConfigureRef<'_>, Malformed> {
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
    Ok(ConfigureRef { id, key, origin, rates })
}

fn decode_rate(bytes: &[u8]) -> Result<RateChange, Malformed> {
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

/// Appends a configuration.
///
/// # Panics
/// With no rate or over 255, or a key over 65,535 bytes: limits and keys are validated before.
pub fn push_configure(buf: &mut Vec<u8>, op: &ConfigureOp<'_>) {
    let rates = u8::try_from(op.rates.len()).expect("a limit has at most eight rates");
    assert!(rates > 0, "a limit without a rate");
    let origin = match op.origin {
        Origin::Explicit => ORIGIN_EXPLICIT,
        Origin::Call => ORIGIN_CALL,
    };
    let [len_low, len_high] = key_len(op.key).to_le_bytes();
    push_words(buf, [op.id, u64::from_le_bytes([len_low, len_high, rates, origin, 0, 0, 0, 0])]);
    for change in op.rates {
        push_rate(buf, change);
    }
    push_padded(buf, op.key.as_bytes());
}

fn push_rate(buf: &mut Vec<u8>, RateChange { rate, source }: &RateChange) {
    let (source, carried) = match *source {
        Source::New { carried } => (NEW_RATE, carried),
        Source::Kept(index) => (index, 0),
    };
    let codes = u64::from_le_bytes([rate.algorithm().code(), source, 0, 0, 0, 0, 0, 0]);
    push_words::<{ RATE_LEN / WORD }>(buf, [rate.limit(), rate.per_ms(), rate.burst(), codes, carried]);
}
