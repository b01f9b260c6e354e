//! Protocols that speak a text which the application sends piece by piece, and bill its characters.
//!
//! One type speaks them all; a provider is a value of it, below. A piece is billed as it is sent, for nobody takes it back: what
//! is asked to stop has been paid for. A blank, with which some SDKs open a session, is none.

use super::error_form::filled;
use super::fields::{raw, text};
use super::tail::tail_of;
use super::{
    AudioRate, ClientEvent, ClientPeek, Dialect, ModelSource, Peek, ProviderEvent, Rates, Rest, Settings,
};
use crate::close_reason::CloseReason;
use crate::doubt::Keys;
use crate::http::query;
use crate::json::{End, Field, Fields};
use crate::terms::Terms;
use crate::usage::Usage;
use std::borrow::Cow;

/// A protocol, as data.
#[derive(Debug)]
pub(super) struct SpokenText {
    name: &'static str,
    /// What a request's path ends with; a `*` stands for one word.
    paths: &'static [&'static str],
    model: Named,
    /// The types of events that hold text; empty: they have none.
    events: &'static [&'static str],
    /// The field of an event that holds it.
    text: &'static str,
    /// What says that all so far was spoken: a field of an event, and what stands there.
    done: (&'static str, &'static str),
    /// How the provider would say that a session ends; `None`: by the close alone.
    error: Option<&'static str>,
}

/// Where the application names the model.
#[derive(Clone, Copy, Debug)]
enum Named {
    /// In a parameter of the query; if it is not there, this one is meant.
    Query { parameter: &'static str, default: &'static str },
    /// In a field of each event that holds text.
    Events { field: &'static str },
}

pub(super) static CARTESIA: SpokenText = SpokenText {
    name: "cartesia_speech",
    paths: &["/tts/websocket"],
    model: Named::Events { field: "model_id" },
    events: &[],
    text: "transcript",
    done: ("type", "done"),
    error: Some(r#"{"type":"error","status_code":{close_code},"done":true,"error":"{message}"}"#),
};

pub(super) static ELEVENLABS: SpokenText = SpokenText {
    name: "elevenlabs_speech",
    paths: &["/v1/text-to-speech/*/stream-input", "/v1/text-to-speech/*/multi-stream-input"],
    model: Named::Query { parameter: "model_id", default: "eleven_multilingual_v2" },
    events: &[],
    text: "text",
    done: ("isFinal", "true"),
    error: Some(r#"{"message":"{message}","error":"{code}","code":{close_code}}"#),
};

pub(super) static MISTRAL: SpokenText = SpokenText {
    name: "mistral_speech",
    paths: &["/v1/audio/speech/realtime"],
    model: Named::Query { parameter: "model", default: "voxtral-mini-tts-2603" },
    events: &["input_text.append", "input_text.flush"],
    text: "text",
    done: ("type", "speech.audio.done"),
    error: Some(r#"{"type":"error","error":{"message":"{message}","code":{close_code}}}"#),
};

impl Dialect for SpokenText {
    fn name(&self) -> &'static str {
        self.name
    }

    fn path(&self, path: &str) -> Option<String> {
        tail_of(path, self.paths).map(str::to_owned)
    }

    fn rates(&self) -> Rates {
        Rates {
            input: AudioRate::UNKNOWN,
            output: AudioRate::UNKNOWN,
            heard_ms_per_token: 100,
            said_ms_per_token: 100,
            image_tokens: 0,
            sound_is_read_as_it_comes: false,
            sound_is_billed: false,
        }
    }

    fn model_is_in(&self) -> ModelSource {
        match self.model {
            Named::Query { .. } => ModelSource::Url,
            Named::Events { .. } => ModelSource::FirstEvent,
        }
    }

    fn deciding(&self) -> Keys {
        match self.model {
            Named::Query { .. } => Keys::default(),
            Named::Events { field } => self.billing().and(&[field]),
        }
    }

    fn parameters(&self) -> Vec<&'static str> {
        match self.model {
            Named::Query { parameter, .. } => vec![parameter],
            Named::Events { .. } => Vec::new(),
        }
    }

    fn start<'a>(&self, target: &'a str, found: &mut dyn FnMut(ProviderEvent<'a>)) {
        let Named::Query { parameter, default } = self.model else { return };
        let named = query::parameters(target).find(|other| other.name() == parameter);
        let named = named.and_then(|named| query::decode(named.value())).filter(|name| !name.is_empty());
        let model = Some(named.unwrap_or(Cow::Borrowed(default)));
        found(ProviderEvent::Session(Box::new(Settings { model, ..Settings::default() })));
    }

    fn peek<'a>(&self, event: &'a [u8], _rest: Rest) -> Peek<'a> {
        match self.is_done(event) {
            Some(true) | None => Peek::Whole,
            Some(false) => Peek::Nothing,
        }
    }

