//! Records what operators change: by which credential, what, and how it was before.

use crate::auth::Caller;
use crate::{App, now, random};
use serde::Serialize;
use serde_json::Value;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokenist_core::audit::{Actor, ActorKind, Audit, Subject};
use tokenist_core::time::Timestamp;

/// What was changed, by kind and id.
pub(crate) type Changed<'a> = (&'static str, &'a str);

impl App {
    /// Call it once the change holds. `()` stands for nothing, before or after.
    ///
    /// The change is not undone if this fails: then the log alone has it.
    pub(crate) async fn record(
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

/// Failed sign-ins that are kept of a minute. What comes beyond is guessing, and says nothing new.
const FAILURES_PER_MINUTE: u32 = 30;

/// Of what was claimed, as much as an email may have.
const NAME_MAX: usize = 254;

/// How many sign-ins failed in a minute.
#[derive(Debug, Default)]
pub(crate) struct Failures(Mutex<(u64, u32)>);

impl Failures {
    /// How many there were in this minute, this one included.
    fn count(&self, at: Timestamp) -> u32 {
        let minute = at.0 / 60_000;
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.1 = if kept.0 == minute { kept.1.saturating_add(1) } else { 1 };
        kept.0 = minute;
        kept.1
    }
}

impl App {
    /// Records a sign-in that failed: `as_whom` is what was claimed.
    pub(crate) async fn record_failure(&self, as_whom: &str, address: IpAddr) {
        let at = now();
        let count = self.failures.count(at);
        if count > FAILURES_PER_MINUTE {
            if count == FAILURES_PER_MINUTE + 1 {
                tracing::warn!("so many sign-ins fail that the others of this minute are not told");
            }
            return;
        }
        let as_whom: String = as_whom.chars().take(NAME_MAX).collect();
        tracing::warn!(?as_whom, %address, "a sign-in failed");
        let audit = Audit {
            id: random::id("audit_").into(),
            at,
            actor: Actor { kind: ActorKind::Login, id: None, name: as_whom.as_str().into() },
            action: "login.failed".into(),
            subject: Subject { kind: "login".into(), id: as_whom.into() },
            before: None,
            after: json(&serde_json::json!({ "address": address.to_string() })),
        };
        if let Err(cause) = self.handle.audit(audit).await {
            tracing::error!(%cause, "a failed sign-in is in this log alone");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_by_the_minute() {
        let failures = Failures::default();
        let at = |second: u64| Timestamp(1_795_478_400_000 + second * 1000);
        assert_eq!([0, 1, 59].map(|second| failures.count(at(second))), [1, 2, 3]);
        assert_eq!([60, 61].map(|second| failures.count(at(second))), [1, 2]);
    }
}
