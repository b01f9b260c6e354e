//! What providers charge, and what a usage costs. Nothing else prices anything.
//!
//! Start at [`PriceTable::price`]. Invariant: no usage is free unless a row says 0. An unknown model costs the
//! [`FALLBACK`], and so does any part of a usage for which its row states no price.

mod list;

pub use list::{Listing, PriceError};

use crate::money::{NanoUsd, PricePerMillion};
use crate::time::Timestamp;
use crate::usage::Usage;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

/// A model's prices. What is `None` is not on its price list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    pub text: KindPrice,
    pub audio: KindPrice,
    /// No list prices image output apart; it costs what text output costs.
    pub image: KindPrice,
    pub per_minute: Option<NanoUsd>,
    /// The model was found in the table.
    #[serde(skip, default = "is_known")]
    pub known: bool,
}

/// Prices of one kind of token. Without a price for cached input, that costs as much as any input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindPrice {
    pub input: Option<PricePerMillion>,
    pub cached: Option<PricePerMillion>,
    pub output: Option<PricePerMillion>,
}

/// Rows of prices: the built-in list, and what the operator has in a file and in the catalog.
#[derive(Clone, Debug)]
pub struct PriceTable {
    rows: Vec<Row>,
    /// Which rows have a name, so that a session's model is found without looking at all of them.
    named: HashMap<Arc<str>, Vec<usize>>,
    /// What a pattern begins with, and which row has it.
    patterned: Vec<(Box<str>, usize)>,
    fallback: Arc<Price>,
}

/// No price at all.
pub const UNPRICED: Price =
    Price { text: NOTHING, audio: NOTHING, image: NOTHING, per_minute: None, known: true };
const NOTHING: KindPrice = KindPrice { input: None, cached: None, output: None };

/// A listing, and where it comes from.
#[derive(Clone, Debug)]
pub struct Row {
    pub listing: Listing,
    pub source: Source,
}

/// Where a row comes from; the greater wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    Builtin,
    File,
    /// Set while tokenist runs.
    Catalog,
}

/// What an unknown model costs: the dearest realtime prices that were ever on OpenAI's list (gpt-4o-realtime-preview),
/// its present image price, and the dearest minute of any provider. Rather too much than nothing.
pub const FALLBACK: Price = Price {
    text: KindPrice { input: Some(usd(5)), cached: None, output: Some(usd(20)) },
    audio: KindPrice { input: Some(usd(40)), cached: None, output: Some(usd(80)) },
    image: KindPrice { input: Some(usd(5)), cached: None, output: Some(usd(20)) },
    per_minute: Some(NanoUsd(80_000_000)),
    known: false,
};

impl PriceTable {
    /// The prices that tokenist was built with.
    pub fn builtin() -> PriceTable {
        static BUILTIN: LazyLock<PriceTable> = LazyLock::new(|| {
            let listings = list::read(include_str!("price/builtin.csv"))
                .expect("the built-in price list is readable, as a test has shown");
            let mut table = PriceTable {
                rows: Vec::new(),
                named: HashMap::new(),
                patterned: Vec::new(),
                fallback: Arc::new(FALLBACK),
            };
            table.extend(listings, Source::Builtin);
            table
        });
        BUILTIN.clone()
    }

    /// This table with the operator's rows before its own. They are written as the built-in list is: a header, then
    /// one row a model, without quotes; columns may come in any order, all but `model` may be missing.
    pub fn with_rows(mut self, csv: &str) -> Result<PriceTable, PriceError> {
        self.extend(list::read(csv)?, Source::File);
        Ok(self)
    }

    /// This table with what is set in the catalog before all else.
    pub fn with_listings(mut self, listings: impl IntoIterator<Item = Listing>) -> PriceTable {
        self.extend(listings, Source::Catalog);
        self
    }

    fn extend(&mut self, listings: impl IntoIterator<Item = Listing>, source: Source) {
        for listing in listings {
            let index = self.rows.len();
            for name in listing.names() {
                match name.split_once('*') {
                    Some((head, _)) => self.patterned.push((head.into(), index)),
                    None => self.named.entry(Arc::clone(name)).or_default().push(index),
                }
            }
            self.rows.push(Row { listing, source });
        }
    }

    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// What `model` of `provider` costs at a time; the [`FALLBACK`] if no row says.
    ///
    /// Rows of the provider itself come before those of any other (a deployment at another host has the same models),
    /// those of the catalog before the file's and these before the built-in ones, then a row's name before an alias, an
    /// alias before the name without its date, that before a pattern, a longer pattern before a shorter one, and of the
    /// same row's editions the latest that is in effect.
    pub fn price(&self, provider: &str, model: &str, at: Timestamp) -> &Arc<Price> {
        self.row(provider, model, at).map_or(&self.fallback, |row| &row.listing.price)
    }

