//! What happens, as it is told.

use super::{BlockedUser, HolderLimit, PastSession, Session};
use serde::Serialize;
use serde_json::{Value, json};
use tokenist_control::happening::Happening;
use tokenist_core::time::Timestamp;

/// The event's name and its data.
pub(crate) fn happening(happening: &Happening, now: Timestamp) -> (&'static str, Value) {
    match happening {
        Happening::SessionOpened(view) => ("session.opened", value(&Session::of(view, now))),
        Happening::SessionClosed(record) => ("session.closed", value(&PastSession::from(record.clone()))),
        Happening::Limit { view, percent } => {
            let name = if *percent >= 100 { "limit.reached" } else { "limit.warned" };
            let mut data = value(&HolderLimit::from(view));
            data["sharePercent"] = (*percent).into();
            (name, data)
        }
        Happening::Blocked { user, block } => ("user.blocked", value(&BlockedUser::of(user, block.clone()))),
        Happening::Unblocked { user, at } => {
            ("user.unblocked", json!({ "userId": user.as_str(), "at": at.to_string() }))
        }
    }
}

fn value(body: &impl Serialize) -> Value {
    serde_json::to_value(body).expect("a wire shape is a plain value")
}
