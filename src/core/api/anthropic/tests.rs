//! What a request for messages is, and what tells a client that they end.

use super::*;
use crate::limit::WindowKind;
use serde_json::Value as Json;

#[test]
fn messages_are_found_behind_any_prefix_and_counting_is_free() {
    for (method, path, wanted) in [
        ("POST", "/v1/messages", Some(("messages", "/v1/messages", true))),
        ("POST", "/messages", Some(("messages", "/v1/messages", true))),
        ("POST", "/x/v1/messages/", Some(("messages", "/v1/messages", true))),
        ("POST", "/v1/messages/count_tokens", Some(("count_tokens", "/v1/messages/count_tokens", false))),
        ("GET", "/v1/models/claude-x", Some(("models", "/v1/models/claude-x", false))),
        ("GET", "/v1/messages", None),
        ("POST", "/v1/messages/batches", None),
        ("POST", "/v1/threads/t/messages", None),
    ] {
        let found = AnthropicHttp.endpoint(method, path);
        let shown = found.as_ref().map(|found| (found.name(), found.path.as_str(), found.is_metered()));
        assert_eq!(shown, wanted, "{method} {path}");
    }
}

#[test]
fn an_ending_is_an_error_in_its_form() {
    let measure = crate::close_reason::Measure::Tokens { used: 2, limit: 1 };
    let reason = CloseReason::LimitReached { measure, window: WindowKind::Daily, resets_at: None };
    let ending = ending(&reason, 1);
    let data =
        ending.strip_prefix("event: error\ndata: ").and_then(|rest| rest.strip_suffix("\n\n")).unwrap();
    let event: Json = serde_json::from_str(data).unwrap();
    assert_eq!((&event["type"], &event["error"]["type"]), (&json!("error"), &json!("rate_limit_error")));
    assert_eq!(event["error"]["message"], "Token limit reached: 2 >= 1");
}
