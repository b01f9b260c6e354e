//! Google's generateContent, plain, as a stream of events and as an array that grows; embeddings; and the Interactions over
//! HTTP. The path names the model, and each piece of a stream states all there is so far.

mod interactions;

use super::answer::{Event, Progress, State};
use super::request::{Asked, content};
use super::wanted::{Wants, audio, presence, text, value};
use super::{Api, Call, Endpoint, ModelIn, Reach, is_name};
use crate::close_reason::CloseReason;
use crate::dialect::fields::{self, object};
use crate::dialect::google_usage::{Details, GoogleUsage};
use crate::dialect::stated::is_misstated;
use crate::dialect::{AudioRate, Content, Rates};
use crate::http::RequestHead;
use crate::http::query::Parameter;
use crate::json::Fields;
use crate::usage::Usage;
use serde_json::json;

#[cfg(test)]
mod tests;

#[derive(Clone, Copy, Debug)]
pub(super) struct GoogleHttp;

impl Api for GoogleHttp {
    fn name(&self) -> &'static str {
        "google_http"
    }

    fn endpoint(&self, method: &str, path: &str) -> Option<Endpoint> {
        let words: Vec<&str> = path.split('/').filter(|word| !word.is_empty()).collect();
        let first = words.iter().rposition(|word| is_version(word));
        let (version, own) = first.map_or(("v1beta", &words[..]), |at| (words[at], &words[at + 1..]));
        let (call, model) = call(method, own).filter(|_| own.iter().all(|word| is_name(word)))?;
        let kept_id = own.get(1).filter(|_| call.reach == Reach::One).map(|id| (*id).to_owned());
        Some(Endpoint { call, path: format!("/{version}/{}", own.join("/")), model, kept_id })
    }

    fn rates(&self) -> &'static Rates {
        &RATES
    }

    fn hinders(&self, head: &RequestHead) -> Option<&'static str> {
        let is_mask = |parameter: Parameter<'_>| {
            let name = parameter.name().trim_start_matches('$').to_ascii_lowercase();
            match &*name {
                "callback" | "fields" => true,
                "alt" => !matches!(parameter.value(), "" | "json" | "sse"),
                _ => false,
            }
        };
        let collections = |word: &&str| COLLECTIONS.contains(word);
        if head.path().split('/').filter(collections).count() > 1 {
            return Some("its path names two models: name one");
        }
        let is_hindered = head.headers.get("x-goog-fieldmask").is_some() || head.query().any(is_mask);
        is_hindered.then_some(
            "what is used cannot be read in answers that the parameters `fields`, `callback` or `alt`, or the header \
             X-Goog-FieldMask, change: leave them out",
        )
    }

    fn absent(&self, id: &str) -> String {
        let message = format!("Interaction {id} not found.");
        json!({"error": {"code": 404, "message": message, "status": "NOT_FOUND"}}).to_string()
    }

    fn error_body(&self, reason: &CloseReason) -> String {
        error(reason)
    }
}

/// Behind which a path names a model.
const COLLECTIONS: [&str; 3] = ["models", "tunedModels", "endpoints"];

static RATES: Rates = Rates {
    input: AudioRate { bytes_per_second: 32_000 },
    output: AudioRate::PCM16_24KHZ,
    heard_ms_per_token: 31,
    said_ms_per_token: 40,
    image_tokens: 258,
    sound_is_read_as_it_comes: false,
    sound_is_billed: false,
};

/// `v1`, `v1beta` and the like.
fn is_version(word: &str) -> bool {
    word.strip_prefix('v').is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
}

/// What is asked for behind the version, and of which model.
fn call(method: &str, own: &[&str]) -> Option<(&'static Call, Option<String>)> {
    match (method, own) {
        ("POST", ["interactions"]) => return Some((&interactions::CREATE, None)),
        ("GET", ["interactions", _]) | ("POST", ["interactions", _, "cancel"]) => {
            return Some((&interactions::RETRIEVE, None));
        }
        ("DELETE", ["interactions", _]) => return Some((&interactions::DELETE, None)),
        ("GET", ["models"] | ["models", _]) => return Some((&MODELS, None)),
        ("POST", [.., collection, _]) if COLLECTIONS.contains(collection) => {}
        _ => return None,
    }
    let (model, method) = own.last()?.split_once(':')?;
    let call = match method {
        "generateContent" => &GENERATE,
        "streamGenerateContent" => &STREAM,
        "embedContent" | "batchEmbedContents" => &EMBED,
        "countTokens" | "computeTokens" => &COUNT_TOKENS,
        _ => return None,
    };
    Some((call, Some(model.to_owned()).filter(|model| !model.is_empty())))
}

