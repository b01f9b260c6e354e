//! What a request's JSON body asks for, and how it is made to ask for usage.

use crate::dialect::fields::{find, object, text};
use crate::dialect::{Content, TEXT_BYTES_PER_TOKEN};
use crate::json::{Field, Fields, Value, string_end};

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
    /// It is asked for again.
    pub is_again: bool,
    /// Whether the provider is to keep the answer, if that is said.
    pub is_kept: Option<bool>,
    /// By which id the provider keeps what it goes on from.
    pub goes_on_from: Option<String>,
    /// What it reads.
    pub content: Content,
    /// Of a text that is to be spoken.
    pub characters: u64,
    /// How long the sound is that was uploaded.
    pub sound_ms: u64,
    /// How many pictures are to be made.
    pub images: u64,
    /// Why it must go to no provider, which might read something else in it.
    pub problem: Option<&'static str>,
}

impl Asked {
    /// The fields that requests of most providers have.
    pub(super) fn of(body: &[u8]) -> Asked {
        Asked::reading(body, |_| false)
    }

    /// These, and how much there is to read under the keys that are `read`.
    pub(super) fn reading(body: &[u8], read: impl Fn(&[u8]) -> bool) -> Asked {
        let mut asked = Asked::default();
        let mut once = Once::default();
        for field in Fields::of(body) {
            let key = field.key.bytes();
            asked.problem = asked.problem.or(once.note(&key, field.cut));
            match &*key {
                b"model" => asked.model = text(field).map(Into::into),
                b"stream" => asked.streams = is_truthy(field),
                b"previous_response_id" | b"previous_interaction_id" => {
                    asked.goes_on_from = text(field).map(Into::into);
                }
                b"store" => asked.is_kept = Some(is_truthy(field)),
                key if read(key) => asked.content = asked.content.plus(content(field.value)),
                _ => {}
            }
        }
        asked
    }

    /// The body that asks for this, or its beginning, with `stream_options.include_usage` in it; `None` where there is nothing to
    /// inject: usage comes anyway, or it was asked for.
    pub fn with_usage(&self, body: &[u8]) -> Option<Vec<u8>> {
        (self.streams && self.lacks_usage).then(|| with_usage(body)).flatten()
    }
}

/// Fields that say what is metered, each with what is wrong where one stands twice or in another spelling: of two, readers take
/// either, and to some `Model` is `model`.
pub(super) const ONCE: [(&str, &str); 7] = [
    ("model", "it names `model` twice or in another spelling: name it once, in lower case"),
    ("background", "it gives `background` twice or in another spelling: give it once, in lower case"),
    ("previous_response_id", PREVIOUS),
    ("previous_interaction_id", PREVIOUS),
    ("stream", "it gives `stream` twice or in another spelling: give it once, in lower case"),
    ("stream_options", "it gives `stream_options` twice or in another spelling: give it once, in lower case"),
    ("store", "it gives `store` twice or in another spelling: give it once, in lower case"),
];

const PREVIOUS: &str =
    "it gives what it goes on from twice or in another spelling: give it once, in lower case";

/// What is wrong with a field that comes too late.
pub(super) const TOO_LATE: &str = "`model`, `background`, `previous_response_id`, `stream`, `stream_options` and `store` have to stand before what is long in \
    it: put them first, or have `http.body_max_before_model` raised";

/// Which of those fields have come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Once {
    seen: u8,
}

impl Once {
    /// Takes the next key, unescaped, whose value may be cut off; what is wrong with it.
    pub(super) fn note(&mut self, key: &[u8], is_cut: bool) -> Option<&'static str> {
        let index = ONCE.iter().position(|(name, _)| is_alike(key, name))?;
        let (name, problem) = ONCE[index];
        let is_first = self.seen & (1 << index) == 0;
        self.seen |= 1 << index;
        let problem = (!is_first || key != name.as_bytes()).then_some(problem);
        problem.or(is_cut.then_some(TOO_LATE))
    }
}

/// Whether a reader could take another value than the last for that of a field: it is there twice, or in another spelling.
pub(super) fn is_unclear(fields: Fields<'_>, name: &str) -> bool {
    let mut alike = fields.map(|field| field.key.bytes()).filter(|key| is_alike(key, name));
    let is_spelled = alike.next().is_none_or(|key| *key == *name.as_bytes());
    !is_spelled || alike.next().is_some()
}

