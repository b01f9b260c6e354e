//! What a session of the load generator says and hears once it is open, by kind of scenario.

use crate::driver::{Open, Run, say_goodbye};
use crate::link::{Bytes, HangUp, Outbox};
use crate::scenario::Kind;
use crate::schedule::Schedule;
use crate::stamp::{self, Stamp};
use crate::ws::{CLOSE, End, FIN, Inbound, Message, PING, PONG, TEXT};
use base64::Engine;
use serde_json::{Value, json};
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokenist_core::usage::Usage;

/// What may wait for the socket before a sender pauses, and so is late.
const QUEUED_BYTES: usize = 1 << 20;
/// How long a turn may take.
const TURN_WAIT: Duration = Duration::from_secs(60);
const TURN_AUDIO_BYTES: usize = 9_600;
const TRANSCRIPTION_MODEL: &str = "gpt-4o-mini-transcribe";

/// Hears what comes until the end of the run; in ping and speech a second task speaks meanwhile.
pub(crate) async fn listen(run: &Rc<Run>, index: usize, open: Open) {
    let Open { mut inbound, outbox, .. } = open;
    match run.scenario.kind {
        Kind::Ping => drop(monoio::spawn(ping(run.clone(), index, outbox.clone()))),
        Kind::Speech => drop(monoio::spawn(speak(run.clone(), index, outbox.clone()))),
        Kind::Saturate | Kind::Idle | Kind::Churn | Kind::Turns => {}
    }
    let heard = match run.scenario.kind {
        Kind::Saturate => skim(run, &mut inbound, &outbox).await,
        _ => hear(run, &mut inbound, &outbox).await,
    };
    if run.goes_on() {
        run.tally.borrow_mut().error(&match heard {
            Ok(()) => "session ended early".to_owned(),
            Err(error) => format!("relay: {error}"),
        });
    }
    outbox.hang_up(HangUp::Fin);
}

/// Counts messages without looking at them: the generator must cost less than what it measures.
async fn skim(run: &Run, inbound: &mut Inbound, outbox: &Outbox) -> io::Result<()> {
    loop {
        let skimmed = inbound.skim();
        if run.measuring() {
            let mut tally = run.tally.borrow_mut();
            tally.messages_received += skimmed.messages;
            tally.bytes_received += skimmed.bytes;
        }
        if skimmed.control {
            if control(run, inbound, outbox).await? {
                return Ok(());
            }
        } else if !inbound.fill().await? {
            return Ok(());
        }
    }
}

