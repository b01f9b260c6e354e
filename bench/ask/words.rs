//! What is asked over HTTP in each dialect, and what an answer tells: its events and its usage.

use crate::dialect::Dialect;
use crate::talk::{told_by_gemini, told_by_responses};
use serde_json::{Value, json};
use tokenist_core::usage::Usage;

/// A body that asks something of about so many bytes.
pub(super) fn question(dialect: Dialect, model: &str, is_streamed: bool, bytes: usize) -> String {
    let text = "Count. ".repeat(bytes.div_ceil(7));
    let messages = json!([{"role": "user", "content": text}]);
    let mut body = match dialect {
        Dialect::Generate => json!({"contents": [{"role": "user", "parts": [{"text": text}]}]}),
        Dialect::Responses => json!({"model": model, "input": text}),
        Dialect::Messages => json!({"model": model, "max_tokens": 1_024, "messages": messages}),
        _ => json!({"model": model, "messages": messages}),
    };
    if is_streamed && dialect != Dialect::Generate {
        body["stream"] = true.into();
    }
    if is_streamed && dialect == Dialect::Chat {
        body["stream_options"] = json!({"include_usage": true});
    }
    body.to_string()
}

/// An answer as it comes in.
#[derive(Debug)]
pub(super) struct Hearing {
    dialect: Dialect,
    is_streamed: bool,
    /// The event that has begun, or all of the body.
    bytes: Vec<u8>,
    usage: Option<Usage>,
}

impl Hearing {
    pub(super) fn new(dialect: Dialect, is_streamed: bool) -> Hearing {
        Hearing { dialect, is_streamed, bytes: Vec::new(), usage: None }
    }

    /// Takes the next bytes, and shows each event that is whole with them.
    pub(super) fn hear(&mut self, bytes: &[u8], mut found: impl FnMut(&[u8])) {
        self.bytes.extend_from_slice(bytes);
        let mut start = 0;
        while let Some(end) = self.end_of_event(start) {
            let event = &self.bytes[start..end];
            found(event);
            let usage = usage_of(self.dialect, event.strip_prefix(b"data: ").unwrap_or(event));
            self.usage = usage.or(self.usage);
            start = end;
        }
        self.bytes.drain(..start);
    }

    fn end_of_event(&self, start: usize) -> Option<usize> {
        if !self.is_streamed {
            return None;
        }
        memchr::memmem::find(&self.bytes[start..], b"\n\n").map(|at| start + at + 2)
    }

    /// What the answer stated last, once it is over.
    pub(super) fn usage(&self) -> Option<Usage> {
        match self.is_streamed {
            true => self.usage,
            false => usage_of(self.dialect, &self.bytes),
        }
    }
}

/// The usage that an event or a whole answer states. Most events are not read for it.
fn usage_of(dialect: Dialect, event: &[u8]) -> Option<Usage> {
    let name = if dialect == Dialect::Generate { "usageMetadata" } else { "usage" };
    memchr::memmem::find(event, format!("\"{name}\":{{").as_bytes())?;
    let body = &event[memchr::memchr(b'{', event)?..];
    let body: Value = serde_json::from_slice(body).ok()?;
    let holders = [&body, &body["response"], &body["message"]];
    let usage = holders.into_iter().map(|holder| &holder[name]).find(|usage| usage.is_object())?;
    let count = |value: &Value| value.as_u64().unwrap_or(0);
    Some(match dialect {
        Dialect::Generate => told_by_gemini(usage),
        Dialect::Responses => told_by_responses(usage),
        Dialect::Messages => {
            let cached = count(&usage["cache_read_input_tokens"]);
            Usage {
                text_in: count(&usage["input_tokens"]) + cached,
                cached_text_in: cached,
                text_out: count(&usage["output_tokens"]),
                reasoning_out: count(&usage["output_tokens_details"]["thinking_tokens"]),
                requests: 1,
                ..Usage::default()
            }
        }
        _ => Usage {
            text_in: count(&usage["prompt_tokens"]),
            cached_text_in: count(&usage["prompt_tokens_details"]["cached_tokens"]),
            text_out: count(&usage["completion_tokens"]),
            reasoning_out: count(&usage["completion_tokens_details"]["reasoning_tokens"]),
            requests: 1,
            ..Usage::default()
        },
    })
}
