//! Appending bodies to a record that `frame::begin` started. Every body is a multiple of eight bytes long.

use super::op::{ConfigureOp, Denial, EventOp, IdempotencyOp, Purpose};
use crate::algorithm::AfterImage;
use crate::image::{Origin, RateChange, Source};
use crate::log::frame::{Kind, WORD};
use crate::log::record::decode::{NEW_RATE, ORIGIN_CALL, ORIGIN_EXPLICIT, RATE_LEN};

/// Appends an allowed check of a key with one rate: the hot path.
#[inline]
pub fn push_allow_one(buf: &mut Vec<u8>, id: u64, cost: u64, image: AfterImage) {
    let mut body = [0; 32];
    body[..8].copy_from_slice(&id.to_le_bytes());
    body[8..16].copy_from_slice(&cost.to_le_bytes());
    body[16..].copy_from_slice(&image);
    buf.extend_from_slice(&body);
}

/// Appends an allowed check: one image for each of the key's rates.
#[inline]
pub fn push_allow(buf: &mut Vec<u8>, id: u64, cost: u64, images: &[AfterImage]) {
    if let [image] = images {
        return push_allow_one(buf, id, cost, *image);
    }
    push_words(buf, [id, cost]);
    buf.extend_from_slice(images.as_flattened());
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

/// Appends a refill.
pub fn push_reset(buf: &mut Vec<u8>, id: u64) {
    push_words(buf, [id]);
}

/// Appends a removal.
pub fn push_delete(buf: &mut Vec<u8>, id: u64) {
    push_words(buf, [id]);
}

/// Appends denial totals.
pub fn push_denials(buf: &mut Vec<u8>, denials: &[Denial]) {
    push_words(buf, [denials.len() as u64]);
    for d in denials {
        push_words(buf, [d.id, d.denied, d.denied_cost, d.last_denied_ns, d.delta, d.delta_cost]);
    }
}

/// Appends an anchor: the wall time, in nanoseconds since the Unix epoch, at the record's engine time.
pub fn push_anchor(buf: &mut Vec<u8>, wall_ns: u64) {
    push_words(buf, [wall_ns]);
}

/// Appends the mark of a published snapshot.
pub fn push_snapshot_mark(buf: &mut Vec<u8>, start: u64, end: u64) {
    push_words(buf, [start, end]);
}

/// Appends the answer of a call that may be repeated.
pub fn push_idempotency(buf: &mut Vec<u8>, receipt: &IdempotencyOp<'_>) {
    buf.extend_from_slice(&receipt.call.id);
    buf.extend_from_slice(&receipt.call.fingerprint);
    push_padded(buf, receipt.answer);
}

/// Appends a history event of an old release.
///
/// # Panics
/// With a key over 65,535 bytes.
pub fn push_event(buf: &mut Vec<u8>, event: &EventOp<'_>) {
    let [len_low, len_high] = key_len(event.key).to_le_bytes();
    let head = u64::from_le_bytes([event.kind, 0, len_low, len_high, 0, 0, 0, 0]);
    push_words(buf, [head, event.cost, event.count]);
    push_padded(buf, event.key.as_bytes());
}

/// Writes a group: several operations under one checksum.
#[derive(Debug)]
#[must_use = "a group is unreadable until it is finished"]
pub struct GroupWriter {
    /// Where the group's head is in the buffer.
    at: usize,
    purpose: Purpose,
    count: u32,
}

impl GroupWriter {
    /// Appends the head of a group.
    pub fn begin(buf: &mut Vec<u8>, purpose: Purpose) -> Self {
        let at = buf.len();
        push_words(buf, [0]);
        Self { at, purpose, count: 0 }
    }

    /// Appends one operation, whose body `push` appends with the function that belongs to `kind`: Allow or
    /// Configure, or at last Receipt.
    ///
    /// # Panics
    /// If `push` appends more than a record may hold.
    #[inline]
    pub fn op(&mut self, buf: &mut Vec<u8>, kind: Kind, push: impl FnOnce(&mut Vec<u8>)) {
        debug_assert!(matches!(kind, Kind::Allow | Kind::Configure | Kind::Idempotency), "{kind:?} in a group");
        let at = buf.len();
        push_words(buf, [0]);
        push(buf);
        let words = (buf.len() - at - WORD) / WORD;
        let words = u32::try_from(words).ok().filter(|&words| words < 1 << 24).expect("a body fits a record");
        buf[at..at + 4].copy_from_slice(&(u32::from(kind.code()) | words << 8).to_le_bytes());
        self.count += 1;
    }

    /// Number of operations so far.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Fills in the group's head.
    pub fn finish(self, buf: &mut [u8]) {
        let head = u64::from(self.count) | u64::from(self.purpose as u32) << 32;
        buf[self.at..self.at + WORD].copy_from_slice(&head.to_le_bytes());
    }
}

fn key_len(key: &str) -> u16 {
    u16::try_from(key.len()).expect("a key's length fits 16 bits")
}

#[inline]
fn push_words<const N: usize>(buf: &mut Vec<u8>, words: [u64; N]) {
    buf.extend_from_slice(words.map(u64::to_le_bytes).as_flattened());
}

fn push_padded(buf: &mut Vec<u8>, bytes: &[u8]) {
    buf.extend_from_slice(bytes);
    buf.resize(buf.len() + (bytes.len().next_multiple_of(WORD) - bytes.len()), 0);
}
