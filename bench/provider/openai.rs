//! OpenAI Realtime: its handshake, what its client's events do, and how they are answered.
//!
//! `event` spells what is said, `response` says it.

mod event;
mod front;
mod response;

use super::Shard;
use super::audit::{Booking, Fact};
use super::formula::{Turn, audio_bytes, audio_ms};
use super::refusal::Credential;
use super::session::response::Response;
use super::session::{Callable, Dialect, Opening, Session};
use super::sim::{Sim, UsageForm};
use super::wire::Wire;
use crate::clock;
use crate::http::Request;
use crate::stamp;
use crate::ws::TEXT;
pub(super) use event::write as written;
use event::{Names, Purpose};
use front::Front;
use response::Reply;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::rc::Rc;
use tokenist_core::time::SECOND_MS;
use tokenist_core::usage::Usage;

const SESSION_SECONDS: u64 = 3_600;

/// What the handshake settled, and what the session has come to.
#[derive(Debug)]
pub(super) struct OpenAi {
    index: u64,
    names: Names,
    front: Front,
    /// It is one of those that are attached to a call: asked for the same, each sees the same.
    is_of_call: bool,
    /// The handshake asked for the beta, which the provider no longer speaks.
    dead_beta: bool,
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The session object as `session.updated` tells it.
    config: Value,
    items: Vec<Value>,
    transcriptions: u64,
    /// Audio in the input buffer.
    buffered_bytes: u64,
    events: u64,
    item_count: u64,
    /// What a running figure of time says, where there is one.
    billed_ms: u64,
}

impl Dialect for OpenAi {
    type Reply = Reply;

    const OPCODE: u8 = TEXT;
    const FORMS: &'static [UsageForm] = &[
        UsageForm::Once,
        UsageForm::Twice,
        UsageForm::Null,
        UsageForm::Absent,
        UsageForm::Empty,
        UsageForm::TopLevel,
    ];
    const TORN: &'static [u8] = br#"{"type":"response.output_text.delta","delta":"cut of"#;
    const LOAD: stamp::Form = stamp::OPENAI;

    fn serves(path: &str) -> bool {
        ["/realtime", "/echo", "/realtime/session"].iter().any(|end| path.ends_with(end))
    }

    fn open(shard: &Shard, request: &Request, _: Credential, sim: &Sim) -> Opening<OpenAi> {
        let front = Front::of(request);
        let offered = request.header("sec-websocket-protocol").unwrap_or_default();
        let asks_beta = request.header("openai-beta") == Some("realtime=v1")
            || offered.contains("openai-beta.realtime-v1");
        let beta = front.is_beta()
            || request.parameter("dialect").as_deref() == Some("beta")
            || (shard.options.beta && asks_beta);
        let names = if beta { Names::Beta } else { Names::Ga };
        let purpose = match request.parameter("intent").as_deref() {
            Some("transcription") => Purpose::Transcription,
            _ => Purpose::Conversation,
        };
        let model = sim.model.clone().or_else(|| request.parameter("model")).or_else(|| match purpose {
            Purpose::Conversation => Some("gpt-realtime".to_owned()),
            Purpose::Transcription => None,
        });
        let call = request.parameter("call_id");
        let index = shard.next_index(call.as_deref());
        let id = format!("sess_{:08x}{index:08x}", shard.options.seed as u32);
        let config = names.session(&id, model.as_deref(), unix_seconds() + SESSION_SECONDS, purpose);
        let state = RefCell::new(State { config, ..State::default() });
        let (is_of_call, dead_beta) = (call.is_some(), asks_beta && !beta);
        Opening { index, dialect: OpenAi { index, names, front, is_of_call, dead_beta, state } }
    }

    fn greet(session: &Rc<Session<OpenAi>>) {
        session.opened(&session.model());
        match session.dialect.dead_beta {
            true => session.refuse_beta(),
            false => {
                session.tell_config("session.created");
                session.tell_conversation();
            }
        }
    }

    fn hear(session: &Rc<Session<OpenAi>>, event: &Value) {
        session.handle(event);
    }

    fn hear_no_json(session: &Session<OpenAi>, error: &serde_json::Error) {
        session.error("invalid_json", &format!("The event is not JSON: {error}"), None);
    }

    fn begin(session: &Session<OpenAi>, response: &Response<OpenAi>) {
        response::begin(session, response);
    }

    fn before_chunks(session: &Session<OpenAi>, response: &Response<OpenAi>) {
        response::before_chunks(session, response);
    }

    fn chunk(session: &Session<OpenAi>, response: &Response<OpenAi>) {
        response::chunk(session, response);
    }

    fn after_chunks(session: &Session<OpenAi>, response: &Response<OpenAi>) {
        response::after_chunks(session, response);
    }

    fn finish(session: &Session<OpenAi>, response: &Response<OpenAi>) {
        response::finish(session, response);
    }

    fn tellable(session: &Session<OpenAi>, usage: Usage) -> Usage {
        session.dialect.front.usage_names(session.dialect.names).tellable(usage)
    }

    fn booking(session: &Session<OpenAi>, response: &Response<OpenAi>) -> Option<Booking> {
        Some(response::booking(session, response))
    }

    fn giant(session: &Session<OpenAi>, response: Option<&Response<OpenAi>>, bytes: usize) -> Vec<u8> {
        let kind = "response.output_audio.delta";
        let mut body = json!({"response_id": response.map(|response| &response.reply.id),
            "item_id": "item_giant", "output_index": 0, "content_index": 0, "delta": ""});
        let around = event::write(kind, &session.event_id(0), false, &body).len();
        body["delta"] = "A".repeat(bytes.saturating_sub(around) / 4 * 4).into();
        let sim = response.map_or(&session.sim, |response| &response.sim);
        session.event(sim, kind, &body).unwrap_or_default()
    }
}

