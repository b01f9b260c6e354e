//! One simulated realtime session: greets, hears, answers client events, and hands responses to `response`.
//!
//! Start at [`run`].

use super::audit::Fact;
use super::event::{self, Names, Purpose};
use super::formula::{Turn, audio_ms};
use super::response::{self, Response};
use super::sim::{Base, Fault, Odd, Point, Sim};
use super::{Shard, load};
use crate::clock;
use crate::link::{Bytes, Delivery, HangUp, Outbox};
use crate::ws::{self, BINARY, CLOSE, CONTINUATION, End, FIN, Header, Inbound, PING, PONG, TEXT};
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::io;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::Duration;
use tokenist_core::time::SECOND_MS;
use tokenist_core::usage::Usage;

/// The bytes that may wait for the socket before a response pauses.
pub(super) const QUEUED_BYTES: usize = 1 << 20;
/// How long a peer may take to answer our close.
const CLOSE_WAIT: Duration = Duration::from_secs(5);
const SESSION_SECONDS: u64 = 3_600;

/// What the handshake settled.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) index: u64,
    pub(super) model: Option<String>,
    pub(super) names: Names,
    pub(super) purpose: Purpose,
    pub(super) sim: Sim,
    /// What the audit counts this session under, unless a response says otherwise.
    pub(super) key: String,
    /// It is one of those that are attached to a call: asked for the same, each sees the same.
    pub(super) is_of_call: bool,
    /// The handshake asked for the beta, which the provider no longer speaks.
    pub(super) dead_beta: bool,
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) shard: Rc<Shard>,
    pub(super) outbox: Rc<Outbox>,
    pub(super) opening: Opening,
    pub(super) id: String,
    pub(super) state: RefCell<State>,
    /// A close frame has been sent: nothing may follow it.
    closing: Cell<bool>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// The session object as `session.updated` tells it.
    pub(super) config: Value,
    pub(super) items: Vec<Value>,
    pub(super) images: u64,
    /// Audio that was committed and not yet answered.
    pub(super) heard_ms: u64,
    pub(super) context: Context,
    pub(super) active: Vec<Rc<Response>>,
    pub(super) responses: u64,
    transcriptions: u64,
    /// Audio in the input buffer.
    buffered_bytes: u64,
    events: u64,
    item_count: u64,
}

/// What was sent and said in a session so far, in tokens, and what its last response read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Context {
    pub(super) text: u64,
    pub(super) audio: u64,
    pub(super) read: Option<(u64, u64)>,
}

impl Context {
    /// What a response reads that begins now.
    pub(super) fn read(&mut self, base: Base) -> Usage {
        let (text_in, audio_in) = (base.text + self.text, base.audio + self.audio);
        let (cached_text, cached_audio) = self.read.replace((text_in, audio_in)).unwrap_or_default();
        Usage {
            text_in,
            audio_in,
            cached_text_in: cached_text * base.cached_percent / 100,
            cached_audio_in: cached_audio * base.cached_percent / 100,
            requests: 1,
            ..Usage::default()
        }
    }
}

/// What the audit counts for an event, once it has left whole and if it never does.
#[derive(Debug)]
pub(super) struct Booking {
    pub(super) key: String,
    pub(super) model: String,
    pub(super) delivered: Fact,
    pub(super) lost: Fact,
    /// What all sessions of a call see is counted once, under this.
    pub(super) once: Option<String>,
}

/// Runs a session to its end and returns the code that the peer closed it with.
pub(super) async fn run(
    shard: Rc<Shard>,
    outbox: Rc<Outbox>,
    inbound: &mut Inbound,
    opening: Opening,
) -> io::Result<u16> {
    let session = Rc::new(Session::open(shard, outbox, opening));
    if session.opening.dead_beta {
        session.refuse_beta();
    } else {
        session.greet();
    }
    if session.opening.sim.faults_at(Point::Greeting).count() > 0 {
        let greeting = session.clone();
        monoio::spawn(async move {
            let sim = greeting.opening.sim.clone();
            greeting.fail(&sim, Point::Greeting, None).await
        });
    }
    if session.opening.sim.ping_ms > 0 {
        monoio::spawn(session.clone().ping());
    }
    let load = session.opening.sim.load;
    let close_code = match load {
        Some(load) => load::run(&session.shard, load, inbound, &session.outbox).await,
        None => session.listen(inbound).await,
    };
    session.closing.set(true);
    session.state.borrow().active.iter().for_each(|response| response.cancel());
    session.shard.audit().closed(&session.id, *close_code.as_ref().unwrap_or(&1006));
    close_code
}

