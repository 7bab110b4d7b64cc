//! Times and waits as text and seconds, rounded so that a caller that waits for them is never too early.

const NS_PER_S: u64 = 1_000_000_000;

/// The smallest float of seconds that is not below `ns`.
#[expect(
    clippy::float_arithmetic,
    clippy::cast_precision_loss,
    reason = "only shown to people; corrected to never be early"
)]
pub fn seconds_up(ns: u64) -> f64 {
    if ns == 0 {
        return 0.0;
    }
    // Two roundings, each by at most half a unit in the last place: the answer is at most one unit away.
    let mut seconds = (ns as f64 / NS_PER_S as f64).next_down().next_down();
    while is_below(seconds, ns) {
        seconds = seconds.next_up();
    }
    seconds
}

/// Whether `seconds` (positive, finite) x 10^9 < `ns`, compared exactly as integers.
fn is_below(seconds: f64, ns: u64) -> bool {
    let bits = seconds.to_bits();
    let exponent = bits >> 52;
    let mantissa = (bits & ((1 << 52) - 1)) | (1 << 52);
    // seconds = mantissa x 2^(exponent - 1075). Both products stay under 2^84: they differ by one unit in the last place.
    let product = u128::from(mantissa) * u128::from(NS_PER_S);
    product < u128::from(ns) << (1075 - exponent)
}

/// A wall-clock time as RFC 3339 in UTC, rounded up to the microsecond.
pub fn moment(wall_ns: u64) -> String {
    let mut text = flint_core::rfc3339(wall_ns.div_ceil(1000).saturating_mul(1000));
    text.truncate("2026-01-01T00:00:00.000000".len());
    text.push('Z');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_rounded_up_to_the_microsecond() {
        assert_eq!(moment(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(moment(1), "1970-01-01T00:00:00.000001Z");
        assert_eq!(moment(1_767_225_599_999_999_001), "2026-01-01T00:00:00.000000Z");
    }

    #[test]
    fn seconds_are_never_less() {
        for ns in [1, 999, 1_000_000_000, 1_000_000_001, 123_456_789_012_345_678, u64::MAX] {
            assert!(!is_below(seconds_up(ns), ns), "{ns}");
            assert!(is_below(seconds_up(ns).next_down(), ns), "{ns}");
        }
        assert_eq!(seconds_up(0).to_bits(), 0);
    }
}
