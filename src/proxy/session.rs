//! One session's life, top to bottom: admit, dial, relay, settle.
//!
//! Start at [`run`]. Bytes move in `relay`, meaning is found in `tap`.
//! Invariant: every way out of `run` goes through `settle`, so no usage is lost and no place stays taken.

use crate::admission::{self, Found};
use crate::authn::{self, Caller};
use crate::config::Refuse;
use crate::dial::Answer;
use crate::error::{Cause, Phase, SessionError, Side};
use crate::head::{NoHead, read_head};
use crate::io::shut_down::ShutdownHandle;
use crate::io::stream::{self, Reader, Writer};
use crate::io::{tcp, tls};
use crate::listener::{Scheme, TLS_ALERT};
use crate::live::Live;
use crate::relay::{self, End};
use crate::shard::Shard;
use crate::tap::Tap;
use crate::{client, dial, upgrade, usage};
use monoio::net::TcpStream;
use monoio::time::{Duration, sleep};
use std::fmt;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::panic::{self, AssertUnwindSafe};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use tokenist_core::close_reason::CloseReason;
use tokenist_core::dialect::Dialect;
use tokenist_core::http::blot::Blot;
use tokenist_core::http::{HeadError, Headers, RequestHead, query, request_head};
use tokenist_core::id::{Model, SessionId};
use tokenist_core::key::ProviderKey;
use tokenist_core::message::{Closed, Opened};
use tokenist_core::meter::{Claims, Meter, Models};
use tokenist_core::metric::{BAD_REQUEST, Metric};
use tokenist_core::time::{Instant, Now};
use tokenist_core::ws::frame::{self, Opcode};
use tokenist_handoff::Report;

/// The one path that is relayed, behind any prefix.
const REALTIME_PATH: &str = "/v1/realtime";
/// A client that was refused this often within ten seconds is told so in HTTP.
const REFUSALS_MAX: u64 = 3;
/// Told to the operator and the metrics where neither side sent a close frame.
const CLOSE_ABNORMAL: u16 = 1006;

/// Runs one connection to its end. A panic ends this session alone.
pub(crate) async fn run(shard: Rc<Shard>, stream: TcpStream, peer: SocketAddr, scheme: Scheme) {
    let Some(live) = shard.open() else {
        return reject(&shard, stream, scheme).await;
    };
    let mut tap = None;
    let outcome = {
        let mut life = pin!(life(&shard, &live, stream, peer, scheme, &mut tap));
        poll_fn(|context| match panic::catch_unwind(AssertUnwindSafe(|| life.as_mut().poll(context))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(outcome)) => Poll::Ready(Some(outcome)),
            Err(_) => Poll::Ready(None),
        })
        .await
    };
    settle(&shard, &live, tap, outcome);
}

async fn life(
    shard: &Rc<Shard>,
    live: &Rc<Live>,
    stream: TcpStream,
    peer: SocketAddr,
    scheme: Scheme,
    tap: &mut Option<Tap>,
) -> Result<(), SessionError> {
    // The phases before relay are boxed, so that a session in relay does not carry their size.
    let Some(admitted) = Box::pin(admit(shard, live, stream, peer, scheme)).await? else { return Ok(()) };
    let asked = Asked::by(&admitted.head);
    let connected = Box::pin(connect(shard, live, admitted, &asked)).await?;
    let Some((downstream, upstream)) = connected else { return Ok(()) };
    let mut meter = Meter::new(
        Dialect::OpenaiRealtime,
        Arc::clone(&shard.config.provider.name),
        asked.models,
        shard.config.estimate,
    );
    if let Some(call) = asked.call {
        live.shares_call.set(true);
        meter.share(Box::new(Claimant { call, session: live.id, shard: Rc::clone(shard) }));
    }
    let tap = tap.insert(Tap::new(
        Rc::clone(shard),
        Rc::clone(live),
        meter,
        Arc::clone(&shard.config.provider.name),
    ));
    relay::relay(shard, live, downstream, upstream, tap).await;
    Ok(())
}

/// What a request asks the provider for, as far as it concerns the meter.
struct Asked {
    models: Models,
    /// The call that it attaches to, and others may have attached to.
    call: Option<Box<str>>,
}

/// A session's claims among all that are attached to a call.
struct Claimant {
    call: Box<str>,
    session: SessionId,
    shard: Rc<Shard>,
}

impl fmt::Debug for Claimant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Claimant({} of {})", self.session, self.call)
    }
}

