//! One session's sums: what its events charge while they pass, and what is booked in the end.
//!
//! Start at [`Meter::sniff`] and [`Meter::read`]. Invariant: in every session, whatever comes in whatever order, the
//! charges add up to the cost and the tokens of what was booked, once [`Meter::settle`] has been called; no response
//! is booked twice.

use crate::dialect::{AudioRate, Dialect, Fact, Piece, PieceKind, Sign};
use crate::id::Model;
use crate::metric::Metric;
use crate::money::NanoUsd;
use crate::price::{Price, PriceTable};
use crate::time::{Instant, Now};
use crate::usage::Usage;
use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::{AddAssign, Sub};
use std::sync::Arc;

/// What to do with what a response has generated before its usage is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EstimateMode {
    /// Charge it at once, and book it if no usage comes.
    #[default]
    Enforce,
    /// Charge nothing until the response is over; book it if no usage comes.
    Observe,
    /// Estimate nothing. A response that ends or dies without usage is booked as one request without tokens.
    Off,
}

/// What an event of the provider asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sniff {
    /// Nothing.
    Pass,
    /// That its bytes be kept and, when it is whole, shown to [`Meter::read`]; or else [`Meter::unmetered`].
    Collect,
    /// That this be charged now.
    Charge(Charge),
}

/// An amount for accounts. Negative where a provider's figure replaces a higher estimate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Charge {
    pub cost: NanoUsd,
    pub tokens: i64,
}

/// What came of an event, or of the end: charge the one, report the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// What all that is booked costs, less what was charged for it before.
    pub charge: Charge,
    pub booked: Vec<Metered>,
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

/// Responses of one session that may be under way at once; past it the one that was quiet longest is booked by
/// estimate. OpenAI runs one, and a few more where the application asks for responses out of band.
pub const OPEN_MAX: usize = 64;

/// Ids remembered as booked; an older one that came again would count again.
pub const BOOKED_MAX: usize = 64;

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

#[derive(Debug)]
pub struct Meter {
    dialect: Dialect,
    estimate: EstimateMode,
    output_rate: AudioRate,
    counts: Counts,
    provider: Arc<str>,
    models: Models,
    /// `None` until the first response, so that a session that only waits is small.
    live: Option<Box<Live>>,
}

#[derive(Debug, Default)]
struct Live {
    /// The one that was touched last is last.
    open: Vec<Open>,
    /// Hashes of the ids that were booked; once full, a ring whose oldest is at `booked_at`.
    booked: Vec<u64>,
    booked_at: usize,
    /// What the last sniffed event adds to, if more of it comes.
    growing: Option<PieceKind>,
    /// Booked where nothing could be answered; goes out with the next reading.
    overdue: Reading,
}

/// A response under way.
#[derive(Debug)]
struct Open {
    id: Option<Box<str>>,
    model: Option<Model>,
    /// Of the time when it began; also what is booked in the end costs that.
    price: Arc<Price>,
    /// `None` if its end was its first sign.
    began_at: Option<Instant>,
    output_rate: AudioRate,
    /// Sums of bytes, not of tokens, so that a thousand small pieces do not round up a thousand times.
    audio_bytes: u64,
    text_bytes: u64,
    charged: Charge,
}

impl Meter {
    /// `models` are those that the URL asks for; each holds until the provider says which it is.
    pub fn new(dialect: Dialect, provider: Arc<str>, models: Models, estimate: EstimateMode) -> Meter {
        Meter {
            dialect,
            estimate,
            output_rate: AudioRate::PCM16_24KHZ,
            counts: Counts::default(),
            provider,
            models,
            live: None,
        }
    }

    /// The session's model; of a session that only transcribes, that one.
    pub fn model(&self) -> Option<&Model> {
        self.models.of_session()
    }

