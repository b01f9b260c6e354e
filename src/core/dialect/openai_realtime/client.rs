//! What an application says to OpenAI Realtime, as far as it adds to what the next response reads, or takes from it.
//!
//! Sound is never read: its length is enough, and it is nearly all that passes in this direction.

use super::super::fields::{find, object, text};
use super::super::{ClientEvent, ClientPeek, Content};
use crate::json::{self, End, Fields, Value};
use serde_json::json;

/// What a type of event is to the meter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Other,
    Sound,
    ClearSound,
    CommitSound,
    AddItem,
    DeleteItem,
    TruncateItem,
    Respond,
    Choose,
}

#[inline]
pub(super) fn peek(head: &[u8], event_bytes: u64) -> ClientPeek {
    match json::leading_text(head, b"{\"type\":\"").map(kind_of_name) {
        Some(Kind::Other) => ClientPeek::Nothing,
        Some(Kind::Sound) | None => peek_with_care(head, event_bytes),
        Some(_) => ClientPeek::Whole,
    }
}

/// Any order of keys, white space and escapes.
fn peek_with_care(head: &[u8], event_bytes: u64) -> ClientPeek {
    let (mut is_sound, mut is_cut) = (false, false);
    let mut sound_bytes = 0;
    let mut fields = Fields::of(head);
    for field in fields.by_ref() {
        if field.key.is("type") && !field.cut {
            match field.value.text().map_or(Kind::Other, |name| kind_of_name(&name.bytes())) {
                Kind::Other => return ClientPeek::Nothing,
                Kind::Sound => is_sound = true,
                _ => return ClientPeek::Whole,
            }
        } else if field.key.is("audio") {
            let Some(sound) = field.value.text() else { continue };
            // All the rest of the event but for the closing `"}`.
            let unseen = if field.cut { event_bytes.saturating_sub(head.len() as u64 + 2) } else { 0 };
            (sound_bytes, is_cut) = (grown(sound.raw.len(), unseen).saturating_add(sound_bytes), field.cut);
        }
    }
    match fields.end() {
        // Also where it comes before the type that says so: nothing else is as long.
        _ if is_cut => ClientPeek::Sound { bytes: sound_bytes },
        Some(End::Cut) => ClientPeek::Whole,
        _ if is_sound => ClientPeek::Sound { bytes: sound_bytes },
        _ => ClientPeek::Nothing,
    }
}

pub(super) fn read(event: &[u8], event_bytes: u64) -> ClientEvent<'_> {
    let mut found = Event::default();
    let unseen_bytes = event_bytes.saturating_sub(event.len() as u64);
    for field in Fields::of(event) {
        match &*field.key.bytes() {
            b"type" if !field.cut => {
                found.kind = field.value.text().map(|name| kind_of_name(&name.bytes()));
            }
            b"item" => found.item = object(field),
            b"item_id" => found.item_id = text(field),
            b"audio_end_ms" => found.sound_ms = field.value.count().unwrap_or(0),
            b"response" => found.response = object(field),
            b"session" => found.session = object(field),
            b"audio" => {
                let bytes = field.value.text().map_or(0, |sound| sound.raw.len() as u64);
                found.sound_bytes = found.sound_bytes.saturating_add(bytes);
            }
            _ => {}
        }
    }
    match found.kind.unwrap_or(Kind::Other) {
        Kind::Other => ClientEvent::Nothing,
        Kind::Sound => ClientEvent::Sound { bytes: found.sound_bytes.saturating_add(unseen_bytes) },
        Kind::ClearSound => ClientEvent::ClearSound,
        Kind::CommitSound => ClientEvent::CommitSound,
        Kind::AddItem => {
            let item = found.item.clone().and_then(|item| find(item, "id")).and_then(text);
            ClientEvent::AddItem {
                item,
                content: found.item.map_or_else(Content::default, |item| content(item, unseen_bytes)),
            }
        }
        Kind::DeleteItem => ClientEvent::DeleteItem { item: found.item_id },
        Kind::TruncateItem => ClientEvent::TruncateItem { item: found.item_id, sound_ms: found.sound_ms },
        Kind::Respond => respond(found.response, unseen_bytes),
        Kind::Choose => choose(found.session),
    }
}

pub(super) fn cancel(response: Option<&str>) -> String {
    match response {
        Some(id) => json!({"type": "response.cancel", "response_id": id}),
        None => json!({"type": "response.cancel"}),
    }
    .to_string()
}

#[derive(Debug, Default)]
struct Event<'a> {
    kind: Option<Kind>,
    item: Option<Fields<'a>>,
    item_id: Option<std::borrow::Cow<'a, str>>,
    sound_ms: u64,
    sound_bytes: u64,
    response: Option<Fields<'a>>,
    session: Option<Fields<'a>>,
}

