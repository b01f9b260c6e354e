//! OpenAI Realtime: `session.*`, `response.*` and input transcription, under GA and beta names.
//!
//! Usage is looked for in every place and spelling in which servers of this dialect have been seen to put it.

mod client;
mod settings;

pub(super) use self::settings::session;
use self::settings::{audio_rate, beta_rate};
use super::fields::{find, is_null, object, text};
use super::openai_usage::usage;
use super::{
    AudioRate, Calls, ClientEvent, ClientPeek, Dialect, HEAD_BYTES_MAX, ModelSource, OutputDelta, OutputKind,
    Peek, ProviderEvent, Rates, Rest, openai_error,
};
use crate::close_reason::CloseReason;
use crate::json::{self, End, Field, Fields};
use crate::terms::Terms;
use crate::usage::Usage;
use memchr::memmem::Finder;
use std::borrow::Cow;
use std::sync::LazyLock;

/// OpenAI Realtime with its present (GA) and its former (beta) names; also Azure, Qwen and other work-alikes.
#[derive(Clone, Copy, Debug)]
pub struct OpenaiRealtime;

impl Dialect for OpenaiRealtime {
    fn name(&self) -> &'static str {
        "openai_realtime"
    }

    /// `/v1/realtime` and Azure's `/openai/realtime` behind any prefix. Some SDKs leave `/v1` to the base URL.
    fn path(&self, path: &str) -> Option<String> {
        let bare = path.trim_end_matches('/');
        let is_whole = bare.ends_with("/v1/realtime") || bare.ends_with("/openai/realtime");
        (is_whole.then(|| path.to_owned()))
            .or_else(|| (bare == "/realtime").then(|| "/v1/realtime".to_owned()))
    }

    fn calls(&self) -> Option<Calls> {
        Some(Calls::Realtime)
    }

    fn rates(&self) -> Rates {
        Rates {
            input: AudioRate::PCM16_24KHZ,
            output: AudioRate::PCM16_24KHZ,
            heard_ms_per_token: 100,
            said_ms_per_token: 50,
            image_tokens: 85,
            sound_is_read_as_it_comes: false,
            sound_is_billed: false,
        }
    }

    fn model_is_in(&self) -> ModelSource {
        ModelSource::Url
    }

    #[inline]
    fn peek<'a>(&self, event: &'a [u8], rest: Rest) -> Peek<'a> {
        peek(event, rest, kind_of_name)
    }

    fn read<'a>(&self, event: &'a [u8], found: &mut dyn FnMut(ProviderEvent<'a>)) {
        found(read(event, kind_of_name));
    }

    fn peek_client(&self, head: &[u8], event_bytes: u64) -> ClientPeek {
        client::peek(head, event_bytes)
    }

    fn read_client<'a>(&self, event: &'a [u8], event_bytes: u64, found: &mut dyn FnMut(ClientEvent<'a>)) {
        found(client::read(event, event_bytes));
    }

    fn cancel(&self, response: Option<&str>) -> Option<String> {
        Some(client::cancel(response))
    }

    fn error_event(&self, reason: &CloseReason, event_id: &str) -> Option<String> {
        Some(openai_error::event(reason, event_id))
    }
}

/// What a type of event is to the meter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Other,
    Session,
    Begun,
    OutputDelta(OutputKind),
    Done,
    Transcribed,
    Unheard,
    Answered,
    Added,
    Committed,
    Speech { is_start: bool },
    Plays { is_start: bool },
    Refused,
}

impl Kind {
    /// What its first bytes tell of an event; `None` for a piece, of which more has to be found.
    fn sign<'a>(self) -> Option<Peek<'a>> {
        match self {
            Kind::Other => Some(Peek::Nothing),
            Kind::OutputDelta(_) => None,
            Kind::Session
            | Kind::Begun
            | Kind::Done
            | Kind::Transcribed
            | Kind::Unheard
            | Kind::Answered
            | Kind::Added
            | Kind::Committed
            | Kind::Speech { .. }
            | Kind::Plays { .. }
            | Kind::Refused => Some(Peek::Whole),
        }
    }
}

