//! OpenAI Responses over WebSocket: each `response.create` is answered by itself, several side by side; one that is steered
//! ends, and its successor begins without being asked for.

use super::Shard;
use super::audit::{Booking, Fact};
use super::refusal::Credential;
use super::session::response::{self as course, Response, WORDS};
use super::session::{Dialect, Opening, Session};
use super::sim::{Sim, Status, UsageForm};
use crate::http::Request;
use crate::stamp;
use crate::ws::TEXT;
use serde_json::{Map, Value, json};
use std::cell::RefCell;
use std::rc::Rc;
use tokenist_core::usage::Usage;

#[derive(Debug)]
pub(super) struct Responses {
    /// What begins when the one that was steered is over.
    successors: RefCell<Vec<(String, Wanted, Sim)>>,
}

/// What a response was asked with.
#[derive(Clone, Debug)]
struct Wanted {
    model: String,
    /// Its lane, if it has one.
    stream: Value,
    audit: Option<String>,
}

#[derive(Debug)]
pub(super) struct Reply {
    id: String,
    asked: Wanted,
    steered: std::cell::Cell<bool>,
}

impl Dialect for Responses {
    type Reply = Reply;

    const OPCODE: u8 = TEXT;
    const FORMS: &'static [UsageForm] =
        &[UsageForm::Once, UsageForm::Twice, UsageForm::Null, UsageForm::Absent, UsageForm::Empty];
    const TORN: &'static [u8] = br#"{"type":"response.output_text.delta","delta":"cut of"#;
    const LOAD: stamp::Form = stamp::OPENAI;

    fn serves(path: &str) -> bool {
        path.ends_with("/responses")
    }

    fn open(shard: &Shard, _: &Request, _: Credential, _: &Sim) -> Opening<Responses> {
        Opening { index: shard.next_index(None), dialect: Responses { successors: RefCell::default() } }
    }

    /// The client begins.
    fn greet(session: &Rc<Session<Responses>>) {
        session.opened("-");
    }

    fn hear(session: &Rc<Session<Responses>>, event: &Value) {
        match event["type"].as_str().unwrap_or_default() {
            "response.create" => session.create(event),
            "response.steer" => session.steer(event),
            kind => {
                session.tell_error("invalid_value", &format!("Invalid value: '{kind}'."), &event["stream_id"])
            }
        }
    }

    fn hear_no_json(session: &Session<Responses>, error: &serde_json::Error) {
        session.tell_error("invalid_json", &format!("The event is not JSON: {error}"), &Value::Null);
    }

    fn begin(session: &Session<Responses>, response: &Response<Responses>) {
        let created = session.object(response, "in_progress", json!([]));
        session.emit(response, "response.created", json!({"response": created}));
    }

    fn before_chunks(session: &Session<Responses>, response: &Response<Responses>) {
        let item = response.message("in_progress", json!([]));
        session.emit(response, "response.output_item.added", json!({"output_index": 0, "item": item}));
        let mut at = response.place();
        at["part"] = output_text("");
        session.emit(response, "response.content_part.added", at);
    }

    fn chunk(session: &Session<Responses>, response: &Response<Responses>) {
        let mut body = response.place();
        (body["logprobs"], body["delta"]) = (json!([]), WORDS.into());
        session.emit(response, "response.output_text.delta", body);
    }

    fn after_chunks(session: &Session<Responses>, response: &Response<Responses>) {
        let (mut text, mut part) = (response.place(), response.place());
        let whole = output_text(&response.transcript());
        text["text"] = whole["text"].clone();
        session.emit(response, "response.output_text.done", text);
        part["part"] = whole.clone();
        session.emit(response, "response.content_part.done", part);
        let item = response.message("completed", json!([whole]));
        session.emit(response, "response.output_item.done", json!({"output_index": 0, "item": item}));
    }

    fn finish(session: &Session<Responses>, response: &Response<Responses>) {
        let usage = response.usage(session);
        let (kind, status, reason) = response.ending();
        let mut object = session.object(
            response,
            status,
            json!([response.message(status, json!([output_text(&response.transcript())]))]),
        );
        object["incomplete_details"] = reason.map_or(Value::Null, |reason| json!({"reason": reason}));
        match response.sim.usage {
            UsageForm::Null => object["usage"] = Value::Null,
            UsageForm::Absent => drop(object.as_object_mut().map(|object| object.remove("usage"))),
            UsageForm::Empty => object["usage"] = Value::Object(Map::new()),
            _ => object["usage"] = self::usage(&usage),
        }
        let body = json!({"response": object});
        course::over(session, response);
        session.conversation.borrow_mut().say(&usage);
        if let Some(booking) = Responses::booking(session, response) {
            session.book(&response.sim, &session.event(response, kind, &body), booking);
        }
        if response.sim.usage == UsageForm::Twice {
            session.emit(response, kind, body);
        }
    }

    /// What was steered is followed.
    fn left(session: &Rc<Session<Responses>>) {
        let is_over = |id: &str| !session.active.borrow().iter().any(|active| active.reply.id == *id);
        let mut waiting = session.dialect.successors.borrow_mut();
        let Some(index) = waiting.iter().position(|(id, ..)| is_over(id)) else { return };
        let (_, asked, sim) = waiting.remove(index);
        drop(waiting);
        session.answer(asked, sim);
    }

    fn tellable(_: &Session<Responses>, usage: Usage) -> Usage {
        of_text(usage)
    }

    fn booking(session: &Session<Responses>, response: &Response<Responses>) -> Option<Booking> {
        let usage = response.usage(session);
        let Wanted { model, audit, .. } = &response.reply.asked;
        Some(Booking {
            key: audit.clone().unwrap_or_else(|| session.key.clone()),
            model: model.clone(),
            delivered: Fact::told_by(response.sim.usage, usage),
            lost: Fact::Undelivered(usage),
            once: None,
        })
    }

