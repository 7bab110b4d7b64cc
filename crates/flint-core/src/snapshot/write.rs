//! Writing a snapshot.

use sha2::{Digest, Sha256};

use super::{
    ANSWER, ANSWER_SEQ, ANSWERS, AT_NS, CLOSE, CLOSE_STRING, END, ENGINE_NS, FEATURES, FINGERPRINT, FORMAT, Header, ID,
    IDEMPOTENCY, KEY, KEYS, KNOWN_FEATURES, MIGRATED, NEXT_ID, ORIGIN_CALL, OUT_OF_BOUNDS, RATES, RELEASE,
    RELEASE_SHA256, SEQ, SHA256, START, STATE, STORE, TOTALS, USED, VERSION, WALL_NS,
};
use crate::hooks::{self, Defect};
use crate::idempotency::IdempotencyRecord;
use crate::image::{KeyImage, LastUse, Origin, Totals};
use crate::limit::Rate;

/// Turns images into the bytes of a snapshot file. It touches no file: the caller writes the chunks one after the other.
pub struct Writer {
    hash: Sha256,
    buf: Vec<u8>,
    keys: u64,
    answers: u64,
    start: u64,
    max_id: u64,
    max_seq: u64,
}

impl Writer {
    /// A writer whose first chunk starts with `header`.
    pub fn new(header: &Header) -> Self {
        let mut writer = Self {
            hash: Sha256::new(),
            buf: Vec::new(),
            keys: 0,
            answers: 0,
            start: header.start,
            max_id: 0,
            max_seq: header.start,
        };
        push_header(&mut writer.buf, header);
        writer
    }

    /// Adds one counter. Nothing checks here that ids and keys are unique.
    pub fn push(&mut self, image: &KeyImage) {
        debug_assert_eq!(image.rates.len(), image.states.len());
        debug_assert_eq!(self.answers, 0, "keys come first");
        self.keys += 1;
        self.max_id = self.max_id.max(image.id);
        self.max_seq = self.max_seq.max(image.seq);
        push_image(&mut self.buf, image);
    }

    /// Adds a remembered answer, behind all keys. Answers come in order, and none is of a record behind the start.
    pub fn push_idempotency(&mut self, record: &IdempotencyRecord<'_>) {
        debug_assert!(record.seq <= self.start, "the answer of record {}, beyond the start", record.seq);
        self.answers += 1;
        let buf = &mut self.buf;
        buf.extend_from_slice(IDEMPOTENCY);
        push_hex(buf, &record.call.id);
        buf.extend_from_slice(FINGERPRINT);
        push_hex(buf, &record.call.fingerprint);
        push_number_field(buf, ANSWER_SEQ, record.seq);
        push_number_field(buf, AT_NS, record.at_ns);
        buf.extend_from_slice(ANSWER);
        push_hex(buf, record.answer);
        buf.extend_from_slice(CLOSE_STRING);
    }

    /// Bytes waiting for [`Self::take_chunk`].
    pub fn pending_bytes(&self) -> usize {
        self.buf.len()
    }

    /// The bytes since the last chunk, to be appended to the file.
    pub fn take_chunk(&mut self) -> Vec<u8> {
        self.hash.update(&self.buf);
        let next = Vec::with_capacity(self.buf.len());
        std::mem::replace(&mut self.buf, next)
    }

    /// The last chunk. `end` is the newest sequence number that any image may include, `next_id` the first id never given
    /// out.
    ///
    /// # Panics
    /// When a pushed image has a sequence number above `end` or an id from `next_id` on: such a file would be refused when
    /// it is read, so it must not replace anything.
    pub fn finish(mut self, end: u64, next_id: u64) -> Vec<u8> {
        assert!(self.max_seq <= end, "snapshot: an image includes record {}, beyond the end {end}", self.max_seq);
        assert!(self.max_id < next_id, "snapshot: id {} is not below next_id {next_id}", self.max_id);
        push_number_field(&mut self.buf, END, end);
        push_number_field(&mut self.buf, NEXT_ID, next_id);
        push_number_field(&mut self.buf, KEYS, self.keys);
        if self.answers > 0 {
            push_number_field(&mut self.buf, ANSWERS, self.answers);
        }
        self.buf.extend_from_slice(SHA256);
        self.hash.update(&self.buf);
        let digest: [u8; 32] = self.hash.finalize().into();
        push_hex(&mut self.buf, &digest);
        self.buf.extend_from_slice(CLOSE_STRING);
        self.buf
    }
}

fn push_header(buf: &mut Vec<u8>, header: &Header) {
    push_number_field(buf, FORMAT, VERSION);
    push_number_field(buf, FEATURES, KNOWN_FEATURES);
    buf.extend_from_slice(STORE);
    push_hex(buf, &header.store_id.to_be_bytes());
    push_number_field(buf, START, header.start);
    push_number_field(buf, ENGINE_NS, header.engine_ns);
    push_number_field(buf, WALL_NS, header.wall_ns);
    buf.extend_from_slice(MIGRATED);
    match &header.migrated {
        None => buf.extend_from_slice(b"null"),
        Some(from) => {
            buf.extend_from_slice(RELEASE);
            buf.extend_from_slice(from.release.as_bytes());
            buf.extend_from_slice(RELEASE_SHA256);
            push_hex(buf, &from.sha256);
            buf.extend_from_slice(b"\"}");
        }
    }
    buf.extend_from_slice(CLOSE);
}