impl Session {
    fn open(shard: Rc<Shard>, outbox: Rc<Outbox>, opening: Opening) -> Session {
        let id = format!("sess_{:08x}{:08x}", shard.options.seed as u32, opening.index);
        let expires_at = unix_seconds() + SESSION_SECONDS;
        let config = opening.names.session(&id, opening.model.as_deref(), expires_at, opening.purpose);
        let state = RefCell::new(State { config, ..State::default() });
        let session = Session { shard, outbox, opening, id, state, closing: Cell::new(false) };
        session.shard.audit().opened(&session.id, &session.opening.key, &session.model());
        session
    }

    fn greet(&self) {
        self.tell_config("session.created");
    }

    fn tell_config(&self, kind: &'static str) {
        let mut config = self.state.borrow().config.clone();
        if let Some(config) = config.as_object_mut().filter(|_| self.opening.sim.nameless) {
            config.remove("model");
        }
        self.say(kind, json!({"session": config}));
    }

    fn refuse_beta(&self) {
        let code = "beta_api_shape_disabled";
        self.error(code, "The Realtime beta API shape is no longer supported.", None);
        self.close(4000, "invalid_request_error.beta_api_shape_disabled");
    }

    /// Reads client events until the peer closes or is gone.
    async fn listen(self: &Rc<Session>, inbound: &mut Inbound) -> io::Result<u16> {
        while let Some(message) = inbound.message().await? {
            match message.opcode {
                TEXT | BINARY if self.closing.get() => {}
                TEXT | BINARY => match serde_json::from_slice::<Value>(message.payload) {
                    Ok(event) => self.handle(&event),
                    Err(error) => {
                        self.error("invalid_json", &format!("The event is not JSON: {error}"), None)
                    }
                },
                PING => self.control(PONG, message.payload),
                CLOSE => {
                    if !self.closing.replace(true) {
                        let mut frame = Vec::new();
                        End::Server.frame(FIN | CLOSE, message.payload, &mut frame);
                        self.outbox.put(Bytes::Owned(frame));
                    }
                    return Ok(message.close_reason().0);
                }
                _ => {}
            }
        }
        Ok(1006)
    }

    fn handle(self: &Rc<Session>, event: &Value) {
        let event_id = event["event_id"].as_str();
        match event["type"].as_str().unwrap_or_default() {
            "session.update" | "transcription_session.update" => self.update(&event["session"]),
            "conversation.item.create" => {
                self.add_item(event["item"].clone(), event["previous_item_id"].as_str());
            }
            "conversation.item.delete" => self.delete_item(event["item_id"].as_str().unwrap_or_default()),
            "conversation.item.retrieve" => {
                let id = &event["item_id"];
                let item = self.state.borrow().items.iter().find(|item| item["id"] == *id).cloned();
                match item {
                    Some(item) => self.say("conversation.item.retrieved", json!({"item": item})),
                    None => self.error("item_not_found", "There is no such item.", event_id),
                }
            }
            "conversation.item.truncate" => self.say(
                "conversation.item.truncated",
                json!({"item_id": event["item_id"], "content_index": event["content_index"],
                    "audio_end_ms": event["audio_end_ms"]}),
            ),
            "input_audio_buffer.append" => self.append(event["audio"].as_str().unwrap_or_default()),
            "input_audio_buffer.commit" => self.commit(event_id),
            "input_audio_buffer.clear" => {
                self.state.borrow_mut().buffered_bytes = 0;
                self.say("input_audio_buffer.cleared", json!({}));
            }
            "output_audio_buffer.clear" => {}
            "response.create" => self.create_response(&event["response"], event_id),
            "response.cancel" => self.cancel(event["response_id"].as_str(), event_id),
            kind => {
                let message = format!("Invalid value: '{kind}'. Supported values are documented.");
                self.error("invalid_value", &message, event_id);
            }
        }
    }

    fn update(&self, change: &Value) {
        event::merge(&mut self.state.borrow_mut().config, change);
        self.tell_config("session.updated");
    }

