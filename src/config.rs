//! The only reader of files and environment: one typed value out of `tokenist.toml` and `TOKENIST_<SECTION>_<KEY>`.
//!
//! Start at [`load`]. The defaults in [`settings`] are the schema: a key that they do not name is refused with the
//! nearest one that they do, and an environment variable is read as the type its default has.

mod calls;
mod check;
mod environment;
mod form;
mod places;
mod settings;
mod uri;

pub(crate) use calls::{Sideband, WebRtcMode};
pub(crate) use settings::{Config, Driver, Provider, Refuse, Store, StoreKind, Tiers, Unmetered};

use environment::override_by;
use form::Setting;
use places::Places;
use std::fmt;
use std::path::{Path, PathBuf};
use tokenist_core::dialect;
use toml::{Table, Value};

/// What is wrong, where, and how to mend it.
#[derive(Debug, PartialEq)]
pub(crate) struct ConfigError {
    /// A file, with the line if it is known, or an environment variable.
    at: String,
    what: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.what)
    }
}

impl std::error::Error for ConfigError {}

fn wrong(at: impl Into<String>, what: impl Into<String>) -> ConfigError {
    ConfigError { at: at.into(), what: what.into() }
}

/// Reads `file` if one is given, lets `environment` override it, and checks what can be checked without the network.
pub(crate) fn load(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
    let at = file.map_or("the defaults".into(), |path| path.display().to_string());
    let text = match file {
        Some(path) => std::fs::read_to_string(path).map_err(|error| wrong(&at, error.to_string()))?,
        None => String::new(),
    };
    parse(&at, &text, environment)
}

fn parse(
    at: &str,
    text: &str,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
    let mut table: Table = text.parse().map_err(|error| wrong(at, misread(text, &error)))?;
    let mut places = Places::of_file(at, text);
    let schema = schema();
    refuse_unknown(&places, &table, &schema)?;
    override_by(&mut table, environment, &schema, &mut places)?;
    refuse_misformed(&places, &table, &schema)?;
    fill_in_dialects(&mut table);
    let mut config: Config =
        Value::Table(table).try_into().map_err(|error: toml::de::Error| wrong(at, error.message()))?;
    if config.provider.is_empty() {
        config.provider.push(Provider::default());
    }
    check::check(at, &config).map_err(|(error, index)| places.locate(error, index))?;
    Ok(config)
}

/// Gives each provider that names its dialect what that implies: its name, its address and where its key is.
fn fill_in_dialects(table: &mut Table) {
    let providers = table.get_mut("provider").and_then(Value::as_array_mut).into_iter().flatten();
    for provider in providers.filter_map(Value::as_table_mut) {
        let family = provider.get("dialect").and_then(Value::as_str).and_then(dialect::family);
        let Some(family) = family else { continue };
        let defaults = Table::try_from(Provider::of(family)).expect("a provider is a table");
        for (key, value) in defaults {
            provider.entry(key).or_insert(value);
        }
    }
}

/// Where a file is no TOML, without the line itself: there may be a password in it.
fn misread(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|&char| char != '\n').count() + 1;
    format!("no TOML at line {line}, column {column}: {}", error.message())
}

/// Refuses a value that is not of its setting's form. Of what may be a secret nothing is repeated.
fn refuse_misformed(places: &Places, table: &Table, schema: &Table) -> Result<(), ConfigError> {
    for (section, value) in table {
        let known = tables(&schema[section]).next().expect("the schema has one of each");
        for (index, table) in tables(value).enumerate() {
            for (key, value) in table {
                let is_open = !SECRETS.contains(&(section, key));
                let setting = Setting { section, key, default: &known[key], is_open };
                setting.check(value).map_err(|what| wrong(places.of(section, index, key), what))?;
            }
        }
    }
    Ok(())
}

/// The tables of a section: one, or as many as there are of it.
fn tables(section: &Value) -> impl Iterator<Item = &Table> {
    let several = section.as_array().into_iter().flatten().filter_map(Value::as_table);
    section.as_table().into_iter().chain(several)
}

/// The keys whose values may hold a secret.
const SECRETS: [(&str, &str); 5] = [
    ("admin", "token"),
    ("store", "mongodb_uri"),
    ("store", "redis_uri"),
    ("provider", "base_url"),
    ("provider", "api_key_env"),
];

