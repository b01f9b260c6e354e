//! Calls over WebRTC: asked for in HTTP, spoken on a data channel and a line of sound, attached to and ended by their id.
//!
//! Start at [`serve`], which takes what is asked in HTTP, and [`attach`], which takes a socket beside a call. A call's session is
//! like any other and speaks through a `wire`; it lives on the shard that answered for it, to which the others pass on what is
//! asked of it.

mod answer;
mod course;
mod form;
mod forward;
#[cfg(test)]
mod tests;

use super::Shard;
use super::handshake;
use super::line::Line;
use super::live::Live;
use super::openai::OpenAi;
use super::refusal::{Credential, Refusal};
use super::session::{self, Callable, Session};
use super::sim::{Load, Sim};
use super::wire::Wire;
use crate::http::{self, Request};
use crate::link::{Bytes, Outbox};
use crate::peer::Peer;
use crate::ws::Inbound;
use form::{Api, Asked, Form};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

/// Calls of one shard at a time.
const CALLS_MAX: usize = 4_096;
/// Calls that are remembered, most of them over.
const REMEMBERED_MAX: usize = 65_536;

/// A call that is under way.
#[derive(Clone, Debug)]
pub(super) enum Running {
    Realtime(Rc<Session<OpenAi>>, Rc<Wire>),
    Live(Rc<Session<Live>>, Rc<Wire>),
}

/// Where a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Here,
    /// On the shard that takes what is passed on to it at this address.
    Elsewhere(SocketAddr),
    /// It is over.
    Nowhere,
    /// No call has this id.
    Unknown,
}

/// Answers a request that is about calls; false if it is not.
pub(super) async fn serve(
    shard: &Rc<Shard>,
    (request, body): (&Request, &[u8]),
    inbound: &mut Inbound,
    outbox: &Rc<Outbox>,
) -> io::Result<bool> {
    if let Some(allowed) = form::preflight(request) {
        outbox.put(Bytes::Owned(allowed));
        return Ok(true);
    }
    let Some(asked) = Asked::of(request, false) else { return Ok(false) };
    let told = match asked {
        Asked::Begin(api) => {
            shard.audit().handshake(request);
            let begun = match api {
                Api::Realtime => begin::<OpenAi>(shard, api, request, body, Running::Realtime).await,
                Api::Live => begin::<Live>(shard, api, request, body, Running::Live).await,
            };
            match begun {
                Ok(Some(told)) => told,
                Ok(None) => {
                    while inbound.fill().await? {}
                    return Ok(true);
                }
                Err(refusal) => refused(&refusal),
            }
        }
        Asked::Control(_, id, what) => match shard.place(id) {
            Place::Elsewhere(address) => {
                forward::pass_on(address, (request, body), inbound, outbox).await?;
                return Ok(true);
            }
            _ => {
                shard.audit().handshake(request);
                control(shard, request, id, what)
            }
        },
        Asked::Attach(..) => return Ok(false),
    };
    outbox.put(Bytes::Owned(told));
    Ok(true)
}

/// Answers an upgrade that is to attach to a call; false if it is not, or if no call has its id: then it is a session of its
/// own, as if its call were one that nobody here has seen.
pub(super) async fn attach(
    shard: &Rc<Shard>,
    request: &Request,
    inbound: &mut Inbound,
    outbox: &Rc<Outbox>,
) -> io::Result<bool> {
    let Some(Asked::Attach(api, id)) = Asked::of(request, true) else { return Ok(false) };
    match (shard.place(&id), api) {
        (Place::Elsewhere(address), _) => {
            forward::pass_on(address, (request, b""), inbound, outbox).await?;
            return Ok(true);
        }
        (Place::Unknown, Api::Realtime) => return Ok(false),
        (Place::Here | Place::Nowhere, _) | (Place::Unknown, Api::Live) => {}
    }
    shard.audit().handshake(request);
    let running = shard.calls.borrow().get(&id).cloned();
    match (admitted(shard, request), running) {
        (Err(refusal), _) => outbox.put(Bytes::Owned(handshake::refuse::<OpenAi>(&refusal))),
        (Ok(()), Some(Running::Realtime(session, wire))) if api == Api::Realtime => {
            attend(&session, &wire, request, inbound, outbox).await?;
        }
        (Ok(()), Some(Running::Live(session, wire))) if api == Api::Live => {
            attend(&session, &wire, request, inbound, outbox).await?;
        }
        _ => outbox.put(Bytes::Owned(handshake::refuse::<OpenAi>(&no_such_call()))),
    }
    Ok(true)
}

async fn attend<D: Callable>(
    session: &Rc<Session<D>>,
    wire: &Wire,
    request: &Request,
    inbound: &mut Inbound,
    outbox: &Rc<Outbox>,
) -> io::Result<()> {
    let upgrade = handshake::accept_upgrade(request, &session.sim);
    outbox.put(Bytes::Owned(upgrade));
    match wire.attach(outbox.clone()) {
        true => course::attend(session, inbound, outbox).await,
        false => Ok(()),
    }
}

fn no_such_call() -> Refusal {
    Refusal::new(404, "call_not_found", "There is no such call, or it has ended.")
}

