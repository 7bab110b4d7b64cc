//! Checksums of long overlapping spans. Bytes that look like headers of long records, one behind the other (keys may hold
//! anything), would otherwise cost a checksum of the whole file each.

use std::ops::Range;

/// Distance of the checkpoints.
const BLOCK: usize = 4096;

/// CRCs over spans of `bytes` at a cost that does not grow with the span, but for one pass over the bytes.
pub(super) struct SpanCrc<'a> {
    bytes: &'a [u8],
    /// CRC of the first `i` blocks, for each `i`; empty until the first long span.
    prefixes: Vec<u32>,
}

impl<'a> SpanCrc<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, prefixes: Vec::new() }
    }

    /// `crc32c_append(seed, &bytes[span])`. The span lies within the bytes.
    pub(super) fn crc(&mut self, seed: u32, span: Range<usize>) -> u32 {
        let first = span.start.div_ceil(BLOCK);
        let last = span.end / BLOCK;
        if last <= first + 1 {
            return crc32c::crc32c_append(seed, &self.bytes[span]);
        }
        if self.prefixes.is_empty() {
            let next = |crc: &mut u32, block: &[u8]| {
                *crc = crc32c::crc32c_append(*crc, block);
                Some(*crc)
            };
            self.prefixes.push(0);
            self.prefixes.extend(self.bytes.chunks_exact(BLOCK).scan(0, next));
        }
        // A CRC is linear: what precedes the middle is taken out by combining its CRC once more.
        let middle_len = (last - first) * BLOCK;
        let middle = crc32c::crc32c_combine(self.prefixes[first], self.prefixes[last], middle_len);
        let head = crc32c::crc32c_append(seed, &self.bytes[span.start..first * BLOCK]);
        let joined = crc32c::crc32c_combine(head, middle, middle_len);
        crc32c::crc32c_append(joined, &self.bytes[last * BLOCK..span.end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_span_has_the_checksum_of_its_bytes() {
        let bytes: Vec<u8> = (0..5 * BLOCK + 123).map(|i| u8::try_from(i * 31 % 251).unwrap()).collect();
        let mut sums = SpanCrc::new(&bytes);
        let ends =
            [0, 4, 60, BLOCK - 4, BLOCK, BLOCK + 4, 2 * BLOCK, 3 * BLOCK - 1, 4 * BLOCK + 8, 5 * BLOCK, bytes.len()];
        for start in ends {
            for end in ends.into_iter().filter(|&end| end >= start) {
                let expected = crc32c::crc32c_append(0xabcd, &bytes[start..end]);
                assert_eq!(sums.crc(0xabcd, start..end), expected, "{start}..{end}");
            }
        }
    }
}
