//! Usage over time, told apart by one thing.

use super::history::TOO_LONG;
use super::span::Span;
use super::{Grain, LIST_MAX, Usage};
use crate::fields::Fields;
use serde::Serialize;
use tokenist_control::explore::{self, SeriesQuery, Step};
use tokenist_control::store::Dimension;
use tokenist_core::time::{DAY_MS, Timestamp};
use utoipa::ToSchema;

/// What usage is told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Grouping {
    User,
    Org,
    Feature,
    Provider,
    Model,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Series {
    grain: Grain,
    /// The eight dearest, and all others as a last one.
    groups: Vec<SeriesGroup>,
    /// Oldest first, from the beginning, or from the first usage of all time, until now. Empty if nothing was used.
    points: Vec<SeriesPoint>,
}

#[derive(Debug, Serialize, ToSchema)]
struct SeriesGroup {
    /// Null is usage without such a name, or all others, or all where nothing is told apart.
    #[schema(required)]
    key: Option<String>,
    /// Whether it is all others.
    other: bool,
    /// Over the whole stretch. When the others were last used is not told.
    usage: Usage,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SeriesPoint {
    /// When it begins.
    #[schema(format = DateTime)]
    at: String,
    /// One for each group.
    cost_usd: Vec<f64>,
    /// One for each group.
    total_tokens: Vec<u64>,
}

impl Grouping {
    pub(crate) const WORDS: [(&str, Grouping); 5] = [
        ("user", Grouping::User),
        ("org", Grouping::Org),
        ("feature", Grouping::Feature),
        ("provider", Grouping::Provider),
        ("model", Grouping::Model),
    ];

    pub(crate) fn dimension(self) -> Dimension {
        match self {
            Grouping::User => Dimension::User,
            Grouping::Org => Dimension::Org,
            Grouping::Feature => Dimension::Feature,
            Grouping::Provider => Dimension::Provider,
            Grouping::Model => Dimension::Model,
        }
    }
}

impl Grain {
    /// Some dozens of points.
    pub(crate) fn for_span(span: Span) -> Grain {
        match span.to.since(span.from) {
            ms if ms <= 3 * DAY_MS => Grain::Hour,
            ms if ms <= 100 * DAY_MS => Grain::Day,
            _ => Grain::Month,
        }
    }

    pub(crate) fn step(self) -> Step {
        match self {
            Grain::Hour => Step::Hour,
            Grain::Day => Step::Day,
            Grain::Month => Step::Month,
        }
    }

    /// Leaves an issue where the points until `now` would be too many.
    pub(crate) fn check(self, fields: &mut Fields, span: Span, now: Timestamp) {
        if span.to.min(now).since(span.from) / self.ms_min() > LIST_MAX as u64 {
            fields.issue::<()>("grain", TOO_LONG.0, TOO_LONG.1);
        }
    }

    pub(crate) fn series(self, by: Option<Grouping>, span: Span, now: Timestamp) -> SeriesQuery {
        SeriesQuery { step: self.step(), by: by.map(Grouping::dimension), until: span.to.min(now) }
    }
}

impl Series {
    pub(crate) fn of(grain: Grain, series: &explore::Series) -> Series {
        let group = |group: &explore::Group| SeriesGroup {
            key: group.key.as_ref().map(|key| key.to_string()),
            other: group.is_other,
            usage: (&group.totals).into(),
        };
        let point = |point: &explore::Point| SeriesPoint {
            at: point.at.to_string(),
            cost_usd: point.parts.iter().map(|part| part.cost.usd()).collect(),
            total_tokens: point.parts.iter().map(|part| part.usage.total_tokens()).collect(),
        };
        Series {
            grain,
            groups: series.groups.iter().map(group).collect(),
            points: series.points.iter().map(point).collect(),
        }
    }
}
