//! What each API says in an answer: at its beginning, with each piece, at its end, or all at once.

use super::event::event;
use super::media::Media;
use super::{Form, Reply, UsageForm};
use crate::http::Request;
use serde_json::{Value, json};
use tokenist_core::usage::Usage;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::provider) enum Api {
    Chat,
    Responses,
    Embeddings,
    Messages,
    Generate,
    /// Google's.
    GoogleEmbeddings,
    Media(Media),
}

impl Api {
    /// Which API a request is for.
    pub(in crate::provider) fn of(request: &Request) -> Option<Api> {
        let path = request.path.trim_end_matches('/');
        if request.method != "POST" {
            return None;
        }
        let method = path.rsplit(':').next().unwrap_or_default();
        match path {
            _ if path.ends_with("/chat/completions") => Some(Api::Chat),
            _ if path.ends_with("/responses") => Some(Api::Responses),
            _ if path.ends_with("/embeddings") => Some(Api::Embeddings),
            _ if path.ends_with("/v1/messages") => Some(Api::Messages),
            _ if ["generateContent", "streamGenerateContent"].contains(&method) => Some(Api::Generate),
            _ if ["embedContent", "batchEmbedContents"].contains(&method) => Some(Api::GoogleEmbeddings),
            _ => Media::of(path).map(Api::Media),
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Api::Chat => "chatcmpl",
            Api::Responses => "resp",
            Api::Embeddings => "emb",
            Api::Messages => "msg",
            Api::Generate => "gen",
            Api::GoogleEmbeddings => "embed",
            Api::Media(media) => media.name(),
        }
    }

    pub(super) fn model(self, request: &Request, asked: &Value) -> Option<String> {
        match self {
            Api::Generate | Api::GoogleEmbeddings => {
                let name = request.path.rsplit_once(':')?.0.rsplit('/').next()?;
                Some(name.to_owned())
            }
            _ => asked["model"].as_str().map(str::to_owned),
        }
    }

    pub(super) fn form(self, request: &Request, asked: &Value) -> Form {
        let streams = match self {
            Api::Media(media) => return media.form(asked),
            Api::Generate => request.path.ends_with(":streamGenerateContent"),
            Api::Embeddings | Api::GoogleEmbeddings => false,
            _ => asked["stream"] == true,
        };
        let is_array = self == Api::Generate && request.parameter("alt").as_deref() != Some("sse");
        match (streams, is_array) {
            (false, _) => Form::Whole,
            (true, true) => Form::Array,
            (true, false) => Form::Events,
        }
    }

    pub(super) fn states_usage(self, form: Form, asked: &Value) -> bool {
        match self {
            Api::Chat => form == Form::Whole || asked["stream_options"]["include_usage"] == true,
            Api::Media(media) => media.states_usage(form, asked),
            _ => true,
        }
    }

    /// What it bills, of what the formula says of text, after so many chunks.
    pub(super) fn tellable(self, reply: &Reply, text: Usage, chunks: u64) -> Usage {
        match self {
            Api::Embeddings | Api::GoogleEmbeddings => {
                let text_in = reply.sim.fix(text).text_in;
                Usage { text_in, requests: 1, ..Usage::default() }
            }
            Api::Media(media) => reply.sim.fix(media.usage(reply, text, chunks)),
            _ => reply.sim.fix(text),
        }
    }

