//! What events tell, the provider's and the application's, in whoever's words they come.

use crate::terms::Terms;
use crate::usage::Usage;
use std::borrow::Cow;
use std::fmt;

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
    /// What a response under way has used so far, as the provider states it; more may follow.
    SoFar {
        response: Option<Cow<'a, str>>,
        usage: Usage,
    },
    /// A response has said all; its usage may still follow.
    Finished,
    /// A response is over, well or not; `None` if the provider states no usage.
    Done {
        response: Option<Cow<'a, str>>,
        usage: Option<Usage>,
        /// As it was billed, which is not always as it was asked for; likewise in what follows.
        terms: Terms<'a>,
    },
    /// A response is over, and the provider states nothing of it: what it would be by each measure that can be billed, such
    /// as time, characters and tokens. Of these the model's price tells the one that counts.
    Measured {
        response: Option<Cow<'a, str>>,
        usage: Usage,
        terms: Terms<'a>,
    },
    /// A response has come to nothing and costs nothing, unless it has said something.
    Dropped {
        response: Option<Cow<'a, str>>,
    },
    /// What has been used altogether so far, under a name; of each kind the greatest that was stated holds. `requests` is 1.
    Total {
        key: Cow<'a, str>,
        /// `None`: the session's.
        model: Option<Cow<'a, str>>,
        usage: Usage,
        terms: Terms<'a>,
    },
    /// Something that is billed by itself: once, if it has an id.
    Item {
        id: Option<Cow<'a, str>>,
        /// `None`: the session's.
        model: Option<Cow<'a, str>>,
        usage: Usage,
        terms: Terms<'a>,
    },
    /// Time is billed from now on, at the session's model, or no more.
    Clock {
        runs: bool,
    },
    /// The session's time is billed as far as the provider states it, in a [`ProviderEvent::Total`] under [`SESSION_TIME`].
    /// From now on what is not stated yet is estimated; or no more, and what was stated is all.
    Ahead {
        grows: bool,
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
    /// The web was searched so often for the response that is under way; of several such figures the greatest holds.
    Searched {
        searches: u64,
    },
    /// The sound of a response is played to whoever listens from now on, or no more. It says so where the sound itself passes
    /// elsewhere.
    Plays {
        response: Option<Cow<'a, str>>,
        is_start: bool,
    },
    /// Another connection may go on with the session by this.
    Resumable {
        handle: Handle,
    },
    /// Others may attach to the session by this, and see what it uses as well.
    Joinable {
        call: Cow<'a, str>,
    },
}

impl ProviderEvent<'_> {
    /// The id of a response that is over by this and counts, if it has one.
    pub fn over(&self) -> Option<&str> {
        match self {
            ProviderEvent::Done { response, .. } | ProviderEvent::Measured { response, .. } => {
                response.as_deref()
            }
            _ => None,
        }
    }
}

/// By which a session is resumed on another connection. It is a secret of the application, so it shows nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Handle(Box<str>);

impl Handle {
    /// `None` if it is empty, which names nothing.
    pub fn new(text: &str) -> Option<Handle> {
        (!text.is_empty()).then(|| Handle(text.into()))
    }

    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handle(…)")
    }
}

/// The key of the total that a session's time is stated under, where it is estimated until then.
pub const SESSION_TIME: &str = "session time";

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
    /// On which all of the session is billed.
    pub terms: Option<Terms<'a>>,
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
    /// Another model for the session, or for its transcriptions, that the provider has still to confirm.
    Choose {
        model: Option<Cow<'a, str>>,
        transcription_model: Option<Cow<'a, str>>,
    },
    /// The session's settings, which the provider does not repeat.
    Setup(Box<Settings<'a>>),
    /// This connection goes on with the session that another one was given this for.
    Resume {
        handle: Handle,
    },
    /// Something that is billed as soon as it is said, at the session's model.
    Billed {
        usage: Usage,
        /// It may be less.
        is_estimate: bool,
    },
    /// The session is attached to something that was begun elsewhere, and whose model nobody names here.
    Attach {
        call: Option<Cow<'a, str>>,
    },
}

/// How much text a token is taken for.
pub const TEXT_BYTES_PER_TOKEN: u64 = 4;

/// How much is in an item, or in several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Content {
    pub text_bytes: u64,
    /// Base64.
    pub sound_bytes: u64,
    pub images: u64,
}

impl Content {
    pub(crate) fn plus(self, other: Content) -> Content {
        Content {
            text_bytes: self.text_bytes.saturating_add(other.text_bytes),
            sound_bytes: self.sound_bytes.saturating_add(other.sound_bytes),
            images: self.images.saturating_add(other.images),
        }
    }
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
    /// Anything that is billed as text: also arguments of calls.
    Text,
    /// What spoken output says. It is billed as text, beside its sound.
    Transcript,
}

/// How much sound a byte of audio is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioRate {
    pub bytes_per_second: u32,
}

impl AudioRate {
    pub const PCM16_24KHZ: AudioRate = AudioRate { bytes_per_second: 48_000 };
    pub const G711: AudioRate = AudioRate { bytes_per_second: 8_000 };

    /// The length of compressed sound, or of sound in a container, cannot be told by its bytes.
    pub const UNKNOWN: AudioRate = AudioRate { bytes_per_second: 0 };

    /// How long so many bytes play.
    pub fn ms(self, bytes: u64) -> u64 {
        bytes.saturating_mul(1_000) / u64::from(self.bytes_per_second.max(1))
    }

    /// How long so much base64 plays: four characters of it are three bytes of sound.
    pub fn base64_ms(self, bytes: u64) -> u64 {
        bytes.saturating_mul(750) / u64::from(self.bytes_per_second.max(1))
    }
}
