//! What comes back for a request: what the bytes of a body tell the meter, in whichever form they come.
//!
//! Start at [`Answer::read`]. A body is one value in JSON, an array whose elements come one by one, a stream of events, or
//! nothing that can be read, such as sound. Invariant: however the bytes are split, the same is told in the same order;
//! a response is told to be over once.

use super::skim::Skim;
use super::sound::rate_of;
use super::sse::{EventStream, Stretch};
use super::{Asked, Call, Endpoint, ProviderEvent};
use crate::close_reason::CloseReason;
use crate::dialect::fields::object;
use crate::dialect::stated::is_misstated;
use crate::dialect::{AudioRate, OutputDelta, OutputKind};
use crate::json::{Field, Fields};
use crate::terms::Terms;
use crate::usage::Usage;
use std::borrow::Cow;

#[cfg(test)]
mod tests;

/// Reads one answer.
#[derive(Debug)]
pub struct Answer {
    call: &'static Call,
    skim: Skim,
    framing: Framing,
    /// How the data of the event begins.
    head: Vec<u8>,
    progress: Progress,
    told: Told,
    /// Events that were whole.
    events: u64,
    /// The body is over.
    is_over: bool,
    /// How much text was said of what goes on elsewhere.
    said_elsewhere: u64,
    /// Its status says that nothing was done.
    is_refusal: bool,
}

/// How far an answer was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    pub bytes: usize,
    /// The bytes end an event: behind them a stream can be ended.
    pub ends_event: bool,
}

#[derive(Debug)]
enum Framing {
    /// Which of the next three, its first byte tells: what an answer says of itself is not always so.
    Undecided {
        says_events: bool,
    },
    Events(EventStream),
    /// One in JSON.
    Value,
    /// Of those.
    /// `open` while an element is.
    Array {
        open: bool,
        is_empty: bool,
    },
    /// Not read at all.
    Opaque {
        bytes: u64,
        rate: AudioRate,
    },
}

/// What may stand before all else, and is no part of it (UTF-8's).
const BYTE_ORDER_MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

/// The data that ends a stream and is no JSON.
const DONE: &[u8] = b"[DONE]";

/// An event, or the only value.
pub(super) struct Event<'a> {
    /// What was wanted of it, each under its path.
    pub(super) fields: Fields<'a>,
    /// It is the whole answer.
    pub(super) is_whole_answer: bool,
    /// So much of an answer was not read, such as sound, of which a second takes so much.
    pub(super) unread_bytes: u64,
    pub(super) rate: AudioRate,
}

/// What an answer has told so far.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) response: Option<Box<str>>,
    pub(super) model: Option<Box<str>>,
    pub(super) terms: Terms<'static>,
    pub(super) usage: Option<Usage>,
    /// What can be measured from outside, of each measure that could be billed, where the provider states nothing.
    pub(super) measured: Option<Usage>,
    /// Billed beside the usage, at its own model's usual terms: that, and how much.
    pub(super) items: Vec<(Box<str>, Usage)>,
    /// Numbers that hold until they are stated anew.
    pub(super) figures: [Option<u64>; 8],
    pub(super) state: State,
    /// What the request and the head of the answer told.
    pub(super) asked: Asked,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    #[default]
    UnderWay,
    Over,
    /// It came to nothing; what it has said by then is billed.
    Failed,
    /// It was cut off or left.
    Cut,
    /// It goes on elsewhere, and will be asked for again.
    Elsewhere,
    /// It was answered to another request before, and is only looked at.
    Before,
}

/// What of the progress the meter knows.
#[derive(Debug, Default)]
struct Told {
    /// By which id, if by any.
    begun: Option<Option<Box<str>>>,
    model: bool,
    usage: Option<Usage>,
    over: bool,
}

impl Told {
    /// By what the response is called since it began.
    fn id(&self) -> Option<Cow<'_, str>> {
        self.begun.as_ref()?.as_deref().map(Cow::Borrowed)
    }
}

/// A longer id or model is none.
const WORD_BYTES_MAX: usize = 256;

impl Progress {
    /// The response's id; the first one holds.
    pub(super) fn name(&mut self, id: Option<Cow<'_, str>>) {
        if self.response.is_none() {
            self.response = id.filter(|id| id.len() <= WORD_BYTES_MAX).map(|id| id.into());
        }
    }