    fn read<'a>(&self, event: &'a [u8], found: &mut dyn FnMut(ProviderEvent<'a>)) {
        match self.is_done(event) {
            Some(true) => {
                let usage = Usage { requests: 1, ..Usage::default() };
                found(ProviderEvent::Item { id: None, model: None, usage, terms: Terms::default() });
            }
            Some(false) => {}
            None => found(ProviderEvent::Unreadable),
        }
    }

    fn peek_client(&self, _head: &[u8], _event_bytes: u64) -> ClientPeek {
        ClientPeek::Whole
    }

    fn read_client<'a>(&self, event: &'a [u8], event_bytes: u64, found: &mut dyn FnMut(ClientEvent<'a>)) {
        let unseen_bytes = event_bytes.saturating_sub(event.len() as u64);
        let said = Said::of(self, event);
        let is_text = self.events.is_empty() || said.kind.is_some_and(|kind| self.events.contains(&&*kind));
        // What is not seen of a long event may name one.
        if said.model.is_some() || matches!(self.model, Named::Events { .. }) && unseen_bytes > 0 {
            let settings = Settings { model: said.model, ..Settings::default() };
            found(ClientEvent::Setup(Box::new(settings)));
        }
        // Where the provider may find another text, or one behind what is seen, it is no longer than all that.
        let is_doubtful = unseen_bytes == 0 && self.billing().check(event).is_err();
        let characters_in = match unseen_bytes {
            0 if is_doubtful => event_bytes,
            0 if is_text => said.characters,
            0 => 0,
            unseen_bytes => said.characters.saturating_add(unseen_bytes),
        };
        if characters_in > 0 {
            let usage = Usage { characters_in, ..Usage::default() };
            found(ClientEvent::Billed { usage, is_estimate: is_doubtful || unseen_bytes > 0 });
        }
    }

    fn cancel(&self, _response: Option<&str>) -> Option<String> {
        None
    }

    fn error_event(&self, reason: &CloseReason, _event_id: &str) -> Option<String> {
        self.error.map(|form| filled(form, reason))
    }
}

impl SpokenText {
    /// The keys of an event that tell how much of it is billed.
    fn billing(&self) -> Keys {
        match self.events {
            [] => Keys::default().and(&[self.text]),
            _ => Keys::of(&["type"]).and(&[self.text]),
        }
    }

    /// Whether an event says that all so far was spoken; `None`: it breaks off before it says so or not.
    fn is_done(&self, event: &[u8]) -> Option<bool> {
        let mut fields = Fields::of(event);
        let (key, value) = self.done;
        match fields.by_ref().find(|field| field.key.is(key)) {
            Some(field) if field.cut => None,
            Some(field) => Some(raw(field) == value.as_bytes()),
            None => (fields.end() != Some(End::Cut)).then_some(false),
        }
    }
}

/// What an event of the application says.
#[derive(Debug, Default)]
struct Said<'a> {
    kind: Option<Cow<'a, str>>,
    model: Option<Cow<'a, str>>,
    characters: u64,
}