    /// Looks at the first bytes of an event, up to [`crate::dialect::HEAD_BYTES_MAX`], or all of a shorter one.
    /// `event_bytes` is the length of the whole event; where that is not known yet, what has come of it, and
    /// [`Meter::grow`] is told of the rest.
    #[inline]
    pub fn sniff(&mut self, head: &[u8], event_bytes: u64, prices: &PriceTable, now: Now) -> Sniff {
        if let Some(live) = &mut self.live {
            live.growing = None;
        }
        match self.dialect.sniff(head, event_bytes) {
            Sign::Nothing => Sniff::Pass,
            Sign::Whole => Sniff::Collect,
            Sign::Piece(piece) => match self.add(&piece, prices, now) {
                charge if charge == Charge::default() => Sniff::Pass,
                charge => Sniff::Charge(charge),
            },
        }
    }

    /// More of the event that was sniffed last, if its length was not known then.
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
        let fact = self.dialect.read(event);
        self.apply(fact, prices, now)
    }

    /// An event that was asked for but is too large to keep. What `head`, its beginning, tells is used; a response
    /// that it ends without usage is booked by estimate.
    pub fn unmetered(&mut self, head: &[u8], prices: &PriceTable, now: Now) -> Reading {
        let fact = self.dialect.read(head);
        if matches!(fact, Fact::Done { usage: None, .. }) {
            self.counts.unmetered += 1;
        }
        self.apply(fact, prices, now)
    }

    /// The session is over: what is under way is booked by its estimate. Call it on every way out.
    pub fn settle(&mut self, now: Now) -> Reading {
        let mut settled = self.reading(Reading::default());
        let open = self.live.as_mut().map(|live| std::mem::take(&mut live.open));
        for open in open.into_iter().flatten() {
            settled.absorb(self.book_response(open, None, now));
        }
        settled
    }

    pub fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }

    fn apply(&mut self, fact: Fact<'_>, prices: &PriceTable, now: Now) -> Reading {
        let reading = match fact {
            Fact::Nothing => Reading::default(),
            Fact::Unreadable => {
                self.counts.unmetered += 1;
                Reading::default()
            }
            Fact::Session { model, transcription_model, output_rate } => {
                self.models.transcription =
                    transcription_model.and_then(named).or(self.models.transcription.take());
                self.output_rate = output_rate.unwrap_or(self.output_rate);
                self.set_model(model.and_then(named), prices, now);
                Reading::default()
            }
            Fact::Begun { response, output_rate } => {
                let fresh = |open: &&mut Open| open.audio_bytes == 0;
                if let Some(open) = self.open(response.as_deref(), prices, now).filter(fresh) {
                    open.output_rate = output_rate.unwrap_or(open.output_rate);
                }
                Reading::default()
            }
            Fact::Piece(piece) => Reading { charge: self.add(&piece, prices, now), booked: Vec::new() },
            Fact::Done { response, usage } => self.done(response.as_deref(), usage, prices, now),
            Fact::Transcribed { item, content_index, usage } => {
                self.transcribed(item.as_deref(), content_index, usage, prices, now)
            }
        };
        self.reading(reading)
    }

    fn set_model(&mut self, model: Option<Model>, prices: &PriceTable, now: Now) {
        let Some(model) = model else { return };
        let price = prices.price(&self.provider, model.as_str(), now.wall);
        for open in self.live.iter_mut().flat_map(|live| &mut live.open) {
            if open.model.is_none() {
                (open.model, open.price) = (Some(model.clone()), Arc::clone(price));
            }
        }
        self.models.session = Some(model);
    }

    /// The open response of an id, opened if it is new; `None` if it is over already. What bears no id belongs to the
    /// response that was touched last: servers without ids run one at a time.
    fn open(&mut self, id: Option<&str>, prices: &PriceTable, now: Now) -> Option<&mut Open> {
        let live = self.live.get_or_insert_default();
        let found = live.open.iter().rposition(|open| id.is_none() || open.id.as_deref() == id);
        if let Some(index) = found {
            let last = live.open.len() - 1;
            live.open[index..].rotate_left(usize::from(index < last));
        } else {
            if id.is_some_and(|id| live.has_booked(response_hash(id))) {
                return None;
            }
            if live.open.len() == OPEN_MAX {
                let quiet = live.open.remove(0);
                let reading = self.book_response(quiet, None, now);
                self.live.get_or_insert_default().overdue.absorb(reading);
            }
            let open = self.begin(id, prices, now);
            self.live.get_or_insert_default().open.push(open);
        }
        self.live.as_mut()?.open.last_mut()
    }

    fn begin(&self, id: Option<&str>, prices: &PriceTable, now: Now) -> Open {
        Open {
            id: id.map(Box::from),
            price: Arc::clone(prices.price(&self.provider, name_of(self.models.session.as_ref()), now.wall)),
            model: self.models.session.clone(),
            began_at: Some(now.instant),
            output_rate: self.output_rate,
            audio_bytes: 0,
            text_bytes: 0,
            charged: Charge::default(),
        }
    }

    fn add(&mut self, piece: &Piece<'_>, prices: &PriceTable, now: Now) -> Charge {
        let estimate = self.estimate;
        if estimate == EstimateMode::Off {
            return Charge::default();
        }
        let Some(open) = self.open(piece.response.as_deref(), prices, now) else { return Charge::default() };
        let charge = open.grow(piece.kind, piece.bytes, estimate);
        if let Some(live) = &mut self.live {
            live.growing = Some(piece.kind);
        }
        charge
    }

    fn done(&mut self, id: Option<&str>, usage: Option<Usage>, prices: &PriceTable, now: Now) -> Reading {
        let live = self.live.get_or_insert_default();
        live.growing = None;
        if id.is_some_and(|id| live.has_booked(response_hash(id))) {
            self.counts.duplicate += 1;
            return Reading::default();
        }
        let of_id = live.open.iter().position(|open| id.is_none() || open.id.as_deref() == id);
        let found = of_id.or_else(|| live.open.iter().position(|open| open.id.is_none()));
        let mut response = match found {
            Some(index) => live.open.remove(index),
            None => Open { began_at: None, ..self.begin(id, prices, now) },
        };
        response.id = response.id.or_else(|| id.map(Box::from));
        self.book_response(response, usage, now)
    }

    fn transcribed(
        &mut self,
        item: Option<&str>,
        content_index: u64,
        usage: Option<Usage>,
        prices: &PriceTable,
        now: Now,
    ) -> Reading {
        let hash = item.map(|item| hash_of(&("transcription", item, content_index)));
        let live = self.live.get_or_insert_default();
        if hash.is_some_and(|hash| live.has_booked(hash)) {
            self.counts.duplicate += 1;
            return Reading::default();
        }
        let Some(usage) = usage else {
            // As the beta does. What was said has passed the other way, so there is nothing to estimate by.
            self.counts.unmetered += 1;
            return Reading::default();
        };
        hash.into_iter().for_each(|hash| live.remember(hash));
        let model = self.models.transcription.clone();
        let price = Arc::clone(prices.price(&self.provider, name_of(model.as_ref()), now.wall));
        let metered = self.book(model, &price, usage, Basis::Stated, None);
        Reading { charge: Charge::of(metered.cost, &metered.usage), booked: vec![metered] }
    }

    /// Books a response that is not among the open ones any more.
    fn book_response(&mut self, response: Open, usage: Option<Usage>, now: Now) -> Reading {
        if let Some(id) = &response.id {
            self.live.get_or_insert_default().remember(response_hash(id));
        }
        let (usage, basis) = match usage {
            Some(usage) => (usage, Basis::Stated),
            None => (response.usage(), Basis::Estimated),
        };
        let latency_ms = response.began_at.map(|began_at| now.instant.since(began_at));
        let metered = self.book(response.model, &response.price, usage, basis, latency_ms);
        Reading { charge: Charge::of(metered.cost, &metered.usage) - response.charged, booked: vec![metered] }
    }

    fn book(
        &mut self,
        model: Option<Model>,
        price: &Price,
        usage: Usage,
        basis: Basis,
        latency_ms: Option<u64>,
    ) -> Metered {
        let known_price = price.known && price.covers(&usage);
        match basis {
            Basis::Stated => self.counts.metered += 1,
            Basis::Estimated => self.counts.estimated += 1,
        }
        self.counts.unpriced += u32::from(!known_price);
        Metered {
            model: model.unwrap_or_else(|| Model::from(UNKNOWN_MODEL)),
            usage,
            cost: price.cost(&usage),
            estimated: basis == Basis::Estimated,
            known_price,
            latency_ms,
        }
    }

    /// An answer, with what is overdue before it.
    fn reading(&mut self, reading: Reading) -> Reading {
        let mut all = self.live.as_mut().map(|live| std::mem::take(&mut live.overdue)).unwrap_or_default();
        all.absorb(reading);
        all
    }
}

