//! What can be wrong with a configuration that is well formed, checked without the network.
//!
//! Start at [`check`]. What it says begins with the key, by which its place is found, and tells how to mend it.

use super::calls::WebRtcMode;
use super::settings::{Config, Provider, Store, StoreKind};
use super::{ConfigError, Origin, variables, wrong};
use std::net::SocketAddr;
use tokenist_core::auth_scheme::AuthScheme;
use tokenist_core::client::TrustedProxies;
use tokenist_core::http::pass::PassList;
use tokenist_core::id;
use tokenist_core::models::Models;
use tokenist_core::origin::Origins;
use tokenist_core::retention::ROLLUPS_DAYS_MIN;
use tokenist_core::terms::Terms;

/// # Errors
/// What is wrong, and with which of several sections.
pub(super) fn check(at: &str, config: &Config) -> Result<(), (ConfigError, usize)> {
    check_all(at, config).map_err(|error| (error, 0))?;
    let mut providers = config.provider.iter().enumerate();
    providers.try_for_each(|(index, provider)| {
        check_name(at, provider, &config.provider[..index])
            .and_then(|()| check_provider(at, provider))
            .map_err(|error| (error, index))
    })
}

fn check_all(at: &str, config: &Config) -> Result<(), ConfigError> {
    check_addresses(at, config)?;
    check_trusted_proxies(at, config)?;
    check_least(at, config)?;
    if !config.limits.max_cost_usd.is_finite() {
        return Err(wrong(at, "limits.max_cost_usd must be a number"));
    }
    Models::parse(&config.limits.models).map_err(|what| wrong(at, format!("limits.models: {what}")))?;
    check_store(at, &config.store)?;
    check_calls(at, config)?;
    check_origins(at, config)?;
    Origins::parse(&config.browser.origins).map_err(|what| wrong(at, format!("browser.origins: {what}")))?;
    Ok(())
}

fn check_addresses(at: &str, config: &Config) -> Result<(), ConfigError> {
    let proxy = &config.proxy;
    let address = |key: &str, text: &str| match text {
        "" => Ok(()),
        text => text.parse::<SocketAddr>().map(drop).map_err(|_| {
            wrong(at, format!("{key} = {text:?} is not an address and a port, such as \"127.0.0.1:8080\""))
        }),
    };
    address("proxy.listen", &proxy.listen)?;
    address("proxy.tls_listen", &proxy.tls_listen)?;
    if config.admin.listen.is_empty() {
        return Err(wrong(at, "admin.listen must be an address and a port, such as \"127.0.0.1:8081\""));
    }
    address("admin.listen", &config.admin.listen)?;
    refuse_shared_port(at, config)?;
    if proxy.listen.is_empty() && proxy.tls_listen.is_empty() {
        return Err(wrong(at, "set proxy.listen or proxy.tls_listen, or nobody can connect"));
    }
    if !proxy.tls_listen.is_empty() && (proxy.tls_cert.is_empty() || proxy.tls_key.is_empty()) {
        return Err(wrong(at, "proxy.tls_listen needs proxy.tls_cert and proxy.tls_key, two PEM files"));
    }
    Ok(())
}

fn check_calls(at: &str, config: &Config) -> Result<(), ConfigError> {
    let webrtc = &config.webrtc;
    let is_used = webrtc.mode == WebRtcMode::Relay;
    let addresses = webrtc.addresses([&config.proxy.listen, &config.proxy.tls_listen]);
    if is_used || !webrtc.public_ips.is_empty() {
        addresses.map_err(|what| wrong(at, format!("webrtc.public_ips: {what}")))?;
    }
    let relays = [
        ("public_ips", !webrtc.public_ips.is_empty()),
        ("udp_port", webrtc.udp_port != 0),
        ("tcp_port", webrtc.tcp_port != 0),
    ];
    if let Some((key, _)) = relays.iter().find(|(_, is_set)| *is_set && !is_used) {
        return Err(wrong(at, format!("webrtc.{key} is used with webrtc.mode = \"relay\" only")));
    }
    Ok(())
}

