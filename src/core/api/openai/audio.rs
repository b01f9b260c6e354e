//! Speech and what was said: sound that costs characters or tokens, and transcriptions that cost tokens or time. Where the
//! provider states nothing, the text, the length of what was uploaded and that of what came back are all there is to go by.

use super::super::answer::{Event, Progress, State};
use super::super::request::{Asked, is_unclear, written};
use super::super::wanted::{Wants, audio, text, value};
use super::super::{Call, ModelIn};
use super::RATES;
use crate::dialect::fields::{self, find};
use crate::dialect::openai_usage::{milliseconds, usage};
use crate::dialect::{Content, http_body};
use crate::json::Fields;
use crate::usage::Usage;

pub(super) static SPEECH: Call = Call {
    name: "speech",
    model_in: ModelIn::Json,
    is_metered: true,
    may_be_bytes: true,
    ask: ask_speech,
    wanted: &Wants::new(&[value("type"), value("usage"), audio("audio")]),
    read: read_speech,
    ending: super::ending,
    error: http_body,
    ..Call::FREE
};

pub(super) static TRANSCRIPTION: Call = Call {
    name: "transcriptions",
    model_in: ModelIn::Multipart,
    is_metered: true,
    may_be_bytes: true,
    wanted: &Wants::new(&[value("type"), value("usage"), value("duration"), text("text"), text("delta")]),
    read: read_transcription,
    ending: super::ending,
    error: http_body,
    ..Call::FREE
};

pub(super) static TRANSLATION: Call = Call { name: "translations", ..TRANSCRIPTION };

fn ask_speech(body: &[u8]) -> Asked {
    let of = |name| find(Fields::of(body), name).and_then(|field| field.value.text());
    let characters = of("input").map_or(0, |input| input.decode().chars().count() as u64);
    let instructions = of("instructions").map_or(0, |text| text.raw.len() as u64);
    let text_bytes = of("input").map_or(0, |text| text.raw.len() as u64) + instructions;
    let (asked, content) = (Asked::of(body), Content { text_bytes, ..Content::default() });
    let problem = is_unclear(Fields::of(body), "input")
        .then_some("it gives `input` twice or in another spelling: give it once, in lower case");
    Asked { characters, content, problem: asked.problem.or(problem), ..asked }
}

fn read_speech(event: &Event<'_>, progress: &mut Progress) {
    for field in event.fields.clone() {
        match &*field.key.bytes() {
            // All that it says is sound.
            b"usage" if !field.cut => progress.state(field, |fields| {
                let said = |usage: Usage| usage.text_out + usage.audio_out;
                usage(fields).map(|usage| Usage { text_out: 0, audio_out: said(usage), ..usage })
            }),
            b"type" if fields::text(field).as_deref() == Some("speech.audio.done") => {
                progress.end(State::Over)
            }
            _ => {}
        }
    }
    if event.is_whole_answer {
        let sound_ms = event.rate.ms(event.unread_bytes);
        progress.measured = Some(Usage {
            characters_in: progress.asked.characters,
            text_in: written(progress.asked.content),
            audio_out: sound_ms.div_ceil(u64::from(RATES.said_ms_per_token)),
            requests: 1,
            ..Usage::default()
        });
    }
}

fn read_transcription(event: &Event<'_>, progress: &mut Progress) {
    let mut sound_ms = progress.asked.sound_ms;
    for field in event.fields.clone() {
        match &*field.key.bytes() {
            b"usage" if !field.cut => progress.state(field, usage),
            b"duration" => sound_ms = field.value.number().map_or(sound_ms, milliseconds),
            b"type" if fields::text(field).as_deref() == Some("transcript.text.done") => {
                progress.end(State::Over);
            }
            _ => {}
        }
    }
    let said = Content { text_bytes: event.unread_bytes, ..Content::default() };
    progress.measured = Some(Usage {
        duration_ms: sound_ms,
        text_in: written(progress.asked.content),
        audio_in: sound_ms.div_ceil(RATES.heard_ms_per_token),
        text_out: written(said),
        requests: 1,
        ..Usage::default()
    });
}
