//! Which headers pass through: of a client's those alone that a provider is known to want, of a provider's all but those
//! that would lead the client past us.

use super::query::decode;
use super::write::HeaderName;
use crate::key::OWN_PREFIXES;

/// Headers, lower-case, that carry a caller's credential. They are read and never passed: what goes up is written anew.
pub const CREDENTIALS: [&str; 6] =
    ["authorization", "x-api-key", "api-key", "x-goog-api-key", "xi-api-key", "proxy-authorization"];

/// Whether a word announces a key: in `Authorization`, and among the subprotocols of a browser, which can send no headers.
pub fn is_key_scheme(word: &str) -> bool {
    ["bearer", "token"].iter().any(|scheme| word.eq_ignore_ascii_case(scheme))
}

/// Headers that say who the user is. They are for tokenist alone.
pub const IDENTITY: [&str; 6] =
    ["x-user-id", "x-org-id", "x-feature", "x-conversation-id", "x-user-email", "x-user-name"];

/// Headers that concern one connection only, or that tokenist writes itself. Extensions are never negotiated: base64
/// audio compresses poorly, and a compressed event could not be read in passing.
const HOP: [&str; 14] = [
    "connection",
    "upgrade",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "content-length",
    "host",
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-extensions",
    "sec-websocket-protocol",
    "sec-websocket-accept",
];

/// A browser's cookies belong to the application's own domain.
const PRIVATE: [&str; 2] = ["cookie", "cookie2"];

/// What SDKs say to providers. A last `*` stands for any end.
const STANDARD: [&str; 14] = [
    "user-agent",
    "accept",
    "accept-*",
    "content-*",
    "openai-*",
    "x-openai-*",
    "x-stainless-*",
    "x-client-request-id",
    "anthropic-*",
    "x-goog-*",
    "x-dashscope-*",
    "cartesia-version",
    "api-revision",
    "idempotency-key",
];

/// In a name that only a pattern covers these tell of a credential.
const SECRET_WORDS: [&str; 8] =
    ["key", "token", "secret", "auth", "credential", "password", "signature", "cookie"];

/// What a provider says that would have a client speak to it directly, or keep something of it for our address.
const BINDING: [&str; 9] = [
    "location",
    "content-location",
    "refresh",
    "link",
    "alt-svc",
    "set-cookie",
    "set-cookie2",
    "clear-site-data",
    "strict-transport-security",
];

/// The headers that go upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassList(Vec<Pattern>);

/// In lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Name(String),
    Prefix(String),
}

impl PassList {
    /// What SDKs say to providers, and `more`: names separated by commas, a last `*` for any end. `Err` says what is
    /// wrong with them.
    pub fn with(more: &str) -> Result<PassList, String> {
        let more = more.split(',').map(str::trim).filter(|word| !word.is_empty());
        STANDARD.into_iter().chain(more).map(Pattern::parse).collect::<Result<_, _>>().map(PassList)
    }

    /// Whether a client's header goes upstream. A credential never does by a pattern.
    pub fn passes(&self, name: &HeaderName) -> bool {
        let name = name.as_str();
        !is_ours(name) && self.0.iter().any(|pattern| pattern.covers(name))
    }
}

impl Pattern {
    fn parse(word: &str) -> Result<Pattern, String> {
        let name = word.to_ascii_lowercase();
        let (name, is_prefix) = match name.strip_suffix('*') {
            Some(prefix) => (prefix.to_owned(), true),
            None => (name, false),
        };
        if name.contains('*') || HeaderName::parse(&name).is_err() {
            return Err(format!(
                "{word:?} is no header's name, and no beginning of one with a `*` behind it"
            ));
        }
        match is_prefix {
            true => Ok(Pattern::Prefix(name)),
            false if is_ours(&name) => {
                Err(format!("{word:?} is read or written by tokenist itself and never passes"))
            }
            false => Ok(Pattern::Name(name)),
        }
    }

    fn covers(&self, name: &str) -> bool {
        match self {
            Pattern::Name(whole) => name.eq_ignore_ascii_case(whole),
            Pattern::Prefix(prefix) => begins_with(name, prefix) && !tells_of_a_secret(name),
        }
    }
}

fn begins_with(name: &str, prefix: &str) -> bool {
    name.get(..prefix.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(prefix))
}

fn tells_of_a_secret(name: &str) -> bool {
    let holds = |word: &str| {
        name.as_bytes().windows(word.len()).any(|part| part.eq_ignore_ascii_case(word.as_bytes()))
    };
    SECRET_WORDS.iter().any(|word| holds(word))
}

fn is_ours(name: &str) -> bool {
    let mut ours = [&HOP[..], &CREDENTIALS, &IDENTITY, &PRIVATE].into_iter().flatten();
    ours.any(|our| our.eq_ignore_ascii_case(name))
}

/// Whether this names or is a credential that is not for a provider: a tokenist key or an ephemeral token, as a word of
/// its own, also where it is written with percent signs.
pub fn holds_own_key(text: &str) -> bool {
    // Each prefix has one, and little else that passes.
    if !text.contains('_') && !text.contains('%') {
        return false;
    }
    let separates = |letter: char| !letter.is_alphanumeric() && !matches!(letter, '_' | '-');
    let begins = |word: &str| OWN_PREFIXES.iter().any(|prefix| word.starts_with(prefix));
    let decoded = if text.contains('%') { decode(text) } else { None };
    let readings = [Some(text), decoded.as_deref()];
    readings.into_iter().flatten().any(|text| text.split(separates).any(begins))
}

