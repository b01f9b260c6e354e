//! What a `session` object sets: models, formats, and how much of it every response reads.

use super::super::fields::{find, is_null, object, text};
use super::super::{AudioRate, Settings};
use crate::json::{self, Fields, Text};

pub(in super::super) fn session(fields: Fields<'_>, only_transcribes: Option<bool>) -> Settings<'_> {
    let mut settings = Settings { only_transcribes, ..Settings::default() };
    let model_of = |transcription| find(object(transcription)?, "model").and_then(text);
    for field in fields {
        match &*field.key.bytes() {
            b"type" => {
                let kind = field.value.text();
                settings.only_transcribes =
                    kind.map(|kind| kind.is("transcription")).or(settings.only_transcribes);
            }
            b"instructions" | b"tools" => {
                let bytes = match field.value {
                    json::Value::Text(text) => text.raw.len(),
                    // An empty list has two brackets.
                    json::Value::Array(raw) => raw.len().saturating_sub(2),
                    _ => continue,
                };
                *settings.text_bytes.get_or_insert_default() += bytes as u64;
            }
            b"model" => settings.model = text(field),
            b"input_audio_transcription" => settings.transcription_model = model_of(field),
            b"input_audio_format" => settings.input_rate = field.value.text().and_then(beta_rate),
            b"output_audio_format" => settings.output_rate = field.value.text().and_then(beta_rate),
            b"turn_detection" => settings.detects_turns = Some(!is_null(field)),
            b"audio" => {
                let input = object(field).and_then(|audio| find(audio, "input")).and_then(object);
                for part in input.into_iter().flatten() {
                    match &*part.key.bytes() {
                        b"transcription" => settings.transcription_model = model_of(part),
                        b"turn_detection" => settings.detects_turns = Some(!is_null(part)),
                        b"format" => settings.input_rate = object(part).and_then(ga_rate),
                        _ => {}
                    }
                }
                settings.output_rate = object(field).and_then(audio_rate);
            }
            _ => {}
        }
    }
    settings
}

/// What is set in `audio.output.format`.
pub(super) fn audio_rate(audio: Fields<'_>) -> Option<AudioRate> {
    ga_rate(find(find(audio, "output").and_then(object)?, "format").and_then(object)?)
}

pub(super) fn beta_rate(format: Text<'_>) -> Option<AudioRate> {
    match &*format.decode() {
        "pcm16" => Some(AudioRate::PCM16_24KHZ),
        "g711_ulaw" | "g711_alaw" => Some(AudioRate::G711),
        _ => None,
    }
}

fn ga_rate(format: Fields<'_>) -> Option<AudioRate> {
    match &*find(format.clone(), "type").and_then(text)? {
        "audio/pcm" => {
            let hz = find(format, "rate").and_then(|field| field.value.count());
            let plausible =
                hz.and_then(|hz| u32::try_from(hz).ok()).filter(|hz| (8_000..=192_000).contains(hz));
            Some(plausible.map_or(AudioRate::PCM16_24KHZ, |hz| AudioRate { bytes_per_second: 2 * hz }))
        }
        "audio/pcmu" | "audio/pcma" => Some(AudioRate::G711),
        _ => None,
    }
}
