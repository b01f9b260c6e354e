//! The vocabularies of providers: where their events keep what the meter needs.
//!
//! Start at [`Dialect`]. A dialect turns an event's bytes into a [`Sign`] (from its first bytes alone) or a [`Fact`]
//! (from all of it); what they add up to is the meter's business. Invariant: a dialect keeps no state, knows no
//! price and cannot fail: what it does not understand is nothing to it.

mod openai_realtime;

use crate::scan::Fields;
use crate::usage::Usage;
use std::borrow::Cow;

/// Reads the JSON of a `usage` object, in the words of the realtime, responses or chat API; `None` if it states no
/// number.
pub fn read_usage(object: &[u8]) -> Option<Usage> {
    openai_realtime::usage(Fields::of(object))
}

/// How many bytes of an event [`Dialect::sniff`] wants to see.
pub const HEAD_BYTES_MAX: usize = 512;

/// Whose events a session speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// OpenAI Realtime with its present (GA) and its former (beta) names; also Azure, Qwen and other work-alikes.
    OpenaiRealtime,
}

/// What the beginning of an event tells.
#[derive(Debug, PartialEq)]
pub enum Sign<'a> {
    Nothing,
    /// The whole event has to be read.
    Whole,
    Piece(Piece<'a>),
}

/// What a whole event tells.
#[derive(Debug, PartialEq)]
pub enum Fact<'a> {
    Nothing,
    /// It breaks off before it says what it is.
    Unreadable,
    /// The session's settings. What is `None` was not said and stays as it was.
    Session {
        model: Option<Cow<'a, str>>,
        transcription_model: Option<Cow<'a, str>>,
        output_rate: Option<AudioRate>,
    },
    /// A response has begun.
    Begun {
        response: Option<Cow<'a, str>>,
        output_rate: Option<AudioRate>,
    },
    Piece(Piece<'a>),
    /// A response is over, well or not; `None` if the provider states no usage.
    Done {
        response: Option<Cow<'a, str>>,
        usage: Option<Usage>,
    },
    /// Somebody's speech was written down, which is billed at the transcription model.
    Transcribed {
        item: Option<Cow<'a, str>>,
        content_index: u64,
        usage: Option<Usage>,
    },
}

/// A part of a response that is being generated.
#[derive(Debug, PartialEq)]
pub struct Piece<'a> {
    pub response: Option<Cow<'a, str>>,
    pub kind: PieceKind,
    /// How long it is, as it stands in the event: base64 or escaped text.
    pub bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceKind {
    /// Base64.
    Audio,
    /// Anything that is billed as text: also transcripts of spoken output, and arguments of calls.
    Text,
}

/// How much sound a byte of audio is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioRate {
    pub bytes_per_second: u32,
}

impl AudioRate {
    pub const PCM16_24KHZ: AudioRate = AudioRate { bytes_per_second: 48_000 };
    pub const G711: AudioRate = AudioRate { bytes_per_second: 8_000 };
}

impl Dialect {
    /// Looks at the first bytes of an event, up to [`HEAD_BYTES_MAX`]; `event_bytes` is how long it is altogether, or
    /// how much of it has come if nobody knows yet.
    #[inline]
    pub fn sniff(self, head: &[u8], event_bytes: u64) -> Sign<'_> {
        match self {
            Dialect::OpenaiRealtime => openai_realtime::sniff(head, event_bytes),
        }
    }

    /// Reads a whole event, or as much of it as there is.
    pub fn read(self, event: &[u8]) -> Fact<'_> {
        match self {
            Dialect::OpenaiRealtime => openai_realtime::read(event),
        }
    }
}
