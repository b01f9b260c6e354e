//! Live sessions, and those that are over.

use super::{Usage, list_limit, page};
use crate::fields::{Fields, FromFields};
use serde::Serialize;
use tokenist_control::store::Filter;
use tokenist_control::view::SessionView;
use tokenist_core::batch::SessionRecord;
use tokenist_core::id::{OrgId, SessionId, UserId};
use tokenist_core::time::Timestamp;
use utoipa::{IntoParams, ToSchema};

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Sessions {
    /// Oldest first.
    pub(crate) sessions: Vec<Session>,
    /// How many are live, also where `limit` cut the list.
    pub(crate) total: usize,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Session {
    /// Among past sessions it is `id`.
    session_id: String,
    user_id: String,
    #[schema(required)]
    org_id: Option<String>,
    #[schema(required)]
    feature: Option<String>,
    provider: String,
    #[schema(required)]
    model: Option<String>,
    #[schema(format = DateTime)]
    opened_at: String,
    age_seconds: u64,
    /// `websocket`, `http`, `webrtc` or `sip`.
    transport: &'static str,
    /// By what its provider knows the call that it is, or is attached to, such as `rtc_…`.
    #[schema(required)]
    call_id: Option<String>,
    /// It was to end, and the provider has not ended it yet: it goes on and is charged.
    hangup_fails: bool,
    /// Of responses that are over.
    usage: Usage,
    /// What responses that were over within the last 60 seconds cost.
    cost_per_minute_usd: f64,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PastSessions {
    /// Those that closed last come first.
    pub(crate) sessions: Vec<PastSession>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PastSession {
    /// What was `sessionId` while it was live.
    id: String,
    user_id: String,
    #[schema(required)]
    org_id: Option<String>,
    #[schema(required)]
    feature: Option<String>,
    /// The one that was metered last.
    #[schema(required)]
    model: Option<String>,
    provider: String,
    /// As of a live session; likewise the next one.
    transport: &'static str,
    #[schema(required)]
    call_id: Option<String>,
    #[schema(format = DateTime)]
    opened_at: String,
    #[schema(format = DateTime)]
    closed_at: String,
    close_code: u16,
    usage: Usage,
}

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PastSessionsQuery {
    /// Only sessions of this user.
    #[param(value_type = Option<String>, nullable = false)]
    user: Option<UserId>,
    /// Only sessions of this org.
    #[param(value_type = Option<String>, nullable = false)]
    org: Option<OrgId>,
    /// At most this many sessions.
    #[param(value_type = Option<usize>, nullable = false, minimum = 1, maximum = 1_000, default = 100)]
    limit: usize,
    /// Leaves out so many of those that closed last.
    #[param(value_type = Option<usize>, nullable = false, maximum = 1_000_000, default = 0)]
    offset: usize,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SessionReply {
    success: bool,
    session_id: String,
}

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct SessionsQuery {
    /// At most this many sessions, the oldest.
    #[param(nullable = false, minimum = 1, maximum = 10_000, default = 10_000)]
    pub(crate) limit: Option<usize>,
}

impl FromFields for SessionsQuery {
    fn from_fields(fields: &mut Fields) -> Option<SessionsQuery> {
        Some(SessionsQuery { limit: list_limit(fields) })
    }
}

impl FromFields for PastSessionsQuery {
    fn from_fields(fields: &mut Fields) -> Option<PastSessionsQuery> {
        let (user, org) = (fields.parsed("user", UserId::parse), fields.parsed("org", OrgId::parse));
        let (limit, offset) = page(fields, 100, 1_000);
        Some(PastSessionsQuery { user, org, limit, offset })
    }
}

impl PastSessionsQuery {
    pub(crate) fn filter(self) -> Filter {
        let PastSessionsQuery { user, org, limit, offset } = self;
        Filter { user, org, limit, offset, ..Filter::default() }
    }
}

impl From<SessionRecord> for PastSession {
    fn from(SessionRecord { opened, closed, totals }: SessionRecord) -> PastSession {
        PastSession {
            id: opened.session.to_string(),
            user_id: opened.identity.user.to_string(),
            org_id: opened.identity.org.as_ref().map(|org| org.to_string()),
            feature: opened.identity.feature.as_ref().map(|feature| feature.to_string()),
            model: opened.model.map(|model| model.to_string()),
            provider: opened.provider.to_string(),
            transport: opened.transport.as_str(),
            call_id: opened.call.map(|call| call.to_string()),
            opened_at: opened.at.to_string(),
            closed_at: closed.at.to_string(),
            close_code: closed.close_code,
            usage: (&totals).into(),
        }
    }
}

impl Session {
    pub(crate) fn of(view: &SessionView, now: Timestamp) -> Session {
        Session {
            session_id: view.session.to_string(),
            user_id: view.identity.user.to_string(),
            org_id: view.identity.org.as_ref().map(|org| org.to_string()),
            feature: view.identity.feature.as_ref().map(|feature| feature.to_string()),
            provider: view.provider.to_string(),
            model: view.model.as_ref().map(|model| model.to_string()),
            opened_at: view.opened_at.to_string(),
            age_seconds: now.since(view.opened_at) / 1000,
            transport: view.transport.as_str(),
            call_id: view.call.as_ref().map(|call| call.to_string()),
            hangup_fails: view.hangup_fails,
            usage: (&view.totals).into(),
            cost_per_minute_usd: view.cost_last_minute.usd(),
        }
    }
}

impl SessionReply {
    pub(crate) fn of(session: SessionId) -> SessionReply {
        SessionReply { success: true, session_id: session.to_string() }
    }
}
