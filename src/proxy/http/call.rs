//! Signalling: requests that begin a call, and those that steer one. What a call is from its answer on stands in `call`.
//!
//! Start at [`plan()`], then [`Exchange::begin_call`]. Invariant: an answer that begins a call goes down only once the call is a
//! session here, which meters it and can end it.

use super::answer::Answered;
use super::plan::{self, Plan};
use super::source::{Lost, Source};
use super::upload::{self, Held, Says};
use super::words::{self, Length};
use super::{Client, Exchange, Failed, may_keep, refusal};
use crate::admission;
use crate::admit;
use crate::asked::Asked;
use crate::browser;
use crate::call::{Call, NotOffered, Offering, Reserved, Way};
use crate::client::says_tls;
use crate::clock;
use crate::config::{Sideband, WebRtc};
use crate::cors;
use crate::holders::Holders;
use crate::io::stream::Writer;
use crate::io::tls::Scheme;
use crate::live::Live;
use crate::local::Calling;
use crate::shard::Shard;
use serde_json::{Map, Value, json};
use std::rc::Rc;
use tokenist_core::browser_token::Claims;
use tokenist_core::close_reason::CloseReason;
use tokenist_core::dialect::Calls;
use tokenist_core::http::body::{Body, Framing};
use tokenist_core::http::write::{HeaderName, HeaderValue};
use tokenist_core::http::{Header, RequestHead, ResponseHead};
use tokenist_core::key::ProviderKey;
use tokenist_core::message::Transport;
use tokenist_core::meter::Models;
use tokenist_core::provider::Route;
use tokenist_core::signalling::offer::{BODY_BYTES_MAX, Bound, Offer, Wrong, answer_with, answered, read};
use tokenist_core::signalling::{Doing, Place, at_host, named_in, spoken};

/// The longest answer to an offer.
const ANSWER_BYTES_MAX: usize = 256 << 10;
/// What else than its key a provider is told of whose a call is.
const WHOSE: [&str; 2] = ["openai-organization", "openai-project"];

const OFF: &str = "calls (WebRTC, SIP) are off here; an operator turns them on with webrtc.mode";
const UNCONNECTED: &str = "too many calls here have not connected yet";
const UNNAMED: &str = "a call's session has to, in the field `model`, or its URL";

/// A call that the answer to a request begins.
pub(super) struct Making<'a> {
    calling: &'a Calling,
    reserved: Reserved,
    asked: Asked,
    told: Option<Vec<u8>>,
    /// How the client has come here.
    scheme: &'static str,
    /// What is offered by us, where the call is relayed.
    offering: Option<Offering>,
}

/// Reads what is asked for, and chooses the provider. `None`: it begins no call.
pub(super) async fn plan<'a>(
    shard: &Rc<Shard>,
    live: &Rc<Live>,
    head: &mut RequestHead,
    client: &mut Client,
    calling: &'a Calling,
    own_key: Option<ProviderKey>,
) -> Result<(Plan<'a>, Option<Making<'a>>), Failed> {
    if shard.config.webrtc == WebRtc::Off {
        return Err(Failed::Refused(CloseReason::CallRefused(OFF)));
    }
    plan::begin(shard, live);
    let mut content = upload::hold_all(shard, live, head, client, BODY_BYTES_MAX).await?;
    let mut route = calling.route.clone();
    if let Doing::Accept(id) | Doing::Steer(id) = &calling.signal.doing
        && let Some(owner) = admission::find_call(shard, id).await.map_err(Failed::Refused)?
    {
        if own_key.is_none() && !live.identity.get().is_some_and(|asking| admission::may_join(asking, &owner))
        {
            return Err(Failed::Told(404, absent(id)));
        }
        if let Some(index) = shard.config.routes.index(&owner.provider) {
            route.keep(index);
        }
    }
    let making = match calling.signal.doing {
        Doing::Steer(_) => {
            admit::choose(shard, live, &route, None, own_key.is_some()).map_err(Failed::Refused)?;
            None
        }
        Doing::Offer | Doing::Accept(_) => {
            let scheme = scheme(shard, client, head);
            let mut offer = offered(head, calling, &content)?;
            if let Some(body) = bind(live, head, calling, &mut offer)? {
                content = body;
            }
            let offering = match shard.config.webrtc {
                WebRtc::Relay if calling.signal.doing == Doing::Offer => {
                    let (offering, body) = offer_in_turn(shard, live, head, &mut offer)?;
                    content = body;
                    Some(offering)
                }
                _ => None,
            };
            let asked = Asked { models: models(shard, head, calling, &offer)?, call: None };
            let reserved = reserve(shard, live, &route, &asked, own_key.is_some()).await;
            let reserved = reserved.map_err(Failed::Refused)?;
            Some(Making { calling, reserved, asked, told: offer.told(), scheme, offering })
        }
    };
    let path = calling.signal.path(route.at(live.provider.get().unwrap_or_default()).1);
    let framing = Framing::Length(content.len() as u64);
    let held = Held { content, is_whole: true, framing };
    Ok((Plan { own_key, path, held, says: Says::Nothing, reading: None }, making))
}

