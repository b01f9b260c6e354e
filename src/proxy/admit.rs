//! From a connection to a session that may be dialled: its head, its route, its caller, the verdict, and a place.
//!
//! Start at [`admit`]. Invariant: nothing goes upstream before the verdict.

use crate::admission::{self, Found};
use crate::arrival::Arrival;
use crate::asked::Asked;
use crate::authn::{self, Caller, Credential};
use crate::browser;
use crate::config::{Provider, Sideband};
use crate::cors;
use crate::error::{Phase, SessionError, Side};
use crate::io::stream::End;
use crate::io::tls::Scheme;
use crate::live::{CallerMark, Http, Live};
use crate::local::Destination;
use crate::opening::{self, Opening};
use crate::refuse::{self, Refused};
use crate::request::{self, Request};
use crate::shard::Shard;
use crate::stages::{self, too_many};
use crate::{client, local, resumption, usage};
use monoio::time::{Duration, sleep};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use tokenist_core::browser_token::TokenFault;
use tokenist_core::close_reason::CloseReason;
use tokenist_core::dialect::ModelSource;
use tokenist_core::http::RequestHead;
use tokenist_core::id::Model;
use tokenist_core::key::ProviderKey;
use tokenist_core::provider::Route;
use tokenist_core::signalling::{Doing, Signal};

/// A session that may be dialled.
pub(crate) struct Admitted {
    pub(crate) head: RequestHead,
    pub(crate) websocket_key: String,
    pub(crate) route: Route,
    pub(crate) provider: Arc<Provider>,
    /// The caller's own; else one of the operator's goes upstream.
    pub(crate) own_key: Option<ProviderKey>,
    pub(crate) asked: Asked,
    /// What was read of a client that names its model in its first event, and whose upgrade is answered so.
    pub(crate) opening: Option<Opening>,
    pub(crate) end: End,
}

/// A request for no session, of a caller who is judged.
pub(crate) struct Asking {
    pub(crate) request: Request,
    pub(crate) destination: Destination,
    /// The caller's own key for the provider, if it brings one; or why its request is refused.
    pub(crate) verdict: Result<Option<ProviderKey>, CloseReason>,
}

/// What became of a request.
pub(crate) enum Outcome {
    /// Nothing is left to do.
    Answered,
    Session(Box<Admitted>),
    Request(Box<Asking>),
}

/// Reads the request, finds out who is calling, and judges.
pub(crate) async fn admit(
    shard: &Rc<Shard>,
    live: &Rc<Live>,
    arrival: Box<Arrival>,
) -> Result<Outcome, SessionError> {
    let Some((mut request, mended)) = request::read(shard, live, arrival).await? else {
        return Ok(Outcome::Answered);
    };
    live.client.set(Some(client::of_request(&shard.config, request.origin.client, &request.head)));
    if let Some(answer) = cors::preflight(shard, &request.head) {
        Box::pin(refuse::respond(shard, live, request.reader, request.writer, answer)).await;
        return Ok(Outcome::Answered);
    }
    cors::note(shard, live, &request.head);
    if let Some(destination) = local::destination(shard, &request.head) {
        live.http.set(Http::Running);
        let verdict = verdict(shard, live, &mut request.head, destination.signal(), mended).await;
        return Ok(Outcome::Request(Box::new(Asking { request, destination, verdict })));
    }
    // Boxed, for a request is no session.
    let admitted = Box::pin(admit_session(shard, live, request, mended)).await?;
    Ok(admitted.map_or(Outcome::Answered, |admitted| Outcome::Session(Box::new(admitted))))
}

