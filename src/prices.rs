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
        /// Only those of this provider, and those of any.
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
        /// As a `[[provider]]` or the list names it; without it each whose list has the model.
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
/// The list or the configuration cannot be read, or no provider has the name that is asked for.
pub(crate) fn run(
    what: Prices,
    now: Timestamp,
    load: impl Fn(super::File) -> anyhow::Result<Config>,
) -> anyhow::Result<String> {
    match what {
        Prices::List { provider, model, config } => {
            let config = load(config)?;
            let table = files::prices(&config)?;
            let known = Known::of(&config, &table);
            list(&table, known.named(provider.as_deref())?, model.as_deref().unwrap_or_default())
        }
        Prices::Check { file, config } => {
            let config = load(config)?;
            match file.or_else(|| config::file(&config.metering.prices_file)) {
                Some(file) => check(&file, &config),
                None => bail!("there is no list to check: name a FILE, or set metering.prices_file"),
            }
        }
        Prices::Explain { model, provider, at, input_tokens, terms, config } => {
            let config = load(config)?;
            let table = files::prices(&config)?;
            let known = Known::of(&config, &table);
            let question = Question {
                model: &model,
                provider: known.named(provider.as_deref())?,
                at: at.unwrap_or(now),
                terms: terms.0,
                usage: Usage { text_in: input_tokens.unwrap_or(0), ..Usage::default() },
            };
            Ok(question.explain(&table))
        }
    }
}

/// Every provider that has a name: those of the configuration, then those of the price list.
struct Known<'a>(Vec<&'a str>);

impl<'a> Known<'a> {
    fn of(config: &'a Config, table: &'a PriceTable) -> Known<'a> {
        let configured = config.provider.iter().map(|provider| &*provider.name);
        Known(each_once(configured.chain(listed(table))))
    }

    /// The provider that is asked for, if there is such a one.
    fn named<'b>(&self, provider: Option<&'b str>) -> anyhow::Result<Option<&'b str>> {
        match provider {
            Some(name) if !self.0.contains(&name) => bail!(
                "no provider is called {name:?}; the configuration and the price list have {}",
                self.0.join(", ")
            ),
            provider => Ok(provider),
        }
    }
}

/// Whom rows name, in their order.
fn listed(table: &PriceTable) -> impl Iterator<Item = &str> {
    table.rows().iter().filter_map(|row| row.listing.provider.as_deref())
}

fn each_once<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut once = Vec::new();
    names.for_each(|name| {
        if !once.contains(&name) {
            once.push(name);
        }
    });
    once
}

fn day(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse_date(text).ok_or_else(|| format!("`{text}` is not a day such as 2027-01-01"))
}

fn check(file: &Path, config: &Config) -> anyhow::Result<String> {
    let told = || format!("{}", file.display());
    let builtin = PriceTable::builtin();
    let known = Known::of(config, &builtin);
    let table =
        builtin.clone().with_rows(&std::fs::read_to_string(file).with_context(told)?).with_context(told)?;
    let of_file = || table.rows().iter().filter(|row| row.source == Source::File);
    let mut text = format!("{}: {} rows, all readable", file.display(), of_file().count());
    for Row { listing, .. } in table.idle() {
        write!(
            text,
            "\nwarning: the row of {} with `{}` changes nothing, for no row has that model without conditions",
            named(listing),
            listing.conditions
        )
        .ok();
    }
    let of_nobody = of_file().filter_map(|row| row.listing.provider.as_deref());
    for name in each_once(of_nobody.filter(|name| !known.0.contains(name))) {
        write!(
            text,
            "\nwarning: no provider is called {name:?}, here or in the built-in list: its rows hold where nobody else \
             lists the model; known are {}",
            known.0.join(", ")
        )
        .ok();
    }
    Ok(text)
}

fn list(table: &PriceTable, provider: Option<&str>, part: &str) -> anyhow::Result<String> {
    let is_asked_for = |row: &&Row| {
        let of = row.listing.provider.as_deref();
        let of_provider = provider.is_none() || of.is_none() || of == provider;
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
    if lines.is_empty() {
        let of = provider.map(|name| format!(" of {name}")).unwrap_or_default();
        bail!("no model{of} is listed with {part:?} in its name");
    }
    Ok(lines.join("\n"))
}

/// What a model costs: at a time, on terms.
struct Question<'a> {
    model: &'a str,
    /// `None`: all that list the model.
    provider: Option<&'a str>,
    at: Timestamp,
    terms: Terms<'static>,
    /// As far as it decides which rows hold.
    usage: Usage,
}

