//! What models cost.

use super::span;
use crate::fields::{Fields, FromFields};
use serde::Serialize;
use std::sync::Arc;
use tokenist_control::prices::PricePreview;
use tokenist_core::id;
use tokenist_core::limit::WindowKind;
use tokenist_core::money::{Factor, NanoUsd};
use tokenist_core::price::{Conditions, FALLBACK, Listing, NOTHING, PriceTable, Rates, Source, columns};
use tokenist_core::time::Timestamp;
use tokenist_core::usage::{KINDS, PerKind};
use utoipa::{IntoParams, ToSchema};

/// What a model costs from a time on.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PriceBody {
    /// By which a price that was set here is removed; null of all others.
    #[schema(required)]
    id: Option<String>,
    source: PriceSource,
    /// Null is any.
    #[schema(required)]
    provider: Option<String>,
    /// One with a `*` is a pattern; likewise an alias.
    model: String,
    /// Other names of the model.
    aliases: Vec<String>,
    /// Null: it has always held.
    #[schema(required, format = DateTime)]
    effective_from: Option<String>,
    usd_per_million: UsdPerMillion,
    /// For a minute of audio or of a session, where the model is billed so.
    #[schema(required)]
    usd_per_minute: Option<f64>,
    usd_per_thousand: UsdPerThousand,
    /// Where there are some, this changes what the model's other price says, where they hold: what it states takes the place
    /// of that. `service_tier=priority;input_tokens>272000`: `;` is and, `|` between values is or.
    #[schema(required)]
    conditions: Option<String>,
    /// What the whole is multiplied by where the conditions hold.
    #[schema(required)]
    factor: Option<f64>,
}

/// Built in, in the operator's file (`metering.prices_file`), or set through this API.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum PriceSource {
    Builtin,
    File,
    Api,
}

/// Dollars for a million tokens, or characters. A kind without a price of its own, null, costs what the kind does that it is a
/// part of or most like, such as cached input what any input does, or else the fallback.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct UsdPerMillion {
    #[schema(required)]
    text_in: Option<f64>,
    #[schema(required)]
    cached_text_in: Option<f64>,
    #[schema(required)]
    cache_write_in: Option<f64>,
    #[schema(required)]
    cache_write_long_in: Option<f64>,
    #[schema(required)]
    text_out: Option<f64>,
    #[schema(required)]
    audio_in: Option<f64>,
    #[schema(required)]
    cached_audio_in: Option<f64>,
    #[schema(required)]
    audio_out: Option<f64>,
    #[schema(required)]
    image_in: Option<f64>,
    #[schema(required)]
    cached_image_in: Option<f64>,
    #[schema(required)]
    image_out: Option<f64>,
    #[schema(required)]
    video_in: Option<f64>,
    #[schema(required)]
    video_out: Option<f64>,
    #[schema(required)]
    characters_in: Option<f64>,
}

