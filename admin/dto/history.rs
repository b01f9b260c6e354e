//! What a user used, hour by hour, day by day or month by month.

use super::span::{Span, read_ends};
use super::{Issue, LIST_MAX, Usage};
use crate::fields::{Fields, FromFields};
use crate::now;
use serde::Serialize;
use tokenist_control::store::{Dimension, Order, UsageQuery, UsageRow};
use tokenist_core::id::UserId;
use tokenist_core::time::{DAY_MS, HOUR_MS, Timestamp};
use utoipa::{IntoParams, ToSchema};

/// How long a point of a history is, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Grain {
    Hour,
    Day,
    Month,
}

/// What a point of a history is told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "lowercase")]
pub(crate) enum Part {
    Model,
    Feature,
}

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct HistoryQuery {
    /// By default `day`.
    #[param(inline, nullable = false, required = false)]
    grain: Grain,
    /// ISO 8601 with an offset, or a date; its hour counts whole. By default 48 hours, 30 days or a year before `to`.
    #[param(value_type = Option<String>, nullable = false, format = DateTime)]
    from: Option<Timestamp>,
    /// Exclusive, or a date, of which all is meant. By default the end of today.
    #[param(value_type = Option<String>, nullable = false, format = DateTime)]
    to: Option<Timestamp>,
    /// A point for each model or feature.
    #[param(inline, nullable = false)]
    by: Option<Part>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct History {
    user_id: String,
    grain: Grain,
    #[schema(format = DateTime)]
    from: String,
    /// Exclusive.
    #[schema(format = DateTime)]
    to: String,
    /// Oldest first. Where nothing was used there is no point.
    points: Vec<Point>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Point {
    /// When it begins.
    #[schema(format = DateTime)]
    at: String,
    /// If asked for by model.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    model: Option<String>,
    /// If asked for by feature; null is usage without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    feature: Option<Option<String>>,
    usage: Usage,
    /// Responses, transcriptions and recorded calls.
    requests: u64,
}

impl FromFields for HistoryQuery {
    fn from_fields(fields: &mut Fields) -> Option<HistoryQuery> {
        let grain = fields.word("grain", &GRAINS).unwrap_or(Grain::Day);
        let (from, to) = read_ends(fields);
        let query = HistoryQuery { grain, from, to, by: fields.word("by", &PARTS) };
        let span = query.span(now());
        if span.to.since(span.from) / grain.ms_min() > LIST_MAX as u64 {
            return fields.issue("from", TOO_LONG.0, TOO_LONG.1);
        }
        Some(query)
    }
}

impl Grain {
    /// The shortest point.
    pub(super) fn ms_min(self) -> u64 {
        match self {
            Grain::Hour => HOUR_MS,
            Grain::Day => DAY_MS,
            Grain::Month => 28 * DAY_MS,
        }
    }
}

impl HistoryQuery {
    /// What to ask the store.
    pub(crate) fn question(&self, user: &UserId, now: Timestamp) -> UsageQuery {
        let Span { from, to } = self.span(now);
        let grain = match self.grain {
            Grain::Hour => Dimension::Hour,
            Grain::Day => Dimension::Day,
            Grain::Month => Dimension::Month,
        };
        let part = self.by.map(|part| match part {
            Part::Model => Dimension::Model,
            Part::Feature => Dimension::Feature,
        });
        UsageQuery {
            from,
            to,
            users: vec![user.clone()],
            by: [grain].into_iter().chain(part).collect(),
            order: Order::Key,
            // One more tells that there are too many.
            limit: LIST_MAX + 1,
            ..UsageQuery::default()
        }
    }

    fn span(&self, now: Timestamp) -> Span {
        let default_ms = match self.grain {
            Grain::Hour => 2 * DAY_MS,
            Grain::Day => 30 * DAY_MS,
            Grain::Month => 365 * DAY_MS,
        };
        Span::lately(self.from, self.to, default_ms, now)
    }
}

impl History {
    /// Refused rather than cut where it would be too long.
    pub(crate) fn of(
        user: &UserId,
        query: &HistoryQuery,
        rows: &[UsageRow],
        now: Timestamp,
    ) -> Result<History, Issue> {
        if rows.len() > LIST_MAX {
            let (code, message) = TOO_LONG;
            return Err(Issue { path: vec!["from".into()], message: message.into(), code });
        }
        let span = query.span(now);
        let point = |row: &UsageRow| Point {
            at: row.key.at.unwrap_or(span.from).to_string(),
            model: row.key.model.as_ref().map(|model| model.to_string()),
            feature: (query.by == Some(Part::Feature))
                .then(|| row.key.feature.as_ref().map(|feature| feature.to_string())),
            usage: (&row.totals).into(),
            requests: row.totals.usage.requests,
        };
        Ok(History {
            user_id: user.to_string(),
            grain: query.grain,
            from: span.from.to_string(),
            to: span.to.to_string(),
            points: rows.iter().map(point).collect(),
        })
    }
}

/// A code and a sentence.
pub(super) const TOO_LONG: (&str, &str) =
    ("too_big", "More than 10000 points: ask for a shorter range or a coarser grain");
pub(super) const GRAINS: [(&str, Grain); 3] =
    [("hour", Grain::Hour), ("day", Grain::Day), ("month", Grain::Month)];
const PARTS: [(&str, Part); 2] = [("model", Part::Model), ("feature", Part::Feature)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_refused_rather_than_cut() {
        let query = HistoryQuery { grain: Grain::Day, from: None, to: None, by: Some(Part::Model) };
        let (user, now) = (UserId::from("alice"), Timestamp(1_795_478_399_999));
        let of = |count: usize| History::of(&user, &query, &vec![UsageRow::default(); count], now);
        assert_eq!(query.question(&user, now).limit, LIST_MAX + 1);
        assert_eq!(of(LIST_MAX).unwrap().points.len(), LIST_MAX);
        assert_eq!(of(LIST_MAX + 1).unwrap_err().code, "too_big");
    }
}
