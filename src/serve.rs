//! `tokenist serve`: starts the planes, waits for signals, drains.

use crate::advice::{self, Advice};
use crate::config::{self, Config, Driver, Refuse, Sideband, StoreKind, Unmetered, WebRtcMode};
use crate::descriptors::{self, Share};
use crate::files::{InForce, Loaded, load, routes};
use crate::log::{self, Log};
use anyhow::{Context, anyhow, bail};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};
use tokenist_admin::OperatorToken;
use tokenist_control::Store;
use tokenist_control::clock::system_time as now;
use tokenist_control::cluster;
use tokenist_control::prices::Prices;
use tokenist_control::store::memory::{self, Memory};
#[cfg(feature = "mongodb")]
use tokenist_control::store::mongo::{self, Mongo};
use tokenist_control::store::sqlite::{self, Sqlite};
use tokenist_control::supervise::Supervisor;
use tokenist_control::telemetry::Telemetry;
use tokenist_core::client::TrustedProxies;
use tokenist_core::id::UserId;
use tokenist_core::ledger;
use tokenist_core::limit::Limit;
use tokenist_core::models::Models;
use tokenist_core::money::NanoUsd;
use tokenist_core::origin::Origins;
use tokenist_core::retention;
use tokenist_core::rule::Rule;
use tokenist_handoff::{Addresses, Calls, Counters, Order, Published, Refusals, mailbox};
use tokenist_proxy::reporter::HELD_MAX;
use tokenist_proxy::{IdentityRules, Links, MediaListen, ServerConfig, Signer};
use tracing_subscriber::EnvFilter;

/// Orders that may wait for a shard; an admission is one.
const ORDERS_MAX: usize = 8_192;
/// Ticks for which a shard may be too busy to be told to drain.
const DRAIN_TRIES_MAX: usize = 100;
/// What a peer is given for the closing handshake.
const CLOSE_MS: u64 = 2_000;
/// What a provider is given to finish after the application has stopped sending.
const HALF_CLOSE_MS: u64 = 30_000;
/// A direction that was quiet for this long gives its buffer back.
const RELEASE_MS: u64 = 1_000;
const ACCOUNT_CACHE_MAX: usize = 50_000;
const ADMIN_CONNECTIONS_MAX: usize = 256;
const ADMIN_REQUEST_MS: u64 = 10_000;
/// Names a user whose sessions panic, for the test that the others live on.
const PANIC_USER_VARIABLE: &str = "TOKENIST_TEST_PANIC_USER";

#[cfg(not(feature = "mongodb"))]
const NO_MONGODB: &str = "store.kind = \"mongodb\": this build of tokenist cannot speak to MongoDB: build it with the feature `mongodb`, as builds are by default";
/// Signals that come together are one: a terminal's Ctrl-C reaches every process of its group, and a script that
/// starts us passes it on.
const SAME_SIGNAL: Duration = Duration::from_secs(1);
/// Section, key and value.
type Settings = Vec<(String, String, serde_json::Value)>;

/// What wakes the main thread.
enum Event {
    Signal(i32),
    ShardEnded(usize, Result<(), String>),
    AggregatorEnded,
}

/// What a configuration comes to before anything is taken or started.
struct Prepared {
    filter: EnvFilter,
    loaded: Loaded,
    token: Option<OperatorToken>,
}

/// Fails where [`serve`] would fail now: for what the configuration says, or because what it names is not to be had.
/// Leaves everything as it is.
pub(crate) fn check(config: &Config) -> anyhow::Result<()> {
    prepare(config)?;
    check_store(config).context("the store")?;
    refuse_short_retention(&config.store)?;
    tokenist_proxy::check_driver(proxy_driver(config)).context("proxy.driver")?;
    let proxy = &config.proxy;
    for (key, address) in [
        ("proxy.listen", &proxy.listen),
        ("proxy.tls_listen", &proxy.tls_listen),
        ("admin.listen", &config.admin.listen),
    ] {
        if !address.is_empty() {
            TcpListener::bind(address).with_context(|| format!("{key}: nothing can listen on {address}"))?;
        }
    }
    if config.webrtc.mode == WebRtcMode::Relay {
        tokenist_proxy::check_media(&media(config), shard_count(config)?)?;
    }
    Ok(())
}