/// The key in a subprotocol by which a browser, which can send no headers, shows it: `openai-insecure-api-key.KEY`,
/// `NAME-client-secret.KEY`, `bearer.KEY`.
pub fn key_of_subprotocol(offer: &str) -> Option<&str> {
    let (name, key) = offer.split_once('.')?;
    let name = name.to_ascii_lowercase();
    let announces =
        name == "openai-insecure-api-key" || name.ends_with("client-secret") || is_key_scheme(&name);
    announces.then_some(key)
}

/// The subprotocols among those offered that go upstream: none that carries a credential, be it in a name such as
/// `openai-insecure-api-key.…`, be it as the word behind `token`.
pub fn subprotocols<'a>(offered: impl Iterator<Item = &'a str>) -> impl Iterator<Item = &'a str> {
    let names_secret = |offer: &str| {
        offer.split_once('.').is_some_and(|(name, _)| is_key_scheme(name) || tells_of_a_secret(name))
    };
    offered
        .take_while(|offer| !is_key_scheme(offer))
        .filter(move |offer| !names_secret(offer) && !holds_own_key(offer))
}

/// Whether a provider's header goes downstream.
pub fn passes_down(name: &HeaderName) -> bool {
    // Which pages may read an answer of ours is not the provider's to say.
    let tells_browsers = begins_with(name.as_str(), "access-control-");
    !tells_browsers && !HOP.iter().chain(&BINDING).any(|other| name.is(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_listed_goes_up_and_no_credential_by_a_pattern() {
        let list = PassList::with("x-team-*, X-Trace").unwrap();
        let passes = |name| list.passes(&HeaderName::parse(name).unwrap());
        for name in [
            "User-Agent",
            "Accept",
            "Accept-Language",
            "Content-Type",
            "OpenAI-Beta",
            "OpenAI-Organization",
            "X-OpenAI-Agents-SDK",
            "x-stainless-retry-count",
            "X-Client-Request-Id",
            "Idempotency-Key",
            "anthropic-version",
            "x-goog-api-client",
            "X-DashScope-WorkSpace",
            "x-team-blue",
            "x-trace",
        ] {
            assert!(passes(name), "{name}");
        }
        for name in [
            "X-Forwarded-For",
            "Forwarded",
            "Via",
            "CF-Connecting-IP",
            "CDN-Loop",
            "traceparent",
            "baggage",
            "X-Real-IP",
            "True-Client-IP",
            "X-Amzn-Trace-Id",
            "Origin",
            "Referer",
            "Cookie",
            "Host",
            "Content-Length",
            "Authorization",
            "x-api-key",
            "x-goog-api-key",
            "openai-api-key",
            "anthropic-auth-token",
            "x-goog-iam-authorization-token",
            "x-team-token",
            "x-user-id",
            "x-trace-id",
            "x",
        ] {
            assert!(!passes(name), "{name}");
        }
    }

    #[test]
    fn what_is_added_is_a_name_and_none_of_ours() {
        assert_eq!(PassList::with(" , "), PassList::with(""));
        for (more, what) in [
            ("*", "is no header's name"),
            ("x-*-y", "is no header's name"),
            ("a b", "is no header's name"),
            ("Cookie", "never passes"),
            ("x-user-id", "never passes"),
            ("x-ok, Authorization", "\"Authorization\" is read or written"),
        ] {
            assert!(PassList::with(more).unwrap_err().contains(what), "{more}");
        }
    }

    #[test]
    fn a_key_of_ours_is_seen_as_a_word_and_in_no_other() {
        for text in [
            "ug_1",
            "ek_1",
            "Bearer ug_1",
            "a=ek_1",
            "x, ug_1",
            "a/ug_1",
            "(ug_1)",
            "a.ek_1",
            "x:ug_1",
            "a%2Fug_1",
            "%75g_1",
        ] {
            assert!(holds_own_key(text), "{text}");
        }
        for text in ["", "debug_1", "100%", "a%2Fdebug_1", "week_1", "sk-ug_1", "UG_1"] {
            assert!(!holds_own_key(text), "{text}");
        }
    }

    #[test]
    fn no_subprotocol_takes_a_credential_along() {
        for (offered, passed) in [
            (vec!["realtime", "openai-insecure-api-key.sk-1", "mine"], vec!["realtime", "mine"]),
            (
                vec!["xai-client-secret.s", "openai-agents-sdk.1.0", "v1.json"],
                vec!["openai-agents-sdk.1.0", "v1.json"],
            ),
            (vec!["realtime", "Token", "0123456789abcdef"], vec!["realtime"]),
            (vec!["ek_1", "chat"], vec!["chat"]),
            (vec!["convai", "bearer.0a1b", "Bearer.ug_1"], vec!["convai"]),
        ] {
            assert_eq!(subprotocols(offered.into_iter()).collect::<Vec<_>>(), passed);
        }
    }

    #[test]
    fn nothing_leads_a_client_past_us() {
        for (name, passes) in [
            ("retry-after", true),
            ("x-request-id", true),
            ("openai-processing-ms", true),
            ("Content-Type", true),
            ("Location", false),
            ("Alt-Svc", false),
            ("set-cookie", false),
            ("Connection", false),
            ("Access-Control-Allow-Origin", false),
        ] {
            assert_eq!(passes_down(&HeaderName::parse(name).unwrap()), passes, "{name}");
        }
    }
}