static GENERATE: Call = Call {
    name: "generate_content",
    is_metered: true,
    tier_header: Some("x-gemini-service-tier"),
    ask,
    wanted: WANTED,
    read,
    ending,
    error,
    model_in: ModelIn::Path,
    ..Call::FREE
};

static STREAM: Call = Call { is_stream: true, ..GENERATE };
static EMBED: Call = Call { name: "embeddings", ..GENERATE };
static COUNT_TOKENS: Call =
    Call { name: "count_tokens", model_in: ModelIn::Path, ending, error, ..Call::FREE };
static MODELS: Call = Call { name: "models", ending, error, ..Call::FREE };

const WANTED: &Wants = &Wants::new(&[
    value("responseId"),
    value("modelVersion"),
    value("usageMetadata"),
    presence("error"),
    value("candidates.groundingMetadata.webSearchQueries"),
    text("candidates.content.parts.text"),
    text("candidates.content.parts.functionCall"),
    text("candidates.content.parts.executableCode.code"),
    audio("candidates.content.parts.inlineData.data"),
]);

fn ask(body: &[u8]) -> Asked {
    let reads = |name: &[u8]| {
        matches!(
            name,
            b"contents" | b"content" | b"requests" | b"systemInstruction" | b"system_instruction" | b"tools"
        )
    };
    let fields = Fields::of(body).filter(|field| reads(&field.key.bytes()));
    let content = fields.map(|field| content(field.value)).fold(Content::default(), Content::plus);
    // The path names the model.
    Asked { content, ..Asked::default() }
}

fn read(event: &Event<'_>, progress: &mut Progress) {
    let mut stated = None;
    for field in event.fields.clone() {
        match &*field.key.bytes() {
            b"responseId" => progress.name(fields::text(field)),
            b"modelVersion" => progress.set_model(fields::text(field)),
            b"usageMetadata" if !field.cut => {
                progress.usage = progress.usage.filter(|_| !object(field).is_some_and(is_misstated));
                stated = object(field).and_then(|usage| read_usage(usage, progress));
            }
            b"candidates.groundingMetadata.webSearchQueries" if !field.cut => {
                let queries = field.value.elements().map_or(0, Iterator::count) as u64;
                progress.figures[SEARCHES] = Some(queries).max(progress.figures[SEARCHES]);
            }
            b"error" => progress.end(State::Failed),
            _ => {}
        }
    }
    if let Some(usage) = stated.or(progress.usage) {
        let searches = progress.figures[SEARCHES].unwrap_or(0);
        progress.usage = Some(Usage { searches, ..usage });
    }
}

/// Which of the figures is how often the web was searched.
const SEARCHES: usize = 0;

fn read_usage(usage: Fields<'_>, progress: &mut Progress) -> Option<Usage> {
    if is_misstated(usage.clone()) {
        return None;
    }
    let mut stated = GoogleUsage::default();
    for field in usage {
        let count = field.value.count();
        match &*field.key.bytes() {
            b"promptTokenCount" => stated.prompt_count = count,
            b"candidatesTokenCount" | b"responseTokenCount" => stated.response_count = count,
            b"totalTokenCount" => stated.total_count = count,
            b"cachedContentTokenCount" => stated.cached_count = count,
            b"thoughtsTokenCount" => stated.thought_count = count,
            b"toolUsePromptTokenCount" => stated.tool_count = count,
            b"promptTokensDetails" => stated.prompt = Details::of(field),
            b"candidatesTokensDetails" | b"responseTokensDetails" => stated.response = Details::of(field),
            b"cacheTokensDetails" => stated.cached = Details::of(field),
            b"toolUsePromptTokensDetails" => stated.tools = Details::of(field),
            b"trafficType" => {
                let tier = fields::text(field).as_deref().and_then(tier_of);
                progress.set_term("service_tier", tier.map(Into::into));
            }
            _ => {}
        }
    }
    stated.without_thoughts_twice().usage()
}

/// The tier that Vertex names as a kind of traffic.
fn tier_of(traffic: &str) -> Option<&'static str> {
    ["priority", "flex"].into_iter().find(|tier| traffic.to_ascii_lowercase().ends_with(tier))
}

fn ending(reason: &CloseReason, _: u64) -> String {
    format!("data: {}\n\n", error(reason))
}

fn error(reason: &CloseReason) -> String {
    let code = reason.http_status();
    let status = match code {
        400 | 413 => "INVALID_ARGUMENT",
        408 => "DEADLINE_EXCEEDED",
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        429 => "RESOURCE_EXHAUSTED",
        502 | 503 => "UNAVAILABLE",
        _ => "INTERNAL",
    };
    let details = json!([{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason.code(), "domain": "tokenist"}]);
    json!({"error": {"code": code, "message": reason.message(), "status": status, "details": details}})
        .to_string()
}
