//! Turns of Responses over WebSocket: one `response.create` each, and the usage in the event that ends it.

use super::Speaker;
use crate::dialect::response_request;
use crate::tally::Tally;
use serde_json::Value;
use std::io;
use tokenist_core::usage::Usage;

pub(super) struct Responses {
    user: String,
    model: String,
    /// Of the first event as well, which opens the session.
    asked: u64,
    answered: u64,
}

impl Responses {
    pub(super) fn new(user: String, model: String) -> Responses {
        Responses { user, model, asked: 1, answered: 0 }
    }
}

impl Speaker for Responses {
    fn prelude(&self) -> Option<String> {
        None
    }

    fn turn(&mut self, _: &str) -> Vec<String> {
        self.asked += 1;
        vec![response_request(&self.model)]
    }

    fn turn_is_over(&mut self) -> bool {
        self.answered >= self.asked
    }

    fn hear(&mut self, payload: &[u8], tally: &mut Tally) -> io::Result<()> {
        let event: Value = serde_json::from_slice(payload)?;
        match event["type"].as_str().unwrap_or_default() {
            "response.completed" | "response.incomplete" | "response.failed" => {
                self.answered += 1;
                let response = &event["response"];
                let model = response["model"].as_str().unwrap_or("-");
                tally.used(&self.user, model, told(&response["usage"]));
            }
            "error" => tally.error(&format!("event: {}", event["error"]["code"].as_str().unwrap_or("error"))),
            _ => {}
        }
        Ok(())
    }
}

/// The counts of a Response's usage.
pub(crate) fn told(usage: &Value) -> Usage {
    let count = |value: &Value| value.as_u64().unwrap_or(0);
    Usage {
        text_in: count(&usage["input_tokens"]),
        cached_text_in: count(&usage["input_tokens_details"]["cached_tokens"]),
        text_out: count(&usage["output_tokens"]),
        reasoning_out: count(&usage["output_tokens_details"]["reasoning_tokens"]),
        requests: 1,
        ..Usage::default()
    }
}
