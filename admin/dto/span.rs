//! Which stretch of the past is asked about, and what it is called.

use super::WINDOWS;
use crate::fields::{Fields, FromFields};
use serde::Serialize;
use tokenist_core::limit::WindowKind;
use tokenist_core::time::{DAY_MS, Date, HOUR_MS, Timestamp};
use utoipa::{IntoParams, ToSchema};

/// A window of now, or a range between two times.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(crate) enum Period {
    #[serde(rename = "daily")]
    Daily,
    #[serde(rename = "monthly")]
    Monthly,
    #[serde(rename = "rolling_24h")]
    Rolling24h,
    #[serde(rename = "total")]
    Total,
    #[serde(rename = "range")]
    Range,
}

/// What an answer is about.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Covered)]
pub(crate) struct Coverage {
    period: Period,
    /// The period for people, in UTC: `Nov 2026`, `2026-11-23`, `Last 24 hours`, `1 – 7 Nov 2026`.
    period_label: String,
    #[schema(format = DateTime)]
    from: String,
    /// Exclusive. Null is no end.
    #[schema(required, format = DateTime)]
    to: Option<String>,
}

/// A range of time with both its ends. The store keeps whole hours, so it begins with one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) from: Timestamp,
    /// Exclusive.
    pub(crate) to: Timestamp,
}

/// Which stretch is asked about: this month, if nothing is said.
#[derive(Clone, Copy, Debug, Default, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct TimeRange {
    /// A window of now.
    #[param(value_type = Option<super::Window>, nullable = false, default = "monthly")]
    period: Option<WindowKind>,
    /// Goes before `period`. ISO 8601 with an offset, or a date; its hour counts whole.
    #[param(value_type = Option<String>, nullable = false, format = DateTime)]
    from: Option<Timestamp>,
    /// Likewise. Exclusive, or a date, of which all is meant. By default the end of today.
    #[param(value_type = Option<String>, nullable = false, format = DateTime)]
    to: Option<Timestamp>,
}

/// Reads `from` and `to`, of which a range has at least one.
pub(crate) fn read_ends(fields: &mut Fields) -> (Option<Timestamp>, Option<Timestamp>) {
    let (from, to) = (fields.time("from"), fields.time_to("to"));
    if from.zip(to).is_some_and(|(from, to)| from >= to) {
        fields.issue::<()>("from", "custom", "from must come before to");
    }
    (from, to)
}

impl Span {
    /// A range that has at least one end: from the beginning, or to the end of today. `None` if neither is said.
    pub(crate) fn between(from: Option<Timestamp>, to: Option<Timestamp>, now: Timestamp) -> Option<Span> {
        (from.is_some() || to.is_some()).then(|| Span {
            from: hour_start(from.unwrap_or_default()),
            to: to.unwrap_or(now.next_day_start()),
        })
    }

    /// A range that may have no end: the last `default_ms` before `to`, or before now.
    pub(crate) fn lately(
        from: Option<Timestamp>,
        to: Option<Timestamp>,
        default_ms: u64,
        now: Timestamp,
    ) -> Span {
        let from = from.unwrap_or(to.unwrap_or(now).minus_ms(default_ms));
        Span { from: hour_start(from), to: to.unwrap_or(now.next_day_start()) }
    }

    /// The window as it stands at `now`. Of the last 24 hours the oldest counts whole.
    pub(crate) fn of(window: WindowKind, now: Timestamp) -> Span {
        match window {
            WindowKind::Daily => Span { from: now.day_start(), to: now.next_day_start() },
            WindowKind::Monthly => Span { from: now.month_start(), to: now.next_month_start() },
            WindowKind::Rolling24h => {
                Span { from: hour_start(now.minus_ms(DAY_MS)), to: now.next_day_start() }
            }
            WindowKind::Total => Span { from: Timestamp(0), to: Timestamp::MAX },
        }
    }

    /// `1 – 7 Nov 2026`, with as little said twice as possible.
    fn label(self) -> String {
        let (first, last) = (self.from.date(), self.to.minus_ms(1).date());
        let whole = day_month_year(last);
        match (first, last) {
            _ if self.from == Timestamp(0) => format!("Until {whole}"),
            (first, last) if first == last => whole,
            (first, last) if (first.year, first.month) == (last.year, last.month) => {
                format!("{} – {whole}", first.day)
            }
            (first, last) if first.year == last.year => format!("{} {} – {whole}", first.day, month(first)),
            (first, _) => format!("{} – {whole}", day_month_year(first)),
        }
    }
}

impl FromFields for TimeRange {
    fn from_fields(fields: &mut Fields) -> Option<TimeRange> {
        let period = fields.word("period", &WINDOWS);
        let (from, to) = read_ends(fields);
        Some(TimeRange { period, from, to })
    }
}

impl TimeRange {
    pub(crate) fn span(self, now: Timestamp) -> Span {
        self.range(now).unwrap_or_else(|| Span::of(self.window(), now))
    }

    pub(crate) fn coverage(self, now: Timestamp) -> Coverage {
        let (range, Span { from, to }) = (self.range(now), self.span(now));
        Coverage {
            period: range.map_or(self.window().into(), |_| Period::Range),
            period_label: range.map_or_else(|| window_label(self.window(), now), Span::label),
            from: from.to_string(),
            to: (to < Timestamp::MAX).then(|| to.to_string()),
        }
    }

