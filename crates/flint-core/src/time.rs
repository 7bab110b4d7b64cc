//! The engine's timeline: nanoseconds that only move forward, across restarts too. Every decision and record uses it; people
//! see it translated to the wall clock.

use crate::clock::Clock;
use crate::hooks::{self, Defect};
use crate::sync::Arc;

/// A pairing of engine time and wall time, kept in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Anchor {
    pub(crate) engine_ns: u64,
    pub(crate) wall_ns: u64,
}

/// How far engine and wall time may drift apart before a new anchor is due.
const MAX_DRIFT_NS: u64 = 1_000_000_000;

/// Engine time while the store is open.
pub(crate) struct Timeline {
    clock: Arc<dyn Clock>,
    base_monotonic_ns: u64,
    base_engine_ns: u64,
    /// The newest time given out. Time never goes below it, whatever the clock does.
    newest_ns: u64,
    /// Wall minus engine time as the log knows it; `None` until this session's first anchor is written.
    anchored_offset_ns: Option<i64>,
    /// Wall minus engine time when last looked at.
    offset_ns: i64,
    offset_read_ns: u64,
}

#[expect(
    clippy::cast_possible_wrap,
    reason = "wraps only three centuries after 1970, and then shows wrong dates, no more"
)]
const fn signed(ns: u64) -> i64 {
    ns as i64
}

impl Timeline {
    /// Goes on after `newest_ns`, the newest time in the store. The time that passed meanwhile is what the wall clock says
    /// passed since then; a wall clock that went back counts as no time passed.
    pub(crate) fn resume(clock: Arc<dyn Clock>, newest_ns: u64, anchor: Option<Anchor>) -> Self {
        let (base_monotonic_ns, wall) = clock.both_ns();
        let start = match anchor {
            None => wall.max(newest_ns).max(1),
            Some(anchor) => {
                let newest_wall = anchor.wall_ns.saturating_add(newest_ns.saturating_sub(anchor.engine_ns));
                newest_ns.saturating_add(wall.saturating_sub(newest_wall)).max(1)
            }
        };
        let offset = offset(wall, start);
        Self {
            base_monotonic_ns,
            clock,
            base_engine_ns: start,
            newest_ns: start,
            anchored_offset_ns: None,
            offset_ns: offset,
            offset_read_ns: start,
        }
    }

    /// The current engine time; reading it makes it the newest.
    #[inline]
    pub(crate) fn now(&mut self) -> u64 {
        if hooks::has(Defect::UseWallClock) {
            self.newest_ns = self.newest_ns.max(self.clock.wall_ns());
            return self.newest_ns;
        }
        self.at(self.clock.monotonic_ns())
    }

    #[inline]
    fn at(&mut self, monotonic_ns: u64) -> u64 {
        let elapsed = monotonic_ns.saturating_sub(self.base_monotonic_ns);
        self.newest_ns = self.newest_ns.max(self.base_engine_ns.saturating_add(elapsed));
        self.newest_ns
    }

    /// The newest time given out.
    #[inline]
    pub(crate) const fn newest_ns(&self) -> u64 {
        self.newest_ns
    }

    /// Looks at the wall clock and gives the pairing.
    pub(crate) fn anchor(&mut self) -> Anchor {
        let (monotonic_ns, wall_ns) = self.clock.both_ns();
        let engine_ns = self.at(monotonic_ns);
        self.offset_ns = offset(wall_ns, engine_ns);
        self.offset_read_ns = engine_ns;
        Anchor { engine_ns, wall_ns }
    }

    /// The current engine time with the wall time that the log's newest anchor gives it. A snapshot keeps this pairing: dates and
    /// the time that passes until the next open are the same whether the snapshot is read or the log from its beginning.
    pub(crate) fn logged_anchor(&mut self) -> Anchor {
        let anchor = self.anchor();
        let wall_ns = self.anchored_offset_ns.map_or(anchor.wall_ns, |offset_ns| to_wall(anchor.engine_ns, offset_ns));
        Anchor { wall_ns, ..anchor }
    }

