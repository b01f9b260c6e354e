//! Addresses that may hold a password: what of them may be shown.
//!
//! Start at [`shown`]. An address that is wrong may have its secret anywhere, so only what is certainly none is kept.

use crate::http::query;
use std::borrow::Cow;

/// An address without what may be secret: what stands before an `@`, after a `?` or a `#`, and where a port should be.
pub fn shown(uri: &str) -> String {
    let (scheme, rest) = parts(uri);
    let (hidden, address) = match rest.rsplit_once('@') {
        Some((_, address)) => ("(set)@", address),
        None => ("", rest),
    };
    let address = address.split(['?', '#']).next().unwrap_or_default();
    let is_plain =
        address.split('/').next().unwrap_or_default().split(',').all(|host| port(host).is_none_or(is_number));
    let scheme = scheme.map_or(String::new(), |scheme| format!("{scheme}://"));
    format!("{scheme}{hidden}{}", if is_plain { address } else { "(set)" })
}

/// A text of somebody else's about this address, without what is secret in it.
pub fn without_secrets<'a>(uri: &str, text: &'a str) -> Cow<'a, str> {
    let mut secrets = secrets(uri);
    // What is longer goes first, so that no part of it stays.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets.iter().fold(text.into(), |text, secret| match text.contains(&**secret) {
        true => Cow::Owned(text.replace(&**secret, "…")),
        false => text,
    })
}

/// All that may be a password in it, as it stands there and decoded.
fn secrets(uri: &str) -> Vec<String> {
    let (_, rest) = parts(uri);
    let (before, address) = rest.rsplit_once('@').unwrap_or(("", rest));
    let passwords = before
        .split('@')
        .filter_map(|part| part.rsplit_once("://").map_or(part, |(_, part)| part).split_once(':'));
    let passwords = passwords.map(|(_, password)| password);
    let query = address.split_once('?').map_or("", |(_, query)| query);
    let values = query.split('&').filter_map(|pair| pair.split_once('=')).filter(|(name, _)| is_secret(name));
    let hosts = address.split(['/', '?', '#']).next().unwrap_or_default().split(',');
    let ports = hosts.filter_map(port).filter(|port| !is_number(port));
    let found = [before].into_iter().chain(passwords).chain(values.map(|(_, value)| value)).chain(ports);
    let both = found.flat_map(|secret| [Some(secret.to_owned()), query::decode(secret).map(Cow::into_owned)]);
    both.flatten().filter(|secret| !secret.is_empty()).collect()
}

/// The scheme, if there is one, and what is behind it.
fn parts(uri: &str) -> (Option<&str>, &str) {
    let is_scheme = |scheme: &str| {
        !scheme.is_empty()
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+.-".contains(&byte))
    };
    match uri.split_once("://") {
        Some((scheme, rest)) if is_scheme(scheme) => (Some(scheme), rest),
        Some(_) | None => (None, uri),
    }
}

/// What stands behind a host's colon. The colons of an address of IPv6 stand in brackets.
fn port(host: &str) -> Option<&str> {
    host.rsplit(']').next()?.split_once(':').map(|(_, port)| port)
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a parameter of such a name may hold a secret.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["pass", "secret", "token", "key", "properties"].iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_part_that_may_be_secret_is_shown() {
        for (uri, expected) in [
            ("", ""),
            ("https://api.openai.com", "https://api.openai.com"),
            ("redis://127.0.0.1:6379/1", "redis://127.0.0.1:6379/1"),
            ("redis://[::1]:6379/1", "redis://[::1]:6379/1"),
            ("mongodb://a:1,b:2/db", "mongodb://a:1,b:2/db"),
            ("mongodb+srv://me:geheim@h/", "mongodb+srv://(set)@h/"),
            ("redis://:ge,heim@h:1", "redis://(set)@h:1"),
            ("redis://u:geheim@a:1,redis://u:geheim@b:1", "redis://(set)@b:1"),
            ("redis://u:ge?heim@h:1", "redis://(set)@h:1"),
            ("redis://u:ge#heim@h:1", "redis://(set)@h:1"),
            ("redis://u:ge/heim@h:1", "redis://(set)@h:1"),
            ("redis://h:1?password=geheim", "redis://h:1"),
            ("https://h/v1#geheim", "https://h/v1"),
            ("https://me:geheim", "https://(set)"),
            ("geheim@h", "(set)@h"),
            ("u:geheim", "(set)"),
        ] {
            assert_eq!(shown(uri), expected, "{uri}");
        }
    }

    #[test]
    fn what_others_say_of_an_address_is_told_without_its_secrets() {
        for (uri, said, told) in [
            ("mongodb://me:geheim@host/", "cannot log in with geheim", "cannot log in with …"),
            ("mongodb://me:geheim@host/", "bad user me:geheim", "bad user …"),
            ("mongodb://me:ge%40heim@host/", "ge@heim is wrong, ge%40heim", "… is wrong, …"),
            ("mongodb://me:geheim", "invalid port \"geheim\"", "invalid port \"…\""),
            ("mongodb://h/?tlsCertificateKeyFilePassword=geheim", "what is geheim?", "what is …?"),
            ("redis://u:geheim@a:1,redis://v:auch@b:1", "geheim, auch", "…, …"),
            ("mongodb://me:@host/", "host is away", "host is away"),
            ("mongodb://host/", "host is away", "host is away"),
        ] {
            assert_eq!(without_secrets(uri, said), told, "{uri}");
        }
    }
}
