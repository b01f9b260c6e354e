//! Gemini Live (`BidiGenerateContent`), of the Developer API and of Vertex.
//!
//! A message is one object in which several things may stand beside each other: a part of a turn, its end, its usage. So
//! nothing can be told from its beginning alone. Usage states the whole context of a turn, under one of two names, and its
//! details need not add up to its counts. A turn has no id, and its usage may come in a message of its own behind its end.

mod client;

use super::fields::{object, raw};
use super::google_usage::{Details, GoogleUsage, tier};
use super::stated::is_misstated;
use super::{
    AudioRate, ClientEvent, ClientPeek, Dialect, Handle, ModelSource, OutputDelta, OutputKind, Peek,
    ProviderEvent, Rates, Rest,
};
use crate::close_reason::CloseReason;
use crate::doubt::Keys;
use crate::json::{self, End, Field, Fields, Text, Value};
use crate::terms::Terms;
use crate::usage::Usage;

/// `}}]}}}` and white space; what closes a message with more in it has a comma.
const CLOSING_BYTES_MAX: usize = 256;

#[derive(Clone, Copy, Debug)]
pub struct GeminiLive;

impl Dialect for GeminiLive {
    fn name(&self) -> &'static str {
        "gemini_live"
    }

    /// `/ws/google.….BidiGenerateContent` of any version and service, behind any prefix.
    fn path(&self, path: &str) -> Option<String> {
        let path = &path[path.find("/ws/google.")?..];
        let (_, method) = path.rsplit_once(['.', '/'])?;
        let is_live = ["BidiGenerateContent", "BidiGenerateContentConstrained"].contains(&method);
        is_live.then(|| path.to_owned())
    }

    fn rates(&self) -> Rates {
        Rates {
            input: AudioRate { bytes_per_second: 2 * client::SOUND_HZ },
            output: AudioRate::PCM16_24KHZ,
            heard_ms_per_token: 40,
            said_ms_per_token: 40,
            image_tokens: 258,
            sound_is_read_as_it_comes: true,
            sound_is_billed: false,
        }
    }

    fn model_is_in(&self) -> ModelSource {
        ModelSource::FirstEvent
    }

    fn deciding(&self) -> Keys {
        Keys::of(&["setup.model"]).spelled_freely()
    }

    /// A setup comes first or not at all.
    fn looks_behind_sound(&self) -> bool {
        false
    }

    fn is_sound_alone(&self, event: &[u8]) -> bool {
        client::is_input_alone(event)
    }

    fn sound_form(&self, event: &[u8]) -> Option<AudioRate> {
        client::sound_form(event)
    }

    fn peek<'a>(&self, event: &'a [u8], rest: Rest) -> Peek<'a> {
        match rest {
            Rest::Nothing => peek_sound(event).map_or(Peek::Whole, Peek::OutputDelta),
            Rest::Bytes(_) | Rest::Unknown => Peek::Whole,
        }
    }

    fn read<'a>(&self, event: &'a [u8], found: &mut dyn FnMut(ProviderEvent<'a>)) {
        read(event, found);
    }

    fn peek_client(&self, head: &[u8], event_bytes: u64) -> ClientPeek {
        client::peek(head, event_bytes)
    }

    fn read_client<'a>(&self, event: &'a [u8], event_bytes: u64, found: &mut dyn FnMut(ClientEvent<'a>)) {
        client::read(event, event_bytes, found);
    }

    fn cancel(&self, _response: Option<&str>) -> Option<String> {
        None
    }

    /// The SDKs tell a close with its code and reason, and fail over an event that they do not know.
    fn error_event(&self, _reason: &CloseReason, _event_id: &str) -> Option<String> {
        None
    }
}

/// A part that is sound and alone in its message, as Gemini writes it, in lines or in one: nearly all that passes. What stands
/// behind the sound closes the message and holds no comma, so there is nothing else in it.
fn peek_sound(event: &[u8]) -> Option<OutputDelta<'_>> {
    const OPENING: [&[u8]; 15] = [
        b"{",
        b"\"serverContent\"",
        b":",
        b"{",
        b"\"modelTurn\"",
        b":",
        b"{",
        b"\"parts\"",
        b":",
        b"[",
        b"{",
        b"\"inlineData\"",
        b":",
        b"{",
        b"\"mimeType\"",
    ];
    let mime = after(after(event, &OPENING)?, &[b":", b"\"audio/"])?;
    let behind_mime = &mime[json::string_end(mime, 0, &mut false)? + 1..];
    let sound = after(behind_mime, &[b",", b"\"data\"", b":", b"\""])?;
    let bytes = json::string_end(sound, 0, &mut false)?;
    let closing = &sound[bytes + 1..];
    let is_alone = closing.len() <= CLOSING_BYTES_MAX && !closing.contains(&b',');
    is_alone.then_some(OutputDelta { response: None, kind: OutputKind::Audio, bytes: bytes as u64 })
}

/// What stands behind these tokens, with white space or none between them.
fn after<'a>(bytes: &'a [u8], tokens: &[&[u8]]) -> Option<&'a [u8]> {
    tokens.iter().try_fold(bytes, |rest, token| rest.trim_ascii_start().strip_prefix(*token))
}

