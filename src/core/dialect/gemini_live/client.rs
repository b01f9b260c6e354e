//! What an application says to Gemini Live: its setup, which alone names the model, and what the next turn will read.
//!
//! Keys come in camel case and in snake case, also mixed. Sound is never read: its length is enough, and it is nearly all
//! that passes in this direction. It counts as if it were of [`SOUND_HZ`], unless it says to be slower where nothing else tells
//! how long it is.

use super::super::fields::{last_word, raw};
use super::super::{AudioRate, ClientEvent, ClientPeek, Content, Handle, Settings};
use crate::json::{Field, Fields, Text, Value};

/// Samples of two bytes.
pub(super) const SOUND_HZ: u32 = 16_000;
/// Nobody could write down any that is slower.
const SLOWEST_HZ: u32 = 1_000;

pub(super) fn peek(head: &[u8], event_bytes: u64) -> ClientPeek {
    let Some(input) = Fields::of(head).next() else { return ClientPeek::Whole };
    if !is(input.key, b"realtimeinput") {
        return ClientPeek::Whole;
    }
    let mut parts = input.value.fields().into_iter().flatten();
    let Some(sound) = parts.next().filter(|part| is(part.key, b"audio")) else { return ClientPeek::Whole };
    let data = sound.value.fields().into_iter().flatten().find(|field| is(field.key, b"data"));
    // Behind sound that ends here there may be more.
    match data.filter(|data| data.cut).and_then(|data| data.value.text()) {
        Some(data) => {
            // All the rest of the event but for what closes it.
            let unseen = event_bytes.saturating_sub(head.len() as u64 + CLOSING_BYTES);
            ClientPeek::Sound { bytes: (data.raw.len() as u64).saturating_add(unseen) }
        }
        None => ClientPeek::Whole,
    }
}

/// Whether an event says nothing but what the user says or shows.
pub(super) fn is_input_alone(event: &[u8]) -> bool {
    Fields::of(event).all(|field| is(field.key, b"realtimeinput"))
}

/// The form of the slowest sound in an event, where that is said.
pub(super) fn sound_form(event: &[u8]) -> Option<AudioRate> {
    let inputs = Fields::of(event).filter(|field| is(field.key, b"realtimeinput"));
    let fields = inputs.filter_map(|input| input.value.fields()).flatten();
    let blobs = fields.flat_map(|field| {
        let listed = field.value.elements().into_iter().flatten().map(|(blob, _)| blob);
        std::iter::once(field.value).chain(listed)
    });
    let kinds = blobs.filter_map(Value::fields).flatten().filter(|field| is(field.key, b"mimetype"));
    let rates = kinds.filter_map(|kind| sample_rate(&kind.value.text()?.decode()));
    rates.min().map(|rate| AudioRate { bytes_per_second: rate.saturating_mul(2) })
}

/// That of `audio/pcm;rate=8000`.
fn sample_rate(kind: &str) -> Option<u32> {
    let kind = kind.to_ascii_lowercase();
    let (_, parameters) = kind.split_once(';').filter(|(kind, _)| kind.trim().starts_with("audio/"))?;
    let rate = parameters.split(';').find_map(|parameter| parameter.trim().strip_prefix("rate"))?;
    rate.trim_start().strip_prefix('=')?.trim().parse().ok().filter(|rate| *rate >= SLOWEST_HZ)
}

pub(super) fn read<'a>(event: &'a [u8], event_bytes: u64, found: &mut dyn FnMut(ClientEvent<'a>)) {
    let unseen_bytes = event_bytes.saturating_sub(event.len() as u64);
    for field in Fields::of(event) {
        let unseen = if field.cut { unseen_bytes } else { 0 };
        if is(field.key, b"setup") {
            found(ClientEvent::Setup(Box::new(setup(field, unseen))));
            if let Some(handle) = resumed(field) {
                found(ClientEvent::Resume { handle });
            }
        } else if is(field.key, b"realtimeinput") {
            read_input(field, unseen, found);
        } else if is(field.key, b"clientcontent") {
            read_content(field, unseen, found);
        } else if is(field.key, b"toolresponse") {
            let text_bytes = raw_bytes(field).saturating_add(unseen);
            found(ClientEvent::AddItem { item: None, content: Content { text_bytes, ..Content::default() } });
            found(ClientEvent::Respond { apart: false, input: None });
        }
    }
}

