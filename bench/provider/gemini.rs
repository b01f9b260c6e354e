//! Gemini Live, as the Developer API and Vertex speak it: JSON in binary frames, a setup before all else, turns.
//!
//! `setup` reads what the client says first, `turn` is the course of an answer or a tool's call, `usage` tells what
//! was used.

mod setup;
mod turn;
mod usage;

#[cfg(test)]
mod tests;

use super::Shard;
use super::audit::Booking;
use super::refusal::{Credential, Refusal};
use super::session::response::Response;
use super::session::{Dialect, Opening, Session};
use super::sim::{Sim, UsageForm};
use crate::http::Request;
use crate::stamp;
use crate::ws::BINARY;
use serde_json::{Value, json};
use setup::{Setup, field};
use std::cell::RefCell;
use std::rc::Rc;
use turn::Reply;

/// Which of the two services it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Front {
    Developer,
    Vertex,
}

#[derive(Debug)]
pub(super) struct Gemini {
    front: Front,
    /// Such as `v1beta`.
    version: String,
    credential: Credential,
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    setup: Setup,
    model: String,
    /// Audio of the client's turn.
    heard_us: u64,
    /// The client has said that it speaks, and not yet that it is done.
    speaking: bool,
    /// Something was written that nothing has answered.
    unanswered: bool,
    /// Asked for while another response was under way.
    pending: Option<Sim>,
    /// A function that was called and not answered: its id and name, and how the answer to it shall behave.
    called: Option<(String, String, Sim)>,
    call_count: u64,
}

/// The longest reason that a close frame holds.
const REASON_BYTES_MAX: usize = 123;

const UNKNOWN_KEY: &str = "API key not valid. Please pass a valid API key.";
const NO_KEY: &str = "Method doesn't allow unregistered callers (callers without established identity). Please use \
    API Key or other form of API consumer identity to call this API.";
const INVALID: &str = "Request contains an invalid argument.";
const SETUP_FIRST: &str = "setup must be the first message and only the first";
const NOT_MANUAL: &str =
    "Explicit activity control is not supported when automatic activity detection is enabled.";

impl Dialect for Gemini {
    type Reply = Reply;

