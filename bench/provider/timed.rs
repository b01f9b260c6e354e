//! Protocols that bill time: speech to text and voice agents of several providers, each in its own words (`words`). What is
//! billed is the sound that was sent or the time that the connection was open; some state it in the end.
//!
//! Each piece of sound is answered with a piece of transcript. The end of a session is a response: what is left is said, then
//! what was used.

mod words;

use super::Shard;
use super::audit::{Booking, Fact};
use super::refusal::{Credential, Refusal};
use super::session::response::Response;
use super::session::{Dialect, Opening, Session};
use super::sim::{Sim, UsageForm};
use crate::http::Request;
use crate::stamp;
use crate::ws::{BINARY, Message, TEXT};
use base64::Engine;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;
use tokenist_core::usage::Usage;
use words::{Bills, Front, Heard};

#[derive(Debug)]
pub(super) struct Timed {
    front: Front,
    state: RefCell<State>,
}

#[derive(Debug)]
struct State {
    model: String,
    /// Of all channels that are not billed each by itself.
    bytes_per_second: u64,
    /// Billed each by itself.
    channels: u64,
    sound_bytes: u64,
    began: Instant,
    /// Its end is being said, or was.
    ended: bool,
}

impl Dialect for Timed {
    type Reply = ();

    const OPCODE: u8 = TEXT;
    const FORMS: &'static [UsageForm] = &[UsageForm::Once, UsageForm::Absent];
    const TORN: &'static [u8] = br#"{"type":"Results","channel":{"alternatives":[{"transcript":"cut of"#;
    const LOAD: stamp::Form = stamp::OPENAI;

    fn serves(path: &str) -> bool {
        Front::of(path).is_some()
    }

    /// A header alone, behind a scheme or not; or what a browser offers behind `token`.
    fn key(request: &Request) -> Option<String> {
        let authorization = request.header("authorization");
        let of_header = authorization.map(|value| value.rsplit(' ').next().unwrap_or(value));
        let plain = || ["xi-api-key", "x-api-key"].iter().find_map(|name| request.header(name));
        let offered = || request.header("sec-websocket-protocol")?.strip_prefix("token, ");
        of_header.or_else(plain).or_else(offered).map(str::to_owned)
    }

    fn admit(credential: Credential) -> Result<(), Refusal> {
        match credential {
            Credential::Right => Ok(()),
            Credential::Wrong | Credential::Missing => {
                Err(Refusal::new(401, "INVALID_AUTH", "Invalid credentials."))
            }
        }
    }

    fn refusal(refusal: &Refusal) -> Value {
        json!({"err_code": refusal.code, "err_msg": refusal.message, "request_id": "simulated"})
    }

    fn open(shard: &Shard, request: &Request, _: Credential, sim: &Sim) -> Opening<Timed> {
        let front = Front::of(&request.path).unwrap_or(Front::Deepgram);
        let named = request.parameter(front.model_parameter()).unwrap_or_else(|| front.model().to_owned());
        let number = |name| request.parameter(name).and_then(|text| text.parse().ok());
        let width = match request.parameter("encoding").as_deref() {
            Some("mulaw" | "alaw") => 1,
            _ => 2,
        };
        let channels = number("channels").unwrap_or(1);
        let is_each = request.parameter("multichannel").as_deref() == Some("true");
        let mixed = if is_each { 1 } else { channels };
        let state = State {
            model: sim.model.clone().unwrap_or(named),
            bytes_per_second: width * number("sample_rate").unwrap_or(16_000) * mixed,
            channels: if is_each { channels } else { 1 },
            sound_bytes: 0,
            began: Instant::now(),
            ended: false,
        };
        Opening { index: shard.next_index(None), dialect: Timed { front, state: RefCell::new(state) } }
    }

    fn greet(session: &Rc<Session<Timed>>) {
        let front = session.dialect.front;
        if let Some(greeting) = front.greeting(&session.id(), &session.dialect.state.borrow().model) {
            session.say(&greeting);
        }
        if !front.waits_for_setup() {
            session.begin();
        }
    }

    fn hear(session: &Rc<Session<Timed>>, message: &Value) {
        match session.dialect.front.hear(message) {
            Heard::Nothing => {}
            Heard::Answer(answer) => session.say(&answer),
            Heard::Setup { model, answer } => {
                if let Some(model) = model.filter(|_| session.sim.model.is_none()) {
                    session.dialect.state.borrow_mut().model = model;
                }
                session.begin();
                session.say(&answer);
            }
            Heard::Form { encoding, sample_rate, answer } => {
                let width = if encoding.ends_with("law") { 1 } else { 2 };
                session.dialect.state.borrow_mut().bytes_per_second = width * sample_rate;
                session.say(&answer);
            }
            Heard::Sound(base64) => {
                let bytes = base64::engine::general_purpose::STANDARD.decode(base64).unwrap_or_default();
                session.hear_sound(bytes.len() as u64);
            }
            Heard::End => session.finish(),
        }
    }

