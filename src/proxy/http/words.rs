//! The heads of an exchange: what a request becomes on its way to the provider, and an answer on its way back.

use crate::config::{IdentityRules, Provider};
use crate::upgrade::{Connection, goes_upstream, target};
use tokenist_core::http::blot::Blot;
use tokenist_core::http::body::Framing;
use tokenist_core::http::pass::passes_down;
use tokenist_core::http::write::{HeadWriter, HeaderName, HeaderValue};
use tokenist_core::http::{RequestHead, ResponseHead};
use tokenist_core::key::ProviderKey;

const LENGTH: HeaderName = HeaderName::literal("Content-Length");
const CODING: HeaderName = HeaderName::literal("Transfer-Encoding");

/// The request as the provider sees it: its own path, and the query as it came, less what is for tokenist; of the headers
/// those that the provider is known to want; `key` as the only credential.
pub(super) fn request(
    head: &RequestHead,
    path: &str,
    provider: &Provider,
    key: &ProviderKey,
    rules: &IdentityRules,
    framing: Framing,
) -> Vec<u8> {
    let method = HeaderName::parse(&head.method).expect("it was read from a head");
    let mut wire = HeadWriter::request(&method, &target(head, path, rules));
    wire.line(&HeaderName::literal("Host"), &provider.host_header());
    provider.auth.write(key, &mut wire);
    for header in head.headers.0.iter().filter(|header| goes_upstream(header, provider)) {
        wire.line(&header.name, &header.value);
    }
    match framing {
        Framing::Length(0) if !has_body(head) => {}
        Framing::Length(bytes) => wire.line(&LENGTH, &HeaderValue::from(bytes)),
        Framing::Chunked | Framing::UntilClose => wire.line(&CODING, &HeaderValue::literal("chunked")),
    }
    wire.end()
}

/// A request that could have a body says that it has none.
fn has_body(head: &RequestHead) -> bool {
    matches!(&*head.method, "POST" | "PUT" | "PATCH") || head.headers.get("content-length").is_some()
}

/// The answer's head as the client sees it: whole, but for what concerns the provider's connection, would lead the client
/// past us, or is the operator's secret.
pub(super) fn answer(head: &ResponseHead, blot: &Blot, is_chunked: bool, keeps: bool) -> Vec<u8> {
    let mut wire = HeadWriter::answer(head.status, &blot.value(&head.reason));
    let connection = if keeps { Connection::KeepAlive } else { Connection::Close };
    connection.write(&mut wire);
    for header in blot.headers(&head.headers).0.iter().filter(|header| passes_down(&header.name)) {
        wire.line(&header.name, &header.value);
    }
    if is_chunked {
        wire.line(&CODING, &HeaderValue::literal("chunked"));
    } else if let Some(length) = head.headers.0.iter().find(|header| header.is("content-length")) {
        wire.line(&length.name, &length.value);
    }
    wire.end()
}
