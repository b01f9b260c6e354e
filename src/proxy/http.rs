//! A request with its answer, beside a session: judged, sent up, answered, and both connections after it.
//!
//! Start at [`exchange`]. The content of either body passes through one buffer (`source`, `outlet`); what is known before a
//! provider is asked stands in an [`Exchange`]. Invariants: nothing goes upstream before the verdict; a request of which a
//! byte of an answer was seen is never sent twice; a connection goes on only if both sides agree where its message ended.

mod answer;
mod call;
mod dial;
pub(crate) mod keep;
mod metered;
mod mint;
mod outlet;
mod plan;
mod refusal;
mod source;
mod upload;
mod words;

use crate::admit::Asking;
use crate::arrival::{Arrival, Kept, Origin};
use crate::config::Provider;
use crate::cors;
use crate::error::{Phase, SessionError, Side};
use crate::io::shut_down::ShutdownHandle;
use crate::io::stream::Writer;
use crate::live::Live;
use crate::local::Destination;
use crate::refuse;
use crate::request::Request;
use crate::shard::Shard;
use crate::tap::Tap;
use answer::Answered;
use call::Making;
use metered::Metering;
use plan::Plan;
use source::Source;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use tokenist_core::api::{Api, Reach};
use tokenist_core::close_reason::CloseReason;
use tokenist_core::http::body::Framing;
use tokenist_core::http::write::HeaderValue;
use tokenist_core::http::{RequestHead, Version};
use tokenist_core::key::ProviderKey;
use upload::{Held, Says};

/// As a WebSocket's close says it (RFC 6455 §7.4.1): a request's record has the same codes as a session's.
const CLOSE_NORMAL: u16 = 1000;

/// What is known of a request.
struct Exchange<'a> {
    shard: &'a Rc<Shard>,
    live: &'a Rc<Live>,
    head: &'a RequestHead,
    provider: Arc<Provider>,
    path: &'a str,
    /// The caller's own; else one of the operator's goes upstream.
    own_key: Option<ProviderKey>,
    /// How long the provider may take to go on with its answer.
    patience_ms: u64,
    /// In which codings its answer is wanted, if that is metered.
    codings: Option<HeaderValue>,
    /// In what the rest of its body is read.
    says: RefCell<Says<'a>>,
    /// The call that the answer begins, until it comes.
    making: Cell<Option<Making<'a>>>,
    /// How the answer is metered, until it comes.
    metering: Cell<Option<Metering<'a>>>,
    /// The provider may have begun with it.
    is_asked: Cell<bool>,
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

/// Serves one request. The connection, if it goes on. What is rare is boxed, here and further down, so that a request carries no
/// more than it needs.
pub(crate) async fn exchange(
    shard: &Rc<Shard>,
    live: &Rc<Live>,
    tap: &mut Option<Tap>,
    asking: Box<Asking>,
) -> Result<Option<Box<Arrival>>, SessionError> {
    let Asking { request, destination, verdict } = *asking;
    let Request { mut head, reader, writer, buffer, filled, origin, .. } = request;
    let framing = match Framing::of_request(&head) {
        Ok(framing) => framing,
        Err(error) => {
            Box::pin(refuse::answer_malformed(shard, live, reader, writer, error)).await;
            return Ok(None);
        }
    };
    let ahead = Some((buffer, filled)).filter(|_| filled > 0);
    let mut client = Client { source: Source::new(reader, ahead, framing), writer, origin };
    if let (Destination::Mint(form), Ok(own_key)) = (&destination, &verdict) {
        return Box::pin(mint::answer(shard, live, &head, client, *form, own_key.clone())).await;
    }
    let planned = match (verdict, &destination) {
        (Ok(own_key), Destination::Call(calling)) => {
            Box::pin(call::plan(shard, live, &mut head, &mut client, calling, own_key)).await
        }
        (Ok(own_key), destination) => {
            let planned = plan::plan(shard, live, &head, &mut client, framing, destination, own_key).await;
            planned.map(|plan| (plan, None))
        }
        (Err(reason), _) => Err(Failed::Refused(reason)),
    };
    let (Plan { own_key, path, held, says, reading }, making) = match planned {
        Ok(planned) => planned,
        Err(failed) => {
            return Box::pin(turn_down(shard, live, &head, client, destination.api(), failed)).await;
        }
    };
    let provider = Arc::clone(&shard.config.providers[live.provider.get().unwrap_or_default()]);
    let codings = reading.as_ref().map(|reading| words::codings(&head, reading.must_be_plain()));
    // What names a call has to be read.
    let codings = codings.or(making.as_ref().map(|_| HeaderValue::literal("identity")));
    let metering = reading.map(|reading| {
        let made = metered::tap(shard, live, &reading, Arc::clone(&provider));
        Metering { reading, tap: tap.insert(made) }
    });
    let exchange = Exchange {
        shard,
        live,
        head: &head,
        provider,
        path: &path,
        own_key,
        patience_ms: match destination {
            // Somebody is on the line.
            Destination::Call(_) => shard.config.dial_ms,
            _ => shard.config.answer_ms,
        },
        codings,
        says: RefCell::new(says),
        making: Cell::new(making),
        metering: Cell::new(metering),
        is_asked: Cell::new(false),
        is_sent: Cell::new(held.is_whole),
        is_over: Cell::new(false),
        keeps: Cell::new(false),
        fault: Cell::new(None),
    };
    let answered = exchange.ask(&mut client, &held).await;
    live.under_way.set(false);
    match exchange.outcome(answered) {
        Ok(keeps) => Ok(close_or_keep(shard, live, client, keeps).await),
        Err(failed) => Box::pin(turn_down(shard, live, &head, client, destination.api(), failed)).await,
    }
}

