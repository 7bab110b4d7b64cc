//! Parsing of single lines, in the one form that the writer produces.

use super::{
    ANSWER, ANSWER_SEQ, ANSWERS, AT_NS, CLOSE, CLOSE_STRING, END, ENGINE_NS, FEATURES, FINGERPRINT, FORMAT, Header, ID,
    IDEMPOTENCY, KEY, KEYS, MIGRATED, Migrated, NEXT_ID, ORIGIN_CALL, OUT_OF_BOUNDS, RATES, RELEASE, RELEASE_SHA256,
    RELEASES, SEQ, SHA256, START, STATE, STORE, TOTALS, Trailer, USED, VERSION_WITH_USE, WALL_NS,
};
use crate::algorithm::{Algorithm, Numbers};
use crate::idempotency::{CallId, IdempotencyRecord, decode_answer};
use crate::image::{KeyImage, LastUse, Origin, Totals};
use crate::limit::{Key, MAX_OLD_KEY_BYTES, MAX_RATES, Rate};

/// Numbers of a state whose limit is out of bounds, as old releases accepted it: 16 million runs of a sliding log.
const MAX_OLD_NUMBERS: usize = 1 << 25;

/// Why a line was refused, and where the cursor was then.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) at: usize,
    pub(super) detail: &'static str,
}

type Parsed<T> = Result<T, Fault>;

