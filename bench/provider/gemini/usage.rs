//! `usageMetadata`: a turn's usage as Gemini tells it, with the traps of the real one.
//!
//! Thoughts and a tool's prompt are extra to what the counts hold, cached input is a part of it, a count of 0 is left
//! out, and what the details leave of a count is text.

use super::Front;
use serde_json::{Map, Value, json};
use tokenist_core::usage::Usage;

/// How it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Telling {
    pub(crate) front: Front,
    /// The details tell of a third of the text in and of the text out nothing.
    pub(crate) is_short: bool,
    /// On Vertex the detail of the audio in has no count: it stands for what the others leave.
    pub(crate) is_bare: bool,
    /// So much of the text in came with a tool's answer.
    pub(crate) tool_prompt: u64,
}

pub(crate) fn metadata(usage: &Usage, telling: Telling) -> Value {
    let tool_prompt = telling.tool_prompt.min(usage.text_in - usage.cached_text_in);
    let thoughts = usage.reasoning_out;
    let (prompt, response) = (usage.input_tokens() - tool_prompt, usage.output_tokens() - thoughts);
    let text_in = (usage.text_in - tool_prompt) / if telling.is_short { 3 } else { 1 };
    let text_out = if telling.is_short { 0 } else { usage.text_out - thoughts };
    let mut details_in = details([text_in, usage.audio_in, usage.image_in]);
    let is_bare = telling.is_bare && telling.front == Front::Vertex;
    if is_bare {
        details_in.retain(|detail| detail["modality"] != "AUDIO");
        details_in.push(json!({"modality": "AUDIO"}));
    }
    let (count_out, details_out, thoughts_in_total) = match telling.front {
        Front::Developer => ("responseTokenCount", "responseTokensDetails", 0),
        Front::Vertex => ("candidatesTokenCount", "candidatesTokensDetails", thoughts),
    };
    let counts = [
        ("promptTokenCount", prompt),
        ("cachedContentTokenCount", usage.cached_tokens()),
        (count_out, response),
        ("toolUsePromptTokenCount", tool_prompt),
        ("thoughtsTokenCount", thoughts),
        ("totalTokenCount", prompt + response + tool_prompt + thoughts_in_total),
    ];
    let cached = [usage.cached_text_in, usage.cached_audio_in, usage.cached_image_in];
    let lists = [
        ("promptTokensDetails", details_in),
        ("cacheTokensDetails", details(cached)),
        (details_out, details([text_out, usage.audio_out, usage.image_out])),
        ("toolUsePromptTokensDetails", details([tool_prompt, 0, 0])),
    ];
    let told = counts.into_iter().filter(|(_, count)| *count > 0).map(|(name, count)| (name, json!(count)));
    let lists =
        lists.into_iter().filter(|(_, list)| !list.is_empty()).map(|(name, list)| (name, json!(list)));
    let mut metadata: Map<String, Value> =
        told.chain(lists).map(|(name, value)| (name.to_owned(), value)).collect();
    if telling.front == Front::Vertex {
        metadata.insert("trafficType".to_owned(), "ON_DEMAND".into());
    }
    Value::Object(metadata)
}

/// Of text, audio and images those that there were.
fn details(counts: [u64; 3]) -> Vec<Value> {
    let named = ["TEXT", "AUDIO", "IMAGE"].into_iter().zip(counts);
    let told = named.filter(|(_, count)| *count > 0);
    told.map(|(modality, count)| json!({"modality": modality, "tokenCount": count})).collect()
}
