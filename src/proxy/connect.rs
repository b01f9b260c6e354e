//! From an admitted request to two connected ends: the dial, with one key or another, and the provider's answer.
//!
//! Start at [`connect`].

use crate::admit::Admitted;
use crate::asked::Asked;
use crate::config::Provider;
use crate::dial::{self, Answer};
use crate::error::{Cause, Phase, SessionError, Side};
use crate::io::stream::{End, Ends, Writer};
use crate::keys::is_about_key;
use crate::live::Live;
use crate::refuse::{self, Refused};
use crate::shard::Shard;
use crate::stages;
use crate::upgrade;
use std::rc::Rc;
use std::sync::Arc;
use tokenist_core::close_reason::CloseReason;
use tokenist_core::dialect;
use tokenist_core::http::blot::Blot;
use tokenist_core::message::Transport;
use tokenist_core::metric::Metric;
use tokenist_core::ws::frame::{self, Opcode};

/// A session whose ends are both there.
pub(crate) struct Connected {
    /// What was asked for, with its query.
    pub(crate) target: String,
    pub(crate) asked: Asked,
    pub(crate) provider: Arc<Provider>,
    /// What the provider was told before all else: the client's first event, if it was read before the dial, or the
    /// settings of its token.
    pub(crate) opening: Option<Vec<u8>>,
    pub(crate) ends: Ends,
}

/// Dials the provider and passes its answer on. `None`: the provider refused, and the client has been told.
pub(crate) async fn connect(
    shard: &Rc<Shard>,
    live: &Rc<Live>,
    mut admitted: Admitted,
) -> Result<Option<Box<Connected>>, SessionError> {
    live.deadline.set(shard.time().instant.plus_ms(shard.config.dial_ms));
    let answer = match dial_with_keys(shard, live, &admitted).await {
        Ok(answer) => answer,
        Err(error) => {
            shard.counters.add(Metric::UpstreamFailures, 1);
            fail(shard, live, admitted, &error.close_reason()).await;
            return Err(error);
        }
    };
    if answer.head.status != 101 {
        return pass_refusal(shard, live, admitted, answer).await.map(|()| None);
    }
    let failed = |error: std::io::Error| SessionError::new(Side::Downstream, Phase::Dial, error);
    let mut upstream = answer.end;
    let opening = match admitted.opening.take() {
        Some(opening) => {
            let sent = upstream.writer.write_bytes(opening.wire).await;
            sent.map_err(|error| SessionError::new(Side::Upstream, Phase::Dial, error))?;
            shard.counters.add(Metric::MessagesUpstream, 1);
            Some(opening.event)
        }
        None => {
            switch(shard, live, &mut admitted, &answer.head, &upstream).await.map_err(failed)?;
            let prelude = live.token.get().and_then(|token| token.prelude());
            if let Some(event) = &prelude {
                let words = frame::write(Opcode::Text, event.as_bytes(), Some(live.mask_key()));
                let sent = upstream.writer.write_bytes(words).await;
                sent.map_err(|error| SessionError::new(Side::Upstream, Phase::Dial, error))?;
            }
            prelude.map(String::into_bytes)
        }
    };
    let Admitted { head, asked, provider, end: downstream, .. } = admitted;
    stages::begin(shard, live, &asked, &provider, Transport::WebSocket);
    let ends = Ends { downstream, upstream };
    Ok(Some(Box::new(Connected { target: head.target, asked, provider, opening, ends })))
}

/// Dials with the caller's key, or with the operator's in turn until one is taken.
async fn dial_with_keys(shard: &Shard, live: &Live, admitted: &Admitted) -> Result<Answer, SessionError> {
    let Admitted { head, websocket_key, route, provider, own_key, .. } = admitted;
    let chosen = live.provider.get().unwrap_or_default();
    let (ring, (dialect, path)) = (&shard.key_rings[chosen], route.at(chosen));
    let path = live.token.get().map_or(path, |token| token.path(path));
    let path = dialect.path_of_session(path, live.id().0);
    let mut left = provider.keys.len();
    loop {
        let index = if own_key.is_some() { None } else { ring.take(shard.time().instant) };
        let operators = index.map(|index| &provider.keys[index]);
        let key = own_key.as_ref().or(operators).expect("a session is admitted with a key or for one");
        live.operators_key.set(index);
        let request = upgrade::request(head, &path, provider, websocket_key, key, &shard.config.identity);
        let answer = dial::dial(shard, live, provider, request).await?;
        match index {
            Some(index) if is_about_key(answer.head.status) => {
                ring.rest(index, shard.time().instant);
                left -= 1;
                if left == 0 {
                    return Ok(answer);
                }
                live.upstream.disarm();
            }
            _ if answer.head.status < 200 && !upgrade::is_accepted(&answer.head, websocket_key) => {
                let cause = Cause::Malformed("its upgrade answer is not valid");
                return Err(SessionError::new(Side::Upstream, Phase::Dial, cause));
            }
            _ => return Ok(answer),
        }
    }
}

