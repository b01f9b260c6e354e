//! One response from `response.created` to `response.done`, at the pace and with the faults it was asked for.

use super::audit::Fact;
use super::event::{self, Names};
use super::formula::{Spoken, audio_ms};
use super::session::{Booking, QUEUED_BYTES, Session};
use super::sim::{Pace, Point, Sim, UsageForm};
use base64::Engine;
use serde_json::{Value, json};
use std::cell::Cell;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::Duration;
use tokenist_core::usage::Usage;

/// What a chunk says.
const WORDS: &str = "hello there ";

#[derive(Debug)]
pub(super) struct Response {
    pub(super) id: String,
    pub(super) in_conversation: bool,
    sim: Sim,
    item_id: String,
    turn: u64,
    audio: bool,
    format: String,
    voice: Value,
    metadata: Value,
    /// Base64 of one chunk of audio.
    chunk: String,
    chunks_said: Cell<u64>,
    cancelled: Cell<bool>,
    audio_in_ms: u64,
    images_in: u64,
    /// What it reads, where that follows from the conversation.
    input: Option<Usage>,
}

impl Response {
    pub(super) fn new(session: &Session, request: &Value, sim: Sim, in_conversation: bool) -> Response {
        let item_id = session.next_item_id();
        let names = session.opening.names;
        let mut state = session.state.borrow_mut();
        state.responses += 1;
        let mut config = state.config.clone();
        event::merge(&mut config, request);
        let audio = names.says_audio(&config);
        let silence = vec![0_u8; sim.chunk_bytes];
        Response {
            id: match sim.same_ids {
                true => "resp_1".to_owned(),
                false => format!("resp_{:08x}{:06x}", session.opening.index, state.responses),
            },
            in_conversation,
            item_id,
            turn: state.responses,
            audio,
            format: names.format_out(&config),
            voice: match names {
                Names::Ga => config["audio"]["output"]["voice"].clone(),
                Names::Beta => config["voice"].clone(),
            },
            metadata: request["metadata"].clone(),
            chunk: if audio {
                base64::engine::general_purpose::STANDARD.encode(silence)
            } else {
                String::new()
            },
            chunks_said: Cell::new(0),
            cancelled: Cell::new(false),
            audio_in_ms: std::mem::take(&mut state.heard_ms),
            images_in: state.images,
            input: sim.context.map(|base| state.context.read(base)),
            sim,
        }
    }

    pub(super) fn cancel(&self) {
        self.cancelled.set(!self.sim.deaf);
    }

    pub(super) fn cancelled(&self) -> bool {
        self.cancelled.get()
    }

    fn spoken(&self) -> Spoken {
        let chunks = self.chunks_said.get();
        let audio_bytes = if self.audio { chunks * self.sim.chunk_bytes as u64 } else { 0 };
        Spoken {
            text_out_chunks: chunks,
            audio_out_ms: audio_ms(&self.format, audio_bytes),
            audio_in_ms: self.audio_in_ms,
            images_in: self.images_in,
        }
    }

    /// Where in the response a delta belongs.
    fn place(&self) -> Value {
        json!({"response_id": self.id, "item_id": self.item_id, "output_index": 0, "content_index": 0})
    }

    fn transcript(&self) -> String {
        WORDS.repeat(self.chunks_said.get() as usize)
    }

