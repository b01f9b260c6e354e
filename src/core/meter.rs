//! One session's sums: what its events charge while they pass, and what is booked in the end.
//!
//! Start at [`Meter::peek`] and [`Meter::read`] for what the provider says, at [`Meter::peek_client`] for what the
//! application does. Invariant: in every session, whatever comes in whatever order, the charges add up to the cost and
//! the tokens of what was booked, and what was foreseen to nothing, once [`Meter::settle`] has been called; no response
//! is booked twice.

mod context;
mod open;
mod running;
mod tariff;

use self::context::Context;
use self::open::{Asked, Open, Responses, Unheard, item_hash, response_hash, total_hash, transcription_hash};
use self::running::{Growth, Running};
use self::tariff::Tariff;
use crate::api::{Api, Asked as AskedOver};
use crate::dialect::{
    AudioRate, ClientEvent, ClientPeek, Dialect, Handle, OutputDelta, Peek, ProviderEvent, Rates, Rest,
    SESSION_TIME, Settings,
};
use crate::id::Model;
use crate::metric::Metric;
use crate::money::NanoUsd;
use crate::price::{Price, PriceTable};
use crate::terms::Terms;
use crate::time::Now;
use crate::usage::Usage;
use std::borrow::Cow;
use std::fmt;
use std::ops::{AddAssign, Sub};
use std::sync::Arc;

pub use self::tariff::Billing;

/// What to do with what a response has generated before its usage is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EstimateMode {
    /// Charge at once what is said, foresee what is read, and book both if no usage comes.
    #[default]
    Enforce,
    /// Charge nothing until the response is over; book it if no usage comes.
    Observe,
    /// Estimate nothing. A response that ends or dies without usage is booked as one request without tokens.
    Off,
}

/// What an event of the provider asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peeked {
    /// Nothing.
    Pass,
    /// That its bytes be kept and, when it is whole, shown to [`Meter::read`]; or else [`Meter::unmetered`].
    Collect,
    /// That this be charged now.
    Charge(Charge),
}

/// What to do with an event of the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientPeeked {
    /// Nothing.
    Pass,
    /// Keep it and, when it is whole, show it to [`Meter::read_client`].
    Collect,
    /// If its length was not known, tell [`Meter::grow_client`] how much more of it comes.
    Length,
}

/// Which model an event of the application chooses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chosen {
    /// None.
    Nothing,
    Model(Model),
    /// It may name one where nobody has looked, or what it names is no model's name.
    Unseen,
}

/// An amount for accounts. Negative where a provider's figure replaces a higher estimate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Charge {
    pub cost: NanoUsd,
    pub tokens: i64,
}

/// What came of an event, or of the end: charge the first, foresee the second, report the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// What all that is booked costs, less what was charged for it before.
    pub charge: Charge,
    /// What responses under way read by estimate. It warns, and is taken back when their end is known; until then it
    /// ends nobody, for the provider may have most of it in its cache.
    pub foreseen: Charge,
    pub booked: Vec<Metered>,
    /// The provider has given the application this to resume the session by.
    pub handle: Option<Handle>,
    /// By this others may attach to the session, and see what it uses.
    pub call: Option<Box<str>>,
}

/// What a connection leaves to one that resumes its session: what the provider states again is not counted again, and what
/// the next response reads follows from what was stated last.
#[derive(Clone, Debug, Default)]
pub struct Carried {
    stated: Option<Box<Usage>>,
    running: Option<Box<Running>>,
}

/// A response or a transcription that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metered {
    /// The model it was priced at.
    pub model: Model,
    pub usage: Usage,
    pub cost: NanoUsd,
    /// The provider stated no usage.
    pub estimated: bool,
    /// The cost comes from the model's own price list, not from the fallback.
    pub known_price: bool,
    /// From the response's first sign.
    pub latency_ms: Option<u64>,
}

/// What happened since [`Meter::take_counts`] was last called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Booked with the provider's usage.
    pub metered: u32,
    /// Ignored, because booked before.
    pub duplicate: u32,
    /// Booked by estimate.
    pub estimated: u32,
    /// Should have had usage, but was too large or unreadable or had none.
    pub unmetered: u32,
    /// Booked at least in part at the fallback price; also counted above.
    pub unpriced: u32,
}

/// Which of several sessions meters what all of them see, as those do that are attached to one call.
pub trait Claims: fmt::Debug {
    /// Whether what bears this hash is this session's to meter: exactly one of them is told so.
    fn claim(&self, hash: u64) -> bool;
    /// It is this session's, whoever has claimed it.
    fn take(&self, hash: u64);
}

/// Responses of one session that may be under way at once; past it the one that was quiet longest is booked by
/// estimate. OpenAI runs one, and a few more where the application asks for responses out of band.
pub const OPEN_MAX: usize = 64;

/// Ids remembered as booked; an older one that came again would count again.
pub const BOOKED_MAX: usize = 64;

/// Responses that were asked for and have not begun; more are taken to be like the rest. And pieces of speech that are
/// to be written down; past it the oldest is booked by estimate.
pub const AWAITED_MAX: usize = 64;

/// The name of a model that nobody has named. It has no price, so it costs the fallback.
pub const UNKNOWN_MODEL: &str = "unknown";

/// The models of a session, as far as somebody has named them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Models {
    /// That of its responses.
    pub session: Option<Model>,
    /// That which writes down what is said to it.
    pub transcription: Option<Model>,
}

impl Models {
    /// By which the session is listed: of one that only transcribes, that one.
    pub fn of_session(&self) -> Option<&Model> {
        self.session.as_ref().or(self.transcription.as_ref())
    }
}

