//! One key's entry in a table of an old snapshot.

use serde_json::Value;

use super::Problem;
use super::event::{field, number, object, time};
use crate::algorithm::OldEntry;

/// An entry, and the table that it is in.
pub(super) struct Entry<'a> {
    pub(super) table: &'static str,
    pub(super) value: &'a Value,
}

/// The sentence of a problem within an entry.
fn sentence(problem: Problem) -> String {
    match problem {
        Problem::Corrupt(detail) | Problem::Unsupported(detail) => detail,
    }
}

impl OldEntry for Entry<'_> {
    fn product(&self, name: &str, by: u64) -> Result<u128, String> {
        let value = object(self.value, self.table).and_then(|entry| field(entry, name)).map_err(sentence)?;
        value.as_f64().map(|factor| floor_of_product(factor, by)).ok_or_else(|| format!("{name:?} is not a number"))
    }

    fn number(&self, name: &str) -> Result<u64, String> {
        object(self.value, self.table).and_then(|entry| number(entry, name)).map_err(sentence)
    }

    fn time(&self, name: &str) -> Result<u64, String> {
        let value = object(self.value, self.table).and_then(|entry| field(entry, name)).map_err(sentence)?;
        time(value, name).map_err(sentence)
    }

    fn times(&self) -> Result<Vec<u64>, String> {
        let Value::Array(entries) = self.value else { return Err("a sliding window is not a list".to_owned()) };
        entries.iter().map(|entry| time(entry, self.table).map_err(sentence)).collect()
    }
}

/// The whole part of `factor` x `by`, from the bits of the float; 0 for a negative one, saturated for a huge one.
fn floor_of_product(factor: f64, by: u64) -> u128 {
    const MANTISSA_BITS: u32 = f64::MANTISSA_DIGITS - 1;
    /// The biased exponent of a float whose mantissa is its value.
    const WHOLE: u64 = 1023 + MANTISSA_BITS as u64;
    if factor.is_nan() || factor.is_sign_negative() {
        return 0;
    }
    let (exponent, fraction) = (factor.to_bits() >> MANTISSA_BITS, factor.to_bits() & ((1 << MANTISSA_BITS) - 1));
    // Subnormal numbers are far below one unit whatever they are multiplied with.
    let mantissa = if exponent == 0 { 0 } else { fraction | 1 << MANTISSA_BITS };
    let product = u128::from(mantissa) * u128::from(by);
    let shift = u32::try_from(exponent.abs_diff(WHOLE)).unwrap_or(u32::MAX);
    if exponent < WHOLE {
        product.checked_shr(shift).unwrap_or(0)
    } else if product == 0 || shift <= product.leading_zeros() {
        product.checked_shl(shift).unwrap_or(0)
    } else {
        u128::MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_become_units_without_a_gain() {
        let below_45 = f64::from_bits(45f64.to_bits() - 1);
        let above_45 = f64::from_bits(45f64.to_bits() + 1);
        let per_ns = 315_360_000_000_000_000;
        for (tokens, whole) in [(0.0, 0), (-0.0, 0), (-1.0, 0), (0.999, 0), (45.0, 45), (below_45, 44), (above_45, 45)]
        {
            assert_eq!(floor_of_product(tokens, per_ns) / u128::from(per_ns), whole, "{tokens}");
        }
        assert_eq!(floor_of_product(0.5, 3), 1);
        assert_eq!(floor_of_product(1.5, 1_000_000), 1_500_000);
        assert_eq!(floor_of_product(f64::from_bits(1), u64::MAX), 0);
        assert_eq!(floor_of_product(1e300, 2), u128::MAX);
        assert_eq!(floor_of_product(1e300, 0), 0);
        assert_eq!(floor_of_product(f64::INFINITY, 1), u128::MAX);
        assert_eq!(floor_of_product(9_007_199_254_740_992.0, 4), 36_028_797_018_963_968);
        assert_eq!(floor_of_product(18_446_744_073_709_551_616.0, u64::MAX), u128::from(u64::MAX) << 64);
    }
}
