//! Which origins' pages may come in, and how their browsers are told so (CORS).
//!
//! A page of tokenist's own host needs no leave, and some clients that are no browser name the host that they dial as where
//! they come from.

use crate::live::Live;
use crate::shard::Shard;
use crate::upgrade;
use serde_json::json;
use tokenist_core::close_reason::CloseReason;
use tokenist_core::http::RequestHead;
use tokenist_core::http::write::{HeadWriter, HeaderName, HeaderValue};
use tokenist_core::origin::authority;

const ALLOW_ORIGIN: HeaderName = HeaderName::literal("Access-Control-Allow-Origin");
const ALLOW_METHODS: HeaderName = HeaderName::literal("Access-Control-Allow-Methods");
const ALLOW_HEADERS: HeaderName = HeaderName::literal("Access-Control-Allow-Headers");
const MAX_AGE: HeaderName = HeaderName::literal("Access-Control-Max-Age");
const VARY: HeaderName = HeaderName::literal("Vary");
/// What a page may read beside what browsers show it anyway.
const EXPOSED: &str = "Access-Control-Expose-Headers: location, x-request-id, retry-after, x-should-retry, \
    x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests, x-ratelimit-limit-tokens, \
    x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens, x-ratelimit-remaining-dollars\r\n";

fn origin(head: &RequestHead) -> Option<&str> {
    head.headers
        .get("origin")
        .and_then(|origin| std::str::from_utf8(origin).ok())
        .filter(|text| !text.is_empty())
}

fn is_own_host(head: &RequestHead, origin: &str) -> bool {
    let plain = |host: &str| {
        let port = [":80", ":443"].iter().find_map(|port| host.strip_suffix(port));
        port.unwrap_or(host).to_ascii_lowercase()
    };
    let host = head.headers.get("host").map(|host| plain(&String::from_utf8_lossy(host)));
    host.is_some() && host == authority(origin).map(plain)
}

/// Keeps whether the page that a request is of may read what it is answered.
pub(crate) fn note(shard: &Shard, live: &Live, head: &RequestHead) {
    let origins = &shard.config.origins;
    if origins.is_empty() {
        return;
    }
    let allowed = origin(head).filter(|origin| origins.list(origin));
    let allowed = allowed.and_then(|origin| HeaderValue::parse(origin).ok()).map(Box::new);
    let first = live.page.set(allowed).is_ok();
    debug_assert!(first, "a request is of one page");
}

/// An answer's head with what the browser of the page that asked is to know.
pub(crate) fn tell(live: &Live, mut answer: Vec<u8>) -> Vec<u8> {
    let Some(page) = live.page.get() else { return answer };
    let mut lines = b"Vary: Origin\r\n".to_vec();
    if let Some(origin) = page {
        lines.extend([b"Access-Control-Allow-Origin: ", origin.as_bytes(), b"\r\n"].concat());
        lines.extend(EXPOSED.as_bytes());
    }
    let end = answer.windows(2).position(|two| two == b"\r\n").map_or(answer.len(), |at| at + 2);
    answer.splice(end..end, lines);
    answer
}

/// Why a session may not begin in a page of this origin. Nobody's may where it shows a token and no origin is listed.
pub(crate) fn refusal(shard: &Shard, head: &RequestHead, shows_token: bool) -> Option<CloseReason> {
    let origins = &shard.config.origins;
    let origin = origin(head).filter(|_| shows_token || !origins.is_empty())?;
    let may_enter = origins.list(origin) || is_own_host(head, origin);
    (!may_enter).then(|| CloseReason::OriginRefused { origin: origin.into() })
}

/// The answer to a browser that asks whether a page may send a request. `None`: it does not ask, or no page may.
pub(crate) fn preflight(shard: &Shard, head: &RequestHead) -> Option<Vec<u8>> {
    let origins = &shard.config.origins;
    let asks = head.method == "OPTIONS" && head.headers.get("access-control-request-method").is_some();
    let origin = origin(head).filter(|_| asks && !origins.is_empty())?;
    if !origins.list(origin) {
        let reason = CloseReason::OriginRefused { origin: origin.into() };
        let body = json!({"error": {"type": "invalid_request_error", "code": reason.code(),
            "message": reason.message(), "param": null}});
        return Some(upgrade::answer(403, &body.to_string(), &[("Vary", "Origin".to_owned())]));
    }
    let mut wire = HeadWriter::answer(204, &HeaderValue::literal("No Content"));
    wire.line(&HeaderName::literal("Connection"), &HeaderValue::literal("close"));
    wire.line(&ALLOW_ORIGIN, &HeaderValue::parse(origin).ok()?);
    wire.line(&ALLOW_METHODS, &HeaderValue::literal("GET, POST, PUT, PATCH, DELETE"));
    if let Some(headers) = head.headers.get("access-control-request-headers") {
        wire.line(&ALLOW_HEADERS, &HeaderValue::parse(headers).ok()?);
    }
    wire.line(&MAX_AGE, &HeaderValue::literal("600"));
    wire.line(&VARY, &HeaderValue::literal("Origin, Access-Control-Request-Headers"));
    Some(wire.end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenist_core::http::request_head;

    #[test]
    fn the_host_that_is_dialled_is_no_other_origin() {
        for (host, origin, is_own) in [
            ("proxy.example", "https://proxy.example", true),
            ("proxy.example:443", "wss://Proxy.example", true),
            ("127.0.0.1:8080", "ws://127.0.0.1:8080", true),
            ("127.0.0.1:8080", "ws://127.0.0.1:8081", false),
            ("proxy.example", "https://proxy.example.evil", false),
            ("proxy.example", "null", false),
        ] {
            let head = request_head(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).unwrap();
            assert_eq!(is_own_host(&head, origin), is_own, "{host} {origin}");
        }
    }
}