fn read<'a>(event: &'a [u8], found: &mut dyn FnMut(ProviderEvent<'a>)) {
    let (mut usage, mut terms, mut is_finished, mut handle) = (None, Terms::default(), false, None);
    let mut fields = Fields::of(event);
    for field in fields.by_ref() {
        match &*field.key.bytes() {
            b"serverContent" => {
                for part in object(field).into_iter().flatten() {
                    match &*part.key.bytes() {
                        b"modelTurn" => read_turn(part, found),
                        b"turnComplete" => is_finished = matches!(part.value, Value::Plain(b"true")),
                        b"groundingMetadata" => read_grounding(part, found),
                        _ => {}
                    }
                }
            }
            b"toolCall" => found(output(OutputKind::Text, raw(field).len())),
            b"usageMetadata" if !field.cut => {
                usage = object(field).and_then(self::usage);
                terms = object(field).map(tier).unwrap_or_default();
            }
            b"sessionResumptionUpdate" if !field.cut => handle = self::handle(field, b"newhandle"),
            _ => {}
        }
    }
    match usage {
        Some(usage) => found(ProviderEvent::Done { response: None, usage: Some(usage), terms }),
        None if fields.end() != Some(End::Closed) => found(ProviderEvent::Unreadable),
        None if is_finished => found(ProviderEvent::Finished),
        None => {}
    }
    // Behind the usage, which is of what the handle resumes.
    if let Some(handle) = handle {
        found(ProviderEvent::Resumable { handle });
    }
}

/// What the web was searched for, each query by itself.
fn read_grounding<'a>(grounding: Field<'a>, found: &mut dyn FnMut(ProviderEvent<'a>)) {
    let mut fields = object(grounding).into_iter().flatten();
    let queries =
        fields.find(|field| field.key.is("webSearchQueries")).and_then(|field| field.value.elements());
    match queries.into_iter().flatten().count() {
        0 => {}
        searches => found(ProviderEvent::Searched { searches: searches as u64 }),
    }
}

/// The handle that an object holds under this key.
fn handle(of: Field<'_>, key: &[u8]) -> Option<Handle> {
    let named = object(of)?.find(|field| client::is(field.key, key) && !field.cut)?;
    Handle::new(&named.value.text()?.decode())
}

/// The parts of a model's turn: sound, text, thoughts, code and what came of it.
fn read_turn<'a>(turn: Field<'a>, found: &mut dyn FnMut(ProviderEvent<'a>)) {
    let parts = object(turn).into_iter().flatten().filter(|field| field.key.is("parts"));
    for (part, _) in parts.filter_map(|field| field.value.elements()).flatten() {
        for field in part.fields().into_iter().flatten() {
            match &*field.key.bytes() {
                b"inlineData" => {
                    let bytes = object(field).and_then(sound).map_or(0, |sound| sound.raw.len());
                    found(output(OutputKind::Audio, bytes));
                }
                b"text" => {
                    let bytes = field.value.text().map_or(0, |text| text.raw.len());
                    found(output(OutputKind::Text, bytes));
                }
                b"executableCode" | b"functionCall" => found(output(OutputKind::Text, raw(field).len())),
                _ => {}
            }
        }
    }
}

/// The base64 of a blob that is sound.
fn sound(blob: Fields<'_>) -> Option<Text<'_>> {
    let (mut is_sound, mut data) = (false, None);
    for field in blob {
        match &*field.key.bytes() {
            b"mimeType" => {
                is_sound = field.value.text().is_some_and(|mime| mime.bytes().starts_with(b"audio/"));
            }
            b"data" => data = field.value.text(),
            _ => {}
        }
    }
    data.filter(|_| is_sound)
}

fn output<'a>(kind: OutputKind, bytes: usize) -> ProviderEvent<'a> {
    ProviderEvent::OutputDelta(OutputDelta { response: None, kind, bytes: bytes as u64 })
}

/// Reads `usageMetadata`; `None` if there is no number in it, or one that nobody can have used.
fn usage(fields: Fields<'_>) -> Option<Usage> {
    if is_misstated(fields.clone()) {
        return None;
    }
    let mut stated = GoogleUsage::default();
    for field in fields {
        let count = field.value.count();
        match &*field.key.bytes() {
            b"promptTokenCount" => stated.prompt_count = count,
            b"responseTokenCount" | b"candidatesTokenCount" => {
                stated.response_count = count.or(stated.response_count);
            }
            b"totalTokenCount" => stated.total_count = count,
            b"thoughtsTokenCount" => stated.thought_count = count,
            b"toolUsePromptTokenCount" => stated.tool_count = count,
            b"cachedContentTokenCount" => stated.cached_count = count,
            b"promptTokensDetails" => stated.prompt = Details::of(field),
            b"responseTokensDetails" | b"candidatesTokensDetails" => stated.response = Details::of(field),
            b"cacheTokensDetails" => stated.cached = Details::of(field),
            b"toolUsePromptTokensDetails" => stated.tools = Details::of(field),
            _ => {}
        }
    }
    stated.usage()
}

#[cfg(test)]
mod tests;