    /// The model that answers; the last one holds.
    pub(super) fn set_model(&mut self, model: Option<Cow<'_, str>>) {
        let Some(model) = model.filter(|model| model.len() <= WORD_BYTES_MAX) else { return };
        if self.model.as_deref() != Some(&*model) {
            self.model = Some(model.into());
        }
    }

    /// What is used is stated anew, in this field. What nobody can have used makes nothing of what was stated before.
    pub(super) fn state(&mut self, stated: Field<'_>, read: impl FnOnce(Fields<'_>) -> Option<Usage>) {
        let Some(fields) = object(stated) else { return };
        self.usage = if is_misstated(fields.clone()) { None } else { read(fields).or(self.usage) };
    }

    /// The response is over, unless it was before.
    pub(super) fn end(&mut self, state: State) {
        if self.state == State::UnderWay {
            self.state = state;
        }
    }

    /// On which terms it was billed; the last one of a name holds.
    pub(super) fn set_term(&mut self, name: &'static str, value: Option<Cow<'_, str>>) {
        let Some(value) = value.filter(|value| value.len() <= WORD_BYTES_MAX) else { return };
        if self.terms.get(name) != Some(&*value) {
            let terms = std::mem::take(&mut self.terms);
            self.terms = terms.with(name, value.into_owned());
        }
    }
}