impl Claims for Claimant {
    fn claim(&self, hash: u64) -> bool {
        self.shard.links.calls.claim(&(&*self.call, hash), self.session, self.shard.clock.now().instant)
    }
}

impl Asked {
    fn by(head: &RequestHead) -> Asked {
        let is_transcription = head.query().any(|found| found.as_str() == "intent=transcription");
        let model = authn::MODEL_PARAMETERS.iter().find_map(|name| parameter(head, name));
        // Who names a model begins a session of its own, whatever else it names.
        let call = head.query().find(|found| found.name() == "call_id").filter(|_| model.is_none());
        Asked {
            call: call
                .and_then(|found| query::decode(found.value()))
                .filter(|call| !call.is_empty())
                .map(Box::from),
            models: match is_transcription {
                true => Models { session: None, transcription: model },
                false => Models { session: model, transcription: None },
            },
        }
    }
}

/// The model that the first parameter of this name states, if it is fit to be one.
fn parameter(head: &RequestHead, wanted: &str) -> Option<Model> {
    let mut values = head.query().filter(|found| found.name() == wanted);
    values.find_map(|found| Model::parse(query::decode(found.value())?.as_bytes()).ok())
}

/// A request that may be dialled.
struct Admittance {
    head: RequestHead,
    websocket_key: String,
    provider_key: ProviderKey,
    end: End,
}

/// Reads the request, finds out who is calling, and judges. `None`: the request was answered.
async fn admit(
    shard: &Rc<Shard>,
    live: &Rc<Live>,
    stream: TcpStream,
    peer: SocketAddr,
    scheme: Scheme,
) -> Result<Option<Admittance>, SessionError> {
    let failed = |error: std::io::Error| SessionError::new(Side::Downstream, Phase::Admit, error);
    let ours = |error: std::io::Error| SessionError::new(Side::Internal, Phase::Admit, error);
    let mut plain = stream::split(stream, &live.downstream).map_err(failed)?;
    let mut early = None;
    live.client.set(Some(peer.ip()));
    if client::announces(&shard.config, peer.ip()) {
        let buffer = shard.pool.take().map_err(ours)?;
        let read = client::read_announcement(&mut plain.0, buffer, live.up.cancel_handle()).await;
        let (announced, buffer, filled) = read.inspect_err(|error| {
            tracing::warn!(peer = %peer.ip(), %error, "connection closed: see proxy.proxy_protocol");
        })?;
        live.client.set(announced.or(live.client.get()));
        early = Some((buffer, filled));
    }
    if scheme == Scheme::Tls {
        let Some(config) = &shard.config.tls else { return Ok(None) };
        let config = Arc::clone(&**config.load());
        plain = tls::accept(plain, early.take(), config, &shard.pool).await.map_err(failed)?;
    }
    let (mut reader, mut writer) = plain;
    if live.surplus {
        shard.counters.add(Metric::SessionsRefused, 1);
        respond(shard, live, reader, writer, http_refusal(shard, &full())).await;
        return Ok(None);
    }
    let (buffer, filled) = match early {
        Some(early) => early,
        None => (shard.pool.take().map_err(ours)?, 0),
    };
    let cancel = live.up.cancel_handle();
    let read = read_head(&mut reader, buffer, filled, cancel, Side::Downstream, Phase::Admit).await;
    let (buffer, filled, end) = match read {
        Ok(read) => read,
        Err((NoHead::Session(error), _)) => return Err(error),
        Err((NoHead::Refused(error), _)) => {
            answer_malformed(shard, live, reader, writer, error).await;
            return Ok(None);
        }
    };
    let read = request_head(&buffer.bytes()[..end]).and_then(|head| {
        let (head, mended) = authn::mended(head, &shard.config.identity);
        authn::refuse_ambiguous(&head).map(|()| (head, mended))
    });
    let (head, mended) = match read {
        Ok(read) => read,
        Err(error) => {
            answer_malformed(shard, live, reader, writer, error).await;
            return Ok(None);
        }
    };
    let client = client::of_request(&shard.config, live.client.get().unwrap_or(peer.ip()), &head);
    live.client.set(Some(client));
    if usage::is_asked(&head) {
        let answer = match mended {
            Ok(()) => usage::answer(shard, &head).await,
            Err(ending) => Err(ending),
        };
        let answer = answer.unwrap_or_else(|ending| http_refusal(shard, &ending));
        respond(shard, live, reader, writer, answer).await;
        return Ok(None);
    }
    if let Some(answer) = answer_http(shard, &head) {
        respond(shard, live, reader, writer, answer).await;
        return Ok(None);
    }
    let websocket_key = match head.websocket_key() {
        Ok(key) => key.to_owned(),
        Err(error) => {
            answer_malformed(shard, live, reader, writer, error).await;
            return Ok(None);
        }
    };
    let judged = match mended.and_then(|()| authn::caller(&head, &shard.config.identity)) {
        Ok(caller) => judge(shard, live, caller, client).await,
        Err(ending) => Err(ending),
    };
    match judged {
        Ok(provider_key) => {
            let (buffer, filled) = dial::rest(buffer, filled, end);
            let end = End { reader, writer, buffer, filled };
            Ok(Some(Admittance { head, websocket_key, provider_key, end }))
        }
        Err(ending) => {
            let refused = Refused { head: &head, websocket_key: &websocket_key, ending: &ending };
            refuse(shard, live, reader, &mut writer, client, refused).await;
            Err(SessionError::new(Side::Downstream, Phase::Admit, ending))
        }
    }
}

