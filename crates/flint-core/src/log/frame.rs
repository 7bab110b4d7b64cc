//! The frame around every record: length, sequence number, what was synced, and two checksums that make a record verifiable
//! alone and chain it to its predecessor.

/// Bytes of a record's header.
pub const HEADER_LEN: usize = 24;
/// The shortest record: header and engine time.
pub const MIN_RECORD_LEN: usize = HEADER_LEN + 8;
/// The longest record: its length in words has 24 bits.
pub const MAX_RECORD_LEN: usize = U24_MAX as usize * WORD;
/// Records start and end at multiples of this.
pub const WORD: usize = 8;

const U24_MAX: u32 = (1 << 24) - 1;

/// What a record does. The codes are part of the format.
///
/// Reserved, never written and refused when met: 32 policy, 33 lease.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// One allowed check of a counter.
    Allow = 1,
    /// A counter's limit, new or changed.
    Configure = 2,
    /// A counter refilled.
    Reset = 3,
    /// A counter removed.
    Delete = 4,
    /// Denial totals.
    Denials = 5,
    /// Several operations, applied whole or not at all.
    Group = 6,
    /// Wall time at an engine time.
    Anchor = 7,
    /// A snapshot was published.
    SnapshotMark = 8,
    /// The writer closed: everything before is on disk.
    Close = 9,
    /// History carried over from an old release.
    Event = 10,
    /// The totals of a counter after those of others were added. It occurs in a Group alone.
    Totals = 11,
    /// The answer of a call that may be repeated. It occurs in a Group alone, never in a record of its own.
    Idempotency = 34,
}

impl Kind {
    /// The kind of a code; `None` for reserved and unknown ones.
    #[inline]
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Allow,
            2 => Self::Configure,
            3 => Self::Reset,
            4 => Self::Delete,
            5 => Self::Denials,
            6 => Self::Group,
            7 => Self::Anchor,
            8 => Self::SnapshotMark,
            9 => Self::Close,
            10 => Self::Event,
            11 => Self::Totals,
            34 => Self::Idempotency,
            _ => return None,
        })
    }

    /// The code in the file.
    #[inline]
    pub const fn code(self) -> u8 {
        self as u8
    }
}

/// What the writer says of a record besides its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Number of the record in the log, from 1.
    pub seq: u64,
    /// CRC of the record before it, also across segments; 0 for the first of the log.
    pub prev_crc: u32,
    /// Everything up to here was on disk when the record was written; at most `seq`.
    pub durable_seq: u64,
    /// What the payload holds.
    pub kind: Kind,
    /// No flag is defined: 0.
    pub flags: u8,
}

/// The seed of all checksums in a segment: bytes of another store or segment never verify.
pub fn seed(store_id: u64, first_seq: u64) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&store_id.to_le_bytes()), &first_seq.to_le_bytes())
}

/// Starts a record in `buf`, dropping what it held: room for the header, then the engine time. The body follows.
#[inline]
pub fn begin(buf: &mut Vec<u8>, now_ns: u64) {
    let mut start = [0; MIN_RECORD_LEN];
    start[HEADER_LEN..].copy_from_slice(&now_ns.to_le_bytes());
    buf.clear();
    buf.extend_from_slice(&start);
}

/// Completes the record that [`begin`] started: pads it and fills in the header. Returns the record's CRC, which the next
/// record refers to.
///
/// # Panics
/// If [`begin`] did not start `buf`, or it is longer than [`MAX_RECORD_LEN`]: the writer bounds its groups before it appends.
#[inline]
pub fn finish(buf: &mut Vec<u8>, seed: u32, head: &Head) -> u32 {
    if !buf.len().is_multiple_of(WORD) {
        buf.resize(buf.len().next_multiple_of(WORD), 0);
    }
    assert!((MIN_RECORD_LEN..=MAX_RECORD_LEN).contains(&buf.len()), "a record of {} bytes", buf.len());
    #[expect(clippy::cast_possible_truncation, reason = "at most MAX_RECORD_LEN / 8 = 2^24 - 1")]
    let words = (buf.len() / WORD) as u32;
    debug_assert!(head.seq > 0 && head.durable_seq <= head.seq, "{head:?}");
    // A lag that does not fit reads as "nothing known", the safe side.
    let lag = u32::try_from(head.seq.saturating_sub(head.durable_seq)).map_or(U24_MAX, |lag| lag.min(U24_MAX));
    let kind_and_words = u32::from(head.kind.code()) | words << 8;
    let flags_and_lag = u32::from(head.flags) | lag << 8;
    buf[4..8].copy_from_slice(&head.prev_crc.to_le_bytes());
    buf[8..16].copy_from_slice(&head.seq.to_le_bytes());
    buf[16..20].copy_from_slice(&kind_and_words.to_le_bytes());
    buf[20..24].copy_from_slice(&flags_and_lag.to_le_bytes());
    let crc = crc32c::crc32c_append(seed, &buf[4..]);
    buf[..4].copy_from_slice(&crc.to_le_bytes());
    crc
}

