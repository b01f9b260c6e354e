//! What providers charge, and what a usage costs. Nothing else prices anything.
//!
//! Start at [`PriceTable::price`]. Invariant: no usage is free unless a row says 0. An unknown model costs the
//! [`FALLBACK`], and so does any part of a usage for which its row states no price, nor one for what is most like it.

mod condition;
mod list;
mod name;
mod rates;

pub use condition::Conditions;
pub use list::{Column, Listing, PriceError, columns};
pub use rates::{FALLBACK, NOTHING, Rates};

use crate::money::{Factor, NanoUsd};
use crate::terms::Terms;
use crate::time::Timestamp;
use crate::usage::Usage;
use name::{deployed, matches, undated};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

/// What a model costs at a time, on whatever terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Price {
    /// The model was found in the table.
    pub known: bool,
    /// As the model's row has it.
    rates: Rates,
    /// What changes where conditions hold, that with the fewest first.
    changes: Vec<Change>,
    /// On which terms everything is billed.
    standing: Terms<'static>,
    /// What follows from these alone.
    plain: (Rates, Factor),
}

/// What a row with conditions says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Change {
    conditions: Conditions,
    rates: Rates,
    factor: Factor,
}

/// Rows of prices: the built-in list, and what the operator has in a file and in the catalog.
#[derive(Clone, Debug)]
pub struct PriceTable {
    /// No other table has it, but for copies.
    number: u64,
    rows: Vec<Row>,
    /// By the index of the row that names the model: what it costs from when on, in order.
    prices: Vec<Vec<(Timestamp, Arc<Price>)>>,
    /// Which rows have a name, so that a session's model is found without looking at all of them.
    named: HashMap<Arc<str>, Vec<usize>>,
    /// What a pattern begins with, and which row has it.
    patterned: Vec<(Box<str>, usize)>,
    /// When anything in the table changes, in order.
    days: Vec<Timestamp>,
    fallback: Arc<Price>,
    /// By the name of a provider under which no list has anything: whom it is like.
    likenesses: HashMap<Box<str>, Box<str>>,
}

/// A listing, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// The span in which what a table says stays as it is. By default that of no table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reign {
    table: u64,
    from: Timestamp,
    until: Timestamp,
}

impl Reign {
    /// Whether what was read in this span is what `table` says at a time.
    pub fn holds(&self, table: &PriceTable, at: Timestamp) -> bool {
        self.table == table.number && self.from <= at && at < self.until
    }
}

impl Default for PriceTable {
    /// Without a row: everything costs the fallback.
    fn default() -> PriceTable {
        PriceTable::of(Vec::new())
    }
}

impl PriceTable {
    /// The prices that tokenist was built with.
    pub fn builtin() -> PriceTable {
        static BUILTIN: LazyLock<PriceTable> = LazyLock::new(|| {
            let listings = list::read(include_str!("price/builtin.csv"))
                .expect("the built-in price list is readable, as a test has shown");
            PriceTable::of(rows_of(listings, Source::Builtin).collect())
        });
        BUILTIN.clone()
    }

    /// This table with the operator's rows before its own. They are written as the built-in list is: a header, then
    /// one row a model, without quotes; columns may come in any order, all but `model` may be missing.
    pub fn with_rows(self, csv: &str) -> Result<PriceTable, PriceError> {
        let listings = list::read(csv)?;
        Ok(self.with(listings, Source::File))
    }

    /// This table with what is set in the catalog before all else.
    pub fn with_listings(self, listings: impl IntoIterator<Item = Listing>) -> PriceTable {
        self.with(listings, Source::Catalog)
    }

    fn with(mut self, listings: impl IntoIterator<Item = Listing>, source: Source) -> PriceTable {
        self.rows.extend(rows_of(listings, source));
        PriceTable { likenesses: self.likenesses, ..PriceTable::of(self.rows) }
    }