    /// The row that says so, if one does.
    pub fn row(&self, provider: &str, model: &str, at: Timestamp) -> Option<&Row> {
        let undated = undated(model);
        let rank = |&index: &usize| {
            let Row { listing, source } = &self.rows[index];
            let from = listing.effective_from.unwrap_or_default();
            let fit = (from <= at).then(|| listing.fit(model, undated)).flatten()?;
            let own = listing.provider.is_none() || listing.provider.as_deref() == Some(provider);
            Some((own, *source, fit, from, Reverse(index)))
        };
        let best = self.candidates(model).filter_map(rank).max();
        best.map(|(.., Reverse(index))| &self.rows[index])
    }

    /// All rows that can fit, and few others: those that name the model, with its date or without, and those with a
    /// pattern that begins as it does.
    fn candidates(&self, model: &str) -> impl Iterator<Item = &usize> {
        let names = [Some(model), undated(model)].into_iter().flatten();
        let patterned = self.patterned.iter().filter(move |(head, _)| model.starts_with(&**head));
        let patterned = patterned.map(|(_, index)| index);
        names.filter_map(|name| self.named.get(name)).flatten().chain(patterned)
    }
}

impl Price {
    /// The cost of a usage, rounded up once. Reasoning is text output already and not charged again.
    ///
    /// Where a row prices only minutes and the usage has minutes, its tokens are paid for by them; likewise minutes
    /// where a row prices only tokens. Otherwise what the row does not price costs the fallback.
    pub fn cost(&self, usage: &Usage) -> NanoUsd {
        let usage = usage.clamped();
        let (tokens, minutes) = self.billed(&usage);
        let of = |price: fn(&Price) -> Option<PricePerMillion>| {
            price(self).or(price(&FALLBACK)).unwrap_or_default()
        };
        let input = |kind: fn(&Price) -> &KindPrice| {
            let fresh = kind(self).input.or(kind(&FALLBACK).input).unwrap_or_default();
            (fresh, kind(self).cached.unwrap_or(fresh))
        };
        let (text, cached_text) = input(|price| &price.text);
        let (audio, cached_audio) = input(|price| &price.audio);
        let (image, cached_image) = input(|price| &price.image);
        let counts = [
            (usage.text_in - usage.cached_text_in, text),
            (usage.cached_text_in, cached_text),
            (usage.audio_in - usage.cached_audio_in, audio),
            (usage.cached_audio_in, cached_audio),
            (usage.image_in - usage.cached_image_in, image),
            (usage.video_in, image),
            (usage.cached_image_in, cached_image),
            (usage.text_out, of(|price| price.text.output)),
            (usage.audio_out, of(|price| price.audio.output)),
            (usage.image_out, of(Price::image_output)),
            (usage.video_out, of(Price::image_output)),
        ];
        let durations = [(usage.duration_ms, self.per_minute.or(FALLBACK.per_minute).unwrap_or_default())];
        NanoUsd::of(if tokens { &counts } else { &[] }, if minutes { &durations } else { &[] })
    }

    /// [`Price::cost`] of output alone, for estimates: they ask at every event.
    pub fn output_cost(&self, text_out: u64, audio_out: u64) -> NanoUsd {
        let text = self.text.output.or(FALLBACK.text.output).unwrap_or_default();
        let audio = self.audio.output.or(FALLBACK.audio.output).unwrap_or_default();
        NanoUsd::of(&[(text_out, text), (audio_out, audio)], &[])
    }

    /// Whether [`Price::cost`] of this usage comes from the model's own price list alone.
    pub fn covers(&self, usage: &Usage) -> bool {
        let (tokens, minutes) = self.billed(usage);
        let counts = [
            (usage.text_in, self.text.input),
            (usage.audio_in, self.audio.input),
            (usage.image_in, self.image.input),
            (usage.video_in, self.image.input),
            (usage.text_out, self.text.output),
            (usage.audio_out, self.audio.output),
            (usage.image_out, self.image_output()),
            (usage.video_out, self.image_output()),
        ];
        let counted = !tokens || counts.iter().all(|&(count, price)| count == 0 || price.is_some());
        let timed = !minutes || usage.duration_ms == 0 || self.per_minute.is_some();
        self.known && counted && timed
    }

