//! One response from `response.created` to `response.done`.

use super::OpenAi;
use super::event::{self, Names, with};
use crate::provider::audit::{Booking, Fact};
use crate::provider::conversation::Asked;
use crate::provider::formula::audio_ms;
use crate::provider::session::Session;
use crate::provider::session::response::{self as course, Response, WORDS};
use crate::provider::sim::{Sim, UsageForm};
use serde_json::{Value, json};

/// What an OpenAI response is beside its course.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(super) id: String,
    pub(super) in_conversation: bool,
    item_id: String,
    /// The item that it follows.
    previous: Option<String>,
    voice: Value,
    metadata: Value,
}

pub(super) fn new(
    session: &Session<OpenAi>,
    request: &Value,
    in_conversation: bool,
    sim: Sim,
    asked: Asked,
) -> Response<OpenAi> {
    let names = session.dialect.names;
    let mut config = session.dialect.state.borrow().config.clone();
    event::merge(&mut config, request);
    let reply = Reply {
        id: sim.response_id(asked.turn),
        in_conversation,
        item_id: session.next_item_id(),
        previous: session.last_item_id(),
        voice: names.voice(&config),
        metadata: request["metadata"].clone(),
    };
    Response::new(sim, asked, names.says_audio(&config), names.format_out(&config), reply)
}

impl Response<OpenAi> {
    /// Where in the response a delta belongs.
    fn place(&self) -> Value {
        let (response_id, item_id) = (&self.reply.id, &self.reply.item_id);
        json!({"response_id": response_id, "item_id": item_id, "output_index": 0, "content_index": 0})
    }

    /// The response object, without usage.
    fn object(&self, session: &Session<OpenAi>, status: (&str, Value), output: Value) -> Value {
        let names = session.dialect.names;
        let modalities = match (names, self.audio) {
            (Names::Ga, true) => json!(["audio"]),
            (Names::Beta, true) => json!(["text", "audio"]),
            (_, false) => json!(["text"]),
        };
        let conversation = self.reply.in_conversation.then(|| session.id().replacen("sess", "conv", 1));
        let mut object = json!({"object": "realtime.response", "id": self.reply.id, "status": status.0,
            "status_details": status.1, "output": output, "conversation_id": conversation, "usage": null,
            "metadata": self.reply.metadata, "max_output_tokens": "inf"});
        object[names.modalities_key()] = modalities;
        match names {
            Names::Ga => {
                let mut format = json!({"type": self.format});
                if self.format == "audio/pcm" {
                    format["rate"] = 24_000.into();
                }
                object["audio"] = json!({"output": {"format": format, "voice": self.reply.voice}});
            }
            Names::Beta => {
                object["output_audio_format"] = self.format.as_str().into();
                object["voice"] = self.reply.voice.clone();
                object["temperature"] = json!(0.8);
            }
        }
        object
    }

    fn item(&self, names: Names, status: &str) -> Value {
        let kind = names.content_type(self.audio);
        let content = match (status, self.audio) {
            ("in_progress", _) => json!([]),
            (_, true) => json!([{"type": kind, "transcript": self.transcript()}]),
            (_, false) => json!([{"type": kind, "text": self.transcript()}]),
        };
        json!({"id": self.reply.item_id, "object": "realtime.item", "type": "message", "status": status,
            "role": "assistant", "content": content})
    }

    fn part(&self) -> Value {
        match self.audio {
            true => json!({"type": "audio", "transcript": self.transcript()}),
            false => json!({"type": "text", "text": self.transcript()}),
        }
    }

    fn status(&self) -> (&'static str, Value) {
        event::status(self.sim.status, self.cancelled())
    }

    /// The item as the response's end tells it.
    fn said_item(&self, names: Names) -> Value {
        self.item(names, if self.status().0 == "completed" { "completed" } else { "incomplete" })
    }

    fn within(&self, key: &str, value: Value) -> Value {
        json!({"response_id": self.reply.id, "output_index": 0, key: value})
    }
}

