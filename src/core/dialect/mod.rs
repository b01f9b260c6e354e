//! The vocabularies of providers: where their events keep what the meter needs.
//!
//! Start at [`Dialect`]. A dialect turns an event's bytes into a [`Peek`] (from its first bytes alone) or a [`ProviderEvent`]
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

/// How many bytes of an event [`Dialect::peek`] wants to see.
pub const HEAD_BYTES_MAX: usize = 512;

/// Whose events a session speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// OpenAI Realtime with its present (GA) and its former (beta) names; also Azure, Qwen and other work-alikes.
    OpenaiRealtime,
}

/// What the beginning of an event tells.
#[derive(Debug, PartialEq)]
pub enum Peek<'a> {
    Nothing,
    /// The whole event has to be read.
    Whole,
    OutputDelta(OutputDelta<'a>),
}

/// What a whole event tells.
#[derive(Debug, PartialEq)]
pub enum ProviderEvent<'a> {
    Nothing,
    /// It breaks off before it says what it is.
    Unreadable,
    Session(Box<Settings<'a>>),
    /// A response has begun.
    Begun {
        response: Option<Cow<'a, str>>,
        model: Option<Cow<'a, str>>,
        output_rate: Option<AudioRate>,
        /// It is no part of the conversation, which it may read all the same.
        apart: bool,
    },
    OutputDelta(OutputDelta<'a>),
    /// A response is over, well or not; `None` if the provider states no usage.
    Done {
        response: Option<Cow<'a, str>>,
        usage: Option<Usage>,
    },
    /// A response adds an item to the conversation.
    Answered {
        response: Option<Cow<'a, str>>,
        item: Cow<'a, str>,
    },
    /// The conversation has this item now.
    Added {
        item: Cow<'a, str>,
    },
    /// What was in the input buffer is an item now.
    Committed {
        item: Option<Cow<'a, str>>,
    },
    /// Somebody began to speak, or stopped, so many milliseconds of sound into the session.
    Speech {
        is_start: bool,
        at_ms: u64,
    },
    /// Something that the application asked for was not done.
    Refused,
    /// Somebody's speech will not be written down.
    Unheard {
        item: Option<Cow<'a, str>>,
        content_index: u64,
    },
    /// Somebody's speech was written down, which is billed at the transcription model.
    Transcribed {
        item: Option<Cow<'a, str>>,
        content_index: u64,
        usage: Option<Usage>,
    },
}

/// A session's settings, as the provider states them. What is `None` was not said and stays as it was.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings<'a> {
    pub model: Option<Cow<'a, str>>,
    pub transcription_model: Option<Cow<'a, str>>,
    pub output_rate: Option<AudioRate>,
    pub input_rate: Option<AudioRate>,
    /// How long instructions and tools are, which every response reads.
    pub text_bytes: Option<u64>,
    /// The session writes down what it hears, and answers nothing.
    pub only_transcribes: Option<bool>,
    /// The provider finds out by itself when somebody speaks.
    pub detects_turns: Option<bool>,
}

/// What the beginning of an event of the application tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientPeek {
    Nothing,
    /// The whole event has to be read.
    Whole,
    /// So many bytes of base64 go into the input buffer.
    Sound {
        bytes: u64,
    },
}

/// What an event of the application asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientEvent<'a> {
    Nothing,
    Sound {
        bytes: u64,
    },
    ClearSound,
    CommitSound,
    AddItem {
        item: Option<Cow<'a, str>>,
        content: Content,
    },
    DeleteItem {
        item: Option<Cow<'a, str>>,
    },
    /// So many milliseconds of an answer were heard; what follows, and its text, is to be forgotten.
    TruncateItem {
        item: Option<Cow<'a, str>>,
        sound_ms: u64,
    },
    Respond {
        /// The response is to be no part of the conversation.
        apart: bool,
        /// What it reads in the conversation's place.
        input: Option<Content>,
    },
    /// Another model for the session, or for its transcriptions.
    Choose {
        model: Option<Cow<'a, str>>,
        transcription_model: Option<Cow<'a, str>>,
    },
}

/// How much is in an item, or in several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Content {
    pub text_bytes: u64,
    /// Base64.
    pub sound_bytes: u64,
    pub images: u64,
}

/// A part of a response that is being generated.
#[derive(Debug, PartialEq)]
pub struct OutputDelta<'a> {
    pub response: Option<Cow<'a, str>>,
    pub kind: OutputKind,
    /// How long it is, as it stands in the event: base64 or escaped text.
    pub bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputKind {
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

    /// How long so much base64 plays: four characters of it are three bytes of sound.
    pub fn base64_ms(self, bytes: u64) -> u64 {
        bytes.saturating_mul(750) / u64::from(self.bytes_per_second.max(1))
    }
}

impl Dialect {
    /// Looks at the first bytes of an event, up to [`HEAD_BYTES_MAX`]; `event_bytes` is how long it is altogether, or
    /// how much of it has come if nobody knows yet.
    #[inline]
    pub fn peek(self, head: &[u8], event_bytes: u64) -> Peek<'_> {
        match self {
            Dialect::OpenaiRealtime => openai_realtime::peek(head, event_bytes),
        }
    }

    /// Reads a whole event, or as much of it as there is.
    pub fn read(self, event: &[u8]) -> ProviderEvent<'_> {
        match self {
            Dialect::OpenaiRealtime => openai_realtime::read(event),
        }
    }

    /// As [`Dialect::peek`], for an event of the application.
    #[inline]
    pub fn peek_client(self, head: &[u8], event_bytes: u64) -> ClientPeek {
        match self {
            Dialect::OpenaiRealtime => openai_realtime::client::peek(head, event_bytes),
        }
    }

    /// Reads an event of the application, or its beginning; `event_bytes` is how long it is altogether.
    pub fn read_client(self, event: &[u8], event_bytes: u64) -> ClientEvent<'_> {
        match self {
            Dialect::OpenaiRealtime => openai_realtime::client::read(event, event_bytes),
        }
    }

    /// The event that asks the provider to stop a response and to tell what it has used.
    pub fn cancel(self, response: Option<&str>) -> String {
        match self {
            Dialect::OpenaiRealtime => openai_realtime::client::cancel(response),
        }
    }
}
