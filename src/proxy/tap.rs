//! A read-only look at the provider's passing events: shows them to the session's meter and charges what it finds.
//!
//! Start at [`Tap::visit`]. Invariants: no byte is changed; every event that carries usage is counted, also one
//! that a limit keeps from being forwarded.

mod gathering;

use self::gathering::Gathering;
use crate::asked::Claimant;
use crate::config::Provider;
use crate::environment::{Environment, System};
use crate::live::{CUT_OFF, Live};
use crate::pings::PING;
use crate::resumption;
use crate::shard::Shard;
use std::borrow::Cow;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use tokenist_core::close_reason::CloseReason;
use tokenist_core::dialect::{ProviderEvent, Rest};
use tokenist_core::doubt::Keys;
use tokenist_core::id::{Identity, Model};
use tokenist_core::kept_response::ResponseId;
use tokenist_core::message::Delta;
use tokenist_core::meter::{self, Chosen, ClientPeeked, Meter, Metered, Peeked, Reading};
use tokenist_core::metric::Metric;
use tokenist_core::time::{Now, Timestamp};
use tokenist_core::ws::frame::{Header, Opcode};
use tokenist_core::ws::walk::{Act, Part, Visit};
use tokenist_handoff::{Charge, ChargeOutcome, Report, ResponseReport};

pub struct Tap<E = System> {
    shard: Rc<Shard<E>>,
    live: Rc<Live>,
    meter: Meter,
    provider: Arc<Provider>,
    /// The model as it was known last.
    model: Option<Model>,
    /// It was asked for, and the provider has not said yet how it calls it.
    awaits_name: bool,
    /// A message that comes in several frames or parts.
    gathering: Option<Box<Gathering>>,
    /// Nothing more is forwarded.
    stopped: bool,
    /// That a limit will probably be reached was said.
    warned: bool,
    /// What is over may be asked for again, also much later.
    keeps_responses: bool,
    now: Now,
}

impl<E: Environment> Tap<E> {
    pub(crate) fn new(
        shard: Rc<Shard<E>>,
        live: Rc<Live>,
        mut meter: Meter,
        provider: Arc<Provider>,
    ) -> Tap<E> {
        if let Some(looked_up) = live.provider.get().map(|index| &shard.looked_up[index]) {
            meter.begin_with(looked_up.borrow().clone());
        }
        let model = meter.model().cloned();
        let awaits_name = model.is_some();
        Tap {
            shard,
            live,
            meter,
            provider,
            model,
            awaits_name,
            gathering: None,
            stopped: false,
            warned: false,
            keeps_responses: false,
            now: Now::default(),
        }
    }

    /// The provider has taken the session: what its request tells.
    pub(crate) fn start(&mut self, target: &str) {
        self.now = self.shard.time();
        let mut reading = self.meter.start(target, &self.shard.prices.load(), self.now);
        let call = reading.call.take().filter(|_| !self.live.looks_on.get());
        // It has only been attached to what goes on without it.
        self.live.shares_call.set(self.live.shares_call.get() || call.is_some());
        if let Some(claimant) = call.map(|call| self.claimant(call)) {
            self.meter.share(claimant);
        }
        self.book(reading);
        self.note_time();
    }

    /// Every way out: responses that are still open are booked by their estimates.
    pub(crate) fn settle(&mut self, now: Now) {
        self.now = now;
        let reading = self.meter.settle(&self.shard.prices.load(), now);
        self.book(reading);
        if let (Some(index), Some(looked_up)) = (self.live.provider.get(), self.meter.looked_up()) {
            self.shard.looked_up[index].replace(looked_up);
        }
    }

    /// Looks at the first bytes of an event of the application.
    pub(crate) fn peek_client(&mut self, head: &[u8], event_bytes: u64) -> ClientPeeked {
        self.meter.peek_client(head, event_bytes)
    }

    /// By what the application's events are judged.
    pub(crate) fn deciding(&self) -> Keys {
        self.meter.deciding()
    }

    /// By what they are judged where they begin as sound.
    pub(crate) fn deciding_behind_sound(&self) -> Keys {
        self.meter.deciding_behind_sound()
    }

    /// An event that begins as sound has come, which may be cut short here. Whether it is sound and nothing else.
    pub(crate) fn hear_behind_sound(&mut self, event: &[u8]) -> bool {
        self.meter.hear_behind_sound(event)
    }

    /// So much more comes of the one that was looked at last.
    pub(crate) fn grow_client(&mut self, bytes: u64) {
        self.meter.grow_client(bytes);
    }

