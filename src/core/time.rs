//! Two clocks as two types, and calendar steps in UTC. The time is not known here: it is handed in.
//!
//! A [`Timestamp`] is the wall clock's: what is booked, in which window, and until when a block or a key holds. That
//! clock may be set, forwards and back. An [`Instant`] is a clock's that only ever runs: how long something took, and
//! when something is due. Neither becomes the other, so that no wrong wall clock can cut a session or keep one alive.

use serde::{Deserialize, Serialize};
use std::fmt;

pub const SECOND_MS: u64 = 1_000;
pub const MINUTE_MS: u64 = 60 * SECOND_MS;
pub const HOUR_MS: u64 = 60 * MINUTE_MS;
pub const DAY_MS: u64 = 24 * HOUR_MS;

/// The greatest step back of a clock that is waited out, for time servers make such steps. A greater one is the
/// correction of a clock that was far ahead.
pub const STEP_BACK_MS: u64 = MINUTE_MS;

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

/// Milliseconds on a clock that cannot be set, since a moment that means something in this process alone. So it is
/// neither stored nor sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(pub u64);

/// What both clocks say at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    pub wall: Timestamp,
    pub instant: Instant,
}

/// A day or a month on the UTC calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date {
    pub year: u64,
    /// 1 to 12.
    pub month: u64,
    /// 1 to 31.
    pub day: u64,
}

impl Now {
    /// Where both clocks have run on alike.
    pub fn plus_ms(self, ms: u64) -> Now {
        Now { wall: self.wall.plus_ms(ms), instant: self.instant.plus_ms(ms) }
    }
}

impl Instant {
    /// Never comes.
    pub const MAX: Instant = Instant(u64::MAX);

