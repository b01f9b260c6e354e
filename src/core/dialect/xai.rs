//! xAI's voice agent (Grok): OpenAI Realtime's events, billed by the time that a running figure of `response.done` states, and
//! by each item of text that the application adds.
//!
//! Tokens are stated and cost nothing; what is said is written down at no price of its own.

use super::fields::{Type, find, object, text, type_of};
use super::openai_realtime::{OpenaiRealtime, kind_of_name, peek, read};
use super::openai_usage::milliseconds;
use super::{
    ClientEvent, ClientPeek, Dialect, ModelSource, Peek, ProviderEvent, Rates, Rest, SESSION_TIME, Settings,
};
use crate::close_reason::CloseReason;
use crate::doubt::Keys;
use crate::json::{End, Fields, Value};
use crate::terms::Terms;
use crate::usage::Usage;

#[derive(Clone, Copy, Debug)]
pub struct Xai;

impl Dialect for Xai {
    fn name(&self) -> &'static str {
        "xai"
    }

    fn path(&self, path: &str) -> Option<String> {
        OpenaiRealtime.path(path)
    }

    fn rates(&self) -> Rates {
        OpenaiRealtime.rates()
    }

    fn model_is_in(&self) -> ModelSource {
        ModelSource::Url
    }

    fn deciding(&self) -> Keys {
        Keys::of(&["type", "item.type", "item.content.type"])
    }

    fn peek<'a>(&self, event: &'a [u8], rest: Rest) -> Peek<'a> {
        peek(event, rest, kind_of_name)
    }

    fn read<'a>(&self, event: &'a [u8], found: &mut dyn FnMut(ProviderEvent<'a>)) {
        match read(event, kind_of_name) {
            ProviderEvent::Session(settings) => {
                let settings = Settings { transcription_model: None, ..*settings };
                found(ProviderEvent::Session(Box::new(settings)));
            }
            ProviderEvent::Transcribed { .. } => {}
            ProviderEvent::Done { response, usage, terms } => {
                if let Some(duration_ms) = billed_ms(event) {
                    let usage = Usage { duration_ms, ..Usage::default() };
                    found(ProviderEvent::Total {
                        key: SESSION_TIME.into(),
                        model: None,
                        usage,
                        terms: Terms::default(),
                    });
                }
                found(ProviderEvent::Done { response, usage, terms });
            }
            told => found(told),
        }
    }

    fn peek_client(&self, head: &[u8], event_bytes: u64) -> ClientPeek {
        match OpenaiRealtime.peek_client(head, event_bytes) {
            // It may add an item all the same.
            ClientPeek::Nothing => ClientPeek::Whole,
            peek => peek,
        }
    }

    fn read_client<'a>(&self, event: &'a [u8], event_bytes: u64, found: &mut dyn FnMut(ClientEvent<'a>)) {
        let usage = Usage { items_in: 1, ..Usage::default() };
        let mut fields = Fields::of(event);
        fields.by_ref().for_each(drop);
        let is_estimate = fields.end() != Some(End::Closed);
        // What it is stands behind all that is seen of it.
        if type_of(event) == Type::Unseen {
            return found(ClientEvent::Billed { usage, is_estimate: true });
        }
        OpenaiRealtime.read_client(event, event_bytes, &mut |told| match told {
            ClientEvent::AddItem { item, content } => {
                if !is_free(event) {
                    found(ClientEvent::Billed { usage, is_estimate });
                }
                found(ClientEvent::AddItem { item, content });
            }
            ClientEvent::Choose { model, .. } => {
                found(ClientEvent::Choose { model, transcription_model: None });
            }
            told => found(told),
        });
    }

    fn cancel(&self, response: Option<&str>) -> Option<String> {
        OpenaiRealtime.cancel(response)
    }

    fn error_event(&self, reason: &CloseReason, event_id: &str) -> Option<String> {
        OpenaiRealtime.error_event(reason, event_id)
    }
}