/// Who is calling, and whether it may: the caller's own key for the provider, if it brings one. `signal` is what it wants to do
/// with calls, if that is it.
async fn verdict(
    shard: &Rc<Shard>,
    live: &Live,
    head: &mut RequestHead,
    signal: Option<&Signal>,
    mended: Result<(), CloseReason>,
) -> Result<Option<ProviderKey>, CloseReason> {
    let client = live.client.get().expect("a request comes from somewhere");
    let read = |token: &str| shard.read_token(token);
    let caller = mended.and_then(|()| authn::caller(head, &shard.config.identity, read));
    // Nothing follows from how often a request is refused: it is told so in HTTP in any case. A call is a session.
    if !live.is_request() || signal.is_some() {
        note_caller(shard, live, head, client);
    }
    let caller = match caller {
        Err(CloseReason::Token(TokenFault::Foreign)) if signal.is_some() => foreign(shard, head)?,
        caller => caller?,
    };
    let token = match &caller.credential {
        Credential::Token(claims) => Some(claims),
        Credential::Key(_) | Credential::Own(_) => None,
    };
    match token {
        // A page begins calls, and steers none.
        Some(_) if live.is_request() && signal.is_none_or(|signal| signal.doing != Doing::Offer) => {
            return Err(CloseReason::Token(TokenFault::SessionsAlone));
        }
        None if live.is_request() => {}
        _ => cors::refusal(shard, head, token.is_some()).map_or(Ok(()), Err)?,
    }
    if let Some(claims) = token {
        browser::bind(live, head, claims, signal)?;
    }
    judge(shard, live, caller, client).await
}

/// The caller that shows a provider's own token for pages, with which it can begin a call that nobody else opens the socket of.
fn foreign(shard: &Shard, head: &RequestHead) -> Result<Caller, CloseReason> {
    let rules = &shard.config.identity;
    match shard.config.sideband {
        _ if !rules.passthrough => Err(CloseReason::Token(TokenFault::Foreign)),
        Sideband::Required => Err(CloseReason::CallRefused(FOREIGN)),
        Sideband::BestEffort => authn::caller_with_foreign_token(head, rules),
    }
}

const FOREIGN: &str =
    "a provider's own token (ek_…) neither watches its call nor ends it: ask tokenist for the token";

/// A request for a session. `None`: it was answered.
async fn admit_session(
    shard: &Rc<Shard>,
    live: &Rc<Live>,
    request: Request,
    mended: Result<(), CloseReason>,
) -> Result<Option<Admitted>, SessionError> {
    let Request { mut head, reader, writer, buffer, filled, path_key, origin } = request;
    if usage::is_asked(&head) {
        let answer = match mended {
            Ok(()) => usage::answer(shard, &head).await,
            Err(reason) => Err(reason),
        };
        let answer = answer.unwrap_or_else(|reason| refuse::in_http_words(shard, &reason));
        refuse::respond(shard, live, reader, writer, answer).await;
        return Ok(None);
    }
    let is_tls = origin.scheme == Scheme::Tls || client::says_tls(&shard.config, origin.peer, &head);
    if let Some(answer) = local::address(shard, &head, path_key.as_deref(), is_tls) {
        let answer = mended.map_or_else(|reason| refuse::in_http_words(shard, &reason), |()| answer);
        refuse::respond(shard, live, reader, writer, answer).await;
        return Ok(None);
    }
    let mut route = match local::route(shard, &head) {
        Ok(route) => route,
        Err(answer) => {
            refuse::respond(shard, live, reader, writer, answer).await;
            return Ok(None);
        }
    };
    let names: Vec<_> = head.query().map(|parameter| parameter.name()).collect();
    let clear = authn::refuse_unclear(&names, route.parameters());
    let websocket_key = match clear.and_then(|()| head.websocket_key()) {
        Ok(key) => key.to_owned(),
        Err(error) => {
            refuse::answer_malformed(shard, live, reader, writer, error).await;
            return Ok(None);
        }
    };
    live.dialect.set(route.dialect);
    let end = End { reader, writer, buffer, filled };
    let own_key = verdict(shard, live, &mut head, None, mended).await;
    let asked = Asked::by(&head, route.dialect);
    let own_key = match own_key {
        Ok(own_key) => join(shard, live, &mut route, &asked, own_key).await,
        refused => refused,
    };
    let refused = |reason| (reason, Some(&*websocket_key));
    match own_key {
        Err(reason) => turn_down(shard, live, end, &head, refused(reason)).await,
        Ok(own_key) => match route.dialect.model_is_in() {
            ModelSource::Url => {
                let chosen = choose(shard, live, &route, asked.models.of_session(), own_key.is_some());
                match spend(shard, live, chosen).await {
                    Ok(provider) => Ok(Some(Admitted {
                        head,
                        websocket_key,
                        route,
                        provider,
                        own_key,
                        asked,
                        opening: None,
                        end,
                    })),
                    Err(reason) => turn_down(shard, live, end, &head, refused(reason)).await,
                }
            }
            ModelSource::FirstEvent => greet(shard, live, head, websocket_key, route, own_key, end).await,
        },
    }
}

