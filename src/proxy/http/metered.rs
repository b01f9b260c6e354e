//! What is metered of an answer: its events in passing, and where a limit ends it.
//!
//! Start at [`Metered::look`]. Invariant: behind the event that crosses a limit, or behind the reason to end, no event of the
//! provider goes on; what has come of it all the same is counted.

use crate::asked::Claimant;
use crate::config::Provider;
use crate::live::Live;
use crate::shard::Shard;
use crate::tap::Tap;
use std::rc::Rc;
use std::sync::Arc;
use tokenist_core::api::{self, Answer, Api, Endpoint, Piece, UsageFilter};
use tokenist_core::close_reason::CloseReason;
use tokenist_core::http::ResponseHead;
use tokenist_core::http::coding::{Coding, Decoded, Decoder};
use tokenist_core::id::Model;
use tokenist_core::kept_response::Counted;
use tokenist_core::meter::{Meter, Models};
use tokenist_core::ws::walk::Act;

/// How an answer is read.
pub(crate) struct Reading {
    pub(crate) api: &'static dyn Api,
    pub(crate) endpoint: Endpoint,
    pub(crate) asked: api::Asked,
    /// What was counted before of what is asked for.
    pub(crate) counted: Counted,
    /// The client has not asked for the event that states usage alone.
    pub(super) hides_usage: bool,
}

impl Reading {
    /// Whether something may be taken out of the answer, or has to be put behind an event of it.
    pub(super) fn must_be_plain(&self) -> bool {
        self.hides_usage || self.endpoint.streams(&self.asked)
    }
}

/// How an answer is read, and who is shown what it says.
pub(super) struct Metering<'a> {
    pub(super) reading: Box<Reading>,
    pub(super) tap: &'a mut Tap,
}

/// What the answer to a request is shown to.
pub(super) fn tap(shard: &Rc<Shard>, live: &Rc<Live>, reading: &Reading, provider: Arc<Provider>) -> Tap {
    let Reading { api, endpoint, asked, counted, .. } = reading;
    let models = Models { session: live.model.borrow().clone(), transcription: None };
    let mut meter = Meter::of_api(*api, provider.billing.clone(), models, shard.config.estimate);
    meter.ask(asked);
    match counted {
        Counted::Nothing | Counted::All => {}
        Counted::UnderWay(_, usage) => meter.ask_again(*usage),
        Counted::Estimate(_, usage, cost) => {
            meter.ask_again(*usage);
            meter.discount(*usage, *cost);
        }
    }
    if endpoint.is_repeatable() {
        let call = format!("{}/{}", provider.name, api.name()).into();
        let claims = Box::new(Claimant { call, session: live.id(), shard: Rc::clone(shard) });
        match endpoint.answers_anew(asked) {
            true => meter.lend(claims),
            false => meter.share(claims),
        }
    }
    let mut tap = Tap::new(Rc::clone(shard), Rc::clone(live), meter, provider);
    tap.keeps_responses(asked.in_background);
    tap
}

/// An answer that is read as it passes.
pub(super) struct Metered<'a> {
    answer: Box<Answer>,
    tap: &'a mut Tap,
    /// An event has begun to pass, and has not ended.
    is_within: bool,
    is_over: bool,
    /// Where the client has not asked for usage.
    filtered: Option<Filtered>,
    /// Where it passes in its coding.
    coded: Option<Coded>,
    /// What is still to be told of what the provider keeps.
    untold: Untold,
    /// What is asked for again, and its model as far as that is known.
    again: Option<(String, Option<Model>)>,
    /// So many bytes of text that it has said were told.
    said: u64,
}

/// What is to be told of a response that its provider keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Untold {
    /// That it is there, as soon as its id is known.
    All,
    /// How far it had come at the end, if it goes on without this request.
    End,
    Nothing,
}

/// An answer that passes in its coding, as far as it can be read.
enum Coded {
    As(Box<Decoder>),
    /// It is not what it says: what is to come is not known.
    Illegible,
}

/// What goes on in place of what comes.
#[derive(Default)]
struct Filtered {
    filter: UsageFilter,
    visible: Vec<u8>,
}

/// What becomes of content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    /// So much of it goes on.
    pub(super) forward: usize,
    /// Nothing goes on behind it.
    pub(super) ends: bool,
}

