//! Protocols that are billed by time, and of which all passes unread but the few events that tell that time.
//!
//! One type speaks them all. A provider is a value of it: see `presets`. What is billed is the time of the connection, or
//! that of the sound which the application sends; where the provider states it in the end, that figure takes the place of what
//! was reckoned. Sound whose length its bytes do not tell, because it is compressed or in a container, is billed as if it came
//! no faster than it plays: by the time of the connection.

mod presets;
mod words;

pub(super) use self::presets::{
    ASSEMBLYAI, ASSEMBLYAI_AGENT, CARTESIA, CARTESIA_AGENT, DEEPGRAM, DEEPGRAM_AGENT, ELEVENLABS_AGENT,
    MISTRAL, PLAIN, SPEECHMATICS, XAI_STT,
};
pub use self::words::Words;

use super::error_form::filled;
use super::fields::{Type, find, type_under, value_at};
use super::openai_usage::milliseconds;
use super::tail::tail_of;
use super::{
    Address, AudioRate, ClientEvent, ClientPeek, Dialect, ModelSource, Peek, ProviderEvent, Rates, Rest,
    SESSION_TIME, Settings,
};
use crate::close_reason::CloseReason;
use crate::doubt::Keys;
use crate::http::query;
use crate::json::{COUNT_MAX, Fields, Value};
use crate::terms::Terms;
use crate::usage::Usage;
use std::borrow::Cow;
use std::ops::RangeInclusive;

/// Sound of more samples a second, or of more channels, there is none: who says so has its seconds reckoned as if nothing was said.
const SAMPLE_RATE_MAX: u32 = 192_000;
const CHANNELS_MAX: u32 = 16;
/// Whatever else is said may be taken for true.
const NOT_TRUE: [&str; 4] = ["", "0", "false", "no"];

/// A protocol, as data.
#[derive(Debug)]
pub struct Duration {
    pub name: &'static str,
    /// What a request's path ends with; a `*` at the end stands for one word.
    pub paths: &'static [&'static str],
    pub bills: Bills,
    pub asked: Asked,
    pub told: Told,
}

/// What a session's time is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bills {
    Connection,
    /// Sound that the application sends, as it is.
    Binary,
    /// Sound that the application sends in base64, in this field of this event.
    Base64 {
        event: &'static str,
        field: &'static str,
    },
}

/// Where the application says what it wants, and what holds where it does not.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// The event that says it, before which the provider does nothing, and whose fields the others name (`a.b`: a field of a
    /// field); `None`: parameters of the query do.
    pub event: Option<&'static str>,
    /// The first of these that is there.
    pub model: &'static [&'static str],
    pub model_default: &'static str,
    /// Parameters that say on which terms it is billed, each with the name of that term.
    pub terms: &'static [(&'static str, &'static str)],
    /// What says that it is `raw`, or else a file whose form it tells itself, whatever is said of that; empty: nothing does.
    pub kind: &'static str,
    pub encoding: &'static str,
    /// Empty: none, so that the length of sound cannot be told.
    pub encoding_default: &'static str,
    pub sample_rate: &'static str,
    pub sample_rate_default: u32,
    pub channels: &'static str,
    /// Where this is true each channel is billed by itself.
    pub each_channel: &'static str,
    /// The event that asks the provider to end the session and to state its time; `None` where it states none.
    pub end: Option<&'static str>,
}

/// What the provider says.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// The field that names an event.
    pub kind: &'static str,
    /// Events that repeat the form of the sound, under the names that [`Asked`] has for it.
    pub settings: &'static [&'static str],
    /// The event from which on the time of the connection is billed; `None`: from its beginning.
    pub begins: Option<&'static str>,
    pub ends: Option<Stated>,
    /// What the paths end with at which it says where a session is to be dialled, and the field that says so.
    pub addresses: (&'static [&'static str], &'static str),
    /// How it would say that a session ends, with `{code}`, `{close_code}` and `{message}`; `None`: by the close alone.
    pub error: Option<&'static str>,
}

/// The event that states the time that is billed.
#[derive(Clone, Copy, Debug)]
pub struct Stated {
    pub event: &'static str,
    /// Which field of it has the seconds.
    pub seconds: &'static str,
    /// Which field these are billed so many times; empty: none.
    pub times: &'static str,
}

