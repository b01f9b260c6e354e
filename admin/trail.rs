//! Keeps what operators change: who, what, and how it was before.

use crate::auth::Caller;
use crate::{App, now, random};
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;
use tokenist_core::audit::{Actor, ActorKind, Audit, Subject};

/// What was changed, by kind and id.
pub(crate) type Changed<'a> = (&'static str, &'a str);

impl App {
    /// Call it once the change holds. `()` stands for nothing, before or after.
    ///
    /// The change is not undone if this fails: then the log alone has it.
    pub(crate) async fn keep(
        &self,
        caller: &Caller,
        action: &'static str,
        (kind, id): Changed<'_>,
        before: impl Serialize,
        after: impl Serialize,
    ) {
        let audit = Audit {
            id: random::id("audit_").into(),
            at: now(),
            actor: actor(caller),
            action: action.into(),
            subject: Subject { kind: kind.into(), id: id.into() },
            before: json(&before),
            after: json(&after),
        };
        let (actor, before, after) = (&audit.actor.name, &audit.before, &audit.after);
        tracing::info!(action, subject = ?audit.subject.id, %actor, ?before, ?after, "an operator made a change");
        if let Err(cause) = self.handle.audit(audit).await {
            tracing::error!(action, id, %cause, "a change that an operator made is in this log alone");
        }
    }
}

fn actor(caller: &Caller) -> Actor {
    match caller {
        Caller::Operator => Actor { kind: ActorKind::Token, id: None, name: "operator's token".into() },
        Caller::Key(key) => {
            Actor { kind: ActorKind::Key, id: Some(key.id.as_str().into()), name: Arc::clone(&key.name) }
        }
        Caller::Login { id, login } => {
            Actor { kind: ActorKind::Login, id: Some(Arc::clone(id)), name: Arc::clone(&login.email) }
        }
    }
}

fn json(value: &impl Serialize) -> Option<Arc<str>> {
    match serde_json::to_value(value).expect("what is kept is a plain value") {
        Value::Null => None,
        value => Some(value.to_string().into()),
    }
}
