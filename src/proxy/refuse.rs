//! How a request is told no: in WebSocket terms, which are all that browsers can see, or in HTTP.
//!
//! Start at [`refuse`]. Invariant: however often a client comes again, it costs one answer and a short wait.

use crate::arrival::{Accepted, Arrival};
use crate::config::Refuse;
use crate::cors;
use crate::io::shut_down::ShutdownHandle;
use crate::io::stream::{self, Reader, Writer};
use crate::io::tcp;
use crate::io::tls::{Scheme, TLS_ALERT};
use crate::live::Live;
use crate::shard::Shard;
use crate::upgrade;
use monoio::time::{Duration, sleep};
use tokenist_core::close_reason::CloseReason;
use tokenist_core::dialect;
use tokenist_core::http::blot::Blot;
use tokenist_core::http::{HeadError, Headers, RequestHead};
use tokenist_core::metric::BAD_REQUEST;
use tokenist_core::ws::frame::{self, Opcode};

/// A client that was refused more often for one reason within half a minute is told so in HTTP.
pub(crate) const REFUSALS_MAX: u64 = 3;
/// How long a refusal's close waits after the upgrade: one SDK takes an earlier one for a fault of the network.
const CLOSE_AFTER: Duration = Duration::from_millis(200);
/// Where `Retry-After` says more seconds SDKs are told not to retry: some would wait inside the call.
const RETRY_SECONDS_MAX: u64 = 60;

/// What a client is to be told.
#[derive(Clone, Copy)]
pub(crate) struct Refused<'a> {
    pub(crate) head: &'a RequestHead,
    /// `None`: the upgrade was answered before.
    pub(crate) websocket_key: Option<&'a str>,
    pub(crate) reason: &'a CloseReason,
}

/// Refuses an upgrade and counts the refusal against the user and credential that it names, which may be one of many
/// behind an address; against the address where it names neither.
pub(crate) async fn refuse(
    shard: &Shard,
    live: &Live,
    reader: Reader,
    mut writer: Writer,
    refused: Refused<'_>,
) {
    shard.counters.refuse(refused.reason.code());
    live.deadline.set(shard.time().instant.plus_ms(shard.config.close_ms));
    let now = shard.time().instant;
    let count = match live.caller.get() {
        Some(caller) => shard.links.refusals.note(&(caller, refused.reason.code()), now),
        None => 1,
    };
    let storms = count > REFUSALS_MAX || live.is_storming.get();
    say(shard, live, &mut writer, refused, storms).await;
    finish(shard, live, reader, writer).await;
}

/// In WebSocket terms, or in HTTP for clients that are set to it or storm.
pub(crate) async fn say(shard: &Shard, live: &Live, writer: &mut Writer, refused: Refused<'_>, storms: bool) {
    let is_foreign = matches!(refused.reason, CloseReason::OriginRefused { .. });
    let in_http = match shard.config.refuse {
        _ if is_foreign => true,
        Refuse::Close => false,
        Refuse::Http => true,
        Refuse::Auto => storms,
    };
    let said = match refused.websocket_key {
        Some(_) if in_http => {
            writer.write_bytes(cors::tell(live, in_http_words(shard, refused.reason))).await
        }
        key => say_close(live, writer, refused, key).await,
    };
    if let Err(error) = said {
        tracing::trace!(session = %live.id(), %error, "a refusal could not be told");
    }
}

/// The upgrade, the event if the dialect has one, and a while later the close.
async fn say_close(
    live: &Live,
    writer: &mut Writer,
    refused: Refused<'_>,
    websocket_key: Option<&str>,
) -> std::io::Result<()> {
    let Refused { head, reason, .. } = refused;
    live.close_code.set(Some(reason.close_code()));
    let mut words = Vec::new();
    if let Some(key) = websocket_key {
        let subprotocol = upgrade::first_subprotocol(&head.headers);
        words = upgrade::switching(key, subprotocol.as_deref(), &Headers::default(), &Blot::of(None));
    }
    if let Some(event) = live.words_before_close(reason) {
        words.extend(frame::write(Opcode::Text, event.as_bytes(), None));
    }
    if !words.is_empty() {
        writer.write_bytes(words).await?;
        sleep(CLOSE_AFTER).await;
    }
    writer.write_bytes(frame::write_close(reason.close_code(), &reason.message(), None)).await
}

/// A refusal as an answer in HTTP.
pub(crate) fn in_http_words(shard: &Shard, reason: &CloseReason) -> Vec<u8> {
    let retry_seconds = reason.retry_after_seconds(shard.time().wall);
    let mut extra = Vec::new();
    extra.extend(retry_seconds.map(|seconds| ("Retry-After", seconds.to_string())));
    if retry_seconds.is_none_or(|seconds| seconds > RETRY_SECONDS_MAX) {
        extra.push(("x-should-retry", "false".to_owned()));
    }
    upgrade::answer(reason.http_status(), &dialect::http_body(reason), &extra)
}

pub(crate) async fn answer_malformed(
    shard: &Shard,
    live: &Live,
    reader: Reader,
    writer: Writer,
    error: HeadError,
) {
    shard.counters.refuse(BAD_REQUEST);
    let object = serde_json::json!({"error": {
        "type": "invalid_request_error", "code": "bad_request", "message": error.to_string(), "param": null}});
    let answer =
        upgrade::answer(error.http_status(), &object.to_string(), &[("x-should-retry", "false".to_owned())]);
    respond(shard, live, reader, writer, answer).await;
}

pub(crate) async fn respond(shard: &Shard, live: &Live, reader: Reader, mut writer: Writer, answer: Vec<u8>) {
    live.deadline.set(shard.time().instant.plus_ms(shard.config.close_ms));
    if let Err(error) = writer.write_bytes(cors::tell(live, answer)).await {
        tracing::trace!(session = %live.id(), %error, "an answer could not be told");
    }
    finish(shard, live, reader, writer).await;
}

/// Tells the peer that this is all, and throws away what it still sends: closing with bytes unread would reset the
/// connection, and the peer might never read the answer. The session's deadline ends the wait.
pub(crate) async fn finish(shard: &Shard, live: &Live, mut reader: Reader, mut writer: Writer) {
    writer.finish().await;
    let Ok(mut buffer) = shard.pool.take() else { return };
    loop {
        let result;
        (result, buffer) = reader.read(buffer, 0, live.up.cancel_handle()).await;
        if !matches!(result, Ok(1..)) {
            return;
        }
    }
}

pub(crate) fn full() -> CloseReason {
    CloseReason::Overloaded("this shard holds as many sessions as it may".into())
}

/// The shard is full, and so is the room for those that it refuses. Nothing is waited for.
pub(crate) async fn reject(shard: &Shard, arrival: Arrival) {
    shard.counters.refuse(full().code());
    let handle = ShutdownHandle::default();
    let (words, mut writer, _reader) = match arrival {
        Arrival::Kept(kept) => (in_http_words(shard, &full()), kept.writer, kept.reader),
        Arrival::New(Accepted { stream, scheme, .. }) => {
            tcp::discard(&stream);
            let Ok((reader, writer)) = stream::split(stream, &handle) else { return };
            let words = match scheme {
                Scheme::Plain => in_http_words(shard, &full()),
                Scheme::Tls => TLS_ALERT.to_vec(),
            };
            (words, writer, reader)
        }
    };
    if let Err(error) = writer.write_bytes(words).await {
        tracing::trace!(%error, "a client that was turned away is gone");
    }
    writer.finish().await;
    handle.disarm();
}