/// Finds the call that a session is to be attached to. One that was begun here is metered by its own session, and leads to its
/// provider; with the operator's key nobody else's is joined.
async fn join(
    shard: &Rc<Shard>,
    live: &Live,
    route: &mut Route,
    asked: &Asked,
    own_key: Option<ProviderKey>,
) -> Result<Option<ProviderKey>, CloseReason> {
    let Some(call) = &asked.call else { return Ok(own_key) };
    let Some(owner) = admission::find_call(shard, call).await? else { return Ok(own_key) };
    if own_key.is_none() && !live.identity.get().is_some_and(|asking| admission::may_join(asking, &owner)) {
        let reason = CloseReason::CallRefused("no call of this id is known");
        note(shard, live, &reason);
        return Err(reason);
    }
    let index = shard.config.routes.index(&owner.provider);
    live.looks_on.set(index.is_some_and(|index| route.keep(index)));
    Ok(own_key)
}

/// Tells the client why its session may not be dialled.
async fn turn_down(
    shard: &Shard,
    live: &Live,
    end: End,
    head: &RequestHead,
    (reason, websocket_key): (CloseReason, Option<&str>),
) -> Result<Option<Admitted>, SessionError> {
    let refused = Refused { head, websocket_key, reason: &reason };
    refuse::refuse(shard, live, end.reader, end.writer, refused).await;
    Err(SessionError::new(Side::Downstream, Phase::Admit, reason))
}

/// By whom refusals are counted.
fn note_caller(shard: &Shard, live: &Live, head: &RequestHead, client: IpAddr) {
    let mark =
        authn::mark(head, &shard.config.identity).map_or(CallerMark::Address(client), CallerMark::Named);
    let first = live.caller.set(mark).is_ok();
    debug_assert!(first, "a session has one caller");
}

/// Finds the caller's accounts and the verdict on them, and takes a place for the session. The caller's own key for the
/// provider, if it brings one.
async fn judge(
    shard: &Rc<Shard>,
    live: &Live,
    caller: Caller,
    client: IpAddr,
) -> Result<Option<ProviderKey>, CloseReason> {
    if shard.is_draining() {
        return Err(CloseReason::Draining);
    }
    let key = caller.key();
    let found = match admission::find(shard, caller).await {
        Ok(found) => found,
        Err(reason) => {
            shard.refused(None, key, client, &reason);
            return Err(reason);
        }
    };
    let identity = Arc::clone(&found.identity);
    let entered = enter(shard, live, found).await;
    if let Err(reason) = &entered {
        shard.refused(Some(&identity), key, client, reason);
    }
    entered
}

/// The verdict on a caller who is known, and a place if it may come in.
async fn enter(shard: &Rc<Shard>, live: &Live, found: Found) -> Result<Option<ProviderKey>, CloseReason> {
    let Found { identity, holders, own_key } = found;
    throttle(shard, live, holders.delay_ms()).await?;
    stages::enter(shard, live, identity, holders)?;
    Ok(own_key)
}

/// Waits as long as a rule has new sessions of this user wait, or until the process stops.
async fn throttle(shard: &Rc<Shard>, live: &Live, delay_ms: u64) -> Result<(), CloseReason> {
    let until = shard.time().instant.plus_ms(delay_ms.saturating_add(shard.config.head_ms));
    live.deadline.set(live.deadline.get().max(until));
    let mut left = Duration::from_millis(delay_ms);
    while !left.is_zero() && !shard.is_draining() {
        let step = left.min(Duration::from_secs(1));
        Box::pin(sleep(step)).await;
        left -= step;
    }
    if shard.is_draining() { Err(CloseReason::Draining) } else { Ok(()) }
}