impl Answer {
    /// Of a request that asked for this, whose answer has this status; `header` finds a header of the answer by its name in
    /// lower case.
    pub fn new<'a>(
        endpoint: &Endpoint,
        asked: Asked,
        status: u16,
        header: impl Fn(&str) -> Option<&'a str>,
    ) -> Answer {
        let call = endpoint.call;
        let kind = header("content-type").unwrap_or_default().to_ascii_lowercase();
        let says_events = kind.starts_with("text/event-stream");
        let framing = match () {
            () if says_events || kind.contains("json") || kind.is_empty() || !call.may_be_bytes => {
                Framing::Undecided { says_events }
            }
            () => Framing::Opaque { bytes: 0, rate: rate_of(&kind) },
        };
        let is_refused = !(200..300).contains(&status);
        let mut progress = Progress { asked, ..Progress::default() };
        let tier = call.tier_header.and_then(&header);
        progress.set_term("service_tier", tier.map(Cow::Borrowed));
        progress.state = if is_refused { State::Failed } else { State::UnderWay };
        Answer {
            call,
            skim: Skim::new(call.wanted),
            framing,
            head: Vec::new(),
            progress,
            told: Told::default(),
            events: 0,
            is_over: false,
            said_elsewhere: 0,
            is_refusal: is_refused,
        }
    }

    /// Reads some of the body, decoded, at most to the end of the next event, and hands what it tells to `found`, in the order
    /// in which it counts. Call it again with what is left.
    pub fn read(&mut self, bytes: &[u8], found: &mut dyn FnMut(ProviderEvent<'_>)) -> Piece {
        let mut piece = Piece { bytes: 0, ends_event: false };
        while piece.bytes < bytes.len() && !piece.ends_event {
            let more = self.step(&bytes[piece.bytes..], found);
            piece = Piece { bytes: piece.bytes + more.bytes, ends_event: more.ends_event };
        }
        piece
    }

    fn step(&mut self, bytes: &[u8], found: &mut dyn FnMut(ProviderEvent<'_>)) -> Piece {
        let within = |bytes| Piece { bytes, ends_event: false };
        match &mut self.framing {
            Framing::Opaque { bytes: unread, .. } => {
                *unread += bytes.len() as u64;
                within(bytes.len())
            }
            Framing::Undecided { .. } => {
                let is_blank = |byte: &u8| byte.is_ascii_whitespace() || BYTE_ORDER_MARK.contains(byte);
                let blank = bytes.iter().position(|byte| !is_blank(byte)).unwrap_or(bytes.len());
                match bytes.get(blank) {
                    Some(b'[') => self.framing = Framing::Array { open: false, is_empty: true },
                    Some(b'{') => self.framing = Framing::Value,
                    Some(_) => self.framing = Framing::Events(EventStream::new()),
                    None => {}
                }
                within(blank + usize::from(bytes.get(blank) == Some(&b'[')))
            }
            Framing::Value if self.skim.is_over() => within(bytes.len()),
            Framing::Value => within(self.skim.read(bytes)),
            Framing::Array { open: open @ false, .. } => {
                let start = bytes.iter().position(|byte| *byte == b'{').unwrap_or(bytes.len());
                *open = start < bytes.len();
                within(start)
            }
            Framing::Array { open, is_empty } => {
                let read = self.skim.read(bytes);
                let ends_event = self.skim.is_over();
                if ends_event {
                    (*open, *is_empty) = (false, false);
                    self.end_event(found);
                }
                Piece { bytes: read, ends_event }
            }
            Framing::Events(stream) => {
                let (read, stretch) = stream.read(bytes);
                match stretch {
                    Stretch::Data(data) => {
                        add_head(&mut self.head, data);
                        self.skim.read(data);
                    }
                    Stretch::End => self.end_event(found),
                    Stretch::Other => {}
                }
                Piece { bytes: read, ends_event: stretch == Stretch::End }
            }
        }
    }

    /// An event is whole, or as whole as it gets.
    fn end_event(&mut self, found: &mut dyn FnMut(ProviderEvent<'_>)) {
        if self.head.starts_with(DONE) {
            self.progress.end(State::Over);
        } else {
            let (is_whole_answer, unread_bytes, rate) = match self.framing {
                Framing::Opaque { bytes, rate } => (true, bytes, rate),
                Framing::Value => (true, 0, AudioRate::UNKNOWN),
                Framing::Events(_) | Framing::Undecided { .. } | Framing::Array { .. } => {
                    (false, 0, AudioRate::UNKNOWN)
                }
            };
            let event = Event { fields: self.skim.fields(), is_whole_answer, unread_bytes, rate };
            (self.call.read)(&event, &mut self.progress);
        }
        self.tell(found);
        self.skim.restart();
        self.head.clear();
        self.events += 1;
    }

    /// The body is over; `is_whole` if it has come to its own end, and was not cut off or left.
    pub fn end(&mut self, is_whole: bool, found: &mut dyn FnMut(ProviderEvent<'_>)) {
        let has_rest = match self.framing {
            Framing::Value | Framing::Opaque { .. } => true,
            Framing::Array { open, .. } => open,
            Framing::Events(_) => !self.head.is_empty(),
            Framing::Undecided { .. } => false,
        };
        if has_rest {
            self.end_event(found);
        }
        let is_refused = self.progress.state == State::Failed && self.told.begun.is_none();
        if is_refused && self.progress.usage.is_some() {
            self.progress.state = State::Over;
        }
        // A stream that does not say that all is over has ended alone, where what it streams runs without it.
        let goes_on = self.progress.asked.in_background && matches!(self.framing, Framing::Events(_));
        // What was cut off of a value was generated all the same.
        let is_all = !goes_on && is_whole || matches!(self.framing, Framing::Value);
        self.progress.end(if is_all { State::Over } else { State::Cut });
        self.is_over = true;
        self.tell(found);
    }

    /// What the meter does not know yet.
    fn tell(&mut self, found: &mut dyn FnMut(ProviderEvent<'_>)) {
        let Progress { state, usage, .. } = self.progress;
        let (text_bytes, audio_bytes) = self.skim.output();
        let says = text_bytes + audio_bytes > 0;
        if (self.is_elsewhere() || self.has_failed_elsewhere()) && !self.told.over {
            self.said_elsewhere = self.said_elsewhere.saturating_add(text_bytes);
        }
        let is_sign = says || usage.is_some() || self.progress.response.is_some() || self.is_over;
        // What was refused costs nothing unless the provider says so, and that is known at its end.
        let is_refused = state == State::Failed && self.told.begun.is_none();
        if self.told.over || is_refused || self.is_elsewhere() || !is_sign && state == State::UnderWay {
            return;
        }
        self.tell_begun(found);
        for (kind, bytes) in [(OutputKind::Text, text_bytes), (OutputKind::Audio, audio_bytes)] {
            if bytes > 0 {
                let response = self.told.id();
                found(ProviderEvent::OutputDelta(OutputDelta { response, kind, bytes }));
            }
        }
        let is_last = state == State::Over;
        if let Some(usage) = usage.filter(|usage| !is_last && self.told.usage.as_ref() != Some(usage)) {
            self.told.usage = Some(usage);
            found(ProviderEvent::SoFar { response: self.told.id(), usage });
        }
        if state != State::UnderWay {
            self.tell_over(found);
        }
    }

    /// What runs in the background is told of when it is over: until then it may be asked for again.
    fn is_elsewhere(&self) -> bool {
        match self.progress.state {
            State::Elsewhere | State::Before => true,
            State::UnderWay | State::Cut => self.progress.asked.in_background,
            State::Over | State::Failed => false,
        }
    }

    /// The id by which the provider keeps it, once that is known.
    pub fn id(&self) -> Option<&str> {
        self.progress.response.as_deref()
    }

    /// The model that answers, once that is known.
    pub fn model(&self) -> Option<&str> {
        self.progress.model.as_deref()
    }

    /// How many bytes of text it has said, if it is one that runs in the background and states nothing, as far as is known.
    pub fn said_elsewhere(&self) -> Option<u64> {
        let goes_on = self.is_elsewhere() && self.progress.state != State::Before && !self.told.over;
        (goes_on || self.has_failed_elsewhere()).then_some(self.said_elsewhere)
    }

    /// Whether it ran in the background and has come to nothing.
    pub fn has_failed_elsewhere(&self) -> bool {
        let has_failed = self.progress.asked.in_background && self.progress.state == State::Failed;
        has_failed && !self.is_refusal
    }

    /// The response has begun, or its model is known now.
    fn tell_begun(&mut self, found: &mut dyn FnMut(ProviderEvent<'_>)) {
        let Progress { response, model, .. } = &self.progress;
        if self.told.begun.is_some() && (self.told.model || model.is_none()) {
            return;
        }
        let id = self.told.begun.get_or_insert_with(|| response.clone());
        self.told.model = model.is_some();
        found(ProviderEvent::Begun {
            response: id.as_deref().map(Cow::Borrowed),
            model: model.as_deref().map(Cow::Borrowed),
            output_rate: None,
            apart: true,
        });
    }

    fn tell_over(&mut self, found: &mut dyn FnMut(ProviderEvent<'_>)) {
        self.told.over = true;
        let Progress { response, usage, measured, terms, items, state, .. } = &self.progress;
        let id = response.as_deref().map(Cow::Borrowed);
        let terms = || terms.clone();
        found(match (*state, *usage, *measured) {
            (State::Over, Some(usage), _) => {
                ProviderEvent::Done { response: id, usage: Some(usage), terms: terms() }
            }
            (State::Over | State::Cut, None, Some(usage)) => {
                ProviderEvent::Measured { response: id, usage, terms: terms() }
            }
            (State::Failed, None, _) => ProviderEvent::Dropped { response: id },
            // What was stated so far is told, and is no more than that.
            _ => ProviderEvent::Done { response: id, usage: None, terms: terms() },
        });
        for (index, (model, usage)) in items.iter().enumerate() {
            let id = response.as_deref().map(|id| format!("{id}/{index}").into());
            let model = Some(Cow::Borrowed(&**model));
            found(ProviderEvent::Item { id, model, usage: *usage, terms: Terms::default() });
        }
    }

    /// Whether events come, as far as is known yet.
    pub fn is_stream(&self) -> bool {
        matches!(self.framing, Framing::Events(_))
    }

    /// The bytes that tell a client why a stream ends here, behind the end of an event and before the end of the body; `None`
    /// where there is no stream, and nothing can be told.
    pub fn ending(&self, reason: &CloseReason) -> Option<String> {
        match self.framing {
            Framing::Events(_) | Framing::Undecided { says_events: true } => {
                Some((self.call.ending)(reason, self.events))
            }
            Framing::Array { is_empty, .. } => {
                Some(format!("{}{}]", if is_empty { "" } else { "," }, (self.call.error)(reason)))
            }
            Framing::Undecided { .. } | Framing::Value | Framing::Opaque { .. } => None,
        }
    }
}

/// Keeps as much of an event's data as tells whether it is [`DONE`].
fn add_head(head: &mut Vec<u8>, data: &[u8]) {
    let room = DONE.len().saturating_sub(head.len());
    head.extend_from_slice(&data[..data.len().min(room)]);
}
