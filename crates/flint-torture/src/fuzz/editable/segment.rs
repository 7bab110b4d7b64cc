//! A segment taken apart into records, header and seal.

use flint_core::files;
use flint_core::log::frame;
use sha2::{Digest as _, Sha256};

const HEADER_LEN: usize = 64;
const SEAL_LEN: usize = 64;
const BLOCK: usize = 4096;

/// A record. What is `None` is put in when it is written: the next sequence number, the checksum of the one before.
#[derive(Debug, Clone, Default)]
pub(crate) struct Record {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) seq: Option<u64>,
    pub(crate) prev_crc: Option<u32>,
    /// The low 24 bits count.
    pub(crate) lag: u32,
    /// Engine time, then what the kind says. A multiple of eight bytes.
    pub(crate) body: Vec<u8>,
    /// Whether its checksum is wrong.
    pub(crate) torn: bool,
    /// Length in words, where it is not the true one.
    pub(crate) words: Option<u32>,
}

/// What the seal says, where it is not the truth.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seal {
    pub(crate) end_offset: Option<u64>,
    pub(crate) last_seq: Option<u64>,
    pub(crate) last_crc: Option<u32>,
    pub(crate) wrong_sha256: bool,
    pub(crate) torn: bool,
}

/// A segment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Segment {
    /// The number in its name, where it is not the first sequence number.
    pub(crate) named: Option<u64>,
    pub(crate) migrating: bool,
    pub(crate) version: u32,
    pub(crate) features: u64,
    pub(crate) store_id: u64,
    pub(crate) first_seq: Option<u64>,
    pub(crate) prev_crc: Option<u32>,
    pub(crate) segment_len: Option<u64>,
    /// Bytes 48 to 60 of the header.
    pub(crate) reserved: u8,
    /// Whether the header is all zeros.
    pub(crate) no_header: bool,
    pub(crate) torn_header: bool,
    pub(crate) records: Vec<Record>,
    /// Bytes behind the last record.
    pub(crate) tail: Vec<u8>,
    pub(crate) seal: Option<Seal>,
    /// Length of the file; more if the records need it.
    pub(crate) len: usize,
    /// Bytes that the file has more or less than that.
    pub(crate) cut: isize,
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|word| word.try_into().ok()).map_or(0, u64::from_le_bytes)
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|word| word.try_into().ok()).map_or(0, u32::from_le_bytes)
}

impl Record {
    fn read(bytes: &[u8]) -> Self {
        Self {
            kind: bytes[16],
            flags: bytes[20],
            lag: u32_at(bytes, 20) >> 8,
            body: bytes[24..].to_vec(),
            ..Self::default()
        }
    }

    fn write(&self, seed: u32, seq: u64, prev_crc: u32) -> (Vec<u8>, u32) {
        let mut bytes = vec![0; 24];
        bytes.extend_from_slice(&self.body);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        let words = self.words.unwrap_or_else(|| u32::try_from(bytes.len() / 8).unwrap_or(0));
        bytes[4..8].copy_from_slice(&prev_crc.to_le_bytes());
        bytes[8..16].copy_from_slice(&seq.to_le_bytes());
        bytes[16..20].copy_from_slice(&(u32::from(self.kind) | words << 8).to_le_bytes());
        bytes[20..24].copy_from_slice(&(u32::from(self.flags) | self.lag << 8).to_le_bytes());
        let crc = crc32c::crc32c_append(seed, &bytes[4..]) ^ u32::from(self.torn);
        bytes[..4].copy_from_slice(&crc.to_le_bytes());
        (bytes, crc)
    }
}

impl Segment {
    pub(crate) fn read(bytes: &[u8]) -> Self {
        let area = &bytes[..bytes.len().saturating_sub(SEAL_LEN)];
        let mut records = Vec::new();
        let mut at = HEADER_LEN;
        while let Some(rest) = area.get(at..) {
            let len = (u32_at(rest, 16) >> 8) as usize * 8;
            if len < 32 || len > rest.len() {
                break;
            }
            records.push(Record::read(&rest[..len]));
            at += len;
        }
        let sealed = bytes.len() >= SEAL_LEN && bytes[bytes.len() - SEAL_LEN..] != [0; SEAL_LEN];
        Self {
            version: u32_at(bytes, 8),
            features: u64_at(bytes, 16),
            store_id: u64_at(bytes, 24),
            first_seq: Some(u64_at(bytes, 32)),
            records,
            seal: sealed.then(Seal::default),
            len: bytes.len(),
            ..Self::default()
        }
    }

    /// Its bytes; `chain` is the last sequence number and checksum, before and after.
    pub(crate) fn write(&self, chain: &mut (u64, u32)) -> (u64, Vec<u8>) {
        let first_seq = self.first_seq.unwrap_or_else(|| chain.0.wrapping_add(1));
        let prev_crc = self.prev_crc.unwrap_or(chain.1);
        let seed = frame::seed(self.store_id, first_seq);
        let mut bytes = vec![0; HEADER_LEN];
        let (mut next_seq, mut crc) = (first_seq, prev_crc);
        for record in &self.records {
            let seq = record.seq.unwrap_or(next_seq);
            let (record, record_crc) = record.write(seed, seq, record.prev_crc.unwrap_or(crc));
            bytes.extend_from_slice(&record);
            (next_seq, crc) = (seq.wrapping_add(1), record_crc);
        }
        let end_offset = bytes.len();
        bytes.extend_from_slice(&self.tail);
        let len = self.len.max((bytes.len() + SEAL_LEN).next_multiple_of(BLOCK));
        bytes.resize(len, 0);
        let header = &mut bytes[..HEADER_LEN];
        header[..8].copy_from_slice(&files::SEGMENT_MAGIC);
        header[8..12].copy_from_slice(&self.version.to_le_bytes());
        header[12..16].copy_from_slice(&prev_crc.to_le_bytes());
        header[16..24].copy_from_slice(&self.features.to_le_bytes());
        header[24..32].copy_from_slice(&self.store_id.to_le_bytes());
        header[32..40].copy_from_slice(&first_seq.to_le_bytes());
        header[40..48].copy_from_slice(&self.segment_len.unwrap_or(len as u64).to_le_bytes());
        header[50] = self.reserved;
        let header_crc = crc32c::crc32c(&header[..60]) ^ u32::from(self.torn_header);
        header[60..].copy_from_slice(&header_crc.to_le_bytes());
        if self.no_header {
            header.fill(0);
        }
        if let Some(seal) = &self.seal {
            let sha256 = Sha256::digest(&bytes[..end_offset]);
            let out = &mut bytes[len - SEAL_LEN..];
            out[..8].copy_from_slice(&files::SEAL_MAGIC);
            out[8..16].copy_from_slice(&seal.end_offset.unwrap_or(end_offset as u64).to_le_bytes());
            out[16..24].copy_from_slice(&seal.last_seq.unwrap_or(next_seq.wrapping_sub(1)).to_le_bytes());
            out[24..56].copy_from_slice(&sha256);
            out[24] ^= u8::from(seal.wrong_sha256);
            out[56..60].copy_from_slice(&seal.last_crc.unwrap_or(crc).to_le_bytes());
            let seal_crc = crc32c::crc32c_append(seed, &out[..60]) ^ u32::from(seal.torn);
            out[60..].copy_from_slice(&seal_crc.to_le_bytes());
        }
        bytes.resize(bytes.len().saturating_add_signed(self.cut), 0);
        *chain = (next_seq.wrapping_sub(1), crc);
        (first_seq, bytes)
    }
}
