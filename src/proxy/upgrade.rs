//! The two HTTP exchanges around a session: what a request becomes on its way to the provider, and what a
//! provider's answer becomes on its way back. Text in, text out.

use crate::authn;
use crate::config::{IdentityRules, Provider};
use tokenist_core::http::blot::Blot;
use tokenist_core::http::pass::{self, is_key_scheme, passes_down};
use tokenist_core::http::write::{HeadWriter, HeaderName, HeaderValue, Target};
use tokenist_core::http::{Header, Headers, RequestHead, ResponseHead};
use tokenist_core::key::ProviderKey;
use tungstenite::handshake::derive_accept_key;

const CONNECTION: HeaderName = HeaderName::literal("Connection");
const UPGRADE: HeaderName = HeaderName::literal("Upgrade");
const SUBPROTOCOL: HeaderName = HeaderName::literal("Sec-WebSocket-Protocol");

/// Subprotocols in which browsers send what others send as headers.
static HEADER_SUBPROTOCOLS: [(&str, HeaderName); 2] = [
    ("openai-organization.", HeaderName::literal("OpenAI-Organization")),
    ("openai-project.", HeaderName::literal("OpenAI-Project")),
];

/// The upgrade request as the provider sees it: the provider's path, and the query as it came, less what is for tokenist; of the headers
/// those that the provider is known to want; the client's WebSocket key, so that the provider's proof is the client's;
/// `key` as the only credential.
pub(crate) fn request(
    head: &RequestHead,
    path: &str,
    provider: &Provider,
    websocket_key: &str,
    key: &ProviderKey,
    rules: &IdentityRules,
) -> Vec<u8> {
    let mut wire = begin(&target(head, path, rules), provider, websocket_key, key);
    let nominated = head.headers.nominated();
    let is_nominated = |header: &Header| nominated.iter().any(|name| header.is(name));
    let passed = head.headers.0.iter().filter(|header| goes_upstream(header, provider));
    for header in passed.filter(|header| !is_nominated(header)) {
        wire.line(&header.name, &header.value);
    }
    let mut offered = Vec::new();
    for token in pass::subprotocols(head.headers.tokens("sec-websocket-protocol")) {
        let named = |(prefix, name)| Some((name, token.strip_prefix(prefix)?));
        match HEADER_SUBPROTOCOLS.iter().find_map(|(prefix, name)| named((*prefix, name))) {
            Some((name, value)) => wire.line(name, &checked(value)),
            None if !is_beta(token) => offered.push(token),
            None => {}
        }
    }
    if !offered.is_empty() {
        wire.line(&SUBPROTOCOL, &checked(&offered.join(", ")));
    }
    wire.end()
}

/// What each request for an upgrade begins with.
fn begin(target: &Target, provider: &Provider, websocket_key: &str, key: &ProviderKey) -> HeadWriter {
    let mut wire = HeadWriter::get(target);
    wire.line(&HeaderName::literal("Host"), &provider.host_header());
    wire.line(&CONNECTION, &HeaderValue::literal("Upgrade"));
    wire.line(&UPGRADE, &HeaderValue::literal("websocket"));
    wire.line(&HeaderName::literal("Sec-WebSocket-Version"), &HeaderValue::literal("13"));
    wire.line(&HeaderName::literal("Sec-WebSocket-Key"), &checked(websocket_key));
    provider.auth.write(key, &mut wire);
    wire
}

/// A request of our own for a socket that is attached to a call, which `headers` say whose it is.
pub(crate) fn attach(
    path: &str,
    provider: &Provider,
    websocket_key: &str,
    key: &ProviderKey,
    headers: &[Header],
) -> Vec<u8> {
    let mut wire = begin(&own_target(path), provider, websocket_key, key);
    headers.iter().for_each(|header| wire.line(&header.name, &header.value));
    wire.end()
}

/// A request of our own that ends a call.
pub(crate) fn hangup(path: &str, provider: &Provider, key: &ProviderKey, headers: &[Header]) -> Vec<u8> {
    let mut wire = HeadWriter::request(&HeaderName::literal("POST"), &own_target(path));
    wire.line(&HeaderName::literal("Host"), &provider.host_header());
    wire.line(&CONNECTION, &HeaderValue::literal("close"));
    wire.line(&HeaderName::literal("Content-Length"), &HeaderValue::from(0));
    provider.auth.write(key, &mut wire);
    headers.iter().for_each(|header| wire.line(&header.name, &header.value));
    wire.end()
}

