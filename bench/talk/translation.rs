//! Turns of a translation: audio in, its translation out. What it costs follows from what was sent: no event tells it.

use super::Speaker;
use crate::tally::Tally;
use serde_json::Value;
use std::io;
use tokenist_core::usage::Usage;

pub(super) struct Translation {
    user: String,
    model: String,
    /// Milliseconds of what is sent in a turn.
    turn_ms: u64,
    heard_anything: bool,
    translated: bool,
}

impl Translation {
    pub(super) fn new(user: String, model: String, turn_ms: u64) -> Translation {
        Translation { user, model, turn_ms, heard_anything: false, translated: false }
    }
}

impl Speaker for Translation {
    fn prelude(&self) -> Option<String> {
        None
    }

    fn turn(&mut self, audio: &str) -> Vec<String> {
        vec![audio.to_owned()]
    }

    fn turn_is_over(&mut self) -> bool {
        std::mem::take(&mut self.translated)
    }

    fn hear(&mut self, payload: &[u8], tally: &mut Tally) -> io::Result<()> {
        let event: Value = serde_json::from_slice(payload)?;
        match event["type"].as_str().unwrap_or_default() {
            // It ends the answer to a piece of sound.
            "session.output_transcript.delta" => {
                self.translated = true;
                let requests = u64::from(!std::mem::replace(&mut self.heard_anything, true));
                let usage = Usage { duration_ms: self.turn_ms, requests, ..Usage::default() };
                tally.used(&self.user, &self.model, usage);
            }
            "error" => tally.error(&format!("event: {}", event["error"]["code"].as_str().unwrap_or("error"))),
            _ => {}
        }
        Ok(())
    }
}
