//! The two HTTP exchanges around a session: what a request becomes on its way to the provider, and what a
//! provider's answer becomes on its way back. Text in, text out.

use crate::authn::{
    CREDENTIAL_HEADERS, CREDENTIAL_PARAMETERS, IDENTITY_HEADERS, IDENTITY_PARAMETERS, KEY_SUBPROTOCOL,
};
use std::fmt::Write;
use tokenist_core::http::{Header, Headers, RequestHead, ResponseHead};
use tungstenite::handshake::derive_accept_key;

/// Headers that concern one connection only, or that tokenist writes itself. Extensions are never negotiated:
/// base64 audio compresses poorly, and a compressed event could not be read in passing.
const HOP_HEADERS: [&str; 14] = [
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
const PRIVATE_HEADERS: [&str; 1] = ["cookie"];

/// Subprotocols in which browsers send what others send as headers.
const HEADER_SUBPROTOCOLS: [(&str, &str); 2] =
    [("openai-organization.", "OpenAI-Organization"), ("openai-project.", "OpenAI-Project")];

/// The upgrade request as the provider sees it: path and query as they came, less what is for tokenist; the
/// client's WebSocket key, so that the provider's proof is the client's; `key` as the only credential.
pub(crate) fn request(
    head: &RequestHead,
    host: &str,
    websocket_key: &str,
    key: &str,
    query_identity: bool,
) -> Vec<u8> {
    let mut wire = format!(
        "GET {} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {websocket_key}\r\nAuthorization: Bearer {key}\r\n",
        target(head, query_identity)
    )
    .into_bytes();
    for header in head.headers.0.iter().filter(|header| goes_upstream(header)) {
        line(&mut wire, &header.name, &header.value);
    }
    let mut offered = Vec::new();
    for token in head.headers.tokens("sec-websocket-protocol") {
        match HEADER_SUBPROTOCOLS.iter().find_map(|(prefix, name)| Some((name, token.strip_prefix(prefix)?)))
        {
            Some((name, value)) => line(&mut wire, name, value.as_bytes()),
            None if !token.starts_with(KEY_SUBPROTOCOL) && !is_beta(token) => offered.push(token),
            None => {}
        }
    }
    if !offered.is_empty() {
        line(&mut wire, "Sec-WebSocket-Protocol", offered.join(", ").as_bytes());
    }
    wire.extend(b"\r\n");
    wire
}

/// The answer that completes the client's upgrade, with the provider's other headers.
pub(crate) fn switching(websocket_key: &str, subprotocol: Option<&str>, provider: &Headers) -> Vec<u8> {
    let mut wire = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {}\r\n",
        derive_accept_key(websocket_key.as_bytes())
    )
    .into_bytes();
    if let Some(subprotocol) = subprotocol {
        line(&mut wire, "Sec-WebSocket-Protocol", subprotocol.as_bytes());
    }
    for header in provider.0.iter().filter(|header| !is_hop(header)) {
        line(&mut wire, &header.name, &header.value);
    }
    wire.extend(b"\r\n");
    wire
}

/// A provider's refusal, whole but for what concerns its own connection. The body follows as it comes.
pub(crate) fn refusal(head: &ResponseHead) -> Vec<u8> {
    let mut wire = format!("HTTP/1.1 {} {}\r\nConnection: close\r\n", head.status, head.reason).into_bytes();
    let framing = ["content-length", "transfer-encoding"];
    for header in head.headers.0.iter() {
        if !is_hop(header) || framing.iter().any(|name| header.is(name)) {
            line(&mut wire, &header.name, &header.value);
        }
    }
    wire.extend(b"\r\n");
    wire
}

/// An answer of our own, after which the connection ends.
pub(crate) fn answer(status: u16, body: &str, extra: &[(&str, String)]) -> Vec<u8> {
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
    let mut wire = format!(
        "HTTP/1.1 {status} {reason}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in extra {
        // Writing to a String cannot fail.
        write!(wire, "{name}: {value}\r\n").expect("a string grows");
    }
    wire.push_str("\r\n");
    wire.push_str(body);
    wire.into_bytes()
}

