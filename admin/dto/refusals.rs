//! Refusals, and their reasons.

use super::list_limit;
use crate::fields::{Fields, FromFields};
use serde::Serialize;
use std::sync::Arc;
use tokenist_control::store::RefusalFilter;
use tokenist_core::close_reason::Measure;
use tokenist_core::id::{OrgId, UserId};
use tokenist_core::refusal;
use tokenist_core::time::Timestamp;
use utoipa::{IntoParams, ToSchema};

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct RefusalsQuery {
    #[param(value_type = Option<String>, nullable = false)]
    user: Option<UserId>,
    #[param(value_type = Option<String>, nullable = false)]
    org: Option<OrgId>,
    /// A key's id.
    #[param(nullable = false)]
    key: Option<String>,
    /// Such as `cost_limit_reached`, `token_limit_reached`, `user_blocked`, `too_many_sessions`, `unauthorized`.
    #[param(nullable = false)]
    reason: Option<String>,
    /// At most this many.
    #[param(nullable = false, minimum = 1, maximum = 10_000, default = 100)]
    limit: Option<usize>,
    /// The `nextCursor` of the page before.
    #[param(value_type = Option<String>, nullable = false)]
    cursor: Option<(Timestamp, Arc<str>)>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RefusalList {
    /// The newest first.
    refusals: Vec<Refusal>,
    /// Give it as `cursor` to read on; null after the last page.
    #[schema(required)]
    next_cursor: Option<String>,
    /// How many users and keys were refused by this instance within the last five minutes.
    refused_recently: usize,
}

/// What happened to one user or key, for one reason, in one minute.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Refusal {
    id: String,
    /// The minute's start.
    #[schema(format = DateTime)]
    minute: String,
    /// The last of them; what follows but the count is of that one.
    #[schema(format = DateTime)]
    last_at: String,
    /// Null where a key was shown that speaks for no user.
    #[schema(required)]
    user_id: Option<String>,
    #[schema(required)]
    org_id: Option<String>,
    #[schema(required)]
    key_id: Option<String>,
    /// The `code` that its application was told.
    reason: String,
    close_code: u16,
    count: u64,
    /// Where it came from; null where an application asked by `/sdk/check`.
    #[schema(required)]
    address: Option<String>,
    /// Of a limit that was reached.
    #[schema(required)]
    limit: Option<MeasureUsed>,
}

/// How far something came that a limit counts.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MeasureUsed {
    measure: MeasureName,
    used: f64,
    limit: f64,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum MeasureName {
    CostUsd,
    Tokens,
}

impl FromFields for RefusalsQuery {
    fn from_fields(fields: &mut Fields) -> Option<RefusalsQuery> {
        Some(RefusalsQuery {
            user: fields.parsed("user", UserId::parse),
            org: fields.parsed("org", OrgId::parse),
            key: fields.text("key", 1..=256),
            reason: fields.text("reason", 1..=64),
            limit: list_limit(fields),
            cursor: fields.parsed("cursor", parse_cursor),
        })
    }
}

impl RefusalsQuery {
    fn limit(&self) -> usize {
        self.limit.unwrap_or(100)
    }

    /// One more than is shown tells whether there are more.
    pub(crate) fn filter(&self) -> RefusalFilter {
        RefusalFilter {
            user: self.user.clone(),
            org: self.org.clone(),
            key: self.key.as_deref().map(Into::into),
            reason: self.reason.as_deref().map(Into::into),
            after: self.cursor.clone(),
            limit: self.limit() + 1,
        }
    }
}

impl RefusalList {
    pub(crate) fn of(
        query: &RefusalsQuery,
        mut refusals: Vec<refusal::Refusal>,
        refused_recently: usize,
    ) -> RefusalList {
        let more = refusals.len() > query.limit();
        refusals.truncate(query.limit());
        let last = refusals.last().filter(|_| more);
        let next_cursor = last.map(|last| format!("{}:{}", last.minute.0, last.id));
        RefusalList {
            refusals: refusals.into_iter().map(Refusal::from).collect(),
            next_cursor,
            refused_recently,
        }
    }
}

impl From<refusal::Refusal> for Refusal {
    fn from(refusal: refusal::Refusal) -> Refusal {
        let refusal::Refused { at, user, org, key, address, reason, count } = refusal.last;
        let refusal::RefusalReason { code, close_code, measure } = reason;
        Refusal {
            id: refusal.id.to_string(),
            minute: refusal.minute.to_string(),
            last_at: at.to_string(),
            user_id: user.map(|user| user.to_string()),
            org_id: org.map(|org| org.to_string()),
            key_id: key.map(|key| key.to_string()),
            reason: code.to_string(),
            close_code,
            count,
            address: Some(address.to_string()).filter(|address| !address.is_empty()),
            limit: measure.map(MeasureUsed::from),
        }
    }
}

impl From<Measure> for MeasureUsed {
    fn from(measure: Measure) -> MeasureUsed {
        match measure {
            Measure::Cost { used, limit } => {
                MeasureUsed { measure: MeasureName::CostUsd, used: used.usd(), limit: limit.usd() }
            }
            Measure::Tokens { used, limit } => {
                MeasureUsed { measure: MeasureName::Tokens, used: used as f64, limit: limit as f64 }
            }
        }
    }
}

fn parse_cursor(bytes: &[u8]) -> Result<(Timestamp, Arc<str>), &'static str> {
    let parts = || {
        let (minute, id) = std::str::from_utf8(bytes).ok()?.split_once(':')?;
        Some((Timestamp(minute.parse().ok()?), id.into()))
    };
    parts().ok_or("is no nextCursor of this list")
}
