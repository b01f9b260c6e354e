//! One line of a price list: whose, which models, from when and how much; and how a list is read.

use super::{KindPrice, Price, UNPRICED};
use crate::catalog::Kept;
use crate::money::{NanoUsd, PricePerMillion};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
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
    pub price: Arc<Price>,
}

/// A price list that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceError {
    /// Counted from 1, the header included.
    pub line: usize,
    pub cause: String,
}

impl Listing {
    /// What tells it from all others: a listing of the same provider and model from the same time takes its place.
    pub fn id(&self) -> String {
        let from = self.effective_from.map_or("always".to_owned(), |at| at.to_string());
        format!("{}:{}:{from}", self.provider.as_deref().unwrap_or("*"), self.model)
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
        write!(f, "price list, line {}: {}", self.line, self.cause)
    }
}

impl std::error::Error for PriceError {}

/// Reads a list: a header, then one listing a line, without quotes.
pub(super) fn read(csv: &str) -> Result<Vec<Listing>, PriceError> {
    let mut lines = csv.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let Some((_, header)) = lines.next() else { return Ok(Vec::new()) };
    let columns: Vec<&str> = header.split(',').map(str::trim).collect();
    if let Some(unknown) = columns.iter().find(|name| !COLUMNS.contains(name)) {
        return Err(PriceError { line: 1, cause: format!("unknown column `{unknown}`") });
    }
    lines
        .map(|(index, line)| read_line(&columns, line).map_err(|cause| PriceError { line: index + 1, cause }))
        .collect()
}

fn read_line(columns: &[&str], line: &str) -> Result<Listing, String> {
    let values: Vec<&str> = line.split(',').map(str::trim).collect();
    if values.len() != columns.len() {
        return Err(format!("{} values where the header has {}", values.len(), columns.len()));
    }
    let value = |name: &str| {
        let index = columns.iter().position(|column| *column == name)?;
        Some(values[index]).filter(|value| !value.is_empty())
    };
    let price = |name: &str| match value(name) {
        None => Ok(None),
        Some(text) => text
            .parse()
            .ok()
            .and_then(PricePerMillion::from_usd)
            .map(Some)
            .ok_or_else(|| format!("`{text}` in `{name}` is not a price")),
    };
    let kind = |input: &str, cached: &str, output: Option<&str>| -> Result<KindPrice, String> {
        let output = output.map_or(Ok(None), price)?;
        Ok(KindPrice { input: price(input)?, cached: price(cached)?, output })
    };
    let price = Price {
        text: kind("text_in", "cached_text_in", Some("text_out"))?,
        audio: kind("audio_in", "cached_audio_in", Some("audio_out"))?,
        image: kind("image_in", "cached_image_in", None)?,
        per_minute: price("per_minute")?.and_then(|price| i64::try_from(price.0).ok()).map(NanoUsd),
        known: true,
    };
    if price == UNPRICED {
        return Err("no price at all".into());
    }
    Ok(Listing {
        provider: value("provider").filter(|provider| *provider != "*").map(Arc::from),
        model: value("model").ok_or("no model")?.into(),
        aliases: value("aliases").into_iter().flat_map(|aliases| aliases.split('|')).map(Arc::from).collect(),
        effective_from: match value("effective_from") {
            None => None,
            Some(date) => Some(Timestamp::parse_date(date).ok_or_else(|| format!("`{date}` is not a date"))?),
        },
        price: Arc::new(price),
    })
}

const COLUMNS: [&str; 15] = [
    "provider",
    "model",
    "aliases",
    "effective_from",
    "text_in",
    "cached_text_in",
    "text_out",
    "audio_in",
    "cached_audio_in",
    "audio_out",
    "image_in",
    "cached_image_in",
    "per_minute",
    "source",
    "as_of",
];
