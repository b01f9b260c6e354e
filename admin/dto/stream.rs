//! What happens, as it is told.

use super::{BlockedUser, HolderLimit, PastSession, Session};
use serde::Serialize;
use serde_json::{Value, json};
use tokenist_control::domain_event::DomainEvent;
use tokenist_core::time::Timestamp;

/// The event's name and its data.
pub(crate) fn domain_event(event: &DomainEvent, now: Timestamp) -> (&'static str, Value) {
    match event {
        DomainEvent::SessionOpened(view) => ("session.opened", value(&Session::of(view, now))),
        DomainEvent::SessionClosed(record) => ("session.closed", value(&PastSession::from(record.clone()))),
        DomainEvent::Limit { view, percent } => {
            let name = if *percent >= 100 { "limit.reached" } else { "limit.warned" };
            let mut data = value(&HolderLimit::from(view));
            data["sharePercent"] = (*percent).into();
            (name, data)
        }
        DomainEvent::Blocked { user, block } => {
            ("user.blocked", value(&BlockedUser::of(user, block.clone())))
        }
        DomainEvent::Unblocked { user, at } => {
            ("user.unblocked", json!({ "userId": user.as_str(), "at": at.to_string() }))
        }
    }
}

fn value(body: &impl Serialize) -> Value {
    serde_json::to_value(body).expect("a DTO is a plain value")
}