impl Open {
    /// Adds a piece and charges what the estimate has grown by.
    fn grow(&mut self, kind: PieceKind, bytes: u64, estimate: EstimateMode) -> Charge {
        let sum = match kind {
            PieceKind::Audio => &mut self.audio_bytes,
            PieceKind::Text => &mut self.text_bytes,
        };
        *sum = sum.saturating_add(bytes).min(PIECES_BYTES_MAX);
        if estimate != EstimateMode::Enforce {
            return Charge::default();
        }
        let (text_out, audio_out) = self.tokens();
        let tokens = (text_out + audio_out) as i64;
        // Text comes in pieces smaller than a token; most change nothing.
        if tokens == self.charged.tokens {
            return Charge::default();
        }
        let total = Charge { cost: self.price.output_cost(text_out, audio_out), tokens };
        let more = total - self.charged;
        self.charged = total;
        more
    }

    fn usage(&self) -> Usage {
        let (text_out, audio_out) = self.tokens();
        Usage { text_out, audio_out, requests: 1, ..Usage::default() }
    }

    /// The estimate, text and audio: a token for 4 bytes of text, 20 for a second of sound.
    fn tokens(&self) -> (u64, u64) {
        // Four characters of base64 are three bytes of sound.
        let (sound, second) = (self.audio_bytes * 3, u64::from(self.output_rate.bytes_per_second.max(1)) * 4);
        let audio = (sound * AUDIO_TOKENS_PER_SECOND).div_ceil(second);
        (self.text_bytes.div_ceil(TEXT_BYTES_PER_TOKEN), audio)
    }
}