impl Callable for OpenAi {
    fn call_id(session: &Session<OpenAi>) -> String {
        session.id().replacen("sess", "rtc", 1)
    }

    fn set_up(session: &Rc<Session<OpenAi>>, config: &Value) {
        let of_sim = session.sim.model.as_ref().map(|model| json!({"model": model}));
        for change in [Some(config.clone()), of_sim].into_iter().flatten().filter(Value::is_object) {
            event::merge(&mut session.dialect.state.borrow_mut().config, &change);
        }
        OpenAi::greet(session);
    }

    fn hear_sound(session: &Rc<Session<OpenAi>>, ms: u64) {
        let format = session.dialect.names.format_in(&session.dialect.state.borrow().config);
        session.hear_audio(audio_bytes(&format, ms));
    }

    fn played(session: &Session<OpenAi>, response_id: &str) {
        session.say("output_audio_buffer.stopped", json!({"response_id": response_id}));
    }
}

impl Session<OpenAi> {
    fn tell_config(&self, kind: &'static str) {
        let mut config = self.dialect.state.borrow().config.clone();
        if let Some(config) = config.as_object_mut().filter(|_| self.sim.nameless) {
            config.remove("model");
        }
        self.say(kind, json!({"session": config}));
    }

    fn refuse_beta(&self) {
        let code = "beta_api_shape_disabled";
        self.error(code, "The Realtime beta API shape is no longer supported.", None);
        self.close(4000, "invalid_request_error.beta_api_shape_disabled");
    }

    fn handle(self: &Rc<Session<OpenAi>>, event: &Value) {
        let event_id = event["event_id"].as_str();
        match event["type"].as_str().unwrap_or_default() {
            "session.update" | "transcription_session.update" => self.update(&event["session"]),
            "conversation.item.create" => {
                self.bill_item(&event["item"]);
                self.add_item(event["item"].clone(), event["previous_item_id"].as_str());
            }
            "conversation.item.delete" => self.delete_item(event["item_id"].as_str().unwrap_or_default()),
            "conversation.item.retrieve" => self.retrieve_item(&event["item_id"], event_id),
            "conversation.item.truncate" => self.say(
                "conversation.item.truncated",
                json!({"item_id": event["item_id"], "content_index": event["content_index"],
                    "audio_end_ms": event["audio_end_ms"]}),
            ),
            "input_audio_buffer.append" => self.append(event["audio"].as_str().unwrap_or_default()),
            "input_audio_buffer.commit" => self.commit_audio(event_id),
            "input_audio_buffer.clear" => {
                self.dialect.state.borrow_mut().buffered_bytes = 0;
                self.say("input_audio_buffer.cleared", json!({}));
            }
            "output_audio_buffer.clear" => {
                for response_id in self.wire().map(Wire::hush).unwrap_or_default() {
                    self.say("output_audio_buffer.cleared", json!({"response_id": response_id}));
                }
            }
            "response.create" => self.create_response(&event["response"], event_id),
            "response.cancel" => self.cancel(event["response_id"].as_str(), event_id),
            kind => {
                let message = format!("Invalid value: '{kind}'. Supported values are documented.");
                self.error("invalid_value", &message, event_id);
            }
        }
    }

