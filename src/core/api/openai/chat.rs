//! Chat completions, and the completions before them: usage stands beside the choices, or, in a stream, in a last chunk
//! without any.

use super::super::answer::{Event, Progress, State};
use super::super::request::{Asked, asks_usage, options_problem};
use super::super::wanted::{Wants, audio, presence, text, value};
use super::super::{Call, ModelIn};
use crate::dialect::fields;
use crate::dialect::http_body;
use crate::dialect::openai_usage::usage;

pub(super) static CHAT: Call = Call {
    name: "chat_completions",
    model_in: ModelIn::Json,
    is_metered: true,
    has_to_be_asked: true,
    keeps: Some(false),
    ask,
    wanted: WANTED,
    read,
    ending: super::ending,
    error: http_body,
    ..Call::FREE
};

const WANTED: &Wants = &Wants::new(&[
    value("id"),
    value("model"),
    value("service_tier"),
    value("usage"),
    presence("error"),
    presence("choices"),
    text("choices.text"),
    text("choices.delta.content"),
    text("choices.delta.refusal"),
    text("choices.delta.reasoning_content"),
    text("choices.delta.tool_calls.function.arguments"),
    text("choices.delta.function_call.arguments"),
    text("choices.delta.audio.transcript"),
    audio("choices.delta.audio.data"),
    text("choices.message.content"),
    text("choices.message.refusal"),
    text("choices.message.reasoning_content"),
    text("choices.message.tool_calls.function.arguments"),
    text("choices.message.function_call.arguments"),
    text("choices.message.audio.transcript"),
    audio("choices.message.audio.data"),
]);

fn ask(body: &[u8]) -> Asked {
    let is_read =
        |name: &[u8]| matches!(name, b"messages" | b"prompt" | b"tools" | b"functions" | b"response_format");
    let asked = Asked::reading(body, is_read);
    let lacks_usage = asked.streams && !asks_usage(body);
    let problem = asked.problem.or_else(|| options_problem(body));
    Asked { lacks_usage, problem, ..asked }
}

fn read(event: &Event<'_>, progress: &mut Progress) {
    let (mut has_choices, mut has_error) = (false, false);
    for field in event.fields.clone() {
        match &*field.key.bytes() {
            b"id" => progress.name(fields::text(field)),
            b"model" => progress.set_model(fields::text(field)),
            b"service_tier" => progress.set_term("service_tier", fields::text(field)),
            b"usage" if !field.cut => progress.state(field, usage),
            b"choices" => has_choices = true,
            b"error" => has_error = true,
            _ => {}
        }
    }
    if has_error {
        progress.end(State::Failed);
    } else if progress.usage.is_some() && !has_choices {
        progress.end(State::Over);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whether_usage_is_asked_for_is_said_once_and_as_it_is_spelled() {
        for (options, is_wrong) in [
            (r#"{"include_usage":true,"other":1}"#, false),
            ("{}", false),
            ("null", false),
            (r#"{"include_usage":true,"include_usage":false}"#, true),
            (r#"{"include_usage":true,"Include_Usage":false}"#, true),
            (r#"{"INCLUDE_USAGE":true}"#, true),
        ] {
            let body = format!(r#"{{"model":"m","stream":true,"stream_options":{options}}}"#);
            assert_eq!(ask(body.as_bytes()).problem.is_some(), is_wrong, "{options}");
        }
    }
}