    /// An anchor that has to be written because the wall clock was stepped or drifted, or because there was no room for the
    /// first one, if so.
    pub(crate) fn due_anchor(&mut self) -> Option<Anchor> {
        let anchor = self.anchor();
        let known = self.anchored_offset_ns.is_some_and(|known| self.offset_ns.abs_diff(known) <= MAX_DRIFT_NS);
        (!known).then_some(anchor)
    }

    /// The log holds this anchor now.
    pub(crate) fn anchored(&mut self, anchor: Anchor) {
        self.anchored_offset_ns = Some(offset(anchor.wall_ns, anchor.engine_ns));
    }

    /// Wall minus engine time, at most a second old at `now`: a check does not read a second clock each time.
    #[inline]
    pub(crate) fn offset_ns(&mut self, now: u64) -> i64 {
        if now.saturating_sub(self.offset_read_ns) > MAX_DRIFT_NS {
            self.anchor();
        }
        self.offset_ns
    }
}

/// What has to be added to engine time to give wall time.
pub(crate) const fn offset(wall_ns: u64, engine_ns: u64) -> i64 {
    signed(wall_ns).wrapping_sub(signed(engine_ns))
}

/// Engine time as wall time.
#[inline]
pub(crate) fn to_wall(engine_ns: u64, offset_ns: i64) -> u64 {
    engine_ns.saturating_add_signed(offset_ns)
}

/// A wall-clock time as RFC 3339 with nanoseconds, in UTC. The date is Howard Hinnant's `civil_from_days`.
pub fn rfc3339(wall_ns: u64) -> String {
    let (seconds, ns) = (wall_ns / 1_000_000_000, wall_ns % 1_000_000_000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ns:09}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    const HOUR: u64 = 3_600_000_000_000;

    fn clock(wall: u64) -> Arc<ManualClock> {
        Arc::new(ManualClock::new(wall))
    }

    #[test]
    fn a_stepped_wall_clock_changes_nothing_while_running() {
        let clock = clock(10 * HOUR);
        let mut time = Timeline::resume(clock.clone(), 0, None);
        let start = time.now();
        let first = time.due_anchor().expect("a session's first anchor is due until it is written");
        time.anchored(first);
        assert_eq!(time.due_anchor(), None);
        clock.set_wall_ns(HOUR);
        clock.advance_ns(5);
        assert_eq!(time.now(), start + 5);
        assert_eq!(time.due_anchor(), Some(Anchor { engine_ns: start + 5, wall_ns: HOUR + 5 }));
        time.anchored(Anchor { engine_ns: start + 5, wall_ns: HOUR + 5 });
        assert_eq!(time.due_anchor(), None);
    }

    #[test]
    fn time_between_sessions_counts_from_the_newest_record() {
        let anchor = Some(Anchor { engine_ns: 100, wall_ns: 1_000 * HOUR });
        let mut time = Timeline::resume(clock(1_003 * HOUR), 100 + 2 * HOUR, anchor);
        assert_eq!(time.now(), 100 + 3 * HOUR, "two hours of records and one hour of pause");
    }

    #[test]
    fn a_wall_clock_that_went_back_passes_no_time() {
        let anchor = Some(Anchor { engine_ns: 100, wall_ns: 1_000 * HOUR });
        let mut time = Timeline::resume(clock(HOUR), 500, anchor);
        assert_eq!(time.now(), 500);
    }

    #[test]
    fn a_clock_at_zero_still_gives_a_time() {
        assert_eq!(Timeline::resume(clock(0), 0, None).now(), 1);
    }

    #[test]
    fn dates_are_right_around_leap_days_and_centuries() {
        for (wall_ns, text) in [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (951_782_399_999_999_999, "2000-02-28T23:59:59.999999999Z"),
            (951_782_400_000_000_000, "2000-02-29T00:00:00.000000000Z"),
            (1_709_251_200_000_000_001, "2024-03-01T00:00:00.000000001Z"),
            (4_107_542_400_000_000_000, "2100-03-01T00:00:00.000000000Z"),
            (u64::MAX, "2554-07-21T23:34:33.709551615Z"),
        ] {
            assert_eq!(rfc3339(wall_ns), text);
        }
    }
}