    /// This table where each provider that is named first has the prices of the second, as far as rows of its own say nothing.
    pub fn with_likenesses<'a>(mut self, names: impl IntoIterator<Item = (&'a str, &'a str)>) -> PriceTable {
        self.likenesses.extend(names.into_iter().map(|(name, like)| (name.into(), like.into())));
        PriceTable { likenesses: self.likenesses, ..PriceTable::of(self.rows) }
    }

    fn of(rows: Vec<Row>) -> PriceTable {
        static TABLES: AtomicU64 = AtomicU64::new(1);
        let mut table = PriceTable {
            number: TABLES.fetch_add(1, Ordering::Relaxed),
            prices: Vec::new(),
            named: HashMap::new(),
            patterned: Vec::new(),
            days: rows.iter().filter_map(|row| row.listing.effective_from).collect(),
            fallback: Arc::new(Price { known: false, ..Price::of(FALLBACK, Vec::new()) }),
            likenesses: HashMap::new(),
            rows,
        };
        table.days.sort_unstable();
        table.days.dedup();
        table.prices = table.rows.iter().map(|row| table.prices_of(row)).collect();
        for (index, Row { listing, .. }) in table.rows.iter().enumerate() {
            if !listing.conditions.is_empty() {
                continue;
            }
            for name in listing.names() {
                match name.split_once('*') {
                    Some((head, _)) => table.patterned.push((head.into(), index)),
                    None => table.named.entry(Arc::clone(name)).or_default().push(index),
                }
            }
        }
        table
    }

    /// What a row that names a model makes of it, with what rows with conditions change, from when on.
    fn prices_of(&self, base: &Row) -> Vec<(Timestamp, Arc<Price>)> {
        if !base.listing.conditions.is_empty() {
            return Vec::new();
        }
        let changing: Vec<&Row> = self.rows.iter().filter(|row| row.changes(base)).collect();
        let mut days: Vec<Timestamp> = changing.iter().filter_map(|row| row.listing.effective_from).collect();
        days.push(Timestamp::default());
        days.sort_unstable();
        days.dedup();
        let price = |at| {
            let changes = changes_at(base, &changing, at).into_iter().map(|row| Change {
                conditions: row.listing.conditions.clone(),
                rates: row.listing.rates,
                factor: row.listing.factor,
            });
            (at, Arc::new(Price::of(base.listing.rates, changes.collect())))
        };
        days.into_iter().map(price).collect()
    }

    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// What `model` of `provider` costs at a time; the [`FALLBACK`] if no row says.
    ///
    /// Rows of the provider itself come before those of whom it is like, and these before those of any other (a deployment at
    /// another host has the same models), those of the catalog before the file's and these before the built-in ones, then a row's name before an alias, an
    /// alias before the name without its date, that before the name without its deployment, that before a pattern, a longer
    /// pattern before a shorter one, and of the same row's editions the latest that is in effect. Rows with conditions change
    /// what the row says that is found so: those of its provider and its model, unless an operator's row has replaced it.
    pub fn price(&self, provider: &str, model: &str, at: Timestamp) -> &Arc<Price> {
        let Some(index) = self.index(provider, model, at) else { return &self.fallback };
        let in_effect = self.prices[index].iter().rev().find(|(from, _)| *from <= at);
        in_effect.map_or(&self.fallback, |(_, price)| price)
    }

    /// [`PriceTable::price`] where terms hold for all that is billed, also those that the model's name tells.
    pub fn price_on(&self, provider: &str, model: &str, terms: &Terms<'static>, at: Timestamp) -> Arc<Price> {
        let price = self.price(provider, model, at);
        let deployed = deployed(model).map(|(_, terms)| terms).unwrap_or_default();
        let standing = terms.and(&deployed);
        if standing.is_empty() || price.changes.is_empty() {
            return Arc::clone(price);
        }
        Arc::new(Price { standing, ..Price::clone(price) }.settled())
    }

    /// From when until when everything that this table says at a time is the same.
    pub fn reign(&self, at: Timestamp) -> Reign {
        let next = self.days.partition_point(|day| *day <= at);
        let from = next.checked_sub(1).map_or(Timestamp::default(), |index| self.days[index]);
        let until = self.days.get(next).copied().unwrap_or(Timestamp::MAX);
        Reign { table: self.number, from, until }
    }

    /// The row that says so, if one does.
    pub fn row(&self, provider: &str, model: &str, at: Timestamp) -> Option<&Row> {
        self.index(provider, model, at).map(|index| &self.rows[index])
    }

    /// The rows with conditions that change what this one says at a time.
    pub fn changes(&self, base: &Row, at: Timestamp) -> Vec<&Row> {
        let changing: Vec<&Row> = self.rows.iter().filter(|row| row.changes(base)).collect();
        changes_at(base, &changing, at)
    }

    /// When a model's price is the next time another one, whatever the conditions.
    pub fn changes_after(&self, provider: &str, model: &str, at: Timestamp) -> Option<Timestamp> {
        let now = self.price(provider, model, at);
        let mut later = self.days.iter().copied().filter(|day| *day > at);
        later.find(|day| self.price(provider, model, *day) != now)
    }

    /// Rows with conditions that change nothing, because no row has such a model.
    pub fn idle(&self) -> impl Iterator<Item = &Row> {
        let conditional = self.rows.iter().filter(|row| !row.listing.conditions.is_empty());
        conditional.filter(|row| !self.rows.iter().any(|base| row.changes(base)))
    }

    fn index(&self, provider: &str, model: &str, at: Timestamp) -> Option<usize> {
        let names = Names::of(model);
        let like = self.likenesses.get(provider).map(|like| &**like);
        let rank = |&index: &usize| {
            let Row { listing, source } = &self.rows[index];
            let from = listing.effective_from.unwrap_or_default();
            let fit = (from <= at).then(|| listing.fit(&names)).flatten()?;
            let of = listing.provider.as_deref();
            let nearness = match of.is_none() || of == Some(provider) {
                true => 2,
                false => u8::from(of == like),
            };
            Some((nearness, *source, fit, from, Reverse(index)))
        };
        let best = self.candidates(&names).filter_map(rank).max();
        best.map(|(.., Reverse(index))| index)
    }

    /// All rows that can fit, and few others: those that name the model, and those with a pattern that begins as it does.
    fn candidates(&self, names: &Names<'_>) -> impl Iterator<Item = &usize> {
        let model = names.model;
        let patterned = self.patterned.iter().filter(move |(head, _)| model.starts_with(&**head));
        let patterned = patterned.map(|(_, index)| index);
        names.all().filter_map(|name| self.named.get(name)).flatten().chain(patterned)
    }
}