fn kind_of_name(name: &[u8]) -> Kind {
    match name {
        b"input_audio_buffer.append" | b"session.input_audio_buffer.append" => Kind::Sound,
        b"input_audio_buffer.clear" => Kind::ClearSound,
        b"input_audio_buffer.commit" => Kind::CommitSound,
        b"conversation.item.create" => Kind::AddItem,
        b"conversation.item.delete" => Kind::DeleteItem,
        b"conversation.item.truncate" => Kind::TruncateItem,
        b"response.create" => Kind::Respond,
        b"session.update" | b"transcription_session.update" => Kind::Choose,
        _ => Kind::Other,
    }
}

fn respond<'a>(response: Option<Fields<'a>>, unseen_bytes: u64) -> ClientEvent<'a> {
    let (mut apart, mut input) = (false, None);
    for field in response.into_iter().flatten() {
        match (&*field.key.bytes(), field.value) {
            (b"conversation", Value::Text(conversation)) => apart = conversation.is("none"),
            (b"input", Value::Array(_)) => {
                let items = field.value.elements().into_iter().flatten();
                let items = items
                    .filter_map(|(item, cut)| Some((item.fields()?, if cut { unseen_bytes } else { 0 })));
                input = Some(
                    items.fold(Content::default(), |sum, (item, unseen)| sum.plus(content(item, unseen))),
                );
            }
            _ => {}
        }
    }
    ClientEvent::Respond { apart, input }
}

fn choose<'a>(session: Option<Fields<'a>>) -> ClientEvent<'a> {
    let settings = session.map(|session| super::session(session, None)).unwrap_or_default();
    ClientEvent::Choose { model: settings.model, transcription_model: settings.transcription_model }
}

/// What is in an item: its content, the arguments of a call, or what came of one. `unseen_bytes` follow where it breaks
/// off.
fn content(item: Fields<'_>, unseen_bytes: u64) -> Content {
    let mut sum = Content::default();
    let unseen = |cut: bool| if cut { unseen_bytes } else { 0 };
    for field in item {
        match (&*field.key.bytes(), field.value) {
            (b"output" | b"arguments" | b"name", Value::Text(text)) => {
                sum.text_bytes = sum.text_bytes.saturating_add(grown(text.raw.len(), unseen(field.cut)));
            }
            (b"content", Value::Array(_)) => {
                for (part, cut) in field.value.elements().into_iter().flatten() {
                    sum = sum.plus(
                        part.fields().map_or_else(Content::default, |part| part_content(part, unseen(cut))),
                    );
                }
            }
            _ => {}
        }
    }
    sum
}

fn part_content(part: Fields<'_>, unseen_bytes: u64) -> Content {
    let mut sum = Content::default();
    for field in part {
        let Value::Text(value) = field.value else { continue };
        let bytes = grown(value.raw.len(), if field.cut { unseen_bytes } else { 0 });
        match &*field.key.bytes() {
            b"text" => sum.text_bytes = sum.text_bytes.saturating_add(bytes),
            b"audio" => sum.sound_bytes = sum.sound_bytes.saturating_add(bytes),
            b"image_url" => sum.images += 1,
            // A transcript is what the sound beside it says; without sound it is all there is.
            b"transcript" if sum.sound_bytes == 0 => sum.text_bytes = sum.text_bytes.saturating_add(bytes),
            _ => {}
        }
    }
    sum
}