fn push_image(buf: &mut Vec<u8>, image: &KeyImage) {
    push_number_field(buf, ID, image.id);
    push_number_field(buf, SEQ, image.seq);
    buf.extend_from_slice(KEY);
    push_escaped(buf, &image.key);
    buf.push(b'"');
    if image.origin == Origin::Call {
        buf.extend_from_slice(ORIGIN_CALL);
        let LastUse { seq, nth } = image.used;
        if (seq, nth) != (image.seq, 0) && !hooks::has(Defect::ForgetLastUse) {
            buf.extend_from_slice(USED);
            push_u64(buf, seq);
            buf.push(b',');
            push_u64(buf, u64::from(nth));
            buf.push(b']');
        }
    }
    if image.out_of_bounds {
        buf.extend_from_slice(OUT_OF_BOUNDS);
    }
    buf.extend_from_slice(RATES);
    for (i, rate) in image.rates.iter().enumerate() {
        separate(buf, i);
        push_rate(buf, rate);
    }
    buf.push(b']');
    buf.extend_from_slice(STATE);
    for (i, state) in image.states.iter().enumerate() {
        separate(buf, i);
        push_state(buf, state);
    }
    buf.push(b']');
    if image.totals != Totals::default() {
        let t = &image.totals;
        buf.extend_from_slice(TOTALS);
        let values =
            [t.allowed, t.allowed_cost, t.denied, t.denied_cost, t.last_allowed_ns, t.last_denied_ns, t.last_reset_ns];
        for (i, value) in values.into_iter().enumerate() {
            separate(buf, i);
            push_u64(buf, value);
        }
        buf.push(b']');
    }
    buf.extend_from_slice(CLOSE);
}

fn push_rate(buf: &mut Vec<u8>, rate: &Rate) {
    buf.extend_from_slice(b"[\"");
    buf.extend_from_slice(rate.algorithm().name().as_bytes());
    buf.extend_from_slice(b"\",");
    push_u64(buf, rate.limit());
    buf.push(b',');
    push_u64(buf, rate.per_ms());
    if rate.algorithm().takes_burst() {
        buf.push(b',');
        push_u64(buf, rate.burst());
    }
    buf.push(b']');
}

fn push_state(buf: &mut Vec<u8>, numbers: &[u128]) {
    buf.push(b'[');
    for (i, &number) in numbers.iter().enumerate() {
        separate(buf, i);
        push_u128(buf, number);
    }
    buf.push(b']');
}

fn push_number_field(buf: &mut Vec<u8>, name: &[u8], value: u64) {
    buf.extend_from_slice(name);
    push_u64(buf, value);
}

#[inline]
fn separate(buf: &mut Vec<u8>, index: usize) {
    if index > 0 {
        buf.push(b',');
    }
}

/// The text between the quotes of a JSON string: `"`, `\` and U+0000 to U+001F are escaped, everything else is as it is.
fn push_escaped(buf: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let mut plain_from = 0;
    for (i, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        buf.extend_from_slice(&bytes[plain_from..i]);
        plain_from = i + 1;
        if byte < 0x20 {
            buf.extend_from_slice(b"\\u00");
            push_hex(buf, &[byte]);
        } else {
            buf.extend_from_slice(&[b'\\', byte]);
        }
    }
    buf.extend_from_slice(&bytes[plain_from..]);
}

/// Lower-case hexadecimal digits.
fn push_hex(buf: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for &byte in bytes {
        buf.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

/// "00" to "99", one after the other.
const PAIRS: [u8; 200] = {
    let mut pairs = [b'0'; 200];
    let mut number = 0_u8;
    while number < 100 {
        let at = number as usize * 2;
        pairs[at] += number / 10;
        pairs[at + 1] += number % 10;
        number += 1;
    }
    pairs
};

#[inline]
fn push_u64(buf: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    while value >= 10 {
        let pair = remainder_100(value) * 2;
        value /= 100;
        at -= 2;
        digits[at..at + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
    }
    // An even number of digits is complete; an odd one lacks the first.
    if value > 0 || at == digits.len() {
        at -= 1;
        digits[at] = PAIRS[remainder_100(value) * 2 + 1];
    }
    buf.extend_from_slice(&digits[at..]);
}

#[inline]
const fn remainder_100(value: u64) -> usize {
    (value % 100) as usize
}

fn push_u128(buf: &mut Vec<u8>, value: u128) {
    /// The largest power of ten in 64 bits.
    const HALF: u128 = 10_000_000_000_000_000_000;
    if let Ok(small) = u64::try_from(value) {
        return push_u64(buf, small);
    }
    push_u128(buf, value / HALF);
    let low = u64::try_from(value % HALF).unwrap_or(u64::MAX);
    let from = buf.len();
    push_u64(buf, low);
    let missing = 19 - (buf.len() - from);
    buf.splice(from..from, std::iter::repeat_n(b'0', missing));
}

#[cfg(test)]
pub(super) mod test_access {
    pub(in crate::snapshot) fn decimal(value: u128) -> String {
        let mut buf = Vec::new();
        super::push_u128(&mut buf, value);
        String::from_utf8(buf).unwrap()
    }
}
