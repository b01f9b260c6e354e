//! Sessions that bill time: each turn a piece of sound, which is answered with a piece of transcript, and in the end what was
//! used, where the provider says so.

use super::{Speaker, TURN_AUDIO_BYTES};
use crate::dialect::Dialect;
use crate::tally::Tally;
use serde_json::Value;
use std::io;
use tokenist_core::usage::Usage;

pub(super) struct Timed {
    dialect: Dialect,
    user: String,
    model: String,
    answered: bool,
    /// Pieces of sound that were answered.
    pieces: u64,
}

impl Timed {
    pub(super) fn new(dialect: Dialect, user: String, model: String) -> Timed {
        Timed { dialect, user, model, answered: false, pieces: 0 }
    }

    /// The time that a last message states, in milliseconds, or that follows from what was sent where it states none.
    fn stated_ms(&self, end: &Value) -> Option<u64> {
        let seconds = |value: &Value| value.as_f64().map(|seconds| (seconds * 1e3).round() as u64);
        // 32 bytes a millisecond.
        let sent_ms = self.pieces * TURN_AUDIO_BYTES as u64 / 32;
        match (self.dialect, end["type"].as_str().or(end["message"].as_str())?) {
            (Dialect::Deepgram, "Metadata") => {
                Some(seconds(&end["duration"])? * end["channels"].as_u64().unwrap_or(1))
            }
            (Dialect::Assemblyai, "Termination") => seconds(&end["session_duration_seconds"]),
            (Dialect::Mistral, "transcription.done") => seconds(&end["usage"]["prompt_audio_seconds"]),
            (Dialect::Cartesia, "done") | (Dialect::Speechmatics, "EndOfTranscript") => Some(sent_ms),
            _ => None,
        }
    }
}

impl Speaker for Timed {
    fn prelude(&self) -> Option<String> {
        None
    }

    fn turn(&mut self, audio: &str) -> Vec<String> {
        vec![audio.to_owned()]
    }

    fn farewell(&self) -> Option<&'static str> {
        match self.dialect {
            Dialect::Deepgram => Some(r#"{"type":"CloseStream"}"#),
            Dialect::Assemblyai => Some(r#"{"type":"Terminate"}"#),
            Dialect::Cartesia => Some("done"),
            Dialect::Speechmatics => Some(r#"{"message":"EndOfStream","last_seq_no":0}"#),
            Dialect::Mistral => Some(r#"{"type":"input_audio.end"}"#),
            _ => None,
        }
    }

    fn turn_is_over(&mut self) -> bool {
        let is_over = std::mem::take(&mut self.answered);
        self.pieces += u64::from(is_over);
        is_over
    }

    fn hear(&mut self, payload: &[u8], tally: &mut Tally) -> io::Result<()> {
        let message: Value = serde_json::from_slice(payload)?;
        if let Some(duration_ms) = self.stated_ms(&message) {
            let usage = Usage { duration_ms, requests: 1, ..Usage::default() };
            tally.used(&self.user, &self.model, usage);
        }
        let kind = message["type"].as_str().or(message["message"].as_str()).unwrap_or_default();
        self.answered |= ANSWERS.contains(&kind);
        if ["Error", "error"].contains(&kind) {
            tally.error(&format!("event: {kind}"));
        }
        Ok(())
    }
}

/// What answers a piece of sound.
const ANSWERS: [&str; 6] =
    ["Results", "Turn", "agent_response", "transcript", "AddTranscript", "transcription.text.delta"];
