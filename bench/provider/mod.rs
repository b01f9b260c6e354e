//! A simulated OpenAI Realtime provider: deterministic usage, speech's pace or none, misbehaviour on command,
//! and its own audit of what it delivered.
//!
//! Start at [`start`]: one thread a shard, each with its own listener on one port. A connection is read in
//! [`connection`]; a session lives in `session`, a response in `response`; `sim` names all that can be asked for.

mod audit;
mod event;
mod formula;
mod load;
mod response;
mod session;
pub(crate) mod sim;

use crate::beat::Beat;
use crate::http::{self, Request};
use crate::link::{self, Bytes, Outbox};
use crate::ws::Inbound;
use audit::Audit;
use event::{Names, Purpose};
pub(crate) use formula::splitmix64;
use monoio::net::{ListenerOpts, TcpListener, TcpStream};
use rustls::ServerConfig;
use serde_json::json;
use session::Opening;
use sim::Sim;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

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
    audit: Arc<Mutex<Audit>>,
    session_count: Arc<AtomicU64>,
    /// The numbers of sessions that are attached to calls, by the call's id.
    calls: Arc<Mutex<BTreeMap<String, u64>>>,
    beat: Rc<Beat>,
    phase: Cell<u64>,
}

impl Shard {
    /// All sessions of a call have one number.
    fn next_index(&self, call: Option<&str>) -> u64 {
        let next = || self.session_count.fetch_add(1, Ordering::Relaxed) + 1;
        match call {
            None => next(),
            Some(call) => {
                let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
                *calls.entry(call.to_owned()).or_insert_with(next)
            }
        }
    }

    fn audit(&self) -> MutexGuard<'_, Audit> {
        self.audit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Spreads paced sessions over their period: 7 has no factor in common with usual periods.
    fn next_phase(&self) -> u64 {
        self.phase.set(self.phase.get() + 7);
        self.phase.get()
    }
}

