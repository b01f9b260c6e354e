//! One session's sums: what its events charge while they pass, and what is booked in the end.
//!
//! Start at [`Meter::peek`] and [`Meter::read`] for what the provider says, at [`Meter::peek_client`] for what the
//! application does. Invariant: in every session, whatever comes in whatever order, the charges add up to the cost and
//! the tokens of what was booked, and what was foreseen to nothing, once [`Meter::settle`] has been called; no response
//! is booked twice.

mod client;
mod context;
mod elapsed;
mod open;
mod outcome;
mod provider;
mod responses;
mod running;
mod tariff;
mod transcriptions;

use self::context::Context;
use self::open::{Asked, Responses, item_hash, response_hash, total_hash};
use self::running::Running;
use self::tariff::Tariff;
use crate::api::{Api, Asked as AskedOver};
use crate::dialect::{AudioRate, Dialect, Rates, SESSION_TIME, Settings, TEXT_BYTES_PER_TOKEN};
use crate::id::Model;
use crate::money::NanoUsd;
use crate::price::{Price, PriceTable};
use crate::terms::Terms;
use crate::time::Now;
use crate::usage::Usage;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

pub use self::outcome::{Charge, Counts, Metered, Reading};
pub use self::tariff::{Billing, LookedUp};

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
    /// More than one.
    Several,
}

/// What a connection leaves to one that resumes its session: what the provider states again is not counted again, and what
/// the next response reads follows from what was stated last.
#[derive(Clone, Debug, Default)]
pub struct Carried {
    stated: Option<Box<Usage>>,
    running: Option<Box<Running>>,
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
    /// Sound passes elsewhere, both ways.
    sound_is_unseen: bool,
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
            sound_is_unseen: false,
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

    /// What another session of this provider has looked up need not be again.
    pub fn begin_with(&mut self, known: LookedUp) {
        self.tariff.begin_with(known);
    }

    /// What another session of this provider need not look up again.
    pub fn looked_up(&self) -> Option<LookedUp> {
        self.tariff.looked_up()
    }

    /// Sound passes elsewhere, so its length follows from what is told of it.
    pub fn sees_no_sound(&mut self) {
        self.sound_is_unseen = true;
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

    /// What a request over HTTP asks for.
    pub fn ask(&mut self, asked: &AskedOver) {
        let input = Context::input_of(self.speaks.rates(), asked.content, self.input_rate, 0);
        self.live.get_or_insert_default().asked.push_back(Asked { apart: true, input: Some(input) });
    }

    /// Of the response that is booked next, so much was booked before, by estimate: only what is more of it is booked.
    pub fn discount(&mut self, usage: Usage, cost: NanoUsd) {
        self.live.get_or_insert_default().booked_before = Some(Box::new((usage, cost)));
    }

    /// What is asked for again has used so much at least.
    pub fn ask_again(&mut self, usage: Usage) {
        let asked = self.live.get_or_insert_default().asked.front_mut();
        if let Some(asked) = asked {
            asked.input = Some(Usage { text_out: 0, requests: 0, ..usage });
        }
    }

    /// What a response that goes on elsewhere has used at least: what was asked, and what it has said so far. Nothing is
    /// charged or booked by it.
    pub fn estimate_elsewhere(
        &mut self,
        model: Option<Cow<'_, str>>,
        text_bytes: u64,
        prices: &PriceTable,
        now: Now,
    ) -> Metered {
        let (model, price) = self.priced(model, prices, now);
        let asked = self.live.as_ref().and_then(|live| live.asked.front()?.input).unwrap_or_default();
        let text_out = text_bytes.div_ceil(TEXT_BYTES_PER_TOKEN);
        let usage = match self.estimate {
            EstimateMode::Off => Usage { requests: 1, ..Usage::default() },
            EstimateMode::Enforce | EstimateMode::Observe => Usage { text_out, requests: 1, ..asked },
        };
        let (cost, known_price) = price.bill(&usage, &Terms::default());
        Metered {
            model: model.unwrap_or_else(|| Model::from(UNKNOWN_MODEL)),
            usage,
            cost,
            estimated: true,
            known_price,
            latency_ms: None,
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

    pub fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }

    fn take_settings(&mut self, settings: Settings<'_>, prices: &PriceTable, now: Now) {
        self.models.transcription =
            settings.transcription_model.and_then(named).or(self.models.transcription.take());
        self.output_rate = settings.output_rate.unwrap_or(self.output_rate);
        self.set_input_rate(settings.input_rate.unwrap_or(self.input_rate));
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

    fn book(
        &mut self,
        model: Option<Model>,
        price: &Price,
        usage: Usage,
        terms: &Terms<'_>,
        basis: Basis,
    ) -> Metered {
        let (cost, known_price) = price.bill(&usage, terms);
        match basis {
            Basis::Stated => self.counts.metered += 1,
            Basis::Estimated => self.counts.estimated += 1,
        }
        self.counts.unpriced += u32::from(!known_price);
        Metered {
            model: model.unwrap_or_else(|| Model::from(UNKNOWN_MODEL)),
            usage,
            cost,
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

/// Where a usage comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Basis {
    Stated,
    Estimated,
}

/// A provider's word for a model, if it is fit to be a name.
fn named(word: Cow<'_, str>) -> Option<Model> {
    Model::parse(word.as_bytes()).ok()
}

fn name_of(model: Option<&Model>) -> &str {
    model.map_or(UNKNOWN_MODEL, Model::as_str)
}

#[cfg(test)]
mod tests;
