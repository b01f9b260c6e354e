//! A simulated provider of realtime AI: deterministic usage, speech's pace or none, misbehaviour on command, and its
//! own audit of what it delivered.
//!
//! Start at [`start`]: one thread a shard, each with its own listener on one port. A connection is read in
//! [`connection`] and goes by its path to a dialect, which is a file here (`openai`, `gemini` and so on) and says the words; all
//! else is common: `handshake`, then `session`, in it one `response` after the other, with the counts of `formula`. What is
//! asked for without an upgrade is an `exchange`. `sim` names all that can be asked for.

mod audit;
mod call;
mod conversation;
mod exchange;
mod formula;
mod frame;
mod gemini;
mod handshake;
mod interactions;
mod line;
mod live;
mod numbered;
mod openai;
mod parts;
mod refusal;
mod responses;
mod session;
pub(crate) mod sim;
mod timed;
mod translation;
mod wire;

use crate::beat::Beat;
use crate::http::{self, Request};
use crate::link::{self, Bytes, Outbox};
use crate::ws::Inbound;
use audit::Audit;
use call::Running;
use conversation::Conversation;
use exchange::Api;
pub(crate) use formula::splitmix64;
use gemini::Gemini;
use interactions::Interactions;
use line::Line;
use live::Live;
use monoio::net::{ListenerOpts, TcpListener, TcpStream};
use openai::OpenAi;
use refusal::Refusal;
use responses::Responses;
use rustls::ServerConfig;
use session::{Dialect, Session};
use sim::Sim;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;
use timed::Timed;
use translation::Translation;

#[derive(Clone)]
pub(crate) struct Options {
    pub(crate) listen: SocketAddr,
    pub(crate) tls: Option<(SocketAddr, Arc<ServerConfig>)>,
    pub(crate) shard_count: usize,
    pub(crate) seed: u64,
    /// The one key that is let in; any if `None`.
    pub(crate) key: Option<String>,
    /// Beta names are spoken to whoever asks for them by header.
    pub(crate) beta: bool,
    pub(crate) sim: Sim,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Options({}, {} shards)", self.listen, self.shard_count)
    }
}

/// Where a started provider listens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    pub(crate) listen: SocketAddr,
    pub(crate) tls_listen: Option<SocketAddr>,
}

/// What the connections of one thread share.
#[derive(Debug)]
pub(crate) struct Shard {
    options: Options,
    shared: Arc<Shared>,
    beat: Rc<Beat>,
    phase: Cell<u64>,
    /// Where other shards pass on what is asked of this one's calls.
    own: SocketAddr,
    calls: RefCell<BTreeMap<String, Running>>,
}

/// What the shards share.
#[derive(Debug, Default)]
struct Shared {
    audit: Mutex<Audit>,
    session_count: AtomicU64,
    /// The numbers of sessions that are attached to calls, by the call's id.
    calls: Mutex<BTreeMap<String, u64>>,
    /// The shards that calls over WebRTC are on, by the call's id; of one that is over it is none.
    placed: Mutex<BTreeMap<String, Option<SocketAddr>>>,
    /// What can be resumed, by its handle.
    resumable: Mutex<BTreeMap<String, Conversation>>,
    handle_count: AtomicU64,
}

/// The conversations that are kept for resumption.
const RESUMABLE_MAX: usize = 65_536;

impl Shard {
    /// All sessions of a call have one number.
    fn next_index(&self, call: Option<&str>) -> u64 {
        let next = || self.shared.session_count.fetch_add(1, Ordering::Relaxed) + 1;
        match call {
            None => next(),
            Some(call) => *locked(&self.shared.calls).entry(call.to_owned()).or_insert_with(next),
        }
    }

    /// The handle that what was said so far can be resumed by. The oldest is forgotten for one too many.
    fn keep(&self, conversation: Conversation) -> String {
        let handle = format!("handle-{:012}", self.shared.handle_count.fetch_add(1, Ordering::Relaxed) + 1);
        let mut resumable = locked(&self.shared.resumable);
        if resumable.len() == RESUMABLE_MAX {
            resumable.pop_first();
        }
        resumable.insert(handle.clone(), conversation);
        handle
    }