impl<'a> Metered<'a> {
    /// Of the answer under this head, which passes in a coding or in none.
    pub(super) fn new(metering: Metering<'a>, head: &ResponseHead, coding: Option<Coding>) -> Metered<'a> {
        let Metering { reading, tap } = metering;
        let again = again(&reading);
        let Reading { endpoint, asked, hides_usage, .. } = *reading;
        let untold = match endpoint.keeps(&asked) {
            true => Untold::All,
            false if again.is_some() => Untold::End,
            false => Untold::Nothing,
        };
        let header = |name: &str| head.headers.0.iter().find(|line| line.is(name))?.value.as_text();
        let answer = Box::new(Answer::new(&endpoint, asked, head.status, header));
        let filtered = hides_usage.then(Filtered::default);
        let coded = coding.map(|coding| Coded::As(Box::new(Decoder::new(coding))));
        Metered { answer, tap, is_within: false, is_over: false, filtered, coded, untold, again, said: 0 }
    }

    /// Reads content that came; with the last of it, whatever is known at the end alone.
    pub(super) fn look(&mut self, content: &[u8], is_last: bool) -> Look {
        let (at, end) = match self.coded.take() {
            None => self.look_at(content),
            Some(coded) => (content.len(), self.look_behind(coded, content)),
        };
        if is_last {
            self.end(true);
        }
        if self.untold == Untold::All {
            self.tell_id();
        }
        Look {
            forward: end.unwrap_or(at),
            ends: end.is_some() && !is_last || end.is_some_and(|end| end < at),
        }
    }

    /// Reads content: how much there is, and where nothing goes on any more.
    fn look_at(&mut self, content: &[u8]) -> (usize, Option<usize>) {
        let (mut at, mut end) = (0, None);
        while at < content.len() {
            if end.is_none() && !self.is_within && self.tap.may_begin() != Act::Pass {
                end = Some(at);
            }
            let (from, was_within) = (at, self.is_within);
            let (piece, act) = self.read(&content[at..]);
            at += piece.bytes;
            self.is_within = !piece.ends_event;
            // Another one has crossed the limit meanwhile: this event is withheld, unless it had begun to pass.
            if act == Act::StopBefore && !was_within {
                end = end.or(Some(from));
            }
            if let Some(Filtered { filter, visible }) = self.filtered.as_mut().filter(|_| end.is_none()) {
                match self.answer.is_stream() {
                    true => filter.pass(&content[from..at], piece.ends_event, visible),
                    false => visible.extend(&content[from..at]),
                }
            }
            if piece.ends_event && !matches!(act, Act::Pass | Act::Swallow) {
                end = end.or(Some(at));
            }
        }
        (at, end)
    }

    /// Reads content in a coding, of which all goes on or nothing; where nothing goes on any more.
    fn look_behind(&mut self, mut coded: Coded, mut content: &[u8]) -> Option<usize> {
        let mut end = (!self.is_within && self.tap.may_begin() != Act::Pass).then_some(0);
        let mut plain = [0; PLAIN_BYTES];
        while let Coded::As(decoder) = &mut coded {
            let Ok(Decoded { taken, written }) = decoder.decode(content, &mut plain) else {
                tracing::warn!("an answer is not in the coding that it names: its usage is estimated");
                coded = Coded::Illegible;
                break;
            };
            content = &content[taken..];
            let (_, stop) = self.look_at(&plain[..written]);
            end = end.or(stop.map(|_| 0));
            if written < plain.len() {
                break;
            }
        }
        self.is_within = true;
        self.coded = Some(coded);
        end
    }

    fn read(&mut self, content: &[u8]) -> (Piece, Act) {
        let (tap, mut act) = (&mut *self.tap, Act::Pass);
        let piece = self.answer.read(content, &mut |event| act = strictest(act, tap.told(event)));
        (piece, act)
    }

    /// Whether what passes is not what came.
    pub(super) fn hides(&self) -> bool {
        self.filtered.is_some()
    }

    /// What goes on in place of content that was looked at, if that is not the content itself. What is held back of an event goes,
    /// too, where the answer ends.
    pub(super) fn visible(&mut self, is_last: bool) -> Option<Vec<u8>> {
        let Filtered { filter, visible } = self.filtered.as_mut()?;
        if is_last {
            filter.end(visible);
        }
        Some(std::mem::take(visible))
    }

    /// No more comes; `is_whole` if the provider has said all.
    pub(super) fn end(&mut self, is_whole: bool) {
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        let tap = &mut *self.tap;
        self.answer.end(is_whole, &mut |event| {
            tap.told(event);
        });
        if self.untold == Untold::All {
            self.tell_id();
        }
        self.tell_end();
    }

    /// Tells of what the provider keeps, before the client can ask for it.
    fn tell_id(&mut self) {
        let Some(id) = self.answer.id() else { return };
        self.untold = Untold::End;
        match self.answer.said_elsewhere() {
            Some(0) if self.answer.has_failed_elsewhere() => {}
            Some(said) => self.tell_under_way(said),
            None => self.tap.answered(id),
        }
    }

    fn tell_end(&mut self) {
        let Some(said) = self.answer.said_elsewhere() else { return };
        if said > self.said && self.untold == Untold::End {
            self.tell_under_way(said);
        }
        if let Some(id) = self.answer.id().filter(|_| self.answer.has_failed_elsewhere()) {
            self.tap.failed(id);
        }
    }

    /// It goes on without this request, and has said so many bytes of text.
    fn tell_under_way(&mut self, said: u64) {
        self.said = said;
        let again = self.again.as_ref();
        let known = again.and_then(|(_, model)| model.as_ref()).map(Model::as_str);
        let model = self.answer.model().or(known);
        let id = again.map(|(id, _)| id.as_str()).or(self.answer.id());
        if let Some(id) = id {
            self.tap.goes_on(id, model, said);
        }
    }

    /// The bytes that tell a client why its stream ends here; `None` where nothing can be told.
    pub(super) fn ending(&self, reason: &CloseReason) -> Option<String> {
        let ending = self.answer.ending(reason).filter(|_| self.coded.is_none())?;
        // What has begun is ended, if not completed.
        Some(if self.is_within { format!("\n\n{ending}") } else { ending })
    }
}

/// The id of what is asked for again, and its model, if that may be under way.
fn again(reading: &Reading) -> Option<(String, Option<Model>)> {
    let id = reading.endpoint.kept_id.clone().filter(|_| reading.asked.is_again)?;
    match &reading.counted {
        Counted::Nothing => Some((id, None)),
        Counted::UnderWay(model, _) | Counted::Estimate(model, ..) => Some((id, Some(model.clone()))),
        Counted::All => None,
    }
}

/// Of an answer in a coding, so much is read at a time.
const PLAIN_BYTES: usize = 16 << 10;

fn strictest(one: Act, other: Act) -> Act {
    let rank = |act: Act| match act {
        Act::StopBefore => 2,
        Act::Pass | Act::Swallow => 0,
        _ => 1,
    };
    if rank(other) > rank(one) { other } else { one }
}