    /// What to compare it with: as long a range right before it, or of a day or month that is not over the same part
    /// of the one before. There is none before all time.
    pub(crate) fn previous(self, now: Timestamp) -> Option<Span> {
        let Span { from, to } = self.span(now);
        let earlier = |start: Timestamp, end: Timestamp, ms: u64| {
            (start < end).then(|| Span { from: start, to: hour_end(start.plus_ms(ms)).min(end) })
        };
        match (self.range(now), self.window()) {
            (Some(_), _) => earlier(from.minus_ms(to.since(from)), from, to.since(from)),
            (None, WindowKind::Daily) => earlier(from.minus_ms(DAY_MS), from, now.since(from)),
            (None, WindowKind::Monthly) => earlier(from.minus_ms(1).month_start(), from, now.since(from)),
            (None, WindowKind::Rolling24h) => earlier(from.minus_ms(DAY_MS), from, DAY_MS),
            (None, WindowKind::Total) => None,
        }
    }

    fn window(self) -> WindowKind {
        self.period.unwrap_or(WindowKind::Monthly)
    }

    fn range(self, now: Timestamp) -> Option<Span> {
        let Span { from, to } = Span::between(self.from, self.to, now)?;
        // So that sums by the hour can answer.
        Some(Span { from, to: hour_end(to) })
    }
}

impl From<WindowKind> for Period {
    fn from(window: WindowKind) -> Period {
        match window {
            WindowKind::Daily => Period::Daily,
            WindowKind::Monthly => Period::Monthly,
            WindowKind::Rolling24h => Period::Rolling24h,
            WindowKind::Total => Period::Total,
        }
    }
}

/// `Nov 2026`, `2026-11-23`, `Last 24 hours`.
pub(crate) fn window_label(window: WindowKind, now: Timestamp) -> String {
    let date = now.date();
    match window {
        WindowKind::Daily => format!("{:04}-{:02}-{:02}", date.year, date.month, date.day),
        WindowKind::Monthly => format!("{} {}", month(date), date.year),
        WindowKind::Rolling24h => "Last 24 hours".to_owned(),
        WindowKind::Total => "All time".to_owned(),
    }
}

fn day_month_year(date: Date) -> String {
    format!("{} {} {}", date.day, month(date), date.year)
}

fn month(date: Date) -> &'static str {
    const NAMES: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    NAMES[date.month as usize - 1]
}

fn hour_start(at: Timestamp) -> Timestamp {
    Timestamp(at.0 - at.0 % HOUR_MS)
}

/// The end of an hour that has begun.
fn hour_end(at: Timestamp) -> Timestamp {
    if at.0.is_multiple_of(HOUR_MS) { at } else { hour_start(at).plus_ms(HOUR_MS) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_is_compared_with_as_long_a_one_before() {
        let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_millisecond() as u64;
        let at = |text: &str| Timestamp(at(text));
        let now = at("2026-03-30T10:20:00Z");
        let (none, daily) = (TimeRange { period: None, from: None, to: None }, Some(WindowKind::Daily));
        let range = |from: &str, to: &str| TimeRange { from: Some(at(from)), to: Some(at(to)), ..none };
        for (time_range, previous) in [
            // February has no 30th.
            (none, Some(("2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"))),
            (TimeRange { period: daily, ..none }, Some(("2026-03-29T00:00:00Z", "2026-03-29T11:00:00Z"))),
            (
                TimeRange { period: Some(WindowKind::Rolling24h), ..none },
                Some(("2026-03-28T10:00:00Z", "2026-03-29T10:00:00Z")),
            ),
            (TimeRange { period: Some(WindowKind::Total), ..none }, None),
            (
                range("2026-03-08T00:00:00Z", "2026-03-15T00:00:00Z"),
                Some(("2026-03-01T00:00:00Z", "2026-03-08T00:00:00Z")),
            ),
            (
                range("2026-03-08T05:30:00Z", "2026-03-08T06:30:00Z"),
                Some(("2026-03-08T03:00:00Z", "2026-03-08T05:00:00Z")),
            ),
            (TimeRange { to: Some(at("2026-03-15T00:00:00Z")), ..none }, None),
        ] {
            let previous = previous.map(|(from, to)| Span { from: at(from), to: at(to) });
            assert_eq!(time_range.previous(now), previous, "{time_range:?}");
        }
    }

    #[test]
    fn a_range_is_called_by_its_days() {
        let at = |text: &str| Timestamp::parse_date(text).unwrap();
        for (from, to, label) in [
            (at("2026-11-01"), at("2026-11-08"), "1 – 7 Nov 2026"),
            (at("2026-11-07"), at("2026-11-08"), "7 Nov 2026"),
            (at("2026-11-07").plus_ms(HOUR_MS), at("2026-11-08").plus_ms(1), "7 – 8 Nov 2026"),
            (at("2026-10-28"), at("2026-11-04"), "28 Oct – 3 Nov 2026"),
            (at("2025-12-28"), at("2026-01-04"), "28 Dec 2025 – 3 Jan 2026"),
            (Timestamp(0), at("2026-11-08"), "Until 7 Nov 2026"),
        ] {
            assert_eq!(Span { from, to }.label(), label);
        }
    }

    #[test]
    fn windows_of_now_are_whole_hours_days_and_months() {
        let now = Timestamp(1_795_478_399_999);
        for (window, from, to, label) in [
            (WindowKind::Daily, "2026-11-23T00:00:00.000Z", "2026-11-24T00:00:00.000Z", "2026-11-23"),
            (WindowKind::Monthly, "2026-11-01T00:00:00.000Z", "2026-12-01T00:00:00.000Z", "Nov 2026"),
            (WindowKind::Rolling24h, "2026-11-22T23:00:00.000Z", "2026-11-24T00:00:00.000Z", "Last 24 hours"),
        ] {
            let span = Span::of(window, now);
            assert_eq!((span.from.to_string(), span.to.to_string()), (from.into(), to.into()));
            assert_eq!(window_label(window, now), label);
        }
    }
}
