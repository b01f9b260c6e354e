//! On what terms something is billed, beside how much of it was used: a tier of service, a batch, a region.

use std::borrow::Cow;
use std::fmt;

/// Terms by name, such as `service_tier` and `priority`. Which of them change a price, the price list says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

/// What a term may be called; a list or a configuration that names another one is mistaken.
pub const TERMS: [&str; 10] = [
    // What a response was given, which may be another one than was asked for.
    "service_tier",
    // `batch`, where answers may take hours.
    "processing",
    "speed",
    // Where it was inferred, as usage states it.
    "inference_geo",
    // Which interface of a provider was asked, such as `decisions`.
    "endpoint",
    // Of Azure: `data_zone` or `regional`, and then which.
    "deployment",
    "region",
    // `http` where a socket costs something else.
    "transport",
    // `standby` while a session is paused.
    "state",
    "language",
];

impl<'a> Terms<'a> {
    /// These and one more, which holds over an earlier one of its name.
    pub fn with(mut self, name: &'static str, value: impl Into<Cow<'a, str>>) -> Terms<'a> {
        debug_assert!(TERMS.contains(&name), "{name}");
        self.0.push((name.into(), value.into()));
        self
    }

    /// These, and others over them.
    pub fn and(&self, others: &Terms<'_>) -> Terms<'static> {
        let owned = |text: &Cow<'_, str>| Cow::Owned(text.to_string());
        let all = self.0.iter().chain(&others.0);
        Terms(all.map(|(name, value)| (owned(name), owned(value))).collect())
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(found, _)| found == name).map(|(_, value)| &**value)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads `name=value` pairs, separated by commas.
    ///
    /// # Errors
    /// What of the text is no term.
    pub fn parse(text: &str) -> Result<Terms<'static>, String> {
        let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
        let term = |pair: &str| match pair.split_once('=').map(|(name, value)| (name.trim(), value.trim())) {
            Some((name, value)) if TERMS.contains(&name) && !value.is_empty() => {
                Ok((Cow::Owned(name.to_owned()), Cow::Owned(value.to_owned())))
            }
            _ => Err(format!("`{pair}` is not NAME=VALUE with one of these names: {}", TERMS.join(", "))),
        };
        pairs.map(term).collect::<Result<_, _>>().map(Terms)
    }
}

/// As [`Terms::parse`] reads it.
impl fmt::Display for Terms<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, value)) in self.0.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{name}={value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_of_two_terms_of_one_name_holds() {
        let standing = Terms::parse(" deployment=data_zone , region = x,").unwrap();
        assert_eq!(standing.to_string(), "deployment=data_zone, region=x");
        let both = standing.and(&Terms::default().with("region", "y"));
        assert_eq!(
            (both.get("deployment"), both.get("region"), both.get("speed")),
            (Some("data_zone"), Some("y"), None)
        );
    }

    #[test]
    fn what_is_no_term_is_named() {
        for (text, named) in [("tier=a", "`tier=a`"), ("speed", "`speed`"), ("speed=", "`speed=`")] {
            let error = Terms::parse(text).unwrap_err();
            assert!(error.contains(named) && error.contains("service_tier"), "{error}");
        }
    }
}
