//! One line of a price list: whose, which models, from when, on which terms and how much; and how a list is read.

use super::{Conditions, NOTHING, Rates};
use crate::catalog::Kept;
use crate::money::{Factor, PricePerMillion};
use crate::time::Timestamp;
use crate::usage::{KINDS, PerKind};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// What models cost from a time on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// `None` is any.
    pub provider: Option<Arc<str>>,
    pub model: Arc<str>,
    /// Other names of the model. One with a `*` is a pattern, as the model itself may be.
    pub aliases: Vec<Arc<str>>,
    /// `None`: it has always held.
    pub effective_from: Option<Timestamp>,
    /// With some it changes what the model's other listing says, where they hold; without, it is that listing.
    #[serde(default, skip_serializing_if = "Conditions::is_empty")]
    pub conditions: Conditions,
    #[serde(rename = "price", deserialize_with = "written_rates")]
    pub rates: Rates,
    /// What the whole is multiplied by.
    #[serde(default, skip_serializing_if = "Factor::is_one")]
    pub factor: Factor,
    /// Where the figures are from, and of when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<Arc<str>>,
}

/// A price list that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceError {
    /// Counted from 1, the header included.
    pub line: usize,
    /// Likewise, with its name; `None` where it is about the whole line.
    pub column: Option<(usize, Arc<str>)>,
    pub cause: String,
}

/// How a list states the price of a kind.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    pub name: &'static str,
    /// How many of the kind cost the figure; of time, how many minutes.
    pub count: u64,
}

/// The columns of the kinds that have a price, in the order of [`KINDS`].
pub fn columns() -> PerKind<Option<Column>> {
    let column = |kind| {
        let (name, count) = match kind {
            "reasoning_out" | "requests" => return None,
            "duration_ms" => ("per_minute", 1),
            "items_in" => ("per_1000_items", 1_000),
            "searches" => ("per_1000_searches", 1_000),
            "file_searches" => ("per_1000_file_searches", 1_000),
            tokens => (tokens, 1_000_000),
        };
        Some(Column { name, count })
    };
    PerKind::of(KINDS.map(column))
}

impl Column {
    /// Of a figure in dollars.
    pub fn rate(self, usd: f64) -> Option<PricePerMillion> {
        let PricePerMillion(nano) = PricePerMillion::from_usd(usd)?;
        nano.checked_mul(1_000_000 / self.count).map(PricePerMillion)
    }

    /// The figure in dollars.
    pub fn usd(self, rate: PricePerMillion) -> f64 {
        rate.usd() / (1_000_000 / self.count) as f64
    }
}

impl Listing {
    /// What tells it from all others: a listing of the same provider and model from the same time on the same terms takes
    /// its place.
    pub fn id(&self) -> String {
        let from = self.effective_from.map_or("always".to_owned(), |at| at.to_string());
        let on = if self.conditions.is_empty() { String::new() } else { format!(":{}", self.conditions) };
        format!("{}:{}:{from}{on}", self.provider.as_deref().unwrap_or("*"), self.model)
    }

    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.aliases.iter().chain([&self.model])
    }
}

impl Kept for Listing {
    const KIND: &'static str = "price";

    fn org<'a>(&'a self, _: &'a str) -> Option<&'a str> {
        None
    }
}

impl fmt::Display for PriceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "price list, line {}", self.line)?;
        if let Some((number, name)) = &self.column {
            write!(f, ", column {number} (`{name}`)")?;
        }
        write!(f, ": {}", self.cause)
    }
}

impl std::error::Error for PriceError {}

/// Reads a list: a header, then one listing a line, without quotes. A line that begins with `#` is a comment.
pub(super) fn read(csv: &str) -> Result<Vec<Listing>, PriceError> {
    let is_told = |(_, line): &(usize, &str)| !line.trim().is_empty() && !line.starts_with('#');
    let mut lines = csv.lines().enumerate().filter(is_told);
    let Some((index, header)) = lines.next() else { return Ok(Vec::new()) };
    let header = Header::read(index + 1, header)?;
    let mut seen = HashMap::new();
    let listing = |(index, text)| {
        let line = index + 1;
        let listing = header.listing(line, text)?;
        match seen.insert(listing.id(), line) {
            None => Ok(listing),
            Some(before) => {
                let cause = format!(
                    "it is about the same model, day and conditions as line {before}: remove one of them"
                );
                Err(PriceError { line, column: None, cause })
            }
        }
    };
    lines.map(listing).collect()
}

/// The names of the columns, in their order.
struct Header<'a>(Vec<&'a str>);

