//! What operators have changed: by which credential, what, and how it was before.

use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One change. Written once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// Unique, and later ones sort later: `audit_` and 32 hexadecimal digits.
    pub id: Arc<str>,
    pub at: Timestamp,
    pub actor: Actor,
    /// The thing and what was done to it, such as `user.block`.
    pub action: Arc<str>,
    pub subject: Subject,
    /// JSON; `None` where there was nothing, likewise after.
    pub before: Option<Arc<str>>,
    pub after: Option<Arc<str>>,
}

/// The credential or login that made the change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    pub kind: ActorKind,
    /// Of the key or login.
    pub id: Option<Arc<str>>,
    /// The login's email, the key's name.
    pub name: Arc<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// The operator's token.
    Token,
    Key,
    Login,
}

/// What was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// `user`, `org`, `key`, …
    pub kind: Arc<str>,
    pub id: Arc<str>,
}

impl ActorKind {
    pub const ALL: [ActorKind; 3] = [ActorKind::Token, ActorKind::Key, ActorKind::Login];

    pub fn as_str(self) -> &'static str {
        match self {
            ActorKind::Token => "token",
            ActorKind::Key => "key",
            ActorKind::Login => "login",
        }
    }

    /// Reads what [`ActorKind::as_str`] writes.
    pub fn parse(text: &str) -> Option<ActorKind> {
        ActorKind::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}