/// Looks at an event in whose names `kind_of` finds ours.
#[inline]
pub(super) fn peek(event: &[u8], rest: Rest, kind_of: impl Fn(&[u8]) -> Kind) -> Peek<'_> {
    let head = &event[..event.len().min(HEAD_BYTES_MAX)];
    let event_bytes = event.len() as u64 + rest.bytes();
    const OPENING: &[u8] = b"{\"type\":\"";
    let Some(name) = json::leading_text(head, OPENING) else {
        return peek_with_care(head, event_bytes, kind_of);
    };
    match kind_of(name) {
        Kind::OutputDelta(kind) => match peek_delta(head, OPENING.len() + name.len(), event_bytes, kind) {
            Some(piece) => Peek::OutputDelta(piece),
            None => peek_with_care(head, event_bytes, kind_of),
        },
        kind => kind.sign().unwrap_or(Peek::Nothing),
    }
}

/// A piece as OpenAI writes it: no white space, no escapes in the id, nothing but the text at the end. Its type ends at
/// `type_end`.
#[inline]
fn peek_delta(head: &[u8], type_end: usize, event_bytes: u64, kind: OutputKind) -> Option<OutputDelta<'_>> {
    static RESPONSE_ID: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b",\"response_id\":\""));
    static DELTA: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b",\"delta\":\""));
    let behind_type = &head[type_end..];
    let after_id =
        response_id_in_order(behind_type).or_else(|| json::text_after(behind_type, &RESPONSE_ID))?;
    let id = json::plain_text(after_id).filter(|id| !id.is_empty())?;
    let seen = json::text_after(&after_id[id.len()..], &DELTA)?;
    let unseen_bytes = event_bytes.saturating_sub(head.len() as u64);
    let bytes = match json::string_end(seen, 0, &mut false) {
        Some(end) => end as u64,
        // All the rest but for the closing `"}`.
        None => seen.len() as u64 + unseen_bytes.saturating_sub(2),
    };
    // Sliced, so that its two words are not read as one right after they were written, which would stall.
    let response = &std::str::from_utf8(id).ok()?[..id.len()];
    Some(OutputDelta { response: Some(Cow::Borrowed(response)), kind, bytes })
}

/// The text of the response's id, where the event's own is all that stands between it and the type: a search takes longer.
#[inline]
fn response_id_in_order(behind_type: &[u8]) -> Option<&[u8]> {
    let event_id = behind_type.strip_prefix(b"\",\"event_id\":\"")?;
    event_id[json::plain_text(event_id)?.len()..].strip_prefix(b"\",\"response_id\":\"")
}

/// Any order of keys, white space and escapes.
#[cold]
fn peek_with_care(head: &[u8], event_bytes: u64, kind_of: impl Fn(&[u8]) -> Kind) -> Peek<'_> {
    let mut kind = None;
    let mut response = None;
    let mut delta_bytes = None;
    let mut fields = Fields::of(head);
    while let Some(field) = fields.next() {
        match field.key.raw {
            b"type" if !field.cut => {
                match field.value.text().map_or(Kind::Other, |name| kind_of(&name.bytes())) {
                    Kind::OutputDelta(piece) => kind = Some(piece),
                    other => return other.sign().unwrap_or(Peek::Nothing),
                }
            }
            b"response_id" => response = text(field),
            b"delta" => delta_bytes = Some(value_bytes(&fields, field, event_bytes)),
            _ if field.key.is("type") => return Peek::Whole, // Spelt with escapes: `read` takes the trouble.
            _ => {}
        }
        if kind.is_some() && response.is_some() && delta_bytes.is_some() {
            break;
        }
    }
    let unseen_bytes = event_bytes.saturating_sub(head.len() as u64);
    match kind {
        Some(kind) => {
            Peek::OutputDelta(OutputDelta { response, kind, bytes: delta_bytes.unwrap_or(unseen_bytes) })
        }
        None if fields.end() == Some(End::Cut) => Peek::Whole,
        None => Peek::Nothing,
    }
}

