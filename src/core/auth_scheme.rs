//! How a provider wants its credential.

use crate::http::write::{HeadWriter, HeaderName, HeaderValue};
use crate::key::ProviderKey;

/// Which header carries a key. Tokens of OAuth are bearer tokens everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthScheme {
    /// `Authorization: Bearer KEY`
    Bearer,
    /// `api-key: KEY`, as Azure has it.
    ApiKey,
    /// `x-goog-api-key: KEY`, and `Authorization: Token auth_tokens/…` for what was made for one session.
    Google,
    /// `Authorization: Basic KEY`, where the key is encoded already.
    Basic,
    /// `NAME: KEY`, of `header:NAME`.
    Header(&'static str),
    /// `Authorization: Token KEY`, as Deepgram has it.
    Token,
    /// `Authorization: KEY`, as AssemblyAI has it.
    Bare,
}

const AUTHORIZATION: HeaderName = HeaderName::literal("Authorization");
/// What a configuration writes before the name of a header.
const HEADER: &str = "header:";

impl AuthScheme {
    /// Those that have a name of their own.
    pub const ALL: [AuthScheme; 6] = [
        AuthScheme::Bearer,
        AuthScheme::ApiKey,
        AuthScheme::Google,
        AuthScheme::Basic,
        AuthScheme::Token,
        AuthScheme::Bare,
    ];

    /// As a configuration calls it.
    pub fn name(self) -> &'static str {
        match self {
            AuthScheme::Bearer => "bearer",
            AuthScheme::ApiKey => "api-key",
            AuthScheme::Google => "x-goog-api-key",
            AuthScheme::Basic => "basic",
            AuthScheme::Header(name) => name,
            AuthScheme::Token => "token",
            AuthScheme::Bare => "bare",
        }
    }

    /// The scheme that a configuration calls so; a header's name stays as long as the process lives.
    pub fn named(name: &str) -> Option<AuthScheme> {
        let known = AuthScheme::ALL.into_iter().find(|scheme| scheme.name() == name);
        known.or_else(|| {
            let header = name.strip_prefix(HEADER)?;
            let is_ours =
                ["host", "connection", "upgrade"].iter().any(|ours| header.eq_ignore_ascii_case(ours))
                    || header.to_ascii_lowercase().starts_with("sec-websocket-");
            HeaderName::parse(header).ok().filter(|_| !is_ours)?;
            Some(AuthScheme::Header(Box::leak(Box::from(name))))
        })
    }

    /// Writes the key as the head's only credential.
    pub fn write(self, key: &ProviderKey, wire: &mut HeadWriter) {
        let key = key.reveal();
        let is_oauth = ["ya29.", "eyJ"].iter().any(|start| key.starts_with(start));
        let (name, before) = match self {
            AuthScheme::ApiKey if !is_oauth => (HeaderName::literal("api-key"), ""),
            AuthScheme::Google if key.starts_with("auth_tokens/") => (AUTHORIZATION, "Token "),
            AuthScheme::Google if !is_oauth => (HeaderName::literal("x-goog-api-key"), ""),
            AuthScheme::Basic => (AUTHORIZATION, "Basic "),
            AuthScheme::Header(name) => {
                let name = HeaderName::parse(name.trim_start_matches(HEADER));
                (name.expect("it was read as a name"), "")
            }
            AuthScheme::Token if !is_oauth => (AUTHORIZATION, "Token "),
            AuthScheme::Bare => (AUTHORIZATION, ""),
            AuthScheme::Bearer | AuthScheme::ApiKey | AuthScheme::Google | AuthScheme::Token => {
                (AUTHORIZATION, "Bearer ")
            }
        };
        let value = HeaderValue::parse([before, key].concat()).expect("a provider's key is printable");
        wire.line(&name, &value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::write::Target;

    #[test]
    fn a_key_is_written_as_its_provider_wants_it() {
        for (scheme, key, line) in [
            (AuthScheme::Bearer, "sk-1", "Authorization: Bearer sk-1"),
            (AuthScheme::ApiKey, "0a1b", "api-key: 0a1b"),
            (AuthScheme::ApiKey, "eyJ0.e30.s", "Authorization: Bearer eyJ0.e30.s"),
            (AuthScheme::Google, "AIza1", "x-goog-api-key: AIza1"),
            (AuthScheme::Google, "ya29.1", "Authorization: Bearer ya29.1"),
            (AuthScheme::Google, "auth_tokens/1", "Authorization: Token auth_tokens/1"),
            (AuthScheme::Basic, "aWQ6c2Vj", "Authorization: Basic aWQ6c2Vj"),
            (AuthScheme::Header("header:xi-api-key"), "eyJ0.e30.s", "xi-api-key: eyJ0.e30.s"),
            (AuthScheme::Token, "0a1b", "Authorization: Token 0a1b"),
            (AuthScheme::Token, "eyJ0.e30.s", "Authorization: Bearer eyJ0.e30.s"),
            (AuthScheme::Bare, "0a1b", "Authorization: 0a1b"),
        ] {
            let mut wire = HeadWriter::get(&Target::parse("/").unwrap());
            scheme.write(&ProviderKey::parse(key).unwrap(), &mut wire);
            let text = String::from_utf8(wire.end()).unwrap();
            assert_eq!(text, format!("GET / HTTP/1.1\r\n{line}\r\n\r\n"), "{scheme:?}");
            assert_eq!(AuthScheme::named(scheme.name()), Some(scheme));
        }
        for wrong in ["beaer", "header:", "header:a b", "header:Host", "header:Sec-WebSocket-Key"] {
            assert_eq!(AuthScheme::named(wrong), None, "{wrong}");
        }
    }
}
