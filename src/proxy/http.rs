//! A request with its answer, beside a session: judged, sent up, answered, and both connections after it.
//!
//! Start at [`exchange`]. The content of either body passes through one buffer (`source`, `outlet`); what is known before a
//! provider is asked stands in an [`Exchange`]. Invariants: nothing goes upstream before the verdict; a request of which a
//! byte of an answer was seen is never sent twice; a connection goes on only if both sides agree where its message ended.

mod answer;
mod dial;
pub(crate) mod keep;
mod outlet;
mod refusal;
mod source;
mod upload;
mod words;

use crate::admit::Asking;
use crate::arrival::{Arrival, Kept, Origin};
use crate::config::Provider;
use crate::error::{Phase, SessionError, Side};
use crate::io::shut_down::ShutdownHandle;
use crate::io::stream::Writer;
use crate::live::Live;
use crate::local::Destination;
use crate::refuse;
use crate::request::Request;
use crate::shard::Shard;
use answer::Answered;
use source::Source;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use tokenist_core::close_reason::CloseReason;
use tokenist_core::http::body::Framing;
use tokenist_core::http::{RequestHead, Version};
use tokenist_core::key::ProviderKey;
use upload::Held;

/// What is known of a request.
struct Exchange<'a> {
    shard: &'a Rc<Shard>,
    live: &'a Rc<Live>,
    head: &'a RequestHead,
    provider: Arc<Provider>,
    path: String,
    /// The caller's own; else one of the operator's goes upstream.
    own_key: Option<ProviderKey>,
    /// All of its body has gone up.
    is_sent: Cell<bool>,
    /// Nothing more of its body is wanted.
    is_over: Cell<bool>,
    /// The client was told that its connection goes on.
    keeps: Cell<bool>,
    /// What is wrong with its body.
    fault: Cell<Option<&'static str>>,
}

/// The client's end of an exchange.
struct Client {
    source: Source,
    writer: Writer,
    origin: Origin,
}

/// Serves one request. The connection, if it goes on.
pub(crate) async fn exchange(
    shard: &Rc<Shard>,
    live: &Rc<Live>,
    asking: Asking,
) -> Result<Option<Box<Arrival>>, SessionError> {
    let Asking { request, destination, verdict } = asking;
    let Request { head, reader, writer, buffer, filled, origin, .. } = request;
    let framing = match Framing::of_request(&head) {
        Ok(framing) => framing,
        Err(error) => {
            refuse::answer_malformed(shard, live, reader, writer, error).await;
            return Ok(None);
        }
    };
    let ahead = Some((buffer, filled)).filter(|_| filled > 0);
    let mut client = Client { source: Source::new(reader, ahead, framing), writer, origin };
    let Destination { provider, path } = destination;
    let own_key = verdict.and_then(|own_key| may_ask(shard, live, provider, own_key));
    let own_key = match own_key {
        Ok(own_key) => own_key,
        Err(reason) => return refuse_request(shard, live, &head, client, &reason).await,
    };
    begin(shard, live, provider);
    let exchange = Exchange {
        shard,
        live,
        head: &head,
        provider: Arc::clone(&shard.config.providers[provider]),
        path,
        own_key,
        is_sent: Cell::new(false),
        is_over: Cell::new(false),
        keeps: Cell::new(false),
        fault: Cell::new(None),
    };
    let held = match exchange.hold(&mut client, framing).await {
        Ok(held) => held,
        Err(refused) => return exchange.turn_down(client, refused).await,
    };
    let answered = exchange.ask(&mut client, &held).await;
    exchange.finish(client, answered).await
}

/// Whether the provider can be asked: with the caller's key or with one of the operator's.
fn may_ask(
    shard: &Shard,
    live: &Live,
    provider: usize,
    own_key: Option<ProviderKey>,
) -> Result<Option<ProviderKey>, CloseReason> {
    live.provider.set(Some(provider));
    match own_key.is_some() || !shard.config.providers[provider].keys.is_empty() {
        true => Ok(own_key),
        false => Err(CloseReason::Unauthorized("this proxy holds no provider key for tokenist keys".into())),
    }
}

/// From now on it is swept, can be ended, and is seen if it lasts.
fn begin(shard: &Shard, live: &Live, provider: usize) {
    let now = shard.time().instant;
    live.provider.set(Some(provider));
    live.relaying.set(true);
    live.under_way.set(true);
    live.active_at.set(now);
}

