//! `tokenist prices`: what models cost, whether a list of the operator's is right, and why a model costs what it does.

use crate::config::{self, Config};
use crate::files;
use anyhow::{Context, bail};
use clap::{Arg, ArgMatches, Command, FromArgMatches, Subcommand};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use tokenist_core::price::{FALLBACK, Listing, Price, PriceTable, Rates, Row, Source, columns};
use tokenist_core::terms::{TERMS, Terms};
use tokenist_core::time::Timestamp;
use tokenist_core::usage::{KINDS, Usage};

#[derive(Subcommand)]
pub(crate) enum Prices {
    /// List every price: the built-in ones and those of `metering.prices_file`.
    List {
        /// Only those of this provider.
        #[arg(long)]
        provider: Option<String>,
        /// Only models with this in their name.
        model: Option<String>,
        #[command(flatten)]
        config: super::File,
    },
    /// Check a list; without FILE that of `metering.prices_file`.
    Check {
        file: Option<PathBuf>,
        #[command(flatten)]
        config: super::File,
    },
    /// Say what a model costs, which rows say so, and why.
    Explain {
        model: String,
        /// As a `[[provider]]` is named; without it whose list has the model.
        #[arg(long)]
        provider: Option<String>,
        /// A day, such as 2027-01-01, from its beginning in UTC; now without it.
        #[arg(long, value_parser = day)]
        at: Option<Timestamp>,
        /// How many tokens a request reads.
        #[arg(long)]
        input_tokens: Option<u64>,
        #[command(flatten)]
        terms: TermFlags,
        #[command(flatten)]
        config: super::File,
    },
}

