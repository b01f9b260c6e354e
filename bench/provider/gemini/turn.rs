//! What the model says in a turn: an answer, or the call of a function that it needs for one.

use super::usage::{self, Telling};
use super::{Front, Gemini, written};
use crate::provider::audit::{Booking, Fact};
use crate::provider::session::Session;
use crate::provider::session::response::{self as course, Response, WORDS};
use crate::provider::sim::UsageForm;
use serde_json::{Value, json};
use std::cell::Cell;

/// What a Gemini response is beside its course.
#[derive(Debug)]
pub(crate) struct Reply {
    says: Says,
    /// Its usage has been told ahead of its end.
    told: Cell<bool>,
}

#[derive(Debug)]
enum Says {
    Answer { after_tool: bool },
    Call { id: String, function: String },
}

impl Reply {
    pub(super) fn answer(after_tool: bool) -> Reply {
        Reply { says: Says::Answer { after_tool }, told: Cell::new(false) }
    }

    pub(super) fn call(id: String, function: String) -> Reply {
        Reply { says: Says::Call { id, function }, told: Cell::new(false) }
    }

    fn is_call(&self) -> bool {
        matches!(self.says, Says::Call { .. })
    }
}

/// A message of sound, whose type stands before it, and of a usage behind it.
pub(super) fn sound(data: &str, usage: Option<&Value>, compact: bool) -> Vec<u8> {
    let usage = match (usage, compact) {
        (None, _) => String::new(),
        (Some(usage), true) => format!(r#","usageMetadata":{usage}"#),
        (Some(usage), false) => {
            format!(",\n  \"usageMetadata\": {}", format!("{usage:#}").replace('\n', "\n  "))
        }
    };
    let (head, end, close) = if compact { COMPACT } else { LAID_OUT };
    format!("{head}{data}{end}{usage}{close}").into_bytes()
}

/// What stands around sound, and what closes a message.
const COMPACT: (&str, &str, &str) = (
    r#"{"serverContent":{"modelTurn":{"parts":[{"inlineData":{"mimeType":"audio/pcm;rate=24000","data":""#,
    r#""}}]}}"#,
    "}",
);
const LAID_OUT: (&str, &str, &str) = (
    r#"{
  "serverContent": {
    "modelTurn": {
      "parts": [
        {
          "inlineData": {
            "mimeType": "audio/pcm;rate=24000",
            "data": ""#,
    r#""
          }
        }
      ]
    }
  }"#,
    "\n}\n",
);

fn model_turn(part: &Value) -> Value {
    json!({"serverContent": {"modelTurn": {"parts": [part]}}})
}

pub(super) fn begin(session: &Session<Gemini>, response: &Response<Gemini>) {
    if session.dialect.state.borrow().setup.transcribes_input && response.asked.heard_audio() {
        say(session, response, &json!({"serverContent": {"inputTranscription": {"text": "hello"}}}));
    }
}

pub(super) fn before_chunks(session: &Session<Gemini>, response: &Response<Gemini>) {
    let tells_thoughts = session.dialect.state.borrow().setup.tells_thoughts && !response.reply.is_call();
    if tells_thoughts && response.usage(session).reasoning_out > 0 {
        say(session, response, &model_turn(&json!({"text": "**Greeting**", "thought": true})));
    }
}

pub(super) fn chunk(session: &Session<Gemini>, response: &Response<Gemini>) {
    match response.audio {
        true => {
            session.send(&response.sim, &sound(&response.chunk, None, response.sim.compact));
            if session.dialect.state.borrow().setup.transcribes_output {
                say(session, response, &json!({"serverContent": {"outputTranscription": {"text": WORDS}}}));
            }
        }
        false => say(session, response, &model_turn(&json!({"text": WORDS}))),
    }
}

pub(super) fn after_chunks(session: &Session<Gemini>, response: &Response<Gemini>) {
    if response.reply.is_call() {
        return;
    }
    if response.sim.usage == UsageForm::WithAudio && response.audio && !response.cancelled() {
        response.count_chunk();
        tell_with_sound(session, response);
        response.reply.told.set(true);
    }
    let end = if response.cancelled() { "interrupted" } else { "generationComplete" };
    say(session, response, &json!({"serverContent": {end: true}}));
}

/// The end: of a turn, or of what is said before a function is called.
pub(super) fn finish(session: &Session<Gemini>, response: &Response<Gemini>) {
    // Over before the client hears of it, so that it may ask for the next response at once.
    course::over(session, response);
    session.conversation.borrow_mut().say(&response.usage(session));
    let end = match &response.reply.says {
        Says::Answer { .. } => json!({"serverContent": {"turnComplete": true}}),
        Says::Call { id, function } => tool_call(session.dialect.front, id, function),
    };
    match response.sim.usage {
        // The Developer API tells of a call with the answer that it is for.
        _ if response.reply.told.get() || is_told_later(session, response) => say(session, response, &end),
        UsageForm::After => {
            say(session, response, &end);
            tell(session, response, json!({}));
        }
        _ => tell(session, response, end),
    }
}

fn is_told_later(session: &Session<Gemini>, response: &Response<Gemini>) -> bool {
    response.reply.is_call() && session.dialect.front == Front::Developer
}

fn tool_call(front: Front, id: &str, function: &str) -> Value {
    let mut call = json!({"name": function, "args": {}});
    if front == Front::Developer {
        call["id"] = id.into();
    }
    json!({"toolCall": {"functionCalls": [call]}})
}

pub(super) fn booking(session: &Session<Gemini>, response: &Response<Gemini>) -> Option<Booking> {
    if response.reply.told.get() || is_told_later(session, response) {
        return None;
    }
    let usage = response.usage(session);
    Some(Booking {
        key: session.key.clone(),
        model: session.dialect.state.borrow().model.clone(),
        delivered: Fact::told_by(response.sim.usage, usage),
        lost: Fact::Undelivered(usage),
        once: None,
    })
}

/// The last sound, with what the response has used.
fn tell_with_sound(session: &Session<Gemini>, response: &Response<Gemini>) {
    let Some(booking) = booking(session, response) else { return };
    let usage = usage::metadata(&response.usage(session), telling(session, response));
    session.book(&response.sim, &sound(&response.chunk, Some(&usage), response.sim.compact), booking);
}

/// Says a message with what the response has used, as it is asked to tell or not to tell that.
fn tell(session: &Session<Gemini>, response: &Response<Gemini>, mut message: Value) {
    let Some(booking) = booking(session, response) else { return };
    match response.sim.usage {
        UsageForm::Absent => {}
        UsageForm::Null => message["usageMetadata"] = Value::Null,
        UsageForm::Empty => message["usageMetadata"] = json!({}),
        _ => message["usageMetadata"] = usage::metadata(&response.usage(session), telling(session, response)),
    }
    session.book(&response.sim, &written(&message, response.sim.compact), booking);
}

fn telling(session: &Session<Gemini>, response: &Response<Gemini>) -> Telling {
    let whim = response.asked.turn.whim();
    let tool_prompt = match response.reply.says {
        Says::Answer { after_tool: true } => response.sim.tool_prompt.unwrap_or(10 + whim % 16),
        _ => 0,
    };
    let is_short = whim % 2 == 1;
    Telling { front: session.dialect.front, is_short, is_bare: !is_short && whim % 4 == 2, tool_prompt }
}

fn say(session: &Session<Gemini>, response: &Response<Gemini>, message: &Value) {
    session.send(&response.sim, &written(message, response.sim.compact));
}