/// Answers the control frame that is next; true if it was a close.
async fn control(run: &Run, inbound: &mut Inbound, outbox: &Outbox) -> io::Result<bool> {
    Ok(match inbound.message().await? {
        Some(message) => answer_control(run, &message, outbox) == Some(Control::Close),
        None => true,
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Control {
    Ping,
    Close,
}

/// Answers pings and closes; `None` for any other message.
fn answer_control(run: &Run, message: &Message<'_>, outbox: &Outbox) -> Option<Control> {
    let (control, opcode) = match message.opcode {
        PING => (Control::Ping, PONG),
        CLOSE => (Control::Close, CLOSE),
        _ => return None,
    };
    let mut frame = Vec::new();
    End::Client.frame(FIN | opcode, message.payload, &mut frame);
    outbox.put(Bytes::Owned(frame));
    // The close that answers our own at the end of a run is no news.
    let is_news = run.goes_on() || run.scenario.kind == Kind::Turns;
    if control == Control::Close && is_news {
        *run.tally.borrow_mut().close_codes.entry(message.close_reason().0).or_default() += 1;
    }
    Some(control)
}

async fn hear(run: &Run, inbound: &mut Inbound, outbox: &Outbox) -> io::Result<()> {
    while let Some(message) = inbound.message().await? {
        match answer_control(run, &message, outbox) {
            Some(Control::Ping) => {}
            Some(Control::Close) => return Ok(()),
            None if run.measuring() => {
                let mut tally = run.tally.borrow_mut();
                tally.messages_received += 1;
                tally.bytes_received += message.payload.len() as u64;
                if let Some(due) = Stamp::read(message.payload) {
                    tally.latency.record(Stamp::now().since(due));
                }
            }
            None => {}
        }
    }
    Ok(())
}

async fn ping(run: Rc<Run>, index: usize, outbox: Rc<Outbox>) {
    let Some(schedule) = Schedule::shared(run.scenario.rate, run.scenario.sessions, index) else { return };
    let mut event = stamp::event(run.scenario.event_bytes);
    for act in 0.. {
        let Some(due) = run.due(schedule, act).await else { return };
        Stamp::of(due).write(&mut event);
        if !send(&run, &outbox, &event).await {
            return;
        }
    }
}

/// The microphone: one append event after the other.
async fn speak(run: Rc<Run>, index: usize, outbox: Rc<Outbox>) {
    if run.scenario.up_ms == 0 {
        return;
    }
    let schedule = Schedule::every(Duration::from_millis(run.scenario.up_ms), run.scenario.sessions, index);
    let empty = append_event("").len();
    let event = append_event(&"A".repeat(run.scenario.up_bytes.saturating_sub(empty)));
    for act in 0.. {
        if run.due(schedule, act).await.is_none() || !send(&run, &outbox, event.as_bytes()).await {
            return;
        }
    }
}

fn append_event(audio: &str) -> String {
    format!(r#"{{"type":"input_audio_buffer.append","audio":"{audio}"}}"#)
}

/// Sends and counts a message; false when the session takes nothing any more.
async fn send(run: &Run, outbox: &Outbox, payload: &[u8]) -> bool {
    if !outbox.room(QUEUED_BYTES).await {
        return false;
    }
    put(outbox, payload);
    let mut tally = run.tally.borrow_mut();
    tally.messages_sent += 1;
    tally.bytes_sent += payload.len() as u64;
    true
}

fn put(outbox: &Outbox, payload: &[u8]) {
    let mut frame = Vec::new();
    End::Client.frame(FIN | TEXT, payload, &mut frame);
    outbox.put(Bytes::Owned(frame));
}

/// Whole turns, one after the other; a turn that has begun is finished even when the window is over.
pub(crate) async fn turns(run: &Rc<Run>, index: usize, open: Open) {
    let Open { mut inbound, outbox, greeting } = open;
    let mut listener =
        Listener { user: run.user(index), model: String::from("-"), transcription_model: String::from("-") };
    listener.session(&serde_json::from_slice(&greeting).unwrap_or(Value::Null));
    let schedule = Schedule::shared(run.scenario.rate, run.scenario.sessions, index);
    let update = json!({"type": "session.update", "session": {"type": "realtime",
        "audio": {"input": {"transcription": {"model": TRANSCRIPTION_MODEL}, "turn_detection": null}}}});
    send(run, &outbox, update.to_string().as_bytes()).await;
    let audio = base64::engine::general_purpose::STANDARD.encode(vec![0; TURN_AUDIO_BYTES]);
    for act in 0.. {
        if !run.goes_on() || (run.scenario.turns > 0 && act >= run.scenario.turns) {
            break;
        }
        let due = match schedule {
            Some(schedule) => run.due(schedule, act).await,
            None => Some(Instant::now()),
        };
        let Some(due) = due else { break };
        send(run, &outbox, append_event(&audio).as_bytes()).await;
        send(run, &outbox, br#"{"type":"input_audio_buffer.commit"}"#).await;
        send(run, &outbox, br#"{"type":"response.create"}"#).await;
        match monoio::time::timeout(TURN_WAIT, listener.turn(run, &mut inbound, &outbox)).await {
            Ok(Ok(true)) => {
                let mut tally = run.tally.borrow_mut();
                tally.turns += 1;
                tally.latency.record(due.elapsed());
            }
            Ok(Ok(false)) => return outbox.hang_up(HangUp::Fin),
            Ok(Err(error)) => {
                run.tally.borrow_mut().error(&format!("relay: {error}"));
                return outbox.hang_up(HangUp::Fin);
            }
            Err(_) => {
                run.tally.borrow_mut().error("turn: timed out");
                return outbox.hang_up(HangUp::Fin);
            }
        }
    }
    say_goodbye(&outbox);
    outbox.hang_up(HangUp::Fin);
}

/// What a session has learnt, for booking what it is told.
struct Listener {
    user: String,
    model: String,
    transcription_model: String,
}

impl Listener {
    /// Hears until the response is done and the audio of the turn transcribed; false when the session closed.
    async fn turn(&mut self, run: &Run, inbound: &mut Inbound, outbox: &Outbox) -> io::Result<bool> {
        let (mut answered, mut transcribed) = (false, false);
        while !(answered && transcribed) {
            let Some(message) = inbound.message().await? else {
                run.tally.borrow_mut().error("session ended early");
                return Ok(false);
            };
            match answer_control(run, &message, outbox) {
                Some(Control::Ping) => continue,
                Some(Control::Close) => return Ok(false),
                None => {}
            }
            {
                let mut tally = run.tally.borrow_mut();
                tally.messages_received += 1;
                tally.bytes_received += message.payload.len() as u64;
            }
            if is_delta(message.payload) {
                continue;
            }
            let event: Value = serde_json::from_slice(message.payload)?;
            match event["type"].as_str().unwrap_or_default() {
                "session.created" | "session.updated" => self.session(&event),
                "response.done" => {
                    answered = true;
                    run.tally.borrow_mut().used(&self.user, &self.model, told(&event["response"]["usage"]));
                }
                "conversation.item.input_audio_transcription.completed" => {
                    transcribed = true;
                    run.tally.borrow_mut().used(&self.user, &self.transcription_model, told(&event["usage"]));
                }
                "error" => {
                    let code = event["error"]["code"].as_str().unwrap_or("error");
                    run.tally.borrow_mut().error(&format!("event: {code}"));
                }
                _ => {}
            }
        }
        Ok(true)
    }

    fn session(&mut self, event: &Value) {
        let session = &event["session"];
        if let Some(model) = session["model"].as_str() {
            self.model = model.to_owned();
        }
        if let Some(model) = session["audio"]["input"]["transcription"]["model"].as_str() {
            self.transcription_model = model.to_owned();
        }
    }
}

/// Deltas carry no usage and are most of the bytes.
fn is_delta(payload: &[u8]) -> bool {
    let head = &payload[..payload.len().min(64)];
    memchr::memmem::find(head, br#".delta","#).is_some()
}

/// The counts of a usage object, in its GA form.
fn told(usage: &Value) -> Usage {
    let count = |value: &Value| value.as_u64().unwrap_or(0);
    if usage["type"] == "duration" {
        let duration_ms = (usage["seconds"].as_f64().unwrap_or(0.0) * 1_000.0).round() as u64;
        return Usage { duration_ms, requests: 1, ..Usage::default() };
    }
    let (input, output) = (&usage["input_token_details"], &usage["output_token_details"]);
    let cached = &input["cached_tokens_details"];
    let audio_out = count(&output["audio_tokens"]);
    Usage {
        text_in: count(&input["text_tokens"]),
        audio_in: count(&input["audio_tokens"]),
        image_in: count(&input["image_tokens"]),
        cached_text_in: count(&cached["text_tokens"]),
        cached_audio_in: count(&cached["audio_tokens"]),
        cached_image_in: count(&cached["image_tokens"]),
        text_out: count(&usage["output_tokens"]).saturating_sub(audio_out),
        audio_out,
        reasoning_out: count(&output["reasoning_tokens"]),
        requests: 1,
        ..Usage::default()
    }
}