    /// The response object, without usage.
    fn object(&self, session: &Session, status: (&str, Value), output: Value) -> Value {
        let names = session.opening.names;
        let modalities = match (names, self.audio) {
            (Names::Ga, true) => json!(["audio"]),
            (Names::Beta, true) => json!(["text", "audio"]),
            (_, false) => json!(["text"]),
        };
        let conversation = self.in_conversation.then(|| session.id.replacen("sess", "conv", 1));
        let mut object = json!({"object": "realtime.response", "id": self.id, "status": status.0,
            "status_details": status.1, "output": output, "conversation_id": conversation, "usage": null,
            "metadata": self.metadata});
        object[names.modalities_key()] = modalities;
        match names {
            Names::Ga => {
                let mut format = json!({"type": self.format});
                if self.format == "audio/pcm" {
                    format["rate"] = 24_000.into();
                }
                object["max_output_tokens"] = "inf".into();
                object["audio"] = json!({"output": {"format": format, "voice": self.voice}});
            }
            Names::Beta => {
                object["max_output_tokens"] = "inf".into();
                object["output_audio_format"] = self.format.as_str().into();
                object["voice"] = self.voice.clone();
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
        json!({"id": self.item_id, "object": "realtime.item", "type": "message", "status": status,
            "role": "assistant", "content": content})
    }

    fn part(&self) -> Value {
        match self.audio {
            true => json!({"type": "audio", "transcript": self.transcript()}),
            false => json!({"type": "text", "text": self.transcript()}),
        }
    }
}

pub(super) async fn run(session: Rc<Session>, response: Rc<Response>) {
    match say(&session, &response).await {
        // Whether or not the session goes on after this, the response itself was told.
        ControlFlow::Continue(()) => drop(session.fail(&response.sim, Point::Done, Some(&response)).await),
        // Died before its end: what it would have told is known, and was not told.
        ControlFlow::Break(()) => {
            let booking = booking(&session, &response);
            session.count(&booking, booking.lost);
        }
    }
    session.state.borrow_mut().active.retain(|active| active.id != response.id);
}

/// Everything up to and including `response.done`; a break says that it was not reached.
async fn say(session: &Session, response: &Response) -> ControlFlow<()> {
    let sim = &response.sim;
    let names = session.opening.names;
    let emit = |kind, body| session.emit(sim, kind, body);
    let created = response.object(session, ("in_progress", Value::Null), json!([]));
    emit("response.created", json!({"response": created}));
    emit("rate_limits.updated", rate_limits(response.turn));
    session.fail(sim, Point::Created, Some(response)).await?;

    let item = response.item(names, "in_progress");
    let previous = session.last_item_id();
    emit("response.output_item.added", json!({"response_id": response.id, "output_index": 0, "item": item}));
    if response.in_conversation {
        emit("conversation.item.added", json!({"previous_item_id": previous, "item": item}));
    }
    emit("response.content_part.added", with(response.place(), "part", response.part()));

    let middle = sim.chunks / 2;
    for index in 0..sim.chunks {
        if index == middle {
            session.fail(sim, Point::Middle, Some(response)).await?;
        }
        if response.cancelled() || !session.outbox.room(QUEUED_BYTES).await {
            break;
        }
        chunk(session, sim, response).await;
    }
    if sim.chunks == 0 {
        session.fail(sim, Point::Middle, Some(response)).await?;
    }

    let status = event::status(sim.status, response.cancelled());
    let item_status = if status.0 == "completed" { "completed" } else { "incomplete" };
    if response.audio {
        emit("response.output_audio.done", response.place());
        emit(
            "response.output_audio_transcript.done",
            with(response.place(), "transcript", response.transcript().into()),
        );
    } else {
        emit("response.output_text.done", with(response.place(), "text", response.transcript().into()));
    }
    emit("response.content_part.done", with(response.place(), "part", response.part()));
    let item = response.item(names, item_status);
    emit("response.output_item.done", json!({"response_id": response.id, "output_index": 0, "item": item}));
    if response.in_conversation {
        emit("conversation.item.done", json!({"previous_item_id": previous, "item": item}));
        session.state.borrow_mut().items.push(item.clone());
    }
    session.fail(sim, Point::End, Some(response)).await?;
    if !session.outbox.is_open() {
        return ControlFlow::Break(());
    }
    finish(session, response, status, item);
    ControlFlow::Continue(())
}

/// `response.done`, with its booking.
fn finish(session: &Session, response: &Response, status: (&'static str, Value), item: Value) {
    let sim = &response.sim;
    let mut body = json!({"response": response.object(session, status, json!([item]))});
    event::place_usage(&mut body, sim.usage, event::usage(&usage(session, response), session.opening.names));
    // Over before the client hears of it, so that it may ask for the next response at once.
    session.state.borrow_mut().active.retain(|active| active.id != response.id);
    if response.in_conversation {
        let said = usage(session, response);
        let mut state = session.state.borrow_mut();
        state.context.text += said.text_out - said.reasoning_out;
        state.context.audio += said.audio_out;
    }
    session.book(sim, "response.done", body.clone(), booking(session, response));
    if sim.usage == UsageForm::Twice {
        session.emit(sim, "response.done", body);
    }
}

fn booking(session: &Session, response: &Response) -> Booking {
    let usage = usage(session, response);
    Booking {
        key: response.metadata["audit"].as_str().unwrap_or(&session.opening.key).to_owned(),
        model: session.model(),
        delivered: match response.sim.usage {
            UsageForm::Once | UsageForm::Twice | UsageForm::TopLevel => Fact::Response(usage),
            UsageForm::Null | UsageForm::Absent | UsageForm::Empty => Fact::ResponseWithoutUsage(usage),
        },
        lost: Fact::Undelivered(usage),
        once: session.opening.is_of_call.then(|| response.id.clone()),
    }
}

/// One chunk of speech or text, and the time it takes.
pub(super) async fn chunk(session: &Session, sim: &Sim, response: &Response) {
    response.chunks_said.set(response.chunks_said.get() + 1);
    let delta = |text: &str| with(response.place(), "delta", text.into());
    if response.audio {
        session.emit(sim, "response.output_audio_transcript.delta", delta(WORDS));
        session.emit(sim, "response.output_audio.delta", delta(&response.chunk));
    } else {
        session.emit(sim, "response.output_text.delta", delta(WORDS));
    }
    let pause_ms = match sim.pace {
        Pace::Speech => audio_ms(&response.format, sim.chunk_bytes as u64),
        Pace::Millis(ms) => ms,
    };
    if pause_ms > 0 {
        monoio::time::sleep(Duration::from_millis(pause_ms)).await;
    }
}

fn usage(session: &Session, response: &Response) -> Usage {
    let formula = session.turn(response.turn).response(response.spoken());
    let usage = match response.input {
        Some(input) => {
            let Usage { text_out, audio_out, reasoning_out, .. } = formula;
            Usage { text_out, audio_out, reasoning_out, ..input }
        }
        None => formula,
    };
    let usage = response.sim.fix(usage);
    match session.opening.names {
        Names::Ga => usage,
        Names::Beta => event::as_beta(usage),
    }
}

fn rate_limits(turn: u64) -> Value {
    json!({"rate_limits": [
        {"name": "requests", "limit": 10_000, "remaining": 10_000_u64.saturating_sub(turn), "reset_seconds": 0.006},
        {"name": "tokens", "limit": 4_000_000, "remaining": 3_990_000, "reset_seconds": 0.15},
    ]})
}

fn with(mut body: Value, key: &str, value: Value) -> Value {
    body[key] = value;
    body
}