/// Whether a reader that does not tell capitals takes the one for the other. Two letters beyond ASCII are an `s` and a `k` to
/// some.
pub(super) fn is_alike(key: &[u8], name: &str) -> bool {
    if key.is_ascii() {
        return key.eq_ignore_ascii_case(name.as_bytes());
    }
    let folded = String::from_utf8_lossy(key).replace('\u{17f}', "s").replace('\u{212a}', "k");
    folded.eq_ignore_ascii_case(name)
}

/// Whether what is asked for is to run in the background, where that can be asked for.
pub(super) fn runs_in_background(body: &[u8]) -> bool {
    find(Fields::of(body), "background").is_some_and(is_truthy)
}

/// As servers take it that are not strict: 1 and "true" as well.
fn is_truthy(field: Field<'_>) -> bool {
    match field.value {
        Value::Plain(plain) => !matches!(plain, b"false" | b"null" | b"0"),
        Value::Text(text) => matches!(&*text.decode(), "true" | "True" | "1" | "yes" | "on"),
        Value::Object(_) | Value::Array(_) => false,
    }
}

pub(super) fn is_true(field: Field<'_>) -> bool {
    matches!(field.value, Value::Plain(b"true"))
}

/// How much there is to read in a value of whatever shape: texts count by their length, those under a key that holds sound
/// or a picture as such. It is walked once, however it is nested.
pub(super) fn content(value: Value<'_>) -> Content {
    let bytes = match value {
        Value::Text(text) => return Content { text_bytes: text.raw.len() as u64, ..Content::default() },
        Value::Plain(_) => return Content::default(),
        Value::Object(raw) | Value::Array(raw) => raw,
    };
    let mut content = Content::default();
    let mut walk = Walk::default();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        if *byte == b'"' {
            let end = string_end(bytes, at + 1, &mut false).unwrap_or(bytes.len());
            walk.text(&bytes[at + 1..end], &mut content);
            at = end;
        } else {
            walk.mark(*byte);
        }
        at += 1;
    }
    content
}

/// Where in a nested value a walk is.
#[derive(Default)]
struct Walk {
    /// Of each object or array around: whether it is an object, and what is in it. What is deeper is as the deepest here.
    around: Vec<(bool, Option<Holds>)>,
    deeper: usize,
    /// A key comes next.
    before_key: bool,
    /// What is under the last key.
    holds: Option<Holds>,
}

/// Nobody asks for anything that is nested deeper.
const DEPTH_MAX: usize = 64;

impl Walk {
    fn mark(&mut self, byte: u8) {
        match byte {
            b'{' | b'[' if self.around.len() == DEPTH_MAX => self.deeper += 1,
            b'{' | b'[' => {
                self.around.push((byte == b'{', self.holds));
                self.before_key = byte == b'{';
            }
            b'}' | b']' if self.deeper > 0 => self.deeper -= 1,
            b'}' | b']' => {
                self.around.pop();
                self.before_key = false;
            }
            b',' => {
                let (is_object, holds) = self.around.last().copied().unwrap_or_default();
                (self.before_key, self.holds) = (is_object && self.deeper == 0, holds);
            }
            _ => {}
        }
    }

    fn text(&mut self, raw: &[u8], content: &mut Content) {
        if std::mem::take(&mut self.before_key) {
            let outer = self.around.last().and_then(|(_, holds)| *holds);
            self.holds = Holds::of(raw).or(outer);
            return;
        }
        match self.holds {
            None => content.text_bytes += raw.len() as u64,
            Some(Holds::Sound) => content.sound_bytes += raw.len() as u64,
            Some(Holds::Picture) => content.images += 1,
            Some(Holds::Nothing) => {}
        }
    }
}

/// What is under a key, if it is no text.
#[derive(Clone, Copy, Debug)]
enum Holds {
    Sound,
    /// However long it is: a picture or a document.
    Picture,
    /// A word of the protocol's.
    Nothing,
}