    fn update(&self, change: &Value) {
        event::merge(&mut self.dialect.state.borrow_mut().config, change);
        self.tell_config("session.updated");
    }

    /// Adds an item to the conversation and tells it; returns its id.
    fn add_item(&self, mut item: Value, after: Option<&str>) -> String {
        let id = item["id"].as_str().map_or_else(|| self.next_item_id(), str::to_owned);
        if item.is_object() {
            item["id"] = id.as_str().into();
            item["object"] = "realtime.item".into();
            item["status"] = "completed".into();
        }
        let previous = after.map(str::to_owned).or_else(|| self.last_item_id());
        let parts = || item["content"].as_array().into_iter().flatten();
        let images = parts().filter(|part| part["type"] == "input_image").count();
        let texts: String = parts().filter_map(|part| part["text"].as_str()).collect();
        {
            let mut conversation = self.conversation.borrow_mut();
            conversation.read_text(&texts);
            conversation.images += images as u64;
        }
        self.dialect.state.borrow_mut().items.push(item.clone());
        let body = json!({"previous_item_id": previous, "item": item});
        self.say("conversation.item.added", body.clone());
        self.say("conversation.item.done", body);
        id
    }

    fn delete_item(&self, id: &str) {
        self.dialect.state.borrow_mut().items.retain(|item| item["id"] != id);
        self.say("conversation.item.deleted", json!({"item_id": id}));
    }

    fn retrieve_item(&self, id: &Value, event_id: Option<&str>) {
        let item = self.dialect.state.borrow().items.iter().find(|item| item["id"] == *id).cloned();
        match item {
            Some(item) => self.say("conversation.item.retrieved", json!({"item": item})),
            None => self.error("item_not_found", "There is no such item.", event_id),
        }
    }

    fn append(self: &Rc<Session<OpenAi>>, audio: &str) {
        let padding = audio.bytes().rev().take_while(|&byte| byte == b'=').count();
        self.hear_audio((audio.len() / 4 * 3).saturating_sub(padding) as u64);
    }

    /// So much more is in the input buffer.
    fn hear_audio(self: &Rc<Session<OpenAi>>, bytes: u64) {
        let heard_ms = {
            let mut state = self.dialect.state.borrow_mut();
            state.buffered_bytes += bytes;
            audio_ms(&self.dialect.names.format_in(&state.config), state.buffered_bytes)
        };
        if self.sim.vad_ms.is_some_and(|vad_ms| heard_ms >= vad_ms) {
            let item_id = self.next_item_id();
            self.say("input_audio_buffer.speech_started", json!({"audio_start_ms": 0, "item_id": item_id}));
            self.say(
                "input_audio_buffer.speech_stopped",
                json!({"audio_end_ms": heard_ms, "item_id": item_id}),
            );
            self.commit_audio(None);
            self.create_response(&Value::Null, None);
        }
    }

    fn commit_audio(&self, event_id: Option<&str>) {
        let (audio_in_ms, transcribe) = {
            let mut state = self.dialect.state.borrow_mut();
            let bytes = std::mem::take(&mut state.buffered_bytes);
            let audio_in_ms = audio_ms(&self.dialect.names.format_in(&state.config), bytes);
            (audio_in_ms, self.dialect.names.transcription_model(&state.config))
        };
        self.conversation.borrow_mut().hear(audio_in_ms);
        if audio_in_ms == 0 {
            let message = "Error committing input audio buffer: the buffer is empty.";
            return self.error("input_audio_buffer_commit_empty", message, event_id);
        }
        let item_id = self.next_item_id();
        let previous = self.last_item_id();
        self.say("input_audio_buffer.committed", json!({"previous_item_id": previous, "item_id": item_id}));
        self.add_item(
            json!({"id": item_id, "type": "message", "role": "user",
                "content": [{"type": "input_audio", "transcript": null}]}),
            None,
        );
        if let Some(model) = transcribe {
            self.transcribe(&model, &item_id, audio_in_ms);
        }
    }

