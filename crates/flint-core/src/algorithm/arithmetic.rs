//! Integer arithmetic that saturates instead of panicking.

pub(super) const NS_PER_MS: u64 = 1_000_000;

/// A duration or count that is known to fit for a valid rate.
#[inline]
pub(super) fn saturated(n: u128) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// Rounded down, saturated. Nearly every dividend fits in 64 bits, where division costs a tenth.
#[inline]
pub(super) fn div_floor(n: u128, d: u64) -> u64 {
    match u64::try_from(n) {
        Ok(n) => n.checked_div(d).unwrap_or(u64::MAX),
        Err(_) => n.checked_div(u128::from(d)).map_or(u64::MAX, saturated),
    }
}

/// Rounded up, saturated; 0 stays 0 whatever the divisor.
#[inline]
pub(super) fn div_ceil(n: u128, d: u64) -> u64 {
    match n.checked_sub(1) {
        None => 0,
        Some(n) => div_floor(n, d).saturating_add(1),
    }
}

/// The lower and the upper half.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the halves of a u128")]
pub(super) const fn halves(value: u128) -> [u64; 2] {
    [value as u64, (value >> 64) as u64]
}

/// The inverse of [`halves`].
#[inline]
pub(super) const fn whole([low, high]: [u64; 2]) -> u128 {
    low as u128 | (high as u128) << 64
}