    const OPCODE: u8 = BINARY;
    const FORMS: &'static [UsageForm] = &[
        UsageForm::Once,
        UsageForm::Null,
        UsageForm::Absent,
        UsageForm::Empty,
        UsageForm::After,
        UsageForm::WithAudio,
    ];
    const TORN: &'static [u8] = br#"{"serverContent":{"modelTurn":{"parts":[{"text":"cut of"#;
    const LOAD: stamp::Form = stamp::GEMINI;

    fn serves(path: &str) -> bool {
        front(path).is_some()
    }

    fn key(request: &Request) -> Option<String> {
        let authorization = request.header("authorization").and_then(|value| value.split_once(' '));
        let in_authorization = authorization.and_then(|(scheme, key)| {
            ["bearer", "token"].contains(&scheme.to_ascii_lowercase().as_str()).then(|| key.to_owned())
        });
        let in_header = || request.header("x-goog-api-key").map(str::to_owned);
        let in_query = || request.parameter("key").or_else(|| request.parameter("access_token"));
        in_authorization.or_else(in_header).or_else(in_query)
    }

    /// It says so after the upgrade.
    fn admit(_: Credential) -> Result<(), Refusal> {
        Ok(())
    }

    fn refusal(refusal: &Refusal) -> Value {
        let status = match refusal.status {
            400 => "INVALID_ARGUMENT",
            401 => "UNAUTHENTICATED",
            403 => "PERMISSION_DENIED",
            404 => "NOT_FOUND",
            429 => "RESOURCE_EXHAUSTED",
            503 => "UNAVAILABLE",
            _ => "INTERNAL",
        };
        json!({"error": {"code": refusal.status, "message": refusal.message, "status": status}})
    }

    fn open(shard: &Shard, request: &Request, credential: Credential, _: &Sim) -> Opening<Gemini> {
        let (front, version) = front(&request.path).unwrap_or((Front::Developer, String::new()));
        let dialect = Gemini { front, version, credential, state: RefCell::default() };
        Opening { index: shard.next_index(None), dialect }
    }

    /// Nothing but a word to one who may not speak: the client begins.
    fn greet(session: &Rc<Session<Gemini>>) {
        match session.dialect.credential {
            Credential::Right => {}
            Credential::Wrong => session.end(1007, UNKNOWN_KEY),
            Credential::Missing => session.end(1008, NO_KEY),
        }
    }

    fn hear(session: &Rc<Session<Gemini>>, message: &Value) {
        let Some((word, body)) = setup::word(message) else {
            return session.end(1007, &setup::unknown_name(message));
        };
        match (word, session.is_open()) {
            ("setup", false) => session.set_up(body),
            ("setup", true) | (_, false) => session.end(1007, SETUP_FIRST),
            ("clientContent", true) => session.read(body),
            ("realtimeInput", true) => session.hear_input(body),
            (_, true) => session.hear_tools(body),
        }
    }

    fn hear_no_json(session: &Session<Gemini>, _: &serde_json::Error) {
        session.end(1007, "Invalid JSON payload received. Unexpected token.");
    }

    fn begin(session: &Session<Gemini>, response: &Response<Gemini>) {
        turn::begin(session, response);
    }

    fn before_chunks(session: &Session<Gemini>, response: &Response<Gemini>) {
        turn::before_chunks(session, response);
    }

    fn chunk(session: &Session<Gemini>, response: &Response<Gemini>) {
        turn::chunk(session, response);
    }

    fn after_chunks(session: &Session<Gemini>, response: &Response<Gemini>) {
        turn::after_chunks(session, response);
    }

    fn finish(session: &Session<Gemini>, response: &Response<Gemini>) {
        turn::finish(session, response);
        session.offer_handle();
    }

    fn left(session: &Rc<Session<Gemini>>) {
        let pending = session.dialect.state.borrow_mut().pending.take();
        if let Some(sim) = pending.filter(|_| !session.is_closing()) {
            session.begin_turn(sim);
        }
    }

    fn booking(session: &Session<Gemini>, response: &Response<Gemini>) -> Option<Booking> {
        turn::booking(session, response)
    }

    fn giant(session: &Session<Gemini>, _: Option<&Response<Gemini>>, bytes: usize) -> Vec<u8> {
        let sound = |data: &str| turn::sound(data, None, session.sim.compact);
        sound(&"A".repeat(bytes.saturating_sub(sound("").len()) / 4 * 4))
    }

    fn go_away(left_ms: u64) -> Option<Vec<u8>> {
        let left = format!("{}.{:03}s", left_ms / 1_000, left_ms % 1_000);
        Some(written(&json!({"goAway": {"timeLeft": left}}), false))
    }
}

/// Whose path it is, and of which version of the API: whatever stands before `ws`, and with any number of slashes.
fn front(path: &str) -> Option<(Front, String)> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let version = |service: &str, before: &str, after: &str| {
        let version = service.strip_prefix(before)?.strip_suffix(after)?;
        version.starts_with('v').then(|| version.to_owned())
    };
    match parts[..] {
        [.., "ws", service, "BidiGenerateContent"] => {
            let version = version(service, "google.cloud.aiplatform.", ".LlmBidiService")?;
            Some((Front::Vertex, version))
        }
        [.., "ws", method] => {
            let service = ["", "Constrained"]
                .iter()
                .find_map(|end| method.strip_suffix(&format!("BidiGenerateContent{end}")));
            let version = version(service?, "google.ai.generativelanguage.", ".GenerativeService.")?;
            Some((Front::Developer, version))
        }
        _ => None,
    }
}

/// A message as the service writes it, unless it is to be compact.
fn written(message: &Value, compact: bool) -> Vec<u8> {
    if compact { message.to_string() } else { format!("{message:#}\n") }.into_bytes()
}

impl Session<Gemini> {
    fn say(&self, message: &Value) {
        self.send(&self.sim, &written(message, self.sim.compact));
    }

