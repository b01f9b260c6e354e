//! The only reader of files and environment: one typed value out of `tokenist.toml` and `TOKENIST_<SECTION>_<KEY>`.
//!
//! Start at [`load`]. The defaults below are the schema: a key that they do not name is refused with the nearest
//! one that they do, and an environment variable is read as the type its default has.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};
use tokenist_core::limit::{Mode, WindowKind};
use tokenist_core::meter::EstimateMode;
use toml::{Table, Value};

/// Everything an operator can set. Each field's comment says its unit and what happens at its edge.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Config {
    pub(crate) proxy: Proxy,
    pub(crate) identity: Identity,
    pub(crate) admission: Admission,
    pub(crate) admin: Admin,
    pub(crate) store: Store,
    pub(crate) limits: Limits,
    pub(crate) metering: Metering,
    pub(crate) log: Log,
    pub(crate) provider: Vec<Provider>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Proxy {
    /// Where applications connect in plain; empty for nowhere.
    pub(crate) listen: String,
    /// Where they connect over TLS; empty for nowhere. Needs the two files.
    pub(crate) tls_listen: String,
    /// PEM: the certificate chain, leaf first. Read again on SIGHUP.
    pub(crate) tls_cert: String,
    /// PEM: its private key.
    pub(crate) tls_key: String,
    /// Threads that relay; 0: one per CPU the process may use.
    pub(crate) shard_count: usize,
    /// Bind each shard to a CPU of its own. Turn it off where other busy processes share the machine.
    pub(crate) pin: bool,
    /// Sessions per shard; past it a request gets 503 and `Retry-After`.
    pub(crate) session_max: usize,
    /// The longest message of either side; past it the session ends with 1009.
    pub(crate) message_max_bytes: u64,
    pub(crate) driver: Driver,
    /// Beat of reports, deadlines and sweeps.
    pub(crate) tick_ms: u64,
    /// From accept to the end of the request's head; past it the connection is closed.
    pub(crate) head_seconds: u64,
    /// From there to the provider's answer; past it the client gets 4502.
    pub(crate) dial_seconds: u64,
    /// A side silent for this long is pinged; after three times this long it is taken for dead.
    pub(crate) ping_seconds: u64,
    /// What sessions are given to end in after SIGTERM; then they get 1001.
    pub(crate) drain_seconds: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Driver {
    #[default]
    Auto,
    IoUring,
    Epoll,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Identity {
    /// Callers may bring their own provider key.
    pub(crate) passthrough: bool,
    /// Accept `?user_id= &org_id= &feature=`; they are stripped before forwarding.
    pub(crate) query: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Admission {
    pub(crate) refuse: Refuse,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Refuse {
    Close,
    Http,
    /// Close, but HTTP for a client that was refused three times within ten seconds.
    #[default]
    Auto,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Admin {
    /// Where operators connect.
    pub(crate) listen: String,
    /// The operator's token; if empty, one is generated and printed once.
    pub(crate) token: String,
    /// Serve `/metrics` to anybody who reaches the port.
    pub(crate) metrics_open: bool,
    /// Origins that browsers may call from, separated by commas; empty for none.
    pub(crate) cors_origins: String,
}

/// Never shows the token.
impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Admin({})", self.listen)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Store {
    pub(crate) kind: StoreKind,
    /// Users, orgs and keys kept in memory; past it the one that was idle longest is forgotten.
    pub(crate) users_max: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StoreKind {
    /// Nothing outlives the process.
    #[default]
    Memory,
}

/// What binds every user that has no limit of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Limits {
    /// US dollars; 0 denies everybody, a negative number is no limit.
    pub(crate) max_cost_usd: f64,
    /// 0: none.
    pub(crate) max_total_tokens: u64,
    pub(crate) window: WindowKind,
    /// `enforce`, or `warn` to tell only the operator.
    pub(crate) mode: Mode,
    /// 0: none.
    pub(crate) sessions_per_user: u32,
    /// A session's longest life; 0: none.
    pub(crate) session_seconds: u64,
    /// A session without messages for this long ends; 0: none.
    pub(crate) idle_seconds: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Metering {
    pub(crate) estimate: Estimate,
    /// A CSV of prices that go before the built-in ones; empty for none. Read again on SIGHUP.
    pub(crate) prices_file: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Estimate {
    #[default]
    Enforce,
    Observe,
    Off,
}

impl From<Estimate> for EstimateMode {
    fn from(estimate: Estimate) -> EstimateMode {
        match estimate {
            Estimate::Enforce => EstimateMode::Enforce,
            Estimate::Observe => EstimateMode::Observe,
            Estimate::Off => EstimateMode::Off,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Log {
    /// `error`, `warn`, `info`, `debug` or `trace`, or a filter such as `info,tokenist_proxy=debug`.
    pub(crate) level: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Provider {
    pub(crate) name: String,
    pub(crate) dialect: Dialect,
    /// Scheme, host and port; paths are kept as they come.
    pub(crate) base_url: String,
    /// The environment variable that holds the operator's key.
    pub(crate) api_key_env: String,
    /// PEM: an extra root for a private upstream; empty for none.
    pub(crate) ca_file: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Dialect {
    #[default]
    Openai,
}

impl Default for Proxy {
    fn default() -> Proxy {
        Proxy {
            listen: "127.0.0.1:8080".into(),
            tls_listen: String::new(),
            tls_cert: String::new(),
            tls_key: String::new(),
            shard_count: 0,
            pin: true,
            session_max: 20_000,
            message_max_bytes: 32 << 20,
            driver: Driver::Auto,
            tick_ms: 100,
            head_seconds: 10,
            dial_seconds: 10,
            ping_seconds: 20,
            drain_seconds: 30,
        }
    }
}

impl Default for Identity {
    fn default() -> Identity {
        Identity { passthrough: true, query: false }
    }
}

impl Default for Admin {
    fn default() -> Admin {
        Admin {
            listen: "127.0.0.1:8081".into(),
            token: String::new(),
            metrics_open: false,
            cors_origins: String::new(),
        }
    }
}

impl Default for Store {
    fn default() -> Store {
        Store { kind: StoreKind::Memory, users_max: 1_000_000 }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_cost_usd: 10.0,
            max_total_tokens: 0,
            window: WindowKind::Monthly,
            mode: Mode::Enforce,
            sessions_per_user: 0,
            session_seconds: 0,
            idle_seconds: 0,
        }
    }
}

impl Default for Metering {
    fn default() -> Metering {
        Metering { estimate: Estimate::Enforce, prices_file: String::new() }
    }
}

impl Default for Log {
    fn default() -> Log {
        Log { level: "info".into() }
    }
}

impl Default for Provider {
    fn default() -> Provider {
        Provider {
            name: "openai".into(),
            dialect: Dialect::Openai,
            base_url: "https://api.openai.com".into(),
            api_key_env: "OPENAI_API_KEY".into(),
            ca_file: String::new(),
        }
    }
}

/// What is wrong, where, and how to mend it.
#[derive(Debug, PartialEq)]
pub(crate) struct ConfigError {
    /// A file, an environment variable, or a key.
    at: String,
    what: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.what)
    }
}

impl std::error::Error for ConfigError {}

fn wrong(at: impl Into<String>, what: impl Into<String>) -> ConfigError {
    ConfigError { at: at.into(), what: what.into() }
}

/// Reads `file` if one is given, lets `environment` override it, and checks what can be checked without the network.
pub(crate) fn load(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
    let at = file.map_or("the defaults".into(), |path| path.display().to_string());
    let text = match file {
        Some(path) => std::fs::read_to_string(path).map_err(|error| wrong(&at, error.to_string()))?,
        None => String::new(),
    };
    parse(&at, &text, environment)
}

fn parse(
    at: &str,
    text: &str,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
    let mut table: Table = text.parse().map_err(|error: toml::de::Error| wrong(at, error.to_string()))?;
    let schema = schema();
    refuse_unknown(at, &table, &schema)?;
    override_by(&mut table, environment, &schema)?;
    let mut config: Config =
        Value::Table(table).try_into().map_err(|error: toml::de::Error| wrong(at, error.to_string()))?;
    if config.provider.is_empty() {
        config.provider.push(Provider::default());
    }
    check(at, &config)?;
    Ok(config)
}

/// The defaults as a table, with one provider.
fn schema() -> Table {
    let defaults = Config { provider: vec![Provider::default()], ..Config::default() };
    Table::try_from(defaults).expect("the defaults are a table")
}

fn refuse_unknown(at: &str, table: &Table, schema: &Table) -> Result<(), ConfigError> {
    for (section, value) in table {
        let Some(known) = schema.get(section) else {
            return Err(wrong(at, unknown("section", section, schema.keys())));
        };
        let (known, found) = match (known, value) {
            (Value::Table(known), Value::Table(found)) => (known, vec![found]),
            (Value::Array(known), Value::Array(found)) => {
                let tables = found.iter().map(Value::as_table).collect::<Option<Vec<_>>>();
                let known = known.first().and_then(Value::as_table);
                (known.expect("the schema has one of each"), tables.unwrap_or_default())
            }
            (Value::Array(_), _) => {
                return Err(wrong(at, format!("write `[[{section}]]`, in double brackets")));
            }
            _ => return Err(wrong(at, format!("write `[{section}]`, in single brackets"))),
        };
        if let Some(key) = found.iter().flat_map(|table| table.keys()).find(|key| !known.contains_key(*key)) {
            return Err(wrong(
                at,
                unknown("key", &format!("{section}.{key}"), keys_of(section, known).iter()),
            ));
        }
    }
    Ok(())
}

fn keys_of(section: &str, table: &Table) -> Vec<String> {
    table.keys().map(|key| format!("{section}.{key}")).collect()
}

fn unknown<'a>(kind: &str, name: &str, known: impl Iterator<Item = &'a String>) -> String {
    let nearest =
        known.max_by(|a, b| strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name)));
    match nearest {
        Some(nearest) => format!("unknown {kind} `{name}`; did you mean `{nearest}`?"),
        None => format!("unknown {kind} `{name}`"),
    }
}

/// `TOKENIST_PROXY_LISTEN` sets `proxy.listen`; `TOKENIST_PROVIDER_…` sets the first provider's key. Variables that
/// begin otherwise are not ours: orchestrators invent some with our name in front.
fn override_by(
    table: &mut Table,
    environment: impl IntoIterator<Item = (String, String)>,
    schema: &Table,
) -> Result<(), ConfigError> {
    for (name, text) in environment {
        let Some((section, key)) = name.strip_prefix("TOKENIST_").and_then(|rest| rest.split_once('_'))
        else {
            continue;
        };
        let (section, key) = (section.to_lowercase(), key.to_lowercase());
        let Some(known) = schema.get(&section) else { continue };
        let known = match known {
            Value::Array(tables) => tables.first().and_then(Value::as_table),
            known => known.as_table(),
        };
        let known = known.expect("the schema is tables");
        let Some(default) = known.get(&key) else {
            let names = known
                .keys()
                .map(|key| format!("TOKENIST_{section}_{key}").to_uppercase())
                .collect::<Vec<_>>();
            return Err(wrong(&name, unknown("key", &name, names.iter())));
        };
        let value = read_as(default, &text).map_err(|what| wrong(&name, what))?;
        let slot = match schema.get(&section) {
            Some(Value::Array(_)) => {
                let providers = table.entry(&section).or_insert_with(|| Value::Array(Vec::new()));
                let providers = providers.as_array_mut().expect("checked above");
                if providers.is_empty() {
                    providers.push(Value::Table(Table::new()));
                }
                providers[0].as_table_mut()
            }
            _ => table.entry(&section).or_insert_with(|| Value::Table(Table::new())).as_table_mut(),
        };
        slot.expect("checked above").insert(key, value);
    }
    Ok(())
}

fn read_as(default: &Value, text: &str) -> Result<Value, String> {
    match default {
        Value::Integer(_) => {
            text.parse().map(Value::Integer).map_err(|_| format!("{text:?} is not a whole number"))
        }
        Value::Float(_) => text.parse().map(Value::Float).map_err(|_| format!("{text:?} is not a number")),
        Value::Boolean(_) => {
            text.parse().map(Value::Boolean).map_err(|_| format!("{text:?} is not true or false"))
        }
        _ => Ok(Value::String(text.into())),
    }
}

fn check(at: &str, config: &Config) -> Result<(), ConfigError> {
    let proxy = &config.proxy;
    let address = |key: &str, text: &str| match text {
        "" => Ok(()),
        text => text.parse::<std::net::SocketAddr>().map(drop).map_err(|_| {
            wrong(at, format!("{key} = {text:?} is not an address and a port, such as \"127.0.0.1:8080\""))
        }),
    };
    address("proxy.listen", &proxy.listen)?;
    address("proxy.tls_listen", &proxy.tls_listen)?;
    address("admin.listen", &config.admin.listen)?;
    if proxy.listen.is_empty() && proxy.tls_listen.is_empty() {
        return Err(wrong(at, "set proxy.listen or proxy.tls_listen, or nobody can connect"));
    }
    if !proxy.tls_listen.is_empty() && (proxy.tls_cert.is_empty() || proxy.tls_key.is_empty()) {
        return Err(wrong(at, "proxy.tls_listen needs proxy.tls_cert and proxy.tls_key, two PEM files"));
    }
    for (key, value) in [
        ("proxy.tick_ms", proxy.tick_ms),
        ("proxy.session_max", proxy.session_max as u64),
        ("proxy.message_max_bytes", proxy.message_max_bytes),
        ("proxy.head_seconds", proxy.head_seconds),
        ("proxy.dial_seconds", proxy.dial_seconds),
        ("proxy.ping_seconds", proxy.ping_seconds),
        ("store.users_max", config.store.users_max as u64),
    ] {
        if value == 0 {
            return Err(wrong(at, format!("{key} must be at least 1")));
        }
    }
    if !config.limits.max_cost_usd.is_finite() {
        return Err(wrong(at, "limits.max_cost_usd must be a number"));
    }
    if config.provider.len() > 1 {
        return Err(wrong(at, "one [[provider]] is served so far; run one tokenist for each"));
    }
    for provider in &config.provider {
        Origin::parse(&provider.base_url).ok_or_else(|| {
            wrong(at, format!("provider.base_url = {:?} is not http(s)://host[:port]", provider.base_url))
        })?;
    }
    Ok(())
}

/// Where a provider is.
#[derive(Debug, PartialEq)]
pub(crate) struct Origin {
    pub(crate) tls: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Origin {
    pub(crate) fn parse(url: &str) -> Option<Origin> {
        let (scheme, rest) = url.split_once("://")?;
        let tls = match scheme {
            "https" | "wss" => true,
            "http" | "ws" => false,
            _ => return None,
        };
        let authority = rest.trim_end_matches('/');
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (authority, if tls { 443 } else { 80 }),
        };
        let well_formed = !host.is_empty() && !host.contains(['/', '@', '?', '#', ' ']);
        well_formed.then(|| Origin { tls, host: host.to_owned(), port })
    }
}

/// What is in force, as TOML, with secrets left out.
pub(crate) fn effective(config: &Config) -> String {
    let mut shown = config.clone();
    if !shown.admin.token.is_empty() {
        shown.admin.token = "(set)".into();
    }
    toml::to_string(&shown).expect("a configuration is a table")
}

/// An empty string in a key that names a file means none.
pub(crate) fn file(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
        let environment = environment.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        parse("tokenist.toml", text, environment).map_err(|error| error.to_string())
    }

    #[test]
    fn an_empty_file_is_the_defaults() {
        let config = check("", &[]).unwrap();
        assert_eq!(config.limits.max_cost_usd, 10.0);
        assert_eq!(config.provider, [Provider::default()]);
    }

    #[test]
    fn a_key_that_is_not_known_is_refused_with_the_nearest() {
        for (text, message) in [
            (
                "[proxy]\nlisten_on = \"x\"",
                "tokenist.toml: unknown key `proxy.listen_on`; did you mean `proxy.listen`?",
            ),
            ("[prox]\n", "tokenist.toml: unknown section `prox`; did you mean `proxy`?"),
            (
                "[[provider]]\nurl = \"x\"",
                "tokenist.toml: unknown key `provider.url`; did you mean `provider.base_url`?",
            ),
            ("[provider]\n", "tokenist.toml: write `[[provider]]`, in double brackets"),
            ("[proxy]\ntick_ms = 0", "tokenist.toml: proxy.tick_ms must be at least 1"),
            (
                "[proxy]\nlisten = \"here\"",
                "tokenist.toml: proxy.listen = \"here\" is not an address and a port, such as \"127.0.0.1:8080\"",
            ),
            (
                "[[provider]]\nbase_url = \"api.openai.com\"",
                "tokenist.toml: provider.base_url = \"api.openai.com\" is not http(s)://host[:port]",
            ),
        ] {
            assert_eq!(check(text, &[]).unwrap_err(), message);
        }
        assert!(check("[limits]\nwindow = \"hourly\"", &[]).unwrap_err().contains("rolling_24h"));
    }

    #[test]
    fn the_environment_goes_before_the_file() {
        let config = check(
            "[proxy]\nlisten = \"127.0.0.1:1\"\n[[provider]]\nname = \"sim\"",
            &[
                ("TOKENIST_PROXY_LISTEN", "127.0.0.1:2"),
                ("TOKENIST_LIMITS_MAX_COST_USD", "3"),
                ("TOKENIST_LIMITS_WINDOW", "rolling_24h"),
                ("TOKENIST_IDENTITY_QUERY", "true"),
                ("TOKENIST_PROVIDER_BASE_URL", "http://localhost:9"),
                ("TOKENIST_SERVICE_HOST", "10.0.0.1"),
            ],
        )
        .unwrap();
        assert_eq!(config.proxy.listen, "127.0.0.1:2");
        assert_eq!((config.limits.max_cost_usd, config.limits.window), (3.0, WindowKind::Rolling24h));
        assert!(config.identity.query);
        assert_eq!((&*config.provider[0].name, &*config.provider[0].base_url), ("sim", "http://localhost:9"));
        assert_eq!(
            check("", &[("TOKENIST_PROXY_LISTN", "x")]).unwrap_err(),
            "TOKENIST_PROXY_LISTN: unknown key `TOKENIST_PROXY_LISTN`; did you mean `TOKENIST_PROXY_LISTEN`?"
        );
        assert_eq!(
            check("", &[("TOKENIST_PROXY_TICK_MS", "x")]).unwrap_err(),
            "TOKENIST_PROXY_TICK_MS: \"x\" is not a whole number"
        );
    }

    #[test]
    fn what_is_in_force_shows_no_secret() {
        let shown = effective(&check("[admin]\ntoken = \"very-secret\"", &[]).unwrap());
        assert!(!shown.contains("very-secret") && shown.contains("token = \"(set)\""));
        assert!(!format!("{:?}", check("[admin]\ntoken = \"very-secret\"", &[])).contains("very-secret"));
    }

    #[test]
    fn origins_have_a_scheme_a_host_and_a_port() {
        let origin = |tls, host: &str, port| Some(Origin { tls, host: host.into(), port });
        assert_eq!(Origin::parse("https://api.openai.com"), origin(true, "api.openai.com", 443));
        assert_eq!(Origin::parse("http://127.0.0.1:9000/"), origin(false, "127.0.0.1", 9000));
        assert_eq!(Origin::parse("https://user@host"), None);
        assert_eq!(Origin::parse("https://host/path"), None);
    }
}