/// In whose words events come.
#[derive(Clone, Copy, Debug)]
enum Vocabulary {
    /// Of a socket, as bytes.
    Dialect(&'static dyn Dialect),
    /// Of HTTP, where somebody else has read them; what estimates assume.
    Api(&'static Rates),
}

impl Vocabulary {
    fn rates(self) -> Rates {
        match self {
            Vocabulary::Dialect(dialect) => dialect.rates(),
            Vocabulary::Api(rates) => *rates,
        }
    }

    #[inline]
    fn dialect(self) -> Option<&'static dyn Dialect> {
        match self {
            Vocabulary::Dialect(dialect) => Some(dialect),
            Vocabulary::Api(_) => None,
        }
    }

    fn cancel(self, response: Option<&str>) -> Option<String> {
        self.dialect()?.cancel(response)
    }
}

#[derive(Debug)]
pub struct Meter {
    speaks: Vocabulary,
    estimate: EstimateMode,
    output_rate: AudioRate,
    input_rate: AudioRate,
    /// Sound that the application has sent as it is.
    heard_bytes: u64,
    /// How long instructions and tools are.
    settings_bytes: u64,
    /// The provider has named the model itself.
    model_is_stated: bool,
    /// It has done so since one was asked for last.
    model_is_named: bool,
    only_transcribes: bool,
    detects_turns: bool,
    /// Nobody hears the responses any more: what they read is charged, too.
    abandoned: bool,
    counts: Counts,
    tariff: Tariff,
    models: Models,
    /// `None` until the first response, so that a session that only waits is small.
    live: Option<Box<Responses>>,
    /// `None` until something is said, likewise.
    context: Option<Box<Context>>,
    /// `None` unless the provider states totals or bills time.
    running: Option<Box<Running>>,
    /// Where others see the same responses.
    claims: Option<Box<dyn Claims>>,
    /// They are attached to this one.
    is_owner: bool,
}

impl Meter {
    /// `models` are those that the URL asks for; each holds until the provider says which it is.
    pub fn new(
        dialect: &'static dyn Dialect,
        billing: Billing,
        models: Models,
        estimate: EstimateMode,
    ) -> Meter {
        Meter::of(Vocabulary::Dialect(dialect), billing, models, estimate)
    }

    /// Of one exchange over HTTP: [`Meter::ask`] tells what was asked for, [`Meter::take`] what the answer tells.
    pub fn of_api(api: &'static dyn Api, billing: Billing, models: Models, estimate: EstimateMode) -> Meter {
        Meter::of(Vocabulary::Api(api.rates()), billing, models, estimate)
    }

    fn of(speaks: Vocabulary, billing: Billing, models: Models, estimate: EstimateMode) -> Meter {
        let rates = speaks.rates();
        Meter {
            speaks,
            estimate,
            output_rate: rates.output,
            input_rate: rates.input,
            heard_bytes: 0,
            settings_bytes: 0,
            model_is_stated: false,
            model_is_named: false,
            only_transcribes: false,
            detects_turns: false,
            abandoned: false,
            counts: Counts::default(),
            tariff: Tariff::new(billing),
            models,
            live: None,
            context: None,
            running: rates.sound_is_billed.then(Box::default),
            claims: None,
            is_owner: false,
        }
    }

    /// The provider has taken the session that was asked for at `target`, a path with its query: what that tells.
    pub fn start(&mut self, target: &str, prices: &PriceTable, now: Now) -> Reading {
        let mut reading = Reading::default();
        let Some(dialect) = self.speaks.dialect() else { return reading };
        dialect.start(target, &mut |event| reading.absorb(self.apply(event, prices, now)));
        self.model_is_named = false;
        reading
    }

    /// From now on this meters only what it may claim.
    pub fn share(&mut self, claims: Box<dyn Claims>) {
        self.claims = Some(claims);
    }

    /// Others may see what this session uses, and from now on are told that it is this one's.
    pub fn lend(&mut self, claims: Box<dyn Claims>) {
        let open = self.live.iter().flat_map(|live| &live.open).filter_map(|open| open.id.as_deref());
        open.for_each(|id| claims.take(response_hash(id)));
        (self.claims, self.is_owner) = (Some(claims), true);
    }

    /// Whether others see what it uses.
    pub fn is_seen(&self) -> bool {
        self.claims.is_some()
    }

    /// What is left to a connection that resumes the session now.
    pub fn carry(&self) -> Carried {
        let stated = self.live.as_ref().and_then(|live| live.stated.clone());
        Carried { stated, running: self.running.clone() }
    }

    /// This connection resumes a session.
    pub fn resume(&mut self, carried: Carried) {
        self.running = carried.running;
        self.running.iter_mut().for_each(|running| running.stop());
        if let Some(stated) = carried.stated {
            self.context().finish(Some(&*stated), (0, 0));
            let live = self.live.get_or_insert_default();
            (live.stated, live.repeatable) = (Some(stated), true);
        }
    }

    /// The session's model; of a session that only transcribes, that one.
    pub fn model(&self) -> Option<&Model> {
        self.models.of_session()
    }

    /// Whether the provider has said what it calls the model since one was asked for last.
    pub fn model_is_named(&self) -> bool {
        self.model_is_named
    }

    /// Looks at an event of the provider: all of it, or at least its first [`crate::dialect::HEAD_BYTES_MAX`] bytes. Where
    /// nobody knows yet how much more comes, [`Meter::grow`] is told of it.
    #[inline]
    pub fn peek(&mut self, event: &[u8], rest: Rest, prices: &PriceTable, now: Now) -> Peeked {
        if let Some(live) = &mut self.live {
            live.growing = None;
        }
        let Some(dialect) = self.speaks.dialect() else { return Peeked::Pass };
        match dialect.peek(event, rest) {
            Peek::Nothing => Peeked::Pass,
            Peek::Whole => Peeked::Collect,
            Peek::OutputDelta(piece) => match self.add(&piece, prices, now) {
                charge if charge == Charge::default() => Peeked::Pass,
                charge => Peeked::Charge(charge),
            },
        }
    }

    /// More of the event that was peeked at last, if its length was not known then.
    pub fn grow(&mut self, bytes: u64) -> Charge {
        let estimate = self.estimate;
        let Some(live) = &mut self.live else { return Charge::default() };
        match (live.growing, live.open.last_mut()) {
            (Some(kind), Some(open)) => open.grow(kind, bytes, estimate),
            _ => Charge::default(),
        }
    }

