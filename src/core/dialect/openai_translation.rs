//! OpenAI Realtime translation (`/v1/realtime/translations`): sound in, sound and text out in another language, billed by the
//! length of what goes in.
//!
//! No event has been seen to state that length; where `session.closed` does, its figure replaces what was counted.

use super::fields::{Type, find, object, type_of};
use super::openai_realtime::{self, OpenaiRealtime};
use super::openai_usage::milliseconds;
use super::{ClientEvent, ClientPeek, Dialect, ModelSource, Peek, ProviderEvent, Rates, Rest, SESSION_TIME};
use crate::close_reason::CloseReason;
use crate::doubt::Keys;
use crate::json::{End, Fields};
use crate::terms::Terms;
use crate::usage::Usage;

#[derive(Clone, Copy, Debug)]
pub struct OpenaiTranslation;

impl Dialect for OpenaiTranslation {
    fn name(&self) -> &'static str {
        "openai_translation"
    }

    fn path(&self, path: &str) -> Option<String> {
        let session = OpenaiRealtime.path(path.trim_end_matches('/').strip_suffix("/translations")?)?;
        Some(session + "/translations")
    }

    fn rates(&self) -> Rates {
        Rates { sound_is_billed: true, ..OpenaiRealtime.rates() }
    }

    fn model_is_in(&self) -> ModelSource {
        ModelSource::Url
    }

    fn peek<'a>(&self, event: &'a [u8], _rest: Rest) -> Peek<'a> {
        match type_of(event) {
            Type::Named(name) if !TELLING.contains(&&*name) => Peek::Nothing,
            Type::None => Peek::Nothing,
            Type::Named(_) | Type::Unseen => Peek::Whole,
        }
    }

    fn read<'a>(&self, event: &'a [u8], found: &mut dyn FnMut(ProviderEvent<'a>)) {
        let mut fields = Fields::of(event);
        let (mut session, mut usage) = (None, None);
        for field in fields.by_ref() {
            match &*field.key.bytes() {
                b"session" => session = object(field),
                b"usage" if !field.cut => usage = object(field),
                _ => {}
            }
        }
        match type_of(event) {
            Type::Unseen => found(ProviderEvent::Unreadable),
            Type::Named(name) if *name == *CLOSED => {
                if let Some(usage) = usage.and_then(heard) {
                    found(ProviderEvent::Total {
                        key: SESSION_TIME.into(),
                        model: None,
                        usage,
                        terms: Terms::default(),
                    });
                    found(ProviderEvent::Ahead { grows: false });
                }
            }
            Type::Named(name) if TELLING.contains(&&*name) => match session {
                Some(session) => {
                    found(ProviderEvent::Session(Box::new(openai_realtime::session(session, None))));
                }
                None if fields.end() != Some(End::Closed) => found(ProviderEvent::Unreadable),
                None => {}
            },
            Type::Named(_) | Type::None => {}
        }
    }

    fn peek_client(&self, head: &[u8], event_bytes: u64) -> ClientPeek {
        match OpenaiRealtime.peek_client(head, event_bytes) {
            // Sound is what is billed, and another reader may find some.
            ClientPeek::Nothing => ClientPeek::Whole,
            peek => peek,
        }
    }

    fn read_client<'a>(&self, event: &'a [u8], event_bytes: u64, found: &mut dyn FnMut(ClientEvent<'a>)) {
        let is_whole = event_bytes <= event.len() as u64;
        if !is_whole || Keys::of(&["type", "audio"]).check(event).is_err() {
            // It is no longer than all of it.
            return found(ClientEvent::Sound { bytes: event_bytes });
        }
        OpenaiRealtime.read_client(event, event_bytes, &mut |event| {
            if let ClientEvent::Sound { .. } = event {
                found(event);
            }
        });
    }

    fn cancel(&self, _response: Option<&str>) -> Option<String> {
        None
    }

    fn error_event(&self, reason: &CloseReason, event_id: &str) -> Option<String> {
        OpenaiRealtime.error_event(reason, event_id)
    }
}

const CLOSED: &[u8] = b"session.closed";
/// The events that tell something.
const TELLING: [&[u8]; 3] = [b"session.created", b"session.updated", CLOSED];

