//! Responses: one body, or a stream whose last event holds all of it. What runs in the background is asked for again, and
//! states its usage once it is over.

use super::super::answer::{Event, Progress, State};
use super::super::request::{Asked, runs_in_background};
use super::super::wanted::{Wants, text, value};
use super::super::{Call, ModelIn, Reach};
use crate::close_reason::CloseReason;
use crate::dialect::fields::{self, object};
use crate::dialect::http_body;
use crate::dialect::openai_usage::{tools, usage};
use crate::dialect::responses_over::{PAINTER, painter, pictures};
use crate::json::Value;
use crate::usage::Usage;

pub(super) static CREATE: Call = Call {
    name: "responses",
    model_in: ModelIn::Json,
    is_metered: true,
    is_repeatable: true,
    keeps: Some(true),
    ask,
    wanted: WANTED,
    read,
    ending,
    error: http_body,
    ..Call::FREE
};

/// One that was made before, or that is stopped.
pub(super) static RETRIEVE: Call =
    Call { model_in: ModelIn::Answer, keeps: None, reach: Reach::One, ask: ask_again, ..CREATE };

/// A conversation made shorter.
pub(super) static COMPACT: Call = Call { name: "responses_compact", keeps: None, ..CREATE };

const WANTED: &Wants = &Wants::new(&[
    value("type"),
    text("delta"),
    value("id"),
    value("model"),
    value("status"),
    value("background"),
    value("service_tier"),
    value("usage"),
    value("tool_usage"),
    value("tools"),
    value("response.id"),
    value("response.model"),
    value("response.status"),
    value("response.background"),
    value("response.service_tier"),
    value("response.usage"),
    value("response.tool_usage"),
    value("response.tools"),
    text("output.content.text"),
    text("output.content.refusal"),
    text("output.summary.text"),
    text("output.arguments"),
    text("output.input"),
]);

fn ask(body: &[u8]) -> Asked {
    let is_read = |name: &[u8]| matches!(name, b"input" | b"instructions" | b"tools" | b"text");
    Asked { in_background: runs_in_background(body), ..Asked::reading(body, is_read) }
}

/// Nothing is told of it until it is over, for it may be asked for once more.
fn ask_again(_: &[u8]) -> Asked {
    Asked { in_background: true, is_again: true, ..Asked::default() }
}

fn read(event: &Event<'_>, progress: &mut Progress) {
    let (mut stated, mut used, mut status, mut kind) = (None, Usage::default(), None, None);
    let (mut made, mut maker, mut was_answered) = (Usage::default(), None, false);
    for field in event.fields.clone() {
        match &*field.key.bytes() {
            b"type" => kind = fields::text(field),
            b"id" | b"response.id" => progress.name(fields::text(field)),
            b"model" | b"response.model" => progress.set_model(fields::text(field)),
            b"status" | b"response.status" => status = fields::text(field),
            // It was answered where it was asked for, and is only looked at.
            b"background" | b"response.background" => {
                was_answered = progress.asked.is_again && matches!(field.value, Value::Plain(b"false"));
            }
            b"service_tier" | b"response.service_tier" => {
                progress.set_term("service_tier", fields::text(field));
            }
            b"usage" | b"response.usage" if !field.cut => stated = object(field).and_then(usage),
            b"tool_usage" | b"response.tool_usage" if !field.cut => {
                used = object(field).map(tools).unwrap_or_default();
                made = object(field).map(pictures).unwrap_or_default();
            }
            b"tools" | b"response.tools" if !field.cut => maker = painter(field),
            _ => {}
        }
    }
    // What a whole body is called says nothing, unless it is an error.
    let kind = kind.filter(|kind| !event.is_whole_answer || kind == "error");
    // A stream that breaks off is not the response, where that runs without it.
    let breaks_off =
        kind.as_deref() == Some("error") && progress.asked.in_background && !event.is_whole_answer;
    // Only the body itself and the last event of a stream state what counts.
    let ending = match (kind.as_deref(), status.as_deref()) {
        _ if breaks_off => None,
        (None, Some("queued" | "in_progress")) => Some(State::Elsewhere),
        (None, Some("failed" | "cancelled")) | (Some("response.failed" | "error"), _) => Some(State::Failed),
        (None, _) if event.is_whole_answer => Some(State::Over),
        (Some("response.completed" | "response.incomplete"), _) => Some(State::Over),
        _ => None,
    };
    let ending = if was_answered { ending.and(Some(State::Before)) } else { ending };
    // One that failed is billed where that is stated.
    let is_stated = stated.is_some();
    let ending = ending.map(|state| if state == State::Failed && is_stated { State::Over } else { state });
    if let Some(state) = ending {
        progress.usage = stated.map(|usage| usage + used).or(progress.usage);
        if made != Usage::default() {
            progress.items = vec![(maker.as_deref().unwrap_or(PAINTER).into(), made)];
        }
        progress.end(state);
    }
}

/// Events are numbered from 0; some SDKs take none without its number.
fn ending(reason: &CloseReason, number: u64) -> String {
    let error = http_body(reason);
    let error = error.trim_start_matches('{');
    format!("event: error\ndata: {{\"type\":\"error\",\"sequence_number\":{number},{error}\n\n")
}
