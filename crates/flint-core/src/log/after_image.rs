//! The state of one rate right after an allowed check, as sixteen bytes of an Allow record.
//!
//! A token bucket's image is correct at the record's own time, which therefore is not repeated. A sliding log is too long
//! to repeat: its image is a check sum (what is used afterwards) of the delta (record time, cost).

use crate::image::RateState;
use crate::limit::Algorithm;

/// Bytes of one image.
pub const IMAGE_LEN: usize = 16;

/// The encoded form.
pub type AfterImage = [u8; IMAGE_LEN];

/// Token bucket: the used amount in token x period nanoseconds.
#[inline]
pub const fn encode_token_bucket(used: u128) -> AfterImage {
    used.to_le_bytes()
}

/// The used amount in token x period nanoseconds, correct at the record's time.
#[inline]
pub const fn decode_token_bucket(image: AfterImage) -> u128 {
    u128::from_le_bytes(image)
}

/// Fixed window: its start in nanoseconds and the cost consumed in it.
#[inline]
pub fn encode_fixed_window(start_ns: u64, used: u64) -> AfterImage {
    join(start_ns, used)
}

/// Start in nanoseconds and consumed cost.
#[inline]
pub fn decode_fixed_window(image: AfterImage) -> (u64, u64) {
    split(image)
}

/// Sliding log: the cost within the period, this check included.
#[inline]
pub fn encode_sliding_log(used_after: u64) -> AfterImage {
    join(used_after, 0)
}

/// The cost within the period, this check included.
#[inline]
pub fn decode_sliding_log(image: AfterImage) -> u64 {
    split(image).0
}

/// The image of `state`; `None` for a sliding log, whose image depends on the period.
pub fn encode(state: &RateState) -> Option<AfterImage> {
    match *state {
        RateState::TokenBucket { used, .. } => Some(encode_token_bucket(used)),
        RateState::FixedWindow { start_ns, used } => Some(encode_fixed_window(start_ns, used)),
        RateState::SlidingLog { .. } => None,
    }
}

/// The state that `image` in a record of time `now_ns` describes; `None` for a sliding log, which needs the runs before.
pub fn decode(algorithm: Algorithm, image: AfterImage, now_ns: u64) -> Option<RateState> {
    match algorithm {
        Algorithm::TokenBucket => Some(RateState::TokenBucket { used: decode_token_bucket(image), at_ns: now_ns }),
        Algorithm::FixedWindowCounter => {
            let (start_ns, used) = decode_fixed_window(image);
            Some(RateState::FixedWindow { start_ns, used })
        }
        Algorithm::SlidingWindowLog => None,
    }
}

/// The images in the body of an Allow record, in the order of the key's rates.
#[inline]
pub fn iter(images: &[u8]) -> impl ExactSizeIterator<Item = AfterImage> + '_ {
    images.chunks_exact(IMAGE_LEN).map(|chunk| {
        let mut image = [0; IMAGE_LEN];
        image.copy_from_slice(chunk);
        image
    })
}

#[inline]
fn join(low: u64, high: u64) -> AfterImage {
    (u128::from(low) | u128::from(high) << 64).to_le_bytes()
}

#[inline]
fn split(image: AfterImage) -> (u64, u64) {
    let [a, b, c, d, e, f, g, h, rest @ ..] = image;
    (u64::from_le_bytes([a, b, c, d, e, f, g, h]), u64::from_le_bytes(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_round_trip() {
        for used in [0, 1, u128::from(u64::MAX) + 7, u128::MAX] {
            let state = RateState::TokenBucket { used, at_ns: 5 };
            assert_eq!(decode(Algorithm::TokenBucket, encode(&state).unwrap(), 5), Some(state));
        }
        for (start_ns, used) in [(0, 0), (1, 2), (u64::MAX, 1), (1, u64::MAX)] {
            let state = RateState::FixedWindow { start_ns, used };
            assert_eq!(decode(Algorithm::FixedWindowCounter, encode(&state).unwrap(), 9), Some(state));
        }
        assert_eq!(decode_sliding_log(encode_sliding_log(77)), 77);
        assert_eq!(encode(&RateState::SlidingLog { runs: Vec::new() }), None);
        assert_eq!(decode(Algorithm::SlidingWindowLog, encode_sliding_log(77), 1), None);
    }

    #[test]
    fn fields_are_little_endian_in_the_documented_order() {
        let image = encode_fixed_window(0x0102, 0x0304);
        assert_eq!(image, [2, 1, 0, 0, 0, 0, 0, 0, 4, 3, 0, 0, 0, 0, 0, 0]);
        assert_eq!(encode_sliding_log(0x0102), [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    }
}