/// A header's fields, unverified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RawHeader {
    pub(super) crc: u32,
    pub(super) prev_crc: u32,
    pub(super) seq: u64,
    pub(super) kind_code: u8,
    pub(super) flags: u8,
    /// Bytes of the whole record.
    pub(super) len: usize,
    /// Highest sequence number known synced; 0 when the lag did not fit.
    pub(super) durable_seq: u64,
}

impl RawHeader {
    #[inline]
    pub(super) fn read(bytes: &[u8; HEADER_LEN]) -> Self {
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let seq = u64::from(word(8)) | u64::from(word(12)) << 32;
        let lag = word(20) >> 8;
        Self {
            crc: word(0),
            prev_crc: word(4),
            seq,
            kind_code: bytes[16],
            flags: bytes[20],
            len: (word(16) >> 8) as usize * WORD,
            durable_seq: if lag == U24_MAX { 0 } else { seq.saturating_sub(u64::from(lag)) },
        }
    }

    /// Whether `bytes`, which start with this header, are a whole record with the right checksum; says why not.
    #[inline]
    pub(super) fn verify(&self, bytes: &[u8], seed: u32) -> Result<(), &'static str> {
        self.verify_with(bytes.len(), |len| crc32c::crc32c_append(seed, &bytes[4..len]))
    }

    /// The same for a record in `room` bytes; `crc_up_to` returns the checksum from its fifth byte to the end of its length.
    #[inline]
    pub(super) fn verify_with(&self, room: usize, crc_up_to: impl FnOnce(usize) -> u32) -> Result<(), &'static str> {
        if self.len < MIN_RECORD_LEN {
            return Err("the record's length is impossible");
        }
        if self.len > room {
            return Err("the record is longer than the room for records");
        }
        if crc_up_to(self.len) != self.crc {
            return Err("the record's checksum does not match");
        }
        if self.seq == 0 {
            return Err("the record has no sequence number");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Head = Head { seq: 420, prev_crc: 0x0a0b_0c0d, durable_seq: 417, kind: Kind::Reset, flags: 0 };

    fn record(head: &Head, body: &[u8]) -> (Vec<u8>, u32) {
        let mut buf = Vec::new();
        begin(&mut buf, 0x1122);
        buf.extend_from_slice(body);
        let crc = finish(&mut buf, 99, head);
        (buf, crc)
    }

    fn header(bytes: &[u8]) -> RawHeader {
        RawHeader::read(bytes.first_chunk().unwrap())
    }

    #[test]
    fn the_bytes_are_as_documented() {
        let (bytes, crc) = record(&HEAD, &[7, 8]);
        assert_eq!(bytes.len(), 40);
        assert_eq!(bytes[..4], crc32c::crc32c_append(99, &bytes[4..]).to_le_bytes());
        assert_eq!(bytes[..4], crc.to_le_bytes());
        assert_eq!(bytes[4..8], [0x0d, 0x0c, 0x0b, 0x0a]);
        assert_eq!(bytes[8..16], [0xa4, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[16..20], [3, 5, 0, 0], "kind, then the length in words");
        assert_eq!(bytes[20..24], [0, 3, 0, 0], "flags, then the lag");
        assert_eq!(bytes[24..32], [0x22, 0x11, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[32..40], [7, 8, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn headers_round_trip() {
        let (bytes, crc) = record(&HEAD, &[]);
        let raw = header(&bytes);
        assert_eq!((raw.crc, raw.prev_crc, raw.seq, raw.durable_seq), (crc, HEAD.prev_crc, 420, 417));
        assert_eq!((raw.kind_code, raw.flags, raw.len), (3, 0, 32));
        assert_eq!(raw.verify(&bytes, 99), Ok(()));
        assert!(raw.verify(&bytes, 98).is_err(), "another segment's seed");
        assert!(raw.verify(&bytes[..31], 99).is_err(), "cut off");
    }

    #[test]
    fn the_lag_never_claims_more_than_was_synced() {
        let durable = |seq, durable_seq| header(&record(&Head { seq, durable_seq, ..HEAD }, &[]).0).durable_seq;
        let max = u64::from(U24_MAX);
        assert_eq!(durable(1, 0), 0);
        assert_eq!(durable(1, 1), 1);
        assert_eq!(durable(max + 5, 6), 6);
        assert_eq!(durable(max + 5, 5), 0, "a saturated lag means unknown");
        assert_eq!(durable(max + 5, 0), 0);
        assert_eq!(durable(u64::MAX, 1), 0);
        assert_eq!(durable(u64::MAX, u64::MAX), u64::MAX);
    }

    #[test]
    fn every_code_names_its_kind() {
        let known: Vec<u8> = (0..=255).filter(|&code| Kind::from_code(code).is_some()).collect();
        assert_eq!(known, (1..=11).chain([34]).collect::<Vec<u8>>());
        for code in known {
            assert_eq!(Kind::from_code(code).unwrap().code(), code);
        }
    }

    #[test]
    fn the_seed_depends_on_both_numbers() {
        assert_ne!(seed(1, 2), seed(2, 1));
        assert_ne!(seed(1, 2), seed(1, 3));
        assert_eq!(seed(1, 2), crc32c::crc32c(&[1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]));
    }

    #[test]
    #[should_panic(expected = "a record of 0 bytes")]
    fn finishing_what_was_not_started_panics() {
        finish(&mut Vec::new(), 0, &HEAD);
    }
}
