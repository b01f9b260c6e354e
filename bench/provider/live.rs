//! GPT-Live: a session whose seconds are stated as a running total, and that delegates what is asked to Responses.
//!
//! Its seconds are those of the sound that it has heard, so that whoever knows what was sent can recompute them.

use super::Shard;
use super::audit::{Booking, Fact};
use super::formula::{audio_bytes, audio_ms};
use super::numbered::Numbered;
use super::refusal::Credential;
use super::responses::{self, Responses};
use super::session::response::{self as course, Response, WORDS};
use super::session::{Callable, Dialect, Opening, Session};
use super::sim::{Sim, UsageForm};
use crate::http::Request;
use crate::stamp;
use crate::ws::TEXT;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use tokenist_core::usage::Usage;

/// A call is billed so long when it begins, and from then on what it is longer.
const CALL_MS: u64 = 15_000;

/// What answers where the client names no other.
const DELEGATE: &str = "gpt-6-luna";

#[derive(Debug)]
pub(super) struct Live {
    models: RefCell<Models>,
    heard_bytes: Cell<u64>,
    /// Of them, those that came before the last answer.
    answered_bytes: Cell<u64>,
    /// Of its seconds, in milliseconds.
    told_ms: Cell<u64>,
    /// Of a call, how much of sound it has said.
    said_ms: Cell<u64>,
    events: Cell<u64>,
}

#[derive(Debug, Default)]
struct Models {
    session: String,
    delegate: String,
}

#[derive(Debug)]
pub(super) struct Reply {
    id: String,
}

impl Dialect for Live {
    type Reply = Reply;

    const OPCODE: u8 = TEXT;
    const FORMS: &'static [UsageForm] = Responses::FORMS;
    const TORN: &'static [u8] = br#"{"type":"session.output_transcript.delta","delta":"cut of"#;
    const LOAD: stamp::Form = stamp::OPENAI;

    fn serves(path: &str) -> bool {
        path.ends_with("/live/sessions")
    }

    fn open(shard: &Shard, _: &Request, _: Credential, _: &Sim) -> Opening<Live> {
        let dialect = Live {
            models: RefCell::default(),
            heard_bytes: Cell::default(),
            answered_bytes: Cell::default(),
            told_ms: Cell::default(),
            said_ms: Cell::default(),
            events: Cell::default(),
        };
        Opening { index: shard.next_index(None), dialect }
    }

    /// The client begins.
    fn greet(_: &Rc<Session<Live>>) {}

    fn hear(session: &Rc<Session<Live>>, event: &Value) {
        match (event["type"].as_str().unwrap_or_default(), session.is_open()) {
            ("session.start", false) => session.start(&event["session"]),
            (_, false) => {
                session.tell_error("invalid_request", "The first event has to be session.start.");
                session.close(4000, "invalid_request_error.invalid_request");
            }
            ("session.input_audio.append", true) => {
                let audio = event["audio"].as_str().unwrap_or_default();
                session.hear_audio((audio.len() / 4 * 3) as u64);
            }
            ("response.create", true) => session.delegate(event),
            ("session.update", true) => session.tell_session("session.updated"),
            ("session.close", true) => session.say_goodbye(),
            (kind, true) => session.refuse_kind(kind),
        }
    }

    fn hear_no_json(session: &Session<Live>, error: &serde_json::Error) {
        session.refuse_no_json(error);
    }

    fn begin(session: &Session<Live>, response: &Response<Live>) {
        let (id, target) = (&response.reply.id, "responses");
        let delegation =
            json!({"id": format!("del_{id}"), "type": "delegation", "target": target, "response_id": id});
        let body = json!({"offset_ms": 0, "delegation": delegation});
        session.emit(&response.sim, "session.delegation.created", body);
        let created = session.delegated(response, "response.created", "in_progress", &Value::Null);
        session.emit(&response.sim, "response.event", created);
    }

    fn before_chunks(_: &Session<Live>, _: &Response<Live>) {}

    fn chunk(session: &Session<Live>, response: &Response<Live>) {
        let delta = |delta: &str| json!({"delta": delta});
        session.emit(&response.sim, "session.output_transcript.delta", delta(WORDS));
        match session.wire() {
            None => session.emit(&response.sim, "session.output_audio.delta", delta(&response.chunk)),
            Some(wire) => {
                let ms = audio_ms(&response.format, response.sim.chunk_bytes as u64);
                wire.play(&response.reply.id, ms);
                let start_ms = session.dialect.said_ms.get();
                session.dialect.said_ms.set(start_ms + ms);
                let body = json!({"delta": response.chunk, "start_ms": start_ms, "end_ms": start_ms + ms});
                wire.say_beside(Live::OPCODE, &session.event("session.output_audio.delta", body));
            }
        }
    }

    fn after_chunks(session: &Session<Live>, response: &Response<Live>) {
        session.wire().into_iter().for_each(|wire| wire.played(&response.reply.id));
    }

    fn finish(session: &Session<Live>, response: &Response<Live>) {
        let usage = response.usage(session);
        let told = match response.sim.usage {
            UsageForm::Null | UsageForm::Absent => Value::Null,
            UsageForm::Empty => json!({}),
            _ => responses::usage(&usage),
        };
        let over = session.delegated(response, "response.completed", "completed", &told);
        course::over(session, response);
        session.conversation.borrow_mut().say(&usage);
        if let Some(booking) = Live::booking(session, response) {
            session.book(&response.sim, &session.event("response.event", over.clone()), booking);
        }
        if response.sim.usage == UsageForm::Twice {
            session.emit(&response.sim, "response.event", over);
        }
        session.tell_seconds("session.usage.updated", json!({"context_window": {"usage_ratio": 0.01}}));
    }

