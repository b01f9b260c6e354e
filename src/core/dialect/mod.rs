//! The vocabularies of providers: where their events keep what the meter needs.
//!
//! Start at [`Dialect`]. A dialect turns an event's bytes into a [`Peek`] (from its first bytes) or into
//! [`ProviderEvent`]s (from all of it), and says a close reason in its own words; what events add up to is the meter's
//! business. Invariant: a dialect keeps no state, knows no price and cannot fail: what it does not understand is nothing
//! to it. `README.md` beside this file tells how to add one.

pub mod duration;
mod error_form;
mod event;
mod families;
pub(crate) mod fields;
mod gemini_live;
pub(crate) mod google_interactions;
pub(crate) mod google_usage;
mod gpt_live;
mod openai_error;
mod openai_like;
mod openai_realtime;
mod openai_translation;
pub(crate) mod openai_usage;
pub(crate) mod responses_over;
mod responses_ws;
mod spoken_text;
pub(crate) mod stated;
mod tail;
mod xai;

pub use self::event::{
    AudioRate, ClientEvent, ClientPeek, Content, Handle, OutputDelta, OutputKind, Peek, ProviderEvent,
    SESSION_TIME, Settings, TEXT_BYTES_PER_TOKEN,
};
pub use self::families::{FAMILIES, family, usual};
pub use self::gemini_live::GeminiLive;
pub use self::google_interactions::GoogleInteractions;
pub use self::gpt_live::{GptLive, GptLiveJoined};
pub use self::openai_like::OpenaiLike;
pub use self::openai_like::words::{BadWord, Words};
pub use self::openai_realtime::OpenaiRealtime;
pub use self::openai_translation::OpenaiTranslation;
pub use self::responses_ws::ResponsesWs;
pub use self::xai::Xai;

use crate::auth_scheme::AuthScheme;
use crate::close_reason::CloseReason;
use crate::doubt::Keys;
use crate::json::Fields;
use crate::usage::Usage;
use std::fmt;

/// A provider's protocols under one name: which of them is spoken, a request's path tells.
#[derive(Debug)]
pub struct Family {
    /// As a configuration calls it.
    pub name: &'static str,
    pub dialects: &'static [&'static dyn Dialect],
    /// What is spoken over HTTP.
    pub apis: &'static [ApiName],
    /// Of the dialects the one that a configuration may say more of ([`Words`]).
    pub like: Option<&'static OpenaiLike>,
    pub auth: AuthScheme,
    /// What stands in the paths of this family and in no others', where it takes paths that others take as well.
    pub path_mark: Option<&'static str>,
    /// What a configuration that names the family alone means, in this order: the provider's name, which prices are listed
    /// under; where it is; the environment variable that holds its key.
    pub defaults: [&'static str; 3],
}

/// The words of HTTP endpoints, which `api` knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiName {
    Openai,
    Google,
    Anthropic,
}

impl Family {
    /// What is to be answered where a path asks for an address to dial.
    pub fn address(&self, path: &str) -> Option<Address> {
        self.dialects.iter().find_map(|dialect| dialect.address(path))
    }

    /// Whether a path that others take as well is written as this family's own.
    pub fn is_at_home(&self, path: &str) -> bool {
        match self.path_mark {
            Some(mark) => path.contains(mark),
            None => !FAMILIES.iter().filter_map(|other| other.path_mark).any(|mark| path.contains(mark)),
        }
    }

    /// Which dialect takes a path, and the path at the provider.
    pub fn route(&self, path: &str) -> Option<(&'static dyn Dialect, String)> {
        self.dialects.iter().find_map(|dialect| Some((*dialect, dialect.path(path)?)))
    }
}

/// The body of a refusal in HTTP, as OpenAI words it, which is what SDKs show.
pub fn http_body(reason: &CloseReason) -> String {
    openai_error::body(reason)
}

/// Reads the JSON of a `usage` object, in the words of the realtime, responses or chat API; `None` if it states no
/// number.
pub fn read_usage(object: &[u8]) -> Option<Usage> {
    openai_usage::usage(Fields::of(object))
}

/// How many bytes of an event [`Dialect::peek`] has to see at least, if there are so many.
pub const HEAD_BYTES_MAX: usize = 512;

/// The words of one provider's realtime protocol, both ways.
pub trait Dialect: fmt::Debug + Send + Sync {
    /// Tells it from others.
    fn name(&self) -> &'static str;

    /// Itself, if it is one of which a configuration may say more, in [`duration::Words`].
    fn as_duration(&'static self) -> Option<&'static duration::Duration> {
        None
    }

    /// The path at the provider of a WebSocket that is asked for at this one; `None` if the dialect has no such path. Prefixes
    /// of a base URL are gone then.
    fn path(&self, path: &str) -> Option<String>;

    /// The same path for one session, where its URL has to name it by something of its own.
    fn path_of_session(&self, path: &str, _session: u64) -> String {
        path.to_owned()
    }

    /// Where a path asks for an address to dial, whatever stands before it: what is to be answered.
    fn address(&self, _path: &str) -> Option<Address> {
        None
    }

    /// How calls are begun whose sockets have its paths, where there are calls.
    fn calls(&self) -> Option<Calls> {
        None
    }

    /// What is spoken on a socket that is attached to one of them, where that is another dialect.
    fn attached(&self) -> Option<&'static dyn Dialect> {
        None
    }