/// Reads an event in whose names `kind_of` finds ours.
pub(super) fn read(event: &[u8], kind_of: impl Fn(&[u8]) -> Kind) -> ProviderEvent<'_> {
    let mut found = Event::default();
    let mut fields = Fields::of(event);
    while let Some(field) = fields.next() {
        found.take(field, value_bytes(&fields, field, event.len() as u64), &kind_of);
    }
    let Some(kind) = found.kind else {
        return if fields.end() == Some(End::Closed) {
            ProviderEvent::Nothing
        } else {
            ProviderEvent::Unreadable
        };
    };
    match kind {
        Kind::Other => ProviderEvent::Nothing,
        Kind::Session => {
            let only_transcribes = found.is_transcription_session.then_some(true);
            found.session.map_or(ProviderEvent::Nothing, |fields| {
                ProviderEvent::Session(Box::new(session(fields, only_transcribes)))
            })
        }
        Kind::Begun => ProviderEvent::Begun {
            response: found.response_id(),
            model: found.response.model,
            output_rate: found.response.output_rate,
            apart: found.response.apart,
        },
        Kind::OutputDelta(kind) => ProviderEvent::OutputDelta(OutputDelta {
            response: found.response_id(),
            kind,
            bytes: found.delta_bytes,
        }),
        Kind::Done => match (found.response_id(), found.usage()) {
            // Whose end it is broke off; to guess would end another response.
            (None, None) if fields.end() != Some(End::Closed) => ProviderEvent::Unreadable,
            (response, usage) => ProviderEvent::Done { response, usage, terms: Terms::default() },
        },
        Kind::Transcribed => ProviderEvent::Transcribed {
            item: found.item,
            content_index: found.content_index,
            usage: found.usage.and_then(usage),
        },
        Kind::Unheard => ProviderEvent::Unheard { item: found.item, content_index: found.content_index },
        Kind::Answered => match found.item.take() {
            Some(item) => ProviderEvent::Answered { response: found.response_id(), item },
            None => ProviderEvent::Nothing,
        },
        Kind::Added => found.item.map_or(ProviderEvent::Nothing, |item| ProviderEvent::Added { item }),
        Kind::Committed => ProviderEvent::Committed { item: found.item },
        Kind::Speech { is_start } => {
            found.at_ms.map_or(ProviderEvent::Nothing, |at_ms| ProviderEvent::Speech { is_start, at_ms })
        }
        Kind::Plays { is_start } => ProviderEvent::Plays { response: found.response_id(), is_start },
        Kind::Refused => ProviderEvent::Refused,
    }
}

/// What an event is to the meter that OpenAI calls so.
#[inline]
pub(super) fn kind_of_name(name: &[u8]) -> Kind {
    match name {
        b"response.output_audio.delta" | b"response.audio.delta" => Kind::OutputDelta(OutputKind::Audio),
        b"response.output_audio_transcript.delta" | b"response.audio_transcript.delta" => {
            Kind::OutputDelta(OutputKind::Transcript)
        }
        b"response.output_text.delta"
        | b"response.text.delta"
        | b"response.function_call_arguments.delta"
        | b"response.mcp_call_arguments.delta" => Kind::OutputDelta(OutputKind::Text),
        b"response.created" => Kind::Begun,
        b"response.done" => Kind::Done,
        b"session.created"
        | b"session.updated"
        | b"transcription_session.created"
        | b"transcription_session.updated" => Kind::Session,
        b"conversation.item.input_audio_transcription.completed" => Kind::Transcribed,
        b"conversation.item.input_audio_transcription.failed" => Kind::Unheard,
        b"response.output_item.added" => Kind::Answered,
        b"conversation.item.added" | b"conversation.item.created" => Kind::Added,
        b"input_audio_buffer.committed" => Kind::Committed,
        b"input_audio_buffer.speech_started" => Kind::Speech { is_start: true },
        b"input_audio_buffer.speech_stopped" => Kind::Speech { is_start: false },
        b"output_audio_buffer.started" => Kind::Plays { is_start: true },
        b"output_audio_buffer.stopped" | b"output_audio_buffer.cleared" => Kind::Plays { is_start: false },
        b"error" => Kind::Refused,
        _ => Kind::Other,
    }
}

