//! A segment's first and last 64 bytes, and what lies between them.
//!
//! ```text
//! 0        64                     end_offset         file_len-64   file_len
//! | header | record | record | ... | zeros ............. | seal |
//! ```

use std::io;
use std::ops::Range;

use sha2::{Digest, Sha256};

use super::cursor::Cursor;
use super::frame::WORD;
use crate::files::{SEAL_MAGIC, SEGMENT_FEATURES, SEGMENT_MAGIC, SEGMENT_VERSION};
use crate::storage::File;

/// Bytes of the header; the first record follows.
pub const HEADER_LEN: usize = 64;
/// Bytes of the seal at the end of the file.
pub const SEAL_LEN: usize = 64;
/// A segment's length is a multiple of this.
pub const BLOCK_LEN: u64 = 4096;
/// No segment is longer, also with one oversized record: a longer file is not read into memory.
pub const MAX_SEGMENT_LEN: u64 = 1 << 30;

/// Where the checksum of header and seal is; in the header, this holds for every format version to come.
const CRC_AT: usize = 60;

/// Where records may lie in a segment of `segment_len` bytes.
pub const fn record_area(segment_len: u64) -> Range<u64> {
    HEADER_LEN as u64..seal_offset(segment_len)
}

/// Where the seal lies in a segment of `segment_len` bytes.
pub const fn seal_offset(segment_len: u64) -> u64 {
    segment_len.saturating_sub(SEAL_LEN as u64)
}

/// What the first 64 bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Format version, at most [`SEGMENT_VERSION`].
    pub version: u32,
    /// CRC of the last record of the segment before; 0 in the first of the log.
    pub prev_crc: u32,
    /// Feature bits.
    pub features: u64,
    /// The store, a random number.
    pub store_id: u64,
    /// Sequence number of the first record.
    pub first_seq: u64,
    /// Length of the file in bytes, a multiple of [`BLOCK_LEN`].
    pub segment_len: u64,
}

/// Why a header cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderProblem {
    /// All bytes are zero: the file was never written, or its first write did not reach the disk.
    Zero,
    /// The header contradicts itself.
    Corrupt(&'static str),
    /// Intact, and of a format to come.
    NewerVersion(u32),
    /// Intact, with feature bits that this version does not know (the unknown ones).
    UnknownFeatures(u64),
}

impl From<&'static str> for HeaderProblem {
    fn from(reason: &'static str) -> Self {
        Self::Corrupt(reason)
    }
}

impl SegmentHeader {
    /// The bytes.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..8].copy_from_slice(&SEGMENT_MAGIC);
        bytes[8..12].copy_from_slice(&self.version.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.prev_crc.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.features.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.store_id.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.first_seq.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.segment_len.to_le_bytes());
        put_crc(&mut bytes, 0);
        bytes
    }

    /// Reads a header.
    ///
    /// # Errors
    /// The checksum comes first, so that a flipped bit is damage and never a "newer version".
    pub fn decode(bytes: &[u8; HEADER_LEN]) -> Result<Self, HeaderProblem> {
        if *bytes == [0; HEADER_LEN] {
            return Err(HeaderProblem::Zero);
        }
        if !crc_matches(bytes, 0) {
            return Err(HeaderProblem::Corrupt("the segment header's checksum does not match"));
        }
        let mut cursor = Cursor::new(bytes);
        if cursor.array()? != SEGMENT_MAGIC {
            return Err(HeaderProblem::Corrupt("this is not a Flint segment"));
        }
        let version = match cursor.u32()? {
            0 => return Err(HeaderProblem::Corrupt("the segment's format version is zero")),
            known @ 1..=SEGMENT_VERSION => known,
            newer => return Err(HeaderProblem::NewerVersion(newer)),
        };
        let header = Self {
            version,
            prev_crc: cursor.u32()?,
            features: cursor.u64()?,
            store_id: cursor.u64()?,
            first_seq: cursor.u64()?,
            segment_len: cursor.u64()?,
        };
        let unknown = header.features & !SEGMENT_FEATURES;
        if unknown != 0 {
            return Err(HeaderProblem::UnknownFeatures(unknown));
        }
        if cursor.array()? != [0; 12] {
            return Err(HeaderProblem::Corrupt("the segment header's reserved bytes are not zero"));
        }
        if header.first_seq == 0 {
            return Err(HeaderProblem::Corrupt("the segment starts with sequence number zero"));
        }
        if !(1..=MAX_SEGMENT_LEN).contains(&header.segment_len) || !header.segment_len.is_multiple_of(BLOCK_LEN) {
            return Err(HeaderProblem::Corrupt("the segment's length is impossible"));
        }
        Ok(header)
    }
}