/// Dollars for a thousand of what is billed each; null likewise.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct UsdPerThousand {
    #[schema(required)]
    items: Option<f64>,
    #[schema(required)]
    searches: Option<f64>,
    #[schema(required)]
    file_searches: Option<f64>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PriceList {
    prices: Vec<PriceBody>,
    /// What a model costs that has no price, and a kind of token that its model has no price for.
    fallback: PriceBody,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PriceReply {
    pub(crate) success: bool,
}

/// What the last month would have cost if the price had always held. Nothing is changed by it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PriceTrial {
    #[schema(format = DateTime)]
    month: String,
    /// The month for people, in UTC.
    period_label: String,
    cost_usd: f64,
    cost_usd_with_it: f64,
    /// Those that it would have priced.
    models: Vec<TriedModel>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TriedModel {
    provider: String,
    model: String,
    cost_usd: f64,
    cost_usd_with_it: f64,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum PriceAnswer {
    Price(Box<PriceBody>),
    Trial(PriceTrial),
}

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct PriceQuery {
    /// Sets nothing, and says what the last month would have cost with it.
    #[param(required = false, default = false)]
    pub(crate) dry_run: bool,
}

/// At least one figure is needed.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase", as = PriceRequest)]
#[allow(dead_code, reason = "read by the description alone")]
pub(crate) struct PriceFields {
    /// Any, if absent.
    #[schema(nullable = false, min_length = 1, max_length = 64, pattern = "^[^:*]+$")]
    provider: Option<String>,
    #[schema(min_length = 1, max_length = 256)]
    model: String,
    #[schema(required = false, max_items = 50)]
    aliases: Vec<String>,
    /// ISO 8601 with an offset, or a date, which is its midnight in UTC. It has always held, if absent.
    #[schema(nullable = false, format = DateTime)]
    effective_from: Option<String>,
    #[schema(nullable = false, required = false)]
    usd_per_million: Option<UsdPerMillionFields>,
    #[schema(nullable = false, minimum = 0, maximum = 10_000)]
    usd_per_minute: Option<f64>,
    #[schema(nullable = false, required = false)]
    usd_per_thousand: Option<UsdPerThousandFields>,
    /// It changes what the model's other price says, where they hold. A price with conditions has no aliases.
    #[schema(nullable = false, max_length = 256)]
    conditions: Option<String>,
    /// With at most four places, and conditions.
    #[schema(nullable = false, minimum = 0, maximum = 100)]
    factor: Option<f64>,
}

/// Dollars for a million tokens, or characters. A kind that is absent has no price.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
#[allow(dead_code, reason = "read by the description alone")]
struct UsdPerMillionFields {
    #[schema(nullable = false, minimum = 0, maximum = 1_000_000)]
    text_in: Option<f64>,
    #[schema(nullable = false, minimum = 0, maximum = 1_000_000)]
    cached_text_in: Option<f64>,
    #[schema(nullable = false, minimum = 0, maximum = 1_000_000)]
    cache_write_in: Option<f64>,
    #[schema(nullable = false, minimum = 0, maximum = 1_000_000)]
    cache_write_long_in: Option<f64>,
    #[schema(nullable = false, minimum = 0, maximum = 1_000_000)]
    text_out: Option<f64>,
    #[schema(nullable = false, minimum = 0, maximum = 1_000_000)]
    audio_in: Option<f64>,
    #[schema(nullable = false, minimum = 0, maximum = 1_000_000)]
    cached_audio_in: Option<f64>,
    #[schema(nullable = false, minimum = 0, maximum = 1_000_000)]
    audio_out: Option<f64>,
    #[schema(nullable = false, minimum = 0, maximum = 1_000_000)]
    image_in: Option<f64>,
    #[schema(nullable = false, minimum = 0, maximum = 1_000_000)]
    cached_image_in: Option<f64>,
    #[schema(nullable = false, minimum = 0, maximum = 1_000_000)]
    image_out: Option<f64>,
    #[schema(nullable = false, minimum = 0, maximum = 1_000_000)]
    video_in: Option<f64>,
    #[schema(nullable = false, minimum = 0, maximum = 1_000_000)]
    video_out: Option<f64>,
    #[schema(nullable = false, minimum = 0, maximum = 1_000_000)]
    characters_in: Option<f64>,
}

/// Dollars for a thousand of what is billed each; likewise.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
#[allow(dead_code, reason = "read by the description alone")]
struct UsdPerThousandFields {
    #[schema(nullable = false, minimum = 0, maximum = 1_000_000)]
    items: Option<f64>,
    #[schema(nullable = false, minimum = 0, maximum = 1_000_000)]
    searches: Option<f64>,
    #[schema(nullable = false, minimum = 0, maximum = 1_000_000)]
    file_searches: Option<f64>,
}

#[derive(Debug)]
pub(crate) struct PriceRequest {
    pub(crate) listing: Listing,
}

/// The price that a path names.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "read by the description alone")]
pub(crate) struct PricePath {
    /// As the list has it, URL-encoded.
    id: String,
}

impl FromFields for PriceQuery {
    fn from_fields(fields: &mut Fields) -> Option<PriceQuery> {
        Some(PriceQuery { dry_run: fields.flag("dryRun").unwrap_or(false) })
    }
}

impl FromFields for PriceRequest {
    fn from_fields(fields: &mut Fields) -> Option<PriceRequest> {
        let provider = fields.parsed("provider", |bytes| match id::read(bytes) {
            Ok(text) if text.len() > 64 || text.contains([':', '*']) => Err("may not hold : or *".to_owned()),
            Ok(text) => Ok(Arc::from(text)),
            Err(error) => Err(error.to_string()),
        });
        let model = fields.required("model", |fields, name| fields.parsed(name, name_of));
        let aliases = fields.texts("aliases", ALIASES_MAX, name_of).unwrap_or_default();
        let effective_from = fields.time("effectiveFrom");
        let per_million = fields.within("usdPerMillion", |fields| read_rates(fields, &PER_MILLION));
        let per_minute = bounded(fields, "usdPerMinute", MINUTE_USD_MAX).map(|usd| ("duration_ms", usd));
        let per_thousand = fields.within("usdPerThousand", |fields| read_rates(fields, &PER_THOUSAND));
        let figures = per_million.into_iter().chain(per_thousand).flatten().chain(per_minute);
        let conditions =
            fields.parsed("conditions", |bytes| Conditions::parse(&String::from_utf8_lossy(bytes)));
        let factor = fields.number("factor").map(|factor| Factor::parse(&factor.to_string()));
        let factor = match factor.transpose() {
            Ok(factor) => factor.unwrap_or_default(),
            Err(cause) => return fields.issue("factor", "custom", cause),
        };
        let listing = Listing {
            provider,
            model: model?,
            aliases,
            effective_from,
            conditions: conditions.unwrap_or_default(),
            rates: rates_of(figures),
            factor,
            note: None,
        };
        match listing.fault() {
            Some(_) if listing.conditions.is_empty() && listing.factor.is_one() => {
                fields.issue("usdPerMillion", "too_small", "At least one figure is needed")
            }
            Some(cause) => fields.issue("conditions", "custom", cause),
            None => Some(PriceRequest { listing }),
        }
    }
}

fn name_of(bytes: &[u8]) -> Result<Arc<str>, id::IdError> {
    id::read(bytes).map(Arc::from)
}

/// What a figure is called here, and which kind it is of.
type Figure = (&'static str, &'static str);

const PER_MILLION: [Figure; 14] = [
    ("textIn", "text_in"),
    ("cachedTextIn", "cached_text_in"),
    ("cacheWriteIn", "cache_write_in"),
    ("cacheWriteLongIn", "cache_write_long_in"),
    ("textOut", "text_out"),
    ("audioIn", "audio_in"),
    ("cachedAudioIn", "cached_audio_in"),
    ("audioOut", "audio_out"),
    ("imageIn", "image_in"),
    ("cachedImageIn", "cached_image_in"),
    ("imageOut", "image_out"),
    ("videoIn", "video_in"),
    ("videoOut", "video_out"),
    ("charactersIn", "characters_in"),
];
const PER_THOUSAND: [Figure; 3] =
    [("items", "items_in"), ("searches", "searches"), ("fileSearches", "file_searches")];

/// Figures by kind.
fn read_rates(fields: &mut Fields, figures: &[Figure]) -> Vec<(&'static str, NanoUsd)> {
    figures.iter().filter_map(|(name, kind)| Some((*kind, bounded(fields, name, USD_MAX)?))).collect()
}

fn rates_of(figures: impl Iterator<Item = (&'static str, NanoUsd)>) -> Rates {
    let mut rates = NOTHING.counts();
    for (kind, usd) in figures {
        let index = KINDS.iter().position(|name| *name == kind);
        let rate = index.and_then(|index| columns().counts()[index]?.rate(usd.usd()));
        if let Some(index) = index {
            rates[index] = rate;
        }
    }
    Rates::of(rates)
}

/// Dearer figures are slips, and their sums might not fit.
fn bounded(fields: &mut Fields, name: &'static str, max: NanoUsd) -> Option<NanoUsd> {
    match fields.dollars(name)? {
        usd if usd > max => {
            fields.issue(name, "too_big", format!("Number must be less than or equal to {}", max.usd()))
        }
        usd => Some(usd),
    }
}

impl PriceBody {
    /// One that was set here.
    pub(crate) fn set(listing: &Listing) -> PriceBody {
        PriceBody::of(listing, Source::Catalog)
    }

    fn of(listing: &Listing, source: Source) -> PriceBody {
        let usd = listing.rates.zip(columns(), |rate, column| Some(column?.usd(rate?)));
        PriceBody {
            id: (source == Source::Catalog).then(|| listing.id()),
            source: match source {
                Source::Builtin => PriceSource::Builtin,
                Source::File => PriceSource::File,
                Source::Catalog => PriceSource::Api,
            },
            provider: listing.provider.as_deref().map(str::to_owned),
            model: listing.model.to_string(),
            aliases: listing.aliases.iter().map(ToString::to_string).collect(),
            effective_from: listing.effective_from.map(|at| at.to_string()),
            usd_per_million: UsdPerMillion::of(&usd),
            usd_per_minute: usd.duration_ms,
            usd_per_thousand: UsdPerThousand {
                items: usd.items_in,
                searches: usd.searches,
                file_searches: usd.file_searches,
            },
            conditions: Some(listing.conditions.to_string()).filter(|conditions| !conditions.is_empty()),
            factor: (!listing.factor.is_one()).then(|| listing.factor.value()),
        }
    }
}

impl PriceList {
    pub(crate) fn of(table: &PriceTable) -> PriceList {
        let rows = [Source::Catalog, Source::File, Source::Builtin]
            .into_iter()
            .flat_map(|source| table.rows().iter().filter(move |row| row.source == source));
        let fallback = Listing {
            provider: None,
            model: "*".into(),
            aliases: Vec::new(),
            effective_from: None,
            conditions: Conditions::default(),
            rates: FALLBACK,
            factor: Factor::default(),
            note: None,
        };
        PriceList {
            prices: rows.map(|row| PriceBody::of(&row.listing, row.source)).collect(),
            fallback: PriceBody::of(&fallback, Source::Builtin),
        }
    }
}

impl UsdPerMillion {
    fn of(usd: &PerKind<Option<f64>>) -> UsdPerMillion {
        UsdPerMillion {
            text_in: usd.text_in,
            cached_text_in: usd.cached_text_in,
            cache_write_in: usd.cache_write_in,
            cache_write_long_in: usd.cache_write_long_in,
            text_out: usd.text_out,
            audio_in: usd.audio_in,
            cached_audio_in: usd.cached_audio_in,
            audio_out: usd.audio_out,
            image_in: usd.image_in,
            cached_image_in: usd.cached_image_in,
            image_out: usd.image_out,
            video_in: usd.video_in,
            video_out: usd.video_out,
            characters_in: usd.characters_in,
        }
    }
}

impl PriceTrial {
    /// `now` is in the month after the one that it was tried on.
    pub(crate) fn of(preview: &PricePreview, now: Timestamp) -> PriceTrial {
        let month = now.month_start().minus_ms(1).month_start();
        PriceTrial {
            month: month.to_string(),
            period_label: span::window_label(WindowKind::Monthly, month),
            cost_usd: preview.cost.usd(),
            cost_usd_with_it: preview.cost_with_it.usd(),
            models: preview
                .models
                .iter()
                .map(|tried| TriedModel {
                    provider: tried.provider.to_string(),
                    model: tried.model.to_string(),
                    cost_usd: tried.cost.usd(),
                    cost_usd_with_it: tried.cost_with_it.usd(),
                })
                .collect(),
        }
    }
}

const USD_MAX: NanoUsd = NanoUsd(1_000_000_000_000_000);
const MINUTE_USD_MAX: NanoUsd = NanoUsd(10_000_000_000_000);
const ALIASES_MAX: usize = 50;
