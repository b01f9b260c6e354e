//! Google's Interactions over WebSocket (`/interactions/live`).
//!
//! A frame is one event, or several under `events`. The first one of an application begins an interaction and names its model,
//! or attaches to one that was begun elsewhere, whose model nobody names. What all of an interaction has used is told at its
//! end, without an id: a connection has one interaction, and several may be attached to it.

use super::fields::{Type, last_word, raw, text, type_under, value_at};
use super::google_usage::{Details, GoogleUsage};
use super::stated::is_misstated;
use super::{
    ClientEvent, ClientPeek, Content, Dialect, GeminiLive, ModelSource, OutputDelta, OutputKind, Peek,
    ProviderEvent, Rates, Rest, Settings,
};
use crate::close_reason::CloseReason;
use crate::doubt::Keys;
use crate::json::{End, Field, Fields, Text, Value};
use crate::terms::Terms;
use crate::usage::Usage;
use serde_json::json;
use std::borrow::Cow;

/// By what the one interaction of a connection is called, here alone.
const INTERACTION: Cow<'static, str> = Cow::Borrowed("interaction");

#[derive(Clone, Copy, Debug)]
pub struct GoogleInteractions;

impl Dialect for GoogleInteractions {
    fn name(&self) -> &'static str {
        "google_interactions"
    }

    /// `/interactions/live` of any version, behind any prefix.
    fn path(&self, path: &str) -> Option<String> {
        let before = path.trim_end_matches('/').strip_suffix("/interactions/live")?;
        let version = before.rsplit('/').next().filter(|word| word.starts_with('v'));
        Some(format!("/{}/interactions/live", version.unwrap_or("v1beta")))
    }

    fn rates(&self) -> Rates {
        GeminiLive.rates()
    }

    fn model_is_in(&self) -> ModelSource {
        ModelSource::FirstEvent
    }

    fn deciding(&self) -> Keys {
        Keys::of(&["event_type", "model", "id", "events.event_type", "events.model", "events.id"])
    }

    fn peek<'a>(&self, event: &'a [u8], rest: Rest) -> Peek<'a> {
        match type_under(event, "event_type") {
            Type::Named(name) if *name == *DELTA => {
                delta(Fields::of(event), rest.bytes()).map_or(Peek::Nothing, Peek::OutputDelta)
            }
            Type::Named(name) if TELLING.contains(&&*name) => Peek::Whole,
            Type::Named(_) => Peek::Nothing,
            Type::Unseen | Type::None => Peek::Whole,
        }
    }

    fn read<'a>(&self, event: &'a [u8], found: &mut dyn FnMut(ProviderEvent<'a>)) {
        let is_whole = for_each(event, &mut |event| read(event, found));
        if !is_whole {
            found(ProviderEvent::Unreadable);
        }
    }

    fn peek_client(&self, _head: &[u8], _event_bytes: u64) -> ClientPeek {
        ClientPeek::Whole
    }

    fn read_client<'a>(&self, event: &'a [u8], event_bytes: u64, found: &mut dyn FnMut(ClientEvent<'a>)) {
        for_each(event, &mut |event| read_client(event, found));
        // What is not seen of it is put in, by its length.
        let text_bytes = event_bytes.saturating_sub(event.len() as u64);
        if text_bytes > 0 {
            found(ClientEvent::AddItem { item: None, content: Content { text_bytes, ..Content::default() } });
        }
    }

    /// An interaction goes on without those who are attached to it.
    fn cancel(&self, _response: Option<&str>) -> Option<String> {
        None
    }

    fn error_event(&self, reason: &CloseReason, _event_id: &str) -> Option<String> {
        let error = json!({"code": reason.code(), "message": reason.message()});
        Some(json!({"event_type": "error", "error": error}).to_string())
    }
}

const DELTA: &[u8] = b"step.delta";
const COMPLETED: &[u8] = b"interaction.completed";
/// The other events that tell something.
const TELLING: [&[u8]; 4] =
    [b"interaction.created", COMPLETED, b"interaction.cancelled", b"interaction.canceled"];

/// Shows each event of a frame; whether the frame is whole.
fn for_each<'a>(frame: &'a [u8], show: &mut dyn FnMut(&'a [u8])) -> bool {
    let mut fields = Fields::of(frame);
    for field in fields.by_ref().filter(|field| field.key.is("events")) {
        for (event, _) in field.value.elements().into_iter().flatten() {
            if let Value::Object(raw) = event {
                show(raw);
            }
        }
    }
    // A frame of several may be one itself.
    show(frame);
    fields.end() == Some(End::Closed)
}