/// The defaults as a table, with one provider.
fn schema() -> Table {
    let defaults = Config { provider: vec![Provider::default()], ..Config::default() };
    Table::try_from(defaults).expect("the defaults are a table")
}

fn refuse_unknown(places: &Places, table: &Table, schema: &Table) -> Result<(), ConfigError> {
    for (section, value) in table {
        let at = places.of(section, 0, "");
        let Some(known) = schema.get(section) else {
            return Err(wrong(at, unknown("section", section, schema.keys())));
        };
        let is_whole = match (known, value) {
            (Value::Array(_), Value::Array(items)) => items.iter().all(Value::is_table),
            (known, value) => known.same_type(value),
        };
        if !is_whole {
            return Err(wrong(
                at,
                match known {
                    Value::Array(_) => format!("write `[[{section}]]`, in double brackets"),
                    _ => format!("write `[{section}]`, in single brackets"),
                },
            ));
        }
        let known = tables(known).next().expect("the schema has one of each");
        let found =
            tables(value).enumerate().flat_map(|(index, table)| table.keys().map(move |key| (index, key)));
        if let Some((index, key)) = found.into_iter().find(|(_, key)| !known.contains_key(*key)) {
            let names = keys_of(section, known);
            let what = unknown("key", &format!("{section}.{key}"), names.iter());
            return Err(wrong(places.of(section, index, key), what));
        }
    }
    Ok(())
}

fn keys_of(section: &str, table: &Table) -> Vec<String> {
    table.keys().map(|key| format!("{section}.{key}")).collect()
}

fn unknown<'a>(kind: &str, name: &str, known: impl Iterator<Item = &'a String>) -> String {
    let nearest =
        known.max_by(|a, b| strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name)));
    match nearest {
        Some(nearest) => format!("unknown {kind} `{name}`; did you mean `{nearest}`?"),
        None => format!("unknown {kind} `{name}`"),
    }
}

/// The environment variables that a setting names.
pub(crate) fn variables(names: &str) -> impl Iterator<Item = &str> {
    names.split(',').map(str::trim).filter(|name| !name.is_empty())
}

/// Where a provider is.
#[derive(Debug, PartialEq)]
pub(crate) struct Origin {
    pub(crate) tls: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Origin {
    pub(crate) fn parse(url: &str) -> Option<Origin> {
        let (scheme, rest) = url.split_once("://")?;
        let tls = match scheme {
            "https" | "wss" => true,
            "http" | "ws" => false,
            _ => return None,
        };
        let authority = rest.trim_end_matches('/');
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (authority, if tls { 443 } else { 80 }),
        };
        let well_formed = !host.is_empty()
            && host.bytes().all(|byte| byte.is_ascii_graphic())
            && !host.contains(['/', '\\', '@', '?', '#', '%']);
        well_formed.then(|| Origin { tls, host: host.to_owned(), port })
    }
}

/// What is in force, as TOML, with secrets left out.
pub(crate) fn effective(config: &Config) -> String {
    let mut shown = config.clone();
    if !shown.admin.token.is_empty() {
        shown.admin.token = "(set)".into();
    }
    shown.store.mongodb_uri = shown.store.mongodb_uri.shown();
    shown.store.redis_uri = shown.store.redis_uri.shown();
    toml::to_string(&shown).expect("a configuration is a table")
}

/// The same as section, key and value; of several providers each is a section of its own.
pub(crate) fn in_force(config: &Config) -> Vec<(String, String, serde_json::Value)> {
    let table: toml::Table = effective(config).parse().expect("it was just written");
    let json = |value: toml::Value| serde_json::to_value(value).expect("TOML of ours is JSON as well");
    let mut settings = Vec::new();
    for (section, value) in table {
        let tables = match value {
            toml::Value::Table(table) => vec![table],
            toml::Value::Array(values) => {
                values.into_iter().filter_map(|value| value.as_table().cloned()).collect()
            }
            other => vec![toml::Table::from_iter([(section.clone(), other)])],
        };
        for table in tables {
            settings.extend(table.into_iter().map(|(key, value)| (section.clone(), key, json(value))));
        }
    }
    settings
}

/// An empty string in a key that names a file means none.
pub(crate) fn file(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| text.into())
}

#[cfg(test)]
mod tests;
