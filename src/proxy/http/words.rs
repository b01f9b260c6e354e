//! The heads of an exchange: what a request becomes on its way to the provider, and an answer on its way back.

use crate::config::{IdentityRules, Provider};
use crate::upgrade::{Connection, goes_upstream, target};
use tokenist_core::http::blot::Blot;
use tokenist_core::http::body::Framing;
use tokenist_core::http::coding::Coding;
use tokenist_core::http::pass::passes_down;
use tokenist_core::http::write::{HeadWriter, HeaderName, HeaderValue};
use tokenist_core::http::{RequestHead, ResponseHead};
use tokenist_core::key::ProviderKey;
use tokenist_core::money::NanoUsd;
use tokenist_core::verdict::Remaining;

const LEFT_TOKENS: HeaderName = HeaderName::literal("x-ratelimit-remaining-tokens");
const LEFT_DOLLARS: HeaderName = HeaderName::literal("x-ratelimit-remaining-dollars");
const LENGTH: HeaderName = HeaderName::literal("Content-Length");
const ENCODINGS: HeaderName = HeaderName::literal("Accept-Encoding");
const LOCATION: HeaderName = HeaderName::literal("Location");
const CODING: HeaderName = HeaderName::literal("Transfer-Encoding");

/// The request as the provider sees it: its own path, and the query as it came, less what is for tokenist; of the headers
/// those that the provider is known to want; `key` as the only credential; `codings` in place of those that the client accepts.
pub(super) fn request(
    head: &RequestHead,
    path: &str,
    provider: &Provider,
    key: &ProviderKey,
    rules: &IdentityRules,
    framing: Framing,
    codings: Option<&HeaderValue>,
) -> Vec<u8> {
    let method = HeaderName::parse(&head.method).expect("it was read from a head");
    let mut wire = HeadWriter::request(&method, &target(head, path, rules));
    wire.line(&HeaderName::literal("Host"), &provider.host_header());
    provider.auth.write(key, &mut wire);
    codings.into_iter().for_each(|codings| wire.line(&ENCODINGS, codings));
    let nominated = head.headers.nominated();
    let is_nominated = |name: &HeaderName| nominated.iter().any(|other| name.is(other));
    let passed =
        head.headers.0.iter().filter(|header| goes_upstream(header, provider) && !is_nominated(&header.name));
    for header in passed.filter(|header| codings.is_none() || !header.name.is(ENCODINGS.as_str())) {
        wire.line(&header.name, &header.value);
    }
    match framing {
        Framing::Length(0) if !has_body(head) => {}
        Framing::Length(bytes) => wire.line(&LENGTH, &HeaderValue::from(bytes)),
        Framing::Chunked | Framing::UntilClose => wire.line(&CODING, &HeaderValue::literal("chunked")),
    }
    wire.end()
}

/// The codings that an answer is wanted in that is read in passing: of the client's those that can be read, and none where
/// something may be taken out of it or put behind it.
pub(super) fn codings(head: &RequestHead, must_be_plain: bool) -> HeaderValue {
    let wanted = Coding::wanted(&head.headers).filter(|_| !must_be_plain);
    wanted.and_then(|wanted| HeaderValue::parse(wanted).ok()).unwrap_or(HeaderValue::literal("identity"))
}

/// A request that could have a body says that it has none.
fn has_body(head: &RequestHead) -> bool {
    matches!(&*head.method, "POST" | "PUT" | "PATCH") || head.headers.get("content-length").is_some()
}

/// How a client is told where an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    Chunked,
    /// As the provider states it.
    Stated,
    /// All of it is there.
    Of(u64),
    /// By the end of the connection.
    Unknown,
}

fn dollars(amount: NanoUsd) -> HeaderValue {
    let text = amount.exact().to_string();
    HeaderValue::parse(text.trim_start_matches('$')).expect("a number can be written")
}

/// The answer's head as the client sees it: whole, but for what concerns the provider's connection, would lead the client
/// past us, or is the operator's secret; and with what is `left` of the caller's own limits in place of the operator's. If its
/// coding `is_undone`, without that. `location` is where it leads here, if it leads anywhere.
pub(super) fn answer(
    head: &ResponseHead,
    blot: &Blot,
    length: Length,
    keeps: bool,
    left: Remaining,
    is_undone: bool,
    location: Option<&HeaderValue>,
) -> Vec<u8> {
    let mut wire = HeadWriter::answer(head.status, &blot.value(&head.reason));
    let connection = if keeps { Connection::KeepAlive } else { Connection::Close };
    connection.write(&mut wire);
    let left = [
        (LEFT_TOKENS, left.tokens.map(HeaderValue::from)),
        (LEFT_DOLLARS, left.cost.map(|cost| dollars(cost.max(NanoUsd::ZERO)))),
    ];
    let is_ours =
        |name: &HeaderName| left.iter().any(|(ours, value)| value.is_some() && name.is(ours.as_str()));
    let is_gone = |name: &HeaderName| is_undone && name.is("content-encoding");
    let nominated = head.headers.nominated();
    let is_nominated = |name: &HeaderName| nominated.iter().any(|other| name.is(other));
    let passes =
        |name: &HeaderName| passes_down(name) && !is_ours(name) && !is_gone(name) && !is_nominated(name);
    for (name, value) in blot.headers(&head.headers).filter(|(name, _)| passes(name)) {
        wire.line(name, &value);
    }
    for (name, value) in &left {
        value.iter().for_each(|value| wire.line(name, value));
    }
    location.iter().for_each(|location| wire.line(&LOCATION, location));
    match length {
        Length::Of(bytes) => wire.line(&LENGTH, &HeaderValue::from(bytes)),
        Length::Chunked => wire.line(&CODING, &HeaderValue::literal("chunked")),
        // It has no body, whose length could be stated.
        Length::Stated if head.status == 204 => {}
        Length::Stated => {
            let stated = head.headers.0.iter().filter(|header| header.is("content-length"));
            stated.for_each(|length| wire.line(&length.name, &length.value));
        }
        Length::Unknown => {}
    }
    wire.end()
}