    /// What an estimate assumes of sound and images.
    fn rates(&self) -> Rates;

    /// Where the application names its model.
    fn model_is_in(&self) -> ModelSource;

    /// What is billed where nobody has named a model, as those do not who attach to what was begun elsewhere; `None` where it
    /// cannot be told.
    fn unnamed_model(&self) -> Option<&'static str> {
        None
    }

    /// The keys of the application's events that decide what they are, which model is used or what is billed by them. An event of which
    /// [`Keys::check`] is in doubt goes nowhere, if [`Dialect::peek_client`] has it read.
    fn deciding(&self) -> Keys {
        Keys::default()
    }

    /// Whether these keys are also looked for behind what begins as sound.
    fn looks_behind_sound(&self) -> bool {
        true
    }

    /// The form of the sound in an event, where each says its own.
    fn sound_form(&self, _event: &[u8]) -> Option<AudioRate> {
        None
    }

    /// Whether an event is sound and nothing else; its sound may be cut short.
    fn is_sound_alone(&self, event: &[u8]) -> bool {
        self.peek_client(event, event.len() as u64) != ClientPeek::Whole
    }

    /// The parameters of the query that `start` reads, of which each may be there once.
    fn parameters(&self) -> Vec<&'static str> {
        Vec::new()
    }

    /// What the request for a session, a path with its query, tells of it: its model above all, where that stands under a name
    /// of the dialect's own, and that time is billed from its beginning.
    fn start<'a>(&self, _target: &'a str, _found: &mut dyn FnMut(ProviderEvent<'a>)) {}

    /// Looks at an event of the provider: all of it, or its first bytes, at least [`HEAD_BYTES_MAX`] if it is longer.
    fn peek<'a>(&self, event: &'a [u8], rest: Rest) -> Peek<'a>;

    /// Reads a whole event of the provider, or as much of it as there is, and hands what it tells to `found`, in the order
    /// in which it counts.
    fn read<'a>(&self, event: &'a [u8], found: &mut dyn FnMut(ProviderEvent<'a>));

    /// Whether what the application says in binary is sound as it is. Nothing of it is looked at then but its length.
    fn hears_binary(&self) -> bool {
        false
    }

    /// Looks at the first bytes of an event of the application, or at all of a shorter one; `event_bytes` is how long it
    /// is altogether, or how much of it has come where that is not known yet.
    fn peek_client(&self, head: &[u8], event_bytes: u64) -> ClientPeek;

    /// Reads an event of the application, or its beginning; `event_bytes` is how long it is altogether.
    fn read_client<'a>(&self, event: &'a [u8], event_bytes: u64, found: &mut dyn FnMut(ClientEvent<'a>));

    /// The event that asks the provider to stop a response and to tell what it has used, or to end a session and to tell how long
    /// it was; `None` where there is none.
    fn cancel(&self, response: Option<&str>) -> Option<String>;

    /// The event that tells the reason for an end of ours, before it; `None` where clients understand a close alone.
    fn error_event(&self, reason: &CloseReason, event_id: &str) -> Option<String>;
}

/// How calls are begun over HTTP, whose sound then passes beside all sockets. See [`crate::signalling`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calls {
    /// An offer in SDP, alone or in a form with the session's settings; the answer's `Location` names the call.
    Realtime,
    /// JSON both ways; the answer's body names the session.
    Live,
}

/// An answer in JSON that says where a session is to be dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// Its field that holds the URL.
    pub field: &'static str,
    /// The path of such a session.
    pub path: &'static str,
}

impl Rates {
    /// How many times the tokens of heard sound what the model said of the same length has, also where it reads it again.
    pub(crate) fn said_per_heard(self) -> u64 {
        (self.heard_ms_per_token / u64::from(self.said_ms_per_token.max(1))).max(1)
    }
}

/// What of an event follows the bytes that are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    Nothing,
    Bytes(u64),
    /// A fragmented message tells its length with its end.
    Unknown,
}

impl Rest {
    /// As far as it is known.
    pub fn bytes(self) -> u64 {
        match self {
            Rest::Bytes(bytes) => bytes,
            Rest::Nothing | Rest::Unknown => 0,
        }
    }
}

/// Where an application names the model of its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelSource {
    /// In the URL, if at all; the provider's greeting tells it as well.
    Url,
    /// In its first event, before which the provider does nothing.
    FirstEvent,
}

/// What an estimate assumes of a dialect's sound and images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Of sound that goes in, until the session's settings say otherwise; likewise the next.
    pub input: AudioRate,
    pub output: AudioRate,
    /// Milliseconds of sound that one token stands for where the model hears it.
    pub heard_ms_per_token: u64,
    /// The same where the model says it.
    pub said_ms_per_token: u32,
    /// What the least image costs.
    pub image_tokens: u64,
    /// All sound that goes in is read by the next response, silence included. Else an item has to be made of it.
    pub sound_is_read_as_it_comes: bool,
    /// All sound that goes in is billed by its length, at the session's model, whether or not the provider states it.
    pub sound_is_billed: bool,
}