/// A position in bytes that hold whole lines. Every method stops at the end of the bytes.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// Whether a trailer starts here.
    pub(super) fn is_at_trailer(&self) -> bool {
        self.bytes[self.at..].starts_with(END)
    }

    /// Whether a remembered answer starts here.
    pub(super) fn is_at_answer(&self) -> bool {
        self.bytes[self.at..].starts_with(IDEMPOTENCY)
    }

    fn fault<T>(&self, detail: &'static str) -> Parsed<T> {
        Err(Fault { at: self.at, detail })
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[inline]
    fn take(&mut self, text: &[u8]) -> bool {
        let found = self.bytes[self.at..].starts_with(text);
        if found {
            self.at += text.len();
        }
        found
    }

    #[inline]
    fn expect(&mut self, text: &[u8]) -> Parsed<()> {
        if self.take(text) { Ok(()) } else { self.fault("not the text that belongs here") }
    }

    #[inline]
    fn digit(&self) -> Option<u8> {
        self.peek().map(|byte| byte.wrapping_sub(b'0')).filter(|&digit| digit < 10)
    }

    /// A number without sign, leading zeros, fraction or exponent. What follows is the caller's to check, which is what
    /// refuses the rest of "01" and "1.0".
    #[inline]
    fn u64(&mut self) -> Parsed<u64> {
        let Some(first) = self.digit() else { return self.fault("not a number") };
        self.at += 1;
        let mut value = u64::from(first);
        if first == 0 {
            return Ok(0);
        }
        while let Some(digit) = self.digit() {
            let Some(next) = value.checked_mul(10).and_then(|v| v.checked_add(u64::from(digit))) else {
                return self.fault("a number over 64 bits");
            };
            value = next;
            self.at += 1;
        }
        Ok(value)
    }

    fn u128(&mut self) -> Parsed<u128> {
        let from = self.at;
        if let Ok(small) = self.u64() {
            return Ok(u128::from(small));
        }
        self.at = from;
        let mut value = 0u128;
        while let Some(digit) = self.digit() {
            let Some(next) = value.checked_mul(10).and_then(|v| v.checked_add(u128::from(digit))) else {
                return self.fault("a number over 128 bits");
            };
            value = next;
            self.at += 1;
        }
        if self.at == from { self.fault("not a number") } else { Ok(value) }
    }

    #[inline]
    fn number_field(&mut self, name: &[u8]) -> Parsed<u64> {
        self.expect(name)?;
        self.u64()
    }

    /// `N` bytes as lower-case hexadecimal digits.
    fn hex<const N: usize>(&mut self) -> Parsed<[u8; N]> {
        let mut out = [0; N];
        for byte in &mut out {
            *byte = self.hex_digit()? << 4 | self.hex_digit()?;
        }
        Ok(out)
    }

    fn hex_digit(&mut self) -> Parsed<u8> {
        let value = match self.peek() {
            Some(digit @ b'0'..=b'9') => digit - b'0',
            Some(digit @ b'a'..=b'f') => digit - b'a' + 10,
            _ => return self.fault("not a lower-case hexadecimal digit"),
        };
        self.at += 1;
        Ok(value)
    }

    /// The rest of a string, up to and with the closing quote.
    fn string(&mut self, out: &mut String) -> Parsed<()> {
        out.clear();
        loop {
            let rest = &self.bytes[self.at..];
            let plain = rest.iter().position(|&b| b < 0x20 || b == b'"' || b == b'\\');
            let Some(plain) = plain else { return self.fault("a string without an end") };
            match std::str::from_utf8(&rest[..plain]) {
                Ok(text) => out.push_str(text),
                Err(error) => {
                    self.at += error.valid_up_to();
                    return self.fault("not UTF-8");
                }
            }
            self.at += plain;
            if self.take(b"\"") {
                return Ok(());
            }
            out.push(self.escape()?);
        }
    }

    fn escape(&mut self) -> Parsed<char> {
        if self.take(b"\\\"") {
            return Ok('"');
        }
        if self.take(b"\\\\") {
            return Ok('\\');
        }
        let from = self.at;
        if self.take(b"\\u00") {
            let [byte] = self.hex::<1>()?;
            if byte < 0x20 {
                return Ok(char::from(byte));
            }
        }
        self.at = from;
        self.fault("a control character or an escape that is never written")
    }

    /// The version and feature bits, which every version keeps in front.
    pub(super) fn version_and_features(&mut self) -> Parsed<(u64, u64)> {
        Ok((self.number_field(FORMAT)?, self.number_field(FEATURES)?))
    }

    /// The rest of the header line.
    pub(super) fn header(&mut self) -> Parsed<Header> {
        self.expect(STORE)?;
        let store_id = u64::from_be_bytes(self.hex()?);
        let start = self.number_field(START)?;
        let engine_ns = self.number_field(ENGINE_NS)?;
        let wall_ns = self.number_field(WALL_NS)?;
        self.expect(MIGRATED)?;
        let migrated = if self.take(b"null") { None } else { Some(self.migrated()?) };
        self.expect(CLOSE)?;
        Ok(Header { store_id, start, engine_ns, wall_ns, migrated })
    }

    fn migrated(&mut self) -> Parsed<Migrated> {
        self.expect(RELEASE)?;
        let Some(release) = RELEASES.into_iter().find(|name| self.take(name.as_bytes())) else {
            return self.fault("not a release that can be migrated");
        };
        self.expect(RELEASE_SHA256)?;
        let sha256 = self.hex()?;
        self.expect(b"\"}")?;
        Ok(Migrated { release, sha256 })
    }

    /// A whole trailer line; also the position of the digits of its SHA-256.
    pub(super) fn trailer(&mut self) -> Parsed<(Trailer, usize)> {
        let end = self.number_field(END)?;
        let next_id = self.number_field(NEXT_ID)?;
        let keys = self.number_field(KEYS)?;
        let counted = self.take(ANSWERS);
        let answers = if counted { self.u64()? } else { 0 };
        if counted && answers == 0 {
            return self.fault("a number of answers that should have been left out");
        }
        self.expect(SHA256)?;
        let digits_at = self.at;
        let sha256 = self.hex()?;
        self.expect(CLOSE_STRING)?;
        Ok((Trailer { end, next_id, keys, answers, sha256 }, digits_at))
    }

    /// A whole line of a remembered answer, whose bytes go into `answer`.
    pub(super) fn answer<'b>(&mut self, answer: &'b mut Vec<u8>) -> Parsed<IdempotencyRecord<'b>> {
        self.expect(IDEMPOTENCY)?;
        let id = self.hex()?;
        self.expect(FINGERPRINT)?;
        let fingerprint = self.hex()?;
        let seq = self.number_field(ANSWER_SEQ)?;
        let at_ns = self.number_field(AT_NS)?;
        self.expect(ANSWER)?;
        answer.clear();
        while self.peek() != Some(b'"') {
            answer.push(self.hex_digit()? << 4 | self.hex_digit()?);
        }
        match decode_answer(answer, seq) {
            Ok((decoded, [])) if decoded.allowed() => {}
            _ => return self.fault("not the answer of an allowed call"),
        }
        self.expect(CLOSE_STRING)?;
        Ok(IdempotencyRecord { call: CallId { id, fingerprint }, seq, at_ns, answer })
    }

    /// A whole key line of a snapshot of this version. Every field of `image` is overwritten; its allocations are used again.
    pub(super) fn image(&mut self, version: u64, image: &mut KeyImage) -> Parsed<()> {
        image.id = self.number_field(ID)?;
        image.seq = self.number_field(SEQ)?;
        self.expect(KEY)?;
        self.string(&mut image.key)?;
        image.origin = if self.take(ORIGIN_CALL) { Origin::Call } else { Origin::Explicit };
        image.used = match image.origin {
            Origin::Explicit => LastUse::default(),
            Origin::Call if version >= VERSION_WITH_USE && self.take(USED) => self.last_use(image.seq)?,
            Origin::Call => LastUse { seq: image.seq, nth: 0 },
        };
        image.out_of_bounds = self.take(OUT_OF_BOUNDS);
        // Only old releases accepted other keys.
        if image.key.len() > MAX_OLD_KEY_BYTES || !image.out_of_bounds && Key::new(&image.key).is_err() {
            return self.fault("a key that is empty or too long");
        }
        self.expect(RATES)?;
        image.rates.clear();
        loop {
            let rate = self.rate(image.out_of_bounds)?;
            image.rates.push(rate);
            if !self.take(b",") {
                break;
            }
            if image.rates.len() == MAX_RATES {
                return self.fault("too many rates");
            }
        }
        self.expect(b"]")?;
        self.expect(STATE)?;
        image.states.resize_with(image.rates.len(), Numbers::new);
        for (i, (rate, state)) in image.rates.iter().zip(&mut image.states).enumerate() {
            if i > 0 {
                self.expect(b",")?;
            }
            self.state(rate, state)?;
        }
        self.expect(b"]")?;
        image.totals = if self.take(TOTALS) { self.totals()? } else { Totals::default() };
        self.expect(CLOSE)
    }

    /// The record of the newest consumption, where it is not the newest of all, and the position in it.
    fn last_use(&mut self, newest: u64) -> Parsed<LastUse> {
        let (seq, nth) = (self.u64()?, self.number_field(b",")?);
        self.expect(b"]")?;
        match u16::try_from(nth) {
            Ok(nth) if seq < newest || seq == newest && nth > 0 => Ok(LastUse { seq, nth }),
            _ => self.fault("a last use that should have been left out, or is impossible"),
        }
    }

    fn rate(&mut self, out_of_bounds: bool) -> Parsed<Rate> {
        self.expect(b"[\"")?;
        let named = |algorithm: &Algorithm| self.bytes[self.at..].starts_with(algorithm.name().as_bytes());
        let Some(algorithm) = Algorithm::ALL.into_iter().find(named) else {
            return self.fault("not a rate with a known algorithm");
        };
        self.at += algorithm.name().len();
        self.expect(b"\",")?;
        let limit = self.u64()?;
        let per_ms = self.number_field(b",")?;
        let burst = if algorithm.takes_burst() { self.number_field(b",")? } else { limit };
        self.expect(b"]")?;
        let rate = Rate::unchecked(limit, per_ms, burst, algorithm);
        if !out_of_bounds && !rate.is_valid() {
            return self.fault("a rate that is out of bounds and not marked so");
        }
        Ok(rate)
    }

    /// The state of a rate: a list of numbers, as many as its algorithm has.
    fn state(&mut self, rate: &Rate, numbers: &mut Numbers) -> Parsed<()> {
        let algorithm = rate.algorithm();
        let most = if rate.is_valid() { algorithm.max_numbers() } else { MAX_OLD_NUMBERS };
        self.expect(b"[")?;
        numbers.clear();
        if self.peek() != Some(b']') {
            numbers.push(self.u128()?);
            while self.take(b",") {
                if numbers.len() == most {
                    return self.fault("more numbers than a state has");
                }
                numbers.push(self.u128()?);
            }
        }
        if !algorithm.accepts(numbers) {
            return self.fault("not the state that belongs to the algorithm");
        }
        self.expect(b"]")
    }

    fn totals(&mut self) -> Parsed<Totals> {
        let totals = Totals {
            allowed: self.u64()?,
            allowed_cost: self.number_field(b",")?,
            denied: self.number_field(b",")?,
            denied_cost: self.number_field(b",")?,
            last_allowed_ns: self.number_field(b",")?,
            last_denied_ns: self.number_field(b",")?,
            last_reset_ns: self.number_field(b",")?,
        };
        if totals == Totals::default() {
            return self.fault("totals that should have been left out");
        }
        self.expect(b"]")?;
        Ok(totals)
    }
}

/// The digest at the very end of a file, in whatever version.
pub(super) fn sha256_tail(tail: &[u8]) -> Option<[u8; 32]> {
    let mut cursor = Cursor::new(tail);
    let digest = cursor.hex().ok()?;
    cursor.expect(CLOSE_STRING).ok()?;
    cursor.is_at_end().then_some(digest)
}