/// Finds the caller's accounts and the verdict on them, takes a place for the session, and says which key goes
/// upstream.
async fn judge(
    shard: &Rc<Shard>,
    live: &Live,
    caller: Caller,
    client: IpAddr,
) -> Result<ProviderKey, CloseReason> {
    if shard.is_draining() {
        return Err(CloseReason::Draining);
    }
    let key = caller.key();
    let found = match admission::find(shard, caller).await {
        Ok(found) => found,
        Err(ending) => {
            shard.refused(None, key, client, &ending);
            return Err(ending);
        }
    };
    let identity = Arc::clone(&found.identity);
    let entered = enter(shard, live, found).await;
    if let Err(ending) = &entered {
        shard.refused(Some(&identity), key, client, ending);
    }
    entered
}

/// The verdict on a caller who is known, and a place if it may come in.
async fn enter(shard: &Rc<Shard>, live: &Live, found: Found) -> Result<ProviderKey, CloseReason> {
    let Found { identity, holders, provider_key } = found;
    throttle(shard, live, holders.delay_ms()).await?;
    if let Some(ending) = holders.verdict(shard.clock.now().wall) {
        shard.counters.add(Metric::LimitsReached, 1);
        return Err(ending);
    }
    if let Some(ending) = holders.reject() {
        return Err(ending);
    }
    let max_sessions = holders.user.standing.load().limit.max_sessions;
    if !live.take_place(&holders, max_sessions) {
        return Err(CloseReason::TooManySessions { max_sessions: max_sessions.unwrap_or(u32::MAX) });
    }
    // From here on settle gives the place back.
    let first = live.holders.set(holders).is_ok() && live.identity.set(identity).is_ok();
    assert!(first, "a session is admitted once");
    Ok(provider_key)
}

/// Waits as long as a rule has new sessions of this user wait, or until the process stops.
async fn throttle(shard: &Rc<Shard>, live: &Live, delay_ms: u64) -> Result<(), CloseReason> {
    let until = shard.clock.now().instant.plus_ms(delay_ms.saturating_add(shard.config.head_ms));
    live.deadline.set(live.deadline.get().max(until));
    let mut left = Duration::from_millis(delay_ms);
    while !left.is_zero() && !shard.is_draining() {
        let step = left.min(Duration::from_secs(1));
        sleep(step).await;
        left -= step;
    }
    if shard.is_draining() { Err(CloseReason::Draining) } else { Ok(()) }
}