    fn giant(session: &Session<Responses>, response: Option<&Response<Responses>>, bytes: usize) -> Vec<u8> {
        let body = json!({"item_id": "msg_giant", "delta": "A".repeat(bytes / 4 * 4)});
        match response {
            Some(response) => session.event(response, "response.output_text.delta", &body),
            None => written("response.output_text.delta", &Value::Null, session.sim.type_last, body),
        }
    }
}

impl Response<Responses> {
    /// Its message, with what is in it.
    fn message(&self, status: &str, content: Value) -> Value {
        json!({"id": format!("msg_{}", self.reply.id), "type": "message", "role": "assistant", "status": status,
            "content": content})
    }

    /// Where its words stand.
    fn place(&self) -> Value {
        json!({"item_id": format!("msg_{}", self.reply.id), "output_index": 0, "content_index": 0})
    }

    /// The event that ends it, its status, and why it is incomplete.
    fn ending(&self) -> (&'static str, &'static str, Option<&'static str>) {
        if self.reply.steered.get() && self.cancelled() {
            return ("response.incomplete", "incomplete", Some("steered"));
        }
        match self.sim.status {
            Status::Completed => ("response.completed", "completed", None),
            Status::Incomplete => ("response.incomplete", "incomplete", Some("max_output_tokens")),
            Status::ContentFilter => ("response.incomplete", "incomplete", Some("content_filter")),
            Status::Failed => ("response.failed", "failed", None),
        }
    }
}

impl Session<Responses> {
    fn create(self: &Rc<Session<Responses>>, event: &Value) {
        let stream = &event["stream_id"];
        let Some(model) = self.sim.model.as_deref().or(event["model"].as_str()) else {
            return self.tell_error(
                "missing_required_parameter",
                "Missing required parameter: 'model'.",
                stream,
            );
        };
        let sim = match self.sim_with(event["metadata"]["sim"].as_str().unwrap_or_default()) {
            Ok(sim) => sim,
            Err(error) => return self.tell_error("sim", &error, stream),
        };
        if let Some(input) = event["input"].as_str() {
            self.conversation.borrow_mut().read_text(input);
        }
        let audit = event["metadata"]["audit"].as_str().map(str::to_owned);
        self.answer(Wanted { model: model.to_owned(), stream: stream.clone(), audit }, sim);
    }

    fn answer(self: &Rc<Session<Responses>>, request: Wanted, sim: Sim) {
        self.respond(sim, |sim, asked| {
            let id = sim.response_id(asked.turn);
            let reply = Reply { id, asked: request, steered: std::cell::Cell::new(false) };
            Response::new(sim, asked, false, "text".to_owned(), reply)
        });
    }

    fn steer(&self, event: &Value) {
        let previous = event["previous_response_id"].as_str().unwrap_or_default();
        let found = self.active.borrow().iter().find(|active| active.reply.id == previous).cloned();
        let Some(response) = found else {
            let message = "No response with that id is under way.";
            return self.tell_error("previous_response_not_found", message, &event["stream_id"]);
        };
        let steer = json!({"id": format!("steer_{previous}"), "previous_response_id": previous});
        self.emit(&response, "response.steer.accepted", json!({"steer": steer}));
        response.reply.steered.set(true);
        response.cancel();
        let successor = (previous.to_owned(), response.reply.asked.clone(), response.sim.clone());
        self.dialect.successors.borrow_mut().push(successor);
    }

    fn object(&self, response: &Response<Responses>, status: &str, output: Value) -> Value {
        json!({"id": response.reply.id, "object": "response", "created_at": 1_796_000_000, "output": output,
            "parallel_tool_calls": true, "tool_choice": "auto", "tools": [], "model": response.reply.asked.model,
            "status": status, "service_tier": "default", "usage": null})
    }

    fn tell_error(&self, code: &str, message: &str, stream: &Value) {
        let error = json!({"type": "invalid_request_error", "code": code, "message": message, "param": null});
        let body = json!({"status": 400, "error": error});
        self.send(&self.sim, &written("error", stream, self.sim.type_last, body));
    }

    fn emit(&self, response: &Response<Responses>, kind: &str, body: Value) {
        self.send(&response.sim, &self.event(response, kind, &body));
    }

    fn event(&self, response: &Response<Responses>, kind: &str, body: &Value) -> Vec<u8> {
        written(kind, &response.reply.asked.stream, response.sim.type_last, body.clone())
    }
}

/// An event of this protocol has no id, and names its lane if it is in one.
fn written(kind: &str, stream: &Value, type_last: bool, mut body: Value) -> Vec<u8> {
    body["sequence_number"] = 0.into();
    if stream.is_string() {
        body["stream_id"] = stream.clone();
    }
    let mut fields: Vec<String> = body
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{}:{value}", json!(key)))
        .collect();
    let kind = format!("\"type\":\"{kind}\"");
    fields.insert(if type_last { fields.len() } else { 0 }, kind);
    format!("{{{}}}", fields.join(",")).into_bytes()
}

fn output_text(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

/// The usage object of a Response.
pub(super) fn usage(usage: &Usage) -> Value {
    json!({"input_tokens": usage.text_in, "output_tokens": usage.text_out, "total_tokens": usage.total_tokens(),
        "input_tokens_details": {"cached_tokens": usage.cached_text_in, "cache_write_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_out}})
}

/// What of a usage is text.
pub(super) fn of_text(usage: Usage) -> Usage {
    let Usage { text_in, cached_text_in, text_out, reasoning_out, requests, .. } = usage;
    Usage { text_in, cached_text_in, text_out, reasoning_out, requests, ..Usage::default() }
}
