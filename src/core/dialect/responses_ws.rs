//! OpenAI Responses over WebSocket (`/v1/responses`): each `response.create` of the application names a model and begins a
//! response, several side by side in lanes; `response.steer` ends one and has the provider begin its successor.
//!
//! Usage stands in the event that ends a response, and so does the tier that it was given. Deltas do not tell whose they are.

mod client;

use super::fields::{find, object};
use super::openai_realtime::{Kind, OpenaiRealtime, peek, read};
use super::responses_over::Over;
use super::{
    ClientEvent, ClientPeek, Dialect, ModelSource, OutputKind, Peek, ProviderEvent, Rates, Rest, openai_error,
};
use crate::close_reason::CloseReason;
use crate::doubt::Keys;
use crate::json::Fields;
use std::borrow::Cow;

#[derive(Clone, Copy, Debug)]
pub struct ResponsesWs;

impl Dialect for ResponsesWs {
    fn name(&self) -> &'static str {
        "responses_ws"
    }

    /// `/v1/responses` and Azure's `/openai/responses` behind any prefix. Some SDKs leave `/v1` to the base URL.
    fn path(&self, path: &str) -> Option<String> {
        let bare = path.trim_end_matches('/');
        let is_whole = bare.ends_with("/v1/responses") || bare.ends_with("/openai/responses");
        (is_whole.then(|| bare.to_owned()))
            .or_else(|| (bare == "/responses").then(|| "/v1/responses".to_owned()))
    }

    fn rates(&self) -> Rates {
        OpenaiRealtime.rates()
    }

    fn model_is_in(&self) -> ModelSource {
        ModelSource::FirstEvent
    }

    fn deciding(&self) -> Keys {
        Keys::of(&["type", "model"])
    }

    fn peek<'a>(&self, event: &'a [u8], rest: Rest) -> Peek<'a> {
        peek(event, rest, kind_of)
    }

    fn read<'a>(&self, event: &'a [u8], found: &mut dyn FnMut(ProviderEvent<'a>)) {
        match read(event, kind_of) {
            ProviderEvent::Begun { response, model, .. } => {
                // What it reads is what it was asked with: there is no conversation that all share.
                found(ProviderEvent::Begun { response, model, output_rate: None, apart: true });
            }
            ProviderEvent::Done { response, .. } => ended(event, response, found),
            told => found(told),
        }
    }

    /// Any of them may turn out to name a model.
    fn peek_client(&self, _head: &[u8], _event_bytes: u64) -> ClientPeek {
        ClientPeek::Whole
    }

    fn read_client<'a>(&self, event: &'a [u8], event_bytes: u64, found: &mut dyn FnMut(ClientEvent<'a>)) {
        client::read(event, event_bytes, found);
    }

    fn cancel(&self, _response: Option<&str>) -> Option<String> {
        None
    }

    fn error_event(&self, reason: &CloseReason, _event_id: &str) -> Option<String> {
        Some(openai_error::answer(reason))
    }
}

fn kind_of(name: &[u8]) -> Kind {
    match name {
        b"response.created" => Kind::Begun,
        b"response.completed" | b"response.incomplete" | b"response.failed" => Kind::Done,
        b"error" => Kind::Refused,
        b"response.output_text.delta"
        | b"response.refusal.delta"
        | b"response.reasoning_text.delta"
        | b"response.reasoning_summary_text.delta"
        | b"response.function_call_arguments.delta"
        | b"response.mcp_call_arguments.delta"
        | b"response.custom_tool_call_input.delta"
        | b"response.code_interpreter_call_code.delta" => Kind::OutputDelta(OutputKind::Text),
        _ => Kind::Other,
    }
}

/// The end of a response. One that failed and states no usage is nothing, unless it has said something.
fn ended<'a>(event: &'a [u8], response: Option<Cow<'a, str>>, found: &mut dyn FnMut(ProviderEvent<'a>)) {
    let body = find(Fields::of(event), "response").and_then(object);
    let over = body.map(Over::of).unwrap_or_default();
    let pictures = over.pictures();
    match over.usage {
        None if over.failed => found(ProviderEvent::Dropped { response }),
        usage => found(ProviderEvent::Done { response, usage, terms: over.terms }),
    }
    pictures.into_iter().for_each(found);
}

#[cfg(test)]
mod tests;