impl Live {
    fn has_booked(&self, hash: u64) -> bool {
        self.booked.contains(&hash)
    }

    fn remember(&mut self, hash: u64) {
        if self.booked.len() < BOOKED_MAX {
            self.booked.push(hash);
        } else {
            self.booked[self.booked_at] = hash;
            self.booked_at = (self.booked_at + 1) % BOOKED_MAX;
        }
    }
}

impl Reading {
    fn absorb(&mut self, other: Reading) {
        self.charge += other.charge;
        self.booked.extend(other.booked);
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

/// A provider's word for a model, if it is fit to be a name.
fn named(word: Cow<'_, str>) -> Option<Model> {
    Model::parse(word.as_bytes()).ok()
}

fn name_of(model: Option<&Model>) -> &str {
    model.map_or(UNKNOWN_MODEL, Model::as_str)
}

fn response_hash(id: &str) -> u64 {
    hash_of(&("response", id))
}

fn hash_of(id: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

const AUDIO_TOKENS_PER_SECOND: u64 = 20;
const TEXT_BYTES_PER_TOKEN: u64 = 4;

/// More than a petabyte in one response is a length that somebody made up; it stops adding.
const PIECES_BYTES_MAX: u64 = 1 << 50;

#[cfg(test)]
mod tests;