fn shard_count(config: &Config) -> anyhow::Result<usize> {
    match config.proxy.shard_count {
        0 => Ok(thread::available_parallelism().context("counting CPUs")?.get()),
        count => Ok(count),
    }
}

fn prepare(config: &Config) -> anyhow::Result<Prepared> {
    let filter = EnvFilter::try_new(&config.log.level).with_context(|| {
        format!("log.level = {:?} is neither a level, such as \"info\", nor a filter", config.log.level)
    })?;
    Ok(Prepared { filter, loaded: load(config)?, token: operator_token(config)? })
}

pub(crate) fn serve(config: &Config, log: &Log) -> anyhow::Result<()> {
    let Prepared { filter, loaded, token } = prepare(config)?;
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    log.take_all(filter, colours);
    tracing::info!("in force:\n{}", config::effective(config));
    for told in advice::of(config) {
        match told {
            Advice::Warn(text) => tracing::warn!("{text}"),
            Advice::Tell(text) => tracing::info!("{text}"),
        }
    }
    let shard_count = shard_count(config)?;
    let share = descriptors::share(shard_count, config.proxy.session_max, ADMIN_CONNECTIONS_MAX)?;
    let mut config = config.clone();
    config.proxy.session_max = share.session_max;
    let config = &config;
    let (orders, mailboxes): (Vec<_>, Vec<_>) = (0..shard_count)
        .map(|_| mailbox::<Order>(ORDERS_MAX))
        .collect::<std::io::Result<Vec<_>>>()?
        .into_iter()
        .unzip();
    // A file that may not grow as far as it has to (`ulimit -f`) fails to be written, and ends nothing.
    signal_hook::flag::register(SIGXFSZ, Arc::default()).context("a signal")?;
    let store = open_store(config).context("the store")?;
    refuse_short_retention(&config.store)?;
    let prices = Arc::new(Prices::new(loaded.prices));
    let control = tokenist_control::start(
        control_config(config, shard_count),
        store,
        orders.clone(),
        Arc::clone(&prices),
    )
    .context("the ledger")?;

    let addresses = Arc::new(Published::new(Addresses::default()));
    let supervisor = control.handle.supervisor();
    let hosts = loaded.providers.iter().map(|provider| provider.address()).collect();
    tokenist_control::resolver::start(hosts, Arc::clone(&addresses), supervisor).context("the resolver")?;
    let in_force = InForce {
        prices: Arc::clone(&prices),
        tls: loaded.tls.map(|tls| Arc::new(Published::new(tls))),
        roots: loaded.providers.iter().map(|provider| provider.tls.clone()).collect(),
        stale: Arc::new(Published::new(Vec::new())),
    };
    let counters: Vec<_> = (0..shard_count).map(|_| Arc::new(Counters::default())).collect();
    let links = Links {
        prices: Arc::clone(prices.in_force()),
        addresses,
        counters: counters.clone(),
        refusals: Arc::new(Refusals::default()),
        calls: Arc::new(Calls::default()),
        boot: boot_bits(),
    };
    let (token, signer) = operators(config, token, log)?;
    let proxy = tokenist_proxy::start(
        tokenist_proxy::Config {
            signer,
            ..proxy_config(config, &share, loaded.providers, in_force.tls.clone())?
        },
        links,
        control.reports.clone(),
        mailboxes,
        control.lanes,
    )
    .context("the proxy's listeners")?;

    let draining = Arc::new(AtomicBool::new(false));
    let telemetry = Telemetry {
        counters,
        aggregator: Arc::clone(&control.heartbeat),
        tick_ms: config.proxy.tick_ms,
        log: Arc::clone(log.state()),
        driver: proxy.driver,
        store: store_name(config.store.kind),
        version: env!("CARGO_PKG_VERSION"),
        started_at: now(),
        draining: Arc::clone(&draining),
        stale: Arc::clone(&in_force.stale),
    };
    let settings = in_effect(config, shard_count, &proxy.cpus, &share);
    let admin = tokenist_admin::start(
        admin_config(config, token, settings, &share)?,
        control.handle.clone(),
        telemetry,
    )
    .with_context(|| format!("the admin API cannot listen on {}", config.admin.listen))?;
    // Whoever reads where we listen may send a signal at once.
    let signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).context("listening for signals")?;
    announce(&proxy, admin.address())?;

    let events = watch(signals, control.handle.supervisor(), proxy.shards, control.ended)?;
    let mut shards_left = shard_count;
    let mut drain_asked: Option<Instant> = None;
    for event in events {
        match event {
            Event::Signal(SIGHUP) => in_force.reload(config, now()),
            Event::Signal(_) if drain_asked.is_some_and(|at| at.elapsed() < SAME_SIGNAL) => {}
            Event::Signal(_) if drain_asked.is_some() => bail!("a second signal: ended without draining"),
            Event::Signal(_) => {
                drain_asked = Some(Instant::now());
                draining.store(true, Ordering::Release);
                tracing::info!(deadline_seconds = config.proxy.drain_seconds, "draining");
                for shard in &orders {
                    let mut order = Order::Drain { deadline_ms: config.proxy.drain_seconds * 1000 };
                    // One that takes none any more has died, which is the next event.
                    for _ in 0..DRAIN_TRIES_MAX {
                        let Err(returned) = shard.try_send(order) else { break };
                        order = returned;
                        thread::sleep(Duration::from_millis(config.proxy.tick_ms));
                    }
                }
            }
            Event::ShardEnded(index, outcome) => {
                outcome.map_err(|cause| anyhow!("shard {index} died: {cause}"))?;
                shards_left -= 1;
                if shards_left == 0 {
                    break;
                }
            }
            // Shards must never run unmetered.
            Event::AggregatorEnded => bail!("the aggregator died"),
        }
    }
    control.thread.finish().context("the last batch")?;
    admin.stop();
    tracing::info!("drained");
    Ok(())
}

