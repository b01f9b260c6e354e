//! What a configuration may say of a work-alike, key by key.

use super::super::openai_realtime::{Kind, kind_of_name};
use super::super::{Dialect, Family};
use super::{OpenaiLike, Place};
use std::fmt;

/// The words of a configuration, by its keys; what is empty stays as the preset has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Words<'a> {
    /// How its path ends, such as `/v2/realtime`.
    pub path: &'a str,
    /// Where `response.done` holds its usage: places separated by commas, such as `response.usage, usage`.
    pub usage: &'a str,
    /// Its names of events: `theirs = OpenAI's`, separated by commas.
    pub events: &'a str,
    /// Where the application's first event names the model, such as `session.model`.
    pub model_in: &'a str,
    /// Its names of models, such as deployments: `theirs = the price list's`, separated by commas.
    pub deployments: &'a str,
}

/// Which key is wrong, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadWord {
    pub key: &'static str,
    pub what: String,
}

impl fmt::Display for BadWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.what)
    }
}

impl Words<'_> {
    /// The family with these words in it, which stays as long as the process lives: ask once a provider.
    pub fn applied(&self, family: &'static Family) -> Result<&'static Family, BadWord> {
        let Some(key) = self.key_in_use() else { return Ok(family) };
        let what = format!(
            "the dialect {} has words of its own; this is for work-alikes of OpenAI Realtime",
            family.name
        );
        let preset = family.like.ok_or(BadWord { key, what })?;
        let like: &'static OpenaiLike = Box::leak(Box::new(self.over(preset)?));
        let spoken =
            |dialect: &&'static dyn Dialect| if dialect.name() == preset.name { like } else { *dialect };
        let dialects = kept(family.dialects.iter().map(spoken).collect());
        Ok(Box::leak(Box::new(Family { like: Some(like), dialects, ..*family })))
    }

    fn key_in_use(&self) -> Option<&'static str> {
        let keys = [
            ("path", self.path),
            ("usage", self.usage),
            ("events", self.events),
            ("model_in", self.model_in),
            ("deployments", self.deployments),
        ];
        keys.into_iter().find(|(_, said)| !said.trim().is_empty()).map(|(key, _)| key)
    }

    fn over(&self, preset: &OpenaiLike) -> Result<OpenaiLike, BadWord> {
        let mut like = *preset;
        if !self.path.trim().is_empty() {
            like.paths = kept(vec![path(self.path)?]);
        }
        if let Some(usage) = each(self.usage, |word| place("usage", word))? {
            like.usage = usage;
        }
        if let Some(events) = each(self.events, event)? {
            like.events = events;
        }
        if let Some(models) = each(self.deployments, |word| pair("deployments", word))? {
            like.models = models;
        }
        if !self.model_in.trim().is_empty() {
            like.model_in = place("model_in", self.model_in.trim())?;
        }
        Ok(like)
    }
}

/// What each word of a list is; `None` if there is no word.
fn each<T>(words: &str, read: impl Fn(&str) -> Result<T, BadWord>) -> Result<Option<&'static [T]>, BadWord> {
    let words = words.split(',').map(str::trim).filter(|word| !word.is_empty());
    let all = words.map(read).collect::<Result<Vec<_>, _>>()?;
    Ok((!all.is_empty()).then(|| kept(all)))
}

fn path(word: &str) -> Result<&'static str, BadWord> {
    let word = word.trim().trim_end_matches('/');
    let is_fit = |byte: u8| byte.is_ascii_graphic() && !b"?#,".contains(&byte);
    match word.starts_with('/') && word.bytes().all(is_fit) {
        true => Ok(leak(word)),
        false => Err(BadWord { key: "path", what: format!("{word:?} is no path, such as \"/v1/realtime\"") }),
    }
}

fn place(key: &'static str, word: &str) -> Result<Place, BadWord> {
    let is_fit =
        |key: &&str| !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"');
    let keys: Vec<&str> = word.split('.').collect();
    if keys.iter().all(is_fit) {
        return Ok(kept(keys.into_iter().map(leak).collect()));
    }
    let what = format!(
        "{word:?} is no place in an event; write the keys that lead to it, such as \"response.usage\""
    );
    Err(BadWord { key, what })
}

fn pair(key: &'static str, word: &str) -> Result<(&'static str, &'static str), BadWord> {
    let halves = word.split_once('=').map(|(own, usual)| (own.trim(), usual.trim()));
    match halves.filter(|(own, usual)| !own.is_empty() && !usual.is_empty()) {
        Some((own, usual)) => Ok((leak(own), leak(usual))),
        None => {
            Err(BadWord { key, what: format!("{word:?} is no pair of names, such as \"theirs = ours\"") })
        }
    }
}

fn event(word: &str) -> Result<(&'static str, &'static str), BadWord> {
    let (own, usual) = pair("events", word)?;
    match kind_of_name(usual.as_bytes()) {
        Kind::Other => {
            let what = format!(
                "{usual:?} is no event of OpenAI Realtime that is metered, such as \"response.done\""
            );
            Err(BadWord { key: "events", what })
        }
        _ => Ok((own, usual)),
    }
}

fn leak(word: &str) -> &'static str {
    Box::leak(Box::from(word))
}

fn kept<T>(list: Vec<T>) -> &'static [T] {
    Box::leak(list.into_boxed_slice())
}