    fn transcribe(&self, model: &str, item_id: &str, audio_in_ms: u64) {
        let turn = {
            let mut state = self.dialect.state.borrow_mut();
            state.transcriptions += 1;
            Turn { seed: self.shard.options.seed, session: self.dialect.index, turn: state.transcriptions }
        };
        let usage = turn.transcription(model, audio_in_ms);
        let place = json!({"item_id": item_id, "content_index": 0});
        if !self.dialect.front.bills_transcriptions() {
            let kind = "conversation.item.input_audio_transcription.completed";
            return self.say(kind, event::with(place, "transcript", "hello".into()));
        }
        let kind = "conversation.item.input_audio_transcription.delta";
        self.say(kind, event::with(place.clone(), "delta", "hello".into()));
        let mut body = event::with(place, "transcript", "hello".into());
        body["usage"] = event::transcription_usage(&usage);
        let booking = Booking {
            key: self.key.clone(),
            model: model.to_owned(),
            delivered: Fact::Transcription(usage),
            lost: Fact::Undelivered(usage),
            once: self.dialect.is_of_call.then(|| item_id.to_owned()),
        };
        let kind = "conversation.item.input_audio_transcription.completed";
        self.say_and_book(&self.sim, kind, &body, booking);
    }

    fn create_response(self: &Rc<Session<OpenAi>>, request: &Value, event_id: Option<&str>) {
        let in_conversation = request["conversation"] != "none";
        let busy = self.active.borrow().iter().any(|response| response.reply.in_conversation);
        if in_conversation && busy {
            let message = "Conversation already has an active response.";
            return self.error("conversation_already_has_active_response", message, event_id);
        }
        let words = request["metadata"]["sim"].as_str().unwrap_or_default();
        let sim = match self.sim_with(words) {
            Ok(sim) => sim,
            Err(error) => return self.error("sim", &error, event_id),
        };
        self.respond(sim, |sim, asked| response::new(self, request, in_conversation, sim, asked));
    }

    fn cancel(&self, id: Option<&str>, event_id: Option<&str>) {
        let wanted = |response: &&Rc<Response<OpenAi>>| match id {
            Some(id) => response.reply.id == id,
            None => response.reply.in_conversation,
        };
        let found = self.active.borrow().iter().find(wanted).cloned();
        match found {
            Some(response) => response.cancel(),
            None => self.error(
                "response_cancel_not_active",
                "Cancellation failed: no active response found",
                event_id,
            ),
        }
    }

    /// The model that a response is billed at.
    fn model(&self) -> String {
        let state = self.dialect.state.borrow();
        let transcription = self.dialect.names.transcription_model(&state.config);
        state.config["model"].as_str().map(str::to_owned).or(transcription).unwrap_or_else(|| "-".to_owned())
    }

    fn next_item_id(&self) -> String {
        let mut state = self.dialect.state.borrow_mut();
        state.item_count += 1;
        format!("item_{:08x}{:06x}", self.dialect.index, state.item_count)
    }

    fn last_item_id(&self) -> Option<String> {
        let state = self.dialect.state.borrow();
        state.items.last().and_then(|item| item["id"].as_str()).map(str::to_owned)
    }

    fn say(&self, kind: &'static str, body: Value) {
        self.emit(&self.sim, kind, body);
    }

    fn error(&self, code: &str, message: &str, event_id: Option<&str>) {
        let error = json!({"type": "invalid_request_error", "code": code, "message": message, "param": null,
            "event_id": event_id});
        self.say("error", json!({"error": error}));
    }

    /// Sends an event in the session's names and in the shape that `sim` asks for.
    fn emit(&self, sim: &Sim, kind: &'static str, body: Value) {
        if let Some(event) = self.event(sim, kind, &body) {
            self.send(sim, &event);
        }
    }

    /// As [`Session::emit`]; the audit learns what became of it.
    fn say_and_book(&self, sim: &Sim, kind: &'static str, body: &Value, booking: Booking) {
        match self.event(sim, kind, body) {
            Some(event) => self.book(sim, &event, booking),
            None => self.count(&booking, booking.lost),
        }
    }

    /// An event in the session's names; `None` where these have none.
    fn event(&self, sim: &Sim, kind: &'static str, body: &Value) -> Option<Vec<u8>> {
        let kind = self.dialect.names.spell(kind)?;
        let number = {
            let mut state = self.dialect.state.borrow_mut();
            state.events += 1;
            state.events
        };
        Some(event::write(kind, &self.event_id(number), sim.type_last, body))
    }

    /// All of one length.
    fn event_id(&self, number: u64) -> String {
        format!("event_{:08x}{number:08x}", self.dialect.index)
    }
}

fn unix_seconds() -> u64 {
    clock::now().0 / SECOND_MS
}