    /// Whether a usage's tokens, and whether its minutes, are on the bill.
    fn billed(&self, usage: &Usage) -> (bool, bool) {
        let prices_minutes = self.per_minute.is_some();
        let prices_tokens =
            [self.text, self.audio, self.image].iter().any(|kind| *kind != KindPrice::default());
        let has_minutes = usage.duration_ms > 0;
        let has_tokens = usage.total_tokens() > 0;
        (prices_tokens || !(prices_minutes && has_minutes), prices_minutes || !(prices_tokens && has_tokens))
    }

    fn image_output(&self) -> Option<PricePerMillion> {
        self.image.output.or(self.text.output)
    }
}

/// How well a row fits a model; the greater wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    /// With the number of bytes that are not `*`.
    Pattern(usize),
    Undated,
    Alias,
    Name,
}

impl Listing {
    fn fit(&self, model: &str, undated: Option<&str>) -> Option<Fit> {
        let is = |name: &str| {
            if *self.model == *name {
                return Some(Fit::Name);
            }
            self.aliases.iter().any(|alias| **alias == *name).then_some(Fit::Alias)
        };
        is(model).or_else(|| undated.and_then(is).map(|_| Fit::Undated)).or_else(|| {
            let fitting = self.names().filter(|pattern| matches(pattern, model));
            fitting.map(|pattern| pattern.replace('*', "").len()).max().map(Fit::Pattern)
        })
    }
}

/// `model` without the date of its edition (`-2026-05-01` or `-20260501`), if it has one.
fn undated(model: &str) -> Option<&str> {
    let is_date = |tail: &[u8], shape: &[u8]| {
        tail.len() == shape.len()
            && tail.iter().zip(shape).all(|(byte, wanted)| match wanted {
                b'0' => byte.is_ascii_digit(),
                _ => byte == wanted,
            })
    };
    [&b"-0000-00-00"[..], b"-00000000"].into_iter().find_map(|shape| {
        let (name, tail) = model.split_at_checked(model.len().checked_sub(shape.len())?)?;
        (!name.is_empty() && is_date(tail.as_bytes(), shape)).then_some(name)
    })
}

