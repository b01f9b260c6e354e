//! Embeddings, decisions and pictures: one body each, pictures perhaps in pieces.

use super::super::answer::{Event, Progress, State};
use super::super::request::{Asked, content, is_unclear, written};
use super::super::wanted::{Wants, value};
use super::super::{Call, ModelIn};
use crate::dialect::fields::{self, find, object};
use crate::dialect::http_body;
use crate::dialect::openai_usage::usage;
use crate::json::{Fields, Value};
use crate::usage::Usage;

pub(super) static EMBEDDINGS: Call = Call {
    name: "embeddings",
    model_in: ModelIn::Json,
    is_metered: true,
    ask: ask_embeddings,
    wanted: &Wants::new(&[value("id"), value("model"), value("usage")]),
    read,
    ending: super::ending,
    error: http_body,
    ..Call::FREE
};

pub(super) static DECISIONS: Call = Call {
    name: "decisions",
    ask,
    wanted: &Wants::new(&[value("id"), value("model"), value("service_tier"), value("usage")]),
    read: read_decision,
    ..EMBEDDINGS
};

pub(super) static IMAGES: Call = Call {
    name: "images",
    ask: ask_images,
    wanted: &Wants::new(&[value("type"), value("usage"), value("svg_usage")]),
    read: read_images,
    ..EMBEDDINGS
};

/// Of pictures that are uploaded.
pub(super) static IMAGE_EDITS: Call = Call { model_in: ModelIn::Multipart, ..IMAGES };

/// Text, or tokens by number.
fn ask_embeddings(body: &[u8]) -> Asked {
    let input = find(Fields::of(body), "input").map(|field| field.value);
    let tokens = input.map_or(0, |input| numbers(input, 2));
    let mut content = input.map(content).unwrap_or_default();
    content.text_bytes += 4 * tokens;
    Asked { content, ..Asked::of(body) }
}

/// How many numbers are in an array, or in its arrays.
fn numbers(value: Value<'_>, depth: u32) -> u64 {
    let count = |(value, _)| match value {
        Value::Plain(_) => 1,
        value if depth > 0 => numbers(value, depth - 1),
        _ => 0,
    };
    value.elements().into_iter().flatten().map(count).sum()
}

fn ask(body: &[u8]) -> Asked {
    Asked::reading(body, |name| matches!(name, b"input" | b"questions"))
}

fn ask_images(body: &[u8]) -> Asked {
    let count = find(Fields::of(body), "n").and_then(|field| field.value.count());
    let prompt = find(Fields::of(body), "prompt").map(|field| content(field.value));
    let asked = Asked::of(body);
    let problem = is_unclear(Fields::of(body), "n")
        .then_some("it gives `n` twice or in another spelling: give it once");
    Asked {
        images: count.unwrap_or(1),
        content: prompt.unwrap_or_default(),
        problem: asked.problem.or(problem),
        ..asked
    }
}

fn read(event: &Event<'_>, progress: &mut Progress) {
    for field in event.fields.clone() {
        match &*field.key.bytes() {
            b"id" => progress.name(fields::text(field)),
            b"model" => progress.set_model(fields::text(field)),
            b"service_tier" => progress.set_term("service_tier", fields::text(field)),
            b"usage" if !field.cut => progress.state(field, usage),
            _ => {}
        }
    }
}

fn read_decision(event: &Event<'_>, progress: &mut Progress) {
    read(event, progress);
    progress.set_term("endpoint", Some("decisions".into()));
}

fn read_images(event: &Event<'_>, progress: &mut Progress) {
    let mut is_over = false;
    for field in event.fields.clone() {
        match &*field.key.bytes() {
            b"type" => is_over = fields::text(field).is_some_and(|kind| kind.ends_with(".completed")),
            b"usage" if !field.cut => progress.state(field, image_usage),
            b"svg_usage" if !field.cut => {
                let model = object(field).and_then(|usage| find(usage, "model")).and_then(fields::text);
                let stated = object(field).and_then(usage);
                progress.items = model.map(Into::into).zip(stated).into_iter().collect();
            }
            _ => {}
        }
    }
    if is_over {
        progress.end(State::Over);
    }
    progress.measured = Some(Usage {
        text_in: written(progress.asked.content),
        image_out: progress.asked.images * IMAGE_TOKENS,
        requests: 1,
        ..Usage::default()
    });
}

/// A square picture of medium quality.
const IMAGE_TOKENS: u64 = 1_056;

/// What comes out is pictures, but for the text that details name.
fn image_usage(fields: Fields<'_>) -> Option<Usage> {
    let stated = usage(fields.clone())?;
    let details = find(fields, "output_tokens_details").and_then(object);
    if details.is_some_and(|mut details| details.next().is_some()) {
        return Some(stated);
    }
    Some(Usage { text_out: 0, image_out: stated.text_out + stated.image_out, ..stated })
}
