//! What an org and its users used.

use super::span::{Coverage, Span, TimeRange};
use super::{BlockedUser, Usage};
use crate::fields::{Fields, FromFields};
use crate::tier::Tier;
use serde::Serialize;
use std::sync::Arc;
use tokenist_control::store::{Dimension, Order, UsageQuery, UsageRow};
use tokenist_control::view::UserView;
use tokenist_core::id::{Feature, OrgId, UserId};
use tokenist_core::limit::WindowKind;
use tokenist_core::time::Timestamp;
use utoipa::{IntoParams, ToSchema};

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct SummaryQuery {
    #[param(ignore)]
    time_range: TimeRange,
    /// Only these users: up to 1,000 ids with commas between them.
    #[param(value_type = Option<String>, nullable = false)]
    user_ids: Vec<UserId>,
    /// Only usage of this feature.
    #[param(value_type = Option<String>, nullable = false)]
    feature: Option<Feature>,
}

/// What a tier allows an org. Null is unlimited.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TierLimits {
    #[serde(rename = "requestsPerMonth")]
    #[schema(required)]
    requests_per_month: Option<u64>,
    /// Always null: nothing is sold beyond a quota.
    #[serde(rename = "overagePer1k")]
    #[schema(required)]
    overage_per_1k: Option<f64>,
}

#[derive(Debug, ToSchema)]
pub(crate) struct TierRequest {
    pub(crate) tier: Tier,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TierReply {
    pub(crate) success: bool,
    pub(crate) org_id: String,
    pub(crate) tier: Tier,
    /// How many users of the org are known, at most 10,000.
    pub(crate) users_updated: usize,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Summary {
    org_id: String,
    #[serde(flatten)]
    coverage: Coverage,
    /// Dollars, of all users.
    total_cost: f64,
    /// Of all users.
    usage: Usage,
    /// How many used something, also where `users` is cut.
    user_count: usize,
    /// The dearest first, at most 1,000.
    users: Vec<Member>,
    #[schema(required)]
    feature_filter: Option<String>,
    tier: Tier,
    tier_limits: TierLimits,
    /// The whole org's responses, transcriptions and recorded calls since the first of the month.
    requests_this_month: u64,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Member {
    user_id: String,
    /// The user's id where no name is known.
    display_name: String,
    usage: Usage,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OrgUser {
    id: String,
    /// The user's id where no name is known.
    display_name: String,
    #[schema(required)]
    email: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OrgBlocked {
    /// In order of id.
    pub(crate) blocked: Vec<BlockedUser>,
    pub(crate) count: usize,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OrgFeature {
    id: String,
    name: String,
}

/// Users are in no groups, so there are none.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OrgGroup {
    id: String,
    name: String,
}

/// What the store is asked for a summary.
#[derive(Debug)]
pub(crate) struct Questions {
    pub(crate) whole: UsageQuery,
    pub(crate) by_user: UsageQuery,
    /// `None` where `whole` asks the same.
    pub(crate) this_month: Option<UsageQuery>,
}

/// What it says.
#[derive(Debug)]
pub(crate) struct Answers {
    pub(crate) whole: Vec<UsageRow>,
    pub(crate) by_user: Vec<UsageRow>,
    pub(crate) user_count: usize,
    /// In order of `by_user`.
    pub(crate) names: Vec<Option<Arc<str>>>,
    pub(crate) this_month: Option<Vec<UsageRow>>,
    pub(crate) tier: Tier,
    pub(crate) tier_limits: TierLimits,
}

impl FromFields for SummaryQuery {
    fn from_fields(fields: &mut Fields) -> Option<SummaryQuery> {
        let time_range = TimeRange::from_fields(fields);
        let user_ids = fields.list("userIds", USERS_MAX, UserId::parse);
        let feature = fields.parsed("feature", Feature::parse);
        Some(SummaryQuery { time_range: time_range?, user_ids: user_ids?, feature })
    }
}

impl FromFields for TierRequest {
    fn from_fields(fields: &mut Fields) -> Option<TierRequest> {
        Some(TierRequest { tier: fields.required("tier", |fields, name| fields.word(name, &TIERS))? })
    }
}

impl SummaryQuery {
    pub(crate) fn questions(&self, org: &OrgId, now: Timestamp) -> Questions {
        let Span { from, to } = self.time_range.span(now);
        let of_org = UsageQuery { org: Some(org.clone()), ..UsageQuery::default() };
        let month = Span::of(WindowKind::Monthly, now);
        let this_month = UsageQuery { from: month.from, to: month.to, ..of_org.clone() };
        let whole =
            UsageQuery { from, to, users: self.user_ids.clone(), feature: self.feature.clone(), ..of_org };
        Questions {
            by_user: UsageQuery { by: vec![Dimension::User], limit: USERS_MAX, ..whole.clone() },
            this_month: (this_month != whole).then_some(this_month),
            whole,
        }
    }
}

impl Summary {
    pub(crate) fn of(org: &OrgId, query: &SummaryQuery, answers: Answers, now: Timestamp) -> Summary {
        let whole = answers.whole.first().map(|row| row.totals).unwrap_or_default();
        let this_month = match &answers.this_month {
            Some(rows) => rows.first().map(|row| row.totals).unwrap_or_default(),
            None => whole,
        };
        let members = answers.by_user.iter().zip(answers.names);
        Summary {
            org_id: org.to_string(),
            coverage: query.time_range.coverage(now),
            total_cost: whole.cost.usd(),
            usage: (&whole).into(),
            user_count: answers.user_count,
            users: members.map(|(row, name)| Member::of(row, name)).collect(),
            feature_filter: query.feature.as_ref().map(|feature| feature.to_string()),
            tier: answers.tier,
            tier_limits: answers.tier_limits,
            requests_this_month: this_month.usage.requests,
        }
    }
}

impl From<Option<u64>> for TierLimits {
    fn from(requests_per_month: Option<u64>) -> TierLimits {
        TierLimits { requests_per_month, overage_per_1k: None }
    }
}

impl From<UserView> for OrgUser {
    fn from(view: UserView) -> OrgUser {
        OrgUser {
            id: view.user.to_string(),
            display_name: view.name.map_or_else(|| view.user.to_string(), |name| name.to_string()),
            email: view.email.map(|email| email.to_string()),
        }
    }
}

impl OrgFeature {
    /// All features that the org ever used.
    pub(crate) fn question(org: OrgId) -> UsageQuery {
        let by = vec![Dimension::Feature];
        UsageQuery { org: Some(org), by, order: Order::Key, limit: super::LIST_MAX, ..UsageQuery::default() }
    }

    /// `None` for usage without one.
    pub(crate) fn of(row: &UsageRow) -> Option<OrgFeature> {
        let feature = row.key.feature.as_ref()?;
        Some(OrgFeature { id: feature.to_string(), name: feature.to_string() })
    }
}

impl Member {
    fn of(row: &UsageRow, name: Option<Arc<str>>) -> Member {
        let user_id = row.key.user.as_ref().map(|user| user.to_string()).unwrap_or_default();
        Member {
            display_name: name.map_or_else(|| user_id.clone(), |name| name.to_string()),
            user_id,
            usage: (&row.totals).into(),
        }
    }
}

const TIERS: [(&str, Tier); 5] = [
    ("free", Tier::Free),
    ("starter", Tier::Starter),
    ("growth", Tier::Growth),
    ("pro", Tier::Pro),
    ("enterprise", Tier::Enterprise),
];
/// As many as one summary lists, and may be asked for.
pub(crate) const USERS_MAX: usize = 1_000;