    /// Whether what the application says in binary is sound.
    pub(crate) fn hears_binary(&self) -> bool {
        self.meter.hears_binary()
    }

    /// So much sound of the application, as it is.
    pub(crate) fn hear(&mut self, bytes: u64) {
        self.meter.hear(bytes);
    }

    /// An event of the application, or the beginning of one. It goes on unless it asks for a model that is not served.
    pub(crate) fn read_client(&mut self, event: &[u8], event_bytes: u64) -> Act {
        let now = self.shard.time();
        match self.meter.read_client(event, event_bytes, &self.shard.prices.load(), now) {
            Chosen::Model(model) if self.model.as_ref() != Some(&model) => {
                self.awaits_name = true;
                self.model = Some(model.clone());
                self.live.model.replace(Some(model.clone()));
                self.judge(&model, Act::Break)
            }
            Chosen::Nothing | Chosen::Model(_) => Act::Pass,
            Chosen::Unseen => {
                let why = "an event as long as this has to name one at its beginning";
                self.shard.end(&self.live, CloseReason::ModelMissing(why));
                Act::Break
            }
            Chosen::Several => {
                self.shard.end(&self.live, CloseReason::Ambiguous { what: "it names several models".into() });
                Act::Break
            }
        }
    }

    /// An event that nobody said: what is known of the session all the same.
    pub(crate) fn learn(&mut self, event: &[u8]) {
        self.now = self.shard.time();
        self.read(event);
    }

    /// What an answer in HTTP tells.
    pub(crate) fn told(&mut self, event: ProviderEvent<'_>) -> Act {
        self.now = self.shard.read_at.get();
        let response = event.over().filter(|_| self.keeps_responses);
        let response = response.map(|id| ResponseId::of(&self.provider.keeps_under, id));
        let reading = self.meter.take(event, &self.shard.prices.load(), self.now);
        match self.book_of(reading, response) {
            Act::Pass => self.judge_model(),
            act => act,
        }
    }

    /// What an answer in HTTP states may be asked for again later than anybody's claims last.
    pub(crate) fn keeps_responses(&mut self, keeps: bool) {
        self.keeps_responses = keeps;
    }

    /// The provider keeps this answer.
    pub(crate) fn answered(&self, id: &str) {
        let Some(identity) = self.live.identity.get().filter(|_| !self.keeps_responses) else { return };
        let (response, user) = (ResponseId::of(&self.provider.keeps_under, id), identity.user.clone());
        self.tell(ResponseReport::Answered { response, user });
    }

    /// A response goes on without this request, and has said so much text by now.
    pub(crate) fn goes_on(&mut self, id: &str, model: Option<&str>, text_bytes: u64) {
        let Some(identity) = self.live.identity.get() else { return };
        let now = self.shard.time();
        let model = model.map(Cow::Borrowed);
        let metered = self.meter.estimate_elsewhere(model, text_bytes, &self.shard.prices.load(), now);
        let estimate = self.delta(identity, metered, now.wall);
        let response = ResponseId::of(&self.provider.keeps_under, id);
        let wait_ms = self.shard.config.background_ms;
        self.tell(ResponseReport::UnderWay { response, estimate, wait_ms });
    }

    /// A response that ran without a request has come to nothing.
    pub(crate) fn failed(&self, id: &str) {
        self.tell(ResponseReport::Failed { response: ResponseId::of(&self.provider.keeps_under, id) });
    }

    fn tell(&self, report: ResponseReport) {
        self.shard.report(Report::Response(Box::new(report)));
    }

    fn delta(&self, identity: &Arc<Identity>, metered: Metered, at: Timestamp) -> Delta {
        Delta {
            at,
            session: self.live.id(),
            identity: Arc::clone(identity),
            provider: Arc::clone(&self.provider.name),
            model: metered.model,
            usage: metered.usage,
            cost: metered.cost,
            estimated: metered.estimated,
            latency_ms: metered.latency_ms,
        }
    }

    /// An answer in HTTP is not waited for any more: what was asked has been read by then.
    pub(crate) fn left_unanswered(&mut self) {
        let begun = ProviderEvent::Begun { response: None, model: None, output_rate: None, apart: true };
        self.told(begun);
        self.abandon();
    }

    /// Whether the provider owes a figure.
    pub(crate) fn awaits_usage(&self) -> bool {
        self.meter.awaits_usage()
    }

    /// Whether something has begun that is not over.
    pub(crate) fn is_under_way(&self) -> bool {
        self.meter.is_under_way()
    }

    /// The events that ask the provider to stop.
    pub(crate) fn cancels(&self) -> Vec<String> {
        self.meter.cancels()
    }