/// Tells the client that there will be no session, and why.
async fn fail(shard: &Shard, live: &Live, admitted: Admitted, reason: &CloseReason) {
    live.upstream.disarm();
    if let (Some(identity), Some(client)) = (live.identity.get(), live.client.get()) {
        shard.refused(Some(identity), identity.key, client, reason);
    }
    live.deadline.set(shard.time().instant.plus_ms(shard.config.close_ms));
    let Admitted { head, websocket_key, opening, end, .. } = admitted;
    let websocket_key = opening.is_none().then_some(&*websocket_key);
    let End { reader, mut writer, .. } = end;
    refuse::say(shard, live, &mut writer, Refused { head: &head, websocket_key, reason }, false).await;
    refuse::finish(shard, live, reader, writer).await;
}

/// Completes the client's upgrade as the provider has completed ours.
async fn switch(
    shard: &Shard,
    live: &Live,
    admitted: &mut Admitted,
    answer: &tokenist_core::http::ResponseHead,
    upstream: &End,
) -> std::io::Result<()> {
    let Admitted { head, websocket_key, end, .. } = admitted;
    let chosen = answer.headers.get("sec-websocket-protocol");
    let subprotocol = upgrade::subprotocol(&head.headers, chosen);
    let words = upgrade::switching(websocket_key, subprotocol.as_deref(), &answer.headers, shard.blot(live));
    // The provider's first event is often here already, and can travel with the answer.
    let more = frame::Header::read(&upstream.buffer.bytes()[..upstream.filled]).ok().flatten();
    match more {
        Some(first) if first.frame_bytes() <= upstream.filled as u64 => end.writer.write_ahead(words).await,
        _ => end.writer.write_bytes(words).await,
    }
}

/// A provider's refusal, to a client whose upgrade may be answered already.
async fn pass_refusal(
    shard: &Shard,
    live: &Live,
    mut admitted: Admitted,
    answer: Answer,
) -> Result<(), SessionError> {
    let failed = |error: std::io::Error| SessionError::new(Side::Downstream, Phase::Dial, error);
    if admitted.opening.is_some() {
        let reason = refusal(answer.head.status);
        fail(shard, live, admitted, &reason).await;
        return Ok(());
    }
    let passed = hand_on(shard, live, answer, &mut admitted.end.writer, shard.blot(live)).await;
    live.upstream.disarm();
    passed.map_err(failed)?;
    refuse::finish(shard, live, admitted.end.reader, admitted.end.writer).await;
    Ok(())
}

/// A provider's refusal in HTTP as a reason of ours: a key that it does not take is final.
fn refusal(status: u16) -> CloseReason {
    match status {
        401 | 403 => {
            CloseReason::Unauthorized(format!("the provider refused the key (status {status})").into())
        }
        _ => CloseReason::UpstreamFailed(format!("it refused the session with status {status}").into()),
    }
}

/// Hands a provider's refusal on, but neither a redirect, which would lead the client past us, nor the operator's key.
async fn hand_on(
    shard: &Shard,
    live: &Live,
    answer: Answer,
    writer: &mut Writer,
    blot: &Blot,
) -> std::io::Result<()> {
    let status = answer.head.status;
    let withheld = |why: String| refuse::in_http_words(shard, &CloseReason::UpstreamFailed(why.into()));
    match status {
        300..400 => {
            let why = format!(
                "it answered with a redirect ({status}), which is not followed: see provider.base_url"
            );
            tracing::warn!(session = %live.id(), status, "the provider redirects; see provider.base_url");
            writer.write_bytes(withheld(why)).await
        }
        200..300 => {
            let head = upgrade::refusal(&answer.head, blot);
            dial::pass_refusal(live, answer, writer, head, &Blot::of(None)).await
        }
        _ if !blot.is_empty() && !upgrade::is_legible(&answer.head) => {
            let why = format!("it refused with status {status} and a compressed body, which is withheld");
            let ending = CloseReason::UpstreamFailed(why.into());
            writer.write_bytes(upgrade::answer(status, &dialect::http_body(&ending), &[])).await
        }
        _ => {
            let head = upgrade::refusal(&answer.head, blot);
            dial::pass_refusal(live, answer, writer, head, blot).await
        }
    }
}
