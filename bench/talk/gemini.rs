//! Turns of Gemini Live: audio in an activity, an answer, and what it used in either service's names.

use super::Speaker;
use crate::tally::Tally;
use serde_json::Value;
use std::io;
use tokenist_core::usage::Usage;

pub(super) struct Gemini {
    user: String,
    model: String,
    complete: bool,
    /// That was given since it was last asked for.
    handle: Option<String>,
}

impl Gemini {
    pub(super) fn new(user: String, model: String) -> Gemini {
        Gemini { user, model, complete: false, handle: None }
    }
}

impl Speaker for Gemini {
    fn prelude(&self) -> Option<String> {
        None
    }

    fn turn(&mut self, audio: &str) -> Vec<String> {
        let activity = |word: &str| format!(r#"{{"realtimeInput":{{"{word}":{{}}}}}}"#);
        vec![activity("activityStart"), audio.to_owned(), activity("activityEnd")]
    }

    fn turn_is_over(&mut self) -> bool {
        std::mem::take(&mut self.complete)
    }

    fn take_handle(&mut self) -> Option<String> {
        self.handle.take()
    }

    fn hear(&mut self, payload: &[u8], tally: &mut Tally) -> io::Result<()> {
        if is_audio_alone(payload) {
            return Ok(());
        }
        let message: Value = serde_json::from_slice(payload)?;
        if message["usageMetadata"].as_object().is_some_and(|told| !told.is_empty()) {
            tally.used(&self.user, &self.model, told(&message["usageMetadata"]));
        }
        self.complete |= message["serverContent"]["turnComplete"] == true;
        let handle = message["sessionResumptionUpdate"]["newHandle"].as_str();
        self.handle = handle.filter(|handle| !handle.is_empty()).map(str::to_owned).or(self.handle.take());
        if let Some(code) = message["code"].as_u64().or_else(|| message["error"]["code"].as_u64()) {
            tally.error(&format!("event: {code}"));
        }
        Ok(())
    }
}

/// Most of the bytes are audio; what is told with it stands behind it.
fn is_audio_alone(payload: &[u8]) -> bool {
    let head = &payload[..payload.len().min(192)];
    memchr::memmem::find(head, br#""inlineData""#).is_some()
        && memchr::memmem::rfind(payload, br#""usageMetadata""#).is_none()
}

/// The usage of a `usageMetadata`: what the details do not tell of a count is text, thoughts and a tool's prompt are
/// extra.
pub(crate) fn told(metadata: &Value) -> Usage {
    let count = |name: &str| metadata[name].as_u64().unwrap_or(0);
    let either = |one: &'static str, other: &'static str| {
        if metadata[one].is_null() { other } else { one }
    };
    let input = by_modality(&metadata["promptTokensDetails"], count("promptTokenCount"));
    let tool = by_modality(&metadata["toolUsePromptTokensDetails"], count("toolUsePromptTokenCount"));
    let cached = by_modality(&metadata["cacheTokensDetails"], count("cachedContentTokenCount"));
    let details = &metadata[either("responseTokensDetails", "candidatesTokensDetails")];
    let output = by_modality(details, count(either("responseTokenCount", "candidatesTokenCount")));
    let thoughts = count("thoughtsTokenCount");
    Usage {
        text_in: input.text + tool.text,
        audio_in: input.audio + tool.audio,
        image_in: input.image + tool.image,
        video_in: input.video + tool.video,
        cached_text_in: cached.text,
        cached_audio_in: cached.audio,
        cached_image_in: cached.image,
        text_out: output.text + thoughts,
        audio_out: output.audio,
        image_out: output.image,
        video_out: output.video,
        reasoning_out: thoughts,
        requests: 1,
        ..Usage::default()
    }
}

struct ByModality {
    text: u64,
    audio: u64,
    image: u64,
    video: u64,
}

/// A detail without a count stands for what the others leave of it; else what they leave is text.
fn by_modality(details: &Value, count: u64) -> ByModality {
    let details = || details.as_array().into_iter().flatten();
    let told: u64 = details().filter_map(|detail| detail["tokenCount"].as_u64()).sum();
    let rest = count.saturating_sub(told);
    let bare = details().find(|detail| detail["tokenCount"].is_null()).map(|detail| &detail["modality"]);
    let of = |modality: &str| {
        let told = details().filter(|detail| detail["modality"] == modality);
        let told: u64 = told.filter_map(|detail| detail["tokenCount"].as_u64()).sum();
        told + if bare.is_some_and(|bare| bare == modality) { rest } else { 0 }
    };
    let [audio, image, video] = ["AUDIO", "IMAGE", "VIDEO"].map(of);
    ByModality { text: count.saturating_sub(audio + image + video), audio, image, video }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_told_in_a_recorded_session_is_read() {
        let metadata = json!({"promptTokenCount": 482, "responseTokenCount": 69, "totalTokenCount": 551,
            "thoughtsTokenCount": 24, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 360}],
            "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": 57}]});
        let usage = Usage {
            text_in: 482,
            text_out: 36,
            reasoning_out: 24,
            audio_out: 57,
            requests: 1,
            ..Usage::default()
        };
        assert_eq!(told(&metadata), usage);
        let metadata = json!({"promptTokenCount": 700, "cachedContentTokenCount": 100, "toolUsePromptTokenCount": 30,
            "candidatesTokenCount": 50, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 440},
                {"modality": "AUDIO"}], "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": 100}],
            "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 50}]});
        let usage = Usage {
            text_in: 470,
            cached_text_in: 100,
            audio_in: 260,
            audio_out: 50,
            requests: 1,
            ..Usage::default()
        };
        assert_eq!(told(&metadata), usage);
    }

    #[test]
    fn only_audio_by_itself_is_passed_over() {
        let audio = r#"{"serverContent":{"modelTurn":{"parts":[{"inlineData":{"data":"AA=="}}]}}}"#;
        assert!(is_audio_alone(audio.as_bytes()));
        assert!(!is_audio_alone(audio.replace("}}]}}}", "}}]}},\"usageMetadata\":{}}").as_bytes()));
        assert!(!is_audio_alone(br#"{"serverContent":{"turnComplete":true}}"#));
    }
}