impl Question<'_> {
    fn explain(&self, table: &PriceTable) -> String {
        if self.provider.is_some() {
            return self.explain_of(self.provider, table);
        }
        let sellers = self.sellers(table);
        let of_any = table.row("", self.model, self.at).filter(|row| row.listing.provider.is_none());
        let of_others = (sellers.is_empty() || of_any.is_some()).then_some(None);
        let told = sellers.iter().copied().map(Some).chain(of_others);
        let told = told.map(|provider| self.explain_of(provider, table)).collect::<Vec<_>>().join("\n\n");
        if sellers.len() < 2 {
            return told;
        }
        let (model, sellers) = (self.model, sellers.join(", "));
        format!("{model} is listed by {sellers}; --provider NAME shows one of them alone.\n\n{told}")
    }

    /// All whose own row says what the model costs.
    fn sellers<'a>(&self, table: &'a PriceTable) -> Vec<&'a str> {
        let is_own = |provider: &&str| {
            let row = table.row(provider, self.model, self.at);
            row.is_some_and(|row| row.listing.provider.as_deref() == Some(provider))
        };
        each_once(listed(table)).into_iter().filter(is_own).collect()
    }

    /// Of one provider; of `None` what it costs at any that does not list it.
    fn explain_of(&self, provider: Option<&str>, table: &PriceTable) -> String {
        let Some(row) = table.row(provider.unwrap_or_default(), self.model, self.at) else {
            return format!(
                "No price is known for {}: it costs the fallback.\n{}",
                self.model,
                shown(&FALLBACK)
            );
        };
        let asked = provider.unwrap_or_default();
        let provider = provider.unwrap_or("any provider that does not list it");
        let price = table.price_on(asked, self.model, &self.terms, self.at);
        let mut text = format!("{} of {provider} at {}", self.model, self.at);
        if !self.terms.is_empty() {
            write!(text, ", {}", self.terms).ok();
        }
        write!(text, "\n\nIts row: {}, by {}; {}", named(&row.listing), row.fit(self.model), origin(row))
            .ok();
        if row.listing.provider.as_deref().is_some_and(|owner| owner != asked) {
            write!(text, "\n{provider} has no row of its own for it, so another provider's holds.").ok();
        }
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
        if let Some(next) = table.changes_after(asked, self.model, self.at) {
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

    fn explain_of(provider: Option<&str>, model: &str, rows: &str) -> String {
        let table = PriceTable::builtin().with_rows(rows).unwrap();
        Question { model, provider, at: NOW, terms: Terms::default(), usage: Usage::default() }
            .explain(&table)
    }

    #[test]
    fn each_provider_that_lists_a_model_is_told_with_its_own_price() {
        let rows = "provider,model,text_in\nb,house-1,1\na,house-1,2\na,free-1,4\n,free-1,3\n";
        let both = explain_of(None, "house-1", rows);
        assert!(both.starts_with("house-1 is listed by b, a; --provider NAME shows one"), "{both}");
        let (of_b, of_a) = (both.find("house-1 of b at").unwrap(), both.find("house-1 of a at").unwrap());
        assert!(both[of_b..of_a].contains("$1 a million") && both[of_a..].contains("$2 a million"), "{both}");
        let of_a = explain_of(Some("a"), "house-1", rows);
        assert!(of_a.starts_with("house-1 of a at") && !of_a.contains("$1 a million"), "{of_a}");
        let of_other = explain_of(Some("openai"), "house-1", rows);
        assert!(
            of_other.contains("openai has no row of its own for it, so another provider's"),
            "{of_other}"
        );
        let any = explain_of(None, "free-1", rows);
        assert!(any.contains("free-1 of a at") && any.contains("$4 a million"), "{any}");
        assert!(
            any.contains("free-1 of any provider that does not list it") && any.contains("$3 a"),
            "{any}"
        );
        let realtime = explain_of(None, "gpt-realtime-2.1", rows);
        for owner in ["openai", "azure"] {
            assert!(realtime.contains(&format!("gpt-realtime-2.1 of {owner} at")), "{realtime}");
        }
    }

    #[test]
    fn a_provider_that_has_no_such_name_is_refused_with_those_that_there_are() {
        let (config, table) = (Config::default(), PriceTable::builtin());
        let known = Known::of(&config, &table);
        assert_eq!(known.named(Some("xai")).unwrap(), Some("xai"));
        let wrong = known.named(Some("nope")).unwrap_err().to_string();
        assert!(
            wrong.starts_with(
                "no provider is called \"nope\"; the configuration and the price list have openai, "
            ) && wrong.contains(", azure"),
            "{wrong}"
        );
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
        let listed = list(&table, Some("xai"), "grok-voice-latest").unwrap();
        assert!(listed.starts_with("xai ") && listed.contains(" grok-voice-latest "), "{listed}");
        assert!(
            listed.contains("per_minute 0.08, per_1000_items 4") && listed.lines().count() == 1,
            "{listed}"
        );
        assert_eq!(list(&table, None, "").unwrap().lines().count(), table.rows().len());
        let wrong = list(&table, Some("xai"), "gpt-9").unwrap_err().to_string();
        assert_eq!(wrong, "no model of xai is listed with \"gpt-9\" in its name");
    }

    #[test]
    fn a_checked_list_is_counted_or_told_what_is_wrong_with_it() {
        let file = std::env::temp_dir().join(format!("tokenist-prices-{}.csv", std::process::id()));
        let checked = |text: &str| {
            std::fs::write(&file, text).unwrap();
            check(&file, &Config::default()).map_err(|error| format!("{error:#}"))
        };
        let right =
            checked("model,conditions,text_in,factor\nm,,1,\nm,speed=fast,,2\nn,speed=fast,1,\n").unwrap();
        assert!(
            right.contains("3 rows, all readable\nwarning: the row of n of any provider with `speed=fast`"),
            "{right}"
        );
        let misspelt = checked("provider,model,text_in\nopnai,m,1\nopnai,n,1\nopenai,m,1\n").unwrap();
        assert!(
            misspelt.matches("warning").count() == 1
                && misspelt.contains("warning: no provider is called \"opnai\""),
            "{misspelt}"
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