    /// A whole event that was asked for.
    pub fn read(&mut self, event: &[u8], prices: &PriceTable, now: Now) -> Reading {
        let mut reading = Reading::default();
        let Some(dialect) = self.speaks.dialect() else { return reading };
        dialect.read(event, &mut |event| reading.absorb(self.apply(event, prices, now)));
        reading
    }

    /// What an answer over HTTP tells.
    pub fn take(&mut self, event: ProviderEvent<'_>, prices: &PriceTable, now: Now) -> Reading {
        self.apply(event, prices, now)
    }

    /// What a request over HTTP asks for.
    pub fn ask(&mut self, asked: &AskedOver) {
        let input = Context::input_of(self.speaks.rates(), asked.content, self.input_rate, 0);
        self.live.get_or_insert_default().asked.push_back(Asked { apart: true, input: Some(input) });
    }

    /// An event that was asked for but is too large to keep. What `head`, its beginning, tells is used; a response
    /// that it ends without usage is booked by estimate.
    pub fn unmetered(&mut self, head: &[u8], prices: &PriceTable, now: Now) -> Reading {
        let mut reading = Reading::default();
        let Some(dialect) = self.speaks.dialect() else { return reading };
        dialect.read(head, &mut |event| {
            self.counts.unmetered += u32::from(matches!(event, ProviderEvent::Done { usage: None, .. }));
            reading.absorb(self.apply(event, prices, now));
        });
        reading
    }

    /// Looks at the first bytes of an event of the application, as [`Meter::peek`] does at the provider's.
    #[inline]
    pub fn peek_client(&mut self, head: &[u8], event_bytes: u64) -> ClientPeeked {
        let Some(dialect) = self.speaks.dialect() else { return ClientPeeked::Pass };
        match dialect.peek_client(head, event_bytes) {
            ClientPeek::Nothing => ClientPeeked::Pass,
            ClientPeek::Whole => ClientPeeked::Collect,
            ClientPeek::Sound { bytes } => {
                self.context().append(bytes);
                ClientPeeked::Length
            }
        }
    }

    /// More of the event of the application that was peeked at last, if its length was not known then.
    pub fn grow_client(&mut self, bytes: u64) {
        self.context().append(bytes);
    }

    /// Whether what the application says in binary is sound, to be told to [`Meter::hear`] by its length alone.
    pub fn hears_binary(&self) -> bool {
        self.speaks.dialect().is_some_and(|dialect| dialect.hears_binary())
    }

    /// So much sound of the application, as it is and not in base64.
    pub fn hear(&mut self, bytes: u64) {
        self.heard_bytes = self.heard_bytes.saturating_add(bytes);
    }

    /// An event of the application that was asked for, or its beginning; `event_bytes` is how long all of it is. Tells which
    /// model it has the provider use from now on.
    pub fn read_client(&mut self, event: &[u8], event_bytes: u64, prices: &PriceTable, now: Now) -> Chosen {
        let mut chosen = Chosen::Nothing;
        let Some(dialect) = self.speaks.dialect() else { return chosen };
        dialect.read_client(event, event_bytes, &mut |event| {
            if let ClientEvent::Setup(settings) = &event {
                chosen = settings.model.clone().and_then(named).map_or(Chosen::Unseen, Chosen::Model);
            }
            self.apply_client(event, prices, now);
        });
        chosen
    }

    fn apply_client(&mut self, event: ClientEvent<'_>, prices: &PriceTable, now: Now) {
        let rate = self.input_rate;
        match event {
            ClientEvent::Nothing | ClientEvent::Attach { .. } => {}
            ClientEvent::Sound { bytes } => self.context().append(bytes),
            ClientEvent::ClearSound => self.context().clear(),
            ClientEvent::CommitSound => self.context().ask_commit(),
            ClientEvent::AddItem { item, content } => {
                let item = item.as_deref().map(item_hash);
                self.context().add(item, content, rate);
            }
            ClientEvent::DeleteItem { item } => self.context().delete(item.as_deref().map(item_hash)),
            ClientEvent::TruncateItem { item, sound_ms } => {
                self.context().truncate(item.as_deref().map(item_hash), sound_ms);
            }
            ClientEvent::Respond { apart, input } => {
                let settings_bytes = self.settings_bytes;
                let input = input
                    .map(|content| Context::input_of(self.speaks.rates(), content, rate, settings_bytes));
                let asked = &mut self.live.get_or_insert_default().asked;
                if asked.len() < AWAITED_MAX {
                    asked.push_back(Asked { apart, input });
                }
            }
            ClientEvent::Choose { model, transcription_model } => {
                if !self.model_is_stated {
                    self.set_model(model.and_then(named), prices, now);
                }
                let transcription = self.models.transcription.take();
                self.models.transcription = transcription.or_else(|| transcription_model.and_then(named));
            }
            ClientEvent::Setup(settings) => {
                self.model_is_named = false;
                self.take_settings(*settings, prices, now);
            }
            ClientEvent::Resume { .. } => {}
            ClientEvent::Billed { usage } => {
                let billed = self.item(None, None, usage, &Terms::default(), prices, now);
                self.live.get_or_insert_default().overdue.absorb(billed);
                // So that it is asked for at once.
                self.running.get_or_insert_default();
            }
        }
    }

    /// Nobody hears the responses any more. What they have read is charged from now on, as what they say is.
    pub fn abandon(&mut self) -> Reading {
        self.abandoned = true;
        let mut reading = Reading::default();
        for open in self.live.iter_mut().flat_map(|live| &mut live.open) {
            reading.absorb(open.charge_input());
        }
        self.reading(reading)
    }

    /// Whether the provider still owes a figure, or will begin something of which it will.
    pub fn awaits_usage(&self) -> bool {
        let owes =
            |live: &Responses| !(live.open.is_empty() && live.asked.is_empty() && live.unheard.is_empty());
        self.awaits_time() || self.live.as_deref().is_some_and(owes)
    }