    fn end(&self, code: u16, reason: &str) {
        let cut = (0..=reason.len().min(REASON_BYTES_MAX)).rev().find(|&at| reason.is_char_boundary(at));
        self.close(code, &reason[..cut.unwrap_or(0)]);
    }

    fn set_up(&self, body: &Value) {
        let setup = Setup::of(body);
        let model = self.sim.model.clone().unwrap_or_else(|| setup.model_name().to_owned());
        if model.is_empty() {
            return self.end(1007, INVALID);
        }
        if !model.contains("gemini") {
            let (model, version) = (&setup.model, &self.dialect.version);
            return self.end(
                1008,
                &format!(
                    "{model} is not found for API version {version}, or is not supported for bidiGenerateContent. \
                     Call ListModels to see the list of available models and their supported methods."
                ),
            );
        }
        match &setup.handle {
            Some(handle) => {
                let Some(conversation) = self.shard.kept(handle) else { return self.end(1007, INVALID) };
                *self.conversation.borrow_mut() = conversation;
                self.resumed(&model);
            }
            None => self.opened(&model),
        }
        {
            let mut state = self.dialect.state.borrow_mut();
            (state.setup, state.model) = (setup, model);
        }
        self.say(&match self.dialect.front {
            Front::Developer => json!({"setupComplete": {}}),
            Front::Vertex => json!({"setupComplete": {"sessionId": self.id()}}),
        });
        self.offer_handle();
    }

    /// A handle by which what was said so far can be resumed, to one who has asked for such.
    fn offer_handle(&self) {
        if !self.dialect.state.borrow().setup.resumable {
            return;
        }
        let handle = self.shard.keep(self.conversation.borrow().clone());
        self.say(&json!({"sessionResumptionUpdate": {"newHandle": handle, "resumable": true}}));
    }

    /// `clientContent`: what is written interrupts; a turn that is complete is answered.
    fn read(self: &Rc<Session<Gemini>>, body: &Value) {
        let turns = field(body, "turns");
        let turns = turns.as_array().map_or(std::slice::from_ref(turns), Vec::as_slice);
        let words: Vec<String> = turns
            .iter()
            .flat_map(|turn| field(turn, "parts").as_array().into_iter().flatten())
            .filter_map(|part| self.read_part(part))
            .collect();
        self.dialect.state.borrow_mut().unanswered = true;
        match field(body, "turnComplete") == true {
            true => self.ask(&words.join(",")),
            false => self.interrupt(),
        }
    }

    /// Gives the words for the simulation that the part holds.
    fn read_part(&self, part: &Value) -> Option<String> {
        if let Some(text) = part["text"].as_str() {
            return self.read_text(text);
        }
        let blob = field(part, "inlineData");
        match setup::mime_type(blob).split('/').next() {
            Some("audio") => self.conversation.borrow_mut().hear(setup::audio_us(blob) / 1_000),
            Some("image" | "video") => self.conversation.borrow_mut().images += 1,
            _ => {}
        }
        None
    }

    fn read_text(&self, text: &str) -> Option<String> {
        self.conversation.borrow_mut().read_text(text);
        let (_, words) = text.split_once("(sim ")?;
        words.split_once(')').map(|(words, _)| words.to_owned())
    }

    fn hear_input(self: &Rc<Session<Gemini>>, body: &Value) {
        let chunks = field(body, "mediaChunks").as_array();
        for blob in chunks.into_iter().flatten().chain([field(body, "audio"), field(body, "video")]) {
            self.hear_blob(blob);
        }
        if let Some(text) = body["text"].as_str() {
            let words = self.read_text(text).unwrap_or_default();
            // A blank is how a client has that answered which was written before; it says nothing of its own.
            if !text.trim().is_empty() || self.dialect.state.borrow().unanswered {
                self.ask(&words);
            }
        }
        if field(body, "audioStreamEnd") == true {
            self.end_of_speech();
        }
        let manual = self.dialect.state.borrow().setup.manual;
        match (field(body, "activityStart").is_object(), field(body, "activityEnd").is_object()) {
            (false, false) => {}
            _ if !manual => self.end(1007, NOT_MANUAL),
            (true, _) => {
                self.dialect.state.borrow_mut().speaking = true;
                self.interrupt();
            }
            (false, true) => {
                self.dialect.state.borrow_mut().speaking = false;
                self.end_of_speech();
            }
        }
    }