/// What the last 64 bytes of a finished segment say. It is written after the next segment is durable: a reader that finds a seal
/// knows that another segment must follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seal {
    /// Where the last record ends.
    pub end_offset: u64,
    /// Sequence number of the last record.
    pub last_seq: u64,
    /// SHA-256 of the file's first `end_offset` bytes.
    pub sha256: [u8; 32],
    /// CRC of the last record.
    pub last_crc: u32,
}

impl Seal {
    /// The bytes; `seed` is the segment's [`seed`](super::frame::seed).
    pub fn encode(&self, seed: u32) -> [u8; SEAL_LEN] {
        let mut bytes = [0; SEAL_LEN];
        bytes[..8].copy_from_slice(&SEAL_MAGIC);
        bytes[8..16].copy_from_slice(&self.end_offset.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.last_seq.to_le_bytes());
        bytes[24..56].copy_from_slice(&self.sha256);
        bytes[56..60].copy_from_slice(&self.last_crc.to_le_bytes());
        put_crc(&mut bytes, seed);
        bytes
    }

    /// Reads a seal; `None` if the segment is not sealed. The hash is not compared with the file.
    ///
    /// # Errors
    /// What is wrong with it: a seal lies within one sector, is therefore written whole or not at all, and a broken one is
    /// damage.
    pub fn decode(bytes: &[u8; SEAL_LEN], seed: u32) -> Result<Option<Self>, &'static str> {
        if *bytes == [0; SEAL_LEN] {
            return Ok(None);
        }
        if !crc_matches(bytes, seed) {
            return Err("the seal's checksum does not match");
        }
        let mut cursor = Cursor::new(bytes);
        if cursor.array()? != SEAL_MAGIC {
            return Err("the seal does not start as a seal does");
        }
        let seal = Self {
            end_offset: cursor.u64()?,
            last_seq: cursor.u64()?,
            sha256: cursor.array()?,
            last_crc: cursor.u32()?,
        };
        if seal.end_offset < HEADER_LEN as u64 || !seal.end_offset.is_multiple_of(WORD as u64) {
            return Err("the seal's end is impossible");
        }
        Ok(Some(seal))
    }
}

fn crc_of(bytes: &[u8; 64], seed: u32) -> u32 {
    crc32c::crc32c_append(seed, &bytes[..CRC_AT])
}

fn put_crc(bytes: &mut [u8; 64], seed: u32) {
    let crc = crc_of(bytes, seed);
    bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
}

fn crc_matches(bytes: &[u8; 64], seed: u32) -> bool {
    bytes[CRC_AT..] == crc_of(bytes, seed).to_le_bytes()
}

