//! The `usage` object of OpenAI and its work-alikes, in the words of the realtime, responses or chat API, wherever it stands.

use super::fields::{find, object};
use super::stated::{Parts, Stated, is_misstated};
use crate::json::Fields;
use crate::usage::Usage;

/// Reads a `usage` object; `None` if there is no number in it, or one that nobody can have used.
pub(crate) fn usage(fields: Fields<'_>) -> Option<Usage> {
    if is_misstated(fields.clone()) {
        return None;
    }
    let mut stated = Stated::default();
    for field in fields {
        let count = field.value.count();
        match &*field.key.bytes() {
            b"total_tokens" => stated.total = count,
            b"input_tokens" | b"prompt_tokens" => stated.input = count,
            b"output_tokens" | b"completion_tokens" => stated.output = count,
            b"input_token_details" | b"input_tokens_details" | b"prompt_tokens_details" => {
                stated.input_parts = parts(object(field));
            }
            b"output_token_details" | b"output_tokens_details" | b"completion_tokens_details" => {
                stated.output_parts = parts(object(field));
            }
            b"seconds" => stated.duration_ms = field.value.number().map(milliseconds),
            b"characters" => stated.characters = count,
            _ => {}
        }
    }
    stated.has_number().then(|| stated.with_all_reasoning().usage())
}

/// A fraction of a millisecond counts whole, but not the last digit of a float (1.1 s is 1100 ms).
pub(crate) fn milliseconds(seconds: f64) -> u64 {
    ((seconds * 1e6).round() as u64).div_ceil(1_000)
}

/// The details of one direction.
fn parts(fields: Option<Fields<'_>>) -> Parts {
    let mut parts = Parts::default();
    for field in fields.into_iter().flatten() {
        let count = field.value.count();
        match &*field.key.bytes() {
            b"text_tokens" => parts.text = count,
            b"audio_tokens" => parts.audio = count,
            b"image_tokens" => parts.image = count,
            b"reasoning_tokens" => parts.reasoning = count,
            b"cached_tokens" => parts.cached = count,
            b"cached_tokens_details" => {
                let cached = self::parts(object(field));
                (parts.cached_text, parts.cached_audio, parts.cached_image) =
                    (cached.text, cached.audio, cached.image);
            }
            b"cache_write_tokens" => parts.cache_write = parts.cache_write.or(count),
            b"cache_write_tokens_details" => {
                let kept = object(field);
                let of = |name| find(kept.clone()?, name)?.value.count();
                let long = of("ttl_12h_tokens");
                let rest = parts.cache_write.map(|all| all.saturating_sub(long.unwrap_or(0)));
                (parts.cache_write, parts.cache_write_long) = (of("ttl_30m_tokens").or(rest), long);
            }
            _ => {}
        }
    }
    parts
}

/// How often the provider's own tools have searched. What pictures cost has a model of its own.
pub(crate) fn tools(fields: Fields<'_>) -> Usage {
    let mut used = Usage::default();
    for tool in fields {
        let count = |name: &str| {
            let field = object(tool).and_then(|counts| find(counts, name));
            field.and_then(|field| field.value.count()).unwrap_or(0)
        };
        match &*tool.key.bytes() {
            b"web_search" => used.searches += count("num_requests"),
            b"file_search" => used.file_searches += count("num_requests"),
            _ => {}
        }
    }
    used
}