/// Dials the provider and passes its answer on. `None`: the provider refused, and the client has been told.
async fn connect(
    shard: &Rc<Shard>,
    live: &Rc<Live>,
    admitted: Admittance,
    asked: &Asked,
) -> Result<Option<(End, End)>, SessionError> {
    let Admittance { head, websocket_key, provider_key, end: mut downstream } = admitted;
    live.deadline.set(shard.clock.now().instant.plus_ms(shard.config.dial_ms));
    let provider = &shard.config.provider;
    let request = upgrade::request(&head, provider, &websocket_key, &provider_key, &shard.config.identity);
    let answer = match dial::dial(shard, live, request).await {
        Ok(answer) if answer.head.status < 200 && !upgrade::is_accepted(&answer.head, &websocket_key) => {
            Err(SessionError::new(
                Side::Upstream,
                Phase::Dial,
                Cause::Malformed("its upgrade answer is not valid"),
            ))
        }
        answer => answer,
    };
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            shard.counters.add(Metric::UpstreamFailures, 1);
            live.upstream.disarm();
            let ending = dial::ending(&error);
            if let (Some(identity), Some(client)) = (live.identity.get(), live.client.get()) {
                shard.refused(Some(identity), identity.key, client, &ending);
            }
            live.deadline.set(shard.clock.now().instant.plus_ms(shard.config.close_ms));
            let refused = Refused { head: &head, websocket_key: &websocket_key, ending: &ending };
            say_refusal(shard, live, &mut downstream.writer, refused, false).await;
            linger(shard, live, downstream.reader, downstream.writer).await;
            return Err(error);
        }
    };
    let failed = |error: std::io::Error| SessionError::new(Side::Downstream, Phase::Dial, error);
    let blot = provider.blot();
    if answer.head.status != 101 {
        let passed = hand_on(shard, live, answer, &mut downstream.writer, blot).await;
        live.upstream.disarm();
        passed.map_err(failed)?;
        linger(shard, live, downstream.reader, downstream.writer).await;
        return Ok(None);
    }
    let chosen = answer.head.headers.get("sec-websocket-protocol");
    let subprotocol = upgrade::subprotocol(&head.headers, chosen);
    let switching = upgrade::switching(&websocket_key, subprotocol.as_deref(), &answer.head.headers, &blot);
    // The provider's first event is often here already, and can travel with the answer.
    let more = frame::Header::read(&answer.end.buffer.bytes()[..answer.end.filled]).ok().flatten();
    let answered = match more {
        Some(first) if first.frame_bytes() <= answer.end.filled as u64 => {
            downstream.writer.write_ahead(switching).await
        }
        _ => downstream.writer.write_bytes(switching).await,
    };
    answered.map_err(failed)?;
    begin(shard, live, asked);
    Ok(Some((downstream, answer.end)))
}

/// Hands a provider's refusal on, but neither a redirect, which would lead the client past us, nor the operator's key.
async fn hand_on(
    shard: &Shard,
    live: &Live,
    answer: Answer,
    writer: &mut Writer,
    blot: Blot,
) -> std::io::Result<()> {
    let status = answer.head.status;
    let withheld = |why: String| http_refusal(shard, &CloseReason::UpstreamFailed(why.into()));
    match status {
        300..400 => {
            let why = format!(
                "it answered with a redirect ({status}), which is not followed: see provider.base_url"
            );
            tracing::warn!(session = %live.id, status, "the provider redirects; see provider.base_url");
            writer.write_bytes(withheld(why)).await
        }
        200..300 => {
            let head = upgrade::refusal(&answer.head, &blot);
            dial::pass_refusal(live, answer, writer, head, &Blot::of(None)).await
        }
        _ if !blot.is_empty() && !upgrade::is_legible(&answer.head) => {
            let why = format!("it refused with status {status} and a compressed body, which is withheld");
            let ending = CloseReason::UpstreamFailed(why.into());
            writer.write_bytes(upgrade::answer(status, &ending.http_body(), &[])).await
        }
        _ => {
            let head = upgrade::refusal(&answer.head, &blot);
            dial::pass_refusal(live, answer, writer, head, &blot).await
        }
    }
}

/// The session is in relay: no deadline but its caps, and the operator sees it.
fn begin(shard: &Shard, live: &Live, asked: &Asked) {
    let Now { wall, instant } = shard.clock.now();
    live.deadline.set(Instant::MAX);
    live.active_at.set(instant);
    live.up.heard_at.set(instant);
    live.down.heard_at.set(instant);
    live.relaying.set(true);
    shard.counters.add(Metric::SessionsOpened, 1);
    if let Some(identity) = live.identity.get() {
        shard.report(Report::Opened(Opened {
            session: live.id,
            identity: Arc::clone(identity),
            provider: Arc::clone(&shard.config.provider.name),
            model: asked.models.of_session().cloned(),
            at: wall,
        }));
    }
}

