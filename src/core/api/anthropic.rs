//! Anthropic's Messages. Input leaves out what was read from and written to the cache, and thinking is part of the output;
//! in a stream each event states all there is so far, and what it leaves out holds.

use super::answer::{Event, Progress, State};
use super::request::Asked;
use super::wanted::{Wants, text, value};
use super::{Api, Call, Endpoint, ModelIn};
use crate::close_reason::CloseReason;
use crate::dialect::fields::{self, find, object};
use crate::dialect::stated::is_misstated;
use crate::dialect::{AudioRate, Rates};
use crate::json::{Field, Fields, Value};
use crate::usage::Usage;
use serde_json::json;

#[cfg(test)]
mod tests;

#[derive(Clone, Copy, Debug)]
pub(super) struct AnthropicHttp;

impl Api for AnthropicHttp {
    fn name(&self) -> &'static str {
        "anthropic_http"
    }

    /// `/v1/messages` behind any prefix; some SDKs leave `/v1` to the base URL.
    fn endpoint(&self, method: &str, path: &str) -> Option<Endpoint> {
        let words: Vec<&str> = path.split('/').filter(|word| !word.is_empty()).collect();
        let call = match (method, words.as_slice()) {
            ("POST", ["messages"] | [.., "v1", "messages"]) => &MESSAGES,
            ("POST", ["messages", "count_tokens"] | [.., "v1", "messages", "count_tokens"]) => &COUNT_TOKENS,
            ("GET", ["models"] | ["models", _] | [.., "v1", "models"] | [.., "v1", "models", _]) => &MODELS,
            _ => return None,
        };
        let first = words.iter().rposition(|word| ["messages", "models"].contains(word))?;
        Some(Endpoint { call, path: format!("/v1/{}", words[first..].join("/")), model: None, kept_id: None })
    }

    fn rates(&self) -> &'static Rates {
        &RATES
    }

    fn error_body(&self, reason: &CloseReason) -> String {
        error(reason)
    }
}

static RATES: Rates = Rates {
    input: AudioRate::PCM16_24KHZ,
    output: AudioRate::PCM16_24KHZ,
    heard_ms_per_token: 100,
    said_ms_per_token: 50,
    image_tokens: 1_600,
    sound_is_read_as_it_comes: false,
    sound_is_billed: false,
};

static MESSAGES: Call = Call {
    name: "messages",
    model_in: ModelIn::Json,
    is_metered: true,
    ask,
    wanted: WANTED,
    read,
    ending,
    error,
    ..Call::FREE
};

static COUNT_TOKENS: Call =
    Call { name: "count_tokens", model_in: ModelIn::Json, ending, error, ..Call::FREE };
static MODELS: Call = Call { name: "models", ending, error, ..Call::FREE };

const WANTED: &Wants = &Wants::new(&[
    value("type"),
    value("id"),
    value("model"),
    value("usage"),
    value("message.id"),
    value("message.model"),
    value("message.usage"),
    text("delta.text"),
    text("delta.thinking"),
    text("delta.partial_json"),
    text("content.text"),
    text("content.thinking"),
    text("content.input"),
]);

fn ask(body: &[u8]) -> Asked {
    Asked::reading(body, |name| matches!(name, b"system" | b"messages" | b"tools"))
}

fn read(event: &Event<'_>, progress: &mut Progress) {
    let mut kind = None;
    for field in event.fields.clone() {
        match &*field.key.bytes() {
            b"type" => kind = fields::text(field),
            b"id" | b"message.id" => progress.name(fields::text(field)),
            b"model" | b"message.model" => progress.set_model(fields::text(field)),
            b"usage" | b"message.usage" if !field.cut => {
                object(field).into_iter().for_each(|usage| read_usage(usage, progress));
            }
            _ => {}
        }
    }
    match kind.as_deref() {
        Some("message_stop" | "message") => progress.end(State::Over),
        Some("error") => progress.end(State::Failed),
        _ => {}
    }
}

/// Which of the figures is what.
const INPUT: usize = 0;
const WRITTEN: usize = 1;
const CACHED: usize = 2;
const WRITTEN_MINUTES: usize = 3;
const WRITTEN_HOUR: usize = 4;
const OUTPUT: usize = 5;
const THINKING: usize = 6;
const SEARCHES: usize = 7;

type Figures = [Option<u64>; 8];