    /// Whether the provider will state how long the session was once it is asked to end it.
    fn awaits_time(&self) -> bool {
        let is_open = self.running.as_ref().is_some_and(|running| running.is_open(self.sent_ms()));
        is_open && self.speaks.cancel(None).is_some() && self.may_meter(total_hash(SESSION_TIME))
    }

    /// Whether something has begun that is not over.
    pub fn is_under_way(&self) -> bool {
        self.live.as_ref().is_some_and(|live| !(live.open.is_empty() && live.unheard.is_empty()))
    }

    /// The events that ask the provider to stop what is under way and to tell what it has used.
    pub fn cancels(&self) -> Vec<String> {
        if self.awaits_time() {
            return self.speaks.cancel(None).into_iter().collect();
        }
        let Some(live) = &self.live else { return Vec::new() };
        let cancels: Vec<_> =
            live.open.iter().filter_map(|open| self.speaks.cancel(open.id.as_deref())).collect();
        match cancels.is_empty() && !live.asked.is_empty() {
            true => self.speaks.cancel(None).into_iter().collect(),
            false => cancels,
        }
    }

    /// The session is over: what is under way is booked by its estimate. Call it on every way out.
    pub fn settle(&mut self, prices: &PriceTable, now: Now) -> Reading {
        let mut settled = self.book_elapsed(prices, now);
        settled.absorb(self.book_ahead(prices, now));
        self.running = None;
        let open = self.live.as_mut().map(|live| std::mem::take(&mut live.open));
        for open in open.into_iter().flatten() {
            settled.absorb(self.book_response(open, None, &Terms::default(), prices, now));
        }
        let unheard = self.live.as_mut().map(|live| {
            live.asked.clear();
            std::mem::take(&mut live.unheard)
        });
        for unheard in unheard.into_iter().flatten() {
            settled.absorb(self.book_unheard(unheard, prices, now));
        }
        if let Some(context) = self.context.take().filter(|_| self.only_transcribes) {
            let sound_ms = context.uncommitted_ms(self.input_rate, self.detects_turns);
            settled.absorb(self.book_sound(sound_ms, 1, prices, now));
        }
        settled
    }

    /// Whether time is billed as it passes, or what the application says.
    #[inline]
    pub fn is_timed(&self) -> bool {
        self.running.is_some()
    }

    /// Books the time that is billed as it passes, every few seconds, and charges what of it is not stated yet; and what else the
    /// application has added that is billed: call it whenever there is occasion.
    pub fn elapse(&mut self, prices: &PriceTable, now: Now) -> Reading {
        let is_due = self.running.as_ref().is_some_and(|running| running.is_due(now.instant));
        let mut reading = if is_due { self.book_elapsed(prices, now) } else { Reading::default() };
        reading.absorb(self.charge_ahead(prices, now));
        reading.absorb(self.book_written(prices, now));
        self.reading(reading)
    }

    /// Whether all that is heard is written down, and nobody has stated what that costs.
    fn writes_all(&self) -> bool {
        let is_stated = self.live.as_ref().is_some_and(|live| live.stated.is_some());
        self.only_transcribes && self.speaks.rates().sound_is_read_as_it_comes && !is_stated
    }

    /// Books what has been written down so, in pieces.
    fn book_written(&mut self, prices: &PriceTable, now: Now) -> Reading {
        let rate = self.input_rate;
        let taken = |context: &mut Box<Context>| context.take_sound(WRITTEN_EACH_MS, rate);
        let sound_ms = if self.writes_all() { self.context.as_mut().map_or(0, taken) } else { 0 };
        self.book_sound(sound_ms, 0, prices, now)
    }

    /// How long the session is by estimate, where that is billed.
    fn estimated_ms(&self, now: Now) -> Option<u64> {
        let running = self.running.as_ref()?;
        let ms = running.estimated_ms(self.sent_ms(), now.instant)?;
        (self.is_owner || self.may_meter(total_hash(SESSION_TIME))).then_some(ms)
    }

    /// How long the sound is that was sent, where that is billed and can be told by its bytes.
    fn sent_ms(&self) -> Option<u64> {
        let rate = self.input_rate;
        let is_told = self.speaks.rates().sound_is_billed && rate != AudioRate::UNKNOWN;
        let in_base64 = || self.context.as_ref().map_or(0, |sent| sent.uncommitted_ms(rate, false));
        is_told.then(|| in_base64().saturating_add(rate.ms(self.heard_bytes)))
    }

    /// Charges the session's time ahead of what is stated of it, or books it if nothing was for long.
    fn charge_ahead(&mut self, prices: &PriceTable, now: Now) -> Reading {
        let Some(ms) = self.estimated_ms(now) else { return Reading::default() };
        if self.running.as_mut().is_some_and(|running| running.is_unstated(now.instant)) {
            return self.book_ahead(prices, now);
        }
        if self.estimate != EstimateMode::Enforce {
            return Reading::default();
        }
        let (_, price) = self.priced(None, prices, now);
        let running = self.running.as_mut();
        let charge = running.map(|running| running.charge_ahead(ms, total_hash(SESSION_TIME), &price));
        Reading { charge: charge.unwrap_or_default(), ..Reading::default() }
    }

    /// Books the session's time as far as it is known by estimate alone.
    fn book_ahead(&mut self, prices: &PriceTable, now: Now) -> Reading {
        let Some(ms) = self.estimated_ms(now) else { return Reading::default() };
        let usage = Usage { duration_ms: ms, requests: 1, ..Usage::default() };
        self.total((SESSION_TIME, None), (usage, &Terms::default()), Basis::Estimated, prices, now)
    }