/// How long the text is that `fields` has just come to. If the end of the head cuts it, it is taken to fill the rest
/// of the event but for the closing `"}`.
fn value_bytes(fields: &Fields<'_>, field: Field<'_>, event_bytes: u64) -> u64 {
    let Some(text) = field.value.text() else { return 0 };
    let seen_bytes = text.raw.len() as u64;
    let unseen_bytes = event_bytes.saturating_sub(fields.walked() as u64);
    if field.cut { seen_bytes + unseen_bytes.saturating_sub(2) } else { seen_bytes }
}

/// The top-level fields that matter. Of a key that comes twice the last counts, as it does for the clients.
#[derive(Debug, Default)]
struct Event<'a> {
    kind: Option<Kind>,
    session: Option<Fields<'a>>,
    response: Response<'a>,
    usage: Option<Fields<'a>>,
    response_id: Option<Cow<'a, str>>,
    item: Option<Cow<'a, str>>,
    content_index: u64,
    delta_bytes: u64,
    at_ms: Option<u64>,
    is_transcription_session: bool,
}

impl<'a> Event<'a> {
    fn take(&mut self, field: Field<'a>, value_bytes: u64, kind_of: impl Fn(&[u8]) -> Kind) {
        match &*field.key.bytes() {
            b"type" if !field.cut => {
                let name = field.value.text().map(|name| name.bytes());
                self.is_transcription_session =
                    name.as_ref().is_some_and(|name| name.starts_with(b"transcription_session."));
                self.kind = name.map(|name| kind_of(&name));
            }
            b"session" => self.session = object(field),
            b"response" => self.response = object(field).map(Response::of).unwrap_or_default(),
            b"usage" if !field.cut => self.usage = object(field),
            b"response_id" => self.response_id = text(field),
            b"item_id" => self.item = text(field),
            b"item" => self.item = object(field).and_then(|item| find(item, "id")).and_then(text),
            b"audio_start_ms" | b"audio_end_ms" => self.at_ms = field.value.count(),
            b"content_index" => self.content_index = field.value.count().unwrap_or(0),
            b"delta" => self.delta_bytes = value_bytes,
            _ => {}
        }
    }

    fn response_id(&mut self) -> Option<Cow<'a, str>> {
        self.response.id.take().or(self.response_id.take())
    }

    /// The response's own usage if it states a number, else the event's: some servers leave the first one empty.
    fn usage(&mut self) -> Option<Usage> {
        self.response.usage.take().and_then(usage).or_else(|| self.usage.take().and_then(usage))
    }
}

/// What a `response` object says.
#[derive(Debug, Default)]
struct Response<'a> {
    id: Option<Cow<'a, str>>,
    model: Option<Cow<'a, str>>,
    usage: Option<Fields<'a>>,
    output_rate: Option<AudioRate>,
    apart: bool,
}

impl<'a> Response<'a> {
    fn of(fields: Fields<'a>) -> Response<'a> {
        let mut response = Response::default();
        for field in fields {
            match &*field.key.bytes() {
                b"id" => response.id = text(field),
                b"model" => response.model = text(field),
                b"conversation_id" => response.apart = is_null(field),
                b"usage" if !field.cut => response.usage = object(field),
                b"output_audio_format" => response.output_rate = field.value.text().and_then(beta_rate),
                b"audio" => response.output_rate = object(field).and_then(audio_rate),
                _ => {}
            }
        }
        response
    }
}

#[cfg(test)]
mod tests;