impl Dialect for Duration {
    fn name(&self) -> &'static str {
        self.name
    }

    fn as_duration(&'static self) -> Option<&'static Duration> {
        Some(self)
    }

    fn path(&self, path: &str) -> Option<String> {
        tail_of(path, self.paths).map(str::to_owned)
    }

    fn address(&self, path: &str) -> Option<Address> {
        let (paths, field) = self.told.addresses;
        paths.iter().any(|own| path.ends_with(own)).then(|| Address { field, path: self.paths[0] })
    }

    fn rates(&self) -> Rates {
        let input = self.asked.rate(|_| None);
        Rates {
            input,
            output: input,
            heard_ms_per_token: 100,
            said_ms_per_token: 100,
            image_tokens: 0,
            sound_is_read_as_it_comes: false,
            sound_is_billed: self.bills != Bills::Connection,
        }
    }

    fn model_is_in(&self) -> ModelSource {
        self.asked.event.map_or(ModelSource::Url, |_| ModelSource::FirstEvent)
    }

    fn deciding(&self) -> Keys {
        let Asked { event, model, kind, encoding, sample_rate, .. } = self.asked;
        let read = [self.told.kind, kind, encoding, sample_rate].into_iter().chain(model.iter().copied());
        event.map_or_else(Keys::default, |_| Keys::of(&read.collect::<Vec<_>>()))
    }

    fn parameters(&self) -> Vec<&'static str> {
        let Asked { event, model, terms, encoding, sample_rate, channels, each_channel, .. } = self.asked;
        let form = [encoding, sample_rate, channels, each_channel].into_iter();
        let terms = terms.iter().map(|(name, _)| *name);
        let read = form.chain(terms).chain(model.iter().copied()).filter(|name| !name.is_empty());
        read.filter(|_| event.is_none()).collect()
    }

    fn start<'a>(&self, target: &'a str, found: &mut dyn FnMut(ProviderEvent<'a>)) {
        if self.asked.event.is_none() {
            found(ProviderEvent::Session(Box::new(self.asked.settings(|name| parameter(target, name)))));
        }
        if self.told.begins.is_none() {
            found(ProviderEvent::Ahead { grows: true });
        }
    }

    fn peek<'a>(&self, event: &'a [u8], _rest: Rest) -> Peek<'a> {
        match self.type_of(event) {
            Type::Named(name) if self.told.tells(&name) => Peek::Whole,
            Type::Unseen => Peek::Whole,
            Type::Named(_) | Type::None => Peek::Nothing,
        }
    }

    fn read<'a>(&self, event: &'a [u8], found: &mut dyn FnMut(ProviderEvent<'a>)) {
        match self.type_of(event) {
            Type::Unseen => found(ProviderEvent::Unreadable),
            Type::Named(name) if is_among(self.told.settings, &name) => {
                let input_rate = Some(self.asked.rate(|name| text_at(event, name)));
                found(ProviderEvent::Session(Box::new(Settings { input_rate, ..Settings::default() })));
            }
            Type::Named(name) => self.told.read(&name, Fields::of(event), found),
            Type::None => {}
        }
    }

    fn hears_binary(&self) -> bool {
        self.bills == Bills::Binary
    }

    fn peek_client(&self, head: &[u8], event_bytes: u64) -> ClientPeek {
        match (self.bills, self.asked.event) {
            (Bills::Base64 { event, field }, _) => self.peek_sound(head, event_bytes, event, field),
            // Sound is told apart by being binary; any of the others may turn out to ask for something.
            (_, Some(_)) => ClientPeek::Whole,
            (_, None) => ClientPeek::Nothing,
        }
    }

    fn read_client<'a>(&self, event: &'a [u8], event_bytes: u64, found: &mut dyn FnMut(ClientEvent<'a>)) {
        if let Bills::Base64 { event: name, field } = self.bills {
            let bytes = self.sound_bytes(event, event_bytes, name, field);
            return found(ClientEvent::Sound { bytes });
        }
        let is_asking = |name: &str| self.type_of(event) == Type::Named(name.as_bytes().into());
        if self.asked.event.is_some_and(is_asking) {
            let settings = self.asked.settings(|name| text_at(event, name));
            found(ClientEvent::Setup(Box::new(settings)));
        }
    }

    fn cancel(&self, _response: Option<&str>) -> Option<String> {
        self.asked.end.map(str::to_owned)
    }

    fn error_event(&self, reason: &CloseReason, _event_id: &str) -> Option<String> {
        self.told.error.map(|form| filled(form, reason))
    }
}

impl Duration {
    fn type_of<'a>(&self, event: &'a [u8]) -> Type<'a> {
        type_under(event, self.told.kind)
    }

    /// Sound in base64 is told by its length, as far as it fills the rest of its event. What else it may be is read.
    fn peek_sound(&self, head: &[u8], event_bytes: u64, event: &str, sound: &str) -> ClientPeek {
        let kind = self.told.kind;
        // What closes an event whose sound is cut here: `"}`, or its type as well.
        let mut closing_bytes = kind.len() + event.len() + 8;
        for field in Fields::of(head) {
            if field.key.is(kind) {
                if !field.value.text().is_some_and(|name| name.is(event)) {
                    return ClientPeek::Whole;
                }
                closing_bytes = 2;
            } else if let Some(seen) = field.value.text().filter(|_| field.cut && field.key.is(sound)) {
                let unseen = event_bytes.saturating_sub((head.len() + closing_bytes) as u64);
                return ClientPeek::Sound { bytes: (seen.raw.len() as u64).saturating_add(unseen) };
            }
        }
        ClientPeek::Whole
    }

    /// How much sound is in an event. Where the provider may find another one, it is no more than all of it.
    fn sound_bytes(&self, event: &[u8], event_bytes: u64, name: &'static str, sound: &'static str) -> u64 {
        let is_whole = event_bytes <= event.len() as u64;
        if !is_whole || Keys::of(&[self.told.kind, sound]).check(event).is_err() {
            return event_bytes;
        }
        let is_sound = self.type_of(event) == Type::Named(name.as_bytes().into());
        let sound = find(Fields::of(event), sound).filter(|_| is_sound).and_then(|field| field.value.text());
        sound.map_or(0, |sound| sound.raw.len() as u64)
    }
}

