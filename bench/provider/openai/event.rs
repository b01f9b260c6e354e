//! The provider's vocabulary: how an event is spelt in GA and in beta names, and the objects inside.

use crate::provider::sim::{Status, UsageForm};
use serde_json::{Map, Value, json};
use tokenist_core::usage::Usage;

/// Which names the session speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    Ga,
    Beta,
}

impl Names {
    /// How this dialect spells a GA event; `None` where it has none.
    pub(crate) fn spell(self, kind: &'static str) -> Option<&'static str> {
        match self {
            Names::Ga => Some(kind),
            Names::Beta => match kind {
                "response.output_audio.delta" => Some("response.audio.delta"),
                "response.output_audio.done" => Some("response.audio.done"),
                "response.output_audio_transcript.delta" => Some("response.audio_transcript.delta"),
                "response.output_audio_transcript.done" => Some("response.audio_transcript.done"),
                "response.output_text.delta" => Some("response.text.delta"),
                "response.output_text.done" => Some("response.text.done"),
                "conversation.item.added" => Some("conversation.item.created"),
                "conversation.item.done" => None,
                other => Some(other),
            },
        }
    }

    /// The session object as it is before the client changes it.
    pub(crate) fn session(self, id: &str, model: Option<&str>, expires_at: u64, purpose: Purpose) -> Value {
        match (self, purpose) {
            (Names::Ga, Purpose::Transcription) => json!({
                "type": "transcription", "object": "realtime.transcription_session", "id": id,
                "expires_at": expires_at,
                "audio": {"input": {"format": pcm(), "transcription": null, "noise_reduction": null,
                    "turn_detection": server_vad()}},
                "include": null,
            }),
            (Names::Ga, Purpose::Conversation) => json!({
                "type": "realtime", "object": "realtime.session", "id": id, "model": model,
                "expires_at": expires_at, "output_modalities": ["audio"],
                "instructions": "Be brief.", "tools": [], "tool_choice": "auto", "max_output_tokens": "inf",
                "tracing": null, "truncation": "auto", "prompt": null, "include": null,
                "audio": {
                    "input": {"format": pcm(), "transcription": null, "noise_reduction": null,
                        "turn_detection": server_vad()},
                    "output": {"format": pcm(), "voice": "marin", "speed": 1.0},
                },
            }),
            (Names::Beta, _) => json!({
                "object": "realtime.session", "id": id, "model": model, "expires_at": expires_at,
                "modalities": ["text", "audio"], "instructions": "Be brief.", "voice": "alloy",
                "input_audio_format": "pcm16", "output_audio_format": "pcm16",
                "input_audio_transcription": null, "turn_detection": server_vad(), "tools": [],
                "tool_choice": "auto", "temperature": 0.8, "max_response_output_tokens": "inf",
            }),
        }
    }

    pub(crate) fn says_audio(self, of: &Value) -> bool {
        let modalities = match self {
            Names::Ga => &of["output_modalities"],
            Names::Beta => &of["modalities"],
        };
        modalities.as_array().is_none_or(|list| list.iter().any(|modality| modality == "audio"))
    }

    pub(crate) fn modalities_key(self) -> &'static str {
        match self {
            Names::Ga => "output_modalities",
            Names::Beta => "modalities",
        }
    }

    pub(crate) fn format_in(self, session: &Value) -> String {
        let format = match self {
            Names::Ga => &session["audio"]["input"]["format"]["type"],
            Names::Beta => &session["input_audio_format"],
        };
        format.as_str().unwrap_or("audio/pcm").to_owned()
    }

    pub(crate) fn format_out(self, session: &Value) -> String {
        let format = match self {
            Names::Ga => &session["audio"]["output"]["format"]["type"],
            Names::Beta => &session["output_audio_format"],
        };
        format.as_str().unwrap_or("audio/pcm").to_owned()
    }

    pub(crate) fn voice(self, session: &Value) -> Value {
        match self {
            Names::Ga => session["audio"]["output"]["voice"].clone(),
            Names::Beta => session["voice"].clone(),
        }
    }