fn own_target(path: &str) -> Target {
    Target::parse(path).expect("a provider's path and an id that was checked are a target")
}

/// The answer that completes the client's upgrade, with the provider's other headers.
pub(crate) fn switching(
    websocket_key: &str,
    subprotocol: Option<&str>,
    provider: &Headers,
    blot: &Blot,
) -> Vec<u8> {
    let mut wire = HeadWriter::answer(101, &HeaderValue::literal("Switching Protocols"));
    wire.line(&CONNECTION, &HeaderValue::literal("Upgrade"));
    wire.line(&UPGRADE, &HeaderValue::literal("websocket"));
    let proof = derive_accept_key(websocket_key.as_bytes());
    wire.line(&HeaderName::literal("Sec-WebSocket-Accept"), &checked(&proof));
    if let Some(subprotocol) = subprotocol {
        wire.line(&SUBPROTOCOL, &checked(subprotocol));
    }
    let nominated = provider.nominated();
    let passes =
        |name: &HeaderName| passes_down(name) && !nominated.iter().any(|nominated| name.is(nominated));
    for (name, value) in blot.headers(provider).filter(|(name, _)| passes(name)) {
        wire.line(name, &value);
    }
    wire.end()
}

/// A provider's refusal, whole but for what concerns its own connection, would lead the client past us, or is the
/// operator's secret. The body follows as it comes.
pub(crate) fn refusal(head: &ResponseHead, blot: &Blot) -> Vec<u8> {
    let mut wire = HeadWriter::answer(head.status, &blot.value(&head.reason));
    wire.line(&CONNECTION, &HeaderValue::literal("close"));
    let framing = ["content-length", "transfer-encoding"];
    let nominated = head.headers.nominated();
    let passes =
        |name: &HeaderName| passes_down(name) && !nominated.iter().any(|nominated| name.is(nominated));
    for (name, value) in blot.headers(&head.headers) {
        if passes(name) || framing.iter().any(|framing| name.is(framing)) {
            wire.line(name, &value);
        }
    }
    wire.end()
}

/// Whether a secret can be found in the body under this head as it passes: not where it is compressed.
pub(crate) fn is_legible(head: &ResponseHead) -> bool {
    let plain = |name, word: &str| head.headers.tokens(name).all(|token| token.eq_ignore_ascii_case(word));
    plain("content-encoding", "identity") && plain("transfer-encoding", "chunked")
}

/// What becomes of a connection behind an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connection {
    Close,
    /// What HTTP/1.1 takes for granted.
    KeepAlive,
}

impl Connection {
    pub(crate) fn write(self, wire: &mut HeadWriter) {
        if self == Connection::Close {
            wire.line(&CONNECTION, &HeaderValue::literal("close"));
        }
    }
}