impl<'a> Said<'a> {
    fn of(protocol: &SpokenText, event: &'a [u8]) -> Said<'a> {
        let mut said = Said::default();
        for field in Fields::of(event) {
            match protocol.model {
                Named::Events { field: name } if field.key.is(name) => said.model = text(field),
                _ if field.key.is("type") => said.kind = text(field),
                _ if field.key.is(protocol.text) => said.characters = characters(field),
                _ => {}
            }
        }
        said
    }
}

/// How many characters a text has, blanks among others included.
fn characters(field: Field<'_>) -> u64 {
    let text = field.value.text().map(|text| text.decode()).unwrap_or_default();
    if text.trim().is_empty() { 0 } else { text.chars().count() as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The model and the characters of an event of the application.
    fn said(protocol: &SpokenText, event: &str, event_bytes: u64) -> (Option<Option<String>>, u64) {
        let (mut model, mut characters) = (None, 0);
        protocol.read_client(event.as_bytes(), event_bytes, &mut |event| match event {
            ClientEvent::Setup(settings) => model = Some(settings.model.map(Cow::into_owned)),
            ClientEvent::Billed { usage, .. } => characters += usage.characters_in,
            other => panic!("{other:?}"),
        });
        (model, characters)
    }

    #[test]
    fn a_text_is_billed_by_its_characters_as_it_is_sent() {
        let sonic = || Some(Some("sonic-3".to_owned()));
        for (protocol, event, wanted) in [
            (
                &CARTESIA,
                json!({"model_id": "sonic-3", "transcript": "Grüße 👋", "continue": true}),
                (sonic(), 7),
            ),
            (&CARTESIA, json!({"transcript": "", "context_id": "c", "model_id": "sonic-3"}), (sonic(), 0)),
            (&CARTESIA, json!({"context_id": "c", "cancel": true}), (None, 0)),
            (&ELEVENLABS, json!({"text": " ", "voice_settings": {"stability": 1}}), (None, 0)),
            (&ELEVENLABS, json!({"text": "\"Hi\" ", "flush": true}), (None, 5)),
            (&ELEVENLABS, json!({"text": ""}), (None, 0)),
            (&MISTRAL, json!({"type": "input_text.append", "text": "Hello, "}), (None, 7)),
            (&MISTRAL, json!({"type": "input_text.flush", "text": "you"}), (None, 3)),
            (&MISTRAL, json!({"type": "session.update", "text": "no"}), (None, 0)),
            (&MISTRAL, json!({"type": "input_text.end"}), (None, 0)),
        ] {
            let event = event.to_string();
            assert_eq!(said(protocol, &event, event.len() as u64), wanted, "{event}");
        }
        let cut = r#"{"transcript":"1234"#;
        assert_eq!(
            said(&CARTESIA, cut, cut.len() as u64 + 100),
            (Some(None), 104),
            "it may name a model behind that"
        );
        assert_eq!(said(&ELEVENLABS, r#"{"te\u0078t":"12"}"#, 18), (None, 2));
    }

    #[test]
    fn a_text_that_another_reader_may_find_is_billed_by_the_length_of_its_event() {
        for event in [
            r#"{"text":"a long one","text":"a"}"#,
            r#"{"Text":"in another case"}"#,
            "\u{feff}{\"text\":\"behind a mark\"}",
            r#"[{"text":"in a list"}]"#,
            r#"{"text":["in a list"]}"#,
        ] {
            let bytes = event.len() as u64;
            for protocol in [&ELEVENLABS, &MISTRAL] {
                assert_eq!(said(protocol, event, bytes), (None, bytes), "{event}");
            }
            assert!(
                CARTESIA.deciding().check(event.replace("ext", "ranscript").as_bytes()).is_err(),
                "{event}"
            );
        }
        let twice = r#"{"type":"session.update","text":"1234567890","type":"input_text.append"}"#;
        let bytes = twice.len() as u64;
        assert_eq!(said(&MISTRAL, twice, bytes), (None, bytes));
        // Behind so much else that it is not seen.
        let long = format!(r#"{{"pad":"{}"#, "x".repeat(100));
        for protocol in [&ELEVENLABS, &MISTRAL] {
            assert_eq!(said(protocol, &long, long.len() as u64 + 1_000), (None, 1_000));
        }
    }

    #[test]
    fn a_request_is_over_once_all_was_spoken() {
        for (protocol, event, wanted) in [
            (&CARTESIA, r#"{"type":"chunk","data":"AAAA","done":false}"#, Peek::Nothing),
            (&CARTESIA, r#"{"done":true,"context_id":"c","type":"done"}"#, Peek::Whole),
            (&ELEVENLABS, r#"{"audio":"AAAA","isFinal":null}"#, Peek::Nothing),
            (&ELEVENLABS, r#"{"audio":"AAAA","#, Peek::Whole),
            (&ELEVENLABS, r#"{"isFinal":true}"#, Peek::Whole),
            (&MISTRAL, r#"{"type":"speech.audio.done","usage":{"prompt_tokens":3}}"#, Peek::Whole),
            (&MISTRAL, "[]", Peek::Nothing),
        ] {
            assert_eq!(protocol.peek(event.as_bytes(), Rest::Nothing), wanted, "{event}");
            let mut requests = 0;
            protocol.read(event.as_bytes(), &mut |told| match told {
                ProviderEvent::Item { usage, .. } => requests += usage.requests,
                ProviderEvent::Unreadable => {}
                other => panic!("{other:?}"),
            });
            assert_eq!(requests, u64::from(wanted == Peek::Whole && event.ends_with('}')), "{event}");
        }
    }

    #[test]
    fn the_url_names_the_model_where_events_do_not() {
        let model = |protocol: &SpokenText, target: &'static str| {
            let mut model = None;
            protocol.start(target, &mut |event| {
                let ProviderEvent::Session(settings) = event else { panic!() };
                model = settings.model.map(Cow::into_owned);
            });
            model
        };
        let path = "/v1/text-to-speech/voice_1/multi-stream-input";
        assert_eq!(ELEVENLABS.path(&format!("/a{path}/")).as_deref(), Some(path));
        assert_eq!(model(&ELEVENLABS, "/?model_id=eleven_v4&x=y").as_deref(), Some("eleven_v4"));
        assert_eq!(model(&ELEVENLABS, "/").as_deref(), Some("eleven_multilingual_v2"));
        assert_eq!(model(&CARTESIA, "/tts/websocket?model_id=no"), None);
    }

    #[test]
    fn an_end_is_told_in_each_providers_form() {
        for protocol in [&CARTESIA, &ELEVENLABS, &MISTRAL] {
            let event = protocol.error_event(&CloseReason::ModelMissing("it names \"none\""), "").unwrap();
            let event: serde_json::Value = serde_json::from_str(&event).unwrap();
            assert!(event.to_string().contains("1007"), "{event}");
        }
    }
}
