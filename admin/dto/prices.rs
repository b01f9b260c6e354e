//! What models cost.

use super::span;
use crate::fields::{Fields, FromFields};
use serde::Serialize;
use std::sync::Arc;
use tokenist_control::prices::PricePreview;
use tokenist_core::id;
use tokenist_core::limit::WindowKind;
use tokenist_core::money::{NanoUsd, PricePerMillion};
use tokenist_core::price::{FALLBACK, KindPrice, Listing, Price, PriceTable, Source, UNPRICED};
use tokenist_core::time::Timestamp;
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
    /// For a minute of audio, where the model is billed so.
    #[schema(required)]
    usd_per_minute: Option<f64>,
}

/// Built in, in the operator's file (`metering.prices_file`), or set through this API.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum PriceSource {
    Builtin,
    File,
    Api,
}

/// Dollars for a million tokens. A kind without a price of its own, null, costs the fallback; cached input without one
/// costs as much as any input.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct UsdPerMillion {
    #[schema(required)]
    text_in: Option<f64>,
    #[schema(required)]
    cached_text_in: Option<f64>,
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
    Price(PriceBody),
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
    #[schema(nullable = false, minimum = 0, maximum = 1_000_000)]
    usd_per_minute: Option<f64>,
}

/// Dollars for a million tokens. A kind that is absent has no price.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
#[allow(dead_code, reason = "read by the description alone")]
struct UsdPerMillionFields {
    #[schema(nullable = false, minimum = 0, maximum = 1_000_000)]
    text_in: Option<f64>,
    #[schema(nullable = false, minimum = 0, maximum = 1_000_000)]
    cached_text_in: Option<f64>,
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
        let kinds = fields.within("usdPerMillion", read_kinds).unwrap_or(UNPRICED);
        let per_minute = bounded(fields, "usdPerMinute");
        let price = Price { per_minute, ..kinds };
        if price == UNPRICED {
            return fields.issue("usdPerMillion", "too_small", "At least one figure is needed");
        }
        Some(PriceRequest {
            listing: Listing { provider, model: model?, aliases, effective_from, price: Arc::new(price) },
        })
    }
}

fn name_of(bytes: &[u8]) -> Result<Arc<str>, id::IdError> {
    id::read(bytes).map(Arc::from)
}

fn read_kinds(fields: &mut Fields) -> Price {
    let mut price = |name| bounded(fields, name).map(|usd| PricePerMillion(usd.0.unsigned_abs()));
    Price {
        text: KindPrice { input: price("textIn"), cached: price("cachedTextIn"), output: price("textOut") },
        audio: KindPrice {
            input: price("audioIn"),
            cached: price("cachedAudioIn"),
            output: price("audioOut"),
        },
        image: KindPrice { input: price("imageIn"), cached: price("cachedImageIn"), output: None },
        ..UNPRICED
    }
}

/// Dearer figures are slips, and their sums might not fit.
fn bounded(fields: &mut Fields, name: &'static str) -> Option<NanoUsd> {
    match fields.dollars(name)? {
        usd if usd > USD_MAX => fields.issue(name, "too_big", "Number must be less than or equal to 1000000"),
        usd => Some(usd),
    }
}

impl PriceBody {
    /// One that was set here.
    pub(crate) fn set(listing: &Listing) -> PriceBody {
        PriceBody::of(listing, Source::Catalog)
    }

    fn of(listing: &Listing, source: Source) -> PriceBody {
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
            usd_per_million: (&*listing.price).into(),
            usd_per_minute: listing.price.per_minute.map(NanoUsd::usd),
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
            price: Arc::new(FALLBACK),
        };
        PriceList {
            prices: rows.map(|row| PriceBody::of(&row.listing, row.source)).collect(),
            fallback: PriceBody::of(&fallback, Source::Builtin),
        }
    }
}

impl From<&Price> for UsdPerMillion {
    fn from(price: &Price) -> UsdPerMillion {
        let usd = |price: Option<PricePerMillion>| price.map(PricePerMillion::usd);
        UsdPerMillion {
            text_in: usd(price.text.input),
            cached_text_in: usd(price.text.cached),
            text_out: usd(price.text.output),
            audio_in: usd(price.audio.input),
            cached_audio_in: usd(price.audio.cached),
            audio_out: usd(price.audio.output),
            image_in: usd(price.image.input),
            cached_image_in: usd(price.image.cached),
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
const ALIASES_MAX: usize = 50;