fn read_usage(usage: Fields<'_>, progress: &mut Progress) {
    if is_misstated(usage.clone()) {
        progress.usage = None;
        return;
    }
    let mut figures = progress.figures;
    for field in usage.clone() {
        take(field, &mut figures);
        match &*field.key.bytes() {
            b"service_tier" => {
                let tier = fields::text(field);
                let is_batch = tier.as_deref() == Some("batch");
                progress.set_term(if is_batch { "processing" } else { "service_tier" }, tier);
            }
            b"speed" => progress.set_term("speed", fields::text(field)),
            b"inference_geo" => progress.set_term("inference_geo", fields::text(field)),
            _ => {}
        }
    }
    progress.figures = figures;
    let Some(stated) = usage_of(&figures) else { return };
    progress.usage = Some(stated);
    let iterations = find(usage, "iterations").filter(|field| !field.cut);
    if let Some(elements) = iterations.and_then(|field| field.value.elements()) {
        let of_model = elements.filter_map(|(entry, _)| iteration(entry));
        read_iterations(of_model.collect(), progress);
    }
}

/// Each pass of one request at the model that made it; together they take the place of the sums, which leave some out.
fn read_iterations(passes: Vec<(Option<Box<str>>, Usage)>, progress: &mut Progress) {
    if passes.is_empty() {
        return;
    }
    let searches = progress.usage.map_or(0, |usage| usage.searches);
    let mut own = Usage { requests: 1, searches, ..Usage::default() };
    progress.items.clear();
    for (model, usage) in passes {
        let pass = Usage { requests: 0, ..usage };
        match model.filter(|model| progress.model.as_ref() != Some(model)) {
            None => own += pass,
            Some(model) => progress.items.push((model, pass)),
        }
    }
    progress.usage = Some(own);
}

fn iteration(entry: Value<'_>) -> Option<(Option<Box<str>>, Usage)> {
    let fields = entry.fields()?;
    let mut figures = Figures::default();
    fields.clone().for_each(|field| take(field, &mut figures));
    let model = find(fields, "model").and_then(fields::text).map(Into::into);
    Some((model, usage_of(&figures)?))
}

/// A figure that is stated; `null` states nothing.
fn take(field: Field<'_>, figures: &mut Figures) {
    let mut set = |figure: usize, value: Value<'_>| figures[figure] = value.count().or(figures[figure]);
    let mut within = |parts: &[(&str, usize)]| {
        for part in object(field).into_iter().flatten() {
            if let Some((_, figure)) = parts.iter().find(|(name, _)| part.key.is(name)) {
                set(*figure, part.value);
            }
        }
    };
    match &*field.key.bytes() {
        b"cache_creation" => within(&[
            ("ephemeral_5m_input_tokens", WRITTEN_MINUTES),
            ("ephemeral_1h_input_tokens", WRITTEN_HOUR),
        ]),
        b"output_tokens_details" => within(&[("thinking_tokens", THINKING)]),
        b"server_tool_use" => within(&[("web_search_requests", SEARCHES)]),
        b"input_tokens" => set(INPUT, field.value),
        b"cache_creation_input_tokens" => set(WRITTEN, field.value),
        b"cache_read_input_tokens" => set(CACHED, field.value),
        b"output_tokens" => set(OUTPUT, field.value),
        _ => {}
    }
}

fn usage_of(figures: &Figures) -> Option<Usage> {
    figures.iter().any(Option::is_some).then_some(())?;
    let of = |figure: usize| figures[figure].unwrap_or(0);
    let long = of(WRITTEN_HOUR);
    let written = of(WRITTEN).max(of(WRITTEN_MINUTES) + long);
    Some(Usage {
        text_in: of(INPUT) + written + of(CACHED),
        cached_text_in: of(CACHED),
        cache_write_in: written - long,
        cache_write_long_in: long,
        text_out: of(OUTPUT),
        reasoning_out: of(THINKING),
        searches: of(SEARCHES),
        requests: 1,
        ..Usage::default()
    })
}

fn ending(reason: &CloseReason, _: u64) -> String {
    format!("event: error\ndata: {}\n\n", error(reason))
}

/// Anthropic's form; its types are few, so our own word stands beside.
fn error(reason: &CloseReason) -> String {
    let kind = match reason.http_status() {
        401 => "authentication_error",
        403 => "permission_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        400 | 408 => "invalid_request_error",
        503 => "overloaded_error",
        _ => "api_error",
    };
    json!({"type": "error", "error": {"type": kind, "message": reason.message(), "code": reason.code()}})
        .to_string()
}