    /// Nobody hears the responses any more: what they read counts like what they say.
    pub(crate) fn abandon(&mut self) {
        self.now = self.shard.time();
        let reading = self.meter.abandon();
        self.book(reading);
    }

    /// Charges the time that has passed, where time is billed. A limit that it reaches ends the session before the next event.
    pub(crate) fn elapse(&mut self) {
        if !self.meter.is_timed() {
            return;
        }
        self.now = self.shard.time();
        self.live.timed_at.set(Some(self.now.instant));
        let reading = self.meter.elapse(&self.shard.prices.load(), self.now);
        self.book(reading);
    }

    /// Where time is billed from now on, it will be asked for.
    fn note_time(&self) {
        if self.live.timed_at.get().is_none() && self.meter.is_timed() {
            self.live.timed_at.set(Some(self.now.instant));
        }
    }

    /// A provider that greets a caller and then fails it again and again is a storm like one of refusals: some SDKs take every
    /// greeting for a success and dial on without end.
    fn note_failure(&self, close_code: u16) {
        let is_failure =
            (1011..=1013).contains(&close_code) && !self.live.leaving.get() && !self.live.is_ending();
        if let Some(caller) = self.live.caller.get().filter(|_| is_failure) {
            self.shard.links.refusals.note(&(caller, CUT_OFF), self.shard.now());
        }
    }

    /// A whole event.
    fn event(&mut self, payload: &[u8]) -> Act {
        match self.peek(payload, Rest::Nothing) {
            Peeked::Pass => Act::Pass,
            Peeked::Charge(charge) => self.charge(charge),
            Peeked::Collect => self.read(payload),
        }
    }

    fn peek(&mut self, event: &[u8], rest: Rest) -> Peeked {
        self.meter.peek(event, rest, &self.shard.prices.load(), self.now)
    }

    fn read(&mut self, event: &[u8]) -> Act {
        let mut reading = self.meter.read(event, &self.shard.prices.load(), self.now);
        if let Some(call) = reading.call.take().filter(|_| !self.meter.is_seen()) {
            self.meter.lend(self.claimant(call));
        }
        let (handle, has_booked) = (reading.handle.take(), !reading.booked.is_empty());
        let act = self.book(reading);
        if handle.is_some() || has_booked && self.live.shared().is_some() {
            let carried = self.meter.carry();
            resumption::offer(&self.shard, &self.live, &self.provider.name, handle.as_ref(), carried);
        }
        match act {
            Act::Pass => self.judge_model(),
            act => act,
        }
    }

    /// What it claims among all that see the session of this name.
    fn claimant(&self, call: Box<str>) -> Box<Claimant<E>> {
        Box::new(Claimant { call, session: self.live.id(), shard: Rc::clone(&self.shard) })
    }

    /// Ends the session if its model has become one that is not allowed. What the provider calls the model that was asked for
    /// is that one, whatever it is called.
    fn judge_model(&mut self) -> Act {
        let is_named = self.meter.model_is_named();
        let changed = self.meter.model().filter(|model| self.model.as_ref() != Some(*model)).cloned();
        let names_it = self.awaits_name && is_named;
        self.awaits_name &= !is_named && changed.is_none();
        let Some(model) = changed else { return Act::Pass };
        self.model = Some(model.clone());
        if !names_it {
            self.live.model.replace(Some(model.clone()));
        }
        self.judge(&model, Act::StopAfter)
    }

    /// Ends the session if its model may not be used, or if `model`, as it is called now, has no price where that is refused;
    /// `end` is what becomes of the event then.
    fn judge(&mut self, model: &Model, end: Act) -> Act {
        let unpriced = || CloseReason::ModelUnpriced { model: model.as_str().into() };
        let is_unpriced = || self.shard.refuses(&self.provider.name, model);
        let refused = self.shard.judge_model(&self.live, self.live.bounds());
        let Some(reason) = refused.or_else(|| is_unpriced().then(unpriced)) else { return Act::Pass };
        self.shard.end(&self.live, reason);
        self.stopped = true;
        end
    }

    /// Charges what the meter read and reports it.
    fn book(&mut self, reading: Reading) -> Act {
        self.book_of(reading, None)
    }

