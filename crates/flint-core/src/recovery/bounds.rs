//! Numbers that no store can have.

/// The largest sequence number and key id that is believed, so that counting on from there never overflows: at a million
/// records a second a store would take 146,000 years to come here.
pub(super) const MAX_NUMBER: u64 = 1 << 62;
pub(super) const BEYOND: &str = "its numbers are larger than any store can have";