/// Threads that turn what may happen into events.
fn watch(
    mut signals: Signals,
    supervisor: &Supervisor,
    shards: Vec<thread::JoinHandle<std::io::Result<()>>>,
    aggregator_ended: impl Future<Output: Sized> + Send + 'static,
) -> anyhow::Result<mpsc::Receiver<Event>> {
    let (sender, events) = mpsc::channel();
    let tell = |sender: &Sender<Event>, event| {
        // Nobody listens any more once the process is about to end.
        sender.send(event).ok();
    };
    let told = sender.clone();
    supervisor.spawn("signals", move || {
        signals.forever().for_each(|signal| tell(&told, Event::Signal(signal)));
    })?;
    for (index, shard) in shards.into_iter().enumerate() {
        let told = sender.clone();
        thread::Builder::new().name(format!("watch-{index}")).spawn(move || {
            let outcome = match shard.join() {
                Ok(outcome) => outcome.map_err(|error| error.to_string()),
                Err(_) => Err("it panicked".into()),
            };
            tell(&told, Event::ShardEnded(index, outcome));
        })?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    thread::Builder::new().name("watch-aggregator".into()).spawn(move || {
        runtime.block_on(aggregator_ended);
        tell(&sender, Event::AggregatorEnded);
    })?;
    Ok(events)
}

/// One line on standard output for whoever started us: where we listen, in JSON.
fn announce(proxy: &tokenist_proxy::Proxy, admin: std::net::SocketAddr) -> anyhow::Result<()> {
    let bound = serde_json::json!({"listen": proxy.listen, "tls_listen": proxy.tls_listen, "admin": admin, "driver": proxy.driver});
    log::announce(bound.to_string()).context("a thread for standard output")?;
    tracing::info!(listen = ?proxy.listen, tls_listen = ?proxy.tls_listen, %admin, driver = proxy.driver, "serving");
    Ok(())
}

/// The operator's token, a fresh one that is printed this once if none is configured; and what signs pages' tokens by it, if
/// nobody can guess it.
fn operators(
    config: &Config,
    token: Option<OperatorToken>,
    log: &Log,
) -> anyhow::Result<(OperatorToken, Option<Signer>)> {
    let signer = |text: &str| OperatorToken::weakness(text).is_none().then(|| Signer::of(text, now()));
    if let Some(token) = token {
        return Ok((token, signer(&config.admin.token)));
    }
    let fresh = tokenist_admin::generate_token();
    log.line(&format!("tokenist: no admin.token is set; for this run it is {fresh}"));
    Ok((OperatorToken::parse(&fresh).context("a generated token")?, signer(&fresh)))
}

/// The configured token.
fn operator_token(config: &Config) -> anyhow::Result<Option<OperatorToken>> {
    match config.admin.token.as_str() {
        "" => Ok(None),
        token => Ok(Some(OperatorToken::parse(token).context("admin.token")?)),
    }
}

/// The configuration in force, with what this machine has made of it in the place of what was asked for.
fn in_effect(config: &Config, shard_count: usize, cpus: &[usize], share: &Share) -> Settings {
    if config.proxy.pin && cpus.is_empty() {
        tracing::info!(
            shard_count,
            "shards are not pinned: this process may use more or fewer CPUs than it has shards"
        );
    }
    let pinned_to: Vec<String> = cpus.iter().map(usize::to_string).collect();
    let mut settings = config::in_force(config);
    if config.admin.token.is_empty() {
        let of_token =
            settings.iter_mut().find(|(section, key, _)| (&**section, &**key) == ("admin", "token"));
        of_token.expect("it is a setting").2 = "(generated at the start)".into();
    }
    settings.retain(|(section, key, _)| {
        (&**section, &**key) != ("proxy", "shard_count") && (&**section, &**key) != ("proxy", "pin")
    });
    settings.extend(
        [
            ("shard_count", serde_json::json!(shard_count)),
            ("pin", serde_json::json!(!cpus.is_empty())),
            ("pinned_to", serde_json::json!(pinned_to.join(", "))),
            ("open_files_max", serde_json::json!(share.granted)),
        ]
        .map(|(key, value)| ("proxy".to_owned(), key.to_owned(), value)),
    );
    settings
}

fn admin_config(
    config: &Config,
    token: OperatorToken,
    settings: Settings,
    share: &Share,
) -> anyhow::Result<tokenist_admin::Config> {
    let origins = config.admin.cors_origins.split(',').map(str::trim).filter(|origin| !origin.is_empty());
    Ok(tokenist_admin::Config {
        listen: config.admin.listen.parse().context("admin.listen")?,
        token,
        settings,
        cors_origins: origins.map(str::to_owned).collect(),
        registration: config.admin.registration,
        account_bounds: tokenist_admin::AccountBounds::default(),
        tiers: quotas(&config.tiers),
        rollups_days: match config.store.kind {
            StoreKind::Memory => 0,
            StoreKind::Sqlite | StoreKind::Mongodb => config.store.rollups_days,
        },
        metrics_open: config.admin.metrics_open,
        trusted_proxies: trusted_proxies(config),
        proxy_protocol: config.proxy.proxy_protocol,
        connection_max: share.admin_max,
        request_ms: ADMIN_REQUEST_MS,
    })
}

fn media(config: &Config) -> MediaListen {
    let Config { webrtc, proxy, .. } = config;
    MediaListen {
        public_ips: webrtc.addresses([&proxy.listen, &proxy.tls_listen]).unwrap_or_default(),
        udp_port: webrtc.udp_port,
        tcp_port: Some(webrtc.tcp_port).filter(|port| *port != 0),
    }
}

fn trusted_proxies(config: &Config) -> TrustedProxies {
    TrustedProxies::parse(&config.proxy.trusted_proxies).expect("it was checked when it was read")
}

fn quotas(tiers: &config::Tiers) -> tokenist_admin::Quotas {
    let &config::Tiers { free, starter, growth, pro, enterprise } = tiers;
    tokenist_admin::Quotas { free, starter, growth, pro, enterprise }
}

fn control_config(config: &Config, shard_count: usize) -> tokenist_control::Config {
    let limits = &config.limits;
    let default_limit = Limit {
        max_cost: NanoUsd::from_usd(limits.max_cost_usd).filter(|cost| cost.0 >= 0),
        max_tokens: (limits.max_total_tokens > 0).then_some(limits.max_total_tokens),
        window: limits.window,
        mode: limits.mode,
        max_sessions: (limits.sessions_per_user > 0).then_some(limits.sessions_per_user),
        on_redis_down: limits.on_redis_down,
        models: Models::parse(&limits.models).expect("it was checked when it was read"),
    };
    tokenist_control::Config {
        ledger: ledger::Config {
            holders_max: config.store.users_max,
            sessions_max: config.proxy.session_max.saturating_mul(shard_count),
            // A session has a user, and at most an org, a feature and a key.
            strangers_max: config.proxy.session_max.saturating_mul(4 * shard_count),
            default_limit,
            ..ledger::Config::default()
        },
        tick_ms: config.proxy.tick_ms,
        commit_ms: config.store.commit_ms,
        cluster: cluster_config(&config.store),
        ..tokenist_control::Config::default()
    }
}

/// A rule decides by hourly rollups, so these have to be kept for as long as any rule of the ledger looks back.
fn refuse_short_retention(store: &config::Store) -> anyhow::Result<()> {
    let days = store.rollups_days;
    if store.kind == StoreKind::Memory || days == 0 {
        return Ok(());
    }
    let rules = sqlite::kept::<Rule>(Path::new(&store.path)).context("the store")?;
    for (id, rule) in &rules {
        if let Some(lookback) = rule.lookbacks().find(|span| retention::reaches_beyond(span.ms(), days)) {
            bail!(
                "store.rollups_days = {days}: the rule {:?} of {} ({id}) looks {lookback} back, and would forget what was \
                 used before; keep rollups for longer, or for ever with 0, or change the rule first",
                rule.name,
                rule.org
            );
        }
    }
    Ok(())
}

fn cluster_config(store: &config::Store) -> Option<cluster::Config> {
    let uri = store.redis_uri.reveal().to_owned();
    (!uri.is_empty()).then_some(cluster::Config { uri, instances_min: store.instances_min })
}

fn open_store(config: &Config) -> anyhow::Result<Box<dyn Store>> {
    let store = &config.store;
    Ok(match store.kind {
        StoreKind::Memory => Box::new(Memory::new(memory::Config::default())),
        StoreKind::Sqlite => Box::new(Sqlite::open(file_config(store))?),
        #[cfg(not(feature = "mongodb"))]
        StoreKind::Mongodb => bail!("{NO_MONGODB}"),
        #[cfg(feature = "mongodb")]
        StoreKind::Mongodb => Box::new(Mongo::open(file_config(store), mongo_config(store))?),
    })
}

/// Whether [`open_store`] would succeed now.
fn check_store(config: &Config) -> anyhow::Result<()> {
    let store = &config.store;
    #[cfg(not(feature = "mongodb"))]
    if store.kind == StoreKind::Mongodb {
        bail!("{NO_MONGODB}");
    }
    #[cfg(feature = "mongodb")]
    if store.kind == StoreKind::Mongodb {
        mongo::check(&mongo_config(store))?;
    }
    if store.kind != StoreKind::Memory {
        Sqlite::check(&file_config(store))?;
    }
    Ok(())
}

fn file_config(store: &config::Store) -> sqlite::Config {
    sqlite::Config {
        directory: store.path.clone().into(),
        details_days: store.details_days,
        rollups_days: store.rollups_days,
        refusals_days: store.refusals_days,
        lane_bytes: sqlite::LANE_BYTES,
    }
}

#[cfg(feature = "mongodb")]
fn mongo_config(store: &config::Store) -> mongo::Config {
    mongo::Config {
        uri: store.mongodb_uri.reveal().to_owned(),
        database: store.mongodb_db.clone(),
        batch: store.mongodb_batch,
        details_days: store.details_days,
        rollups_days: store.rollups_days,
        refusals_days: store.refusals_days,
    }
}

/// As the configuration names it.
fn store_name(kind: StoreKind) -> &'static str {
    match kind {
        StoreKind::Memory => "memory",
        StoreKind::Sqlite => "sqlite",
        StoreKind::Mongodb => "mongodb",
    }
}