/// The model of a session's first event, as the price list calls it; `None` if it names none.
fn setup(setup: Field<'_>, unseen_bytes: u64) -> Settings<'_> {
    let mut settings = Settings::default();
    let mut text_bytes = unseen_bytes;
    for field in setup.value.fields().into_iter().flatten() {
        if is(field.key, b"model") && !field.cut {
            settings.model =
                field.value.text().map(|name| last_word(name.decode())).filter(|name| !name.is_empty());
        } else if is(field.key, b"systeminstruction") || is(field.key, b"tools") {
            text_bytes = text_bytes.saturating_add(raw_bytes(field));
        }
    }
    settings.text_bytes = Some(text_bytes);
    // Nobody states what these use.
    if settings.model.as_ref().is_some_and(|model| model.contains("-transcribe")) {
        settings.transcription_model.clone_from(&settings.model);
        settings.only_transcribes = Some(true);
    }
    settings
}

/// The handle of the session that a setup goes on with.
fn resumed(setup: Field<'_>) -> Option<Handle> {
    let mut fields = setup.value.fields().into_iter().flatten();
    super::handle(fields.find(|field| is(field.key, b"sessionresumption"))?, b"handle")
}

fn read_input<'a>(input: Field<'a>, unseen_bytes: u64, found: &mut dyn FnMut(ClientEvent<'a>)) {
    for field in input.value.fields().into_iter().flatten() {
        let unseen = if field.cut { unseen_bytes } else { 0 };
        let blobs = field.value.elements().into_iter().flatten();
        let is_sound = is(field.key, b"audio");
        match field.value {
            Value::Object(_) => read_blob(field.value, is_sound, unseen, found),
            Value::Array(_) => blobs.for_each(|(blob, cut)| {
                read_blob(blob, false, if cut { unseen } else { 0 }, found);
            }),
            Value::Text(text) if is(field.key, b"text") => {
                let text_bytes = (text.raw.len() as u64).saturating_add(unseen);
                found(ClientEvent::AddItem {
                    item: None,
                    content: Content { text_bytes, ..Content::default() },
                });
            }
            Value::Text(_) | Value::Plain(_) => {}
        }
    }
}

/// Sound and pictures as they come; marks of activity hold no data.
fn read_blob<'a>(blob: Value<'a>, is_sound: bool, unseen_bytes: u64, found: &mut dyn FnMut(ClientEvent<'a>)) {
    match content_of_blob(blob, is_sound, unseen_bytes) {
        Content { sound_bytes: 0, images: 0, .. } => {}
        Content { sound_bytes: 0, images, .. } => {
            found(ClientEvent::AddItem { item: None, content: Content { images, ..Content::default() } });
        }
        Content { sound_bytes: bytes, .. } => found(ClientEvent::Sound { bytes }),
    }
}

fn read_content<'a>(client_content: Field<'a>, unseen_bytes: u64, found: &mut dyn FnMut(ClientEvent<'a>)) {
    let mut content = Content { text_bytes: unseen_bytes, ..Content::default() };
    let mut asks = false;
    for field in client_content.value.fields().into_iter().flatten() {
        if is(field.key, b"turns") {
            let turns = field.value.elements().into_iter().flatten();
            content = turns.fold(content, |sum, (turn, _)| sum.plus(content_of_turn(turn)));
        } else if is(field.key, b"turncomplete") {
            asks = matches!(field.value, Value::Plain(b"true"));
        }
    }
    found(ClientEvent::AddItem { item: None, content });
    if asks {
        found(ClientEvent::Respond { apart: false, input: None });
    }
}

fn content_of_turn(turn: Value<'_>) -> Content {
    let parts = turn.fields().into_iter().flatten().filter(|field| is(field.key, b"parts"));
    let parts = parts.filter_map(|field| field.value.elements()).flatten();
    let fields = parts.filter_map(|(part, _)| part.fields()).flatten();
    fields.fold(Content::default(), |sum, field| {
        let content = match field.value {
            Value::Object(_) if is(field.key, b"inlinedata") => content_of_blob(field.value, false, 0),
            _ => Content { text_bytes: raw_bytes(field), ..Content::default() },
        };
        sum.plus(content)
    })
}

/// What a blob holds, of which so much is not seen: sound, if that is said of it or of what it stands under, or nothing is.
fn content_of_blob(blob: Value<'_>, mut is_sound: bool, unseen_bytes: u64) -> Content {
    let (mut is_other, mut bytes) = (false, 0);
    for field in blob.fields().into_iter().flatten() {
        let unseen = if field.cut { unseen_bytes } else { 0 };
        let Value::Text(text) = field.value else { continue };
        if is(field.key, b"mimetype") {
            let says_sound = text.bytes().starts_with(b"audio/");
            (is_sound, is_other) = (is_sound || says_sound, is_other || !says_sound);
        } else if is(field.key, b"data") {
            bytes += (text.raw.len() as u64).saturating_add(unseen);
        } else {
            // Its data may stand behind that.
            bytes += unseen;
        }
    }
    match (is_sound || !is_other, bytes) {
        (_, 0) => Content::default(),
        (true, sound_bytes) => Content { sound_bytes, ..Content::default() },
        (false, _) => Content { images: 1, ..Content::default() },
    }
}

fn raw_bytes(field: Field<'_>) -> u64 {
    raw(field).len() as u64
}

/// Whether a key is this one, in lower case and without the underscores that it may have.
pub(super) fn is(key: Text<'_>, wanted: &[u8]) -> bool {
    let key = key.bytes();
    let letters = key.iter().filter(|byte| **byte != b'_').map(u8::to_ascii_lowercase);
    letters.eq(wanted.iter().copied())
}

/// `"}}}`, as the SDKs close a message of sound whose type stands before it.
const CLOSING_BYTES: u64 = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::borrow::Cow;

    fn told(event: &str) -> Vec<ClientEvent<'_>> {
        let mut all = Vec::new();
        read(event.as_bytes(), event.len() as u64, &mut |event| all.push(event));
        all
    }

    #[test]
    fn the_slowest_form_that_sound_is_said_to_have_is_told() {
        for (event, wanted) in [
            (r#"{"realtimeInput":{"audio":{"data":"AA","mimeType":"audio/pcm;rate=8000"}}}"#, Some(16_000)),
            (
                r#"{"realtime_input":{"media_chunks":[{"mime_type":"Audio/PCM; Rate = 11025"}]}}"#,
                Some(22_050),
            ),
            (
                r#"{"realtimeInput":{"audio":{"mimeType":"audio/pcm;rate=16000"},"audio":{"mimeType":"audio/pcm;rate=8000"}}}"#,
                Some(16_000),
            ),
            (r#"{"realtimeInput":{"audio":{"mimeType":"audio/pcm"}}}"#, None),
            (r#"{"realtimeInput":{"audio":{"mimeType":"audio/pcm;rate=1"}}}"#, None),
            (r#"{"realtimeInput":{"video":{"mimeType":"image/png;rate=8000"}}}"#, None),
            (r#"{"clientContent":{"audio":{"mimeType":"audio/pcm;rate=8000"}}}"#, None),
        ] {
            let found = sound_form(event.as_bytes()).map(|form| form.bytes_per_second);
            assert_eq!(found, wanted, "{event}");
        }
    }

    #[test]
    fn the_setup_names_the_model_however_it_is_spelt() {
        for (model, name) in [
            ("models/gemini-3.8-live", Some("gemini-3.8-live")),
            ("gemini-3.8-live", Some("gemini-3.8-live")),
            ("publishers/google/models/gemini-3.8-live", Some("gemini-3.8-live")),
            (
                "projects/p/locations/us-central1/publishers/google/models/gemini-3.8-live",
                Some("gemini-3.8-live"),
            ),
            ("models/", None),
            ("", None),
        ] {
            for event in [
                format!(r#"{{"setup":{{"model":"{model}","systemInstruction":{{"parts":[]}}}}}}"#),
                format!(r#"{{"setup":{{"system_instruction":{{"parts":[]}},"model":"{model}"}}}}"#),
            ] {
                let settings =
                    Settings { model: name.map(Cow::Borrowed), text_bytes: Some(12), ..Settings::default() };
                assert_eq!(told(&event), [ClientEvent::Setup(Box::new(settings))], "{event}");
            }
        }
    }

    #[test]
    fn a_setup_names_the_session_that_it_goes_on_with() {
        for (resumption, wanted) in [
            (r#""sessionResumption":{"handle":"h-1"}"#, Some("h-1")),
            (r#""session_resumption":{"transparent":true,"handle":"h\u002d2"}"#, Some("h-2")),
            (r#""sessionResumption":{}"#, None),
            (r#""sessionResumption":{"handle":""}"#, None),
            (r#""sessionResumption":{"handle":null}"#, None),
            (r#""tools":[{"sessionResumption":{"handle":"h"}}]"#, None),
            (r#""sessionResumption":{"handle":"h"#, None),
        ] {
            let event = format!(r#"{{"setup":{{"model":"models/m",{resumption}}}}}"#);
            let resumes = told(&event).into_iter().find_map(|event| match event {
                ClientEvent::Resume { handle } => Some(handle.reveal().to_owned()),
                _ => None,
            });
            assert_eq!(resumes.as_deref(), wanted, "{event}");
        }
        let shown = format!("{:?}", told(r#"{"setup":{"sessionResumption":{"handle":"secret"}}}"#));
        assert!(shown.contains("Resume") && !shown.contains("secret"), "{shown}");
    }

    #[test]
    fn the_length_of_sound_is_told_by_the_head() {
        let sound = "A".repeat(4_000);
        for (event, bytes) in [
            (
                format!(
                    r#"{{"realtimeInput":{{"audio":{{"mimeType":"audio/pcm;rate=16000","data":"{sound}"}}}}}}"#
                ),
                4_000,
            ),
            (
                format!(
                    r#"{{"realtime_input": {{"audio": {{"mime_type": "audio/pcm", "data": "{sound}"}}}}}}"#
                ),
                4_000,
            ),
        ] {
            let head = &event.as_bytes()[..event.len().min(256)];
            let ClientPeek::Sound { bytes: found } = peek(head, event.len() as u64) else {
                panic!("{event}")
            };
            assert_eq!(found, bytes, "{}", &event[..60]);
        }
        for event in [
            r#"{"setup":{"model":"m"}}"#,
            // There may be more sound behind it.
            r#"{"realtimeInput":{"audio":{"data":"AAAA","mimeType":"audio/pcm"}}}"#,
            r#"{"realtimeInput":{"activityStart":{}}}"#,
            r#"{"realtimeInput":{"video":{"data":"AAAA","mimeType":"image/jpeg"}}}"#,
            r#"{"clientContent":{"turns":[]}}"#,
            "",
            "[]",
        ] {
            assert_eq!(peek(event.as_bytes(), event.len() as u64), ClientPeek::Whole, "{event}");
        }
    }

    #[test]
    fn what_a_turn_will_read_is_told() {
        let content = |text_bytes, sound_bytes, images| Content { text_bytes, sound_bytes, images };
        let item = |content| ClientEvent::AddItem { item: None, content };
        let respond = || ClientEvent::Respond { apart: false, input: None };
        for (event, wanted) in [
            (
                r#"{"client_content":{"turns":[{"role":"user","parts":[{"text":"Hello"},{"inline_data":{"mime_type":"image/png","data":"AA"}}]}],"turn_complete":true}}"#,
                vec![item(content(5, 0, 1)), respond()],
            ),
            (
                r#"{"clientContent":{"turns":[{"parts":[{"text":"12"}]}],"turnComplete":false}}"#,
                vec![item(content(2, 0, 0))],
            ),
            (
                r#"{"realtimeInput":{"video":{"data":"AAAA","mimeType":"image/jpeg"},"text":"hi"}}"#,
                vec![item(content(0, 0, 1)), item(content(2, 0, 0))],
            ),
            (
                r#"{"realtimeInput":{"mediaChunks":[{"mimeType":"audio/pcm","data":"AAAA"},{"mimeType":"image/png","data":"AA"}]}}"#,
                vec![ClientEvent::Sound { bytes: 4 }, item(content(0, 0, 1))],
            ),
            (
                r#"{"realtimeInput":{"audio":{"data":"AAAA","mimeType":"image/png"},"audio":{"data":"AAAA","data":"AA"}}}"#,
                vec![ClientEvent::Sound { bytes: 4 }, ClientEvent::Sound { bytes: 6 }],
            ),
            (r#"{"realtimeInput":{"audioStreamEnd":true}}"#, vec![]),
            (r#"{"toolResponse":{"functionResponses":[]}}"#, vec![item(content(24, 0, 0)), respond()]),
            (r#"{"other":{}}"#, vec![]),
        ] {
            assert_eq!(told(event), wanted, "{event}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_fail(bytes: Vec<u8>, more: u64) {
            peek(&bytes, more);
            read(&bytes, more, &mut |_| {});
        }
    }
}