/// Every way out: what was metered is booked, the place is given back, the record is written once.
fn settle(shard: &Shard, live: &Live, tap: Option<Tap>, outcome: Option<Result<(), SessionError>>) {
    if let Some(mut tap) = tap {
        tap.settle(shard.clock.now());
    }
    shard.forget(live);
    live.leave_place();
    if live.relaying.get() {
        let close_code = live.close_code.get().unwrap_or(CLOSE_ABNORMAL);
        shard.counters.add(Metric::SessionsClosed, 1);
        shard.report(Report::Closed(Closed { session: live.id, at: shard.clock.now().wall, close_code }));
        tracing::debug!(session = %live.id, close_code, reason = live.ending().map(|ending| ending.message()), "session closed");
    }
    let user = || live.identity.get().map(|identity| identity.user.to_string()).unwrap_or_default();
    let client = live.client.get().map(tracing::field::display);
    match outcome {
        Some(Ok(())) => {}
        Some(Err(error)) if error.side == Side::Downstream => {
            tracing::debug!(session = %live.id, client, %error, "session failed")
        }
        Some(Err(error)) => {
            tracing::warn!(session = %live.id, user = user(), client, %error, "session failed")
        }
        None => {
            shard.counters.add(Metric::SessionsPanicked, 1);
            tracing::error!(session = %live.id, user = user(), "a session panicked; the others go on");
        }
    }
}

/// What a client is to be told.
struct Refused<'a> {
    head: &'a RequestHead,
    websocket_key: &'a str,
    ending: &'a CloseReason,
}

/// Refuses an upgrade and counts the refusal against the user and credential that it names, which may be one of many
/// behind an address; against the address where it names neither.
async fn refuse(
    shard: &Shard,
    live: &Live,
    reader: Reader,
    writer: &mut Writer,
    client: IpAddr,
    refused: Refused<'_>,
) {
    shard.counters.refuse(refused.ending.code());
    live.deadline.set(shard.clock.now().instant.plus_ms(shard.config.close_ms));
    let now = shard.clock.now().instant;
    let count = match authn::mark(refused.head, &shard.config.identity) {
        Some(mark) => shard.links.refusals.note(&mark, now),
        None => shard.links.refusals.note(&client, now),
    };
    say_refusal(shard, live, writer, refused, count > REFUSALS_MAX).await;
    finish_and_drain(shard, live, reader, writer).await;
}

/// In WebSocket terms, or in HTTP for those who are set to it or storm.
async fn say_refusal(shard: &Shard, live: &Live, writer: &mut Writer, refused: Refused<'_>, storming: bool) {
    let Refused { head, websocket_key, ending } = refused;
    let in_http = match shard.config.refuse {
        Refuse::Close => false,
        Refuse::Http => true,
        Refuse::Auto => storming,
    };
    let wire = if in_http {
        http_refusal(shard, ending)
    } else {
        live.close_code.set(Some(ending.close_code()));
        let subprotocol = upgrade::subprotocol(&head.headers, None);
        let mut wire =
            upgrade::switching(websocket_key, subprotocol.as_deref(), &Headers::default(), &Blot::of(None));
        wire.extend(frame::write(Opcode::Text, ending.error_event(&live.event_id()).as_bytes(), None));
        wire.extend(frame::write_close(ending.close_code(), &ending.message(), None));
        wire
    };
    if let Err(error) = writer.write_bytes(wire).await {
        tracing::trace!(session = %live.id, %error, "a refusal could not be told");
    }
}

pub(crate) fn http_refusal(shard: &Shard, ending: &CloseReason) -> Vec<u8> {
    let mut extra = Vec::new();
    match ending.retry_after_seconds(shard.clock.now().wall) {
        Some(seconds) => extra.push(("Retry-After", seconds.to_string())),
        None => extra.push(("x-should-retry", "false".to_owned())),
    }
    upgrade::answer(ending.http_status(), &ending.http_body(), &extra)
}