/// A flag for each term that a price list knows.
pub(crate) struct TermFlags(Terms<'static>);

impl clap::Args for TermFlags {
    fn augment_args(command: Command) -> Command {
        TERMS.iter().fold(command, |command, name| {
            // As long as the process: a command line is described once.
            let flag: &'static str = name.replace('_', "-").leak();
            command.arg(Arg::new(*name).long(flag).value_name("VALUE").help("It is billed on this term"))
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        TermFlags::augment_args(command)
    }
}

impl FromArgMatches for TermFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<TermFlags, clap::Error> {
        let given = TERMS.iter().filter_map(|name| Some((*name, matches.get_one::<String>(name)?.clone())));
        Ok(TermFlags(given.fold(Terms::default(), |terms, (name, value)| terms.with(name, value))))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = TermFlags::from_arg_matches(matches)?;
        Ok(())
    }
}

/// What is to be printed.
///
/// # Errors
/// The list or the configuration cannot be read.
pub(crate) fn run(
    what: Prices,
    now: Timestamp,
    load: impl Fn(super::File) -> anyhow::Result<Config>,
) -> anyhow::Result<String> {
    match what {
        Prices::List { provider, model, config } => {
            let table = files::prices(&load(config)?)?;
            Ok(list(&table, provider.as_deref(), model.as_deref().unwrap_or_default()))
        }
        Prices::Check { file: Some(file), .. } => check(&file),
        Prices::Check { file: None, config } => match config::file(&load(config)?.metering.prices_file) {
            Some(file) => check(&file),
            None => bail!("there is no list to check: name a FILE, or set metering.prices_file"),
        },
        Prices::Explain { model, provider, at, input_tokens, terms, config } => {
            let table = files::prices(&load(config)?)?;
            let question = Question {
                model: &model,
                provider: provider.as_deref(),
                at: at.unwrap_or(now),
                terms: terms.0,
                usage: Usage { text_in: input_tokens.unwrap_or(0), ..Usage::default() },
            };
            Ok(question.explain(&table))
        }
    }
}

fn day(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse_date(text).ok_or_else(|| format!("`{text}` is not a day such as 2027-01-01"))
}

fn check(file: &Path) -> anyhow::Result<String> {
    let told = || format!("{}", file.display());
    let table = PriceTable::builtin()
        .with_rows(&std::fs::read_to_string(file).with_context(told)?)
        .with_context(told)?;
    let count = table.rows().iter().filter(|row| row.source == Source::File).count();
    let mut text = format!("{}: {count} rows, all readable", file.display());
    for Row { listing, .. } in table.idle() {
        write!(
            text,
            "\nwarning: the row of {} with `{}` changes nothing, for no row has that model without conditions",
            named(listing),
            listing.conditions
        )
        .ok();
    }
    Ok(text)
}

fn list(table: &PriceTable, provider: Option<&str>, part: &str) -> String {
    let is_asked_for = |row: &&Row| {
        let of_provider = provider.is_none_or(|provider| row.listing.provider.as_deref() == Some(provider));
        of_provider && row.listing.names().any(|name| name.contains(part))
    };
    let line = |Row { listing, source }: &Row| {
        let provider = listing.provider.as_deref().unwrap_or("*");
        let from = listing.effective_from.map(|at| at.to_string()[..10].to_owned()).unwrap_or_default();
        let mut figures: Vec<String> =
            figures(&listing.rates).map(|(name, usd)| format!("{name} {usd}")).collect();
        if !listing.factor.is_one() {
            figures.push(format!("all × {}", listing.factor));
        }
        let on =
            if listing.conditions.is_empty() { String::new() } else { format!("  [{}]", listing.conditions) };
        let name = word(*source);
        format!("{provider:<12} {:<38} {from:<10} {name:<8} {}{on}", listing.model, figures.join(", "))
    };
    let lines: Vec<String> = table.rows().iter().filter(is_asked_for).map(line).collect();
    lines.join("\n")
}

/// What a model costs: at a time, on terms.
struct Question<'a> {
    model: &'a str,
    provider: Option<&'a str>,
    at: Timestamp,
    terms: Terms<'static>,
    /// As far as it decides which rows hold.
    usage: Usage,
}

impl Question<'_> {
    fn explain(&self, table: &PriceTable) -> String {
        let Some(row) = table.row(self.provider.unwrap_or_default(), self.model, self.at) else {
            return format!(
                "No price is known for {}: it costs the fallback.\n{}",
                self.model,
                shown(&FALLBACK)
            );
        };
        let provider = self.provider.or(row.listing.provider.as_deref()).unwrap_or("any provider");
        let price = table.price_on(provider, self.model, &self.terms, self.at);
        let mut text = format!("{} of {provider} at {}", self.model, self.at);
        if !self.terms.is_empty() {
            write!(text, ", {}", self.terms).ok();
        }
        write!(text, "\n\nIts row: {}, by {}; {}", named(&row.listing), row.fit(self.model), origin(row))
            .ok();
        for change in table.changes(row, self.at) {
            let holds = change.listing.conditions.hold(price.standing(), &self.usage);
            let verdict = if holds { "Holds, too:" } else { "Does not hold:" };
            let factor = if change.listing.factor.is_one() {
                String::new()
            } else {
                format!(", all × {}", change.listing.factor)
            };
            write!(text, "\n{verdict} {}{factor}; {}", change.listing.conditions, origin(change)).ok();
        }
        if let Some(next) = table.changes_after(self.provider.unwrap_or_default(), self.model, self.at) {
            write!(text, "\nIt changes on {}.", &next.to_string()[..10]).ok();
        }
        let (rates, factor) = price.at(&self.usage, &Terms::default());
        write!(text, "\n\n{}", shown(&rates)).ok();
        if !factor.is_one() {
            write!(text, "\nAll of it is multiplied by {factor}.").ok();
        }
        write!(text, "\n\n{}", self.example(&price, &rates)).ok();
        text
    }

    /// What a use of all that has a price costs.
    fn example(&self, price: &Price, rates: &Rates) -> String {
        let usual = Usage {
            text_in: self.usage.text_in.max(1_000),
            audio_in: 1_000,
            text_out: 500,
            audio_out: 500,
            duration_ms: 60_000,
            characters_in: 1_000,
            items_in: 1,
            searches: 1,
            ..Usage::default()
        };
        let usage = usual.zip(*rates, |count, rate| if rate.is_some() { count } else { 0 });
        let used: Vec<String> = KINDS
            .iter()
            .zip(usage.counts())
            .filter(|(_, count)| *count > 0)
            .map(|(kind, count)| format!("{kind} {count}"))
            .collect();
        format!("For example {}: {}", used.join(", "), price.cost(&usage, &Terms::default()).exact())
    }
}

/// The prices that are stated, in the list's own names, in dollars.
fn figures(rates: &Rates) -> impl Iterator<Item = (&'static str, f64)> {
    let stated = rates.zip(columns(), |rate, column| Some((column?.name, column?.usd(rate?))));
    stated.counts().into_iter().flatten()
}

fn shown(rates: &Rates) -> String {
    let unit = |name: &str| if name.starts_with("per_") { "" } else { " a million" };
    let lines: Vec<String> =
        figures(rates).map(|(name, usd)| format!("  {name:<24} ${usd}{}", unit(name))).collect();
    lines.join("\n")
}

