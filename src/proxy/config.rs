//! What the data plane is told at start. Every bound of the plane is here.

use crate::tokens::Signer;
use rustls::{ClientConfig, ServerConfig};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokenist_core::auth_scheme::AuthScheme;
use tokenist_core::client::TrustedProxies;
use tokenist_core::http::pass::PassList;
use tokenist_core::http::write::HeaderValue;
use tokenist_core::id::UserId;
use tokenist_core::key::ProviderKey;
use tokenist_core::meter::{Billing, EstimateMode};
use tokenist_core::origin::Origins;
use tokenist_core::provider::Routes;
use tokenist_handoff::Published;

#[derive(Debug)]
pub struct Config {
    pub listen: Option<SocketAddr>,
    pub tls_listen: Option<SocketAddr>,
    /// Newest certificates for `tls_listen`; whoever reloads them publishes here.
    pub tls: Option<Arc<Published<Arc<ServerConfig>>>>,
    /// Share the addresses with a process that listens there already and is about to be drained.
    pub takeover: bool,
    pub driver: Driver,
    /// Bind each shard to a CPU of its own, where shards and the CPUs of the process are as many.
    pub pin: bool,
    /// Sessions a shard holds at once; past it a request gets 503 and `Retry-After`.
    pub session_max: usize,
    /// Further connections that a shard keeps open until those whom it refuses have read so.
    pub refusal_max: usize,
    /// The longest message either side may send; past it the session ends with 1009.
    pub message_max_bytes: u64,
    /// Beat of reports, deadlines and sweeps.
    pub tick_ms: u64,
    /// From accept to the end of the request's head, TLS included.
    pub head_ms: u64,
    /// From the verdict to the provider's answer.
    pub dial_ms: u64,
    /// How long a peer may take over the closing handshake.
    pub close_ms: u64,
    /// How long the provider may go on after the application has stopped sending.
    pub half_close_ms: u64,
    /// How long a provider is heard out after the application is gone, for the usage of what was under way.
    pub linger_ms: u64,
    /// A direction that was quiet for this long gives its buffer back.
    pub release_ms: u64,
    /// A side silent for this long is pinged within as long again, each session at a time of its own; after three times
    /// this long it is taken for dead.
    pub ping_ms: u64,
    /// Reports that a shard holds as they are while the aggregator's queue has no room. See `reporter`.
    pub held_max: usize,
    /// Users and keys whose accounts a shard remembers.
    pub account_cache_max: usize,
    pub identity: IdentityRules,
    /// What signs browsers' tokens; `None`: it could be guessed.
    pub signer: Option<Signer>,
    /// Whose pages may come in.
    pub origins: Origins,
    /// Whose word is taken for where a request comes from.
    pub trusted_proxies: TrustedProxies,
    /// Whether connections from those begin with a header of the PROXY protocol.
    pub proxy_protocol: bool,
    pub refuse: Refuse,
    /// What becomes of requests that nothing is known of.
    pub unmetered: Unmetered,
    pub webrtc: WebRtc,
    /// Of use where calls are relayed.
    pub media: MediaListen,
    pub sideband: Sideband,
    /// How much of a request's body is held until its model is known.
    pub body_max_bytes: u64,
    /// Chat streams are asked for usage also where the client has not asked.
    pub include_usage: bool,
    /// How long a connection is kept for another request.
    pub keep_alive_ms: u64,
    /// How long a provider may say nothing while a request is under way.
    pub answer_ms: u64,
    /// How long a client may send nothing of a body that is not whole.
    pub body_ms: u64,
    /// How long nothing may be heard of a response in the background before it is booked by estimate.
    pub background_ms: u64,
    pub session_seconds: Option<u64>,
    pub idle_seconds: Option<u64>,
    /// A test hook: sessions of this user panic at their first frame from the provider.
    pub panic_user: Option<UserId>,
    pub estimate: EstimateMode,
    /// Whether a model is served for which no price is known.
    pub refuse_unknown_models: bool,
    /// In the order in which they are tried.
    pub providers: Vec<Arc<Provider>>,
    /// Which of them serves what; in the same order.
    pub routes: Routes,
}

/// A provider as shards reach it.
pub struct Provider {
    pub name: Arc<str>,
    /// Whose prices hold for it, and on which terms.
    pub billing: Billing,
    /// Under which name is known what it keeps: of several at one address, which have the same, that of the first.
    pub keeps_under: Arc<str>,
    /// Printable ASCII without blanks.
    pub host: String,
    pub port: u16,
    /// `None` speaks plain HTTP. Whoever reads its roots again publishes here.
    pub tls: Option<Arc<Published<Arc<ClientConfig>>>>,
    pub auth: AuthScheme,
    /// The operator's keys, for callers with a tokenist key.
    pub keys: Vec<ProviderKey>,
    /// Which of a client's headers it gets to see.
    pub headers: PassList,
}

/// Never shows the key.
impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Provider({} at {}:{})", self.name, self.host, self.port)
    }
}

impl Provider {
    /// `host:port`, as the resolver is asked for it.
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// As a `Host` header names it: without the port that the scheme implies.
    pub(crate) fn host_header(&self) -> HeaderValue {
        let implied = if self.tls.is_some() { 443 } else { 80 };
        let host = if self.port == implied { self.host.clone() } else { self.address() };
        HeaderValue::parse(host).expect("a provider's host is printable")
    }
}

/// How shards wait for the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Driver {
    /// io_uring where the kernel allows it, else epoll with a warning.
    #[default]
    Auto,
    IoUring,
    Epoll,
}

#[derive(Clone, Copy, Debug)]
pub struct IdentityRules {
    /// Callers may bring their own provider key.
    pub passthrough: bool,
    /// The user may be named in the query.
    pub query: bool,
}

/// What becomes of a request whose answer could not be metered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unmetered {
    /// It goes to the provider and costs nothing.
    Pass,
    /// It is refused with 404.
    #[default]
    Refuse,
}

/// What becomes of requests that begin a call or steer one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WebRtc {
    /// They are refused with 403.
    Off,
    /// Sound and events go between the application and the provider; a socket that is attached to the call watches it.
    #[default]
    Direct,
    /// They go by us.
    Relay,
}

/// Where the applications of relayed calls are told to send.
#[derive(Clone, Debug, Default)]
pub struct MediaListen {
    /// Under which addresses this machine is reached; there is one at least.
    pub public_ips: Vec<IpAddr>,
    /// The first shard's port of UDP, behind which are those of the others; 0: any.
    pub udp_port: u16,
    /// Likewise of TCP, where it is listened to.
    pub tcp_port: Option<u16>,
}

/// Whether a call goes on that no socket can be attached to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sideband {
    /// It is ended.
    #[default]
    Required,
    /// It does, and nothing of it is metered.
    BestEffort,
}

/// How a WebSocket client is told that it may not come in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Refuse {
    /// 101, an `error` event, a close code: all that browsers can see.
    Close,
    /// An HTTP status and a body.
    Http,
    /// Close, but HTTP for a client that was refused three times for one reason within half a minute.
    #[default]
    Auto,
}