/// Answers what is not an upgrade of the one path that is relayed.
fn answer_http(shard: &Shard, head: &RequestHead) -> Option<Vec<u8>> {
    let path = head.path();
    let error = |status, kind: &str, code: &str, message: String| {
        let error =
            serde_json::json!({"error": {"type": kind, "code": code, "message": message, "param": null}});
        Some(upgrade::answer(status, &error.to_string(), &[("x-should-retry", "false".to_owned())]))
    };
    match path.trim_end_matches('/') {
        "/health" | "/ready" if shard.is_draining() => {
            Some(upgrade::answer(503, r#"{"status":"draining"}"#, &[]))
        }
        "/health" | "/ready" => Some(upgrade::answer(200, r#"{"status":"ok"}"#, &[])),
        path if !path.ends_with(REALTIME_PATH) => {
            let message = format!(
                "Unknown path {path:?}: tokenist relays WebSocket upgrades of GET …{REALTIME_PATH}, and tells a key's use at GET …/v1/usage/me"
            );
            error(404, "invalid_request_error", "unknown_path", message)
        }
        _ if !head.wants_websocket() => {
            let message = format!("{REALTIME_PATH} is a WebSocket endpoint: send an upgrade request");
            error(400, "invalid_request_error", "upgrade_required", message)
        }
        _ => None,
    }
}

async fn answer_malformed(shard: &Shard, live: &Live, reader: Reader, writer: Writer, error: HeadError) {
    shard.counters.refuse(BAD_REQUEST);
    let object = serde_json::json!({"error": {
        "type": "invalid_request_error", "code": "bad_request", "message": error.to_string(), "param": null}});
    let answer =
        upgrade::answer(error.http_status(), &object.to_string(), &[("x-should-retry", "false".to_owned())]);
    respond(shard, live, reader, writer, answer).await;
}

async fn respond(shard: &Shard, live: &Live, reader: Reader, mut writer: Writer, answer: Vec<u8>) {
    live.deadline.set(shard.clock.now().instant.plus_ms(shard.config.close_ms));
    if let Err(error) = writer.write_bytes(answer).await {
        tracing::trace!(session = %live.id, %error, "an answer could not be told");
    }
    linger(shard, live, reader, writer).await;
}

async fn linger(shard: &Shard, live: &Live, reader: Reader, mut writer: Writer) {
    finish_and_drain(shard, live, reader, &mut writer).await;
}

/// Tells the peer that this is all, and throws away what it still sends: closing with bytes unread would reset the
/// connection, and the peer might never read the answer. The session's deadline ends the wait.
async fn finish_and_drain(shard: &Shard, live: &Live, mut reader: Reader, writer: &mut Writer) {
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

fn full() -> CloseReason {
    CloseReason::Overloaded("this shard holds as many sessions as it may".into())
}

/// The shard is full, and so is the room for those that it refuses. Nothing is waited for.
async fn reject(shard: &Shard, stream: TcpStream, scheme: Scheme) {
    shard.counters.refuse(full().code());
    tcp::discard(&stream);
    let handle = ShutdownHandle::default();
    let Ok((_reader, mut writer)) = stream::split(stream, &handle) else { return };
    let words = match scheme {
        Scheme::Plain => http_refusal(shard, &full()),
        Scheme::Tls => TLS_ALERT.to_vec(),
    };
    if let Err(error) = writer.write_bytes(words).await {
        tracing::trace!(%error, "a client that was turned away is gone");
    }
    writer.finish().await;
    handle.disarm();
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenist_core::http::request_head;

    #[test]
    fn the_url_says_which_model_is_asked_for() {
        for (target, session, transcription) in [
            ("/v1/realtime?model=gpt-realtime", Some("gpt-realtime"), None),
            ("/v1/realtime?a=b&model=org%2Fa+model", Some("org/a model"), None),
            ("/openai/realtime?api-version=1&deployment=mine", Some("mine"), None),
            ("/v1/realtime?deployment=mine&model=gpt-realtime", Some("gpt-realtime"), None),
            ("/v1/realtime?intent=transcription&model=whisper-1", None, Some("whisper-1")),
            ("/v1/realtime?model=&model=second", Some("second"), None),
            ("/v1/realtime?model=%0d%0aX", None, None),
            ("/v1/realtime?model=%ff", None, None),
            ("/v1/realtime?models=m", None, None),
            ("/v1/realtime", None, None),
        ] {
            let head = request_head(format!("GET {target} HTTP/1.1\r\n\r\n").as_bytes()).unwrap();
            let Models { session: asked, transcription: transcribes } = Asked::by(&head).models;
            let asked = (asked, transcribes);
            assert_eq!(asked, (session.map(Model::from), transcription.map(Model::from)), "{target}");
        }
    }

    #[test]
    fn a_session_is_attached_to_a_call_that_it_names_alone() {
        for (target, call) in [
            ("/v1/realtime?call_id=rtc%5F1", Some("rtc_1")),
            ("/v1/realtime?call_id=", None),
            ("/v1/realtime?call_id=rtc_1&model=m", None),
            ("/v1/realtime?model=m", None),
        ] {
            let head = request_head(format!("GET {target} HTTP/1.1\r\n\r\n").as_bytes()).unwrap();
            assert_eq!(Asked::by(&head).call.as_deref(), call, "{target}");
        }
    }
}