    /// Likewise, of a response that its provider keeps.
    fn book_of(&mut self, reading: Reading, response: Option<ResponseId>) -> Act {
        // The charge goes first: when a report is applied, the account must already hold it.
        let act = self.charge(reading.charge);
        self.foresee(reading.foreseen);
        let Some(identity) = self.live.identity.get() else { return act };
        for metered in reading.booked {
            if !metered.known_price {
                self.shard.warn_unpriced(&metered.model);
            }
            let delta = self.delta(identity, metered, self.now.wall);
            match &response {
                Some(response) => self.shard.charged_as_stated(delta, response.clone()),
                None => self.shard.charged(delta),
            }
        }
        self.count();
        act
    }

    fn count(&mut self) {
        let counts = self.meter.take_counts();
        for (metric, count) in [
            (Metric::EventsMetered, counts.metered),
            (Metric::EventsDuplicate, counts.duplicate),
            (Metric::EventsEstimated, counts.estimated),
            (Metric::EventsUnmetered, counts.unmetered),
            (Metric::EventsUnpriced, counts.unpriced),
        ] {
            if count > 0 {
                self.shard.counters.add(metric, u64::from(count));
            }
        }
    }

    /// The event that crosses a limit is delivered; one that comes after it is not.
    fn charge(&mut self, charge: meter::Charge) -> Act {
        if charge == meter::Charge::default() {
            return Act::Pass;
        }
        let charge = Charge { cost: charge.cost, tokens: charge.tokens };
        let Some(holders) = self.live.holders.get() else { return Act::Pass };
        match holders.charge(charge) {
            ChargeOutcome::Under => Act::Pass,
            ChargeOutcome::Crossed => self.stop(Act::StopAfter),
            ChargeOutcome::Over => self.stop(Act::StopBefore),
        }
    }

    /// What a response reads may be most of what it costs, and may be nearly free. So it warns, and no more.
    fn foresee(&mut self, charge: meter::Charge) {
        if charge == meter::Charge::default() {
            return;
        }
        let charge = Charge { cost: charge.cost, tokens: charge.tokens };
        let reaches = self.live.holders.get().is_some_and(|holders| holders.foresee(charge));
        if reaches && charge.tokens > 0 {
            self.shard.counters.add(Metric::LimitsForeseen, 1);
            if !std::mem::replace(&mut self.warned, true) {
                let user = self.live.identity.get().map(|identity| identity.user.to_string());
                tracing::warn!(session = %self.live.id(), user, reads = %charge.cost.exact(), tokens = charge.tokens,
                    "a response under way will reach a limit if it is billed for what it probably reads");
            }
        }
    }

    /// Ends the session if the verdict on its holders says so.
    fn stop(&mut self, act: Act) -> Act {
        if self.live.lingers() {
            return act;
        }
        let verdict = self.live.holders.get().and_then(|holders| holders.verdict(self.now.wall));
        match verdict {
            Some(ending) => {
                self.shard.counters.add(Metric::LimitsReached, 1);
                self.shard.end(&self.live, ending);
                self.stopped = true;
                act
            }
            None => Act::Pass,
        }
    }

    /// The verdict before an event is forwarded: one comparison while nothing is reached.
    pub(crate) fn may_begin(&mut self) -> Act {
        if self.live.is_ending() {
            self.stopped = true;
            return Act::StopBefore;
        }
        match self.live.holders.get() {
            Some(holders) if holders.reached() => self.stop(Act::StopBefore),
            _ => Act::Pass,
        }
    }
}

impl<E: Environment> Visit for Tap<E> {
    fn blot(&mut self, reason: &mut [u8]) {
        self.shard.blot(&self.live).out_of_cut(reason);
    }

    fn visit(&mut self, header: &Header, payload: &[u8], part: Part) -> Act {
        if self.shard.config.panic_user.is_some() {
            self.shard.panic_if_asked(&self.live);
        }
        self.elapse();
        match header.opcode {
            Opcode::Text | Opcode::Binary | Opcode::Continuation => {
                self.now = self.shard.read_at.get();
                self.live.active_at.set(self.now.instant);
                let act = self.data(header, payload, part);
                self.live.under_way.set(self.meter.is_under_way());
                self.note_time();
                if !self.stopped && header.fin && matches!(part, Part::Whole | Part::Last) {
                    self.shard.counters.add(Metric::MessagesDownstream, 1);
                }
                act
            }
            Opcode::Close => {
                if let &[high, low, ..] = payload {
                    let code = u16::from_be_bytes([high, low]);
                    self.live.close_code.set(Some(code));
                    self.note_failure(code);
                }
                Act::Pass
            }
            Opcode::Pong if payload == PING => Act::Swallow,
            Opcode::Ping | Opcode::Pong => Act::Pass,
        }
    }
}

impl<E> fmt::Debug for Tap<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tap({})", self.live.id())
    }
}