fn rows_of(listings: impl IntoIterator<Item = Listing>, source: Source) -> impl Iterator<Item = Row> {
    listings.into_iter().map(move |listing| Row { listing, source })
}

/// Of rows that change one, those in effect at a time: of each conditions the one that the operator would take to hold.
fn changes_at<'a>(base: &Row, changing: &[&'a Row], at: Timestamp) -> Vec<&'a Row> {
    let rank = |row: &Row| {
        let Listing { model, effective_from, .. } = &row.listing;
        (row.source, *model == base.listing.model, model.len(), *effective_from)
    };
    let mut best: Vec<&Row> = Vec::new();
    let in_effect = changing.iter().filter(|row| row.listing.effective_from.unwrap_or_default() <= at);
    for &row in in_effect {
        let same = best.iter_mut().find(|other| other.listing.conditions == row.listing.conditions);
        match same {
            Some(other) if rank(other) > rank(row) => {}
            Some(other) => *other = row,
            None => best.push(row),
        }
    }
    best
}

impl Row {
    /// By what of it this row was found for a model.
    pub fn fit(&self, model: &str) -> &'static str {
        match self.listing.fit(&Names::of(model)) {
            Some(Fit::Name) => "its name",
            Some(Fit::Alias) => "another name of it",
            Some(Fit::Undated) => "its name without its date",
            Some(Fit::Deployed) => "its name without its deployment",
            Some(Fit::Pattern(_)) | None => "a pattern",
        }
    }

    /// Whether this is a row with conditions that changes the other one. What an operator states of a model is the whole of
    /// its price.
    fn changes(&self, base: &Row) -> bool {
        let (own, of) = (&self.listing, &base.listing);
        let is_of_provider = own.provider.is_none() || own.provider == of.provider;
        let is_of_kind = !own.conditions.is_empty() && of.conditions.is_empty();
        is_of_kind
            && is_of_provider
            && self.source >= base.source
            && of.names().any(|name| matches(&own.model, name))
    }
}

impl Price {
    fn of(rates: Rates, mut changes: Vec<Change>) -> Price {
        changes.sort_by_key(|change| change.conditions.count());
        let plain = (rates, Factor::default());
        Price { known: true, rates, changes, standing: Terms::default(), plain }.settled()
    }

    fn settled(mut self) -> Price {
        self.plain = self.on(&Usage::default(), &self.standing);
        self
    }

    /// The cost of a usage that is billed on these terms, rounded up once. Reasoning is text output already and not charged
    /// again.
    ///
    /// Where a list prices only some of tokens, time and characters and the usage has some of these, they pay for the others.
    /// Otherwise what the list does not price costs what is most like it, or else the fallback.
    pub fn cost(&self, usage: &Usage, terms: &Terms<'_>) -> NanoUsd {
        let (rates, factor) = self.at(usage, terms);
        rates.cost(usage, factor)
    }

    /// [`Price::cost`], and whether all of it comes from the model's own price list.
    pub fn bill(&self, usage: &Usage, terms: &Terms<'_>) -> (NanoUsd, bool) {
        let (rates, factor) = self.at(usage, terms);
        (rates.cost(usage, factor), self.known && rates.cover(usage))
    }