/// Whether the connection may go on after this request, if its messages end where they should.
fn may_keep(shard: &Shard, head: &RequestHead) -> bool {
    head.keeps_alive() && head.version == Version::Http11 && !shard.is_draining()
}

/// Tells the client why there is no answer.
async fn turn_down(
    shard: &Rc<Shard>,
    live: &Rc<Live>,
    head: &RequestHead,
    mut client: Client,
    api: Option<&'static dyn Api>,
    failed: Failed,
) -> Result<Option<Box<Arrival>>, SessionError> {
    let keeps = matches!(failed, Failed::Refused(_) | Failed::Told(..))
        && may_keep(shard, head)
        && client.source.is_here();
    let words = match &failed {
        Failed::Gone => return Ok(None),
        Failed::Malformed(what) => {
            refusal::bad_request(shard, &format!("The request's body is malformed: {what}"))
        }
        Failed::Unmeterable(what) => {
            refusal::bad_request(shard, &format!("The request cannot be metered: {what}"))
        }
        Failed::Told(status, body) => refusal::told(shard, *status, body, keeps),
        Failed::Refused(reason) | Failed::Ended(reason) | Failed::Upstream(reason) => {
            shard.counters.refuse(reason.code());
            live.close_code.set(Some(reason.close_code()));
            refusal::words(shard, api, reason, keeps)
        }
    };
    live.deadline.set(shard.time().instant.plus_ms(shard.config.close_ms));
    let said = client.writer.write_bytes(cors::tell(live, words)).await;
    said.map_err(|error| SessionError::new(Side::Downstream, Phase::Relay, error))?;
    let next = close_or_keep(shard, live, client, keeps).await;
    match failed {
        Failed::Upstream(reason) => Err(SessionError::new(Side::Upstream, Phase::Relay, reason)),
        _ => Ok(next),
    }
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
        Box::pin(refuse::finish(shard, live, reader, writer)).await;
        return None;
    }
    let handle = ShutdownHandle::default();
    handle.take_over(&live.downstream);
    Some(Box::new(Arrival::Kept(Kept { reader, writer, ahead, origin, handle })))
}

impl Exchange<'_> {
    /// Asks the provider and passes its answer on.
    async fn ask(&self, client: &mut Client, held: &Held) -> Answered {
        match held.is_whole && held.content.len() <= dial::PIECE_BYTES {
            true => self.ask_with_all(client, held).await,
            false => Box::pin(self.ask_while_it_goes(client, held)).await,
        }
    }

    /// Whether the exchange has to end now.
    fn must_end(&self) -> bool {
        self.live.is_ending() || self.live.gone.get() || self.fault.get().is_some()
    }

    /// What is left to do with the client: whether its connection goes on, or what it is to be told.
    fn outcome(&self, answered: Answered) -> Result<bool, Failed> {
        self.charge_unanswered(&answered);
        if self.live.gone.get() {
            tracing::debug!(request = %self.live.id(), "the client is gone");
            return Err(Failed::Gone);
        }
        if matches!(answered, Answered::Whole | Answered::Closed) && self.live.close_code.get().is_none() {
            self.live.close_code.set(Some(CLOSE_NORMAL));
        }
        match answered {
            Answered::Whole => Ok(self.keeps.get()),
            Answered::Closed => Ok(false),
            // What was promised does not come, and only an end that is none tells the client.
            Answered::Cut => {
                self.live.downstream.shut_down();
                Err(Failed::Gone)
            }
            Answered::Nothing(failed) => Err(failed),
        }
    }

    /// A provider that was asked all of it and not heard has read that all the same, unless it is what failed.
    fn charge_unanswered(&self, answered: &Answered) {
        let is_left = matches!(answered, Answered::Nothing(Failed::Gone | Failed::Ended(_)));
        if is_left && self.is_asked.get() && self.is_sent.get() {
            self.charge_unread();
        }
    }

    /// Of the answer nothing will be read.
    fn charge_unread(&self) {
        // What is only asked for again was counted where it was asked for.
        let anew = |metering: &Metering<'_>| metering.reading.endpoint.reach() == Reach::Anew;
        if let Some(metering) = self.metering.take().filter(anew) {
            self.shard.note_read();
            metering.tap.left_unanswered();
        }
    }
}

/// Why a request has no answer of the provider.
enum Failed {
    /// The client is gone, or nothing can be told.
    Gone,
    /// Its body is malformed.
    Malformed(&'static str),
    /// It asks for an answer in which nobody could read what it uses.
    Unmeterable(&'static str),
    /// Nothing was asked of a provider.
    Refused(CloseReason),
    /// Likewise; the status and the body of the answer.
    Told(u16, String),
    /// We ended it.
    Ended(CloseReason),
    Upstream(CloseReason),
}
