//! The admin plane: the HTTP API that operators, dashboards and scrapers speak.
//!
//! Start at [`start`], then `route` for what can be asked. A handler parses, asks the control plane's
//! [`Handle`], and shapes the answer with `dto`.
//! Invariant: nothing here sums, prices or decides, and no request but those for health and the API's own
//! description is answered without a credential that opens it.

mod account;
mod audit_log;
mod auth;
mod connections;
mod dto;
mod edge;
mod error;
mod error_body;
mod fields;
mod hashing;
mod json;
mod login;
mod openapi;
mod operator_token;
mod pages;
mod password;
mod peer;
mod policy;
mod random;
mod repeat;
mod route;
mod serve;
mod session;
mod space;
mod spool;
mod telemetry;
mod tether;
mod throttle;
mod tier;

pub use operator_token::{OperatorToken, TokenError};
pub use random::generate_token;
pub use route::openapi_json;
pub use tier::Quotas;
pub use tokenist_control::telemetry::{Logging, Telemetry};

use auth::Guard;
use hashing::Hashing;
use session::Sessions;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use throttle::Throttle;
/// Handlers stamp blocks and ages with it.
use tokenist_control::clock::system_time as now;
use tokenist_control::handle::Handle;
use tokenist_core::client::TrustedProxies;
use tokio::sync::{Semaphore, watch};

/// How the admin plane listens and which proxies it trusts.
#[derive(Clone, Debug)]
pub struct Config {
    pub listen: SocketAddr,
    pub token: OperatorToken,
    /// What is in force, without secrets: section, key and value.
    pub settings: Vec<(String, String, serde_json::Value)>,
    /// Web origins, e.g. `https://ops.example.com`, that a browser may call this API from; `*` is any.
    pub cors_origins: Vec<String>,
    /// Whether every client that reaches this API may make an account.
    pub registration: bool,
    pub account_bounds: AccountBounds,
    pub tiers: Quotas,
    /// Hourly rollups go when they are so many days old, so no rule may look further back; 0: never.
    pub rollups_days: u64,
    /// Whether `GET /metrics` answers without a token.
    pub metrics_open: bool,
    /// Whose word is taken for where a request comes from.
    pub trusted_proxies: TrustedProxies,
    /// Whether connections from those begin with a header of the PROXY protocol.
    pub proxy_protocol: bool,
    /// Connections at once. For another one a client that keeps us waiting loses its own, first of all such as have
    /// shown no credential; if there is none, it waits until one ends.
    pub connection_max: usize,
    /// How long a client may take to send a request's head, three seconds at most before it has shown a credential,
    /// and again how long the answer may take from there, the body's arrival included. Also how long answers that are
    /// under way may take once the plane stops.
    pub request_ms: u64,
}

/// What accounts may take up of the ledger. The rest is left to operators.
#[derive(Clone, Copy, Debug)]
pub struct AccountBounds {
    /// Logins past which there is no registration.
    pub logins_max: usize,
    /// Keys past which accounts make no more.
    pub keys_max: usize,
}

impl Default for AccountBounds {
    fn default() -> AccountBounds {
        AccountBounds { logins_max: 20_000, keys_max: 500_000 }
    }
}

/// The running admin plane. It stops when this is dropped.
#[derive(Debug)]
pub struct Admin {
    address: SocketAddr,
    /// Taken, thus dropped, to stop.
    stop: Option<watch::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Binds and starts to answer on a thread of its own.
pub fn start(config: Config, handle: Handle, telemetry: Telemetry) -> io::Result<Admin> {
    assert!(config.connection_max > 0, "an admin plane without connections answers nobody");
    let listener = TcpListener::bind(config.listen)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let (stop, stopped) = watch::channel(());
    let limits = serve::Limits {
        connection_max: config.connection_max,
        request_ms: config.request_ms,
        trusted: config.trusted_proxies.clone(),
        announcers: match config.proxy_protocol {
            true => config.trusted_proxies.clone(),
            false => TrustedProxies::default(),
        },
    };
    let supervisor = handle.supervisor().clone();
    let app = App::new(config, handle, telemetry);
    let thread = supervisor.spawn_behind("admin", move || {
        let begun = listener.try_clone().and_then(|listener| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let within = runtime.enter();
            let listener = tokio::net::TcpListener::from_std(listener)?;
            drop(within);
            Ok((runtime, listener))
        });
        let (runtime, listener) = begun.expect("a runtime for the admin API");
        runtime.block_on(serve::serve(listener, route::router(app.clone()), limits.clone(), stopped.clone()));
    })?;
    tracing::info!(%address, "admin API listens");
    if !pages::has_dashboard() {
        tracing::warn!(
            "this build has no dashboard: `scripts/lib/dashboard && cargo build --release` makes one that has"
        );
    }
    Ok(Admin { address, stop: Some(stop), thread: Some(thread) })
}

impl Admin {
    /// Where it listens; the actual port if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts no more, lets answers that are under way finish, and returns when the thread has ended.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stop.take();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the admin thread panicked");
        }
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.end();
    }
}

/// What every handler may use.
#[derive(Clone, Debug)]
struct App {
    handle: Handle,
    telemetry: Arc<Telemetry>,
    guard: Arc<Guard>,
    /// Sign-ins that failed.
    failures: Arc<audit_log::Failures>,
    /// How often one address may make accounts.
    registrations: Arc<Throttle<IpAddr>>,
    sessions: Arc<Sessions>,
    config: Arc<Config>,
    /// Held while something is looked at and then changed, so that of two requests that find no key, say, only one
    /// makes one.
    changes: Arc<tokio::sync::Mutex<()>>,
    /// The queues for hashing a password.
    hashing: Arc<Hashing>,
    /// One for each stream of events that may be open; they leave connections for other requests.
    streams: Arc<Semaphore>,
    /// One for each table that may be on its way, which takes room for as long as its reader takes.
    tables: Arc<Semaphore>,
}

impl App {
    fn new(config: Config, handle: Handle, telemetry: Telemetry) -> App {
        let guard = Arc::new(Guard::new(config.token.clone()));
        let streams = Arc::new(Semaphore::new((config.connection_max / 2).max(1)));
        App {
            handle,
            telemetry: Arc::new(telemetry),
            guard,
            failures: Arc::default(),
            registrations: Arc::new(Throttle::new(REGISTRATIONS_MAX, REGISTRATIONS_SPAN)),
            sessions: Arc::default(),
            config: Arc::new(config),
            changes: Arc::default(),
            hashing: Arc::new(Hashing::new()),
            streams,
            tables: Arc::new(Semaphore::new(TABLES_MAX)),
        }
    }
}

const TABLES_MAX: usize = 4;
/// Accounts are kept for good, and a taken email is told, so their makers have to be slow.
const REGISTRATIONS_MAX: u32 = 10;
const REGISTRATIONS_SPAN: Duration = Duration::from_secs(60);