/// A session for the call, with its place, where its model may be used and its provider can be asked.
async fn reserve(
    shard: &Rc<Shard>,
    live: &Live,
    route: &Route,
    asked: &Asked,
    has_own_key: bool,
) -> Result<Reserved, CloseReason> {
    admit::choose(shard, live, route, asked.models.of_session(), has_own_key)?;
    let reserved = match Reserved::take(shard, live) {
        Ok(reserved) => browser::spend(shard, live).await.map(|()| reserved),
        refused => refused,
    };
    reserved.inspect_err(|reason| plan::note(shard, live, reason))
}

/// How the client has come here.
fn scheme(shard: &Shard, client: &Client, head: &RequestHead) -> &'static str {
    let origin = client.origin;
    let is_tls = origin.scheme == Scheme::Tls || says_tls(&shard.config, origin.peer, head);
    if is_tls { "https" } else { "http" }
}

/// The body of an answer with status 404, also where the call is another's.
fn absent(id: &str) -> String {
    let message = format!("No call with id '{id}' was found.");
    json!({"error": {"type": "invalid_request_error", "code": "call_not_found", "param": null, "message": message}})
        .to_string()
}

fn offered(head: &RequestHead, calling: &Calling, content: &[u8]) -> Result<Offer, Failed> {
    if head.headers.count("content-type") > 1 {
        return Err(wrong(Wrong::Malformed("it gives Content-Type twice: send it once".into())));
    }
    let kind = head.headers.get("content-type").and_then(|kind| std::str::from_utf8(kind).ok());
    if head.headers.get("content-encoding").is_some_and(|coding| !coding.eq_ignore_ascii_case(b"identity")) {
        return Err(wrong(Wrong::Malformed("it is compressed: send it without Content-Encoding".into())));
    }
    read(&calling.signal.doing, calling.signal.calls, kind, content).map_err(wrong)
}

fn wrong(wrong: Wrong) -> Failed {
    match wrong {
        Wrong::Malformed(what) => {
            Failed::Told(400, refusal::malformed(&format!("The call's request: {what}")))
        }
        Wrong::TooLong { max_bytes } => Failed::Refused(CloseReason::MessageTooBig { max_bytes }),
    }
}

/// What a token says of its session; `None`: nothing.
fn settings(claims: &Claims, calls: Calls) -> Option<String> {
    let said = claims.session.as_deref().and_then(|session| serde_json::from_str(session).ok());
    let mut settings: Map<String, Value> = said.unwrap_or_default();
    if let Some(model) = &claims.model {
        settings.entry("model").or_insert_with(|| json!(**model));
    }
    if !settings.is_empty() && calls == Calls::Realtime {
        settings.entry("type").or_insert_with(|| json!("realtime"));
    }
    (!settings.is_empty()).then(|| Value::Object(settings).to_string())
}

