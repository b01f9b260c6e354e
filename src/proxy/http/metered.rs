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
use tokenist_core::meter::{Meter, Models};
use tokenist_core::ws::walk::Act;

/// How an answer is read.
pub(crate) struct Reading {
    pub(crate) api: &'static dyn Api,
    pub(crate) endpoint: Endpoint,
    pub(crate) asked: api::Asked,
    /// The client has not asked for the event that states usage alone.
    pub(super) hides_usage: bool,
}

/// How an answer is read, and who is shown what it says.
pub(super) struct Metering<'a> {
    pub(super) reading: Reading,
    pub(super) tap: &'a mut Tap,
}

/// What the answer to a request is shown to.
pub(super) fn tap(shard: &Rc<Shard>, live: &Rc<Live>, reading: &Reading, provider: Arc<Provider>) -> Tap {
    let Reading { api, endpoint, asked, .. } = reading;
    let models = Models { session: live.model.borrow().clone(), transcription: None };
    let mut meter = Meter::of_api(*api, provider.billing.clone(), models, shard.config.estimate);
    meter.ask(asked);
    if endpoint.is_repeatable() {
        let call = format!("{}/{}", provider.name, api.name()).into();
        meter.share(Box::new(Claimant { call, session: live.id(), shard: Rc::clone(shard) }));
    }
    Tap::new(Rc::clone(shard), Rc::clone(live), meter, provider)
}

/// An answer that is read as it passes.
pub(super) struct Metered<'a> {
    answer: Answer,
    tap: &'a mut Tap,
    /// An event has begun to pass, and has not ended.
    is_within: bool,
    is_over: bool,
    /// Where the client has not asked for usage.
    filtered: Option<Filtered>,
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
    /// Of the answer under this head.
    pub(super) fn new(metering: Metering<'a>, head: &ResponseHead) -> Metered<'a> {
        let Metering { reading, tap } = metering;
        let header = |name: &str| head.headers.0.iter().find(|line| line.is(name))?.value.as_text();
        let answer = Answer::new(&reading.endpoint, reading.asked.clone(), head.status, header);
        let filtered = reading.hides_usage.then(Filtered::default);
        Metered { answer, tap, is_within: false, is_over: false, filtered }
    }

    /// Reads content that came; with the last of it, whatever is known at the end alone.
    pub(super) fn look(&mut self, content: &[u8], is_last: bool) -> Look {
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
                filter.pass(&content[from..at], piece.ends_event, visible);
            }
            if piece.ends_event && !matches!(act, Act::Pass | Act::Swallow) {
                end = end.or(Some(at));
            }
        }
        if is_last {
            self.end(true);
        }
        Look {
            forward: end.unwrap_or(at),
            ends: end.is_some() && !is_last || end.is_some_and(|end| end < at),
        }
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
    }

    /// The bytes that tell a client why its stream ends here; `None` where nothing can be told.
    pub(super) fn ending(&self, reason: &CloseReason) -> Option<String> {
        let ending = self.answer.ending(reason)?;
        // What has begun is ended, if not completed.
        Some(if self.is_within { format!("\n\n{ending}") } else { ending })
    }
}

fn strictest(one: Act, other: Act) -> Act {
    let rank = |act: Act| match act {
        Act::StopBefore => 2,
        Act::Pass | Act::Swallow => 0,
        _ => 1,
    };
    if rank(other) > rank(one) { other } else { one }
}