    pub fn plus_ms(self, ms: u64) -> Instant {
        Instant(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to here; 0 if that is later.
    pub fn since(self, earlier: Instant) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Timestamp {
    pub const MAX: Timestamp = Timestamp(u64::MAX);

    pub fn plus_ms(self, ms: u64) -> Timestamp {
        Timestamp(self.0.saturating_add(ms))
    }

    pub fn minus_ms(self, ms: u64) -> Timestamp {
        Timestamp(self.0.saturating_sub(ms))
    }

    /// Milliseconds from `earlier` to here; 0 if the clock went backwards.
    pub fn since(self, earlier: Timestamp) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    pub fn day_start(self) -> Timestamp {
        Timestamp(self.0 - self.0 % DAY_MS)
    }

    pub fn next_day_start(self) -> Timestamp {
        self.day_start().plus_ms(DAY_MS)
    }

    pub fn month_start(self) -> Timestamp {
        let date = self.date();
        Timestamp(days_to(date.year, date.month) * DAY_MS)
    }

    pub fn next_month_start(self) -> Timestamp {
        let date = self.date();
        let (year, month) = if date.month == 12 { (date.year + 1, 1) } else { (date.year, date.month + 1) };
        Timestamp(days_to(year, month) * DAY_MS)
    }

    /// Midnight UTC of a date written `2026-11-23`; `None` for what is not a date or lies before 1970.
    pub fn parse_date(text: &str) -> Option<Timestamp> {
        let (year, month_day) = text.split_once('-')?;
        let (month, day) = month_day.split_once('-')?;
        let number = |digits: &str, length| {
            (digits.len() == length && digits.bytes().all(|byte| byte.is_ascii_digit()))
                .then(|| digits.parse().ok())?
        };
        let date = Date { year: number(year, 4)?, month: number(month, 2)?, day: number(day, 2)? };
        // Nonsense such as 30 February does not survive the way back.
        (date.year >= 1970 && (1..=12).contains(&date.month) && (1..=31).contains(&date.day)).then_some(())?;
        let at = Timestamp((days_to(date.year, date.month) + date.day - 1) * DAY_MS);
        (at.date() == date).then_some(at)
    }

    /// A moment of RFC 3339, such as `2026-11-23T10:00:00.5+01:00`; `None` for what is none or lies before 1970.
    pub fn parse(text: &str) -> Option<Timestamp> {
        let (date, rest) = text.split_at_checked(10)?;
        let rest = rest.strip_prefix(['T', 't', ' '])?;
        let (clock, zone) = rest.split_at(rest.find(['Z', 'z', '+', '-'])?);
        let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
        let two = |text: &str, below: u64| {
            let is_number = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|number: &u64| is_number && *number < below)
        };
        let minutes = |text: &str| {
            let (hour, minute) = text.split_once(':')?;
            Some(two(hour, 24)? * HOUR_MS + two(minute, 60)? * MINUTE_MS)
        };
        let (hour_minute, second) = clock.split_at_checked(5)?;
        let second = two(second.strip_prefix(':')?, 60)?;
        let is_fraction =
            (1..=9).contains(&fraction.len()) && fraction.bytes().all(|byte| byte.is_ascii_digit());
        let ms: u64 = format!("{fraction:0<3}").get(..3)?.parse().ok().filter(|_| is_fraction)?;
        let at = Timestamp::parse_date(date)?.plus_ms(minutes(hour_minute)? + second * SECOND_MS + ms);
        let ahead = || minutes(&zone[1..]);
        match zone.as_bytes()[0] {
            b'Z' | b'z' => (zone.len() == 1).then_some(at),
            b'+' => Some(at.minus_ms(ahead()?)),
            _ => Some(at.plus_ms(ahead()?)),
        }
    }

    /// The UTC calendar date, by the usual count of days from 1 March of year 0.
    pub fn date(self) -> Date {
        let days = self.0 / DAY_MS + 719_468;
        let era = days / 146_097;
        let day_of_era = days % 146_097;
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        Date { year, month, day: day_of_year - (153 * march_month + 2) / 5 + 1 }
    }
}

/// ISO 8601 with milliseconds and `Z`, as every JSON of ours writes it.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Date { year, month, day } = self.date();
        let ms = self.0 % DAY_MS;
        let (hour, minute, second) = (ms / HOUR_MS, ms / MINUTE_MS % 60, ms / SECOND_MS % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", ms % 1_000)
    }
}

/// Days from the epoch to the first of a month.
fn days_to(year: u64, month: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let march_month = if month > 2 { month - 3 } else { month + 9 };
    let (era, year_of_era) = (year / 400, year % 400);
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + (153 * march_month + 2) / 5
        - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_boundaries_follow_the_calendar() {
        for (ms, text, month_start, next_month) in [
            (0, "1970-01-01T00:00:00.000Z", "1970-01-01", "1970-02-01"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z", "2000-02-01", "2000-03-01"),
            (1_795_478_399_999, "2026-11-23T23:59:59.999Z", "2026-11-01", "2026-12-01"),
            (1_798_761_599_000, "2026-12-31T23:59:59.000Z", "2026-12-01", "2027-01-01"),
        ] {
            let at = Timestamp(ms);
            assert_eq!(at.to_string(), text);
            assert_eq!(at.month_start().to_string(), format!("{month_start}T00:00:00.000Z"));
            assert_eq!(at.next_month_start().to_string(), format!("{next_month}T00:00:00.000Z"));
            assert_eq!(at.next_day_start().0 - at.day_start().0, DAY_MS);
        }
    }

    #[test]
    fn dates_are_read_and_nonsense_is_not() {
        for (text, read) in [
            ("1970-01-01", Some("1970-01-01T00:00:00.000Z")),
            ("2024-02-29", Some("2024-02-29T00:00:00.000Z")),
            ("2026-12-31", Some("2026-12-31T00:00:00.000Z")),
            ("2026-02-29", None),
            ("2026-13-01", None),
            ("2026-00-10", None),
            ("2026-01-00", None),
            ("1969-12-31", None),
            ("26-1-1", None),
            ("2026-11", None),
            ("+026-11-23", None),
            ("", None),
        ] {
            assert_eq!(Timestamp::parse_date(text).map(|at| at.to_string()).as_deref(), read, "{text}");
        }
    }

    #[test]
    fn moments_are_read_in_any_zone_and_nonsense_is_not() {
        for (text, read) in [
            ("2026-11-23T10:00:00Z", Some("2026-11-23T10:00:00.000Z")),
            ("2026-11-23 10:00:00.123456+00:00", Some("2026-11-23T10:00:00.123Z")),
            ("2026-11-23T10:00:00.5+01:30", Some("2026-11-23T08:30:00.500Z")),
            ("2026-11-23T23:30:00-01:00", Some("2026-11-24T00:30:00.000Z")),
            ("2026-11-23T24:00:00Z", None),
            ("2026-11-23T10:60:00Z", None),
            ("2026-11-23T10:00:00", None),
            ("2026-11-23T10:00Z", None),
            ("2026-11-23T10:00:00.Z", None),
            ("2026-11-23T10:00:00Zulu", None),
            ("2026-11-23T10:00:00+1", None),
            ("2026-11-2310:00:00Z", None),
            ("", None),
            ("\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}", None),
        ] {
            assert_eq!(Timestamp::parse(text).map(|at| at.to_string()).as_deref(), read, "{text}");
        }
    }

    #[test]
    fn every_month_of_four_centuries_starts_on_the_first() {
        let mut at = Timestamp(0);
        for _ in 0..400 * 12 {
            assert_eq!(at.date().day, 1, "{at}");
            assert_eq!(at.month_start(), at);
            assert_eq!(at.next_month_start().minus_ms(1).month_start(), at);
            at = at.next_month_start();
        }
    }
}
