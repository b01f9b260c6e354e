//! OpenAI's HTTP endpoints, and those of providers like it; Azure has them under its own paths.

mod audio;
mod chat;
mod others;
mod responses;

use super::{Api, Call, Endpoint, ModelIn, Reach, is_name};
use crate::close_reason::CloseReason;
use crate::dialect::{AudioRate, Rates, http_body};
use serde_json::json;

#[derive(Clone, Copy, Debug)]
pub(super) struct OpenaiHttp;

impl Api for OpenaiHttp {
    fn name(&self) -> &'static str {
        "openai_http"
    }

    fn endpoint(&self, method: &str, path: &str) -> Option<Endpoint> {
        let path = path.trim_end_matches('/');
        CALLS.iter().filter(|(of, ..)| *of == method).find_map(|(_, tail, call)| endpoint(path, tail, call))
    }

    fn rates(&self) -> &'static Rates {
        &RATES
    }

    fn absent(&self, id: &str) -> String {
        let what = if id.starts_with("resp") { "Response" } else { "Chat completion" };
        let message = format!("{what} with id '{id}' not found.");
        let error = json!({"message": message, "type": "invalid_request_error", "param": null, "code": null});
        json!({"error": error}).to_string()
    }

    fn absent_before(&self, id: &str) -> String {
        let message = format!("Previous response with id '{id}' not found.");
        let error = json!({"message": message, "type": "invalid_request_error", "param": "previous_response_id",
            "code": "previous_response_not_found"});
        json!({"error": error}).to_string()
    }

    fn error_body(&self, reason: &CloseReason) -> String {
        http_body(reason)
    }
}

static RATES: Rates = Rates {
    input: AudioRate::PCM16_24KHZ,
    output: AudioRate::PCM16_24KHZ,
    heard_ms_per_token: 100,
    said_ms_per_token: 50,
    image_tokens: 85,
    sound_is_read_as_it_comes: false,
    sound_is_billed: false,
};

/// Free of charge.
static MODELS: Call = Call { name: "models", ending, error: http_body, ..Call::FREE };
static FREE: Call = Call { name: "free", ..MODELS };
static KEPT: Call = Call { reach: Reach::One, ..FREE };
static ALL_KEPT: Call = Call { reach: Reach::All, ..FREE };
static MODERATIONS: Call = Call { name: "moderations", model_in: ModelIn::Json, ..MODELS };

/// Methods and paths behind `/v1`; `*` stands for one word. The first that fits is meant.
static CALLS: &[(&str, &str, &Call)] = &[
    ("POST", "chat/completions", &chat::CHAT),
    ("POST", "completions", &chat::CHAT),
    ("POST", "responses", &responses::CREATE),
    ("POST", "responses/input_tokens", &FREE),
    ("POST", "responses/compact", &responses::COMPACT),
    ("POST", "responses/*/cancel", &responses::RETRIEVE),
    ("GET", "responses/*/input_items", &KEPT),
    ("GET", "responses/*", &responses::RETRIEVE),
    ("DELETE", "responses/*", &KEPT),
    ("POST", "embeddings", &others::EMBEDDINGS),
    ("POST", "decisions", &others::DECISIONS),
    ("POST", "moderations", &MODERATIONS),
    ("POST", "images/generations", &others::IMAGES),
    ("POST", "images/edits", &others::IMAGE_EDITS),
    ("POST", "images/variations", &others::IMAGE_EDITS),
    ("POST", "audio/speech", &audio::SPEECH),
    ("POST", "audio/transcriptions", &audio::TRANSCRIPTION),
    ("POST", "audio/translations", &audio::TRANSLATION),
    ("GET", "chat/completions", &ALL_KEPT),
    ("GET", "chat/completions/*", &KEPT),
    ("GET", "chat/completions/*/messages", &KEPT),
    ("POST", "chat/completions/*", &KEPT),
    ("DELETE", "chat/completions/*", &KEPT),
    ("GET", "models", &MODELS),
    ("GET", "models/*", &MODELS),
];

/// A path that ends in `tail`, behind `/v1`, behind what Azure or Qwen has in its place, or behind nothing.
fn endpoint(path: &str, tail: &str, call: &'static Call) -> Option<Endpoint> {
    let words: Vec<&str> = path.split('/').filter(|word| !word.is_empty()).collect();
    let wanted: Vec<&str> = tail.split('/').collect();
    let (before, own) = words.split_at_checked(words.len().checked_sub(wanted.len())?)?;
    let fits =
        own.iter().zip(&wanted).all(|(word, wanted)| word == wanted || *wanted == "*" && is_name(word));
    let kept_id = own.iter().zip(&wanted).find(|(_, wanted)| **wanted == "*" && call.reach == Reach::One);
    let kept_id = kept_id.map(|(id, _)| (*id).to_owned());
    let own = own.join("/");
    let (path, model) = match before {
        _ if !fits => return None,
        [.., "openai", "deployments", deployment] if is_name(deployment) => {
            (format!("/openai/deployments/{deployment}/{own}"), Some((*deployment).to_owned()))
        }
        [.., "openai", "v1"] => (format!("/openai/v1/{own}"), None),
        [.., "openai"] => (format!("/openai/{own}"), None),
        [.., "compatible-mode", "v1"] => (format!("/compatible-mode/v1/{own}"), None),
        [.., "v1"] | [] => (format!("/v1/{own}"), None),
        _ => return None,
    };
    Some(Endpoint { call, path, model, kept_id })
}

/// An event that ends a stream: SDKs raise an error over an object in its data, and over nothing else.
fn ending(reason: &CloseReason, _: u64) -> String {
    format!("data: {}\n\n", http_body(reason))
}
