//! What an operator had better know of a configuration that works.

use crate::config::{self, Config};
use std::fmt;
use tokenist_admin::OperatorToken;

/// A sentence that says what follows, and how it is mended.
#[derive(Debug, PartialEq)]
pub(crate) enum Advice {
    /// Somebody will be refused whom the configuration means to serve, or let in whom it does not.
    Warn(String),
    /// It may be meant so.
    Tell(String),
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Advice::Warn(text) | Advice::Tell(text)) = self;
        f.write_str(text)
    }
}

/// What is to be said of a configuration and of the environment in which it is in force.
pub(crate) fn of(config: &Config) -> Vec<Advice> {
    let of_keys = of_keys(config, |name| std::env::var(name).is_ok_and(|key| !key.is_empty()));
    of_token(&config.admin.token).into_iter().chain(of_keys).collect()
}

fn of_token(token: &str) -> Option<Advice> {
    let weakness = (!token.is_empty()).then(|| OperatorToken::weakness(token)).flatten()?;
    Some(Advice::Warn(format!(
        "admin.token {weakness}: whoever guesses it may do everything; set a random one, such as `openssl rand -hex 32` \
         prints"
    )))
}

/// That providers have no key of the operator's.
fn of_keys(config: &Config, is_set: impl Fn(&str) -> bool) -> Option<Advice> {
    let has_key = |provider: &&config::Provider| config::variables(&provider.api_key_env).any(&is_set);
    let without: Vec<_> = config.provider.iter().filter(|provider| !has_key(provider)).collect();
    if without.is_empty() {
        return None;
    }
    let named: Vec<_> = without
        .iter()
        .map(|provider| match provider.api_key_env.trim() {
            "" => format!("{}, whose api_key_env names no variable", provider.name),
            variables => format!("{} (environment variable {variables})", provider.name),
        })
        .collect();
    let named = named.join(" and for ");
    Some(match config.identity.passthrough {
        true => Advice::Tell(format!(
            "no key is set for {named}: who shows a provider's key of its own is served there, who shows a tokenist key is \
             refused; set one to serve both"
        )),
        false => Advice::Warn(format!(
            "no key is set for {named}: everything is refused there, because identity.passthrough = false lets nobody show \
             a provider's key of its own; set the key, or identity.passthrough = true"
        )),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_providers(passthrough: bool, variables: &[&str]) -> Option<Advice> {
        let mut config = Config::default();
        config.identity.passthrough = passthrough;
        config.provider = variables
            .iter()
            .enumerate()
            .map(|(index, name)| config::Provider {
                name: format!("p{index}"),
                api_key_env: (*name).to_owned(),
                ..config::Provider::default()
            })
            .collect();
        of_keys(&config, |name| name == "SET")
    }

    #[test]
    fn a_provider_without_a_key_is_told_once_with_what_follows() {
        for passthrough in [true, false] {
            assert_eq!(of_providers(passthrough, &["SET", "UNSET, SET"]), None);
        }
        let Some(Advice::Warn(told)) = of_providers(false, &["UNSET", "SET", ""]) else {
            panic!("no warning")
        };
        assert!(told.starts_with(
            "no key is set for p0 (environment variable UNSET) and for p2, whose api_key_env names no variable: \
             everything is refused there"
        ));
        let Some(Advice::Tell(told)) = of_providers(true, &["UNSET", "SET"]) else {
            panic!("it may be meant so")
        };
        assert!(told.contains("who shows a tokenist key is refused; set one"), "{told}");
    }
}