    pub(super) fn content_type(self, reply: &Reply) -> &'static str {
        match (reply.form, self) {
            (Form::Events, _) => "text/event-stream",
            (_, Api::Media(media)) => media.content_type(reply),
            _ => "application/json",
        }
    }

    /// A whole body.
    pub(super) fn whole(self, reply: &Reply, usage: &Usage) -> String {
        let text = reply.words().repeat(reply.sim.chunks as usize);
        let mut body = match self {
            Api::Chat => {
                json!({"id": reply.id, "object": "chat.completion", "created": 1_796_000_000, "model": reply.model,
                "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]})
            }
            Api::Responses => response(reply, "completed", &text),
            Api::Embeddings => json!({"object": "list", "model": reply.model,
                "data": [{"object": "embedding", "index": 0, "embedding": [0.25, -0.5]}]}),
            Api::GoogleEmbeddings => {
                let values = json!({"values": [0.25, -0.5]});
                match reply.asked.fields["requests"].as_array() {
                    Some(requests) => json!({"embeddings": vec![values; requests.len()]}),
                    None => json!({"embedding": values}),
                }
            }
            Api::Messages => {
                json!({"id": reply.id, "type": "message", "role": "assistant", "model": reply.model,
                "content": [{"type": "text", "text": text}], "stop_reason": "end_turn", "stop_sequence": null})
            }
            Api::Generate => piece(reply, &text, true),
            Api::Media(media) => media.whole(reply),
        };
        if !reply.states_usage {
            return body["text"].as_str().unwrap_or_default().to_owned();
        }
        self.state(reply, usage, &mut body);
        body.to_string()
    }

    pub(super) fn begin(self, reply: &Reply) -> String {
        match self {
            Api::Chat => event(None, &chunk(reply, json!({"role": "assistant", "content": ""}), Value::Null)),
            Api::Responses => {
                let response = response(reply, "in_progress", "");
                let item = message("in_progress", json!([]));
                numbered(
                    0,
                    [
                        json!({"type": "response.created", "response": response}),
                        json!({"type": "response.in_progress", "response": response}),
                        json!({"type": "response.output_item.added", "output_index": 0, "item": item}),
                        json!({"type": "response.content_part.added", "item_id": item["id"], "output_index": 0,
                            "content_index": 0, "part": output_text("")}),
                    ],
                )
            }
            Api::Messages => {
                let usage = reply.usage(0);
                let message = json!({"id": reply.id, "type": "message", "role": "assistant", "model": reply.model,
                    "content": [], "stop_reason": null, "stop_sequence": null,
                    "usage": messages_usage(&Usage { text_out: 1, reasoning_out: 0, ..usage })});
                let block = json!({"type": "content_block_start", "index": 0,
                    "content_block": {"type": "text", "text": ""}});
                event(Some("message_start"), &json!({"type": "message_start", "message": message}))
                    + &event(Some("content_block_start"), &block)
            }
            Api::Generate if reply.form == Form::Array => "[".to_owned(),
            Api::Generate | Api::Embeddings | Api::GoogleEmbeddings | Api::Media(_) => String::new(),
        }
    }

    /// The piece that follows so many others; `usage` is what there is with it.
    pub(super) fn chunk(self, reply: &Reply, before: u64, usage: &Usage) -> String {
        match self {
            Api::Chat => event(None, &chunk(reply, json!({"content": reply.words()}), Value::Null)),
            Api::Responses => {
                let delta = json!({"type": "response.output_text.delta", "item_id": MESSAGE_ID, "output_index": 0,
                    "content_index": 0, "logprobs": [], "delta": reply.words()});
                numbered(BEGUN_BY + before, [delta])
            }
            Api::Messages => {
                let body = json!({"type": "content_block_delta", "index": 0,
                    "delta": {"type": "text_delta", "text": reply.words()}});
                event(Some("content_block_delta"), &body)
            }
            Api::Generate => {
                let is_last = before + 1 == u64::from(reply.sim.chunks);
                let mut body = piece(reply, &reply.words(), is_last);
                self.state(reply, usage, &mut body);
                match reply.form {
                    Form::Array if before > 0 => format!(",\r\n{body}"),
                    Form::Array => body.to_string(),
                    Form::Events | Form::Whole | Form::Bytes => event(None, &body),
                }
            }
            Api::Media(media) => media.chunk(reply, before),
            Api::Embeddings | Api::GoogleEmbeddings => String::new(),
        }
    }

    pub(super) fn end(self, reply: &Reply, usage: &Usage) -> String {
        const DONE: &str = "data: [DONE]\n\n";
        match self {
            Api::Chat => {
                let mut stop = chunk(reply, json!({}), Value::Null);
                stop["choices"][0]["finish_reason"] = "stop".into();
                let mut last = chunk(reply, Value::Null, Value::Null);
                self.state(reply, usage, &mut last);
                let last = if reply.states_usage { event(None, &last) } else { String::new() };
                event(None, &stop) + &last + DONE
            }
            Api::Responses => {
                let text = reply.words().repeat(reply.sim.chunks as usize);
                let mut body = response(reply, "completed", &text);
                self.state(reply, usage, &mut body);
                let part = output_text(&text);
                let at = json!({"item_id": MESSAGE_ID, "output_index": 0, "content_index": 0});
                let done = |kind: &str, name: &str, what: Value| {
                    let mut done = at.clone();
                    (done["type"], done[name]) = (kind.into(), what);
                    done
                };
                let item = message("completed", json!([part]));
                numbered(
                    BEGUN_BY + u64::from(reply.sim.chunks),
                    [
                        done("response.output_text.done", "text", text.into()),
                        done("response.content_part.done", "part", part),
                        json!({"type": "response.output_item.done", "output_index": 0, "item": item}),
                        json!({"type": "response.completed", "response": body}),
                    ],
                )
            }
            Api::Messages => {
                let mut delta = json!({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null}});
                self.state(reply, usage, &mut delta);
                event(Some("content_block_stop"), &json!({"type": "content_block_stop", "index": 0}))
                    + &event(Some("message_delta"), &delta)
                    + &event(Some("message_stop"), &json!({"type": "message_stop"}))
            }
            Api::Media(media) => media.end(reply, |body| self.state(reply, usage, body)),
            Api::Generate if reply.form == Form::Array => "]".to_owned(),
            Api::Generate | Api::Embeddings | Api::GoogleEmbeddings => String::new(),
        }
    }

    /// Puts the usage where the API has it, in the form that was asked for.
    fn state(self, reply: &Reply, usage: &Usage, body: &mut Value) {
        let is_google = matches!(self, Api::Generate | Api::GoogleEmbeddings);
        let name = if is_google { "usageMetadata" } else { "usage" };
        body[name] = match reply.sim.usage {
            UsageForm::Null => Value::Null,
            UsageForm::Empty => json!({}),
            UsageForm::Absent => {
                body.as_object_mut().map(|body| body.remove(name));
                return;
            }
            _ => self.usage(reply, usage),
        };
    }

    fn usage(self, reply: &Reply, usage: &Usage) -> Value {
        let Usage { text_in, cached_text_in, text_out, reasoning_out, .. } = *usage;
        match self {
            Api::Chat => {
                json!({"prompt_tokens": text_in, "completion_tokens": text_out, "total_tokens": text_in + text_out,
                "prompt_tokens_details": {"cached_tokens": cached_text_in, "audio_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": reasoning_out, "audio_tokens": 0}})
            }
            Api::Responses => super::super::responses::usage(usage),
            Api::Embeddings => json!({"prompt_tokens": text_in, "total_tokens": text_in}),
            Api::Messages => messages_usage(usage),
            Api::Generate => json!({"promptTokenCount": text_in, "cachedContentTokenCount": cached_text_in,
                "candidatesTokenCount": text_out - reasoning_out, "thoughtsTokenCount": reasoning_out,
                "totalTokenCount": text_in + text_out}),
            Api::GoogleEmbeddings => json!({"promptTokenCount": text_in,
                "promptTokensDetails": [{"modality": "TEXT", "tokenCount": text_in}]}),
            Api::Media(media) => media.stated(reply, usage),
        }
    }
}