/// Port 0 is another one each time.
fn refuse_shared_port(at: &str, config: &Config) -> Result<(), ConfigError> {
    let Config { proxy, admin, .. } = config;
    let listeners = [
        ("proxy.listen", &proxy.listen),
        ("proxy.tls_listen", &proxy.tls_listen),
        ("admin.listen", &admin.listen),
    ];
    let listeners = listeners.map(|(key, text)| (key, text.parse::<SocketAddr>().ok()));
    for (index, (key, address)) in listeners.iter().enumerate() {
        for (other_key, other) in &listeners[index + 1..] {
            let (Some(address), Some(other)) = (address, other) else { continue };
            let everywhere = [address, other].iter().any(|address| address.ip().is_unspecified());
            if address.port() == other.port()
                && address.port() != 0
                && (address.ip() == other.ip() || everywhere)
            {
                let what =
                    format!("{key} and {other_key} are both on port {}; each needs its own", address.port());
                return Err(wrong(at, what));
            }
        }
    }
    Ok(())
}

fn check_trusted_proxies(at: &str, config: &Config) -> Result<(), ConfigError> {
    let proxy = &config.proxy;
    let trusted = TrustedProxies::parse(&proxy.trusted_proxies)
        .map_err(|error| wrong(at, format!("proxy.trusted_proxies: {error}")))?;
    if proxy.proxy_protocol && trusted.is_empty() {
        return Err(wrong(
            at,
            "proxy.proxy_protocol needs proxy.trusted_proxies: the addresses of those that speak it",
        ));
    }
    Ok(())
}

/// What must not be 0.
fn check_least(at: &str, config: &Config) -> Result<(), ConfigError> {
    let proxy = &config.proxy;
    for (key, value) in [
        ("proxy.tick_ms", proxy.tick_ms),
        ("proxy.session_max", proxy.session_max as u64),
        ("proxy.message_max_bytes", proxy.message_max_bytes),
        ("proxy.head_seconds", proxy.head_seconds),
        ("proxy.dial_seconds", proxy.dial_seconds),
        ("proxy.ping_seconds", proxy.ping_seconds),
        ("http.body_max_before_model", config.http.body_max_before_model),
        ("http.keep_alive_seconds", config.http.keep_alive_seconds),
        ("http.answer_seconds", config.http.answer_seconds),
        ("http.body_seconds", config.http.body_seconds),
        ("http.background_seconds", config.http.background_seconds),
        ("store.users_max", config.store.users_max as u64),
        ("store.commit_ms", config.store.commit_ms),
        ("store.instances_min", config.store.instances_min.into()),
    ] {
        if value == 0 {
            return Err(wrong(at, format!("{key} must be at least 1")));
        }
    }
    Ok(())
}

fn check_store(at: &str, store: &Store) -> Result<(), ConfigError> {
    if store.kind != StoreKind::Memory && store.path.is_empty() {
        return Err(wrong(at, "store.path must name a folder for the ledger"));
    }
    match (store.kind, store.mongodb_uri.is_empty()) {
        (StoreKind::Mongodb, true) => {
            return Err(wrong(
                at,
                "store.kind = \"mongodb\" needs store.mongodb_uri, such as \"mongodb://host:27017/\"",
            ));
        }
        (StoreKind::Memory | StoreKind::Sqlite, false) => {
            return Err(wrong(
                at,
                "store.mongodb_uri is used with store.kind = \"mongodb\" only; set that, or leave it out",
            ));
        }
        (StoreKind::Mongodb, false) | (StoreKind::Memory | StoreKind::Sqlite, true) => {}
    }
    if store.mongodb_db.is_empty() || store.mongodb_db.contains(['/', '\\', '.', '"', '$', ' ', '\0']) {
        return Err(wrong(at, format!("store.mongodb_db = {:?} is no name of a database", store.mongodb_db)));
    }
    let days = store.rollups_days;
    if store.kind != StoreKind::Memory && (1..ROLLUPS_DAYS_MIN).contains(&days) {
        return Err(wrong(
            at,
            format!(
                "store.rollups_days = {days}: a restart sums the day and the last 24 hours up from hourly rollups, so \
                 keep them for {ROLLUPS_DAYS_MIN} days at least, or for ever with 0"
            ),
        ));
    }
    let redis = &store.redis_uri;
    if !redis.is_empty()
        && let Err(what) = tokenist_control::cluster::check(redis.reveal())
    {
        return Err(wrong(at, format!("store.redis_uri: {what}")));
    }
    Ok(())
}