/// The provider that serves the model, if that may be used and the provider can be asked: with the caller's key or with one
/// of the operator's.
pub(crate) fn choose(
    shard: &Shard,
    live: &Live,
    route: &Route,
    model: Option<&Model>,
    has_own_key: bool,
) -> Result<Arc<Provider>, CloseReason> {
    let picked = shard.config.routes.pick(route, model.map(Model::as_str), live.bounds());
    let chosen = picked.and_then(|index| {
        let provider = &shard.config.providers[index];
        if let Some(model) = model.filter(|model| shard.refuses(&provider.name, model)) {
            return Err(CloseReason::ModelUnpriced { model: model.as_str().into() });
        }
        match has_own_key || !provider.keys.is_empty() {
            true => Ok((index, Arc::clone(provider))),
            false => Err(admission::no_key(&provider.name)),
        }
    });
    match chosen {
        Ok((index, provider)) => {
            live.provider.set(Some(index));
            live.dialect.set(route.at(index).0);
            live.model.replace(model.cloned());
            Ok(provider)
        }
        Err(reason) => {
            note(shard, live, &reason);
            Err(reason)
        }
    }
}

/// Answers the upgrade of a client that names its model in its first event, reads that, and chooses the provider by it.
async fn greet(
    shard: &Rc<Shard>,
    live: &Rc<Live>,
    head: RequestHead,
    websocket_key: String,
    route: Route,
    own_key: Option<ProviderKey>,
    mut end: End,
) -> Result<Option<Admitted>, SessionError> {
    let failed = |error: std::io::Error| SessionError::new(Side::Downstream, Phase::Admit, error);
    opening::answer(&head, &websocket_key, &mut end.writer).await.map_err(failed)?;
    let (read, end) = opening::read(shard, live, end, route.dialect).await;
    let chosen = match read {
        Ok(Some(opening)) => {
            let attached = attach(shard, live, &route, opening, own_key.is_some()).await;
            attached.map_err(opening::Failure::Refused)
        }
        Ok(None) => Err(opening::Failure::Gone),
        Err(reason) => Err(opening::Failure::Refused(reason)),
    };
    match chosen {
        Ok((opening, provider)) => {
            let mut asked = Asked::by(&head, route.dialect);
            // Who attaches to something names none, and there may be one alone that it can be.
            let only = || shard.config.routes.models(live.provider.get()?).only().map(Model::from);
            asked.models.session = opening.model.clone().or_else(only);
            asked.call = opening.call.clone();
            let opening = Some(opening);
            Ok(Some(Admitted { head, websocket_key, route, provider, own_key, asked, opening, end }))
        }
        Err(opening::Failure::Refused(reason)) => turn_down(shard, live, end, &head, (reason, None)).await,
        Err(opening::Failure::Gone) => Ok(None),
    }
}

/// The provider that serves the model which the first event names. By its handle the connection goes on with a session; one
/// that does not needs a place of its own.
async fn attach(
    shard: &Rc<Shard>,
    live: &Live,
    route: &Route,
    opening: Opening,
    has_own_key: bool,
) -> Result<(Opening, Arc<Provider>), CloseReason> {
    let opening =
        browser::impose(live, route.dialect, opening).inspect_err(|reason| note(shard, live, reason))?;
    let provider = choose(shard, live, route, opening.model.as_ref(), has_own_key)?;
    if let Some(handle) = &opening.handle {
        resumption::join(shard, live, &provider.name, handle).await;
    }
    if live.has_place() {
        return spend(shard, live, Ok(provider)).await.map(|provider| (opening, provider));
    }
    let max_sessions = live.holders.get().and_then(|holders| holders.user.state().limit.max_sessions);
    let reason = too_many(max_sessions);
    note(shard, live, &reason);
    Err(reason)
}

/// Counts a use of the token that the session was opened with, if it was and a provider may be dialled.
async fn spend(
    shard: &Rc<Shard>,
    live: &Live,
    chosen: Result<Arc<Provider>, CloseReason>,
) -> Result<Arc<Provider>, CloseReason> {
    let provider = chosen?;
    let spent = browser::spend(shard, live).await;
    spent.inspect_err(|reason| note(shard, live, reason)).map(|()| provider)
}

/// Keeps for the operator that a caller was refused.
fn note(shard: &Shard, live: &Live, reason: &CloseReason) {
    if let (Some(identity), Some(client)) = (live.identity.get(), live.client.get()) {
        shard.refused(Some(identity), identity.key, client, reason);
    }
}
