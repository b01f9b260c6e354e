//! Google's Interactions over WebSocket: an interaction is begun, hears what is put in, and tells at its end what all of it has
//! used. Its end is a response.

use super::Shard;
use super::audit::{Booking, Fact};
use super::gemini::Gemini;
use super::refusal::{Credential, Refusal};
use super::session::response::{Response, WORDS};
use super::session::{Dialect, Opening, Session};
use super::sim::{Sim, UsageForm};
use crate::http::Request;
use crate::stamp;
use crate::ws::TEXT;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::rc::Rc;
use tokenist_core::usage::Usage;

#[derive(Debug, Default)]
pub(super) struct Interactions {
    model: RefCell<String>,
}

impl Dialect for Interactions {
    type Reply = ();

    const OPCODE: u8 = TEXT;
    const FORMS: &'static [UsageForm] = &[UsageForm::Once, UsageForm::Absent, UsageForm::Empty];
    const TORN: &'static [u8] = br#"{"event_type":"step.delta","delta":{"type":"text","text":"cut of"#;
    const LOAD: stamp::Form = stamp::OPENAI;

    fn serves(path: &str) -> bool {
        path.ends_with("/interactions/live")
    }

    fn key(request: &Request) -> Option<String> {
        Gemini::key(request)
    }

    fn admit(credential: Credential) -> Result<(), Refusal> {
        match credential {
            Credential::Right => Ok(()),
            Credential::Wrong | Credential::Missing => {
                Err(Refusal::new(401, "UNAUTHENTICATED", "API key not valid."))
            }
        }
    }

    fn refusal(refusal: &Refusal) -> Value {
        Gemini::refusal(refusal)
    }

    fn open(shard: &Shard, _: &Request, _: Credential, _: &Sim) -> Opening<Interactions> {
        Opening { index: shard.next_index(None), dialect: Interactions::default() }
    }

    /// The client begins.
    fn greet(_: &Rc<Session<Interactions>>) {}

    fn hear(session: &Rc<Session<Interactions>>, message: &Value) {
        let events = message["events"].as_array();
        for event in events.map_or(std::slice::from_ref(message), Vec::as_slice) {
            session.hear_event(event);
        }
    }

    fn hear_no_json(session: &Session<Interactions>, error: &serde_json::Error) {
        session.refuse(&format!("Invalid JSON payload received: {error}"));
    }

    fn begin(session: &Session<Interactions>, response: &Response<Interactions>) {
        let step = json!({"type": "model_output"});
        session.say(response, &json!({"event_type": "step.start", "index": 0, "step": step}));
    }

    fn before_chunks(_: &Session<Interactions>, _: &Response<Interactions>) {}

    fn chunk(session: &Session<Interactions>, response: &Response<Interactions>) {
        let delta = match response.audio {
            true => json!({"type": "audio", "mime_type": "audio/l16", "data": response.chunk}),
            false => json!({"type": "text", "text": WORDS}),
        };
        session.say(response, &json!({"event_type": "step.delta", "index": 0, "delta": delta}));
    }

    fn after_chunks(session: &Session<Interactions>, response: &Response<Interactions>) {
        session.say(response, &json!({"event_type": "step.stop", "index": 0}));
    }

    fn finish(session: &Session<Interactions>, response: &Response<Interactions>) {
        let mut completed = json!({"event_type": "interaction.completed"});
        match response.sim.usage {
            UsageForm::Absent => {}
            UsageForm::Empty => completed["usage"] = json!({}),
            _ => completed["usage"] = told(&response.usage(session)),
        }
        // As the service does at times.
        let frame = if session.is_even() { json!({"events": [completed]}) } else { completed };
        if let Some(booking) = Interactions::booking(session, response) {
            session.book(&response.sim, frame.to_string().as_bytes(), booking);
        }
    }

    fn left(session: &Rc<Session<Interactions>>) {
        session.close(1000, "");
    }

    fn booking(session: &Session<Interactions>, response: &Response<Interactions>) -> Option<Booking> {
        let usage = response.usage(session);
        Some(Booking {
            key: session.key.clone(),
            model: session.dialect.model.borrow().clone(),
            delivered: Fact::told_by(response.sim.usage, usage),
            lost: Fact::Undelivered(usage),
            once: None,
        })
    }

