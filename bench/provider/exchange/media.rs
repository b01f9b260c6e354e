//! What OpenAI's other endpoints say: speech, transcriptions, pictures and decisions.

use super::event::{WORDS, event};
use super::{Form, Reply};
use serde_json::{Value, json};
use tokenist_core::usage::Usage;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::provider) enum Media {
    Speech,
    Transcription,
    Picture,
    PictureEdit,
    Decision,
}

/// So much of a picture comes with each event.
const PICTURE: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII=";
/// 100 ms of 16-bit samples at 24 kHz.
const SOUND_BYTES: usize = 4_800;
const MS_PER_CHUNK: u64 = 100;

impl Media {
    pub(super) fn of(path: &str) -> Option<Media> {
        [
            ("/audio/speech", Media::Speech),
            ("/audio/transcriptions", Media::Transcription),
            ("/images/generations", Media::Picture),
            ("/images/edits", Media::PictureEdit),
            ("/decisions", Media::Decision),
        ]
        .into_iter()
        .find_map(|(tail, media)| path.ends_with(tail).then_some(media))
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Media::Speech => "speech",
            Media::Transcription => "transcription",
            Media::Picture | Media::PictureEdit => "picture",
            Media::Decision => "decision",
        }
    }

    pub(super) fn form(self, asked: &Value) -> Form {
        match self {
            Media::Speech if asked["stream_format"] == "sse" => Form::Events,
            Media::Speech => Form::Bytes,
            Media::Decision => Form::Whole,
            _ if asked["stream"] == true => Form::Events,
            _ => Form::Whole,
        }
    }

    pub(super) fn states_usage(self, form: Form, asked: &Value) -> bool {
        match self {
            Media::Speech => form == Form::Events,
            Media::Transcription => !is_plain(asked),
            Media::Picture | Media::PictureEdit | Media::Decision => true,
        }
    }

    /// After so many chunks. tts-1 bills characters, a picture is 256 tokens and what the formula says of text out.
    pub(super) fn usage(self, reply: &Reply, text: Usage, chunks: u64) -> Usage {
        let only = Usage { requests: 1, ..Usage::default() };
        match self {
            Media::Speech if reply.model.starts_with("tts-1") => {
                Usage { characters_in: reply.asked.text("input").chars().count() as u64, ..only }
            }
            Media::Speech => Usage { text_in: text.text_in, audio_out: chunks * MS_PER_CHUNK / 50, ..only },
            Media::Transcription => {
                let heard = reply.turn.transcription(&reply.model, reply.asked.sound_ms);
                Usage { duration_ms: heard.duration_ms.div_ceil(1_000) * 1_000, ..heard }
            }
            Media::Picture | Media::PictureEdit => {
                let count = reply.asked.fields["n"].as_u64().unwrap_or(1);
                let image_in = if self == Media::PictureEdit { 85 } else { 0 };
                Usage { text_in: text.text_in, image_in, image_out: count * (256 + text.text_out), ..only }
            }
            Media::Decision => text,
        }
    }

    pub(super) fn content_type(self, reply: &Reply) -> &'static str {
        match (self, reply.asked.text("response_format")) {
            (Media::Speech, "wav") => "audio/wav",
            (Media::Speech, "pcm") => "audio/pcm",
            (Media::Speech, "opus") => "audio/opus",
            (Media::Speech, _) => "audio/mpeg",
            (Media::Transcription, _) if is_plain(&reply.asked.fields) => "text/plain; charset=utf-8",
            _ => "application/json",
        }
    }

    /// A whole body, without its usage.
    pub(super) fn whole(self, reply: &Reply) -> Value {
        let fields = &reply.asked.fields;
        match self {
            Media::Transcription => {
                let mut body = json!({"text": WORDS.trim()});
                if fields["response_format"] == "verbose_json" {
                    body["task"] = "transcribe".into();
                    body["language"] = "english".into();
                    body["duration"] = (reply.asked.sound_ms as f64 / 1_000.0).into();
                    body["segments"] = json!([]);
                }
                body
            }
            Media::Picture | Media::PictureEdit => {
                let count = fields["n"].as_u64().unwrap_or(1) as usize;
                json!({"created": 1_796_000_000, "background": "opaque", "output_format": "png", "quality": "low",
                    "size": "1024x1024", "data": vec![json!({"b64_json": PICTURE}); count]})
            }
            Media::Decision => {
                let answers = fields["questions"].as_array().map_or(0, Vec::len);
                json!({"id": reply.id, "object": "decision", "model": reply.model,
                    "answers": vec![json!({"type": "predicate", "name": null, "probability": 0.7}); answers]})
            }
            Media::Speech => Value::Null,
        }
    }

    pub(super) fn chunk(self, reply: &Reply, before: u64) -> String {
        match self {
            Media::Speech if reply.form == Form::Bytes => "\0".repeat(SOUND_BYTES),
            Media::Speech => {
                event(None, &json!({"type": "speech.audio.delta", "audio": "A".repeat(SOUND_BYTES * 4 / 3)}))
            }
            Media::Transcription => event(None, &json!({"type": "transcript.text.delta", "delta": WORDS})),
            Media::Picture | Media::PictureEdit => {
                let mut body = picture_event(&format!("{}.partial_image", self.event_name()));
                body["partial_image_index"] = before.into();
                named(&body)
            }
            Media::Decision => String::new(),
        }
    }

    /// The last event of a stream, into which `state` puts the usage.
    pub(super) fn end(self, reply: &Reply, state: impl Fn(&mut Value)) -> String {
        let mut body = match self {
            Media::Speech if reply.form == Form::Bytes => return String::new(),
            Media::Speech => json!({"type": "speech.audio.done"}),
            Media::Transcription => {
                json!({"type": "transcript.text.done", "text": WORDS.repeat(reply.sim.chunks as usize)})
            }
            Media::Picture | Media::PictureEdit => picture_event(&format!("{}.completed", self.event_name())),
            Media::Decision => return String::new(),
        };
        state(&mut body);
        named(&body)
    }

    pub(super) fn stated(self, reply: &Reply, usage: &Usage) -> Value {
        let (input, output) = (usage.input_tokens(), usage.output_tokens());
        let mut stated =
            json!({"input_tokens": input, "output_tokens": output, "total_tokens": input + output});
        match self {
            Media::Speech => {}
            Media::Transcription if usage.duration_ms > 0 => {
                return json!({"type": "duration", "seconds": usage.duration_ms / 1_000});
            }
            Media::Transcription => {
                stated["type"] = "tokens".into();
                stated["input_token_details"] = json!({"text_tokens": 0, "audio_tokens": usage.audio_in});
            }
            Media::Picture | Media::PictureEdit => {
                stated["input_tokens_details"] =
                    json!({"text_tokens": usage.text_in, "image_tokens": usage.image_in});
                // Of some models it is not told what kind they are.
                if reply.turn.whim().is_multiple_of(2) {
                    stated["output_tokens_details"] = json!({"text_tokens": 0, "image_tokens": output});
                }
            }
            Media::Decision => return super::super::responses::usage(usage),
        }
        stated
    }

    fn event_name(self) -> &'static str {
        if self == Media::PictureEdit { "image_edit" } else { "image_generation" }
    }
}

/// Transcriptions of these formats are text and nothing else.
fn is_plain(asked: &Value) -> bool {
    ["text", "srt", "vtt"].contains(&asked["response_format"].as_str().unwrap_or_default())
}

fn picture_event(kind: &str) -> Value {
    json!({"type": kind, "b64_json": PICTURE, "background": "opaque", "created_at": 1_796_000_000,
        "output_format": "png", "quality": "low", "size": "1024x1024"})
}

/// An event that is called as its type says.
fn named(body: &Value) -> String {
    event(body["type"].as_str(), body)
}
