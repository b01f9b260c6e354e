//! Turns of OpenAI Realtime: audio in, commit, response, both ends' usage.

use super::Speaker;
use crate::tally::Tally;
use serde_json::{Value, json};
use std::io;
use tokenist_core::usage::Usage;

const TRANSCRIPTION_MODEL: &str = "gpt-4o-mini-transcribe";

/// What a session has learnt, for booking what it is told.
pub(super) struct OpenAi {
    user: String,
    model: String,
    transcription_model: String,
    answered: bool,
    transcribed: bool,
    /// The session's settings have their former, flat form.
    is_flat: bool,
    /// Of a running figure of seconds, in milliseconds.
    billed_ms: u64,
}

impl OpenAi {
    pub(super) fn new(user: String, greeting: &[u8]) -> OpenAi {
        let (model, transcription_model) = (String::from("-"), String::from("-"));
        let greeting: Value = serde_json::from_slice(greeting).unwrap_or_default();
        let is_flat = greeting["session"]["input_audio_format"].is_string();
        let (answered, transcribed, billed_ms) = (false, false, 0);
        let mut speaker =
            OpenAi { user, model, transcription_model, answered, transcribed, is_flat, billed_ms };
        speaker.session(&greeting);
        speaker
    }

    /// The usage of a response or of what stands beside it, with what a running figure there has grown by.
    fn told_with_time(&mut self, event: &Value) -> Usage {
        let inner = &event["response"]["usage"];
        let usage =
            if inner.as_object().is_some_and(|usage| !usage.is_empty()) { inner } else { &event["usage"] };
        let seconds = usage["billable_audio_seconds"].as_f64().unwrap_or(0.0);
        let ms = ((seconds * 1_000.0).round() as u64).max(self.billed_ms);
        let duration_ms = ms - std::mem::replace(&mut self.billed_ms, ms);
        Usage { duration_ms, ..told(usage) }
    }

    fn session(&mut self, event: &Value) {
        let session = &event["session"];
        if let Some(model) = session["model"].as_str() {
            self.model = model.to_owned();
        }
        if let Some(model) = session["audio"]["input"]["transcription"]["model"].as_str() {
            self.transcription_model = model.to_owned();
        }
    }
}

impl Speaker for OpenAi {
    fn prelude(&self) -> Option<String> {
        if self.is_flat {
            let session =
                json!({"input_audio_transcription": {"model": TRANSCRIPTION_MODEL}, "turn_detection": null});
            return Some(json!({"type": "session.update", "session": session}).to_string());
        }
        let update = json!({"type": "session.update", "session": {"type": "realtime",
            "audio": {"input": {"transcription": {"model": TRANSCRIPTION_MODEL}, "turn_detection": null}}}});
        Some(update.to_string())
    }

    fn turn(&mut self, audio: &str) -> Vec<String> {
        let bare = |kind: &str| json!({"type": kind}).to_string();
        vec![audio.to_owned(), bare("input_audio_buffer.commit"), bare("response.create")]
    }

    /// The response is done and the audio of the turn transcribed.
    fn turn_is_over(&mut self) -> bool {
        let is_over = self.answered && self.transcribed;
        if is_over {
            (self.answered, self.transcribed) = (false, false);
        }
        is_over
    }

    fn hear(&mut self, payload: &[u8], tally: &mut Tally) -> io::Result<()> {
        if is_delta(payload) {
            return Ok(());
        }
        let event: Value = serde_json::from_slice(payload)?;
        match event["type"].as_str().unwrap_or_default() {
            "session.created" | "session.updated" => self.session(&event),
            "response.done" => {
                self.answered = true;
                let usage = self.told_with_time(&event);
                tally.used(&self.user, &self.model, usage);
            }
            "conversation.item.input_audio_transcription.completed" => {
                self.transcribed = true;
                if event["usage"].is_object() {
                    tally.used(&self.user, &self.transcription_model, told(&event["usage"]));
                }
            }
            "error" => {
                let code = event["error"]["code"].as_str().unwrap_or("error");
                tally.error(&format!("event: {code}"));
            }
            _ => {}
        }
        Ok(())
    }
}

/// Deltas carry no usage and are most of the bytes.
fn is_delta(payload: &[u8]) -> bool {
    let head = &payload[..payload.len().min(64)];
    memchr::memmem::find(head, br#".delta","#).is_some()
}

/// The counts of a usage object, in its GA form.
fn told(usage: &Value) -> Usage {
    let count = |value: &Value| value.as_u64().unwrap_or(0);
    if usage["type"] == "duration" {
        let duration_ms = (usage["seconds"].as_f64().unwrap_or(0.0) * 1_000.0).round() as u64;
        return Usage { duration_ms, requests: 1, ..Usage::default() };
    }
    let either = |one: &str, other: &str| match &usage[one] {
        Value::Null => usage[other].clone(),
        details => details.clone(),
    };
    let input = either("input_token_details", "input_tokens_details");
    let output = either("output_token_details", "output_tokens_details");
    let cached = &input["cached_tokens_details"];
    let audio_out = count(&output["audio_tokens"]);
    Usage {
        text_in: count(&input["text_tokens"]),
        audio_in: count(&input["audio_tokens"]),
        image_in: count(&input["image_tokens"]),
        cached_text_in: count(&cached["text_tokens"]),
        cached_audio_in: count(&cached["audio_tokens"]),
        cached_image_in: count(&cached["image_tokens"]),
        text_out: count(&usage["output_tokens"]).saturating_sub(audio_out),
        audio_out,
        reasoning_out: count(&output["reasoning_tokens"]),
        requests: 1,
        ..Usage::default()
    }
}