    fn hear_no_json(session: &Session<Timed>, error: &serde_json::Error) {
        session.close(1003, &format!("not understood: {error}"));
    }

    fn hear_raw(session: &Rc<Session<Timed>>, message: &Message<'_>) -> bool {
        match (message.opcode, message.payload) {
            (BINARY, sound) => session.hear_sound(sound.len() as u64),
            (_, b"done") => session.finish(),
            (_, b"finalize") => {}
            _ => return false,
        }
        true
    }

    fn begin(_: &Session<Timed>, _: &Response<Timed>) {}

    fn before_chunks(_: &Session<Timed>, _: &Response<Timed>) {}

    fn chunk(session: &Session<Timed>, response: &Response<Timed>) {
        let piece = session.dialect.front.transcript(&session.id(), false);
        session.send(&response.sim, piece.to_string().as_bytes());
    }

    fn after_chunks(_: &Session<Timed>, _: &Response<Timed>) {}

    fn finish(session: &Session<Timed>, response: &Response<Timed>) {
        let usage = response.usage(session);
        let channels = session.dialect.state.borrow().channels;
        let mut end = session.dialect.front.end(&session.id(), usage.duration_ms, channels);
        if response.sim.usage == UsageForm::Absent {
            words::forget_figures(&mut end);
        }
        if let Some(booking) = Timed::booking(session, response) {
            session.book(&response.sim, end.to_string().as_bytes(), booking);
        }
    }

    fn left(session: &Rc<Session<Timed>>) {
        session.close(1000, "");
    }

    /// Of a formula it has nothing but what is asked for by `duration_ms=`.
    fn tellable(session: &Session<Timed>, usage: Usage) -> Usage {
        let duration_ms = if usage.duration_ms > 0 { usage.duration_ms } else { session.billed_ms() };
        Usage { duration_ms, requests: 1, ..Usage::default() }
    }

    fn booking(session: &Session<Timed>, response: &Response<Timed>) -> Option<Booking> {
        let usage = response.usage(session);
        Some(Booking {
            key: session.key.clone(),
            model: session.dialect.state.borrow().model.clone(),
            delivered: Fact::told_by(response.sim.usage, usage),
            lost: Fact::Undelivered(usage),
            once: None,
        })
    }

    /// Who has not come to an end has used what there was, and is told of nothing.
    fn gone(session: &Session<Timed>) {
        let is_open = session.is_open() && !session.dialect.state.borrow().ended;
        let usage = Usage { duration_ms: session.billed_ms(), requests: 1, ..Usage::default() };
        if is_open && usage.duration_ms > 0 {
            let model = session.dialect.state.borrow().model.clone();
            let fact = Fact::ResponseWithoutUsage(usage);
            session.shard.audit().count(&session.id(), &session.key, &model, fact);
        }
    }

    fn giant(session: &Session<Timed>, _: Option<&Response<Timed>>, bytes: usize) -> Vec<u8> {
        let mut giant = session.dialect.front.transcript(&session.id(), false);
        giant["padding"] = "A".repeat(bytes).into();
        giant.to_string().into_bytes()
    }
}

impl Session<Timed> {
    fn say(&self, message: &Value) {
        self.send(&self.sim, message.to_string().as_bytes());
    }

    fn begin(&self) {
        self.dialect.state.borrow_mut().began = Instant::now();
        let model = self.dialect.state.borrow().model.clone();
        self.opened(&model);
    }

    fn hear_sound(&self, bytes: u64) {
        self.dialect.state.borrow_mut().sound_bytes += bytes;
        self.say(&self.dialect.front.transcript(&self.id(), true));
    }

    /// Says what is left, once.
    fn finish(self: &Rc<Session<Timed>>) {
        if !std::mem::replace(&mut self.dialect.state.borrow_mut().ended, true) {
            let sim = self.sim.clone();
            self.respond(sim, |sim, asked| Response::new(sim, asked, false, "audio/pcm".to_owned(), ()));
        }
    }

    fn billed_ms(&self) -> u64 {
        let state = self.dialect.state.borrow();
        let elapsed_ms = state.began.elapsed().as_millis() as u64;
        match self.dialect.front.bills() {
            Bills::Sound => state.sound_bytes * 1_000 / state.bytes_per_second.max(1),
            Bills::SoundInSeconds => {
                (state.sound_bytes * 1_000 / state.bytes_per_second.max(1)).div_ceil(1_000) * 1_000
            }
            Bills::Connection => elapsed_ms,
            Bills::ConnectionInSeconds => elapsed_ms.div_ceil(1_000) * 1_000,
        }
    }
}