fn grown(seen_bytes: usize, unseen_bytes: u64) -> u64 {
    (seen_bytes as u64).saturating_add(unseen_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn peeked(event: &str) -> ClientPeek {
        peek(&event.as_bytes()[..event.len().min(256)], event.len() as u64)
    }

    #[test]
    fn the_length_of_sound_is_told_by_the_head() {
        let sound = "A".repeat(6_400);
        for event in [
            format!(r#"{{"type":"input_audio_buffer.append","audio":"{sound}"}}"#),
            format!(r#"{{"event_id":"e1","type":"input_audio_buffer.append","audio":"{sound}"}}"#),
            format!(r#"{{"audio":"{sound}"}}"#),
        ] {
            assert_eq!(peeked(&event), ClientPeek::Sound { bytes: 6_400 }, "{}", &event[..80]);
        }
        // Wherever else it stands, all of the event tells.
        let pad = "x".repeat(300);
        for (event, bytes) in [
            (format!(r#"{{"type":"input_audio_buffer.append","pad":"{pad}","audio":"{sound}"}}"#), 6_400),
            (
                format!(
                    r#"{{"type":"input_audio_buffer.append","audio":"AAAA","pad":"{pad}","audio":"{sound}"}}"#
                ),
                6_404,
            ),
            (format!(r#"{{"audio":"AAAA","pad":"{pad}","type":"input_audio_buffer.append"}}"#), 4),
        ] {
            assert_eq!(peeked(&event), ClientPeek::Whole, "{}", &event[..80]);
            assert_eq!(
                read(event.as_bytes(), event.len() as u64),
                ClientEvent::Sound { bytes },
                "{}",
                &event[..80]
            );
        }
        for (event, hint) in [
            (r#"{"type":"input_audio_buffer.append","audio":"AAAA"}"#, ClientPeek::Sound { bytes: 4 }),
            (
                r#"{ "audio" : "AAAA" , "type" : "input_audio_buffer\u002eappend" }"#,
                ClientPeek::Sound { bytes: 4 },
            ),
            (r#"{"type":"input_audio_buffer.append"}"#, ClientPeek::Sound { bytes: 0 }),
            (r#"{"type":"input_audio_buffer.commit"}"#, ClientPeek::Whole),
            (r#"{"event_id":"e","type":"conversation.item.create","item":{}}"#, ClientPeek::Whole),
            (r#"{"type":"response.create"}"#, ClientPeek::Whole),
            (r#"{"type":"response.cancel"}"#, ClientPeek::Nothing),
            (r#"{"item":{"type":"response.create"},"type":"other"}"#, ClientPeek::Nothing),
            ("[]", ClientPeek::Nothing),
            ("hello", ClientPeek::Nothing),
        ] {
            assert_eq!(peeked(event), hint, "{event}");
        }
    }

    #[test]
    fn what_is_added_and_taken_away_is_read() {
        let content = |text_bytes, sound_bytes, images| Content { text_bytes, sound_bytes, images };
        for (event, request) in [
            (
                r#"{"type":"conversation.item.create","item":{"id":"i","type":"message","role":"user","content":[
                    {"type":"input_text","text":"12345"},{"type":"input_audio","audio":"AAAA","transcript":"no"},
                    {"type":"input_image","image_url":"data:image/png;base64,AAAA"},{"type":"input_text","text":"67"}]}}"#,
                ClientEvent::AddItem { item: Some("i".into()), content: content(7, 4, 1) },
            ),
            (
                r#"{"type":"conversation.item.create","item":{"type":"function_call_output","call_id":"c","output":"{\"a\":1}"}}"#,
                ClientEvent::AddItem { item: None, content: content(9, 0, 0) },
            ),
            (
                r#"{"type":"conversation.item.create"}"#,
                ClientEvent::AddItem { item: None, content: content(0, 0, 0) },
            ),
            (
                r#"{"type":"conversation.item.delete","item_id":"i"}"#,
                ClientEvent::DeleteItem { item: Some("i".into()) },
            ),
            (
                r#"{"type":"conversation.item.truncate","item_id":"i","content_index":0,"audio_end_ms":1500}"#,
                ClientEvent::TruncateItem { item: Some("i".into()), sound_ms: 1_500 },
            ),
            (r#"{"type":"input_audio_buffer.clear"}"#, ClientEvent::ClearSound),
            (r#"{"type":"response.create"}"#, ClientEvent::Respond { apart: false, input: None }),
            (
                r#"{"type":"response.create","response":{"conversation":"none","input":[{"type":"message","content":
                    [{"type":"input_text","text":"12"}]},{"type":"item_reference","id":"i"}]}}"#,
                ClientEvent::Respond { apart: true, input: Some(content(2, 0, 0)) },
            ),
            (
                r#"{"type":"session.update","session":{"model":"m","audio":{"input":{"transcription":{"model":"t"}}}}}"#,
                ClientEvent::Choose { model: Some("m".into()), transcription_model: Some("t".into()) },
            ),
            (r#"{"type":"response.cancel"}"#, ClientEvent::Nothing),
        ] {
            assert_eq!(read(event.as_bytes(), event.len() as u64), request, "{event}");
        }
    }

    #[test]
    fn what_is_not_seen_of_an_item_counts_by_its_length() {
        let seen =
            r#"{"type":"conversation.item.create","item":{"content":[{"type":"input_text","text":"1234"#;
        let ClientEvent::AddItem { content, .. } = read(seen.as_bytes(), seen.len() as u64 + 1_000) else {
            panic!()
        };
        assert_eq!(content, Content { text_bytes: 1_004, ..Content::default() });
    }

    #[test]
    fn a_response_is_asked_to_stop_by_its_id() {
        assert_eq!(cancel(None), r#"{"type":"response.cancel"}"#);
        let with_id: serde_json::Value = serde_json::from_str(&cancel(Some("r\"1"))).unwrap();
        assert_eq!(with_id, json!({"type": "response.cancel", "response_id": "r\"1"}));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_fail(bytes: Vec<u8>, more: u64) {
            peek(&bytes, more);
            read(&bytes, more);
        }
    }
}
