//! Interactions over HTTP: one body, or a stream whose last event holds it; each event may state what was used so far.

use super::super::answer::{Event, Progress, State};
use super::super::request::{Asked, runs_in_background};
use super::super::wanted::{Wants, audio, presence, text, value};
use super::super::{Call, ModelIn, Reach};
use crate::close_reason::CloseReason;
use crate::dialect::fields::{self, last_word};
use crate::dialect::google_interactions::usage;
use serde_json::json;

pub(super) static CREATE: Call = Call {
    name: "interactions",
    model_in: ModelIn::Json,
    is_metered: true,
    is_repeatable: true,
    is_stream: false,
    has_to_be_asked: false,
    keeps: Some(true),
    reach: Reach::Anew,
    may_be_bytes: false,
    tier_header: Some("x-gemini-service-tier"),
    ask,
    wanted: WANTED,
    read,
    ending,
    error: super::error,
};

/// One that was begun before, or that is stopped.
pub(super) static RETRIEVE: Call =
    Call { model_in: ModelIn::Answer, keeps: None, reach: Reach::One, ask: ask_again, ..CREATE };

/// One that is to be kept no longer.
pub(super) static DELETE: Call =
    Call { name: "interactions", reach: Reach::One, error: super::error, ..Call::FREE };

const WANTED: &Wants = &Wants::new(&[
    value("event_type"),
    value("id"),
    value("model"),
    value("status"),
    value("usage"),
    value("interaction.id"),
    value("interaction.model"),
    value("interaction.status"),
    value("interaction.usage"),
    value("metadata.total_usage"),
    presence("error"),
    text("delta.text"),
    text("delta.arguments"),
    audio("delta.data"),
    text("outputs.text"),
    text("outputs.arguments"),
    text("steps.content.text"),
    text("steps.arguments"),
]);

fn ask(body: &[u8]) -> Asked {
    let is_read = |name: &[u8]| matches!(name, b"input" | b"system_instruction" | b"tools");
    let asked = Asked::reading(body, is_read);
    let model = asked.model.map(|model| last_word(model.into()).into_owned());
    Asked { model, in_background: runs_in_background(body), ..asked }
}

/// Nothing is told of it until it is over, for it may be asked for once more.
fn ask_again(_: &[u8]) -> Asked {
    Asked { in_background: true, is_again: true, ..Asked::default() }
}

fn read(event: &Event<'_>, progress: &mut Progress) {
    let (mut kind, mut status, mut has_error) = (None, None, false);
    for field in event.fields.clone() {
        match &*field.key.bytes() {
            b"event_type" => kind = fields::text(field),
            b"id" | b"interaction.id" => progress.name(fields::text(field)),
            b"model" | b"interaction.model" => progress.set_model(fields::text(field).map(last_word)),
            b"status" | b"interaction.status" => status = fields::text(field),
            b"usage" | b"interaction.usage" | b"metadata.total_usage" if !field.cut => {
                progress.state(field, usage);
            }
            b"error" => has_error = true,
            _ => {}
        }
    }
    // What a whole body is called says nothing, unless it is an error.
    let kind = kind.filter(|kind| !event.is_whole_answer || kind == "error");
    // A stream that breaks off is not the interaction, where that runs without it.
    let breaks_off =
        kind.as_deref() == Some("error") && progress.asked.in_background && !event.is_whole_answer;
    let is_under_way = status.as_deref() == Some("in_progress");
    match kind.as_deref() {
        _ if breaks_off => {}
        None if event.is_whole_answer && is_under_way => progress.end(State::Elsewhere),
        None if event.is_whole_answer && !has_error => progress.end(State::Over),
        Some("interaction.completed" | "interaction.cancelled" | "interaction.canceled") => {
            progress.end(State::Over)
        }
        Some("interaction.failed" | "error") => progress.end(State::Failed),
        None if has_error => progress.end(State::Failed),
        _ => {}
    }
}

fn ending(reason: &CloseReason, _: u64) -> String {
    let error = json!({"code": reason.code(), "message": reason.message()});
    format!("event: error\ndata: {}\n\n", json!({"event_type": "error", "error": error}))
}