/// An answer of our own, after which the connection ends.
pub(crate) fn answer(status: u16, body: &str, extra: &[(&'static str, String)]) -> Vec<u8> {
    answer_and(Connection::Close, status, body, extra)
}

/// An answer of our own.
pub(crate) fn answer_and(
    connection: Connection,
    status: u16,
    body: &str,
    extra: &[(&'static str, String)],
) -> Vec<u8> {
    let reason = match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        408 => "Request Timeout",
        413 => "Content Too Large",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        _ => "Error",
    };
    let mut wire = HeadWriter::answer(status, &checked(reason));
    connection.write(&mut wire);
    wire.line(&HeaderName::literal("Content-Type"), &HeaderValue::literal("application/json"));
    wire.line(&HeaderName::literal("Content-Length"), &HeaderValue::from(body.len() as u64));
    for (name, value) in extra {
        wire.line(&HeaderName::literal(name), &checked(value));
    }
    let mut wire = wire.end();
    wire.extend(body.as_bytes());
    wire
}

/// What was read from a head, or is of our own making, can stand in one.
fn checked(value: &str) -> HeaderValue {
    HeaderValue::parse(value).expect("it came from a head, or we made it")
}

/// The subprotocol to answer a client that offered some: what the provider chose if the client offered it, else
/// `realtime`, or the word before a key. Not one that carries a key, unless it is all that was offered to a protocol that knows
/// no other: a browser takes no answer without one for an answer.
pub(crate) fn subprotocol(offered: &Headers, chosen: Option<&[u8]>) -> Option<String> {
    let offers = |token: &str| {
        pass::subprotocols(offered.tokens("sec-websocket-protocol")).any(|offer| offer == token)
    };
    let chosen = chosen.and_then(|token| std::str::from_utf8(token).ok()).filter(|token| offers(token));
    let mut all = offered.tokens("sec-websocket-protocol");
    let scheme = all.find(|token| is_key_scheme(token));
    let chosen = chosen.or(offers("realtime").then_some("realtime")).or(scheme);
    chosen.or_else(|| sole_secret(offered)).map(str::to_owned)
}

/// The same where no provider was asked: the first that carries no key will do as well.
pub(crate) fn first_subprotocol(offered: &Headers) -> Option<String> {
    let first = pass::subprotocols(offered.tokens("sec-websocket-protocol")).next();
    subprotocol(offered, None).or(first.map(str::to_owned))
}

fn sole_secret(offered: &Headers) -> Option<&str> {
    let mut all = offered.tokens("sec-websocket-protocol");
    let sole = all.next().filter(|_| all.next().is_none())?;
    let (name, _) = sole.split_once('.')?;
    name.to_ascii_lowercase().ends_with("client-secret").then_some(sole)
}

/// Whether the provider proved that it took the upgrade (RFC 6455 §4.1).
pub(crate) fn is_accepted(head: &ResponseHead, websocket_key: &str) -> bool {
    head.status == 101
        && head.headers.get("sec-websocket-accept")
            == Some(derive_accept_key(websocket_key.as_bytes()).as_bytes())
        && head.headers.get("sec-websocket-extensions").is_none()
}

/// `path` with what of the request's query is for the provider.
pub(crate) fn target(head: &RequestHead, path: &str, rules: &IdentityRules) -> Target {
    let mut target = path.to_owned();
    let kept = head.query().filter(|&parameter| authn::is_for_provider(parameter, rules));
    for parameter in kept {
        target.push(if target.contains('?') { '&' } else { '?' });
        target.push_str(parameter.as_str());
    }
    Target::parse(&target).expect("parts of a target are a target")
}

/// Whether a header of the client's goes to the provider.
pub(crate) fn goes_upstream(header: &Header, provider: &Provider) -> bool {
    let asks_for_beta = || header.is("openai-beta") && header.value.as_text().is_some_and(is_beta);
    let holds_key = || pass::holds_own_key(&String::from_utf8_lossy(header.value.as_bytes()));
    provider.headers.passes(&header.name) && !asks_for_beta() && !holds_key()
}

/// Old SDKs still ask for the beta, and the provider then closes the session.
fn is_beta(value: &str) -> bool {
    matches!(value.trim(), "realtime=v1" | "openai-beta.realtime-v1")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authn::Credential;
    use proptest::prelude::*;
    use tokenist_core::auth_scheme::AuthScheme;
    use tokenist_core::browser_token::TokenFault;
    use tokenist_core::http::pass::PassList;
    use tokenist_core::http::{head_end, request_head, response_head};

    const OPEN: IdentityRules = IdentityRules { passthrough: true, query: true };
    const WEBSOCKET_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    fn provider() -> Provider {
        Provider {
            name: "openai".into(),
            billing: "openai".into(),
            keeps_under: "openai".into(),
            host: "api.openai.com".into(),
            port: 443,
            tls: None,
            auth: AuthScheme::Bearer,
            keys: vec![ProviderKey::parse("sk-operator").unwrap()],
            headers: PassList::with("x-mine").unwrap(),
        }
    }

    /// What goes up for a request that anybody may send, or why nothing does.
    fn sent(target: &str, headers: &str) -> Result<Vec<u8>, String> {
        let head = request_head(format!("GET {target} HTTP/1.1\r\n{headers}\r\n").as_bytes());
        let (head, mended) = authn::mended(head.map_err(|error| error.to_string())?, &OPEN);
        let caller = mended
            .and_then(|()| authn::caller(&head, &OPEN, |_| Err(TokenFault::Foreign)))
            .map_err(|ending| ending.message())?;
        let provider = provider();
        let key = match caller.credential {
            Credential::Own(key) => key,
            Credential::Key(_) | Credential::Token(_) => provider.keys[0].clone(),
        };
        Ok(request(&head, &head.path(), &provider, WEBSOCKET_KEY, &key, &OPEN))
    }

    #[test]
    fn nothing_for_tokenist_and_no_client_credential_goes_upstream() {
        let wire = sent(
            "//v1//realtime?model=gpt-realtime&key=sk-a&user_id=alice&flag&empty=&x=ug_1&%6Bey=b",
            "Host: localhost\r\nAuthorization: Bearer sk-provider\r\napi-key: sk-a\r\nx-user-id: alice\r\n\
             X-Org-Id: acme\r\nCookie: a=b\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\
             OpenAI-Beta: realtime=v1\r\nUser-Agent: OpenAI/JS\r\nX-Mine: yes\r\nX-Forwarded-For: 203.0.113.7\r\n\
             OpenAI-Project: ug_2\r\n\
             Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.sk-a, openai-organization.org-1, \
             openai-beta.realtime-v1\r\n",
        );
        assert_eq!(
            String::from_utf8(wire.unwrap()).unwrap(),
            "GET /v1/realtime?model=gpt-realtime&flag&empty= HTTP/1.1\r\nHost: api.openai.com:443\r\n\
             Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Authorization: Bearer sk-provider\r\nUser-Agent: OpenAI/JS\r\nX-Mine: yes\r\n\
             OpenAI-Organization: org-1\r\nSec-WebSocket-Protocol: realtime\r\n\r\n"
        );
    }

    #[test]
    fn a_query_that_was_appended_to_a_query_reaches_the_provider_as_its_own() {
        let target = |asked: &str| {
            let wire = String::from_utf8(sent(asked, "Authorization: Bearer sk-a\r\n")?).unwrap();
            Ok::<_, String>(wire.split(' ').nth(1).unwrap().to_owned())
        };
        for (asked, expected) in [
            ("/v1/realtime?user_id=alice?model=m", "/v1/realtime?model=m"),
            ("/v1/realtime?model=m?user_id=alice", "/v1/realtime?model=m"),
            ("/v1/realtime?user_id=alice&model=a?model=b", "/v1/realtime?model=a&model=b"),
            ("/v1/realtime?user_id=al%3Fice&other=a?b=c", "/v1/realtime?other=a?b=c"),
        ] {
            assert_eq!(target(asked).as_deref(), Ok(expected), "{asked}");
        }
        assert!(target("/v1/realtime?user_id=alice?model").is_err());
    }

    #[test]
    fn the_operators_key_and_the_way_past_us_stay_behind() {
        let blot = Blot::of(Some("sk-operator"));
        let answer = response_head(
            b"HTTP/1.1 401 Bad key sk-operator\r\nLocation: https://x/?key=sk-operator\r\nSet-Cookie: a=b\r\n\
              www-authenticate: Bearer error=sk%2Doperator\r\nx-request-id: r\r\ncontent-length: 2\r\n\r\n",
        )
        .unwrap();
        assert_eq!(
            String::from_utf8(refusal(&answer, &blot)).unwrap(),
            "HTTP/1.1 401 Bad key ***********\r\nConnection: close\r\n\
             www-authenticate: Bearer error=*************\r\nx-request-id: r\r\ncontent-length: 2\r\n\r\n"
        );
        let switched = switching(WEBSOCKET_KEY, None, &answer.headers, &blot);
        let switched = String::from_utf8(switched).unwrap();
        assert!(!switched.contains("sk-operator") && !switched.contains("Location"), "{switched}");
        assert!(switched.contains("x-request-id: r\r\n"));
    }

    /// Percent-encodes every byte, or all but those that may stand in a target as they are.
    fn encoded(bytes: &[u8], all: bool) -> String {
        let plain = |byte: u8| !all && (byte.is_ascii_alphanumeric() || b"-._~?/:@!$'()*,;".contains(&byte));
        let one =
            |&byte: &u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02x}") };
        bytes.iter().map(one).collect()
    }

    proptest! {
        #[test]
        fn whatever_a_parameter_or_a_path_holds_the_provider_gets_one_head_with_its_lines_alone(
            bytes in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..40),
                "[a-z]{0,3}(\r\n|\n|\r|\0)[A-Z]{1,3}: ?[a-z]{0,3}(\r\n\r\nGET / HTTP/1.1\r\n)?".prop_map(String::into_bytes),
            ],
            place in 0usize..11,
            all: bool,
            in_name: bool,
        ) {
            const NAMES: [&str; 10] = ["key", "api-key", "access_token", "Authorization", "user_id", "org_id", "feature", "model", "call_id", "%6bey"];
            let value = encoded(&bytes, all);
            let target = match NAMES.get(place) {
                Some(name) if in_name => format!("/v1/realtime?{name}{value}=x"),
                Some(name) => format!("/v1/realtime?{name}={value}"),
                None => format!("/{value}/v1/realtime"),
            };
            for headers in ["x-user-id: alice\r\n", "Authorization: Bearer sk-a\r\nx-user-id: alice\r\n", "Authorization: Bearer ug_1\r\n"] {
                let Ok(wire) = sent(&target, headers) else { continue };
                prop_assert_eq!(head_end(&wire), Ok(Some(wire.len())));
                let read = request_head(&wire).unwrap();
                let names: Vec<_> = read.headers.0.iter().map(|line| line.name.as_str()).collect();
                prop_assert_eq!(
                    names,
                    ["Host", "Connection", "Upgrade", "Sec-WebSocket-Version", "Sec-WebSocket-Key", "Authorization"]
                );
                prop_assert!(!wire.windows(3).any(|three| three == b"ug_"));
            }
        }
    }

    #[test]
    fn the_subprotocol_with_the_key_is_never_answered() {
        let offered = |list: &str| {
            request_head(format!("GET / HTTP/1.1\r\nSec-WebSocket-Protocol: {list}\r\n\r\n").as_bytes())
                .unwrap()
                .headers
        };
        let browser = offered("realtime, openai-insecure-api-key.sk-a");
        assert_eq!(subprotocol(&browser, None).as_deref(), Some("realtime"));
        assert_eq!(subprotocol(&browser, Some(b"openai-insecure-api-key.sk-a")).as_deref(), Some("realtime"));
        assert_eq!(subprotocol(&offered("openai-insecure-api-key.sk-a"), None), None);
        assert_eq!(subprotocol(&offered("chat, other"), Some(b"chat")).as_deref(), Some("chat"));
        assert_eq!(subprotocol(&offered("token, 0a1b"), None).as_deref(), Some("token"));
        assert_eq!(subprotocol(&offered("token, 0a1b"), Some(b"0a1b")).as_deref(), Some("token"));
        assert_eq!(subprotocol(&offered("chat"), Some(b"unoffered")), None);
        assert_eq!(subprotocol(&Headers::default(), Some(b"realtime")), None);
    }

    #[test]
    fn where_no_provider_was_asked_a_browser_is_answered_with_what_it_offers() {
        for (list, answered) in [
            ("convai, bearer.0a1b", Some("convai")),
            ("bearer.0a1b, convai", Some("convai")),
            ("mine, realtime, openai-insecure-api-key.sk-a", Some("realtime")),
            ("token, 0a1b", Some("token")),
            ("openai-insecure-api-key.sk-a", None),
            // Its protocol has nothing else to offer.
            ("xai-client-secret.0a1b", Some("xai-client-secret.0a1b")),
            ("xai-client-secret.0a1b, mine", Some("mine")),
        ] {
            let line = format!("GET / HTTP/1.1\r\nSec-WebSocket-Protocol: {list}\r\n\r\n");
            let offered = request_head(line.as_bytes()).unwrap().headers;
            assert_eq!(first_subprotocol(&offered).as_deref(), answered, "{list}");
        }
    }
}
