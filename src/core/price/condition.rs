//! When a row of a price list holds: on which terms, and for how much usage.

use crate::terms::{TERMS, Terms};
use crate::usage::{KINDS, Usage};
use serde::{Deserialize, Serialize};
use std::fmt;

/// All of them have to hold. In a list `service_tier=priority;input_tokens>272000`; values that are alike are
/// separated by `|`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Conditions(Vec<Condition>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Condition {
    /// A term has one of these values.
    Is { term: String, values: Vec<String> },
    /// More than so much of a kind was used, or of tokens in or out.
    Exceeds { kind: String, count: u64 },
}

const INPUT_TOKENS: &str = "input_tokens";
const OUTPUT_TOKENS: &str = "output_tokens";

impl Conditions {
    /// Reads what a list states.
    ///
    /// # Errors
    /// What of it is no condition.
    pub fn parse(text: &str) -> Result<Conditions, String> {
        let parts = text.split(';').map(str::trim).filter(|part| !part.is_empty());
        let mut conditions = parts.map(Condition::parse).collect::<Result<Vec<_>, _>>()?;
        conditions.sort();
        Ok(Conditions(conditions))
    }

    /// It holds always.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many they are: what asks for more goes before what asks for less.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    pub fn hold(&self, terms: &Terms<'_>, usage: &Usage) -> bool {
        self.0.iter().all(|condition| match condition {
            Condition::Is { term, values } => {
                terms.get(term).is_some_and(|value| values.iter().any(|wanted| wanted == value))
            }
            Condition::Exceeds { kind, count } => count_of(kind, usage) > *count,
        })
    }
}

impl Condition {
    fn parse(text: &str) -> Result<Condition, String> {
        if let Some((term, values)) = text.split_once('=') {
            let (term, values) =
                (term.trim(), values.split('|').map(|value| value.trim().to_owned()).collect());
            return match TERMS.contains(&term) {
                true => Ok(Condition::Is { term: term.to_owned(), values }),
                false => Err(format!("`{term}` is no term; these are: {}", TERMS.join(", "))),
            };
        }
        let exceeds = text.split_once('>').and_then(|(kind, count)| {
            let kind = kind.trim();
            let is_kind = KINDS.contains(&kind) || [INPUT_TOKENS, OUTPUT_TOKENS].contains(&kind);
            Some(Condition::Exceeds {
                kind: kind.to_owned(),
                count: count.trim().parse().ok().filter(|_| is_kind)?,
            })
        });
        exceeds.ok_or_else(|| {
            format!("`{text}` is no condition; those are TERM=VALUE, {INPUT_TOKENS}>NUMBER and KIND>NUMBER")
        })
    }
}

fn count_of(kind: &str, usage: &Usage) -> u64 {
    match kind {
        INPUT_TOKENS => usage.input_tokens(),
        OUTPUT_TOKENS => usage.output_tokens(),
        kind => {
            KINDS.iter().zip(usage.counts()).find(|(name, _)| **name == kind).map_or(0, |(_, count)| count)
        }
    }
}

impl fmt::Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, condition) in self.0.iter().enumerate() {
            f.write_str(if index > 0 { ";" } else { "" })?;
            match condition {
                Condition::Is { term, values } => write!(f, "{term}={}", values.join("|"))?,
                Condition::Exceeds { kind, count } => write!(f, "{kind}>{count}")?,
            }
        }
        Ok(())
    }
}

impl TryFrom<String> for Conditions {
    type Error = String;
    fn try_from(text: String) -> Result<Conditions, String> {
        Conditions::parse(&text)
    }
}

impl From<Conditions> for String {
    fn from(conditions: Conditions) -> String {
        conditions.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_hold_only_together_and_read_back() {
        let conditions = Conditions::parse(" service_tier=flex|batch ; input_tokens>10").unwrap();
        assert_eq!(Conditions::parse(&conditions.to_string()), Ok(conditions.clone()));
        assert_eq!(Conditions::parse("input_tokens>10;service_tier=flex|batch"), Ok(conditions.clone()));
        let usage = |text_in, audio_in| Usage { text_in, audio_in, text_out: 99, ..Usage::default() };
        for (tier, text_in, audio_in, hold) in
            [("flex", 6, 5, true), ("batch", 11, 0, true), ("flex", 5, 5, false), ("priority", 6, 5, false)]
        {
            let terms = Terms::default().with("service_tier", tier);
            assert_eq!(
                conditions.hold(&terms, &usage(text_in, audio_in)),
                hold,
                "{tier} {text_in} {audio_in}"
            );
            assert!(
                !conditions.hold(&Terms::default(), &usage(text_in, audio_in)),
                "nothing is said of a tier"
            );
        }
        assert!(Conditions::default().hold(&Terms::default(), &Usage::default()));
        let said = Conditions::parse("audio_out>0").unwrap();
        assert!(said.hold(&Terms::default(), &Usage { audio_out: 1, ..Usage::default() }));
        assert!(!said.hold(&Terms::default(), &usage(1, 1)));
    }

    #[test]
    fn what_is_no_condition_is_named() {
        for (text, named) in [
            ("tier=flex", "`tier`"),
            ("speed", "`speed`"),
            ("words>3", "`words>3`"),
            ("audio_out>many", "`audio_out>many`"),
        ] {
            let error = Conditions::parse(text).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
    }
}
