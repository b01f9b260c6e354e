//! GPT-Live (`/v1/live/sessions`): one session of speech both ways, billed by its seconds, which are stated as a running total;
//! and what it delegates, Responses and decisions, each billed at a model of its own.
//!
//! The model is in the client's first event; who attaches to a session, or forks one, names none (`joined`). Paused seconds count like others: whether they are weighted is not known.

mod joined;

pub use self::joined::GptLiveJoined;

use super::fields::{Type, find, object, text, type_of};
use super::openai_realtime::{OpenaiRealtime, session};
use super::openai_usage::milliseconds;
use super::responses_over::Over;
use super::{
    Calls, ClientEvent, ClientPeek, Dialect, ModelSource, Peek, ProviderEvent, Rates, Rest, SESSION_TIME,
    Settings,
};
use crate::close_reason::CloseReason;
use crate::doubt::Keys;
use crate::json::{End, Fields};
use crate::terms::Terms;
use crate::usage::Usage;
use serde_json::json;

#[derive(Clone, Copy, Debug)]
pub struct GptLive;

impl Dialect for GptLive {
    fn name(&self) -> &'static str {
        "gpt_live"
    }

    /// `/v1/live/sessions` and Azure's `/openai/live/sessions` behind any prefix. Some SDKs leave `/v1` to the base URL.
    fn path(&self, path: &str) -> Option<String> {
        const SESSIONS: &str = "/live/sessions";
        let before = path.trim_end_matches('/').strip_suffix(SESSIONS)?;
        let before = if before.is_empty() { "/v1" } else { before };
        Some(format!("{before}{SESSIONS}"))
    }

    fn calls(&self) -> Option<Calls> {
        Some(Calls::Live)
    }

    fn attached(&self) -> Option<&'static dyn Dialect> {
        Some(&GptLiveJoined)
    }

    fn rates(&self) -> Rates {
        OpenaiRealtime.rates()
    }

    fn model_is_in(&self) -> ModelSource {
        ModelSource::FirstEvent
    }

    fn deciding(&self) -> Keys {
        Keys::of(&["type", "session.model"])
    }

    fn peek<'a>(&self, event: &'a [u8], _rest: Rest) -> Peek<'a> {
        match type_of(event) {
            Type::Named(name) if kind_of(&name) == Kind::Other => Peek::Nothing,
            Type::None => Peek::Nothing,
            Type::Named(_) | Type::Unseen => Peek::Whole,
        }
    }

    fn read<'a>(&self, event: &'a [u8], found: &mut dyn FnMut(ProviderEvent<'a>)) {
        let kind = match type_of(event) {
            Type::Named(name) => kind_of(&name),
            Type::Unseen => return found(ProviderEvent::Unreadable),
            Type::None => return,
        };
        let mut fields = Fields::of(event);
        let told = Told::of(fields.by_ref());
        let is_whole = fields.end() == Some(End::Closed);
        match kind {
            Kind::Other => {}
            Kind::Begun => {
                let id = told.session.clone().and_then(|session| find(session, "id")).and_then(text);
                tell_session(told.session, found);
                id.into_iter().for_each(|call| found(ProviderEvent::Joinable { call }));
                found(ProviderEvent::Ahead { grows: true });
            }
            Kind::Changed => tell_session(told.session, found),
            Kind::Time { is_last } => match told.usage.and_then(seconds) {
                Some(usage) => {
                    tell_session(told.session, found);
                    found(ProviderEvent::Total {
                        key: SESSION_TIME.into(),
                        model: None,
                        usage,
                        terms: Terms::default(),
                    });
                    if is_last {
                        found(ProviderEvent::Ahead { grows: false });
                    }
                }
                None if !is_whole => found(ProviderEvent::Unreadable),
                None => {}
            },
            Kind::Delegated => match told.event {
                Some(event) => tell_delegated(event, found),
                None if !is_whole => found(ProviderEvent::Unreadable),
                None => {}
            },
        }
    }

    fn peek_client(&self, head: &[u8], _event_bytes: u64) -> ClientPeek {
        match type_of(head) {
            Type::Named(name) if *name == *SOUND => ClientPeek::Nothing,
            Type::Named(_) | Type::None | Type::Unseen => ClientPeek::Whole,
        }
    }

    fn read_client<'a>(&self, event: &'a [u8], _event_bytes: u64, found: &mut dyn FnMut(ClientEvent<'a>)) {
        let is_start = type_of(event) == Type::Named(START.into());
        let session = find(Fields::of(event), "session").and_then(object);
        let model = session.and_then(|session| find(session, "model")).and_then(text);
        if let Some(model) = model.filter(|_| is_start) {
            found(ClientEvent::Setup(Box::new(Settings { model: Some(model), ..Settings::default() })));
        }
    }

    /// The whole session, which tells its seconds then.
    fn cancel(&self, _response: Option<&str>) -> Option<String> {
        Some(json!({"type": "session.close"}).to_string())
    }

    fn error_event(&self, reason: &CloseReason, event_id: &str) -> Option<String> {
        OpenaiRealtime.error_event(reason, event_id)
    }
}