    /// Adds an item to the conversation and tells it; returns its id.
    pub(super) fn add_item(&self, mut item: Value, after: Option<&str>) -> String {
        let id = item["id"].as_str().map_or_else(|| self.next_item_id(), str::to_owned);
        if item.is_object() {
            item["id"] = id.as_str().into();
            item["object"] = "realtime.item".into();
            item["status"] = "completed".into();
        }
        let previous = after.map(str::to_owned).or_else(|| self.last_item_id());
        let images =
            item["content"].as_array().into_iter().flatten().filter(|part| part["type"] == "input_image");
        let texts = item["content"].as_array().into_iter().flatten().filter_map(|part| part["text"].as_str());
        let text_bytes: usize = texts.map(str::len).sum();
        self.state.borrow_mut().context.text += (text_bytes as u64).div_ceil(4);
        self.state.borrow_mut().images += images.count() as u64;
        self.state.borrow_mut().items.push(item.clone());
        let body = json!({"previous_item_id": previous, "item": item});
        self.say("conversation.item.added", body.clone());
        self.say("conversation.item.done", body);
        id
    }

    fn delete_item(&self, id: &str) {
        self.state.borrow_mut().items.retain(|item| item["id"] != id);
        self.say("conversation.item.deleted", json!({"item_id": id}));
    }

    fn append(self: &Rc<Session>, audio: &str) {
        let padding = audio.bytes().rev().take_while(|&byte| byte == b'=').count();
        let format = self.opening.names.format_in(&self.state.borrow().config);
        let heard_ms = {
            let mut state = self.state.borrow_mut();
            state.buffered_bytes += (audio.len() / 4 * 3).saturating_sub(padding) as u64;
            audio_ms(&format, state.buffered_bytes)
        };
        if self.opening.sim.vad_ms.is_some_and(|vad_ms| heard_ms >= vad_ms) {
            let item_id = self.next_item_id();
            self.say("input_audio_buffer.speech_started", json!({"audio_start_ms": 0, "item_id": item_id}));
            self.say(
                "input_audio_buffer.speech_stopped",
                json!({"audio_end_ms": heard_ms, "item_id": item_id}),
            );
            self.commit(None);
            self.create_response(&Value::Null, None);
        }
    }