fn proxy_driver(config: &Config) -> tokenist_proxy::Driver {
    match config.proxy.driver {
        Driver::Auto => tokenist_proxy::Driver::Auto,
        Driver::IoUring => tokenist_proxy::Driver::IoUring,
        Driver::Epoll => tokenist_proxy::Driver::Epoll,
    }
}

fn proxy_config(
    config: &Config,
    share: &Share,
    providers: Vec<Arc<tokenist_proxy::Provider>>,
    tls: Option<Arc<Published<Arc<ServerConfig>>>>,
) -> anyhow::Result<tokenist_proxy::Config> {
    let (proxy, limits) = (&config.proxy, &config.limits);
    let some = |seconds: u64| (seconds > 0).then_some(seconds);
    Ok(tokenist_proxy::Config {
        listen: proxy.listen.parse().ok(),
        tls_listen: proxy.tls_listen.parse().ok(),
        tls,
        driver: proxy_driver(config),
        takeover: proxy.takeover,
        pin: proxy.pin,
        session_max: share.session_max,
        refusal_max: share.refusal_max,
        message_max_bytes: proxy.message_max_bytes,
        tick_ms: proxy.tick_ms,
        head_ms: proxy.head_seconds * 1000,
        dial_ms: proxy.dial_seconds * 1000,
        close_ms: CLOSE_MS,
        half_close_ms: HALF_CLOSE_MS,
        linger_ms: config.metering.linger_seconds.saturating_mul(1000),
        release_ms: RELEASE_MS,
        ping_ms: proxy.ping_seconds * 1000,
        held_max: HELD_MAX,
        account_cache_max: ACCOUNT_CACHE_MAX,
        trusted_proxies: trusted_proxies(config),
        proxy_protocol: proxy.proxy_protocol,
        identity: IdentityRules { passthrough: config.identity.passthrough, query: config.identity.query },
        signer: None,
        origins: Origins::parse(&config.browser.origins).expect("it was checked when it was read"),
        refuse: match config.admission.refuse {
            Refuse::Close => tokenist_proxy::Refuse::Close,
            Refuse::Http => tokenist_proxy::Refuse::Http,
            Refuse::Auto => tokenist_proxy::Refuse::Auto,
        },
        unmetered: match config.http.unmetered {
            Unmetered::Pass => tokenist_proxy::Unmetered::Pass,
            Unmetered::Refuse => tokenist_proxy::Unmetered::Refuse,
        },
        webrtc: match config.webrtc.mode {
            WebRtcMode::Off => tokenist_proxy::WebRtc::Off,
            WebRtcMode::Direct => tokenist_proxy::WebRtc::Direct,
            WebRtcMode::Relay => tokenist_proxy::WebRtc::Relay,
        },
        media: media(config),
        sideband: match config.webrtc.sideband {
            Sideband::Required => tokenist_proxy::Sideband::Required,
            Sideband::BestEffort => tokenist_proxy::Sideband::BestEffort,
        },
        body_max_bytes: config.http.body_max_before_model,
        include_usage: config.http.include_usage,
        keep_alive_ms: config.http.keep_alive_seconds * 1000,
        answer_ms: config.http.answer_seconds * 1000,
        body_ms: config.http.body_seconds * 1000,
        background_ms: config.http.background_seconds * 1000,
        session_seconds: some(limits.session_seconds),
        idle_seconds: some(limits.idle_seconds),
        panic_user: std::env::var(PANIC_USER_VARIABLE).ok().map(|user| UserId::from(&*user)),
        estimate: config.metering.estimate.into(),
        refuse_unknown_models: config.metering.refuse_unknown_models,
        providers,
        routes: routes(config)?,
    })
}

/// 20 bits that tell this process's session ids from the last one's: the hasher's keys are random.
fn boot_bits() -> u64 {
    use std::hash::BuildHasher;
    std::hash::RandomState::new().hash_one(now()) >> 44
}
