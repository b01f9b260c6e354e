//! Turns of GPT-Live: audio in, a Response that is delegated, and the seconds that are told behind it.

use super::Speaker;
use crate::tally::Tally;
use serde_json::Value;
use std::io;
use tokenist_core::usage::Usage;

pub(super) struct Live {
    user: String,
    model: String,
    told_ms: u64,
    told_seconds: bool,
}

impl Live {
    pub(super) fn new(user: String, model: String) -> Live {
        Live { user, model, told_ms: 0, told_seconds: false }
    }
}

impl Speaker for Live {
    fn prelude(&self) -> Option<String> {
        None
    }

    fn turn(&mut self, audio: &str) -> Vec<String> {
        vec![audio.to_owned(), r#"{"type":"response.create"}"#.to_owned()]
    }

    fn turn_is_over(&mut self) -> bool {
        std::mem::take(&mut self.told_seconds)
    }

    fn hear(&mut self, payload: &[u8], tally: &mut Tally) -> io::Result<()> {
        let event: Value = serde_json::from_slice(payload)?;
        if let Some(seconds) = event["usage"]["seconds"].as_f64() {
            let ms = (seconds * 1_000.0).round() as u64;
            let requests = u64::from(self.told_ms == 0 && ms > 0);
            let duration_ms = ms.saturating_sub(std::mem::replace(&mut self.told_ms, ms));
            tally.used(&self.user, &self.model, Usage { duration_ms, requests, ..Usage::default() });
            self.told_seconds = true;
        }
        let response = &event["event"]["response"];
        if response["usage"].is_object() {
            let model = response["model"].as_str().unwrap_or("-");
            tally.used(&self.user, model, super::responses::told(&response["usage"]));
        }
        if event["type"] == "error" {
            tally.error(&format!("event: {}", event["error"]["code"].as_str().unwrap_or("error")));
        }
        Ok(())
    }
}