impl<'a> Header<'a> {
    fn read(line: usize, text: &'a str) -> Result<Header<'a>, PriceError> {
        let names: Vec<&str> = text.split(',').map(str::trim).collect();
        let known = |name: &&str| WORDS.contains(name) || priced().any(|column| column.name == *name);
        let fault = names.iter().enumerate().find_map(|(index, name)| {
            let cause = if !known(name) {
                format!("there is no such column; these are: {}", every_column())
            } else if names[..index].contains(name) {
                "the column is there twice".to_owned()
            } else {
                return None;
            };
            Some(PriceError { line, column: Some((index + 1, (*name).into())), cause })
        });
        fault.map_or(Ok(Header(names)), Err)
    }

    fn listing(&self, line: usize, text: &str) -> Result<Listing, PriceError> {
        let values: Vec<&str> = text.split(',').map(str::trim).collect();
        let whole = |cause: String| PriceError { line, column: None, cause };
        if values.len() != self.0.len() {
            let cause = format!("{} values where the header has {} columns", values.len(), self.0.len());
            return Err(whole(cause));
        }
        let row = Cells { line, header: self, values };
        let mut rates = NOTHING.counts();
        for (rate, column) in rates.iter_mut().zip(columns().counts()) {
            let Some(column) = column else { continue };
            *rate = row.read(column.name, |text| {
                let figure = text.parse().ok().and_then(|usd| column.rate(usd));
                figure.ok_or_else(|| format!("`{text}` is not a price in dollars"))
            })?;
        }
        let listing = Listing {
            provider: row.value("provider").filter(|provider| *provider != "*").map(Arc::from),
            model: row.value("model").ok_or_else(|| whole("no model".into()))?.into(),
            aliases: row.value("aliases").into_iter().flat_map(|all| all.split('|')).map(Arc::from).collect(),
            effective_from: row.read("effective_from", |date| {
                Timestamp::parse_date(date)
                    .ok_or_else(|| format!("`{date}` is not a date such as 2027-01-31"))
            })?,
            conditions: row.read("conditions", Conditions::parse)?.unwrap_or_default(),
            rates: Rates::of(rates),
            factor: row.read("factor", Factor::parse)?.unwrap_or_default(),
            note: row.note(),
        };
        match listing.fault() {
            Some(cause) => Err(whole(cause.to_owned())),
            None => Ok(listing),
        }
    }
}

impl Listing {
    /// What a listing must not lack or have.
    pub fn fault(&self) -> Option<&'static str> {
        if self.conditions.is_empty() {
            if !self.factor.is_one() {
                return Some(
                    "a `factor` needs `conditions`: without any, the prices themselves are to be stated",
                );
            }
            return (self.rates == NOTHING).then_some("no price at all");
        }
        if !self.aliases.is_empty() {
            return Some(
                "a row with `conditions` has no aliases of its own: it changes the row of its model",
            );
        }
        (self.rates == NOTHING && self.factor.is_one()).then_some("neither a price nor a factor")
    }
}

/// The values of one line.
struct Cells<'a> {
    line: usize,
    header: &'a Header<'a>,
    values: Vec<&'a str>,
}

impl<'a> Cells<'a> {
    fn value(&self, name: &str) -> Option<&'a str> {
        let index = self.header.0.iter().position(|column| *column == name)?;
        Some(self.values[index]).filter(|value| !value.is_empty())
    }

    fn note(&self) -> Option<Arc<str>> {
        match (self.value("source"), self.value("as_of")) {
            (Some(source), Some(as_of)) => Some(format!("{source}, of {as_of}").into()),
            (source, as_of) => source.or(as_of).map(Arc::from),
        }
    }

    fn read<T>(
        &self,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, PriceError> {
        let Some(value) = self.value(name) else { return Ok(None) };
        read(value).map(Some).map_err(|cause| {
            let index = self.header.0.iter().position(|column| *column == name).unwrap_or_default();
            PriceError { line: self.line, column: Some((index + 1, name.into())), cause }
        })
    }
}

fn priced() -> impl Iterator<Item = Column> {
    columns().counts().into_iter().flatten()
}

fn every_column() -> String {
    let all: Vec<&str> = WORDS.into_iter().chain(priced().map(|column| column.name)).collect();
    all.join(", ")
}

/// The columns that are no prices.
const WORDS: [&str; 8] =
    ["provider", "model", "aliases", "effective_from", "conditions", "factor", "source", "as_of"];

/// Rates as they are kept, also by versions that knew less kinds.
fn written_rates<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Rates, D::Error> {
    #[derive(Deserialize)]
    struct Written {
        #[serde(default)]
        text: Directions,
        #[serde(default)]
        audio: Directions,
        #[serde(default)]
        image: Directions,
        /// For one minute.
        per_minute: Option<PricePerMillion>,
        #[serde(flatten)]
        rates: Rates,
    }
    #[derive(Default, Deserialize)]
    struct Directions {
        input: Option<PricePerMillion>,
        cached: Option<PricePerMillion>,
        output: Option<PricePerMillion>,
    }
    let Written { text, audio, image, per_minute, rates } = Written::deserialize(deserializer)?;
    let earlier = Rates {
        text_in: text.input,
        cached_text_in: text.cached,
        text_out: text.output,
        audio_in: audio.input,
        cached_audio_in: audio.cached,
        audio_out: audio.output,
        image_in: image.input,
        cached_image_in: image.cached,
        image_out: image.output,
        duration_ms: per_minute
            .and_then(|PricePerMillion(nano)| nano.checked_mul(1_000_000))
            .map(PricePerMillion),
        ..NOTHING
    };
    Ok(earlier.under(rates))
}