/// How much was heard, if it is stated.
fn heard(usage: Fields<'_>) -> Option<Usage> {
    let seconds = find(usage, "input_seconds").and_then(|field| field.value.number())?;
    Some(Usage { duration_ms: milliseconds(seconds), requests: 1, ..Usage::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(event: &str) -> Vec<ProviderEvent<'_>> {
        let mut all = Vec::new();
        OpenaiTranslation.read(event.as_bytes(), &mut |event| all.push(event));
        all
    }

    #[test]
    fn its_path_stands_behind_that_of_a_session() {
        for (path, wanted) in [
            ("/v1/realtime/translations", Some("/v1/realtime/translations")),
            ("/any/v1/realtime/translations/", Some("/any/v1/realtime/translations")),
            ("/realtime/translations", Some("/v1/realtime/translations")),
            ("/openai/v1/realtime/translations", Some("/openai/v1/realtime/translations")),
            ("/v1/realtime", None),
            ("/v1/realtime/translations/client_secrets", None),
        ] {
            assert_eq!(OpenaiTranslation.path(path).as_deref(), wanted, "{path}");
        }
    }

    #[test]
    fn only_a_close_that_states_a_length_tells_one() {
        let peek = |event: &'static str| OpenaiTranslation.peek(event.as_bytes(), Rest::Nothing);
        assert_eq!(peek(r#"{"type":"session.output_audio.delta","delta":"AAAA"}"#), Peek::Nothing);
        assert_eq!(peek(r#"{"event_id":"e","type":"session.closed"}"#), Peek::Whole);
        assert_eq!(peek(r#"{"event_id":"e","#), Peek::Whole);
        assert_eq!(peek("[]"), Peek::Nothing);
        assert_eq!(told(r#"{"type":"session.closed","event_id":"e"}"#), []);
        assert_eq!(told(r#"{"type":"session.closed","usage":{"output_seconds":3}}"#), []);
        let usage = Usage { duration_ms: 1_500, requests: 1, ..Usage::default() };
        assert_eq!(
            told(r#"{"usage":{"input_seconds":"1.5"},"type":"session.closed"}"#),
            [
                ProviderEvent::Total {
                    key: SESSION_TIME.into(),
                    model: None,
                    usage,
                    terms: Terms::default(),
                },
                ProviderEvent::Ahead { grows: false }
            ]
        );
        let created = r#"{"type":"session.created","session":{"type":"translation","model":"m"}}"#;
        let [ProviderEvent::Session(settings)] = &told(created)[..] else { panic!() };
        assert_eq!(settings.model.as_deref(), Some("m"));
        assert_eq!(told(&created[..30]), [ProviderEvent::Unreadable]);
    }

    #[test]
    fn of_the_application_only_its_sound_counts() {
        let peek = |event: &str| OpenaiTranslation.peek_client(event.as_bytes(), event.len() as u64);
        let sound = r#"{"type":"session.input_audio_buffer.append","audio":"AAAA"}"#;
        assert_eq!(peek(sound), ClientPeek::Sound { bytes: 4 });
        assert_eq!(peek(r#"{"type":"session.close"}"#), ClientPeek::Whole);
        let update = br#"{"type":"session.update","session":{"model":"m"}}"#;
        OpenaiTranslation.read_client(update, update.len() as u64, &mut |event| panic!("{event:?}"));
        for doubtful in [
            r#"{"type":"session.close","audio":"AAAA","type":"session.input_audio_buffer.append"}"#,
            r#"{"type":"session.input_audio_buffer.append","audio":"AAAA","Audio":"AAAAAAAA"}"#,
            "\u{feff}{\"type\":\"session.input_audio_buffer.append\",\"audio\":\"AAAA\"}",
        ] {
            let (mut heard, length) = (0, doubtful.len() as u64);
            assert_ne!(peek(doubtful), ClientPeek::Nothing, "{doubtful}");
            OpenaiTranslation.read_client(doubtful.as_bytes(), length, &mut |event| match event {
                ClientEvent::Sound { bytes } => heard += bytes,
                other => panic!("{other:?}"),
            });
            assert_eq!(heard, length, "{doubtful}");
        }
    }
}