    pub(crate) fn transcription_model(self, session: &Value) -> Option<String> {
        let transcription = match self {
            Names::Ga => &session["audio"]["input"]["transcription"],
            Names::Beta => &session["input_audio_transcription"],
        };
        transcription.is_object().then(|| transcription["model"].as_str().unwrap_or("whisper-1").to_owned())
    }

    /// The type of an item's content part, e.g. in `response.output_item.done`.
    pub(crate) fn content_type(self, audio: bool) -> &'static str {
        match (self, audio) {
            (Names::Ga, true) => "output_audio",
            (Names::Ga, false) => "output_text",
            (Names::Beta, true) => "audio",
            (Names::Beta, false) => "text",
        }
    }
}

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Conversation,
    Transcription,
}

fn pcm() -> Value {
    json!({"type": "audio/pcm", "rate": 24_000})
}

fn server_vad() -> Value {
    json!({"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 500,
        "create_response": true, "interrupt_response": true, "idle_timeout_ms": null})
}

/// Where an event belongs. Real providers tell it before what the event brings.
const PLACE: [&str; 4] = ["response_id", "item_id", "output_index", "content_index"];

/// Puts an event together. The type comes first, as real providers write it, or last to try a reader.
pub(crate) fn write(kind: &str, id: &str, type_last: bool, body: &Value) -> Vec<u8> {
    let body = body.as_object().expect("events are objects");
    let placed = PLACE.iter().filter_map(|&key| body.get_key_value(key));
    let others = body.iter().filter(|(key, _)| !PLACE.contains(&key.as_str()));
    let fields: Vec<String> =
        placed.chain(others).map(|(key, value)| format!("{}:{value}", json!(key))).collect();
    let fields = fields.join(",");
    let comma = if fields.is_empty() { "" } else { "," };
    match type_last {
        false => format!(r#"{{"type":"{kind}","event_id":"{id}"{comma}{fields}}}"#),
        true => format!("{{ {fields}{comma} \"event_id\" : \"{id}\" ,\n\t\"type\" : \"{kind}\" }}"),
    }
    .into_bytes()
}

/// Overlays what a client changes: objects are merged, everything else is replaced.
pub(crate) fn merge(into: &mut Value, change: &Value) {
    match (into, change) {
        (Value::Object(into), Value::Object(change)) => {
            for (key, value) in change {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, change) => *into = change.clone(),
    }
}

/// The usage object of `response.done`.
pub(crate) fn usage(usage: &Usage, names: Names) -> Value {
    let mut input = json!({"text_tokens": usage.text_in, "audio_tokens": usage.audio_in,
        "cached_tokens": usage.cached_tokens()});
    if names == Names::Ga {
        input["image_tokens"] = usage.image_in.into();
        input["cached_tokens_details"] = json!({"text_tokens": usage.cached_text_in,
            "audio_tokens": usage.cached_audio_in, "image_tokens": usage.cached_image_in});
    }
    let mut output = json!({"text_tokens": usage.text_out, "audio_tokens": usage.audio_out});
    if usage.reasoning_out > 0 {
        output["reasoning_tokens"] = usage.reasoning_out.into();
    }
    json!({"total_tokens": usage.total_tokens(), "input_tokens": usage.input_tokens(),
        "output_tokens": usage.output_tokens(), "input_token_details": input, "output_token_details": output})
}

/// The usage object of a transcription: tokens, or the time that was heard.
pub(crate) fn transcription_usage(usage: &Usage) -> Value {
    match usage.duration_ms {
        0 => json!({"type": "tokens", "total_tokens": usage.total_tokens(),
            "input_tokens": usage.audio_in, "output_tokens": usage.text_out,
            "input_token_details": {"text_tokens": 0, "audio_tokens": usage.audio_in}}),
        ms => json!({"type": "duration", "seconds": ms as f64 / 1_000.0}),
    }
}

/// What remains of a usage in beta's words: no images, no cache (whose kinds it cannot tell), no reasoning.
pub(crate) fn as_beta(usage: Usage) -> Usage {
    Usage {
        image_in: 0,
        cached_text_in: 0,
        cached_audio_in: 0,
        cached_image_in: 0,
        reasoning_out: 0,
        ..usage
    }
}

/// Places the usage in a `response.done` body as `form` says, which is one of this dialect's.
pub(crate) fn place_usage(body: &mut Value, form: UsageForm, usage: Value) {
    match form {
        UsageForm::Once | UsageForm::Twice | UsageForm::After | UsageForm::WithAudio => {
            body["response"]["usage"] = usage;
        }
        UsageForm::Null => body["response"]["usage"] = Value::Null,
        UsageForm::Absent => {
            body["response"].as_object_mut().map(|response| response.remove("usage"));
        }
        UsageForm::Empty => body["response"]["usage"] = Value::Object(Map::new()),
        UsageForm::TopLevel => {
            body["response"]["usage"] = Value::Object(Map::new());
            body["usage"] = usage;
        }
    }
}

/// Status and status details of a response's end.
pub(crate) fn status(status: Status, cancelled: bool) -> (&'static str, Value) {
    if cancelled {
        return ("cancelled", json!({"type": "cancelled", "reason": "client_cancelled"}));
    }
    match status {
        Status::Completed => ("completed", Value::Null),
        Status::Incomplete => ("incomplete", json!({"type": "incomplete", "reason": "max_output_tokens"})),
        Status::ContentFilter => ("incomplete", json!({"type": "incomplete", "reason": "content_filter"})),
        Status::Failed => {
            ("failed", json!({"type": "failed", "error": {"type": "server_error", "code": "simulated"}}))
        }
    }
}

pub(crate) fn with(mut body: Value, key: &str, value: Value) -> Value {
    body[key] = value;
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_json_with_its_type_first_or_last() {
        for type_last in [false, true] {
            for body in [json!({}), json!({"a": {"type": "not me"}})] {
                let bytes = write("error", "event_1", type_last, &body);
                let read: Value = serde_json::from_slice(&bytes).unwrap();
                assert_eq!(
                    (&read["type"], &read["event_id"], &read["a"]),
                    (&json!("error"), &json!("event_1"), &body["a"])
                );
            }
        }
        assert!(write("error", "event_1", false, &json!({})).starts_with(br#"{"type":"error","#));
    }

    #[test]
    fn an_event_tells_where_it_belongs_before_what_it_brings() {
        let delta = json!({"delta": "AA==", "response_id": "resp_1", "item_id": "item_1", "output_index": 0});
        assert_eq!(
            String::from_utf8(write("d", "event_1", false, &delta)).unwrap(),
            r#"{"type":"d","event_id":"event_1","response_id":"resp_1","item_id":"item_1","output_index":0,"delta":"AA=="}"#
        );
    }

    #[test]
    fn a_change_keeps_what_it_does_not_name() {
        let mut session = json!({"audio": {"input": {"format": 1, "transcription": null}, "output": 2}});
        merge(
            &mut session,
            &json!({"audio": {"input": {"transcription": {"model": "whisper-1"}}}, "model": "m"}),
        );
        assert_eq!(
            session,
            json!({"audio": {"input": {"format": 1, "transcription": {"model": "whisper-1"}}, "output": 2}, "model": "m"})
        );
        merge(&mut session, &json!({"audio": {"input": {"transcription": null}}}));
        assert_eq!(session["audio"]["input"]["transcription"], Value::Null);
    }

    #[test]
    fn told_usage_adds_up() {
        let counts = Usage {
            text_in: 10,
            audio_in: 20,
            image_in: 30,
            cached_text_in: 1,
            cached_audio_in: 2,
            cached_image_in: 3,
            text_out: 4,
            audio_out: 5,
            reasoning_out: 1,
            ..Usage::default()
        };
        let told = usage(&counts, Names::Ga);
        assert_eq!(
            (&told["total_tokens"], &told["input_tokens"], &told["output_tokens"]),
            (&json!(69), &json!(60), &json!(9))
        );
        assert_eq!(told["input_token_details"]["cached_tokens"], 6);
        assert_eq!(usage(&as_beta(counts), Names::Beta)["total_tokens"], 39);
    }
}