fn named(listing: &Listing) -> String {
    match &listing.provider {
        Some(provider) => format!("{} of {provider}", listing.model),
        None => format!("{} of any provider", listing.model),
    }
}

fn word(source: Source) -> &'static str {
    match source {
        Source::Builtin => "built in",
        Source::File => "file",
        Source::Catalog => "set",
    }
}

fn origin(row: &Row) -> String {
    match &row.listing.note {
        Some(note) => format!("{}, {note}", word(row.source)),
        None => word(row.source).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_795_910_400_000); // 2026-11-29

    fn explain(model: &str, at: Timestamp, terms: &str, text_in: u64) -> String {
        let terms = Terms::parse(terms).unwrap();
        let usage = Usage { text_in, ..Usage::default() };
        Question { model, provider: None, at, terms, usage }.explain(&PriceTable::builtin())
    }

    #[test]
    fn what_a_model_costs_is_explained_by_the_rows_that_say_so() {
        let text = explain("gpt-6.1-sol", NOW, "service_tier=priority", 0);
        for part in [
            "gpt-6.1-sol of openai at 2026-11-29T00:00:00.000Z, service_tier=priority",
            "Its row: gpt-6.1-sol of openai, by its name; built in, genai-prices 0.2.3",
            "Holds, too: service_tier=priority; built in",
            "Does not hold: input_tokens>272000; built in",
            "text_in                  $4 a million",
            "per_1000_searches        $10",
            "For example text_in 1000, text_out 500, searches 1: $0.024",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        let long = explain("gpt-6.1-sol", NOW, "", 300_000);
        assert!(
            long.contains("Holds, too: input_tokens>272000") && long.contains("text_in 300000"),
            "{long}"
        );
    }

    #[test]
    fn a_date_a_deployment_and_a_model_that_is_unknown_are_told() {
        let argon = explain("gemini-4-argon", NOW, "", 0);
        assert!(
            argon.contains("It changes on 2026-12-01.") && argon.contains("text_in                  $2 "),
            "{argon}"
        );
        let later = explain("gemini-4-argon", Timestamp::parse_date("2026-12-01").unwrap(), "", 0);
        assert!(
            !later.contains("It changes on") && later.contains("text_in                  $4 "),
            "{later}"
        );
        let dated = explain("gpt-realtime-2026-08-28", NOW, "", 0);
        assert!(dated.contains("by its name without its date"), "{dated}");
        let unknown = explain("gpt-99", NOW, "", 0);
        assert!(
            unknown.starts_with("No price is known for gpt-99") && unknown.contains("audio_out"),
            "{unknown}"
        );
    }

    #[test]
    fn a_list_is_filtered_by_provider_and_name() {
        let table = PriceTable::builtin();
        let listed = list(&table, Some("xai"), "grok-voice-latest");
        assert!(listed.starts_with("xai ") && listed.contains(" grok-voice-latest "), "{listed}");
        assert!(
            listed.contains("per_minute 0.08, per_1000_items 4") && listed.lines().count() == 1,
            "{listed}"
        );
        assert_eq!(list(&table, None, "").lines().count(), table.rows().len());
    }

    #[test]
    fn a_checked_list_is_counted_or_told_what_is_wrong_with_it() {
        let file = std::env::temp_dir().join(format!("tokenist-prices-{}.csv", std::process::id()));
        let checked = |text: &str| {
            std::fs::write(&file, text).unwrap();
            check(&file).map_err(|error| format!("{error:#}"))
        };
        let right =
            checked("model,conditions,text_in,factor\nm,,1,\nm,speed=fast,,2\nn,speed=fast,1,\n").unwrap();
        assert!(
            right.contains("3 rows, all readable\nwarning: the row of n of any provider with `speed=fast`"),
            "{right}"
        );
        let wrong = checked("model,text_in\nm,free\n").unwrap_err();
        assert!(wrong.contains("line 2, column 2 (`text_in`): `free` is not a price"), "{wrong}");
        std::fs::remove_file(&file).unwrap();
    }

    #[test]
    fn every_term_is_a_flag() {
        let command = <TermFlags as clap::Args>::augment_args(Command::new("explain"));
        let flags =
            TERMS.iter().flat_map(|name| [format!("--{}", name.replace('_', "-")), format!("{name}'s")]);
        let matches = command.get_matches_from(["explain".to_owned()].into_iter().chain(flags));
        let TermFlags(terms) = TermFlags::from_arg_matches(&matches).unwrap();
        assert!(TERMS.iter().all(|name| terms.get(name) == Some(&format!("{name}'s"))), "{terms}");
    }
}