/// Starts the shards, which run as long as the process, and says where they listen.
pub(crate) fn start(mut options: Options) -> io::Result<Bound> {
    options.listen = reserve(options.listen)?;
    if let Some((tls_listen, _)) = &mut options.tls {
        *tls_listen = reserve(*tls_listen)?;
    }
    let (audit, session_count) = (Arc::default(), Arc::new(AtomicU64::new(0)));
    let calls = Arc::default();
    let (ready, started) = mpsc::channel();
    for index in 0..options.shard_count {
        let (options, audit, session_count) = (options.clone(), Arc::clone(&audit), session_count.clone());
        let calls = Arc::clone(&calls);
        let ready = ready.clone();
        std::thread::Builder::new().name(format!("provider {index}")).spawn(move || {
            crate::runtime::block_on(async move {
                match bind(options, audit, session_count, calls) {
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

fn bind(
    options: Options,
    audit: Arc<Mutex<Audit>>,
    session_count: Arc<AtomicU64>,
    calls: Arc<Mutex<BTreeMap<String, u64>>>,
) -> io::Result<(Rc<Shard>, Listeners)> {
    let listener = ListenerOpts::new().backlog(4_096);
    let mut listeners = vec![(TcpListener::bind_with_config(options.listen, &listener)?, None)];
    if let Some((address, tls)) = &options.tls {
        listeners.push((TcpListener::bind_with_config(*address, &listener)?, Some(tls.clone())));
    }
    let beat = Beat::start()?;
    let shard = Shard { options, audit, session_count, calls, beat, phase: Cell::new(0) };
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
    let Some(request) = http::read_request(inbound).await? else { return Ok(()) };
    if !http::is_upgrade(&request) {
        let length = request.header("content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
        http::read_body(inbound, length).await?;
        outbox.put(Bytes::Owned(answer(shard, &request)));
        return Ok(());
    }
    shard.audit().handshake(&request);
    let opening = match open(shard, &request) {
        Ok(opening) => opening,
        Err(refusal) => {
            outbox.put(Bytes::Owned(refusal));
            return Ok(());
        }
    };
    let sim = &opening.sim;
    monoio::time::sleep(Duration::from_millis(sim.delay_ms)).await;
    if sim.silent {
        while inbound.fill().await? {}
        return Ok(());
    }
    outbox.put_with(Bytes::Owned(accept_upgrade(&request, sim)), sim.split_bytes, None);
    session::run(shard.clone(), outbox.clone(), inbound, opening).await.map(|_| ())
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
        _ => refusal(404, "not_found", "There is nothing here.", &[]),
    }
}

/// Settles the handshake: a session, or the response that refuses it.
fn open(shard: &Shard, request: &Request) -> Result<Opening, Vec<u8>> {
    let path = request.path.trim_end_matches('/');
    if !["/realtime", "/echo"].iter().any(|end| path.ends_with(end)) {
        return Err(refusal(404, "not_found", "There is no such endpoint.", &[]));
    }
    let mut sim = shard.options.sim.clone();
    let words = [
        path.ends_with("/echo").then(|| "load=echo".to_owned()),
        request.header("x-sim").map(str::to_owned),
        request.parameter("sim"),
        request.parameter("load").map(|load| format!("load={load}")),
    ];
    for words in words.into_iter().flatten() {
        sim = sim.with(&words).map_err(|error| refusal(400, "sim", &error, &[]))?;
    }
    let offered = request.header("sec-websocket-protocol").unwrap_or_default();
    if !authorised(shard, request, offered) {
        return Err(refusal(401, "invalid_api_key", "Incorrect API key provided.", &[]));
    }
    if let Some((status, retry_after)) = sim.refuse {
        let headers: Vec<_> =
            retry_after.map(|seconds| ("retry-after", seconds.to_string())).into_iter().collect();
        return Err(refusal(status, "simulated_refusal", "The handshake was refused on command.", &headers));
    }
    let asks_beta =
        request.header("openai-beta") == Some("realtime=v1") || offered.contains("openai-beta.realtime-v1");
    let beta = request.parameter("dialect").as_deref() == Some("beta") || (shard.options.beta && asks_beta);
    let purpose = match request.parameter("intent").as_deref() {
        Some("transcription") => Purpose::Transcription,
        _ => Purpose::Conversation,
    };
    let model = sim.model.clone().or_else(|| request.parameter("model")).or_else(|| match purpose {
        Purpose::Conversation => Some("gpt-realtime".to_owned()),
        Purpose::Transcription => None,
    });
    let call = request.parameter("call_id");
    Ok(Opening {
        index: shard.next_index(call.as_deref()),
        is_of_call: call.is_some(),
        model,
        names: if beta { Names::Beta } else { Names::Ga },
        purpose,
        key: request.parameter("audit").unwrap_or_else(|| "-".to_owned()),
        dead_beta: asks_beta && !beta,
        sim,
    })
}

fn authorised(shard: &Shard, request: &Request, offered: &str) -> bool {
    let bearer = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    let in_protocol =
        || offered.split(',').find_map(|protocol| protocol.trim().strip_prefix("openai-insecure-api-key."));
    match (bearer.or_else(|| request.header("api-key")).or_else(in_protocol), &shard.options.key) {
        (Some(key), Some(expected)) => key == expected,
        (Some(key), None) => !key.is_empty(),
        (None, _) => false,
    }
}

fn accept_upgrade(request: &Request, sim: &Sim) -> Vec<u8> {
    let key = request.header("sec-websocket-key").unwrap_or_default();
    let offered = request.header("sec-websocket-protocol").unwrap_or_default();
    let realtime = offered.split(',').map(str::trim).find(|&protocol| protocol == "realtime");
    let mut headers = Vec::new();
    if let Some(protocol) = sim.protocol.as_deref().or(realtime) {
        headers.push(("sec-websocket-protocol", protocol.to_owned()));
    }
    if let Some(extension) = &sim.extension {
        headers.push(("sec-websocket-extensions", extension.clone()));
    }
    http::upgrade_response(key, &headers)
}

fn refusal(status: u16, code: &str, message: &str, headers: &[(&str, String)]) -> Vec<u8> {
    let error =
        json!({"error": {"type": "invalid_request_error", "code": code, "message": message, "param": null}});
    http::json_response(status, headers, &error.to_string())
}
