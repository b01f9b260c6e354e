//! What a request's JSON body asks for, and how it is made to ask for usage.

use crate::dialect::Content;
use crate::dialect::fields::{find, object, text};
use crate::json::{Field, Fields, Value};

/// What a request asks for, as far as estimates and terms need it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    pub model: Option<String>,
    /// The answer is to come in pieces.
    pub streams: bool,
    /// Such an answer states no usage unless that is asked for, and it was not.
    pub lacks_usage: bool,
    /// The answer is to be asked for again later.
    pub in_background: bool,
    pub service_tier: Option<String>,
    /// What it reads.
    pub content: Content,
}

impl Asked {
    /// The fields that requests of most providers have.
    pub(super) fn of(body: &[u8]) -> Asked {
        let mut asked = Asked::default();
        for field in Fields::of(body) {
            match &*field.key.bytes() {
                b"model" => asked.model = text(field).map(Into::into),
                b"stream" => asked.streams = is_true(field),
                b"background" => asked.in_background = is_true(field),
                b"service_tier" | b"serviceTier" => asked.service_tier = text(field).map(Into::into),
                _ => {}
            }
        }
        asked
    }
}

pub(super) fn is_true(field: Field<'_>) -> bool {
    matches!(field.value, Value::Plain(b"true"))
}

/// How much there is to read in a value of whatever shape: texts count by their length, those under a key that holds sound
/// or a picture as such.
pub(super) fn content(value: Value<'_>) -> Content {
    let mut content = Content::default();
    let mut left = vec![(value, Holds::Text)];
    while let Some((value, holds)) = left.pop() {
        match value {
            Value::Text(text) => holds.add(text.raw.len() as u64, &mut content),
            Value::Plain(_) => {}
            Value::Array(_) => {
                left.extend(value.elements().into_iter().flatten().map(|(value, _)| (value, holds)))
            }
            Value::Object(_) => {
                let fields = value.fields().into_iter().flatten();
                left.extend(fields.map(|field| (field.value, Holds::of(&field.key.bytes(), holds))));
            }
        }
        // A value that is deeper or wider than any request is counted as far as this.
        left.truncate(VALUES_MAX);
    }
    content
}

/// So many values wait to be looked at, at most.
const VALUES_MAX: usize = 4096;

#[derive(Clone, Copy, Debug)]
enum Holds {
    Text,
    Sound,
    /// However long it is: a picture or a document.
    Picture,
    /// A word of the protocol's.
    Nothing,
}

impl Holds {
    fn of(key: &[u8], outer: Holds) -> Holds {
        match key {
            b"input_audio" | b"audio" => Holds::Sound,
            b"image_url" | b"image" | b"source" | b"file" | b"file_data" | b"inline_data" | b"inlineData" => {
                Holds::Picture
            }
            b"type" | b"role" | b"id" | b"format" | b"detail" | b"media_type" | b"mimeType"
            | b"mime_type" | b"name" => Holds::Nothing,
            _ => outer,
        }
    }

    fn add(self, bytes: u64, content: &mut Content) {
        match self {
            Holds::Text => content.text_bytes += bytes,
            Holds::Sound => content.sound_bytes += bytes,
            Holds::Picture => content.images += 1,
            Holds::Nothing => {}
        }
    }
}

const STREAM_OPTIONS: &str = "stream_options";
const INCLUDE_USAGE: &str = "include_usage";

/// Whether `stream_options` asks for usage.
pub(super) fn asks_usage(body: &[u8]) -> bool {
    let options = find(Fields::of(body), STREAM_OPTIONS).and_then(object);
    options.and_then(|options| find(options, INCLUDE_USAGE)).is_some_and(is_true)
}

/// The body with `stream_options.include_usage`; `None` if it is no object.
pub(super) fn with_usage(body: &[u8]) -> Option<Vec<u8>> {
    const ON: &str = "true";
    match last(body, STREAM_OPTIONS) {
        None => inserted(body, 0, &format!("\"{STREAM_OPTIONS}\":{{\"{INCLUDE_USAGE}\":{ON}}}")),
        Some((at, Value::Object(options))) => match last(options, INCLUDE_USAGE) {
            None => inserted(body, at, &format!("\"{INCLUDE_USAGE}\":{ON}")),
            Some((within, value)) => Some(replaced(body, at + within, length(value), ON)),
        },
        Some((at, value)) => {
            Some(replaced(body, at, length(value), &format!("{{\"{INCLUDE_USAGE}\":{ON}}}")))
        }
    }
}

/// The last value of a name in an object, and where it begins.
fn last<'a>(object: &'a [u8], name: &str) -> Option<(usize, Value<'a>)> {
    let mut fields = Fields::of(object);
    let mut found = None;
    while let Some(field) = fields.next() {
        if field.key.is(name) && !field.cut {
            found = Some((fields.walked() - length(field.value), field.value));
        }
    }
    found
}

/// How many bytes a value takes, its quotes included.
fn length(value: Value<'_>) -> usize {
    match value {
        Value::Text(text) => text.raw.len() + 2,
        Value::Object(raw) | Value::Array(raw) | Value::Plain(raw) => raw.len(),
    }
}

/// The body with a field more at the beginning of the object that begins behind `at`.
fn inserted(body: &[u8], at: usize, field: &str) -> Option<Vec<u8>> {
    let open = at + body[at..].iter().position(|byte| !byte.is_ascii_whitespace())?;
    let rest = body.get(open + 1..).filter(|_| body[open] == b'{')?;
    let is_empty = rest.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'}');
    let comma = if is_empty { "" } else { "," };
    Some([&body[..=open], field.as_bytes(), comma.as_bytes(), rest].concat())
}

fn replaced(body: &[u8], at: usize, length: usize, by: &str) -> Vec<u8> {
    [&body[..at], by.as_bytes(), &body[at + length..]].concat()
}