/// Says no before anything was asked.
async fn refuse_request(
    shard: &Rc<Shard>,
    live: &Rc<Live>,
    head: &RequestHead,
    mut client: Client,
    reason: &CloseReason,
) -> Result<Option<Box<Arrival>>, SessionError> {
    shard.counters.refuse(reason.code());
    let keeps = may_keep(shard, head) && client.source.is_here();
    let words = refusal::words(shard, reason, keeps);
    say(shard, live, &mut client, words).await?;
    Ok(close_or_keep(shard, live, client, keeps).await)
}

/// Whether the connection may go on after this request, if its messages end where they should.
fn may_keep(shard: &Shard, head: &RequestHead) -> bool {
    head.keeps_alive() && head.version == Version::Http11 && !shard.is_draining()
}

async fn say(shard: &Shard, live: &Live, client: &mut Client, words: Vec<u8>) -> Result<(), SessionError> {
    live.deadline.set(shard.time().instant.plus_ms(shard.config.close_ms));
    let said = client.writer.write_bytes(words).await;
    said.map_err(|error| SessionError::new(Side::Downstream, Phase::Relay, error))
}

/// The connection, if it goes on; else it is ended so that the client can read all that it was told.
async fn close_or_keep(
    shard: &Rc<Shard>,
    live: &Rc<Live>,
    client: Client,
    keeps: bool,
) -> Option<Box<Arrival>> {
    let Client { source, writer, origin } = client;
    let (reader, ahead) = source.into_parts();
    if !keeps {
        live.deadline.set(shard.time().instant.plus_ms(shard.config.close_ms));
        refuse::finish(shard, live, reader, writer).await;
        return None;
    }
    let handle = ShutdownHandle::default();
    handle.take_over(&live.downstream);
    Some(Box::new(Arrival::Kept(Kept { reader, writer, ahead, origin, handle })))
}

impl Exchange<'_> {
    /// Asks the provider and passes its answer on.
    async fn ask(&self, client: &mut Client, held: &Held) -> Answered {
        match held.is_whole {
            true => self.ask_with_all(client, held).await,
            false => self.ask_while_it_comes(client, held).await,
        }
    }

    /// Whether the exchange has to end now.
    fn must_end(&self) -> bool {
        self.live.is_ending() || self.live.gone.get() || self.fault.get().is_some()
    }

    /// The answer has passed, or there is none: both connections' ends.
    async fn finish(&self, client: Client, answered: Answered) -> Result<Option<Box<Arrival>>, SessionError> {
        let (shard, live) = (self.shard, self.live);
        live.under_way.set(false);
        if live.gone.get() {
            tracing::debug!(request = %live.id(), "the client is gone");
            return Ok(None);
        }
        match answered {
            Answered::Whole => Ok(close_or_keep(shard, live, client, self.keeps.get()).await),
            Answered::Closed => Ok(close_or_keep(shard, live, client, false).await),
            // What was promised does not come, and only an end that is none tells the client.
            Answered::Cut => {
                live.downstream.shut_down();
                Ok(None)
            }
            Answered::Nothing(failed) => self.turn_down(client, failed).await,
        }
    }

    /// Tells the client why there is no answer.
    async fn turn_down(
        &self,
        mut client: Client,
        failed: Failed,
    ) -> Result<Option<Box<Arrival>>, SessionError> {
        let (shard, live) = (self.shard, self.live);
        let words = match &failed {
            Failed::Gone => return Ok(None),
            Failed::Malformed(what) => refusal::malformed(shard, what),
            Failed::Ended(reason) | Failed::Upstream(reason) => {
                shard.counters.refuse(reason.code());
                if let (Some(identity), Some(from)) = (live.identity.get(), live.client.get()) {
                    shard.refused(Some(identity), identity.key, from, reason);
                }
                refusal::words(shard, reason, false)
            }
        };
        say(shard, live, &mut client, words).await?;
        close_or_keep(shard, live, client, false).await;
        match failed {
            Failed::Upstream(reason) => Err(SessionError::new(Side::Upstream, Phase::Relay, reason)),
            _ => Ok(None),
        }
    }
}

/// Why a request has no answer of the provider.
enum Failed {
    /// The client is gone.
    Gone,
    /// Its body is malformed.
    Malformed(&'static str),
    /// We ended it.
    Ended(CloseReason),
    Upstream(CloseReason),
}