fn check_origins(at: &str, config: &Config) -> Result<(), ConfigError> {
    let mut origins = config.admin.cors_origins.split(',');
    if let Some(origin) = origins.find(|origin| origin.contains('@')) {
        let shown = tokenist_core::uri::shown(origin.trim());
        return Err(wrong(
            at,
            format!("admin.cors_origins: {shown:?} is no origin, such as https://ops.example.com"),
        ));
    }
    Ok(())
}

/// No provider has the name of one before it; one that is not said is its dialect's.
fn check_name(at: &str, provider: &Provider, before: &[Provider]) -> Result<(), ConfigError> {
    match before.iter().any(|other| other.name == provider.name) {
        true => {
            Err(wrong(at, format!("provider.name = {:?} is given twice; each needs its own", provider.name)))
        }
        false => Ok(()),
    }
}

fn check_provider(at: &str, provider: &Provider) -> Result<(), ConfigError> {
    match id::read(provider.name.as_bytes()) {
        Ok(name) if name == provider.name => {}
        Ok(name) => return Err(wrong(at, format!("provider.name is read as {name:?}: write it so"))),
        Err(error) => return Err(wrong(at, format!("provider.name {error}"))),
    }
    if provider.name.contains('/') {
        return Err(wrong(
            at,
            format!("provider.name = {:?} has a slash, and is part of a path", provider.name),
        ));
    }
    provider.family().map_err(|bad| wrong(at, format!("provider.{bad}")))?;
    if !provider.auth.is_empty() && AuthScheme::named(&provider.auth).is_none() {
        let known = AuthScheme::ALL.into_iter().map(AuthScheme::name).chain(["header:NAME"]);
        return Err(wrong(at, not_among("provider.auth", &provider.auth, known)));
    }
    Models::parse(&provider.models).map_err(|what| wrong(at, format!("provider.models: {what}")))?;
    if provider.base_url.is_empty() {
        let form = "http(s)://host[:port] with no path behind";
        return Err(wrong(at, format!("provider.base_url of {} has to be set: {form}", provider.name)));
    }
    Origin::parse(&provider.base_url).ok_or_else(|| {
        let shown = tokenist_core::uri::shown(&provider.base_url);
        wrong(
            at,
            format!(
                "provider.base_url = {shown:?} of {} is not http(s)://host[:port] with no path behind",
                provider.name
            ),
        )
    })?;
    if !variables(&provider.api_key_env).all(is_variable) {
        // It may be the key itself.
        return Err(wrong(
            at,
            "provider.api_key_env is the name of an environment variable, such as \"OPENAI_API_KEY\", that holds the key; \
             of several, separated by commas, that hold one each",
        ));
    }
    PassList::with(&provider.headers).map_err(|what| wrong(at, format!("provider.headers: {what}")))?;
    Terms::parse(&provider.terms).map_err(|what| wrong(at, format!("provider.terms: {what}")))?;
    Ok(())
}

/// Whether a text can be the name of an environment variable. Nearly no key can.
fn is_variable(name: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().all(is_fit) && !name.starts_with(|first: char| first.is_ascii_digit())
}

/// A value that is none of those there are.
fn not_among<'a>(key: &str, value: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<_> = known.map(|name| format!("\"{name}\"")).collect();
    format!("{key} = {value:?} is none of {}", known.join(", "))
}
