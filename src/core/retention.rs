//! How late it is for what is to be removed: a present that no wrong minute of the wall clock can move.
//!
//! Start at [`Present::follow`]. What is removed is gone for good, so the wall clock is believed only as far as another
//! one bears it out, the one that cannot be set. Where it is ahead of that by more than a little, it leaps: then the
//! present goes on from where it was until the leap has lasted, for a clock that is really wrong is set right within
//! hours, and one that was stopped, or was wrong before, stays ahead. A clock that is behind is followed at once, which
//! keeps more and not less.

use crate::time::{HOUR_MS, Instant, Now, Timestamp};

/// The present of retention.
#[derive(Clone, Copy, Debug)]
pub struct Present {
    believed: Timestamp,
    seen: Instant,
    leap: Option<Leap>,
}

/// The wall clock is ahead of what can be believed.
#[derive(Clone, Copy, Debug)]
struct Leap {
    since: Instant,
    ahead_ms: u64,
}

/// What the clocks have just brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    None,
    /// The wall clock has leapt ahead by so much; it is believed after [`LEAP_LASTS_MS`] unless it comes back.
    Leapt {
        ahead_ms: u64,
    },
    /// It came back, or has lasted.
    Landed,
}

/// A clock may be ahead by so much at any time, as time servers and short stops of the process make it.
pub const AHEAD_MAX_MS: u64 = HOUR_MS;
/// A leap that has lasted for so long, while the process ran, is no mistake.
pub const LEAP_LASTS_MS: u64 = 6 * HOUR_MS;

impl Present {
    /// `vouched` is the latest time that is known from before, such as that of the newest row.
    pub fn new(vouched: Timestamp, now: Now) -> Present {
        Present { believed: vouched, seen: now.instant, leap: None }
    }

    pub fn at(&self) -> Timestamp {
        self.believed
    }

    /// Whether the wall clock is not believed.
    pub fn is_held(&self) -> bool {
        self.leap.is_some()
    }

    /// Lets time pass.
    pub fn follow(&mut self, now: Now) -> News {
        let expected = self.believed.plus_ms(now.instant.since(self.seen));
        self.seen = now.instant;
        let ahead_ms = now.wall.since(expected);
        if ahead_ms <= AHEAD_MAX_MS {
            self.believed = now.wall;
            return if self.leap.take().is_some() { News::Landed } else { News::None };
        }
        match self.leap {
            Some(leap) if ahead_ms.abs_diff(leap.ahead_ms) <= AHEAD_MAX_MS => {
                if now.instant.since(leap.since) >= LEAP_LASTS_MS {
                    (self.believed, self.leap) = (now.wall, None);
                    return News::Landed;
                }
                self.believed = expected;
                News::None
            }
            Some(_) | None => {
                (self.believed, self.leap) = (expected, Some(Leap { since: now.instant, ahead_ms }));
                News::Leapt { ahead_ms }
            }
        }
    }
}

/// Whether what began at `start` and is looked back on for so long would be removed by then, where rows go when they
/// are `days` old. 0 days: nothing is removed.
pub fn reaches_beyond(lookback_ms: u64, days: u64) -> bool {
    // A lookback begins with the hour in which it does.
    days > 0 && lookback_ms.saturating_add(HOUR_MS) > days.saturating_mul(crate::time::DAY_MS)
}