const START: &[u8] = b"session.start";
/// Nearly all that an application says.
const SOUND: &[u8] = b"session.input_audio.append";

fn tell_session<'a>(told: Option<Fields<'a>>, found: &mut dyn FnMut(ProviderEvent<'a>)) {
    if let Some(told) = told {
        found(ProviderEvent::Session(Box::new(session(told, None))));
    }
}

/// What a type of event is to the meter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Other,
    Begun,
    Changed,
    Time { is_last: bool },
    Delegated,
}

fn kind_of(name: &[u8]) -> Kind {
    match name {
        b"session.started" => Kind::Begun,
        b"session.updated" => Kind::Changed,
        b"session.usage.updated" => Kind::Time { is_last: false },
        b"session.closed" => Kind::Time { is_last: true },
        b"response.event" | b"decision.event" => Kind::Delegated,
        _ => Kind::Other,
    }
}

/// The fields that matter.
#[derive(Debug, Default)]
struct Told<'a> {
    session: Option<Fields<'a>>,
    usage: Option<Fields<'a>>,
    event: Option<Fields<'a>>,
}

impl<'a> Told<'a> {
    fn of(fields: &mut Fields<'a>) -> Told<'a> {
        let mut told = Told::default();
        for field in fields {
            match &*field.key.bytes() {
                b"session" => told.session = object(field),
                b"usage" if !field.cut => told.usage = object(field),
                b"event" if !field.cut => told.event = object(field),
                _ => {}
            }
        }
        told
    }
}

/// How long the session is so far.
fn seconds(usage: Fields<'_>) -> Option<Usage> {
    let seconds = find(usage, "seconds").and_then(|field| field.value.number())?;
    Some(Usage { duration_ms: milliseconds(seconds), requests: 1, ..Usage::default() })
}

/// What a delegated Response or a decision has used, once it is over.
fn tell_delegated<'a>(event: Fields<'a>, found: &mut dyn FnMut(ProviderEvent<'a>)) {
    let (mut kind, mut body) = (None, None);
    for field in event {
        match &*field.key.bytes() {
            b"type" => kind = text(field),
            b"response" | b"decision" => body = Some(field),
            _ => {}
        }
    }
    let is_over = kind.is_none_or(|kind| OVER.iter().any(|end| kind.ends_with(end)));
    let Some((body, fields)) = body.filter(|_| is_over).and_then(|body| Some((body, object(body)?))) else {
        return;
    };
    let over = Over::of(fields);
    let pictures = over.pictures();
    let terms = match body.key.is("decision") {
        true => over.terms.with("endpoint", "decisions"),
        false => over.terms,
    };
    if let Some(usage) = over.usage {
        found(ProviderEvent::Item { id: over.id, model: over.model, usage, terms });
    }
    pictures.into_iter().for_each(found);
}

/// How the names of events end that are the last of what was delegated.
const OVER: [&str; 4] = [".completed", ".incomplete", ".failed", ".cancelled"];

#[cfg(test)]
mod tests;