    /// A call that was told of no seconds is billed for those that it began with.
    fn gone(session: &Session<Live>) {
        let is_untold = session.is_open() && session.dialect.told_ms.get() == 0;
        if session.wire().is_some() && is_untold {
            let usage = Usage { duration_ms: CALL_MS, requests: 1, ..Usage::default() };
            let model = session.dialect.models.borrow().session.clone();
            session.shard.audit().count(
                &session.id(),
                &session.key,
                &model,
                Fact::ResponseWithoutUsage(usage),
            );
        }
    }

    /// A delegated Response reads and writes text alone.
    fn tellable(_: &Session<Live>, usage: Usage) -> Usage {
        responses::of_text(usage)
    }

    fn booking(session: &Session<Live>, response: &Response<Live>) -> Option<Booking> {
        let usage = response.usage(session);
        Some(Booking {
            key: session.key.clone(),
            model: session.dialect.models.borrow().delegate.clone(),
            delivered: Fact::told_by(response.sim.usage, usage),
            lost: Fact::Undelivered(usage),
            once: None,
        })
    }

    fn giant(session: &Session<Live>, _: Option<&Response<Live>>, bytes: usize) -> Vec<u8> {
        session.event("session.output_audio.delta", json!({"delta": "A".repeat(bytes / 4 * 4)}))
    }
}

impl Callable for Live {
    fn call_id(session: &Session<Live>) -> String {
        session.id()
    }

    fn set_up(session: &Rc<Session<Live>>, config: &Value) {
        session.start(config);
    }

    /// What comes is told to who is attached, as it is heard.
    fn hear_sound(session: &Rc<Session<Live>>, ms: u64) {
        let bytes = audio_bytes("audio/pcm", ms);
        if let Some(wire) = session.wire().filter(|wire| wire.is_attended()) {
            let audio = STANDARD.encode(vec![0_u8; bytes as usize]);
            wire.say_beside(
                Live::OPCODE,
                &session.event("session.input_audio.append", json!({"audio": audio})),
            );
        }
        session.hear_audio(bytes);
    }
}

impl Session<Live> {
    fn start(&self, session: &Value) {
        let Some(model) = self.sim.model.as_deref().or(session["model"].as_str()) else {
            self.tell_error("missing_model", "The session has to name a model.");
            return self.close(4000, "invalid_request_error.missing_model");
        };
        let delegate = session["delegation"]["responses"]["model"].as_str().unwrap_or(DELEGATE);
        *self.dialect.models.borrow_mut() =
            Models { session: model.to_owned(), delegate: delegate.to_owned() };
        self.opened(model);
        self.tell_session("session.started");
    }

    fn tell_session(&self, kind: &str) {
        let model = &self.dialect.models.borrow().session;
        let told =
            json!({"id": self.id(), "model": model, "status": "active", "expires_at": 4_000_000_000_u64});
        self.tell(kind, told);
    }

    /// Hears, and answers by itself once it has heard enough, if it is one that does.
    fn hear_audio(self: &Rc<Session<Live>>, more_bytes: u64) {
        let Live { heard_bytes, answered_bytes, .. } = &self.dialect;
        let bytes = heard_bytes.get() + more_bytes;
        heard_bytes.set(bytes);
        let unanswered_ms = audio_ms("audio/pcm", bytes - answered_bytes.get());
        if self.sim.vad_ms.is_some_and(|vad_ms| unanswered_ms >= vad_ms) {
            answered_bytes.set(bytes);
            self.delegate(&Value::Null);
        }
    }

    fn delegate(self: &Rc<Session<Live>>, event: &Value) {
        let words = event["response"]["metadata"]["sim"].as_str().unwrap_or_default();
        let sim = match self.sim_with(words) {
            Ok(sim) => sim,
            Err(error) => return self.tell_error("sim", &error),
        };
        self.respond(sim, |sim, asked| {
            let id = sim.response_id(asked.turn);
            Response::new(sim, asked, true, "audio/pcm".to_owned(), Reply { id })
        });
    }

    fn delegated(&self, response: &Response<Live>, kind: &str, status: &str, usage: &Value) -> Value {
        let model = &self.dialect.models.borrow().delegate;
        let told = json!({"id": response.reply.id, "model": model, "status": status, "service_tier": "default",
            "usage": usage});
        let event = json!({"type": kind, "sequence_number": 0, "response": told});
        json!({"delegation_id": format!("del_{}", response.reply.id), "event": event})
    }

    /// How long it is so far; what that has grown by is counted.
    fn tell_seconds(&self, kind: &str, mut body: Value) {
        let at_least_ms = if self.wire().is_some() { CALL_MS } else { 0 };
        let ms = audio_ms("audio/pcm", self.dialect.heard_bytes.get()).max(at_least_ms);
        let before_ms = self.dialect.told_ms.replace(ms);
        body["usage"] = json!({"seconds": ms as f64 / 1_000.0});
        let requests = u64::from(before_ms == 0 && ms > 0);
        let usage = Usage { duration_ms: ms - before_ms, requests, ..Usage::default() };
        let booking = Booking {
            key: self.key.clone(),
            model: self.dialect.models.borrow().session.clone(),
            delivered: Fact::Item(usage),
            lost: Fact::Undelivered(usage),
            once: None,
        };
        self.book(&self.sim, &self.event(kind, body), booking);
    }

    fn say_goodbye(&self) {
        self.tell_seconds("session.closed", json!({"reason": "close_requested"}));
        self.close(1000, "");
    }
}

impl Numbered for Live {
    fn events(&self) -> &Cell<u64> {
        &self.events
    }
}