    /// What a sum of many usages costs if none of them was billed on terms of its own.
    pub fn plain_cost(&self, sum: &Usage) -> NanoUsd {
        let (rates, factor) = self.plain;
        rates.cost(sum, factor)
    }

    /// [`Price::plain_cost`] of output alone, for estimates: they ask at every event.
    pub fn output_cost(&self, text_out: u64, audio_out: u64) -> NanoUsd {
        let (rates, factor) = &self.plain;
        let text = rates.text_out.or(FALLBACK.text_out).unwrap_or_default();
        let audio = rates.audio_out.or(FALLBACK.audio_out).unwrap_or_default();
        NanoUsd::of(&[(text_out, text), (audio_out, audio)], Default::default(), *factor)
    }

    /// The terms on which everything is billed.
    pub fn standing(&self) -> &Terms<'static> {
        &self.standing
    }

    /// Whether time is what the model costs.
    pub fn bills_time(&self) -> bool {
        self.rates.duration_ms.is_some()
    }

    /// Of the same by several measures that by which the model is billed: time, characters, or else tokens.
    pub fn measured(&self, usage: Usage) -> Usage {
        let by_time = self.bills_time() && usage.duration_ms > 0;
        let by_characters = !by_time && self.rates.characters_in.is_some() && usage.characters_in > 0;
        match (by_time, by_characters) {
            (true, _) => Usage { duration_ms: usage.duration_ms, requests: 1, ..Usage::default() },
            (_, true) => Usage { characters_in: usage.characters_in, requests: 1, ..Usage::default() },
            _ => Usage { duration_ms: 0, characters_in: 0, ..usage },
        }
    }

    /// What each kind costs, and what the whole is multiplied by.
    pub fn at(&self, usage: &Usage, terms: &Terms<'_>) -> (Rates, Factor) {
        if self.changes.is_empty() {
            return self.plain;
        }
        match self.standing.is_empty() {
            true => self.on(usage, terms),
            false => self.on(usage, &self.standing.and(terms)),
        }
    }

    /// Rows that ask for more go over rows that ask for less, the dearer of two that ask for as much, and factors multiply.
    fn on(&self, usage: &Usage, terms: &Terms<'_>) -> (Rates, Factor) {
        let (mut rates, mut factor) = (self.rates, Factor::default());
        for level in self.changes.chunk_by(|a, b| a.conditions.count() == b.conditions.count()) {
            let holding = level.iter().filter(|change| change.conditions.hold(terms, usage));
            let of_level = holding.fold(None, |level: Option<Rates>, change| {
                factor = factor.times(change.factor);
                Some(level.unwrap_or(NOTHING).zip(change.rates, std::cmp::max))
            });
            rates = of_level.map_or(rates, |of_level| rates.under(of_level));
        }
        (rates, factor)
    }
}

/// A model's name, and what it may be listed under.
struct Names<'a> {
    model: &'a str,
    undated: Option<&'a str>,
    deployed: Option<&'a str>,
    deployed_undated: Option<&'a str>,
}

impl<'a> Names<'a> {
    fn of(model: &'a str) -> Names<'a> {
        let deployed = deployed(model).map(|(name, _)| name);
        Names { model, undated: undated(model), deployed, deployed_undated: deployed.and_then(undated) }
    }

    fn all(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        [Some(self.model), self.undated, self.deployed, self.deployed_undated].into_iter().flatten()
    }
}

/// How well a row fits a model; the greater wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    /// With the number of bytes that are not `*`.
    Pattern(usize),
    Deployed,
    Undated,
    Alias,
    Name,
}

impl Listing {
    fn fit(&self, names: &Names<'_>) -> Option<Fit> {
        let is = |name: &str| {
            if *self.model == *name {
                return Some(Fit::Name);
            }
            self.aliases.iter().any(|alias| **alias == *name).then_some(Fit::Alias)
        };
        let fits = |name: Option<&str>, fit| name.and_then(is).map(|_| fit);
        is(names.model)
            .or_else(|| fits(names.undated, Fit::Undated))
            .or_else(|| fits(names.deployed, Fit::Deployed))
            .or_else(|| fits(names.deployed_undated, Fit::Deployed))
            .or_else(|| {
                let fitting = self.names().filter(|pattern| matches(pattern, names.model));
                fitting.map(|pattern| pattern.replace('*', "").len()).max().map(Fit::Pattern)
            })
    }
}

#[cfg(test)]
mod tests;
