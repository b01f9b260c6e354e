//! What an application asks for in Responses over WebSocket: which model, and what that is to read.

use super::super::fields::{Type, text, type_of};
use super::super::{ClientEvent, Content, Settings};
use crate::json::{Field, Fields, Value};

const CREATE: &[u8] = b"response.create";

/// Whether an event asks for a response. One that is too long to be seen whole may say so behind its text.
fn asks(event: &[u8]) -> bool {
    match type_of(event) {
        Type::Named(name) => *name == *CREATE,
        Type::Unseen => true,
        Type::None => false,
    }
}

pub(super) fn read<'a>(event: &'a [u8], event_bytes: u64, found: &mut dyn FnMut(ClientEvent<'a>)) {
    if !asks(event) {
        return;
    }
    let unseen_bytes = event_bytes.saturating_sub(event.len() as u64);
    let (mut model, mut content) = (None, Content { text_bytes: unseen_bytes, ..Content::default() });
    for field in Fields::of(event) {
        match &*field.key.bytes() {
            b"model" => model = text(field),
            b"input" => content = content.plus(input(field.value)),
            b"instructions" | b"tools" => content = content.plus(written(field)),
            _ => {}
        }
    }
    // The rest of a longer event may name one.
    if model.is_some() || unseen_bytes > 0 {
        found(ClientEvent::Setup(Box::new(Settings { model, ..Settings::default() })));
    }
    found(ClientEvent::Respond { apart: true, input: Some(content) });
}

/// A text, or items of a conversation.
fn input(value: Value<'_>) -> Content {
    match value {
        Value::Text(text) => of_text(text.raw.len()),
        _ => {
            let items = value.elements().into_iter().flatten().filter_map(|(item, _)| item.fields());
            items.map(item).fold(Content::default(), Content::plus)
        }
    }
}

fn item(fields: Fields<'_>) -> Content {
    fields
        .map(|field| if field.key.is("content") { parts(field) } else { written(field) })
        .fold(Content::default(), Content::plus)
}

fn parts(content: Field<'_>) -> Content {
    let Some(parts) = content.value.elements() else { return written(content) };
    let fields = parts.filter_map(|(part, _)| part.fields()).flatten();
    let amount = |field: Field<'_>| match &*field.key.bytes() {
        b"image_url" => Content { images: 1, ..Content::default() },
        b"text" => written(field),
        _ => Content::default(),
    };
    fields.map(amount).fold(Content::default(), Content::plus)
}

fn written(field: Field<'_>) -> Content {
    match field.value {
        Value::Text(text) => of_text(text.raw.len()),
        Value::Object(raw) | Value::Array(raw) => of_text(raw.len()),
        Value::Plain(_) => Content::default(),
    }
}

fn of_text(bytes: usize) -> Content {
    Content { text_bytes: bytes as u64, ..Content::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_response_is_asked_for_with_a_model_and_what_it_reads() {
        let item = |content| json!({"content": content});
        for (event, model, content) in [
            (json!({"type": "response.create", "model": "m", "input": "12345"}), Some("m"), (5, 0)),
            (
                json!({"type": "response.create", "input": [item(json!("12")), item(json!([
                    {"type": "input_text", "text": "345"}, {"type": "input_image", "image_url": "data:image/png;base64,AA"}]))],
                    "instructions": "6", "tools": []}),
                None,
                (8, 1),
            ),
        ] {
            let text = event.to_string();
            let mut found = Vec::new();
            read(text.as_bytes(), text.len() as u64, &mut |event| found.push(event));
            let named = found.iter().find_map(|event| match event {
                ClientEvent::Setup(settings) => settings.model.as_deref(),
                _ => None,
            });
            let content = Content { text_bytes: content.0, images: content.1, sound_bytes: 0 };
            assert_eq!(named, model, "{text}");
            assert_eq!(
                found.last(),
                Some(&ClientEvent::Respond { apart: true, input: Some(content) }),
                "{text}"
            );
        }
        for long in [&br#"{"type":"response.create","input":""#[..], br#"{"input":""#] {
            let mut found = Vec::new();
            read(long, 9_000, &mut |event| found.push(event));
            assert_eq!(
                found[0],
                ClientEvent::Setup(Box::default()),
                "it may name a model behind what is seen"
            );
        }
        let steer = br#"{"type":"response.steer","previous_response_id":"r","input":"Shorter."}"#;
        assert!(!asks(steer));
        read(steer, steer.len() as u64, &mut |event| panic!("{event:?}"));
    }
}
