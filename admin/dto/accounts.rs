//! What an account sees of itself.

use super::span::{Coverage, Span, TimeRange};
use super::{TierLimits, Usage};
use crate::tier::Tier;
use serde::Serialize;
use tokenist_control::store::{UsageQuery, UsageRow};
use tokenist_control::view::Totals;
use tokenist_core::id::OrgId;
use tokenist_core::limit::WindowKind;
use tokenist_core::time::Timestamp;
use utoipa::ToSchema;

/// What the account's org used.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AccountUsage {
    org_id: String,
    #[serde(flatten)]
    coverage: Coverage,
    usage: Usage,
    tier: Tier,
    tier_limits: TierLimits,
    /// Responses, transcriptions and recorded calls since the first of the month.
    requests_this_month: u64,
}

/// Of an org, in the stretch that is asked about and since the first of the month.
pub(crate) fn account_questions(org: &OrgId, time_range: TimeRange, now: Timestamp) -> [UsageQuery; 2] {
    [time_range.span(now), Span::of(WindowKind::Monthly, now)].map(|span| UsageQuery {
        org: Some(org.clone()),
        from: span.from,
        to: span.to,
        ..UsageQuery::default()
    })
}

impl AccountUsage {
    /// `asked` and `month` answer [`account_questions`].
    pub(crate) fn of(
        org: &OrgId,
        time_range: TimeRange,
        [asked, month]: [Vec<UsageRow>; 2],
        (tier, tier_limits): (Tier, TierLimits),
        now: Timestamp,
    ) -> AccountUsage {
        let sum = |rows: Vec<UsageRow>| rows.first().map_or(Totals::default(), |row| row.totals);
        AccountUsage {
            org_id: org.to_string(),
            coverage: time_range.coverage(now),
            usage: (&sum(asked)).into(),
            tier,
            tier_limits,
            requests_this_month: sum(month).usage.requests,
        }
    }
}