pub(super) fn begin(session: &Session<OpenAi>, response: &Response<OpenAi>) {
    let created = response.object(session, ("in_progress", Value::Null), json!([]));
    session.emit(&response.sim, "response.created", json!({"response": created}));
    session.emit(&response.sim, "rate_limits.updated", rate_limits(response.asked.turn.turn));
}

pub(super) fn before_chunks(session: &Session<OpenAi>, response: &Response<OpenAi>) {
    let emit = |kind, body| session.emit(&response.sim, kind, body);
    let item = response.item(session.dialect.names, "in_progress");
    emit("response.output_item.added", response.within("item", item.clone()));
    if response.reply.in_conversation {
        emit("conversation.item.added", json!({"previous_item_id": response.reply.previous, "item": item}));
    }
    emit("response.content_part.added", with(response.place(), "part", response.part()));
}

pub(super) fn chunk(session: &Session<OpenAi>, response: &Response<OpenAi>) {
    let delta = |text: &str| with(response.place(), "delta", text.into());
    if response.audio {
        session.emit(&response.sim, "response.output_audio_transcript.delta", delta(WORDS));
        match session.wire() {
            None => session.emit(&response.sim, "response.output_audio.delta", delta(&response.chunk)),
            Some(wire) => {
                let ms = audio_ms(&response.format, response.sim.chunk_bytes as u64);
                if wire.play(&response.reply.id, ms) {
                    let body = json!({"response_id": response.reply.id});
                    session.emit(&response.sim, "output_audio_buffer.started", body);
                }
            }
        }
    } else {
        session.emit(&response.sim, "response.output_text.delta", delta(WORDS));
    }
}

pub(super) fn after_chunks(session: &Session<OpenAi>, response: &Response<OpenAi>) {
    let emit = |kind, body| session.emit(&response.sim, kind, body);
    if response.audio {
        session.wire().into_iter().for_each(|wire| wire.played(&response.reply.id));
        emit("response.output_audio.done", response.place());
        emit(
            "response.output_audio_transcript.done",
            with(response.place(), "transcript", response.transcript().into()),
        );
    } else {
        emit("response.output_text.done", with(response.place(), "text", response.transcript().into()));
    }
    emit("response.content_part.done", with(response.place(), "part", response.part()));
    let item = response.said_item(session.dialect.names);
    emit("response.output_item.done", response.within("item", item.clone()));
    if response.reply.in_conversation {
        emit("conversation.item.done", json!({"previous_item_id": response.reply.previous, "item": item}));
        session.dialect.state.borrow_mut().items.push(item);
    }
}

/// `response.done`, with its booking.
pub(super) fn finish(session: &Session<OpenAi>, response: &Response<OpenAi>) {
    let (sim, names) = (&response.sim, session.dialect.names);
    let usage = response.usage(session);
    let item = response.said_item(names);
    let mut body = json!({"response": response.object(session, response.status(), json!([item]))});
    session.tell_usage(&mut body, sim.usage, &usage);
    // Over before the client hears of it, so that it may ask for the next response at once.
    course::over(session, response);
    if response.reply.in_conversation {
        session.conversation.borrow_mut().say(&usage);
    }
    session.say_and_book(sim, "response.done", &body, booking(session, response));
    if sim.usage == UsageForm::Twice {
        session.emit(sim, "response.done", body);
    }
}

pub(super) fn booking(session: &Session<OpenAi>, response: &Response<OpenAi>) -> Booking {
    let usage = session.dialect.front.billed(response.usage(session));
    Booking {
        key: response.reply.metadata["audit"].as_str().unwrap_or(&session.key).to_owned(),
        model: session.model(),
        delivered: Fact::told_by(response.sim.usage, usage),
        lost: Fact::Undelivered(usage),
        once: session.dialect.is_of_call.then(|| response.reply.id.clone()),
    }
}

fn rate_limits(turn: u64) -> Value {
    json!({"rate_limits": [
        {"name": "requests", "limit": 10_000, "remaining": 10_000_u64.saturating_sub(turn), "reset_seconds": 0.006},
        {"name": "tokens", "limit": 4_000_000, "remaining": 3_990_000, "reset_seconds": 0.15},
    ]})
}
