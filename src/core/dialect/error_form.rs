//! An error event as data: a text in which a close reason is filled in.

use crate::close_reason::CloseReason;

/// `form` with its `{code}`, `{close_code}` and `{message}`, within texts of JSON.
pub(super) fn filled(form: &str, reason: &CloseReason) -> String {
    let message = serde_json::Value::from(reason.message()).to_string();
    let filled = form.replace("{code}", reason.code());
    let filled = filled.replace("{close_code}", &reason.close_code().to_string());
    filled.replace("{message}", &message[1..message.len() - 1])
}
