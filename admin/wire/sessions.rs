//! Live sessions.

use super::{Usage, list_limit};
use crate::fields::{Fields, FromFields};
use serde::Serialize;
use tokenist_control::handle::SessionView;
use tokenist_core::id::SessionId;
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
    /// Of responses that are over.
    usage: Usage,
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
            usage: (&view.totals).into(),
        }
    }
}

impl SessionReply {
    pub(crate) fn of(session: SessionId) -> SessionReply {
        SessionReply { success: true, session_id: session.to_string() }
    }
}