/// Whether `model` has the parts of `pattern` in their order, with anything where a `*` stands.
fn matches(pattern: &str, model: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else { return pattern == model };
    let Some(mut rest) = model.strip_prefix(head) else { return false };
    let mut parts = tail.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

fn is_known() -> bool {
    true
}

const fn usd(dollars: u64) -> PricePerMillion {
    PricePerMillion(dollars * 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const NOW: Timestamp = Timestamp(1_795_000_000_000); // 2026-11-18

    /// Text in, cached, out, then audio in, cached, out, image in, per minute, in millionths of a dollar per million
    /// tokens or of a dollar per minute.
    fn shown(price: &Price) -> String {
        let micro = |price: Option<PricePerMillion>| price.map_or("-".into(), |p| (p.0 / 1000).to_string());
        let kind = |kind: &KindPrice| [micro(kind.input), micro(kind.cached), micro(kind.output)].join(" ");
        let minute = price.per_minute.map_or("-".into(), |price| (price.0 / 1000).to_string());
        format!("{} / {} / {} / {minute}", kind(&price.text), kind(&price.audio), micro(price.image.input))
    }

    #[test]
    fn every_built_in_row_is_readable_and_found_by_all_its_names() {
        let table = PriceTable::builtin();
        assert_eq!(table.rows.len(), include_str!("price/builtin.csv").lines().count() - 1);
        for row in &table.rows {
            for name in row.listing.names() {
                let model = name.replace('*', "-x");
                let price = table.price(row.listing.provider.as_deref().unwrap(), &model, NOW);
                assert!(price.known, "{name}");
            }
        }
    }

    #[test]
    fn models_have_the_prices_of_their_lists() {
        let table = PriceTable::builtin();
        let realtime_2 = "4000000 400000 24000000 / 32000000 400000 64000000 / 5000000 / -";
        let realtime = "4000000 400000 16000000 / 32000000 400000 64000000 / 5000000 / -";
        let realtime_mini = "600000 60000 2400000 / 10000000 300000 20000000 / 800000 / -";
        let preview = "5000000 2500000 20000000 / 40000000 2500000 80000000 / - / -";
        let mini_preview = "600000 300000 2400000 / 10000000 300000 20000000 / - / -";
        for (provider, model, wanted) in [
            ("openai", "gpt-realtime-2.1", realtime_2),
            ("openai", "gpt-realtime-2.1-2026-05-01", realtime_2),
            ("openai", "gpt-realtime-2-20260501", realtime_2),
            ("openai", "gpt-realtime", realtime),
            ("openai", "gpt-realtime-1.5", realtime),
            ("openai", "gpt-realtime-2025-08-28", realtime),
            ("openai", "gpt-realtime-mini-2025-12-15", realtime_mini),
            ("openai", "gpt-realtime-2.1-mini", realtime_mini),
            ("openai", "gpt-4o-realtime-preview-2024-12-17", preview),
            ("openai", "gpt-4o-mini-realtime-preview-2024-12-17", mini_preview),
            ("azure", "gpt-realtime-2", realtime_2),
            ("a-gateway", "gpt-realtime", realtime),
            ("openai", "gpt-4o-transcribe-diarize", "2500000 - 10000000 / 6000000 - - / - / -"),
            ("openai", "gpt-4o-mini-transcribe-2025-12-15", "1250000 - 5000000 / 3000000 - - / - / -"),
            ("azure", "whisper-1", "- - - / - - - / - / 6000"),
            ("openai", "gpt-realtime-whisper", "- - - / - - - / - / 17000"),
            ("openai", "gpt-transcribe", "- - - / - - - / - / 4500"),
            ("xai", "grok-voice-latest", "- - - / - - - / - / 80000"),
            ("aws", "us.amazon.nova-2-sonic-v1:0", "330000 - 2750000 / 3000000 - 12000000 / - / -"),
        ] {
            let price = table.price(provider, model, NOW);
            assert_eq!((shown(price), price.known), (wanted.into(), true), "{provider} {model}");
        }
        for model in
            ["gpt-realtime-9", "gpt-realtim", "", "whisper-1-extra", "-2026-05-01", "gpt-realtime-2026-5-1"]
        {
            assert_eq!(**table.price("openai", model, NOW), FALLBACK, "{model}");
        }
    }

    #[test]
    fn every_row_that_fits_is_among_those_that_are_looked_at() {
        let table = PriceTable::builtin();
        let names: Vec<&Arc<str>> = table.rows.iter().flat_map(|row| row.listing.names()).collect();
        let models = names.iter().flat_map(|name| {
            ["", "-x", "-2026-05-01", "-20260501"].map(|end| format!("{}{end}", name.replace('*', "-a")))
        });
        for model in models.chain(names.iter().map(|name| name.to_string())) {
            let fits = |index: &usize| table.rows[*index].listing.fit(&model, undated(&model)).is_some();
            let fitting: BTreeSet<usize> = (0..table.rows.len()).filter(fits).collect();
            let found: BTreeSet<usize> = table.candidates(&model).copied().filter(fits).collect();
            assert_eq!(found, fitting, "{model}");
        }
    }

    #[test]
    fn a_price_holds_from_its_day() {
        let table = PriceTable::builtin();
        let change = Timestamp::parse_date("2027-01-01").unwrap();
        let text_in = |at| table.price("google", "gemini-3.8-flash", at).text.input;
        assert_eq!(text_in(change.minus_ms(1)), PricePerMillion::from_usd(0.75));
        assert_eq!(text_in(change), PricePerMillion::from_usd(1.5));
    }

    #[test]
    fn the_better_fit_wins() {
        let csv = "model,provider,aliases,text_in,effective_from\n\
                   a-model,x,,1,\n\
                   a-model,y,,2,\n\
                   b-*,x,,3,\n\
                   b-long*,x,,4,\n\
                   b-long-name,x,c|d,5,\n\
                   e,x,,6,2026-01-01\n\
                   e,x,,7,2030-01-01\n\
                   *mid*dle*,,,8,\n\
                   gpt-realtime,,,9,\n";
        let table = PriceTable::builtin().with_rows(csv).unwrap();
        for (provider, model, usd) in [
            ("x", "a-model", 1),
            ("y", "a-model", 2),
            ("z", "a-model", 1),
            ("x", "a-model-2026-05-01", 1),
            ("x", "b-short", 3),
            ("x", "b-long-", 4),
            ("x", "b-long-name", 5),
            ("x", "b-long-name-2026-05-01", 5),
            ("x", "d", 5),
            ("x", "e", 6),
            ("z", "a mid the dle z", 8),
            ("openai", "gpt-realtime", 9),
        ] {
            let price = table.price(provider, model, NOW);
            assert_eq!(price.text.input, Some(super::usd(usd)), "{provider} {model}");
        }
    }

    #[test]
    fn the_catalog_goes_before_the_file_and_the_file_before_what_is_built_in() {
        let table = PriceTable::builtin().with_rows("model,text_in\ngpt-realtime,1\nother,2").unwrap();
        let set = Listing {
            provider: Some("openai".into()),
            model: "gpt-realtime".into(),
            aliases: vec!["oth*".into()],
            effective_from: Some(NOW),
            price: Arc::new(Price {
                text: KindPrice { input: Some(usd(3)), ..KindPrice::default() },
                ..UNPRICED
            }),
        };
        let kept: Listing = serde_json::from_str(&serde_json::to_string(&set).unwrap()).unwrap();
        assert_eq!(kept, set);
        let table = table.with_listings([kept]);
        for (provider, model, at, source, dollars) in [
            ("openai", "gpt-realtime", NOW, Source::Catalog, 3),
            ("openai", "gpt-realtime", NOW.minus_ms(1), Source::File, 1),
            ("openai", "other", NOW, Source::Catalog, 3),
            ("azure", "other", NOW, Source::File, 2),
            ("openai", "gpt-realtime-2", NOW, Source::Builtin, 4),
        ] {
            let row = table.row(provider, model, at).unwrap();
            assert_eq!((row.source, row.listing.price.text.input), (source, Some(usd(dollars))), "{model}");
        }
        assert!(table.row("openai", "nobody's", NOW).is_none());
    }

    #[test]
    fn a_bad_list_is_refused_with_its_line() {
        for (csv, line, cause) in [
            ("model,txt_in\na,1", 1, "unknown column `txt_in`"),
            ("model,text_in\na,1\nb,1,2", 3, "3 values where the header has 2"),
            ("model,text_in\na,x", 2, "`x` in `text_in` is not a price"),
            ("model,text_in\na,-1", 2, "`-1` in `text_in` is not a price"),
            ("model,text_in\n,1", 2, "no model"),
            ("model,text_in\n\na,", 3, "no price at all"),
            ("model,text_in,effective_from\na,1,2026-02-30", 2, "`2026-02-30` is not a date"),
        ] {
            let error = PriceTable::builtin().with_rows(csv).unwrap_err();
            assert_eq!(error, PriceError { line, cause: cause.into() });
        }
    }

    #[test]
    fn a_cost_is_exact_to_the_nano_dollar() {
        let table = PriceTable::builtin();
        let usage = Usage {
            text_in: 5,
            audio_in: 15,
            cached_text_in: 1,
            cached_audio_in: 3,
            text_out: 2,
            audio_out: 8,
            ..Usage::default()
        };
        let minute = Usage { duration_ms: 1_700, ..Usage::default() };
        let image = Usage { image_in: 100, cached_image_in: 40, ..Usage::default() };
        let everything_cached = Usage { text_in: 10, cached_text_in: 99, ..Usage::default() };
        for (model, usage, nano, covered) in [
            // 4·4000 + 1·400 + 12·32000 + 3·400 + 2·16000 + 8·64000
            ("gpt-realtime", usage, 945_600, true),
            ("gpt-realtime", Usage { reasoning_out: 2, ..usage }, 945_600, true),
            ("gpt-realtime", image, 60 * 5_000 + 40 * 500, true),
            ("gpt-realtime", everything_cached, 4_000, true),
            // 4·5000 + 1·5000 + 12·40000 + 3·40000 + 2·20000 + 8·80000
            ("no-such-model", usage, 1_305_000, false),
            ("no-such-model", minute, 2_266_667, false),
            ("whisper-1", minute, 170_000, true),
            // A model by the minute that reports tokens, and the other way round.
            ("whisper-1", Usage { audio_in: 10, ..Usage::default() }, 400_000, false),
            ("whisper-1", Usage { audio_in: 10, ..minute }, 170_000, true),
            ("gpt-realtime", minute, 2_266_667, false),
            ("gpt-realtime", Usage { duration_ms: 1_700, ..usage }, 945_600, true),
            // A text model that reports audio.
            ("gpt-4.1", Usage { text_in: 10, audio_in: 10, ..Usage::default() }, 420_000, false),
            // No cached price: the full one.
            (
                "gpt-4o-transcribe",
                Usage { audio_in: 10, cached_audio_in: 10, ..Usage::default() },
                60_000,
                true,
            ),
            ("gpt-realtime", Usage { image_out: 10, ..Usage::default() }, 160_000, true),
            ("gpt-realtime", Usage::default(), 0, true),
        ] {
            let price = table.price("openai", model, NOW);
            let output = Usage { text_out: usage.text_out, audio_out: usage.audio_out, ..Usage::default() };
            assert_eq!(price.output_cost(usage.text_out, usage.audio_out), price.cost(&output), "{model}");
            assert_eq!(
                (price.cost(&usage), price.covers(&usage)),
                (NanoUsd(nano), covered),
                "{model} {usage:?}"
            );
        }
    }
}
