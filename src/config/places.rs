//! Where each setting stands: in which line of the file, or in which variable of the environment.

use super::ConfigError;
use std::collections::HashMap;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A section, which of several it is, and a key of it; an empty key for the section itself.
type Setting = (String, usize, String);

pub(super) struct Places {
    /// What is told of what stands nowhere.
    file: String,
    of: HashMap<Setting, String>,
}

impl Places {
    /// Of a file that is TOML; of one that is none nothing is known.
    pub(super) fn of_file(file: &str, text: &str) -> Places {
        let mut places = Places { file: file.to_owned(), of: HashMap::new() };
        let document = DeTable::parse(text).map(Spanned::into_inner).unwrap_or_default();
        let line = |at: usize| text.get(..at).unwrap_or_default().matches('\n').count() + 1;
        let told = |at: usize| format!("{file}, line {}", line(at));
        for (section, value) in &document {
            let section = section.get_ref();
            let tables = match value.get_ref() {
                DeValue::Array(items) => items.iter().collect(),
                _ => vec![value],
            };
            for (index, table) in tables.into_iter().enumerate() {
                places.note(section, index, "", told(table.span().start));
                for key in table.get_ref().as_table().into_iter().flat_map(|table| table.keys()) {
                    places.note(section, index, key.get_ref(), told(key.span().start));
                }
            }
        }
        places
    }

    /// From here on a setting stands at another place.
    pub(super) fn note(&mut self, section: &str, index: usize, key: &str, place: String) {
        self.of.insert((section.to_owned(), index, key.to_owned()), place);
    }

    /// Where a key stands, or else its section, or else the file.
    pub(super) fn of(&self, section: &str, index: usize, key: &str) -> &str {
        let place = |key: &str| self.of.get(&(section.to_owned(), index, key.to_owned()));
        place(key).or_else(|| place("")).unwrap_or(&self.file)
    }

    /// An error of one of several sections, if it begins with a setting's name, is told where that stands.
    pub(super) fn locate(&self, error: ConfigError, index: usize) -> ConfigError {
        let name = error.what.split([' ', ':']).next().and_then(|name| name.split_once('.'));
        let Some((section, key)) = name else { return error };
        ConfigError { at: self.of(section, index, key).to_owned(), ..error }
    }
}