impl Asked {
    /// What is said under the names that `find` knows.
    fn settings<'a>(&self, find: impl Fn(&str) -> Option<Cow<'a, str>>) -> Settings<'a> {
        let mut said = self.model.iter().filter_map(|name| find(name));
        let named = said.find(|name| !name.is_empty());
        let model = named.unwrap_or(Cow::Borrowed(self.model_default));
        let said = self.terms.iter().filter_map(|(name, term)| Some((*term, find(name)?)));
        let terms = said.fold(Terms::default(), |terms, (term, value)| terms.with(term, value));
        Settings {
            model: Some(model),
            terms: (!terms.is_empty()).then_some(terms),
            input_rate: Some(self.rate(find)),
            ..Settings::default()
        }
    }

    /// How much is billed for a byte of sound.
    fn rate<'a>(&self, find: impl Fn(&str) -> Option<Cow<'a, str>>) -> AudioRate {
        let number = |name: &str, sensible: RangeInclusive<u32>, default: u32| {
            let stated = find(name).and_then(|text| text.trim().parse::<f64>().ok());
            stated.map(|number| number as u32).filter(|number| sensible.contains(number)).unwrap_or(default)
        };
        let encoding = find(self.encoding).unwrap_or(Cow::Borrowed(self.encoding_default));
        let is_raw = find(self.kind).is_none_or(|kind| kind == "raw");
        let Some(sample_bytes) = sample_bytes(&encoding.to_ascii_lowercase()).filter(|_| is_raw) else {
            return AudioRate::UNKNOWN;
        };
        let is_each =
            find(self.each_channel).is_some_and(|word| !NOT_TRUE.contains(&&*word.to_ascii_lowercase()));
        let channels = if is_each { 1 } else { number(self.channels, 1..=CHANNELS_MAX, 1) };
        let rate = number(self.sample_rate, 1..=SAMPLE_RATE_MAX, self.sample_rate_default);
        AudioRate { bytes_per_second: sample_bytes.saturating_mul(rate).saturating_mul(channels) }
    }
}

impl Told {
    /// Whether an event of this name tells something.
    fn tells(&self, name: &[u8]) -> bool {
        let ends = self.ends.as_ref().map(|stated| stated.event);
        let rare = [self.begins, ends].into_iter().flatten();
        rare.chain(self.settings.iter().copied()).any(|telling| *name == *telling.as_bytes())
    }

    fn read<'a>(&self, name: &[u8], fields: Fields<'a>, found: &mut dyn FnMut(ProviderEvent<'a>)) {
        if self.begins.is_some_and(|begins| *name == *begins.as_bytes()) {
            found(ProviderEvent::Ahead { grows: true });
        }
        let stated = self.ends.as_ref().filter(|stated| *name == *stated.event.as_bytes());
        if let Some(duration_ms) = stated.and_then(|stated| stated.milliseconds(fields)) {
            let usage = Usage { duration_ms, requests: 1, ..Usage::default() };
            let terms = Terms::default();
            found(ProviderEvent::Total { key: SESSION_TIME.into(), model: None, usage, terms });
            found(ProviderEvent::Ahead { grows: false });
        }
    }
}

impl Stated {
    fn milliseconds(&self, fields: Fields<'_>) -> Option<u64> {
        let number = |name: &str| value_at(fields.clone(), name)?.number();
        let times = if self.times.is_empty() { 1.0 } else { number(self.times).unwrap_or(1.0).max(1.0) };
        let seconds = number(self.seconds)? * times;
        (seconds <= COUNT_MAX as f64).then(|| milliseconds(seconds))
    }
}

/// The first parameter of this name.
fn parameter<'a>(target: &'a str, wanted: &str) -> Option<Cow<'a, str>> {
    let found =
        query::parameters(target).find(|parameter| !wanted.is_empty() && parameter.name() == wanted)?;
    query::decode(found.value())
}

fn is_among(names: &[&str], name: &[u8]) -> bool {
    names.iter().any(|other| *name == *other.as_bytes())
}

/// A text at a path of an event, or a number or word as it stands there.
fn text_at<'a>(event: &'a [u8], path: &str) -> Option<Cow<'a, str>> {
    match value_at(Fields::of(event), path)? {
        Value::Text(text) => Some(text.decode()),
        Value::Plain(raw) => std::str::from_utf8(raw).ok().map(Cow::Borrowed),
        Value::Object(_) | Value::Array(_) => None,
    }
}

/// How many bytes one sample of one channel has; `None` where that is not always the same.
fn sample_bytes(encoding: &str) -> Option<u32> {
    match encoding {
        "linear16" | "pcm_s16le" | "pcm16" => Some(2),
        "linear32" | "pcm_s32le" | "pcm_f32le" => Some(4),
        "mulaw" | "alaw" | "pcm_mulaw" | "pcm_alaw" => Some(1),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