    /// A running total has come to this.
    fn total(
        &mut self,
        (key, model): (&str, Option<Cow<'_, str>>),
        (usage, terms): (Usage, &Terms<'_>),
        basis: Basis,
        prices: &PriceTable,
        now: Now,
    ) -> Reading {
        if !self.may_meter(total_hash(key)) {
            self.counts.duplicate += 1;
            return Reading::default();
        }
        let (model, price) = self.priced(model, prices, now);
        let running = self.running.get_or_insert_default();
        let growth = running.state(total_hash(key), usage, &price, terms);
        let ahead = if key == SESSION_TIME { running.take_ahead(now.instant) } else { Charge::default() };
        let mut reading = self.book_growth(model, growth, basis);
        reading.charge = reading.charge - ahead;
        reading
    }

    fn book_elapsed(&mut self, prices: &PriceTable, now: Now) -> Reading {
        if self.running.is_none() {
            return self.reading(Reading::default());
        }
        let (model, price) = self.priced(None, prices, now);
        let running = self.running.as_mut();
        let growth = running.and_then(|running| running.elapse(now.instant, total_hash(CLOCK), &price));
        let booked = self.book_growth(model, growth, Basis::Stated);
        self.reading(booked)
    }

    pub fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }

    fn apply(&mut self, event: ProviderEvent<'_>, prices: &PriceTable, now: Now) -> Reading {
        let reading = match event {
            ProviderEvent::Nothing => Reading::default(),
            ProviderEvent::Unreadable => {
                self.counts.unmetered += 1;
                Reading::default()
            }
            ProviderEvent::Session(settings) => {
                let only_transcribes =
                    self.models.session.is_none() && settings.transcription_model.is_some();
                self.model_is_named |= settings.model.is_some() || only_transcribes;
                self.take_settings(*settings, prices, now);
                Reading::default()
            }
            ProviderEvent::Begun { response, model, output_rate, apart } => {
                self.begun(response.as_deref(), model, output_rate, apart, prices, now);
                Reading::default()
            }
            ProviderEvent::OutputDelta(piece) => {
                Reading { charge: self.add(&piece, prices, now), ..Reading::default() }
            }
            ProviderEvent::SoFar { response, usage } => {
                let estimate = self.estimate;
                let open = self.open(response.as_deref(), true, prices, now);
                let stated = open.filter(|_| estimate != EstimateMode::Off);
                stated.map(|open| open.state(usage, estimate)).unwrap_or_default()
            }
            ProviderEvent::Finished => {
                if let Some(open) = self.live.as_mut().and_then(|live| live.open.last_mut()) {
                    open.is_finished = true;
                }
                Reading::default()
            }
            ProviderEvent::Done { response, usage, terms } => {
                self.done(response.as_deref(), usage, &terms, prices, now)
            }
            ProviderEvent::Measured { response, usage, terms } => {
                self.measured(response.as_deref(), usage, &terms, prices, now)
            }
            ProviderEvent::Dropped { response } => self.dropped(response.as_deref(), prices, now),
            ProviderEvent::Total { key, model, usage, terms } => {
                self.total((&key, model), (usage, &terms), Basis::Stated, prices, now)
            }
            ProviderEvent::Item { id, model, usage, terms } => {
                self.item(id.as_deref(), model, usage, &terms, prices, now)
            }
            ProviderEvent::Clock { runs } => {
                let (model, price) = self.priced(None, prices, now);
                let running = self.running.get_or_insert_default();
                let growth = running.set_clock(runs, now.instant, total_hash(CLOCK), &price);
                self.book_growth(model, growth, Basis::Stated)
            }
            ProviderEvent::Ahead { grows } => {
                let charged = self.running.get_or_insert_default().set_ahead(grows, now.instant);
                Reading { charge: Charge::default() - charged, ..Reading::default() }
            }
            ProviderEvent::Answered { response: _, item } => {
                self.context().answer(item_hash(&item));
                Reading::default()
            }
            ProviderEvent::Added { item } => {
                if let Some(context) = &mut self.context {
                    context.name(item_hash(&item));
                }
                Reading::default()
            }
            ProviderEvent::Committed { item } => self.committed(item.as_deref(), prices, now),
            ProviderEvent::Speech { is_start, at_ms } => {
                self.context().hear_speech(is_start, at_ms);
                Reading::default()
            }
            ProviderEvent::Refused => {
                if let Some(live) = &mut self.live {
                    live.asked.pop_front();
                }
                Reading::default()
            }
            ProviderEvent::Unheard { item, content_index } => {
                if let (Some(item), Some(live)) = (item, &mut self.live) {
                    live.take_unheard(transcription_hash(&item, content_index));
                }
                Reading::default()
            }
            ProviderEvent::Transcribed { item, content_index, usage } => {
                self.transcribed(item.as_deref(), content_index, usage, prices, now)
            }
            ProviderEvent::Searched { searches } => {
                if let Some(open) = self.open(None, false, prices, now) {
                    open.searches = open.searches.max(u32::try_from(searches).unwrap_or(u32::MAX));
                }
                Reading::default()
            }
            ProviderEvent::Resumable { handle } => Reading { handle: Some(handle), ..Reading::default() },
            ProviderEvent::Joinable { call } => {
                Reading { call: Some(Box::from(&*call)), ..Reading::default() }
            }
        };
        self.reading(reading)
    }

    /// A response has begun, at a model of its own if it names one.
    fn begun(
        &mut self,
        id: Option<&str>,
        model: Option<Cow<'_, str>>,
        output_rate: Option<AudioRate>,
        apart: bool,
        prices: &PriceTable,
        now: Now,
    ) {
        self.forget_booked(id);
        let price = model.and_then(named).map(|model| {
            let price = self.tariff.price(model.as_str(), prices, now.wall);
            (model, price)
        });
        let fresh = |open: &&mut Open| open.audio_bytes == 0;
        if let Some(open) = self.open(id, apart, prices, now).filter(fresh) {
            open.output_rate = output_rate.unwrap_or(open.output_rate);
            if let Some((model, price)) = price {
                (open.model, open.price) = (Some(model), price);
            }
        }
    }

    fn take_settings(&mut self, settings: Settings<'_>, prices: &PriceTable, now: Now) {
        self.models.transcription =
            settings.transcription_model.and_then(named).or(self.models.transcription.take());
        self.output_rate = settings.output_rate.unwrap_or(self.output_rate);
        self.input_rate = settings.input_rate.unwrap_or(self.input_rate);
        self.only_transcribes = settings.only_transcribes.unwrap_or(self.only_transcribes);
        if self.writes_all() {
            self.running.get_or_insert_default();
        }
        if let Some(terms) = settings.terms {
            self.tariff.bill_on(&terms);
        }
        self.detects_turns = settings.detects_turns.unwrap_or(self.detects_turns);
        if let Some(bytes) = settings.text_bytes {
            let before = std::mem::replace(&mut self.settings_bytes, bytes);
            if let Some(context) = &mut self.context {
                context.set_settings(before, bytes);
            }
        }
        let model = settings.model.and_then(named);
        self.model_is_stated |= model.is_some();
        self.set_model(model, prices, now);
    }

    /// A response begins: if its id was used before, it is another one all the same.
    fn forget_booked(&mut self, id: Option<&str>) {
        if let (Some(id), Some(live)) = (id, &mut self.live) {
            live.forget(response_hash(id));
        }
    }

    fn set_model(&mut self, model: Option<Model>, prices: &PriceTable, now: Now) {
        let Some(model) = model else { return };
        for open in self.live.iter_mut().flat_map(|live| &mut live.open) {
            if open.model.is_none() {
                let price = self.tariff.price(model.as_str(), prices, now.wall);
                (open.model, open.price) = (Some(model.clone()), price);
            }
        }
        self.models.session = Some(model);
    }

    /// The open response of an id, opened if it is new; `None` if it is over already. What bears no id belongs to the
    /// response that was touched last: servers without ids run one at a time.
    fn open(&mut self, id: Option<&str>, apart: bool, prices: &PriceTable, now: Now) -> Option<&mut Open> {
        let live = self.live.get_or_insert_default();
        if id.is_none() && live.open.last().is_some_and(|open| open.is_finished) {
            // The next one begins, and the usage of this one never came.
            let finished = live.open.pop();
            self.overdue(finished, prices, now);
        }
        let live = self.live.get_or_insert_default();
        let found = live.open.iter().rposition(|open| id.is_none() || open.id.as_deref() == id);
        if let Some(index) = found {
            let last = live.open.len() - 1;
            live.open[index..].rotate_left(usize::from(index < last));
        } else {
            let hash = id.map(response_hash);
            if hash.is_some_and(|hash| live.has_booked(hash)) {
                return None;
            }
            if let Some(hash) = hash.filter(|hash| !self.may_meter(*hash)) {
                let live = self.live.get_or_insert_default();
                live.remember(hash);
                live.take_asked(apart);
                return None;
            }
            let live = self.live.get_or_insert_default();
            if live.open.len() == OPEN_MAX {
                let quiet = live.open.remove(0);
                self.overdue(Some(quiet), prices, now);
            }
            let mut open = self.begin(id, apart, prices, now);
            let live = self.live.get_or_insert_default();
            live.overdue.foreseen += open.input_charge;
            if self.abandoned {
                live.overdue.absorb(open.charge_input());
            }
            live.open.push(open);
        }
        self.live.as_mut()?.open.last_mut()
    }

    /// Books a response by its estimate where nothing can be answered.
    fn overdue(&mut self, response: Option<Open>, prices: &PriceTable, now: Now) {
        let Some(response) = response else { return };
        let reading = self.book_response(response, None, &Terms::default(), prices, now);
        self.live.get_or_insert_default().overdue.absorb(reading);
    }

    /// A response that is foreseen to read what there is to be read now.
    fn begin(&mut self, id: Option<&str>, apart: bool, prices: &PriceTable, now: Now) -> Open {
        let price = self.tariff.price(name_of(self.models.session.as_ref()), prices, now.wall);
        let asked = self.live.as_mut().and_then(|live| live.take_asked(apart));
        let (settings_bytes, rate) = (self.settings_bytes, self.input_rate);
        let context = self.context();
        if !apart {
            context.begin(rate);
        }
        let of_its_own = asked.filter(|_| apart).and_then(|asked| asked.input);
        let input = of_its_own.unwrap_or_else(|| context.input(settings_bytes));
        let input_charge = match self.estimate {
            EstimateMode::Enforce => Charge::of(price.plain_cost(&input), &input),
            EstimateMode::Observe | EstimateMode::Off => Charge::default(),
        };
        Open {
            id: id.map(Box::from),
            price,
            model: self.models.session.clone(),
            began_at: Some(now.instant),
            output_rate: self.output_rate,
            said_ms_per_token: self.speaks.rates().said_ms_per_token,
            audio_bytes: 0,
            text_bytes: 0,
            said_at_least: (0, 0),
            charged: Charge::default(),
            input: (self.estimate != EstimateMode::Off).then(|| Box::new(input)),
            input_charge,
            input_is_charged: false,
            searches: 0,
            apart,
            is_finished: false,
        }
    }

    fn may_meter(&self, hash: u64) -> bool {
        match &self.claims {
            Some(claims) if self.is_owner => claims.take(hash),
            Some(claims) => return claims.claim(hash),
            None => {}
        }
        true
    }

    fn context(&mut self) -> &mut Context {
        self.context.get_or_insert_with(|| Box::new(Context::new(self.speaks.rates())))
    }

    fn add(&mut self, piece: &OutputDelta<'_>, prices: &PriceTable, now: Now) -> Charge {
        let estimate = self.estimate;
        if estimate == EstimateMode::Off {
            return Charge::default();
        }
        let Some(open) = self.open(piece.response.as_deref(), false, prices, now) else {
            return Charge::default();
        };
        let charge = open.grow(piece.kind, piece.bytes, estimate);
        if let Some(live) = &mut self.live {
            live.growing = Some(piece.kind);
        }
        charge
    }

    fn done(
        &mut self,
        id: Option<&str>,
        usage: Option<Usage>,
        terms: &Terms<'_>,
        prices: &PriceTable,
        now: Now,
    ) -> Reading {
        let live = self.live.get_or_insert_default();
        live.growing = None;
        if id.is_some_and(|id| live.has_booked(response_hash(id))) || live.is_repeated(usage.as_ref()) {
            self.counts.duplicate += 1;
            return Reading::default();
        }
        let of_id = live.open.iter().position(|open| id.is_none() || open.id.as_deref() == id);
        let found = of_id.or_else(|| live.open.iter().position(|open| open.id.is_none()));
        let mut response = match found {
            Some(index) => live.open.remove(index),
            None => {
                if let Some(hash) = id.map(response_hash).filter(|hash| !self.may_meter(*hash)) {
                    self.live.get_or_insert_default().remember(hash);
                    self.counts.duplicate += 1;
                    return Reading::default();
                }
                let unseen = self.begin(id, false, prices, now);
                self.live.get_or_insert_default().overdue.foreseen += unseen.input_charge;
                Open { began_at: None, ..unseen }
            }
        };
        response.id = response.id.or_else(|| id.map(Box::from));
        self.book_response(response, usage, terms, prices, now)
    }

    /// A response is over, of which nobody states what it was. Characters are those of the request, and no guess.
    fn measured(
        &mut self,
        id: Option<&str>,
        usage: Usage,
        terms: &Terms<'_>,
        prices: &PriceTable,
        now: Now,
    ) -> Reading {
        let Some(open) = self.open(id, true, prices, now) else { return Reading::default() };
        let usage = open.price.measured(usage);
        if usage.characters_in > 0 {
            return self.done(id, Some(usage), terms, prices, now);
        }
        open.measure(usage);
        self.done(id, None, terms, prices, now)
    }

    /// A response has come to nothing; what it was said to read was not billed then, unless it has said something.
    fn dropped(&mut self, id: Option<&str>, prices: &PriceTable, now: Now) -> Reading {
        let live = self.live.get_or_insert_default();
        let is_it = |open: &Open| open.id.as_deref() == id && open.tokens() == (0, 0);
        let Some(index) = live.open.iter().position(is_it) else {
            let is_open = live.open.iter().any(|open| open.id.as_deref() == id);
            return match is_open {
                true => self.done(id, None, &Terms::default(), prices, now),
                false => Reading::default(),
            };
        };
        let dropped = live.open.remove(index);
        if let Some(id) = id {
            live.remember(response_hash(id));
        }
        Reading {
            charge: Charge::default() - dropped.charged,
            foreseen: Charge::default() - dropped.foreseen(),
            ..Reading::default()
        }
    }

    /// A model that is named here, else the session's, with its price.
    fn priced(
        &mut self,
        model: Option<Cow<'_, str>>,
        prices: &PriceTable,
        now: Now,
    ) -> (Option<Model>, Arc<Price>) {
        let session = || self.models.of_session().cloned();
        let unnamed = || self.speaks.dialect()?.unnamed_model().map(Model::from);
        let model = model.and_then(named).or_else(session).or_else(unnamed);
        let price = self.tariff.price(name_of(model.as_ref()), prices, now.wall);
        (model, price)
    }

    /// Something that is billed by itself.
    fn item(
        &mut self,
        id: Option<&str>,
        model: Option<Cow<'_, str>>,
        usage: Usage,
        terms: &Terms<'_>,
        prices: &PriceTable,
        now: Now,
    ) -> Reading {
        let hash = id.map(item_hash);
        let live = self.live.get_or_insert_default();
        if hash.is_some_and(|hash| live.has_booked(hash)) {
            self.counts.duplicate += 1;
            return Reading::default();
        }
        hash.into_iter().for_each(|hash| live.remember(hash));
        if hash.is_some_and(|hash| !self.may_meter(hash)) {
            self.counts.duplicate += 1;
            return Reading::default();
        }
        let (model, price) = self.priced(model, prices, now);
        let metered = self.book(model, &price, usage, terms, Basis::Stated);
        Reading {
            charge: Charge::of(metered.cost, &metered.usage),
            booked: vec![metered],
            ..Reading::default()
        }
    }

    /// Books what a running sum has grown by.
    fn book_growth(&mut self, model: Option<Model>, growth: Option<Growth>, basis: Basis) -> Reading {
        let Some(Growth { usage, cost, price }) = growth else { return Reading::default() };
        let metered = Metered { cost, ..self.book(model, &price, usage, &Terms::default(), basis) };
        Reading {
            charge: Charge::of(metered.cost, &metered.usage),
            booked: vec![metered],
            ..Reading::default()
        }
    }

    /// What was said is an item now, and will be written down where that was asked for.
    fn committed(&mut self, item: Option<&str>, prices: &PriceTable, now: Now) -> Reading {
        let rate = self.input_rate;
        let sound_ms = self.context().commit(item.map(item_hash), rate);
        let Some(item) = item.filter(|_| sound_ms > 0 && self.models.transcription.is_some()) else {
            return Reading::default();
        };
        if self.estimate == EstimateMode::Off {
            return Reading::default();
        }
        let live = self.live.get_or_insert_default();
        let oldest = if live.unheard.len() == AWAITED_MAX { live.unheard.pop_front() } else { None };
        live.unheard.push_back(Unheard { hash: transcription_hash(item, 0), sound_ms });
        oldest.map(|oldest| self.book_unheard(oldest, prices, now)).unwrap_or_default()
    }

    fn transcribed(
        &mut self,
        item: Option<&str>,
        content_index: u64,
        usage: Option<Usage>,
        prices: &PriceTable,
        now: Now,
    ) -> Reading {
        let hash = item.map(|item| transcription_hash(item, content_index));
        let live = self.live.get_or_insert_default();
        let unheard = hash.and_then(|hash| live.take_unheard(hash));
        if hash.is_some_and(|hash| live.has_booked(hash)) {
            self.counts.duplicate += 1;
            return Reading::default();
        }
        let Some(usage) = usage else {
            // As the beta does: what was heard of the speech is all there is to go by.
            return match unheard {
                Some(unheard) => self.book_unheard(unheard, prices, now),
                None => {
                    self.counts.unmetered += 1;
                    Reading::default()
                }
            };
        };
        if let Some(hash) = hash {
            live.remember(hash);
            if !self.may_meter(hash) {
                self.counts.duplicate += 1;
                return Reading::default();
            }
        }
        self.book_transcription(usage, Basis::Stated, prices, now)
    }

    /// Books what was said and not written down, as if it had been.
    fn book_unheard(&mut self, unheard: Unheard, prices: &PriceTable, now: Now) -> Reading {
        let Unheard { hash, sound_ms } = unheard;
        self.live.get_or_insert_default().remember(hash);
        if self.may_meter(hash) { self.book_sound(sound_ms, 1, prices, now) } else { Reading::default() }
    }

    fn book_sound(&mut self, sound_ms: u64, requests: u64, prices: &PriceTable, now: Now) -> Reading {
        if sound_ms == 0 || self.estimate == EstimateMode::Off || self.models.transcription.is_none() {
            return Reading::default();
        }
        let model = name_of(self.models.transcription.as_ref());
        let usage = match self.tariff.price(model, prices, now.wall).bills_time() {
            true => Usage { duration_ms: sound_ms, requests, ..Usage::default() },
            false => {
                let audio_in = sound_ms.div_ceil(self.speaks.rates().heard_ms_per_token);
                Usage { audio_in, requests, ..Usage::default() }
            }
        };
        self.book_transcription(usage, Basis::Estimated, prices, now)
    }

    fn book_transcription(&mut self, usage: Usage, basis: Basis, prices: &PriceTable, now: Now) -> Reading {
        let model = self.models.transcription.clone();
        let price = self.tariff.price(name_of(model.as_ref()), prices, now.wall);
        let metered = self.book(model, &price, usage, &Terms::default(), basis);
        let charge = Charge::of(metered.cost, &metered.usage);
        Reading { charge, booked: vec![metered], ..Reading::default() }
    }

    /// Books a response that is not among the open ones any more, at what it costs now.
    fn book_response(
        &mut self,
        response: Open,
        usage: Option<Usage>,
        terms: &Terms<'_>,
        prices: &PriceTable,
        now: Now,
    ) -> Reading {
        if let Some(id) = &response.id {
            self.live.get_or_insert_default().remember(response_hash(id));
        }
        if !response.apart {
            let said = response.tokens();
            self.context().finish(usage.as_ref(), said);
            let live = self.live.get_or_insert_default();
            live.stated = usage.map(Box::new).or(live.stated.take());
        }
        let (usage, basis) = match usage {
            Some(usage) => (usage, Basis::Stated),
            None => (response.usage(), Basis::Estimated),
        };
        let usage = Usage { searches: usage.searches.max(response.searches.into()), ..usage };
        let latency_ms = response.began_at.map(|began_at| now.instant.since(began_at));
        let foreseen = response.foreseen();
        let price = self.tariff.price(name_of(response.model.as_ref()), prices, now.wall);
        let metered = self.book(response.model, &price, usage, terms, basis);
        let metered = Metered { latency_ms, ..metered };
        Reading {
            charge: Charge::of(metered.cost, &metered.usage) - response.charged,
            foreseen: Charge::default() - foreseen,
            booked: vec![metered],
            ..Reading::default()
        }
    }

    fn book(
        &mut self,
        model: Option<Model>,
        price: &Price,
        usage: Usage,
        terms: &Terms<'_>,
        basis: Basis,
    ) -> Metered {
        let known_price = price.covers(&usage, terms);
        match basis {
            Basis::Stated => self.counts.metered += 1,
            Basis::Estimated => self.counts.estimated += 1,
        }
        self.counts.unpriced += u32::from(!known_price);
        Metered {
            model: model.unwrap_or_else(|| Model::from(UNKNOWN_MODEL)),
            usage,
            cost: price.cost(&usage, terms),
            estimated: basis == Basis::Estimated,
            known_price,
            latency_ms: None,
        }
    }

    /// An answer, with what is overdue before it.
    fn reading(&mut self, reading: Reading) -> Reading {
        let mut all = self.live.as_mut().map(|live| std::mem::take(&mut live.overdue)).unwrap_or_default();
        all.absorb(reading);
        all
    }
}

impl Reading {
    fn absorb(&mut self, other: Reading) {
        self.charge += other.charge;
        self.foreseen += other.foreseen;
        self.booked.extend(other.booked);
        self.handle = other.handle.or(self.handle.take());
        self.call = other.call.or(self.call.take());
    }
}

impl Charge {
    fn of(cost: NanoUsd, usage: &Usage) -> Charge {
        Charge { cost, tokens: i64::try_from(usage.total_tokens()).unwrap_or(i64::MAX) }
    }
}

impl AddAssign for Charge {
    fn add_assign(&mut self, other: Charge) {
        self.cost += other.cost;
        self.tokens = self.tokens.saturating_add(other.tokens);
    }
}

impl Sub for Charge {
    type Output = Charge;
    fn sub(self, other: Charge) -> Charge {
        Charge { cost: self.cost - other.cost, tokens: self.tokens.saturating_sub(other.tokens) }
    }
}

impl Counts {
    /// For adding them to the process's counters.
    pub fn by_metric(&self) -> [(Metric, u64); 5] {
        [
            (Metric::EventsMetered, self.metered),
            (Metric::EventsDuplicate, self.duplicate),
            (Metric::EventsEstimated, self.estimated),
            (Metric::EventsUnmetered, self.unmetered),
            (Metric::EventsUnpriced, self.unpriced),
        ]
        .map(|(metric, count)| (metric, u64::from(count)))
    }
}

/// Where a usage comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Basis {
    Stated,
    Estimated,
}

/// The total that elapsed time is kept under.
const CLOCK: &str = "elapsed time";

/// What is written down is booked in pieces of so long: what a limit on it can be passed by. It is a whole number of bytes in
/// base64 at every usual rate.
const WRITTEN_EACH_MS: u64 = 6_000;

/// A provider's word for a model, if it is fit to be a name.
fn named(word: Cow<'_, str>) -> Option<Model> {
    Model::parse(word.as_bytes()).ok()
}

fn name_of(model: Option<&Model>) -> &str {
    model.map_or(UNKNOWN_MODEL, Model::as_str)
}

#[cfg(test)]
mod tests;