    fn kept(&self, handle: &str) -> Option<Conversation> {
        locked(&self.shared.resumable).get(handle).cloned()
    }

    fn audit(&self) -> MutexGuard<'_, Audit> {
        locked(&self.shared.audit)
    }

    /// Spreads paced sessions over their period: 7 has no factor in common with usual periods.
    fn next_phase(&self) -> u64 {
        self.phase.set(self.phase.get() + 7);
        self.phase.get()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the shards, which run as long as the process, and says where they listen.
pub(crate) fn start(mut options: Options) -> io::Result<Bound> {
    options.listen = reserve(options.listen)?;
    if let Some((tls_listen, _)) = &mut options.tls {
        *tls_listen = reserve(*tls_listen)?;
    }
    let shared: Arc<Shared> = Arc::default();
    let (ready, started) = mpsc::channel();
    for index in 0..options.shard_count {
        let (options, shared, ready) = (options.clone(), shared.clone(), ready.clone());
        std::thread::Builder::new().name(format!("provider {index}")).spawn(move || {
            crate::runtime::block_on(async move {
                match bind(options, shared) {
                    Ok((shard, listeners)) => {
                        ready.send(Ok(())).expect("start waits for every shard");
                        serve(shard, listeners).await;
                    }
                    Err(error) => ready.send(Err(error)).expect("start waits for every shard"),
                }
            })
        })?;
    }
    for _ in 0..options.shard_count {
        started.recv().map_err(io::Error::other)??;
    }
    Ok(Bound { listen: options.listen, tls_listen: options.tls.map(|(address, _)| address) })
}

/// Finds out the port, and that no other program has it: with SO_REUSEPORT we would share it unnoticed.
fn reserve(address: SocketAddr) -> io::Result<SocketAddr> {
    std::net::TcpListener::bind(address)?.local_addr()
}

type Listeners = Vec<(TcpListener, Option<Arc<ServerConfig>>)>;

fn bind(options: Options, shared: Arc<Shared>) -> io::Result<(Rc<Shard>, Listeners)> {
    let listener = ListenerOpts::new().backlog(4_096);
    let mut listeners = vec![(TcpListener::bind_with_config(options.listen, &listener)?, None)];
    if let Some((address, tls)) = &options.tls {
        listeners.push((TcpListener::bind_with_config(*address, &listener)?, Some(tls.clone())));
    }
    // On this machine alone, and known to the other shards alone.
    let own = TcpListener::bind_with_config((Ipv4Addr::LOCALHOST, 0), &listener)?;
    let address = own.local_addr()?;
    listeners.push((own, None));
    let beat = Beat::start()?;
    let calls = RefCell::default();
    let shard = Shard { options, shared, beat, phase: Cell::new(0), own: address, calls };
    Ok((Rc::new(shard), listeners))
}

async fn serve(shard: Rc<Shard>, listeners: Listeners) {
    let tasks: Vec<_> = listeners
        .into_iter()
        .map(|(listener, tls)| monoio::spawn(accept(shard.clone(), listener, tls)))
        .collect();
    for task in tasks {
        task.await;
    }
}

async fn accept(shard: Rc<Shard>, listener: TcpListener, tls: Option<Arc<ServerConfig>>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (shard, tls) = (shard.clone(), tls.clone());
                // A peer that breaks off is its own business; the audit says what was delivered.
                monoio::spawn(async move { drop(connection(shard, stream, tls).await) });
            }
            // Out of file descriptors, most likely: wait for some to come back.
            Err(_) => monoio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn connection(shard: Rc<Shard>, stream: TcpStream, tls: Option<Arc<ServerConfig>>) -> io::Result<()> {
    let link = link::accept(stream, tls).await?;
    let mut inbound = Inbound::new(link.read);
    let outbox = Outbox::start(link.write);
    let result = converse(&shard, &mut inbound, &outbox).await;
    outbox.drained().await;
    result
}

async fn converse(shard: &Rc<Shard>, inbound: &mut Inbound, outbox: &Rc<Outbox>) -> io::Result<()> {
    while let Some(request) = http::read_request(inbound).await? {
        if http::is_upgrade(&request) {
            if call::attach(shard, &request, inbound, outbox).await? {
                return Ok(());
            }
            shard.audit().handshake(&request);
            return route(shard, &request, inbound, outbox).await;
        }
        let body = http::read_request_body(inbound, &request).await?;
        if call::serve(shard, (&request, &body), inbound, outbox).await? {
            return Ok(());
        }
        let Some(api) = Api::of(&request) else {
            if let Some(told) = exchange::answer_free(shard, &request, &body) {
                outbox.put(Bytes::Owned(told));
                return Ok(());
            }
            outbox.put(Bytes::Owned(answer(shard, &request)));
            return Ok(());
        };
        if !exchange::answer(shard, api, (&request, &body), inbound, outbox).await {
            return Ok(());
        }
    }
    Ok(())
}

/// By its path to its dialect. OpenAI's take what ends with `/realtime`, so theirs are looked at last.
async fn route(
    shard: &Rc<Shard>,
    request: &Request,
    inbound: &mut Inbound,
    outbox: &Rc<Outbox>,
) -> io::Result<()> {
    let path = request.path.trim_end_matches('/');
    if Translation::serves(path) {
        speak::<Translation>(shard, request, inbound, outbox).await
    } else if Live::serves(path) {
        speak::<Live>(shard, request, inbound, outbox).await
    } else if Responses::serves(path) {
        speak::<Responses>(shard, request, inbound, outbox).await
    } else if Gemini::serves(path) {
        speak::<Gemini>(shard, request, inbound, outbox).await
    } else if Interactions::serves(path) {
        speak::<Interactions>(shard, request, inbound, outbox).await
    } else if Timed::serves(path) {
        speak::<Timed>(shard, request, inbound, outbox).await
    } else if OpenAi::serves(path) {
        speak::<OpenAi>(shard, request, inbound, outbox).await
    } else {
        let nothing = Refusal::new(404, "not_found", "There is no such endpoint.");
        outbox.put(Bytes::Owned(handshake::refuse::<OpenAi>(&nothing)));
        Ok(())
    }
}

async fn speak<D: Dialect>(
    shard: &Rc<Shard>,
    request: &Request,
    inbound: &mut Inbound,
    outbox: &Rc<Outbox>,
) -> io::Result<()> {
    let (opening, sim) = match handshake::settle::<D>(shard, request) {
        Ok(settled) => settled,
        Err(refusal) => {
            outbox.put(Bytes::Owned(handshake::refuse::<D>(&refusal)));
            return Ok(());
        }
    };
    monoio::time::sleep(Duration::from_millis(sim.delay_ms)).await;
    if sim.silent {
        while inbound.fill().await? {}
        return Ok(());
    }
    outbox.put_with(Bytes::Owned(handshake::accept_upgrade(request, &sim)), sim.split_bytes, None);
    let key = request.parameter("audit").unwrap_or_else(|| "-".to_owned());
    let session = Session::new(shard.clone(), Line::Socket(outbox.clone()), opening, sim, key);
    session::run(session, inbound, outbox).await.map(|_| ())
}

/// Plain HTTP: health and audit.
fn answer(shard: &Shard, request: &Request) -> Vec<u8> {
    match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/health") => http::json_response(200, &[], r#"{"status":"ok"}"#),
        ("GET", "/audit") => http::json_response(200, &[], &shard.audit().json().to_string()),
        ("POST", "/audit/reset") => {
            *shard.audit() = Audit::default();
            http::json_response(200, &[], "{}")
        }
        _ => handshake::refuse::<OpenAi>(&Refusal::new(404, "not_found", "There is nothing here.")),
    }
}
