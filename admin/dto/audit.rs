//! What operators have changed.

use super::list_limit;
use crate::fields::{Fields, FromFields};
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;
use tokenist_control::store::AuditFilter;
use tokenist_core::audit::{ActorKind, Audit};
use tokenist_core::id;
use utoipa::{IntoParams, ToSchema};

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct AuditQuery {
    /// At most this many.
    #[param(nullable = false, minimum = 1, maximum = 10_000, default = 50)]
    limit: Option<usize>,
    /// Leaves out so many of the newest.
    #[param(nullable = false, value_type = Option<u64>, minimum = 0, default = 0)]
    offset: usize,
    /// By whom: the id or name of a login or key.
    #[param(nullable = false)]
    actor: Option<String>,
    /// What was done, such as `user.block`.
    #[param(nullable = false)]
    action: Option<String>,
    /// The id of what was changed.
    #[param(nullable = false)]
    subject: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AuditList {
    /// The newest first.
    entries: Vec<AuditEntry>,
    /// There are more after these.
    more: bool,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditEntry {
    id: String,
    #[schema(format = DateTime)]
    at: String,
    actor: AuditActor,
    /// Such as `user.block`.
    action: String,
    subject: AuditSubject,
    /// As the API showed it; null where there was nothing.
    #[schema(required)]
    before: Option<Value>,
    #[schema(required)]
    after: Option<Value>,
}

#[derive(Debug, Serialize, ToSchema)]
struct AuditActor {
    kind: AuditActorKind,
    /// Of the key or login.
    #[schema(required)]
    id: Option<String>,
    name: String,
}

#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum AuditActorKind {
    Token,
    Key,
    Login,
}

#[derive(Debug, Serialize, ToSchema)]
struct AuditSubject {
    kind: String,
    id: String,
}

impl FromFields for AuditQuery {
    fn from_fields(fields: &mut Fields) -> Option<AuditQuery> {
        Some(AuditQuery {
            limit: list_limit(fields),
            offset: fields.count("offset", 0, u32::MAX.into()).unwrap_or(0) as usize,
            actor: fields.text("actor", 1..=256),
            action: fields.text("action", 1..=64),
            subject: fields.parsed("subject", |bytes| id::read(bytes).map(|text| text.into_owned())),
        })
    }
}

impl AuditQuery {
    fn limit(&self) -> usize {
        self.limit.unwrap_or(50)
    }

    /// One more than is shown tells whether there are more.
    pub(crate) fn filter(&self) -> AuditFilter {
        let shared = |text: &Option<String>| text.as_deref().map(Into::into);
        AuditFilter {
            actor: shared(&self.actor),
            action: shared(&self.action),
            subject: shared(&self.subject),
            offset: self.offset,
            limit: self.limit() + 1,
        }
    }
}

impl AuditList {
    pub(crate) fn of(query: &AuditQuery, mut audits: Vec<Audit>) -> AuditList {
        let more = audits.len() > query.limit();
        audits.truncate(query.limit());
        AuditList { entries: audits.into_iter().map(AuditEntry::from).collect(), more }
    }
}

impl From<Audit> for AuditEntry {
    fn from(audit: Audit) -> AuditEntry {
        let json = |text: Option<Arc<str>>| text.and_then(|text| serde_json::from_str(&text).ok());
        AuditEntry {
            id: audit.id.to_string(),
            at: audit.at.to_string(),
            actor: AuditActor {
                kind: match audit.actor.kind {
                    ActorKind::Token => AuditActorKind::Token,
                    ActorKind::Key => AuditActorKind::Key,
                    ActorKind::Login => AuditActorKind::Login,
                },
                id: audit.actor.id.map(|id| id.to_string()),
                name: audit.actor.name.to_string(),
            },
            action: audit.action.to_string(),
            subject: AuditSubject { kind: audit.subject.kind.to_string(), id: audit.subject.id.to_string() },
            before: json(audit.before),
            after: json(audit.after),
        }
    }
}