/// Has a page's offer ask for what its token says, in whatever form that takes: the body in place of its own.
fn bind(
    live: &Live,
    head: &mut RequestHead,
    calling: &Calling,
    offer: &mut Offer,
) -> Result<Option<Vec<u8>>, Failed> {
    let Some(token) = live.token.get() else { return Ok(None) };
    let Some(settings) = settings(&token.claims, calling.signal.calls) else { return Ok(None) };
    if calling.signal.is_bare_offer() {
        let why = "a page's token says what its session is, so it offers its call to …/realtime/calls";
        return Err(Failed::Refused(CloseReason::CallRefused(why)));
    }
    let bound = offer.bind(&settings, &boundary(live)).map_err(wrong)?;
    Ok(Some(put(head, bound)))
}

/// What ends the parts of a form of ours.
fn boundary(live: &Live) -> String {
    format!("tokenist-{:016x}-{:08x}", live.id().0, u32::from_le_bytes(live.mask_key()))
}

/// The body of a request that is written by us.
fn put(head: &mut RequestHead, bound: Bound) -> Vec<u8> {
    head.headers.0.retain(|line| !line.is("content-type"));
    let value = HeaderValue::parse(bound.content_type).expect("it is of our own making");
    head.headers.0.push(Header { name: HeaderName::literal("Content-Type"), value });
    bound.body
}

/// Has us offer to the provider what the client offers to us, in the same form: the body in place of its own.
fn offer_in_turn(
    shard: &Shard,
    live: &Live,
    head: &mut RequestHead,
    offer: &mut Offer,
) -> Result<(Offering, Vec<u8>), Failed> {
    let port = shard.port.get().ok_or(Failed::Refused(CloseReason::CallRefused(OFF)))?;
    let identity = live.identity.get().expect("a request that is admitted names a user");
    let (offering, sdp) =
        Offering::new(port, &identity.user, offer.sdp(), clock::precise).map_err(|not_offered| {
            match not_offered {
                NotOffered::Wrong(what) => {
                    wrong(Wrong::Malformed(format!("the offer in it cannot be served: {what}")))
                }
                NotOffered::Full => Failed::Refused(CloseReason::Overloaded(UNCONNECTED.into())),
            }
        })?;
    let bound = offer.carry(&sdp, &boundary(live));
    Ok((offering, put(head, bound)))
}

/// The models that the session is to use: as its settings name them, or else its URL.
fn models(shard: &Shard, head: &RequestHead, calling: &Calling, offer: &Offer) -> Result<Models, Failed> {
    let said = offer.models().map_err(wrong)?;
    let in_url = Asked::by(head, calling.route.dialect).models;
    let differ = |one: &Option<_>, other: &Option<_>| one.is_some() && other.is_some() && one != other;
    if differ(&said.session, &in_url.session) || differ(&said.transcription, &in_url.transcription) {
        return Err(wrong(Wrong::Malformed("its URL names another model than its session".into())));
    }
    let models = Models {
        session: said.session.or(in_url.session),
        transcription: said.transcription.or(in_url.transcription),
    };
    // What a provider's own token says of the session is not known here.
    match models.of_session().is_some() || shard.config.sideband == Sideband::BestEffort {
        true => Ok(models),
        false => Err(Failed::Refused(CloseReason::ModelMissing(UNNAMED))),
    }
}

/// Which way a call goes that was answered so, and how the client is answered.
fn way(
    shard: &Shard,
    calls: Calls,
    offering: Option<Offering>,
    live: &Rc<Live>,
    body: Vec<u8>,
) -> (Way, Vec<u8>) {
    let Some(offering) = offering else { return (Way::Past, body) };
    let answered = answered(calls, &body).ok_or("there is no `transport.sdp` in it".to_owned());
    let relayed = answered.and_then(|sdp| offering.answered(&sdp, shard, live));
    let told = relayed.and_then(|(relayed, sdp)| {
        let body = answer_with(calls, &body, &sdp).ok_or("there is no `transport.sdp` in it".to_owned())?;
        Ok((relayed, body))
    });
    match told {
        Ok((relayed, body)) => (Way::Here(relayed), body),
        Err(why) => (Way::Nowhere(format!("its answer to the offer cannot be used: {why}")), Vec::new()),
    }
}

