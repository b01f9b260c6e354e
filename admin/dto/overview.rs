//! Everything at a glance.

use super::span::{Coverage, Span, TimeRange};
use super::{Grain, Grouping, Series, Usage};
use crate::fields::{Fields, FromFields};
use serde::Serialize;
use tokenist_control::explore::{Exploration, Explored};
use tokenist_control::prices::Unpriced;
use tokenist_control::store::{Dimension, UsageQuery, UsageRow};
use tokenist_control::view::{Profile, Totals};
use tokenist_core::time::Timestamp;
use utoipa::{IntoParams, ToSchema};

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct OverviewQuery {
    #[param(ignore)]
    time_range: TimeRange,
    /// What the series is told apart by.
    #[param(value_type = Option<Grouping>, nullable = false, default = "model")]
    by: Grouping,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Overview {
    #[serde(flatten)]
    coverage: Coverage,
    usage: Usage,
    /// The part of its cost that is a guess, because no price is known for the model.
    unpriced_cost_usd: f64,
    /// Users that used something.
    active_users: usize,
    /// Now, on this instance.
    live_sessions: usize,
    /// Now.
    blocked_users: usize,
    /// As long a stretch right before, or the same part of the day or month before. Null before all time.
    #[schema(required)]
    previous: Option<Previous>,
    by: Grouping,
    series: Series,
    /// The ten dearest.
    top_users: Vec<TopUser>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Previous {
    #[schema(format = DateTime)]
    from: String,
    /// Exclusive.
    #[schema(format = DateTime)]
    to: String,
    usage: Usage,
    active_users: usize,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TopUser {
    user_id: String,
    #[schema(required)]
    display_name: Option<String>,
    #[schema(required)]
    org_id: Option<String>,
    usage: Usage,
}

/// What the store is asked for an overview.
#[derive(Debug)]
pub(crate) struct OverviewQuestions {
    pub(crate) whole: Exploration,
    /// By user, with as many rows as there are top users.
    pub(crate) top: UsageQuery,
    pub(crate) previous: Option<UsageQuery>,
}

/// What it says, and what the ledger does.
#[derive(Debug)]
pub(crate) struct OverviewAnswers {
    pub(crate) explored: Explored,
    pub(crate) unpriced: Unpriced,
    pub(crate) top: Vec<UsageRow>,
    /// In order of `top`.
    pub(crate) profiles: Vec<Profile>,
    pub(crate) active_users: usize,
    /// What was used, and by how many.
    pub(crate) previous: Option<(Totals, usize)>,
    pub(crate) live_sessions: usize,
    pub(crate) blocked_users: usize,
}

impl FromFields for OverviewQuery {
    fn from_fields(fields: &mut Fields) -> Option<OverviewQuery> {
        let time_range = TimeRange::from_fields(fields);
        let by = fields.word("by", &Grouping::WORDS).unwrap_or(Grouping::Model);
        Some(OverviewQuery { time_range: time_range?, by })
    }
}

impl OverviewQuery {
    pub(crate) fn questions(&self, now: Timestamp) -> OverviewQuestions {
        let span = self.time_range.span(now);
        let within = |Span { from, to }: Span| UsageQuery { from, to, ..UsageQuery::default() };
        OverviewQuestions {
            whole: Exploration {
                query: within(span),
                offset: 0,
                series: Some(Grain::for_span(span).series(Some(self.by), span, now)),
            },
            top: UsageQuery { by: vec![Dimension::User], limit: TOP_USERS, ..within(span) },
            previous: self.time_range.previous(now).map(within),
        }
    }
}

impl Overview {
    pub(crate) fn of(query: &OverviewQuery, answers: OverviewAnswers, now: Timestamp) -> Overview {
        let time_range = query.time_range;
        let span = time_range.span(now);
        let previous = time_range.previous(now).zip(answers.previous);
        let series = answers.explored.series.unwrap_or_default();
        Overview {
            coverage: time_range.coverage(now),
            usage: (&answers.explored.whole).into(),
            unpriced_cost_usd: answers.unpriced.cost.usd(),
            active_users: answers.active_users,
            live_sessions: answers.live_sessions,
            blocked_users: answers.blocked_users,
            previous: previous.map(|(span, (totals, active_users))| Previous {
                from: span.from.to_string(),
                to: span.to.to_string(),
                usage: (&totals).into(),
                active_users,
            }),
            by: query.by,
            series: Series::of(Grain::for_span(span), &series),
            top_users: answers
                .top
                .iter()
                .zip(answers.profiles)
                .map(|(row, profile)| TopUser::of(row, profile))
                .collect(),
        }
    }
}

impl TopUser {
    fn of(row: &UsageRow, profile: Profile) -> TopUser {
        TopUser {
            user_id: row.key.user.as_ref().map(|user| user.to_string()).unwrap_or_default(),
            display_name: profile.name.map(|name| name.to_string()),
            org_id: profile.org.map(|org| org.to_string()),
            usage: (&row.totals).into(),
        }
    }
}

const TOP_USERS: usize = 10;