fn admitted(shard: &Shard, request: &Request) -> Result<(), Refusal> {
    match handshake::credential(shard, super::refusal::usual_key(request)) {
        Credential::Right => Ok(()),
        Credential::Wrong | Credential::Missing => {
            Err(Refusal::new(401, "invalid_api_key", "Incorrect API key provided."))
        }
    }
}

/// What is asked of a call that is here, if it is anywhere.
fn control(shard: &Shard, request: &Request, id: &str, what: &str) -> Vec<u8> {
    let running = shard.calls.borrow().get(id).cloned();
    let result = admitted(shard, request).and_then(|()| {
        let wire = match running.ok_or_else(no_such_call)? {
            Running::Realtime(_, wire) | Running::Live(_, wire) => wire,
        };
        if what != "hangup" {
            let message = "Only calls over SIP are accepted, rejected and referred.";
            return Err(Refusal::new(400, "invalid_call", message));
        }
        wire.end(1000, "");
        Ok(())
    });
    match result {
        Ok(()) => http::json_response(200, &form::to_pages(), ""),
        Err(refusal) => refused(&refusal),
    }
}

/// A refusal that a page of anybody's may read.
fn refused(refusal: &Refusal) -> Vec<u8> {
    handshake::refuse_with::<OpenAi>(refusal, form::to_pages())
}

/// Begins a call, and tells its answer; `None` if nothing shall be told.
async fn begin<D: Callable>(
    shard: &Rc<Shard>,
    api: Api,
    request: &Request,
    body: &[u8],
    running: impl FnOnce(Rc<Session<D>>, Rc<Wire>) -> Running,
) -> Result<Option<Vec<u8>>, Refusal> {
    let invalid = |error: String| Refusal::new(400, "invalid_offer", &error);
    let form = Form::of(api, request, body).map_err(invalid)?;
    let request = form.as_handshake(request);
    let (opening, sim) = handshake::settle::<D>(shard, &request)?;
    understood(&sim).map_err(|error| Refusal::new(400, "sim", &error))?;
    monoio::time::sleep(Duration::from_millis(sim.delay_ms)).await;
    if sim.silent {
        return Ok(None);
    }
    if shard.calls.borrow().len() >= CALLS_MAX {
        return Err(Refusal::new(503, "too_many_calls", "There are too many calls."));
    }
    let failed = |error: io::Error| Refusal::new(500, "no_socket", &error.to_string());
    let peer = Peer::bind(Peer::config().set_ice_lite(true), host(shard)).map_err(failed)?;
    let answer = answer::to(&peer, &form.offer).map_err(invalid)?;
    let wire = Wire::over(peer, answer::message_bytes_max(&form.offer));
    let key = request.parameter("audit").unwrap_or_else(|| "-".to_owned());
    let session = Session::new(shard.clone(), Line::Call(wire.clone()), opening, sim, key);
    let id = D::call_id(&session);
    shard.begun(&id, running(session.clone(), wire.clone()));
    wire.greet(|| D::set_up(&session, &form.session));
    let (kind, headers, text) = form::told(api, &id, answer);
    monoio::spawn(until_over(session, wire, id));
    Ok(Some(http::response(201, kind, &headers, &text)))
}

async fn until_over<D: Callable>(session: Rc<Session<D>>, wire: Rc<Wire>, id: String) {
    let close_code = course::run(session.clone(), wire.clone()).await;
    wire.settle();
    session::end(&session, close_code);
    session.shard.ended(&id);
}

/// Where the provider is listened for is where a call's datagrams come.
fn host(shard: &Shard) -> IpAddr {
    let ip = shard.options.listen.ip();
    if ip.is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { ip }
}

/// What is asked of frames, where there are none, is refused like a word that nobody knows.
fn understood(sim: &Sim) -> Result<(), String> {
    let of_frames = [
        (sim.split_bytes > 0, "split"),
        (sim.fragment_bytes > 0, "fragment"),
        (sim.protocol.is_some(), "protocol"),
        (sim.extension.is_some(), "extension"),
        (sim.faults.iter().any(|(_, fault)| fault.is_of_frames()), "odd and giant_header"),
        (!matches!(sim.load, None | Some(Load::Echo)), "load"),
    ];
    match of_frames.iter().find(|(is_asked, _)| *is_asked) {
        Some((_, word)) => Err(format!("not understood on a call: {word}")),
        None => Ok(()),
    }
}

impl Shard {
    fn place(&self, id: &str) -> Place {
        if self.calls.borrow().contains_key(id) {
            return Place::Here;
        }
        match super::locked(&self.shared.placed).get(id) {
            Some(Some(address)) => Place::Elsewhere(*address),
            Some(None) => Place::Nowhere,
            None => Place::Unknown,
        }
    }

    fn begun(&self, id: &str, running: Running) {
        self.calls.borrow_mut().insert(id.to_owned(), running);
        let mut placed = super::locked(&self.shared.placed);
        if placed.len() == REMEMBERED_MAX {
            placed.pop_first();
        }
        placed.insert(id.to_owned(), Some(self.own));
    }

    fn ended(&self, id: &str) {
        self.calls.borrow_mut().remove(id);
        super::locked(&self.shared.placed).insert(id.to_owned(), None);
    }
}