    fn hear_blob(self: &Rc<Session<Gemini>>, blob: &Value) {
        match setup::mime_type(blob).split('/').next() {
            Some("image" | "video") => self.conversation.borrow_mut().images += 1,
            Some("audio") => {
                let heard_us = {
                    let mut state = self.dialect.state.borrow_mut();
                    // Without activity there is nothing to hear, where the client says when there is.
                    if state.speaking || !state.setup.manual {
                        state.heard_us += setup::audio_us(blob);
                    }
                    state.heard_us
                };
                if self.sim.vad_ms.is_some_and(|vad_ms| heard_us >= vad_ms * 1_000) {
                    self.end_of_speech();
                }
            }
            _ => {}
        }
    }

    /// What was heard is a turn, if anything was.
    fn end_of_speech(self: &Rc<Session<Gemini>>) {
        let heard_us = std::mem::take(&mut self.dialect.state.borrow_mut().heard_us);
        if heard_us > 0 {
            self.conversation.borrow_mut().hear(heard_us.div_ceil(1_000));
            self.ask("");
        }
    }

    /// Answers the client's turn: now, or when what is under way has ended, which this interrupts.
    fn ask(self: &Rc<Session<Gemini>>, words: &str) {
        let sim = match self.sim_with(words) {
            Ok(sim) => sim,
            Err(error) => return self.end(1007, &error),
        };
        self.dialect.state.borrow_mut().unanswered = false;
        if self.active.borrow().is_empty() {
            self.forget_call();
            return self.begin_turn(sim);
        }
        self.dialect.state.borrow_mut().pending = Some(sim);
        self.interrupt();
    }

    fn interrupt(&self) {
        if self.dialect.state.borrow().setup.interruptible {
            self.active.borrow().iter().for_each(|response| response.cancel());
        }
    }

    /// A call that nobody waits for any more.
    fn forget_call(&self) {
        let called = self.dialect.state.borrow_mut().called.take();
        if let Some((id, ..)) = called {
            self.say(&json!({"toolCallCancellation": {"ids": [id]}}));
        }
    }

    fn begin_turn(self: &Rc<Session<Gemini>>, sim: Sim) {
        let function = self.dialect.state.borrow().setup.functions.first().cloned();
        match function.filter(|_| sim.tool) {
            Some(function) => {
                let id = {
                    let mut state = self.dialect.state.borrow_mut();
                    state.call_count += 1;
                    let id = format!("call_{}_{}", self.id(), state.call_count);
                    state.called = Some((id.clone(), function.clone(), sim.clone()));
                    id
                };
                // The call is whole at once, and what is to go wrong goes wrong with the answer.
                let usage = match sim.usage {
                    UsageForm::After | UsageForm::WithAudio => UsageForm::Once,
                    form => form,
                };
                let sim = Sim { chunks: 0, faults: Vec::new(), usage, ..sim };
                self.reply(sim, Reply::call(id, function));
            }
            None => self.reply(sim, Reply::answer(false)),
        }
    }

    fn reply(self: &Rc<Session<Gemini>>, sim: Sim, reply: Reply) {
        let audio = self.dialect.state.borrow().setup.audio;
        self.respond(sim, |sim, asked| Response::new(sim, asked, audio, "audio/pcm".to_owned(), reply));
    }

    /// `toolResponse`: with the answer to what was called the turn goes on.
    fn hear_tools(self: &Rc<Session<Gemini>>, body: &Value) {
        let responses = field(body, "functionResponses").as_array();
        for response in responses.into_iter().flatten() {
            self.conversation.borrow_mut().read_text(&response["response"].to_string());
            let answers = |called: &mut (String, String, Sim)| {
                response["id"] == called.0 || (response["id"].is_null() && response["name"] == called.1)
            };
            let called = self.dialect.state.borrow_mut().called.take_if(answers);
            if let Some((_, _, sim)) = called {
                self.reply(sim, Reply::answer(true));
            }
        }
    }
}