/// How much of the connection's time is billed so far, which stands in the usage beside the response, or in its own.
fn billed_ms(event: &[u8]) -> Option<u64> {
    let response = find(Fields::of(event), "response").and_then(object);
    let stated = [Some(Fields::of(event)), response].into_iter().flatten().filter_map(|of| {
        let usage = find(of, "usage").and_then(object)?;
        find(usage, "billable_audio_seconds")?.value.number()
    });
    stated.map(milliseconds).max()
}

/// Whether the item that is added is free: what came of a call, or sound and nothing else.
fn is_free(event: &[u8]) -> bool {
    let Some(item) = find(Fields::of(event), "item").and_then(object) else { return false };
    let kind = find(item.clone(), "type").and_then(text);
    let content = find(item, "content").filter(|content| !content.cut);
    let mut parts = content.and_then(|content| content.value.elements()).into_iter().flatten().peekable();
    let has_parts = parts.peek().is_some();
    let is_sound = |(part, _): (Value<'_>, bool)| {
        let kind = part.fields().and_then(|part| find(part, "type")).and_then(text);
        matches!(kind.as_deref(), Some("input_audio" | "audio"))
    };
    kind.as_deref() == Some("function_call_output") || has_parts && parts.all(is_sound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn told(event: &Value) -> Vec<String> {
        let event = event.to_string();
        let mut all = Vec::new();
        Xai.read(event.as_bytes(), &mut |event| all.push(format!("{event:?}")));
        all
    }

    #[test]
    fn time_is_a_running_figure_beside_the_response() {
        let event = json!({"type": "response.done", "response": {"id": "r", "usage": {}}, "usage": {"output_tokens": 9,
            "output_token_details": {"audio_tokens": 5, "text_tokens": 4}, "billable_audio_seconds": 1.5}});
        let [total, done] = &told(&event)[..] else { panic!() };
        assert!(total.contains("duration_ms: 1500") && total.contains("requests: 0"), "{total}");
        assert!(done.contains("audio_out: 5") && done.contains("requests: 1"), "{done}");
        let end = |usage: Value| json!({"type": "response.done", "response": {"id": "r", "usage": usage}});
        let within = told(&end(json!({"billable_audio_seconds": 3})));
        assert!(
            within[0].contains("duration_ms: 3000"),
            "as well where it stands in the response: {within:?}"
        );
        assert_eq!(told(&end(json!({}))).len(), 1);
    }

    #[test]
    fn what_is_written_down_has_no_price() {
        let done = json!({"type": "conversation.item.input_audio_transcription.completed", "item_id": "i"});
        assert_eq!(told(&done).len(), 0);
        let session = json!({"type": "session.updated", "session": {"model": "m",
            "input_audio_transcription": {"model": "grok-transcribe"}}});
        assert!(told(&session)[0].contains("transcription_model: None"));
    }

    #[test]
    fn an_item_of_text_is_billed_and_no_other() {
        for (item, billed) in [
            (
                json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a"}]}),
                true,
            ),
            (json!({"type": "message", "role": "system", "content": []}), true),
            (
                json!({"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": "AA"}]}),
                false,
            ),
            (json!({"type": "function_call_output", "call_id": "c", "output": "a"}), false),
            (
                json!({"type": "message", "content": [{"type": "input_text", "text": "a", "audio": "AA"}]}),
                true,
            ),
            (
                json!({"type": "message", "content": [{"type": "input_audio"}, {"type": "input_text", "text": "a"}]}),
                true,
            ),
        ] {
            let event = json!({"type": "conversation.item.create", "item": item}).to_string();
            let mut found = Vec::new();
            Xai.read_client(event.as_bytes(), event.len() as u64, &mut |event| found.push(event));
            let usage = Usage { items_in: 1, ..Usage::default() };
            assert_eq!(found.contains(&ClientEvent::Billed { usage, is_estimate: false }), billed, "{event}");
            assert!(matches!(found.last(), Some(ClientEvent::AddItem { .. })));
        }
    }
}