/// SHA-256 of the first `end_offset` bytes of `file`, read in pieces of 256 KiB.
///
/// # Errors
/// Those of reading, `UnexpectedEof` included.
pub fn sha256_of(file: &dyn File, end_offset: u64) -> io::Result<[u8; 32]> {
    const PIECE: usize = 256 << 10;
    let mut hash = Sha256::new();
    let mut piece = vec![0; usize::try_from(end_offset).map_or(PIECE, |len| len.min(PIECE))];
    let mut offset = 0;
    while offset < end_offset {
        let len = usize::try_from(end_offset - offset).map_or(PIECE, |left| left.min(PIECE));
        file.read_exact_at(&mut piece[..len], offset)?;
        hash.update(&piece[..len]);
        offset += len as u64;
    }
    Ok(hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: SegmentHeader = SegmentHeader {
        version: SEGMENT_VERSION,
        prev_crc: 0x0a0b_0c0d,
        features: 0,
        store_id: 0x1122_3344_5566_7788,
        first_seq: 420,
        segment_len: 16 << 10,
    };
    const SEAL: Seal = Seal { end_offset: 4000, last_seq: 431, sha256: [7; 32], last_crc: 0x0102_0304 };

    #[test]
    fn the_header_bytes_are_as_documented() {
        let bytes = HEADER.encode();
        assert_eq!(&bytes[..8], b"FLINTSEG");
        assert_eq!(bytes[8..12], [2, 0, 0, 0]);
        assert_eq!(bytes[12..16], [0x0d, 0x0c, 0x0b, 0x0a]);
        assert_eq!(bytes[16..24], [0; 8]);
        assert_eq!(bytes[24..32], [0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11]);
        assert_eq!(bytes[32..40], [0xa4, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[40..48], [0, 0x40, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[48..60], [0; 12]);
        assert_eq!(bytes[60..], crc32c::crc32c(&bytes[..60]).to_le_bytes());
        assert_eq!(SegmentHeader::decode(&bytes), Ok(HEADER));
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_damage() {
        for bit in 0..HEADER_LEN * 8 {
            let mut bytes = HEADER.encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let found = SegmentHeader::decode(&bytes);
            assert!(matches!(found, Err(HeaderProblem::Corrupt(_))), "bit {bit}: {found:?}");
        }
    }

    #[test]
    fn headers_of_the_future_are_not_taken_for_damage() {
        let with = |change: fn(&mut [u8; HEADER_LEN])| {
            let mut bytes = HEADER.encode();
            change(&mut bytes);
            put_crc(&mut bytes, 0);
            SegmentHeader::decode(&bytes)
        };
        assert_eq!(with(|bytes| bytes[8] = 1), Ok(SegmentHeader { version: 1, ..HEADER }));
        assert_eq!(with(|bytes| bytes[8] = 3), Err(HeaderProblem::NewerVersion(3)));
        assert_eq!(with(|bytes| bytes[17] = 3), Err(HeaderProblem::UnknownFeatures(0x300)));
        assert_eq!(SegmentHeader::decode(&[0; HEADER_LEN]), Err(HeaderProblem::Zero));
        let nonsense: [fn(&mut [u8; HEADER_LEN]); 6] = [
            |bytes| bytes[0] = b'f',
            |bytes| bytes[8] = 0,
            |bytes| bytes[50] = 1,
            |bytes| bytes[32..40].fill(0),
            |bytes| bytes[40] = 8,
            |bytes| bytes[40..48].fill(0),
        ];
        for change in nonsense {
            let found = with(change);
            assert!(matches!(found, Err(HeaderProblem::Corrupt(_))), "{found:?}");
        }
    }

    #[test]
    fn the_seal_bytes_are_as_documented() {
        let bytes = SEAL.encode(99);
        assert_eq!(&bytes[..8], b"FLINTEND");
        assert_eq!(bytes[8..16], 4000_u64.to_le_bytes());
        assert_eq!(bytes[16..24], 431_u64.to_le_bytes());
        assert_eq!(bytes[24..56], [7; 32]);
        assert_eq!(bytes[56..60], [4, 3, 2, 1]);
        assert_eq!(bytes[60..], crc32c::crc32c_append(99, &bytes[..60]).to_le_bytes());
        assert_eq!(Seal::decode(&bytes, 99), Ok(Some(SEAL)));
        assert_eq!(Seal::decode(&[0; SEAL_LEN], 99), Ok(None));
        assert!(Seal::decode(&bytes, 98).is_err(), "another segment's seal");
    }

    #[test]
    fn every_flipped_bit_of_a_seal_is_damage() {
        for bit in 0..SEAL_LEN * 8 {
            let mut bytes = SEAL.encode(99);
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Seal::decode(&bytes, 99).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn impossible_seals_are_damage() {
        for seal in [Seal { end_offset: 63, ..SEAL }, Seal { end_offset: 68, ..SEAL }] {
            assert!(Seal::decode(&seal.encode(99), 99).is_err(), "{seal:?}");
        }
        let mut bytes = SEAL.encode(99);
        bytes[0] = b'f';
        put_crc(&mut bytes, 99);
        assert!(Seal::decode(&bytes, 99).is_err());
    }

    #[test]
    fn areas_do_not_overlap() {
        assert_eq!(record_area(16 << 10), 64..16320);
        assert_eq!(seal_offset(16 << 10), 16320);
    }

    /// A file in memory whose reads fail behind its end.
    struct Bytes(Vec<u8>);

    impl File for Bytes {
        fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
            let start = usize::try_from(offset).map_err(io::Error::other)?;
            let part = self.0.get(start..start + buf.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            buf.copy_from_slice(part);
            Ok(())
        }
        fn write_all_at(&self, _data: &[u8], _offset: u64) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }
        fn len(&self) -> io::Result<u64> {
            Ok(self.0.len() as u64)
        }
        fn sync_data(&self) -> io::Result<()> {
            Ok(())
        }
        fn overwrite(&self, _: u64) -> io::Result<crate::storage::Overwrite> {
            unimplemented!()
        }

        fn map(&self, _len: usize) -> io::Result<Box<dyn crate::storage::Map>> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    #[test]
    fn the_hash_covers_exactly_the_beginning() {
        let file = Bytes((0..600_000).map(|i| u8::try_from(i % 251).unwrap()).collect());
        for end in [0, 1, 64, 262_143, 262_144, 262_145, 600_000] {
            let expected: [u8; 32] = Sha256::digest(&file.0[..end]).into();
            assert_eq!(sha256_of(&file, end as u64).unwrap(), expected, "{end}");
        }
        assert_eq!(sha256_of(&file, 600_001).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