impl Exchange<'_> {
    /// Passes on the answer that begins a call, once the call is a session.
    pub(super) async fn begin_call(
        &self,
        head: &ResponseHead,
        framing: Framing,
        source: &mut Source,
        writer: &mut Writer,
        making: Making<'_>,
    ) -> Answered {
        source.body = Body::new(framing);
        let body = match self.whole(source).await {
            Ok(body) => body,
            Err(lost) => return Answered::Nothing(self.failed(lost)),
        };
        let Making { calling, reserved, asked, told, scheme, offering } = making;
        let location = head.headers.get("location").and_then(|line| std::str::from_utf8(line).ok());
        let id = match &calling.signal.doing {
            Doing::Accept(id) => Some(id.clone()),
            Doing::Offer | Doing::Steer(_) => named_in(calling.signal.calls, location, &body),
        };
        let Some(id) = id else {
            let why = "its answer names no call, so what that costs could not be known";
            return Answered::Nothing(self.failed_by(CloseReason::UpstreamFailed(why.into())));
        };
        let (way, body) = way(self.shard, calling.signal.calls, offering, reserved.live(), body);
        let lost = match &way {
            Way::Nowhere(why) => Some(why.clone()),
            Way::Past | Way::Here(_) => None,
        };
        let begun = reserved.begin(self.call(calling, &id, asked, told), way);
        if let Some(why) = lost {
            return Answered::Nothing(self.failed_by(CloseReason::UpstreamFailed(why.into())));
        }
        begun.heard().await;
        let host = String::from_utf8_lossy(self.head.headers.get("host").unwrap_or_default());
        let location = location.map(|location| at_host(location, scheme, &host));
        let location = location.and_then(|location| HeaderValue::parse(location).ok());
        self.keeps.set(may_keep(self.shard, self.head));
        let left = self.live.holders.get().map(Holders::remaining).unwrap_or_default();
        let length = Length::Of(body.len() as u64);
        let blot = self.shard.blot(self.live);
        let mut wire = words::answer(head, blot, length, self.keeps.get(), left, false, location.as_ref());
        wire = cors::tell(self.live, wire);
        wire.extend(body);
        match writer.write_bytes(wire).await {
            Ok(()) => Answered::Whole,
            Err(_) => {
                begun.forsake();
                self.client_is_gone()
            }
        }
    }

    fn call(&self, calling: &Calling, id: &str, asked: Asked, told: Option<Vec<u8>>) -> Call {
        let (dialect, socket) = calling.route.at(self.live.provider.get().unwrap_or_default());
        let calls = calling.signal.calls;
        let operators = self.live.operators_key.get().map(|index| &self.provider.keys[index]);
        let key = self.own_key.as_ref().or(operators).expect("it was asked for with a key").clone();
        let is_whose = |header: &&Header| WHOSE.iter().any(|name| header.is(name));
        let whose = self.head.headers.0.iter().filter(is_whose);
        Call {
            place: Place::of(calls, socket, id),
            provider: std::sync::Arc::clone(&self.provider),
            key,
            headers: whose.filter(|header| self.provider.headers.passes(&header.name)).cloned().collect(),
            calls,
            dialect: spoken(dialect),
            asked: Asked { call: Some(id.into()), ..asked },
            told,
            transport: match calling.signal.doing {
                Doing::Accept(_) => Transport::Sip,
                Doing::Offer | Doing::Steer(_) => Transport::WebRtc,
            },
        }
    }

    /// All of an answer's body.
    async fn whole(&self, source: &mut Source) -> Result<Vec<u8>, Lost> {
        let mut body = Vec::new();
        loop {
            self.note_progress();
            let portion = source.next(&self.shard.pool, &self.live.down, || self.must_end()).await?;
            body.extend_from_slice(&portion.buffer.bytes()[portion.content.clone()]);
            source.give_back(portion.buffer);
            if portion.is_last {
                return Ok(body);
            }
            if body.len() > ANSWER_BYTES_MAX {
                let why = "its answer to an offer is too long";
                return Err(Lost::Malformed(tokenist_core::http::body::BadBody(why)));
            }
        }
    }
}