    fn giant(_: &Session<Interactions>, _: Option<&Response<Interactions>>, bytes: usize) -> Vec<u8> {
        let delta = json!({"type": "audio", "mime_type": "audio/l16", "data": "A".repeat(bytes / 4 * 4)});
        json!({"event_type": "step.delta", "index": 0, "delta": delta}).to_string().into_bytes()
    }
}

impl Session<Interactions> {
    fn say(&self, response: &Response<Interactions>, event: &Value) {
        self.send(&response.sim, event.to_string().as_bytes());
    }

    fn is_even(&self) -> bool {
        self.conversation.borrow().index.is_multiple_of(2)
    }

    fn hear_event(self: &Rc<Session<Interactions>>, event: &Value) {
        match (event["event_type"].as_str().unwrap_or_default(), self.is_open()) {
            ("interaction.create", false) => self.create(event),
            ("interaction.connect", false) => self.connect(event),
            ("input", true) => self.put_in(&event["content"]),
            ("interaction.complete", true) => self.complete(),
            ("interaction.disconnect", true) => self.close(1000, ""),
            (_, true) => {}
            (_, false) => self.refuse("the first event must create an interaction"),
        }
    }

    fn create(&self, event: &Value) {
        let named = event["model"].as_str().unwrap_or_default().trim_start_matches("models/").to_owned();
        let model = self.sim.model.clone().unwrap_or(named);
        if model.is_empty() {
            return self.refuse("model is required");
        }
        self.dialect.model.replace(model.clone());
        self.opened(&model);
        let created = json!({"event_type": "interaction.created", "interaction_id": self.id()});
        self.send(&self.sim, created.to_string().as_bytes());
    }

    /// To what was begun elsewhere, of whose model nobody speaks here.
    fn connect(&self, event: &Value) {
        let model = self.sim.model.clone().unwrap_or_else(|| "unknown".to_owned());
        self.dialect.model.replace(model.clone());
        self.opened(&model);
        let connected = json!({"event_type": "interaction.connected", "interaction_id": event["id"]});
        self.send(&self.sim, connected.to_string().as_bytes());
    }

    fn put_in(&self, content: &Value) {
        let mut conversation = self.conversation.borrow_mut();
        for part in content.as_array().into_iter().flatten() {
            match part["type"].as_str().unwrap_or_default() {
                "text" => conversation.read_text(part["text"].as_str().unwrap_or_default()),
                "image" | "video" => conversation.images += 1,
                // Base64 of 16 kHz: 32 bytes a millisecond.
                "audio" => {
                    conversation.hear(part["data"].as_str().unwrap_or_default().len() as u64 * 3 / 4 / 32)
                }
                _ => {}
            }
        }
    }

    fn complete(self: &Rc<Session<Interactions>>) {
        if self.active.borrow().is_empty() {
            let format = "audio/pcm".to_owned();
            self.respond(self.sim.clone(), |sim, asked| Response::new(sim, asked, true, format, ()));
        }
    }

    fn refuse(&self, why: &str) {
        let error = json!({"event_type": "error", "error": {"code": "invalid_argument", "message": why}});
        self.send(&self.sim, error.to_string().as_bytes());
        self.close(1007, "");
    }
}

/// Thoughts are extra to what the counts hold; cached input is a part of it.
fn told(usage: &Usage) -> Value {
    let thoughts = usage.reasoning_out;
    let output = usage.output_tokens() - thoughts;
    let by_modality = |counts: [(&str, u64); 3]| {
        let there = counts.into_iter().filter(|(_, count)| *count > 0);
        there.map(|(modality, tokens)| json!({"modality": modality, "tokens": tokens})).collect::<Vec<_>>()
    };
    json!({
        "total_input_tokens": usage.input_tokens(),
        "input_tokens_by_modality":
            by_modality([("text", usage.text_in), ("audio", usage.audio_in), ("image", usage.image_in)]),
        "total_cached_tokens": usage.cached_tokens(),
        "cached_tokens_by_modality": by_modality([
            ("text", usage.cached_text_in),
            ("audio", usage.cached_audio_in),
            ("image", usage.cached_image_in),
        ]),
        "total_output_tokens": output,
        "output_tokens_by_modality":
            by_modality([("text", usage.text_out - thoughts), ("audio", usage.audio_out), ("image", 0)]),
        "total_thought_tokens": thoughts,
        "total_tool_use_tokens": 0,
        "total_tokens": usage.input_tokens() + output + thoughts,
    })
}