/// The least days that hourly rollups have to be kept, for a restart goes on from them: a rolling window's 24 hours,
/// and the whole of the day in which they began.
pub const ROLLUPS_DAYS_MIN: u64 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{DAY_MS, MINUTE_MS, SECOND_MS};
    use proptest::prelude::*;

    const NOON: Timestamp = Timestamp(1_795_435_200_000);
    const START: Now = Now { wall: NOON, instant: Instant(5_000) };

    /// The clocks after the process has run for so long, the wall clock ahead of the right time.
    fn clocks(ran_ms: u64, ahead_ms: i64) -> Now {
        let Now { wall, instant } = START.plus_ms(ran_ms);
        Now { wall: Timestamp(wall.0.checked_add_signed(ahead_ms).unwrap()), instant }
    }

    #[test]
    fn one_wrong_minute_moves_nothing() {
        for ahead_ms in [2 * HOUR_MS, DAY_MS, 400 * DAY_MS] {
            let mut present = Present::new(NOON, START);
            assert_eq!(present.follow(clocks(SECOND_MS, 0)), News::None);
            let wrong = |ran_ms| clocks(ran_ms, ahead_ms as i64);
            let News::Leapt { ahead_ms: told } = present.follow(wrong(2 * SECOND_MS)) else { panic!() };
            assert_eq!(told, ahead_ms);
            for second in 3..=60 {
                assert_eq!(present.follow(wrong(second * SECOND_MS)), News::None);
                assert_eq!(present.at(), NOON.plus_ms(second * SECOND_MS), "it goes on as if right");
            }
            assert!(present.is_held());
            assert_eq!(present.follow(clocks(MINUTE_MS + SECOND_MS, 0)), News::Landed);
            assert_eq!((present.at(), present.is_held()), (NOON.plus_ms(MINUTE_MS + SECOND_MS), false));
        }
    }

    #[test]
    fn a_leap_that_lasts_is_followed_and_one_that_leaps_on_begins_anew() {
        let mut present = Present::new(NOON, START);
        let (day, year) = (DAY_MS as i64, 365 * DAY_MS as i64);
        assert!(matches!(present.follow(clocks(0, day)), News::Leapt { .. }));
        assert!(matches!(present.follow(clocks(5 * HOUR_MS, year)), News::Leapt { .. }));
        assert_eq!(present.follow(clocks(10 * HOUR_MS, year)), News::None);
        assert_eq!(present.at(), clocks(10 * HOUR_MS, 0).wall);
        assert_eq!(present.follow(clocks(11 * HOUR_MS, year)), News::Landed);
        assert_eq!(present.at(), clocks(11 * HOUR_MS, year).wall);
    }

    #[test]
    fn a_start_goes_on_from_what_is_vouched_for() {
        for (stopped_ms, believed) in [(MINUTE_MS, true), (AHEAD_MAX_MS, true), (AHEAD_MAX_MS + 1, false)] {
            let mut present = Present::new(NOON.minus_ms(stopped_ms), START);
            assert_eq!(present.follow(START) == News::None, believed, "stopped for {stopped_ms} ms");
        }
        let mut ahead = Present::new(NOON.plus_ms(DAY_MS), START);
        assert_eq!(
            (ahead.follow(START), ahead.at()),
            (News::None, NOON),
            "rows of a wrong clock do not count"
        );
    }

    #[test]
    fn what_is_looked_back_on_has_to_be_kept() {
        for (lookback_ms, days, refused) in [
            (30 * DAY_MS, 400, false),
            (30 * DAY_MS, 31, false),
            (30 * DAY_MS, 30, true),
            (30 * DAY_MS, 7, true),
            (30 * DAY_MS, 0, false),
            (u64::MAX, 400, true),
            (HOUR_MS, 3, false),
        ] {
            assert_eq!(reaches_beyond(lookback_ms, days), refused, "{lookback_ms} ms of {days} days");
        }
    }

    proptest! {
        /// However the wall clock is set, for less than a leap has to last, nothing is taken for older than it is by
        /// more than each setting may bring.
        #[test]
        fn no_clock_ages_anything_within_hours(ahead in prop::collection::vec(-400..400i64, 1..30)) {
            let mut present = Present::new(NOON, START);
            for (index, days) in ahead.iter().enumerate() {
                let ran_ms = index as u64 * 10 * MINUTE_MS;
                present.follow(clocks(ran_ms, days * DAY_MS as i64));
                let right = clocks(ran_ms, 0).wall;
                prop_assert!(present.at() <= right.plus_ms(AHEAD_MAX_MS), "{} at {right}", present.at());
            }
        }
    }
}