impl Holds {
    fn of(key: &[u8]) -> Option<Holds> {
        match key {
            b"input_audio" | b"audio" => Some(Holds::Sound),
            b"image_url" | b"image" | b"source" | b"file" | b"file_data" | b"inline_data" | b"inlineData" => {
                Some(Holds::Picture)
            }
            b"type" | b"role" | b"id" | b"format" | b"detail" | b"media_type" | b"mimeType"
            | b"mime_type" | b"name" => Some(Holds::Nothing),
            _ => None,
        }
    }
}

/// How many tokens a text is.
pub(super) fn written(content: Content) -> u64 {
    content.text_bytes.div_ceil(TEXT_BYTES_PER_TOKEN)
}

const STREAM_OPTIONS: &str = "stream_options";
const INCLUDE_USAGE: &str = "include_usage";

/// What is wrong with how `stream_options` asks for usage.
pub(super) fn options_problem(body: &[u8]) -> Option<&'static str> {
    let options = find(Fields::of(body), STREAM_OPTIONS).and_then(object)?;
    is_unclear(options, INCLUDE_USAGE)
        .then_some("it gives `include_usage` twice or in another spelling: give it once, in lower case")
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value as Json;

    #[test]
    fn usage_is_asked_for_where_the_caller_did_not() {
        for (body, wanted) in [
            (r#"{}"#, r#"{"stream_options":{"include_usage":true}}"#),
            (r#" {"a":1}"#, r#" {"stream_options":{"include_usage":true},"a":1}"#),
            (r#"{"stream_options":{ }}"#, r#"{"stream_options":{"include_usage":true }}"#),
            (r#"{"stream_options":{"x":1}}"#, r#"{"stream_options":{"include_usage":true,"x":1}}"#),
            (r#"{"stream_options":{"include_usage":false}}"#, r#"{"stream_options":{"include_usage":true}}"#),
            (r#"{"stream_options" : null ,"a":1}"#, r#"{"stream_options" : {"include_usage":true} ,"a":1}"#),
            (
                r#"{"stream_options":{},"stream_options":{"include_usage":null}}"#,
                r#"{"stream_options":{},"stream_options":{"include_usage":true}}"#,
            ),
            (
                r#"{"a":"\"stream_options\":"}"#,
                r#"{"stream_options":{"include_usage":true},"a":"\"stream_options\":"}"#,
            ),
        ] {
            let with_usage = with_usage(body.as_bytes()).unwrap();
            assert_eq!(String::from_utf8_lossy(&with_usage), wanted);
            assert!(asks_usage(&with_usage) && !asks_usage(body.as_bytes()), "{body}");
            assert!(serde_json::from_slice::<Json>(&with_usage).is_ok());
        }
        assert_eq!(with_usage(b"[]"), None);
        assert_eq!(with_usage(b""), None);
    }

    #[test]
    fn what_is_there_twice_or_spelled_otherwise_is_unclear() {
        for (body, is_wrong) in [
            (r#"{"model":"m","x":{"n":2,"N":3},"n":1}"#, false),
            (r#"{"model":"m"}"#, false),
            (r#"{"n":1,"n":2}"#, true),
            (r#"{"n":1,"\u004e":2}"#, true),
            (r#"{"N":2}"#, true),
        ] {
            assert_eq!(is_unclear(Fields::of(body.as_bytes()), "n"), is_wrong, "{body}");
        }
    }

    #[test]
    fn what_is_read_counts_as_what_it_is() {
        let body = r#"{"messages":[{"role":"user","content":[{"type":"text","text":"1234"},
            {"type":"input_audio","input_audio":{"data":"AAAA","format":"wav"}},
            {"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]},"56"]}"#;
        let messages = find(Fields::of(body.as_bytes()), "messages").unwrap();
        assert_eq!(content(messages.value), Content { text_bytes: 6, sound_bytes: 4, images: 1 });
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_request_fail(bytes in any::<Vec<u8>>(), depth in 0usize..5_000) {
            Asked::of(&bytes);
            with_usage(&bytes);
            let nested = [b"{\"messages\":".to_vec(), b"[".repeat(depth), bytes].concat();
            let messages = Fields::of(&nested).next().map(|field| content(field.value));
            prop_assert!(messages.unwrap_or_default().text_bytes <= nested.len() as u64);
        }
    }
}
