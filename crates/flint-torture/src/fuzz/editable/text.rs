//! Bytes and decimal numbers within a text.

use super::super::mutate::decimals;

/// Where `part` occurs last.
pub(crate) fn rfind(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).rposition(|window| window == part)
}

/// The decimal numbers of a text that fit 64 bits, with their places.
pub(crate) fn decimals_of(text: &[u8]) -> Vec<(std::ops::Range<usize>, u64)> {
    let value = |range: &std::ops::Range<usize>| std::str::from_utf8(&text[range.clone()]).ok()?.parse().ok();
    decimals(text).into_iter().filter_map(|range| value(&range).map(|value| (range, value))).collect()
}

/// Puts another number in place of one of [`decimals_of`].
pub(crate) fn set_decimal(text: &mut Vec<u8>, index: usize, value: u64) {
    if let Some((range, _)) = decimals_of(text).get(index) {
        text.splice(range.clone(), value.to_string().into_bytes());
    }
}
