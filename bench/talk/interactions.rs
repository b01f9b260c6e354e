//! One interaction of Google's: turns put sound in, and its end tells what all of it has used.

use super::Speaker;
use crate::tally::Tally;
use serde_json::Value;
use std::io;
use tokenist_core::usage::Usage;

pub(super) struct Interactions {
    user: String,
    model: String,
}

impl Interactions {
    pub(super) fn new(user: String, model: String) -> Interactions {
        Interactions { user, model }
    }
}

impl Speaker for Interactions {
    fn prelude(&self) -> Option<String> {
        None
    }

    fn turn(&mut self, audio: &str) -> Vec<String> {
        vec![audio.to_owned()]
    }

    fn farewell(&self) -> Option<&'static str> {
        Some(r#"{"event_type":"interaction.complete"}"#)
    }

    /// Nothing is answered before the end.
    fn turn_is_over(&mut self) -> bool {
        true
    }

    fn hear(&mut self, payload: &[u8], tally: &mut Tally) -> io::Result<()> {
        let message: Value = serde_json::from_slice(payload)?;
        let events = message["events"].as_array();
        for event in events.map_or(std::slice::from_ref(&message), Vec::as_slice) {
            if event["usage"].as_object().is_some_and(|told| !told.is_empty()) {
                tally.used(&self.user, &self.model, told(&event["usage"]));
            }
            if event["event_type"] == "error" {
                tally.error(&format!("event: {}", event["error"]["code"].as_str().unwrap_or("error")));
            }
        }
        Ok(())
    }
}

/// Counts by kind.
fn told(usage: &Value) -> Usage {
    let of = |list: &str, modality: &str| {
        let entries = usage[list].as_array().into_iter().flatten();
        entries
            .filter(|entry| entry["modality"] == modality)
            .filter_map(|entry| entry["tokens"].as_u64())
            .sum()
    };
    let (input, cached, output) =
        ("input_tokens_by_modality", "cached_tokens_by_modality", "output_tokens_by_modality");
    let thoughts = usage["total_thought_tokens"].as_u64().unwrap_or(0);
    let text_out: u64 = of(output, "text");
    Usage {
        text_in: of(input, "text"),
        audio_in: of(input, "audio"),
        image_in: of(input, "image"),
        cached_text_in: of(cached, "text"),
        cached_audio_in: of(cached, "audio"),
        cached_image_in: of(cached, "image"),
        text_out: text_out + thoughts,
        audio_out: of(output, "audio"),
        reasoning_out: thoughts,
        requests: 1,
        ..Usage::default()
    }
}
