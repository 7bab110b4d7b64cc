//! Units of time and the canonical text of a period.

use std::fmt;

/// A unit of time: its length in milliseconds, its short name, and its other names, the canonical one first.
pub(super) struct Unit {
    pub(super) ms: u64,
    pub(super) short: &'static str,
    pub(super) long: &'static [&'static str],
}

/// Longest first, as [`write_period`] needs them.
pub(super) const UNITS: [Unit; 6] = [
    Unit { ms: 604_800_000, short: "w", long: &["week", "weeks"] },
    Unit { ms: 86_400_000, short: "d", long: &["day", "days"] },
    Unit { ms: 3_600_000, short: "h", long: &["hour", "hours", "hr"] },
    Unit { ms: 60_000, short: "m", long: &["minute", "minutes", "min"] },
    Unit { ms: 1000, short: "s", long: &["second", "seconds", "sec"] },
    Unit { ms: 1, short: "ms", long: &["millisecond", "milliseconds"] },
];

/// The canonical form of a period: the longest unit that divides it, with a count unless that is one.
pub(super) fn write_period(f: &mut fmt::Formatter<'_>, per_ms: u64) -> fmt::Result {
    for unit in &UNITS {
        if per_ms == unit.ms {
            return f.write_str(unit.long[0]);
        }
        if per_ms != 0 && per_ms.is_multiple_of(unit.ms) {
            return write!(f, "{}{}", per_ms / unit.ms, unit.short);
        }
    }
    // Only a rate that is not valid has a period of zero.
    write!(f, "{per_ms}ms")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_of_a_unit_is_taken_twice() {
        let mut names: Vec<_> = UNITS
            .iter()
            .flat_map(|unit| unit.long.iter().copied().chain([unit.short]))
            .chain(["per", "burst"])
            .collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
