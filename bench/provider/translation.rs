//! OpenAI's translation sessions: what is heard comes back in another language, and nothing states what it cost.

use super::Shard;
use super::audit::{Booking, Fact};
use super::formula::audio_ms;
use super::numbered::Numbered;
use super::refusal::Credential;
use super::session::response::{Response, WORDS};
use super::session::{Dialect, Opening, Session};
use super::sim::{Sim, UsageForm};
use crate::http::Request;
use crate::stamp;
use crate::ws::TEXT;
use serde_json::{Value, json};
use std::cell::Cell;
use std::rc::Rc;
use tokenist_core::usage::Usage;

#[derive(Debug)]
pub(super) struct Translation {
    model: String,
    heard_bytes: Cell<u64>,
    events: Cell<u64>,
}

impl Dialect for Translation {
    type Reply = ();

    const OPCODE: u8 = TEXT;
    /// `toplevel`: `session.closed` states the seconds, which it has not been seen to do.
    const FORMS: &'static [UsageForm] = &[UsageForm::Once, UsageForm::TopLevel];
    const TORN: &'static [u8] = br#"{"type":"session.output_transcript.delta","delta":"cut of"#;
    const LOAD: stamp::Form = stamp::OPENAI;

    fn serves(path: &str) -> bool {
        path.ends_with("/realtime/translations")
    }

    fn open(shard: &Shard, request: &Request, _: Credential, sim: &Sim) -> Opening<Translation> {
        let model = sim.model.clone().or_else(|| request.parameter("model"));
        let model = model.unwrap_or_else(|| "gpt-realtime-translate".to_owned());
        let dialect = Translation { model, heard_bytes: Cell::default(), events: Cell::default() };
        Opening { index: shard.next_index(None), dialect }
    }

    fn greet(session: &Rc<Session<Translation>>) {
        session.opened(&session.dialect.model);
        session.tell_session("session.created");
    }

    fn hear(session: &Rc<Session<Translation>>, event: &Value) {
        match event["type"].as_str().unwrap_or_default() {
            "session.update" => session.tell_session("session.updated"),
            "session.input_audio_buffer.append" => {
                session.hear_sound(event["audio"].as_str().unwrap_or_default());
            }
            "session.close" => session.say_goodbye(),
            kind => session.refuse_kind(kind),
        }
    }

    fn hear_no_json(session: &Session<Translation>, error: &serde_json::Error) {
        session.refuse_no_json(error);
    }

    fn begin(_: &Session<Translation>, _: &Response<Translation>) {}

    fn before_chunks(_: &Session<Translation>, _: &Response<Translation>) {}

    fn chunk(session: &Session<Translation>, response: &Response<Translation>) {
        let delta = |delta: &str| json!({"delta": delta});
        session.emit(&response.sim, "session.output_audio.delta", delta(&response.chunk));
    }

    fn after_chunks(_: &Session<Translation>, _: &Response<Translation>) {}

    fn finish(session: &Session<Translation>, response: &Response<Translation>) {
        session.emit(&response.sim, "session.output_transcript.delta", json!({"delta": WORDS}));
    }

    /// What was heard is counted when it is.
    fn booking(_: &Session<Translation>, _: &Response<Translation>) -> Option<Booking> {
        None
    }

    fn giant(session: &Session<Translation>, _: Option<&Response<Translation>>, bytes: usize) -> Vec<u8> {
        session.event("session.output_audio.delta", json!({"delta": "A".repeat(bytes / 4 * 4)}))
    }
}

impl Session<Translation> {
    fn tell_session(&self, kind: &str) {
        let told = json!({"id": self.id(), "type": "translation", "model": self.dialect.model,
            "audio": {"output": {"language": "de"}}});
        self.tell(kind, told);
    }

    /// All of it is billed, silence too.
    fn hear_sound(self: &Rc<Session<Translation>>, audio: &str) {
        let padding = audio.bytes().rev().take_while(|&byte| byte == b'=').count();
        let before_bytes = self.dialect.heard_bytes.get();
        let bytes = before_bytes + (audio.len() / 4 * 3).saturating_sub(padding) as u64;
        self.dialect.heard_bytes.set(bytes);
        let ms = |bytes| audio_ms("audio/pcm", bytes);
        let duration_ms = ms(bytes) - ms(before_bytes);
        let usage = Usage { duration_ms, requests: u64::from(before_bytes == 0), ..Usage::default() };
        let fact = Fact::Item(usage);
        let (key, model) = (self.key.clone(), self.dialect.model.clone());
        self.count(&Booking { key, model, delivered: fact, lost: fact, once: None }, fact);
        let sim = self.sim.clone();
        self.respond(sim, |sim, asked| Response::new(sim, asked, true, "audio/pcm".to_owned(), ()));
    }

    fn say_goodbye(&self) {
        let mut closed = json!({});
        if self.sim.usage == UsageForm::TopLevel {
            let seconds = audio_ms("audio/pcm", self.dialect.heard_bytes.get()) as f64 / 1_000.0;
            closed["usage"] = json!({"input_seconds": seconds, "output_seconds": seconds});
        }
        self.emit(&self.sim, "session.closed", closed);
        self.close(1000, "");
    }
}

impl Numbered for Translation {
    fn events(&self) -> &Cell<u64> {
        &self.events
    }
}