/// The subprotocol to answer a client that offered some: what the provider chose if the client offered it, else
/// `realtime`. Never the one that carries a key.
pub(crate) fn subprotocol(offered: &Headers, chosen: Option<&[u8]>) -> Option<String> {
    let offers = |token: &str| offered.tokens("sec-websocket-protocol").any(|offer| offer == token);
    let chosen = chosen.and_then(|token| std::str::from_utf8(token).ok());
    let chosen = chosen.filter(|token| !token.starts_with(KEY_SUBPROTOCOL) && offers(token));
    chosen.or(offers("realtime").then_some("realtime")).map(str::to_owned)
}

/// Whether the provider proved that it took the upgrade (RFC 6455 §4.1).
pub(crate) fn is_accepted(head: &ResponseHead, websocket_key: &str) -> bool {
    head.headers.get("sec-websocket-accept") == Some(derive_accept_key(websocket_key.as_bytes()).as_bytes())
        && head.headers.get("sec-websocket-extensions").is_none()
}

fn target(head: &RequestHead, query_identity: bool) -> String {
    let mut target = head.path();
    let kept = head.query().filter(|(name, _)| {
        !(CREDENTIAL_PARAMETERS.contains(name) || query_identity && IDENTITY_PARAMETERS.contains(name))
    });
    let has_equals = |name: &str, value: &str| !value.is_empty() || head.target.contains(&format!("{name}="));
    for (index, (name, value)) in kept.enumerate() {
        target.push(if index == 0 { '?' } else { '&' });
        target.push_str(name);
        if has_equals(name, value) {
            target.push('=');
            target.push_str(value);
        }
    }
    target
}

fn goes_upstream(header: &Header) -> bool {
    let listed = |names: &[&str]| names.iter().any(|name| header.is(name));
    let beta = header.is("openai-beta") && std::str::from_utf8(&header.value).is_ok_and(is_beta);
    !is_hop(header)
        && !listed(&CREDENTIAL_HEADERS)
        && !listed(&IDENTITY_HEADERS)
        && !listed(&PRIVATE_HEADERS)
        && !beta
}

/// Old SDKs still ask for the beta, and the provider then closes the session.
fn is_beta(value: &str) -> bool {
    matches!(value.trim(), "realtime=v1" | "openai-beta.realtime-v1")
}

fn is_hop(header: &Header) -> bool {
    HOP_HEADERS.iter().any(|name| header.is(name))
}

fn line(wire: &mut Vec<u8>, name: &str, value: &[u8]) {
    wire.extend(name.as_bytes());
    wire.extend(b": ");
    wire.extend(value);
    wire.extend(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenist_core::http::request_head;

    fn sent(target: &str, headers: &str) -> String {
        let head = request_head(format!("GET {target} HTTP/1.1\r\n{headers}\r\n").as_bytes()).unwrap();
        String::from_utf8(request(&head, "api.openai.com", "KEY", "sk-provider", true)).unwrap()
    }

    #[test]
    fn nothing_for_tokenist_and_no_client_credential_goes_upstream() {
        let wire = sent(
            "//v1//realtime?model=gpt-realtime&key=sk-a&user_id=alice&flag&empty=",
            "Host: localhost\r\nAuthorization: Bearer sk-a\r\napi-key: sk-a\r\nx-user-id: alice\r\nX-Org-Id: acme\r\n\
             Cookie: a=b\r\nSec-WebSocket-Extensions: permessage-deflate\r\nOpenAI-Beta: realtime=v1\r\n\
             User-Agent: OpenAI/JS\r\nSec-WebSocket-Protocol: realtime, openai-insecure-api-key.sk-a, \
             openai-organization.org-1, openai-beta.realtime-v1\r\n",
        );
        assert_eq!(
            wire,
            "GET /v1/realtime?model=gpt-realtime&flag&empty= HTTP/1.1\r\nHost: api.openai.com\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: KEY\r\n\
             Authorization: Bearer sk-provider\r\nUser-Agent: OpenAI/JS\r\nOpenAI-Organization: org-1\r\n\
             Sec-WebSocket-Protocol: realtime\r\n\r\n"
        );
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
        assert_eq!(subprotocol(&offered("chat"), Some(b"unoffered")), None);
        assert_eq!(subprotocol(&Headers::default(), Some(b"realtime")), None);
    }
}
