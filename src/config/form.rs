//! Whether a value is of the form that its setting has, and how it is written if it is not.
//!
//! Start at [`Setting::check`]. The defaults are the schema here as well; which words a setting may be is asked of the type that reads
//! it.

use super::settings::Config;
use serde::Deserialize;
use serde::de::{self, value::MapDeserializer};
use std::fmt;
use toml::{Table, Value};

/// A setting of whose value something is to be said.
pub(super) struct Setting<'a> {
    pub(super) section: &'a str,
    pub(super) key: &'a str,
    pub(super) default: &'a Value,
    /// What it is set to may be told.
    pub(super) is_open: bool,
}

impl Setting<'_> {
    /// What is wrong with a value, beginning with the setting's name.
    pub(super) fn check(&self, value: &Value) -> Result<(), String> {
        let Setting { section, key, default, is_open } = self;
        let name = format!("{section}.{key}");
        match (default, value) {
            (Value::String(_), Value::String(text)) => match words(section, key) {
                Some(words) if !words.contains(&&**text) => {
                    let known: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
                    Err(format!("{name} = {text:?} is none of {}", known.join(", ")))
                }
                _ => Ok(()),
            },
            (Value::String(_), _) if !is_open => Err(format!("{name} must be a text, in quotes")),
            (Value::String(_), Value::Array(items)) => {
                let example = match items.iter().map(Value::as_str).collect::<Option<Vec<_>>>() {
                    Some(texts) => format!(", such as {key} = {:?}", texts.join(", ")),
                    None => String::new(),
                };
                Err(format!("{name} is a list; write one text, of several with commas between{example}"))
            }
            (Value::String(default), _) => {
                let example = if default.is_empty() { "text" } else { default };
                Err(format!("{name} = {value} is no text; write it in quotes, such as {key} = {example:?}"))
            }
            (Value::Integer(_), Value::Integer(number)) if *number < 0 => {
                Err(format!("{name} = {number} is less than 0, the least that there is"))
            }
            (Value::Integer(_), Value::Integer(number)) if !self.takes(value) => {
                Err(format!("{name} = {number} is more than {}, the most that there is", u32::MAX))
            }
            (Value::Float(_), Value::Integer(_)) => Ok(()),
            (default, value) if default.same_type(value) => Ok(()),
            (default, value) => Err(format!(
                "{name} = {value} is not {}; write it without quotes, such as {key} = {default}",
                form(default)
            )),
        }
    }

    /// Whether the type that reads it takes a value.
    fn takes(&self, value: &Value) -> bool {
        let section = Table::from_iter([(self.key.to_owned(), value.clone())]);
        let table = Table::from_iter([(self.section.to_owned(), Value::Table(section))]);
        table.try_into::<Config>().is_ok()
    }
}

fn form(default: &Value) -> &'static str {
    match default {
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::String(_) | Value::Datetime(_) | Value::Array(_) | Value::Table(_) => "of its form",
    }
}

/// The words that a setting may be; `None` where it is any text.
fn words(section: &str, key: &str) -> Option<&'static [&'static str]> {
    let of_section = MapDeserializer::new([(key, "")].into_iter());
    match Config::deserialize(MapDeserializer::<_, Words>::new([(section, of_section)].into_iter())) {
        Err(Words(words)) => words,
        Ok(_) => None,
    }
}

/// Keeps of an error which words there are.
#[derive(Debug)]
struct Words(Option<&'static [&'static str]>);

impl de::Error for Words {
    fn custom<T: fmt::Display>(_: T) -> Words {
        Words(None)
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Words {
        Words(Some(expected))
    }
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "one of {:?}", self.0)
    }
}

impl std::error::Error for Words {}