/// The message of a Response.
const MESSAGE_ID: &str = "msg_1";
/// So many events come before a Response's first words.
const BEGUN_BY: u64 = 4;

/// Events of a Response, counted from a number on and called as their types say.
fn numbered<const COUNT: usize>(first: u64, events: [Value; COUNT]) -> String {
    let told = events.into_iter().zip(first..).map(|(mut body, number)| {
        body["sequence_number"] = number.into();
        event(body["type"].as_str(), &body)
    });
    told.collect()
}

fn output_text(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

fn message(status: &str, content: Value) -> Value {
    json!({"type": "message", "id": MESSAGE_ID, "role": "assistant", "status": status, "content": content})
}

/// Of Messages, which leaves out of the input what was read from the cache or written to it.
fn messages_usage(usage: &Usage) -> Value {
    let written = usage.cache_write_in + usage.cache_write_long_in;
    json!({"input_tokens": usage.text_in - usage.cached_text_in - written, "cache_creation_input_tokens": written,
        "cache_creation": {"ephemeral_5m_input_tokens": usage.cache_write_in,
            "ephemeral_1h_input_tokens": usage.cache_write_long_in},
        "cache_read_input_tokens": usage.cached_text_in, "output_tokens": usage.text_out,
        "output_tokens_details": {"thinking_tokens": usage.reasoning_out}, "service_tier": "standard"})
}

/// Of chat completions; without a delta it has no choice.
fn chunk(reply: &Reply, delta: Value, usage: Value) -> Value {
    let choices = match delta {
        Value::Null => json!([]),
        delta => json!([{"index": 0, "delta": delta, "finish_reason": null}]),
    };
    let mut chunk = json!({"id": reply.id, "object": "chat.completion.chunk", "created": 1_796_000_000,
        "model": reply.model, "choices": choices});
    if reply.states_usage {
        chunk["usage"] = usage;
    }
    chunk
}

fn response(reply: &Reply, status: &str, text: &str) -> Value {
    let output = match text {
        "" => json!([]),
        _ => json!([message(status, json!([output_text(text)]))]),
    };
    json!({"id": reply.id, "object": "response", "created_at": 1_796_000_000, "model": reply.model, "status": status,
        "output": output, "parallel_tool_calls": true, "tool_choice": "auto", "tools": [], "service_tier": "default",
        "usage": null})
}

/// Of generateContent.
fn piece(reply: &Reply, text: &str, is_last: bool) -> Value {
    let mut candidate = json!({"content": {"role": "model", "parts": [{"text": text}]}, "index": 0});
    if is_last {
        candidate["finishReason"] = "STOP".into();
    }
    json!({"candidates": [candidate], "modelVersion": reply.model, "responseId": reply.id})
}