    fn commit(&self, event_id: Option<&str>) {
        let (audio_in_ms, transcribe) = {
            let mut state = self.state.borrow_mut();
            let bytes = std::mem::take(&mut state.buffered_bytes);
            let audio_in_ms = audio_ms(&self.opening.names.format_in(&state.config), bytes);
            state.heard_ms += audio_in_ms;
            state.context.audio += audio_in_ms.div_ceil(100);
            (audio_in_ms, self.opening.names.transcription_model(&state.config))
        };
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
            let mut state = self.state.borrow_mut();
            state.transcriptions += 1;
            state.transcriptions
        };
        let usage = self.turn(turn).transcription(model, audio_in_ms);
        let told = match usage.duration_ms {
            0 => json!({"type": "tokens", "total_tokens": usage.total_tokens(),
                "input_tokens": usage.audio_in, "output_tokens": usage.text_out,
                "input_token_details": {"text_tokens": 0, "audio_tokens": usage.audio_in}}),
            ms => json!({"type": "duration", "seconds": ms as f64 / 1_000.0}),
        };
        let place = json!({"item_id": item_id, "content_index": 0});
        let with = |key: &str, value: Value| {
            let mut body = place.clone();
            body[key] = value;
            body
        };
        self.say("conversation.item.input_audio_transcription.delta", with("delta", "hello".into()));
        let mut body = with("transcript", "hello".into());
        body["usage"] = told;
        let booking = Booking {
            key: self.opening.key.clone(),
            model: model.to_owned(),
            delivered: Fact::Transcription(usage),
            lost: Fact::Undelivered(usage),
            once: self.opening.is_of_call.then(|| item_id.to_owned()),
        };
        let kind = "conversation.item.input_audio_transcription.completed";
        self.book(&self.opening.sim, kind, body, booking);
    }

    fn create_response(self: &Rc<Session>, request: &Value, event_id: Option<&str>) {
        let in_conversation = request["conversation"] != "none";
        let busy = self.state.borrow().active.iter().any(|response| response.in_conversation);
        if in_conversation && busy {
            let message = "Conversation already has an active response.";
            return self.error("conversation_already_has_active_response", message, event_id);
        }
        let words = request["metadata"]["sim"].as_str().unwrap_or_default();
        let sim = match self.opening.sim.with(words) {
            Ok(sim) => sim,
            Err(error) => return self.error("sim", &error, event_id),
        };
        let response = Rc::new(Response::new(self, request, sim, in_conversation));
        self.state.borrow_mut().active.push(response.clone());
        monoio::spawn(response::run(self.clone(), response));
    }

    fn cancel(&self, id: Option<&str>, event_id: Option<&str>) {
        let state = self.state.borrow();
        let wanted = |response: &&Rc<Response>| match id {
            Some(id) => response.id == id,
            None => response.in_conversation,
        };
        match state.active.iter().find(wanted).cloned() {
            Some(response) => response.cancel(),
            None => {
                drop(state);
                self.error(
                    "response_cancel_not_active",
                    "Cancellation failed: no active response found",
                    event_id,
                );
            }
        }
    }

    /// The model that a response is billed at.
    pub(super) fn model(&self) -> String {
        let state = self.state.borrow();
        let transcription = self.opening.names.transcription_model(&state.config);
        state.config["model"].as_str().map(str::to_owned).or(transcription).unwrap_or_else(|| "-".to_owned())
    }

    pub(super) fn turn(&self, turn: u64) -> Turn {
        Turn { seed: self.shard.options.seed, session: self.opening.index, turn }
    }

    pub(super) fn next_item_id(&self) -> String {
        let mut state = self.state.borrow_mut();
        state.item_count += 1;
        format!("item_{:08x}{:06x}", self.opening.index, state.item_count)
    }

    pub(super) fn last_item_id(&self) -> Option<String> {
        self.state.borrow().items.last().and_then(|item| item["id"].as_str()).map(str::to_owned)
    }

    pub(super) fn say(&self, kind: &'static str, body: Value) {
        self.emit(&self.opening.sim, kind, body);
    }

    fn error(&self, code: &str, message: &str, event_id: Option<&str>) {
        let error = json!({"type": "invalid_request_error", "code": code, "message": message, "param": null,
            "event_id": event_id});
        self.say("error", json!({"error": error}));
    }

    /// Sends an event in the session's dialect and in the shape that `sim` asks for.
    pub(super) fn emit(&self, sim: &Sim, kind: &'static str, body: Value) {
        if let Some(frames) = self.frames(sim, kind, &body) {
            self.outbox.put_with(Bytes::Owned(frames), sim.split_bytes, None);
        }
    }

    /// As [`Session::emit`]; the audit learns what became of it.
    pub(super) fn book(&self, sim: &Sim, kind: &'static str, body: Value, booking: Booking) {
        let Some(frames) = self.frames(sim, kind, &body) else {
            return self.count(&booking, booking.lost);
        };
        let (shard, id) = (self.shard.clone(), self.id.clone());
        let receipt = Box::new(move |delivery| {
            let fact = match delivery {
                Delivery::Whole => booking.delivered,
                Delivery::Lost => booking.lost,
            };
            shard.audit().count_booking(&id, &booking, fact);
        });
        self.outbox.put_with(Bytes::Owned(frames), sim.split_bytes, Some(receipt));
    }

    pub(super) fn count(&self, booking: &Booking, fact: Fact) {
        self.shard.audit().count_booking(&self.id, booking, fact);
    }

    fn frames(&self, sim: &Sim, kind: &'static str, body: &Value) -> Option<Vec<u8>> {
        if self.closing.get() {
            return None;
        }
        let kind = self.opening.names.spell(kind)?;
        Some(frame_up(sim, &event::write(kind, &self.next_event_id(), sim.type_last, body)))
    }

    fn next_event_id(&self) -> String {
        let number = {
            let mut state = self.state.borrow_mut();
            state.events += 1;
            state.events
        };
        self.event_id(number)
    }

    /// All of one length.
    fn event_id(&self, number: u64) -> String {
        format!("event_{:08x}{number:08x}", self.opening.index)
    }

    fn control(&self, opcode: u8, payload: &[u8]) {
        if self.closing.get() {
            return;
        }
        let mut frame = Vec::new();
        End::Server.frame(FIN | opcode, payload, &mut frame);
        self.outbox.put(Bytes::Owned(frame));
    }

    pub(super) fn close(&self, code: u16, reason: &str) {
        self.control(CLOSE, &ws::close_payload(code, reason));
        self.closing.set(true);
        let outbox = self.outbox.clone();
        monoio::spawn(async move {
            monoio::time::sleep(CLOSE_WAIT).await;
            outbox.hang_up(HangUp::Fin);
        });
    }

    async fn ping(self: Rc<Session>) {
        let period = Duration::from_millis(self.opening.sim.ping_ms);
        while self.outbox.is_open() && !self.closing.get() {
            monoio::time::sleep(period).await;
            self.control(PING, b"tokload");
        }
    }

    /// Commits the faults that are due at `point`; a break says that nothing may follow.
    pub(super) async fn fail(&self, sim: &Sim, point: Point, response: Option<&Response>) -> ControlFlow<()> {
        for fault in sim.faults_at(point) {
            match fault {
                Fault::Die => {
                    self.outbox.hang_up(HangUp::Fin);
                    return ControlFlow::Break(());
                }
                Fault::Reset => {
                    self.outbox.hang_up(HangUp::Reset);
                    return ControlFlow::Break(());
                }
                Fault::Stall => self.idle_until_cancelled(response).await,
                Fault::Runaway => {
                    while response.is_some_and(|response| !response.cancelled())
                        && self.outbox.room(QUEUED_BYTES).await
                        && !self.closing.get()
                    {
                        response::chunk(self, sim, response.expect("checked above")).await;
                    }
                }
                Fault::Close(code, reason) => {
                    self.close(*code, reason);
                    return ControlFlow::Break(());
                }
                Fault::Giant(bytes) => {
                    let body = json!({"response_id": response.map(|response| &response.id), "item_id": "item_giant",
                        "output_index": 0, "content_index": 0, "delta": ""});
                    let around =
                        event::write("response.output_audio.delta", &self.event_id(0), false, &body).len();
                    let mut body = body;
                    body["delta"] = "A".repeat(bytes.saturating_sub(around) / 4 * 4).into();
                    self.emit(sim, "response.output_audio.delta", body);
                }
                Fault::GiantHeader(bytes) => {
                    let mut header = Vec::new();
                    Header::write(FIN | TEXT, None, *bytes, &mut header);
                    self.outbox.put(Bytes::Owned(header));
                    self.closing.set(true);
                    self.idle_until_cancelled(response).await;
                    return ControlFlow::Break(());
                }
                Fault::InvalidJson => {
                    let text = br#"{"type":"response.output_text.delta","delta":"cut of"#;
                    self.outbox.put_with(Bytes::Owned(frame_up(sim, text)), sim.split_bytes, None);
                }
                Fault::Odd(odd) => self.outbox.put(Bytes::Owned(odd_frame(*odd))),
            }
        }
        ControlFlow::Continue(())
    }

    async fn idle_until_cancelled(&self, response: Option<&Response>) {
        while self.outbox.is_open() && response.is_none_or(|response| !response.cancelled()) {
            monoio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// One message in the frames that `sim` asks for.
fn frame_up(sim: &Sim, payload: &[u8]) -> Vec<u8> {
    let opcode = if sim.binary { BINARY } else { TEXT };
    let mut frames = Vec::with_capacity(payload.len() + 14);
    if sim.fragment_bytes == 0 || payload.len() <= sim.fragment_bytes {
        End::Server.frame(FIN | opcode, payload, &mut frames);
        return frames;
    }
    let count = payload.len().div_ceil(sim.fragment_bytes);
    for (index, fragment) in payload.chunks(sim.fragment_bytes).enumerate() {
        let opcode = if index == 0 { opcode } else { CONTINUATION };
        let fin = if index + 1 == count { FIN } else { 0 };
        End::Server.frame(fin | opcode, fragment, &mut frames);
        if fin == 0 {
            End::Server.frame(FIN | PING, b"between", &mut frames);
        }
    }
    frames
}

fn odd_frame(odd: Odd) -> Vec<u8> {
    let text = br#"{"type":"odd"}"#;
    let mut frame = Vec::new();
    match odd {
        Odd::Masked => End::Client.frame(FIN | TEXT, text, &mut frame),
        Odd::Rsv1 => End::Server.frame(FIN | 0x40 | TEXT, text, &mut frame),
        Odd::Opcode => End::Server.frame(FIN | 0x3, text, &mut frame),
        Odd::LongPing => End::Server.frame(FIN | PING, &[b'p'; 126], &mut frame),
        Odd::SplitPing => End::Server.frame(PING, b"p", &mut frame),
        Odd::BadClose => End::Server.frame(FIN | CLOSE, &[3], &mut frame),
        Odd::BadUtf8 => End::Server.frame(FIN | TEXT, b"{\"type\":\"\xff\xfe\"}", &mut frame),
    }
    frame
}

fn unix_seconds() -> u64 {
    clock::now().0 / SECOND_MS
}
