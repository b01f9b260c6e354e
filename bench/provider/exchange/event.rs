//! How an event of a stream is written, and what is said in it.

use serde_json::Value;

/// What every piece says.
pub(super) const WORDS: &str = "Some words. ";

pub(super) fn event(name: Option<&str>, body: &Value) -> String {
    let name = name.map(|name| format!("event: {name}\n")).unwrap_or_default();
    format!("{name}data: {body}\n\n")
}
