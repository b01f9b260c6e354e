//! How a credential was found, and what a refusal in HTTP says.

use crate::http::Request;
use serde_json::{Value, json};

/// How the key that a request shows compares with the one that is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Credential {
    Right,
    Wrong,
    Missing,
}

/// A refusal in HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) retry_after_seconds: Option<u64>,
}

impl Refusal {
    pub(super) fn new(status: u16, code: &'static str, message: &str) -> Refusal {
        Refusal { status, code, message: message.to_owned(), retry_after_seconds: None }
    }

    /// As OpenAI words it.
    pub(super) fn usual_body(&self) -> Value {
        json!({"error": {"type": "invalid_request_error", "code": self.code, "message": self.message, "param": null}})
    }
}

/// The key in one of the places where OpenAI and its like take it.
pub(super) fn usual_key(request: &Request) -> Option<String> {
    let bearer = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    let in_protocol = || {
        let offered = request.header("sec-websocket-protocol").unwrap_or_default();
        offered.split(',').find_map(|protocol| protocol.trim().strip_prefix("openai-insecure-api-key."))
    };
    let basic = || request.header("authorization").and_then(|value| value.strip_prefix("Basic "));
    bearer.or_else(|| request.header("api-key")).or_else(basic).or_else(in_protocol).map(str::to_owned)
}