fn read<'a>(event: &'a [u8], found: &mut dyn FnMut(ProviderEvent<'a>)) {
    let Type::Named(name) = type_under(event, "event_type") else { return };
    match &*name {
        DELTA => {
            delta(Fields::of(event), 0).into_iter().for_each(|piece| found(ProviderEvent::OutputDelta(piece)))
        }
        b"interaction.created" => {
            let model = value_at(Fields::of(event), "interaction.model").and_then(Value::text);
            if let Some(name) = model {
                let model = Some(last_word(name.decode()));
                found(ProviderEvent::Session(Box::new(Settings { model, ..Settings::default() })));
            }
            let response = Some(INTERACTION);
            found(ProviderEvent::Begun { response, model: None, output_rate: None, apart: false });
            let ids = ["interaction_id", "interaction.id"];
            let id = ids.iter().find_map(|path| value_at(Fields::of(event), path)?.text());
            if let Some(id) = id.filter(|id| !id.raw.is_empty()) {
                found(ProviderEvent::Joinable { call: id.decode() });
            }
        }
        name if TELLING.contains(&name) => {
            let stated =
                ["usage", "interaction.usage"].iter().find_map(|path| value_at(Fields::of(event), path));
            let usage = stated.and_then(Value::fields).and_then(usage);
            found(ProviderEvent::Done { response: Some(INTERACTION), usage, terms: Terms::default() });
        }
        _ => {}
    }
}

/// A piece of output, of which so much is not seen. Pictures have no length that tells what they cost.
fn delta<'a>(event: Fields<'a>, unseen_bytes: u64) -> Option<OutputDelta<'a>> {
    let (mut kind, mut bytes) = (None, None);
    for field in
        event.filter(|field| field.key.is("delta")).filter_map(|field| field.value.fields()).flatten()
    {
        match &*field.key.bytes() {
            b"type" => kind = field.value.text(),
            b"data" | b"text" | b"arguments" => bytes = Some(raw(field).len() as u64),
            _ => {}
        }
    }
    let kind = match &*kind?.bytes() {
        b"audio" => OutputKind::Audio,
        b"image" | b"video" | b"document" => return None,
        _ => OutputKind::Text,
    };
    let bytes = bytes?.saturating_add(unseen_bytes);
    Some(OutputDelta { response: Some(INTERACTION), kind, bytes })
}

pub(crate) fn usage(fields: Fields<'_>) -> Option<Usage> {
    if is_misstated(fields.clone()) {
        return None;
    }
    let mut stated = GoogleUsage::default();
    let mut searches = 0;
    for field in fields {
        let count = field.value.count();
        match &*field.key.bytes() {
            b"total_input_tokens" => stated.prompt_count = count,
            b"total_output_tokens" => stated.response_count = count,
            b"total_tokens" => stated.total_count = count,
            b"total_cached_tokens" => stated.cached_count = count,
            b"total_thought_tokens" => stated.thought_count = count,
            b"total_tool_use_tokens" => stated.tool_count = count,
            b"input_tokens_by_modality" => stated.prompt = Details::of(field),
            b"output_tokens_by_modality" => stated.response = Details::of(field),
            b"cached_tokens_by_modality" => stated.cached = Details::of(field),
            b"tool_use_tokens_by_modality" => stated.tools = Details::of(field),
            b"grounding_tool_count" => searches = self::searches(field),
            _ => {}
        }
    }
    stated.usage().map(|usage| Usage { searches, ..usage })
}

/// How often the web was searched, by whichever tool.
fn searches(tools: Field<'_>) -> u64 {
    let fields = tools.value.elements().into_iter().flatten().filter_map(|(tool, _)| tool.fields()).flatten();
    fields.filter(|field| field.key.is("count")).filter_map(|field| field.value.count()).sum()
}

fn read_client<'a>(event: &'a [u8], found: &mut dyn FnMut(ClientEvent<'a>)) {
    let Type::Named(name) = type_under(event, "event_type") else { return };
    match &*name {
        b"interaction.create" => found(ClientEvent::Setup(Box::new(setup(event)))),
        b"interaction.connect" => {
            let id = Fields::of(event).find(|field| field.key.is("id")).and_then(text);
            found(ClientEvent::Attach { call: id });
        }
        b"input" => {
            for field in Fields::of(event).filter(|field| field.key.is("content")) {
                field.value.elements().into_iter().flatten().for_each(|(part, _)| read_part(part, found));
            }
        }
        _ => {}
    }
}

fn setup(event: &[u8]) -> Settings<'_> {
    let mut settings = Settings::default();
    let mut text_bytes = 0;
    for field in Fields::of(event) {
        match &*field.key.bytes() {
            b"model" => settings.model = text(field).map(last_word).filter(|name| !name.is_empty()),
            b"system_instruction" | b"developer_instructions" | b"tools" => {
                text_bytes += raw(field).len() as u64
            }
            _ => {}
        }
    }
    settings.text_bytes = Some(text_bytes);
    settings
}

/// A part of what is put in: text, sound or a picture.
fn read_part<'a>(part: Value<'a>, found: &mut dyn FnMut(ClientEvent<'a>)) {
    let (mut kind, mut bytes): (Option<Text<'_>>, u64) = (None, 0);
    for field in part.fields().into_iter().flatten() {
        match &*field.key.bytes() {
            b"type" => kind = field.value.text(),
            b"data" | b"text" => bytes = raw(field).len() as u64,
            _ => {}
        }
    }
    let content = match kind.map(|kind| kind.bytes()).as_deref() {
        Some(b"audio") => return found(ClientEvent::Sound { bytes }),
        Some(b"image" | b"video" | b"document") => Content { images: 1, ..Content::default() },
        _ => Content { text_bytes: bytes, ..Content::default() },
    };
    found(ClientEvent::AddItem { item: None, content });
}

#[cfg(test)]
mod tests;
