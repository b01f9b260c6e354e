//! Work-alikes of OpenAI Realtime: the same conversation, with other paths, names and places. How one differs is data
//! ([`OpenaiLike`]): a preset below, or what a configuration says (`words`).

mod presets;
pub(super) mod words;

pub(super) use self::presets::{AZURE, AZURE_VOICE_LIVE, ELEVENLABS, INWORLD, PLAIN, QWEN_OMNI};

use super::fields::{find, object, text};
use super::openai_realtime::{Kind, OpenaiRealtime, kind_of_name, peek, read};
use super::openai_usage::usage;
use super::{
    AudioRate, Calls, ClientEvent, ClientPeek, Dialect, ModelSource, Peek, ProviderEvent, Rates, Rest,
    Settings,
};
use crate::close_reason::CloseReason;
use crate::doubt::Keys;
use crate::json::{Field, Fields};
use std::borrow::Cow;

/// How a work-alike differs. What is empty is as OpenAI has it.
#[derive(Clone, Copy, Debug)]
pub struct OpenaiLike {
    pub name: &'static str,
    /// How its paths end; to the first of them OpenAI's own path leads as well.
    paths: &'static [&'static str],
    /// Where `response.done` may hold its usage, and in which order it is looked for there.
    usage: &'static [Place],
    /// Its names of events, each with OpenAI's.
    events: &'static [(&'static str, &'static str)],
    /// Where the application's first event names the model; else the URL does.
    model_in: Place,
    /// Its names of models, each with that on the price list.
    models: &'static [(&'static str, &'static str)],
    /// What begins the part of a model's name that tells where it runs, and is on no price list.
    tails: &'static [&'static str],
    /// What is said to it is written down at a price of its own.
    transcribes_apart: bool,
    /// The time of the connection is billed besides.
    bills_time: bool,
    /// The URL names the session, in `key`. What a client says there is taken for a credential and goes nowhere.
    names_session: bool,
    /// Calls are begun and end as OpenAI's do.
    has_calls: bool,
    rates: Rates,
}

/// The keys that lead to a value, from the outermost in.
type Place = &'static [&'static str];

impl Dialect for OpenaiLike {
    fn name(&self) -> &'static str {
        self.name
    }

    fn path(&self, path: &str) -> Option<String> {
        let bare = path.trim_end_matches('/');
        if let Some(own) = self.paths.iter().find(|own| bare.ends_with(**own)) {
            return Some((*own).to_owned());
        }
        let usual = OpenaiRealtime.path(path)?;
        Some(self.paths.first().map_or(usual, |own| (*own).to_owned()))
    }

    fn path_of_session(&self, path: &str, session: u64) -> String {
        let name = if self.names_session { format!("?key=tokenist-{session:016x}") } else { String::new() };
        format!("{path}{name}")
    }

    fn calls(&self) -> Option<Calls> {
        self.has_calls.then_some(Calls::Realtime)
    }

    fn rates(&self) -> Rates {
        self.rates
    }

    fn model_is_in(&self) -> ModelSource {
        if self.model_in.is_empty() { ModelSource::Url } else { ModelSource::FirstEvent }
    }

    fn deciding(&self) -> Keys {
        if self.model_in.is_empty() { Keys::default() } else { Keys::of(&["type"]).and(self.model_in) }
    }

    fn peek<'a>(&self, event: &'a [u8], rest: Rest) -> Peek<'a> {
        peek(event, rest, |name| self.kind(name))
    }

    fn read<'a>(&self, event: &'a [u8], found: &mut dyn FnMut(ProviderEvent<'a>)) {
        match read(event, |name| self.kind(name)) {
            ProviderEvent::Session(settings) => {
                found(ProviderEvent::Session(Box::new(self.settings(*settings))));
                if self.bills_time {
                    found(ProviderEvent::Clock { runs: true });
                }
            }
            ProviderEvent::Begun { response, model, output_rate, apart } => {
                let model = model.map(|model| self.model(model));
                found(ProviderEvent::Begun { response, model, output_rate, apart });
            }
            ProviderEvent::Done { response, usage: usual, terms } => {
                let stated = self.usage.iter().find_map(|place| usage(object(at(event, place)?)?));
                let usage = if self.usage.is_empty() { usual } else { stated };
                found(ProviderEvent::Done { response, usage, terms });
            }
            ProviderEvent::Transcribed { .. } if !self.transcribes_apart => {}
            told => found(told),
        }
    }

    fn peek_client(&self, head: &[u8], event_bytes: u64) -> ClientPeek {
        match OpenaiRealtime.peek_client(head, event_bytes) {
            // It may name a model all the same.
            ClientPeek::Nothing if !self.model_in.is_empty() => ClientPeek::Whole,
            peek => peek,
        }
    }

    fn read_client<'a>(&self, event: &'a [u8], event_bytes: u64, found: &mut dyn FnMut(ClientEvent<'a>)) {
        let model = if self.model_in.is_empty() { None } else { at(event, self.model_in).and_then(text) };
        if let Some(model) = model {
            let settings = Settings { model: Some(self.model(model)), ..Settings::default() };
            found(ClientEvent::Setup(Box::new(settings)));
        }
        OpenaiRealtime.read_client(event, event_bytes, &mut |told| match told {
            ClientEvent::Choose { model, transcription_model } => {
                let Settings { model, transcription_model, .. } =
                    self.settings(Settings { model, transcription_model, ..Settings::default() });
                found(ClientEvent::Choose { model, transcription_model });
            }
            told => found(told),
        });
    }

    fn cancel(&self, response: Option<&str>) -> Option<String> {
        OpenaiRealtime.cancel(response)
    }

    fn error_event(&self, reason: &CloseReason, event_id: &str) -> Option<String> {
        OpenaiRealtime.error_event(reason, event_id)
    }
}

impl OpenaiLike {
    fn kind(&self, name: &[u8]) -> Kind {
        let usual = self.events.iter().find(|(own, _)| own.as_bytes() == name);
        kind_of_name(usual.map_or(name, |(_, usual)| usual.as_bytes()))
    }

    fn settings<'a>(&self, settings: Settings<'a>) -> Settings<'a> {
        let transcription_model = settings.transcription_model.filter(|_| self.transcribes_apart);
        let own_rate = |rate| if rate == AudioRate::PCM16_24KHZ { self.rates.input } else { rate };
        Settings {
            input_rate: settings.input_rate.map(own_rate),
            model: settings.model.map(|model| self.model(model)),
            transcription_model: transcription_model.map(|model| self.model(model)),
            ..settings
        }
    }

    /// As the price list calls it.
    fn model<'a>(&self, name: Cow<'a, str>) -> Cow<'a, str> {
        let tail = self.tails.iter().filter_map(|tail| name.find(tail)).min();
        let bare = &name[..tail.unwrap_or(name.len())];
        match self.models.iter().find(|(own, _)| *own == &*name || *own == bare) {
            Some((_, listed)) => Cow::Borrowed(listed),
            None if tail.is_some() => Cow::Owned(bare.to_owned()),
            None => name,
        }
    }
}

/// What stands at a place in an event, if it is whole.
fn at<'a>(event: &'a [u8], place: &[&str]) -> Option<Field<'a>> {
    let (last, outer) = place.split_last()?;
    let fields = outer.iter().try_fold(Fields::of(event), |fields, key| object(find(fields, key)?));
    find(fields?, last).filter(|field| !field.cut)
}

#[cfg(test)]
mod tests;
